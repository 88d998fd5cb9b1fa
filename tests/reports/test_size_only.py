"""Two rows of a method in the tables: its own models, and plain trainings of the sizes that it found."""

from __future__ import annotations

import math
from typing import Any

import pytest
from report_frames import Row, group, search

from reports.analysis.analysis import analyse
from reports.analysis.answer import OF_SIZES, against_grid, answer_rows
from reports.analysis.comparison import counts
from reports.data.groups import Group
from reports.data.names import in_order, label, native, parts
from reports.data.quantities import ELBO, METRICS
from reports.data.size_only import with_size_only
from reports.page.tables import summary_table
from reports.tables.latex.comparison import comparison_latex
from reports.tables.markdown import comparison_page

SIZED = {metric.size_only: 2.0 for metric in METRICS} | {"size_only_active_units": 7, "no_latents_nll": 30.0}


def scored(name: str, seed: int, elbo: float, of_size: float, how: str = "done", **values: Any) -> Row:
    """A search with the ELBO of its own model and that of its size alone."""
    elbos = {ELBO.tested: elbo, ELBO.size_only: of_size}
    return search(name, seed, **{**SIZED, **elbos, "size_only": how, "test_active_units": 8, **values})


def of_both() -> Group:
    rows = [scored("grid", seed, -20.0, -20.0, "native") for seed in (0, 1)]
    rows += [scored("pca", seed, -21.0, -21.0, "native") for seed in (0, 1)]
    rows += [scored("ald", seed, -22.0 - seed, -20.5) for seed in (0, 1)]
    return group(rows)


def test_a_method_has_two_rows_unless_its_own_model_is_the_plain_training() -> None:
    (of,) = analyse([of_both()]).groups
    assert of.rows["searcher"].tolist() == ["grid", "ald", "ald, size only", "pca"]
    rows = of.rows.set_index("searcher")
    own, alone = rows.loc["ald"], rows.loc["ald, size only"]
    elbo = "test_elbo_mean [nats/image]"
    assert (own[elbo], alone[elbo]) == (-22.5, -20.5)
    assert (own["active_units_median"], alone["active_units_median"]) == (8, 7)
    assert own["latent_dim_median"] == alone["latent_dim_median"] == 8
    assert own["train_flops_mean"] == 2e9 and math.isnan(alone["train_flops_mean"])
    assert [name for name, _ in of.headline.searchers] == ["grid", "ald", "pca"]
    assert [verdict.searcher for verdict in of.verdicts] == ["ald", "pca"]


def test_its_loss_stands_in_the_answer_without_a_verdict() -> None:
    (of,) = analyse([of_both()]).groups
    rows = {row.searcher: row for row in answer_rows(of)}
    assert list(rows) == ["grid", "ald", "ald, size only", "pca"]
    (alone,) = of.size_only
    assert alone.effect.mean == pytest.approx(0.05) and alone.gap == 10.0
    assert rows["ald, size only"].cells == ("8", "+0.5", "+5 % (no interval)", "–", "–", "0 of 2")
    assert rows["ald"].cells[1] == "+2.5" and rows["ald"].shown == "not shown"
    assert OF_SIZES in against_grid(of)


def test_without_the_scores_nothing_changes() -> None:
    plain = group([search("grid"), search("ald")])
    assert with_size_only(plain) is plain
    (of,) = analyse([plain]).groups
    assert of.size_only == () and OF_SIZES not in against_grid(of)
    assert of.rows["searcher"].tolist() == ["grid", "ald"]


def test_one_native_model_among_others_counts_in_both_rows() -> None:
    """And a search that has not been scored so in one alone."""
    rows = [scored("tpe", 0, -20.0, -21.0), scored("tpe", 1, -22.0, -22.0, "native"), search("tpe", 2, test_elbo=-30.0)]
    (of,) = analyse([group(rows)]).groups
    own, alone = of.rows.set_index("searcher").loc[["tpe", "tpe, size only"]].iloc
    assert (own["n_done"], alone["n_done"]) == (3, 2)
    assert alone["test_elbo_mean [nats/image]"] == -21.5


def test_failures_count_as_a_model_without_latents() -> None:
    """A plain training that diverged, and a search that found no size."""
    rows = [scored("grid", seed, -20.0, -20.0, "native") for seed in (0, 1, 2)]
    rows += [scored("ald", 0, -20.0, math.nan, "failed"), search("ald", 1, "failed"), scored("ald", 2, -20.0, -21.0)]
    (of,) = analyse([group(rows)]).groups
    (alone,) = of.size_only
    assert alone.effect.mean == pytest.approx((1 + 1 + 0.1) / 3)
    assert counts(of.rows.set_index("searcher").loc["ald, size only"]) == "1/2/0"
    assert next(row for row in answer_rows(of) if row.searcher == "ald, size only").cells[-1] == "2 of 3"


def test_its_values_do_not_move_what_others_are_measured_by() -> None:
    """The best size stays that of the grid, however good a plain training was."""
    rows = [scored("grid", 0, -20.0, -20.0, "native"), scored("ald", 0, -21.0, -15.0)]
    (of,) = analyse([group(rows)]).groups
    assert {verdict.gap for verdict in of.verdicts} == {10.0} == {one.gap for one in of.size_only}


def test_it_stands_in_every_table() -> None:
    analysis = analyse([of_both()])
    (of,) = analysis.groups
    assert "| ald, size only |" in comparison_page(analysis)
    assert "ALD, size only" in comparison_latex(of)
    cell = summary_table(of).rows[2][0]
    assert (cell.text, cell.searcher) == ("ALD, size only", "ald")


def test_names() -> None:
    name = "ald@100 (stacked), size only"
    assert label(name) == "ALD @100 (stacked), size only" and native(name) == "ald@100 (stacked)"
    assert parts(name) == ("ald", "100", "stacked")
    assert in_order(["pca", "ald, size only", "ald"]) == ["ald", "ald, size only", "pca"]
