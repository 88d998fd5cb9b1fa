"""Tensors as files that say when they have been damaged. Loads torch, unlike the rest of the store.

Many small tensors are written as one, which takes a third of the time.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.store.atomic_files import read_checked, write_checked

TENSOR = "<tensor>"


def write_tensors(path: Path, content: Any) -> None:
    """Writes tensors and plain values behind a digest; the file appears only when it is complete."""
    buffer = io.BytesIO()  # torch.save to a file hides why it cannot write
    tensors: list[Tensor] = []
    tree = _without_tensors(content, tensors)
    kinds = [(tensor.dtype, tensor.shape, _has_channels_last(tensor)) for tensor in tensors]
    data = torch.cat([tensor.detach().cpu().reshape(-1).view(torch.uint8) for tensor in tensors] or [torch.empty(0)])
    torch.save({"tree": tree, "kinds": kinds, "data": data}, buffer)
    write_checked(path, buffer.getbuffer())


def read_tensors(path: Path) -> Any:
    """The content that `write_tensors` wrote, on the CPU. Raises Damaged if the file has changed since."""
    content = torch.load(io.BytesIO(read_checked(path)), map_location="cpu", weights_only=True)
    if not (isinstance(content, dict) and content.keys() == {"tree", "kinds", "data"}):
        return content  # written before 0.3
    kinds = content["kinds"]
    parts = content["data"].split([dtype.itemsize * shape.numel() for dtype, shape, _ in kinds])
    return _with_tensors(content["tree"], [_tensor(part, *kind) for part, kind in zip(parts, kinds, strict=True)])


def _has_channels_last(tensor: Tensor) -> bool:
    is_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return is_last and not tensor.is_contiguous()


def _tensor(data: Tensor, dtype: torch.dtype, shape: torch.Size, channels_last: bool) -> Tensor:
    """A tensor from its bytes. The fused Adam needs moments in the order in memory that their weights have."""
    tensor = data.clone().view(dtype).view(shape)
    return tensor.contiguous(memory_format=torch.channels_last) if channels_last else tensor


def _without_tensors(value: Any, tensors: list[Tensor]) -> Any:
    """The value with `(TENSOR, i)` in place of its i-th tensor; appends the tensors."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return (TENSOR, len(tensors) - 1)
    if isinstance(value, dict):
        return {key: _without_tensors(item, tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_tensors(item, tensors) for item in value)
    return value


def _with_tensors(tree: Any, tensors: Sequence[Tensor]) -> Any:
    """The value of which `_without_tensors` made the tree."""
    if isinstance(tree, dict):
        return {key: _with_tensors(item, tensors) for key, item in tree.items()}
    if isinstance(tree, list | tuple):
        if len(tree) == 2 and tree[0] == TENSOR:
            return tensors[tree[1]]
        return type(tree)(_with_tensors(item, tensors) for item in tree)
    return tree
