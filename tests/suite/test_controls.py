"""Searches on data without structure: whatever size they choose, none comes without a doubt."""

from pathlib import Path

import pytest
from commands import benchmark

from benchmark.store import ResultsStore
from benchmark.store.doubts import doubts
from reports.data.groups import read_groups
from reports.data.truth import truth

SEARCHERS = ("grid", "nested", "sparsity", "twonn", "ard")
# A learning rate at which few images are soon learned by heart.
CONTROL = """
[dataset]
name = "{name}"
n_images = {n_images}
[backbone]
name = "mlp"
hidden = [64]
[training]
epochs = 15
batch_size = 8
learning_rate = 3e-3
[evaluation]
features = "classifier"
[space]
high = 16
sizes = [2, 16]
"""


@pytest.mark.parametrize(("name", "n_images", "right"), [("noise", 200, (0, 0)), ("shuffled", 300, (0, 1))])
def test_no_size_is_found_with_confidence(name: str, n_images: int, right: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(CONTROL.format(name=name, n_images=n_images))
    command = ("run", "--protocol", "own.toml", "--searchers", *SEARCHERS, "--seeds", "0", "--results", "results")
    done = benchmark(*command, cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    store = ResultsStore(tmp_path / "results")
    searches = store.searches()
    assert sorted(searches["searcher"]) == sorted(SEARCHERS)
    assert searches[["true_low", "true_high"]].drop_duplicates().to_numpy().tolist() == [list(right)]
    found = {row["searcher"]: doubts(row) for row in searches.to_dict("records")}
    nothing = ("collapsed: ", "worth nothing: ")
    assert all(any(line.startswith(nothing) for line in lines) for lines in found.values()), found
    table = truth(read_groups(store, "results"))
    assert (table["n_doubted"] == table["n_done"]).all() and (table["n_within"] == 0).all()
