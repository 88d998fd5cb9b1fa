"""Commands that share a results folder: one that does not wait ends where others have what is left."""

from pathlib import Path

from commands import TINY, benchmark

from benchmark.store import ResultsStore
from benchmark.store.claims import Watch, claim


def test_a_command_leaves_what_another_has(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.format(epochs=2))
    arguments = "run --protocol tiny.toml --searchers grid --seeds 0 1 --jobs 1".split()
    cache = tmp_path / "cache"
    assert benchmark(*arguments, cwd=tmp_path, cache=cache).returncode == 0
    store = ResultsStore(tmp_path / "results")
    first = store.folder(store.searches()["search_id"].iloc[0])
    first.reopen()
    number = Watch().next_number(first.path)
    assert number is not None
    own = claim(first.path, number, lambda: None)  # as another command's worker has it
    assert own is not None
    left = benchmark(*arguments, "--no-wait", cwd=tmp_path, cache=cache)
    assert (left.returncode, left.stderr) == (0, "") and "another command has it" in left.stdout
    assert store.searches()["status"].tolist() == ["running", "done"]
    own.release(finished=False)
    assert benchmark(*arguments, "--no-wait", cwd=tmp_path, cache=cache).returncode == 0
    assert store.searches()["status"].tolist() == ["done", "done"]
