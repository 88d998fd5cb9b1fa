"""What the README says works as it stands there."""

import re
from pathlib import Path

from commands import ROOT, TINY, benchmark

from benchmark.store import ResultsStore


def _block(containing: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    (block,) = (block for block in blocks if containing in block)
    return block


def test_the_example_searcher_runs_and_is_short(tmp_path: Path) -> None:
    example = _block("class Descending")
    assert len(example.splitlines()) <= 30
    assert example in (ROOT / "docs" / "writing-a-searcher.md").read_text().replace("# descending.py\n", "")
    (tmp_path / "descending.py").write_text(example)
    (tmp_path / "tiny.toml").write_text(TINY.format(epochs=4) + '[searchers."descending:Descending"]\nshort = 0.5\n')
    arguments = ["--protocol", "tiny.toml", "--searchers", "descending:Descending", "--seeds", 0]
    done = benchmark("run", *arguments, cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stdout + done.stderr
    trials = ResultsStore(tmp_path / "results").trials()
    assert trials["n_epochs"].tolist()[-1] == 4 and set(trials["n_epochs"][:-1]) == {2}
    assert trials["start_latent_dim"].tolist()[:2] == [16, 8]


def test_the_store_example_runs(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.format(epochs=1))
    arguments = ["--protocol", "tiny.toml", "--searchers", "sparsity", "--seeds", 0]
    assert benchmark("run", *arguments, cwd=tmp_path, cache=tmp_path / "cache").returncode == 0
    import torch

    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    names = {"x": x, "data": (255 * x).byte()}
    exec(_block("load_model").replace('"results"', repr(str(tmp_path / "results"))), names)
    assert names["images"].shape == names["data"].shape == (3, 1, 8, 8)
