"""Which methods a figure shows where there are many."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_frames import assessed, epochs, group, search

from reports.data.groups import Group
from reports.drawing.shown import MOST_SHOWN, shown
from reports.write import write_report

MANY = [f"my.own:Method{n:02d}" for n in range(12)]


def of(losses: dict[str, list[float]]) -> Group:
    """Finished searches with these losses by seed; each is logged, and has a model that is assessed."""
    rows = [search(name, seed, test_elbo=-loss) for name, values in losses.items() for seed, loss in enumerate(values)]
    logged = [epoch for row in rows for epoch in epochs(row, [8, 8])]
    return group(rows, logged, curves=[assessed(row, 8) for row in rows])


def test_ten_or_fewer_are_all_shown() -> None:
    few = of({name: [1.0] for name in ["grid", *MANY[:9]]})
    found, notes = shown(few)
    assert found is few and notes == ()


def test_of_more_the_grid_and_those_of_the_lowest_loss_are_shown() -> None:
    losses = {name: [20.0 - n] for n, name in enumerate(MANY)} | {"grid": [99.0]}
    found, (note,) = shown(of(losses))
    assert found.searchers == ["grid", *MANY[3:]] and len(found.searchers) == MOST_SHOWN
    assert note.startswith("10 of 13 methods")
    for frame in (found.searches, found.epochs, found.curves):
        assert set(frame["searcher"]) == set(found.searchers)


def test_losses_compare_inside_a_seed() -> None:
    """The last of them has run in an easy seed alone, where all others are better."""
    losses = {name: [1.0 + n / 100, 50.0 + n / 100] for n, name in enumerate(MANY[:-1])}
    found, _ = shown(of(losses | {"grid": [1.0, 50.0], MANY[-1]: [2.0]}))
    assert found.searchers == ["grid", *MANY[:9]]


def test_those_without_a_loss_come_last_in_the_fixed_order() -> None:
    rows = [search(name, 0, "failed") for name in MANY[:3]] + [search(name, 0) for name in MANY[3:]]
    found, _ = shown(group([*rows, search("grid", 0)]))
    assert found.searchers == ["grid", *MANY[3:]]
    failed, _ = shown(group([search(name, 0, "failed") for name in MANY]))
    assert failed.searchers == MANY[:10]


def test_every_figure_of_a_group_says_so_and_the_tables_have_all(tmp_path: Path) -> None:
    report = write_report([of({name: [20.0 - n] for n, name in enumerate(MANY)} | {"grid": [99.0]})], tmp_path)
    drawn = [figure for figure in report.figures if figure.group is not None]
    assert {figure.name for figure in drawn} >= {"quality", "cost", "latent_dim", "tradeoff", "learning", "trainings"}
    for figure in drawn:
        assert figure.data.notes[0].startswith("10 of 13 methods"), figure.name
        assert MANY[0] not in figure.csv.read_text() and MANY[5] in figure.csv.read_text(), figure.name
    page = (tmp_path / "index.html").read_text()
    assert "10 of 13 methods" in page
    for name in MANY:
        assert name in (tmp_path / "comparison.csv").read_text() and name.rpartition(".")[2] in page


@pytest.mark.parametrize("status", ["failed", "running"])
def test_without_a_finished_search_the_fixed_order_decides(status: str) -> None:
    assert shown(group([search(name, 0, status) for name in MANY]))[0].searchers == MANY[:10]
