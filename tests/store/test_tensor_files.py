"""Files of tensors come back as they were, also those of older versions."""

from pathlib import Path

import pytest
import torch

from benchmark.errors import Damaged
from benchmark.store.atomic_files import write_checked
from benchmark.store.tensor_files import read_tensors, write_tensors

CONTENT = {
    "weights": {"w": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), "empty": torch.empty(0, 5)},
    "state": [{"step": torch.tensor(7.0), "betas": (0.9, 0.999)}, {}],
    "kinds": (torch.tensor([True, False]), torch.arange(3), torch.tensor([1.5], dtype=torch.bfloat16)),
    "transposed": torch.arange(6).reshape(2, 3).t(),
    3: None,
    "text": ["a", "<tensor>", ("a", 1)],
}


@pytest.mark.parametrize("content", [CONTENT, {"epochs": 3}, []], ids=["all kinds", "no tensor", "nothing"])
def test_the_same_comes_back(content: object, tmp_path: Path) -> None:
    write_tensors(tmp_path / "file", content)
    read = read_tensors(tmp_path / "file")
    assert repr(read) == repr(content)
    tensors, expected = (torch.utils._pytree.tree_leaves(value) for value in (read, content))
    for tensor, other in zip(tensors, expected, strict=True):
        assert not isinstance(other, torch.Tensor) or (torch.equal(tensor, other) and tensor.dtype == other.dtype)


def test_channels_stay_last(tmp_path: Path) -> None:
    """As torch.save has it: Adam's moments have to lie in memory as their weights do."""
    last = torch.arange(48.0).reshape(2, 4, 2, 3).contiguous(memory_format=torch.channels_last)
    write_tensors(tmp_path / "file", [last, last.contiguous()])
    read = read_tensors(tmp_path / "file")
    assert [tensor.stride() for tensor in read] == [last.stride(), last.contiguous().stride()]
    assert torch.equal(read[0], last) and torch.equal(read[1], last)


def test_a_tensor_read_is_its_own_memory(tmp_path: Path) -> None:
    """Training changes it in place; its neighbours stay."""
    write_tensors(tmp_path / "file", [torch.zeros(2), torch.zeros(2)])
    first, second = read_tensors(tmp_path / "file")
    first.resize_(4).fill_(1)
    assert second.tolist() == [0, 0]


def test_reads_files_of_older_versions(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "plain")
    write_checked(tmp_path / "file", (tmp_path / "plain").read_bytes())
    assert read_tensors(tmp_path / "file")["w"].tolist() == [1, 1]


def test_damage_is_noticed(tmp_path: Path) -> None:
    write_tensors(tmp_path / "file", CONTENT)
    content = bytearray((tmp_path / "file").read_bytes())
    content[-40] ^= 1
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(Damaged):
        read_tensors(tmp_path / "file")
