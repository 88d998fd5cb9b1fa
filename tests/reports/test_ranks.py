"""Blocks, mean ranks, critical-difference diagrams and what is claimed from them."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from report_frames import Frames, Row, search

from reports.analysis.analysis import analyse
from reports.analysis.comparison import comparison
from reports.analysis.paired_blocks import Measure, complete_blocks
from reports.data.groups import Group, read_groups
from reports.data.quantities import ELBO, METRICS, RECON_NLL
from reports.drawing.style import COLUMN_WIDTH, PAGE_WIDTH, paper_style
from reports.figures.ranks import draw_ranks, ranks_data
from searchers import SEARCHERS

FIVE = ["grid", "random", "tpe", "ald", "geco-l0arm"]
NAN = math.nan


def groups(rows: list[Row]) -> list[Group]:
    return read_groups(Frames(rows), "results")


def scored(name: str, seed: int, loss: float, **values: Any) -> Row:
    """A finished search whose four decision metrics and FLOPs all rank it by `loss`, lower is better."""
    metrics = {metric.tested: loss if metric.better == "lower" else -loss for metric in METRICS}
    return search(name, seed, **{**metrics, "train_flops": 1e9 * (loss + 1), **values})


def ladder(names: list[str], seeds: int, datasets: tuple[str, ...] = ("digits",)) -> list[Row]:
    """Every searcher beats the next one in every block, by a margin that differs from block to block."""
    return [
        scored(name, seed, place * (1 + 0.1 * seed + 0.01 * n), dataset=dataset)
        for n, dataset in enumerate(datasets)
        for seed in range(seeds)
        for place, name in enumerate(names, start=1)
    ]


def measure(rows: list[Row], label: str) -> Measure:
    return next(m for m in complete_blocks(groups(rows)).measures if m.label.startswith(label))


# ---- which searchers and blocks are compared


def test_searchers_and_blocks_make_the_table_with_most_pairs() -> None:
    rows = ladder(FIVE, 3) + [search("sparsity", 0), search("sparsity", 1, "running")]
    rows += [search("grid", 3), search("ald", 3, "failed"), search("tpe", 3, "running")]
    blocks = complete_blocks(groups(rows))
    assert blocks.searchers == tuple(FIVE)
    assert blocks.blocks == (("digits-mlp", 0.0), ("digits-mlp", 1.0), ("digits-mlp", 2.0))
    said = analyse(groups(rows)).overall
    assert "Mean ranks are of Grid, Random, TPE, ALD, GECO/L0-ARM in digits, mlp: seeds 0, 1, 2." in said
    assert "Left out of them, to have no gaps: Grid (digits, mlp: seed 3); Sparsity (digits, mlp: seed 0)." in said


def test_a_searcher_that_costs_few_blocks_stays() -> None:
    rows = ladder(FIVE, 9) + [search("sparsity", seed) for seed in range(7)]
    blocks = complete_blocks(groups(rows))  # 7 blocks x 15 pairs against 9 x 10
    assert (len(blocks.searchers), len(blocks.blocks)) == (6, 7)


def test_two_blocks_are_preferred_to_one_with_more_searchers() -> None:
    rows = ladder(FIVE, 1) + [search(name, 1) for name in ("grid", "ald")]  # 2 blocks x 1 pair against 1 x 10
    blocks = complete_blocks(groups(rows))
    assert blocks.searchers == ("grid", "ald")
    assert len(blocks.blocks) == 2


def test_the_largest_table_is_found_among_all() -> None:
    names = ["a:A", "b:B", "c:C", "d:D", "e:E"]
    for seed in range(10):
        rng = np.random.default_rng(seed)
        done = [(name, block) for name in names for block in range(6) if rng.random() < 0.7]
        found = complete_blocks(groups([search(name, block) for name, block in done]))
        best = 0
        for size in range(2, 6):
            for some in itertools.combinations(names, size):
                common = sum(all((name, block) in done for name in some) for block in range(6))
                if common > 1:
                    best = max(best, common * size * (size - 1) // 2)
        assert len(found.blocks) * len(found.searchers) * (len(found.searchers) - 1) // 2 == best
        assert all((name, int(block)) in done for name in found.searchers for _, block in found.blocks)


def test_a_block_is_a_group_and_a_seed() -> None:
    rows = ladder(["grid", "ald"], 2, ("digits", "mnist")) + [scored("grid", 0, 1.0, backbone="conv")]
    rows += [scored("ald", 0, 1.0, backbone="conv")]
    blocks = complete_blocks(groups(rows))
    assert [slug for slug, _ in blocks.blocks] == ["digits-conv", "digits-mlp", "digits-mlp", "mnist-mlp", "mnist-mlp"]


def test_of_repeated_searches_the_first_by_its_id_counts_even_without_a_value() -> None:
    rows = [scored("grid", seed, 1.0) for seed in range(2)] + [scored("ald", seed, 2.0) for seed in range(2)]
    rows.append({**scored("ald", 1, 5.0), "search_id": "a"})
    assert measure(rows, RECON_NLL.label).values["ald"].tolist() == [2.0, 5.0]
    rows[-1]["test_recon_nll"] = NAN
    values = measure(rows, RECON_NLL.label).values["ald"]
    assert values.tolist()[0] == 2.0 and math.isnan(values.tolist()[1])


# ---- measures


def test_a_metric_that_nobody_has_is_no_measure() -> None:
    rows = [scored(name, 0, loss, test_fid_gen=NAN) for name, loss in (("grid", 1.0), ("ald", 2.0))]
    rows += [scored("grid", 1, 1.0), scored("ald", 1, 2.0)]
    assert measure(rows, "FID, samples").values.index.tolist() == [("digits-mlp", 1.0)]
    none = [{**row, "test_silhouette": NAN} for row in rows]
    assert "Not ranked, as no search has it: silhouette." in analyse(groups(none)).overall
    assert all("silhouette" != m.label for m in complete_blocks(groups(none)).measures)


def test_missing_values_and_failed_searches_rank_last_and_are_said() -> None:
    rows = [*ladder(["grid", "ald", "tpe"], 3)]
    rows[0]["test_recon_nll"] = NAN  # grid, seed 0: else the best
    rows[3] = search("grid", 1, "failed")
    assert measure(rows, RECON_NLL.label).ranks["grid"].tolist() == [3.0, 3.0, 1.0]
    assert measure(rows, ELBO.label).ranks["grid"].tolist() == [1.0, 3.0, 1.0]
    (said,) = (one for one in analyse(groups(rows)).overall if one.startswith("A failed search and a missing value"))
    assert "reconstruction NLL of Grid in 2 of 3 seeds" in said and "ELBO of Grid in 1 of 3 seeds" in said


def test_failing_often_is_no_way_to_win() -> None:
    """Better in 12 of 20 seeds and failed in the other 8."""
    rows = [scored("grid", seed, 2.0) for seed in range(20)]
    rows += [scored("ald", seed, 1.0) if seed > 7 else search("ald", seed, "failed") for seed in range(20)]
    ranks = measure(rows, ELBO.label).ranks
    assert len(ranks) == 20 and ranks["ald"].mean() == pytest.approx((12 * 1 + 8 * 2) / 20)


def test_frechet_distances_on_other_features_are_other_measures() -> None:
    rows = ladder(["grid", "ald"], 2) + [
        {**row, "test_fid_features": "inception"} for row in ladder(["grid", "ald"], 1, ("mnist",))
    ]
    labels = [(m.label, len(m.values)) for m in complete_blocks(groups(rows)).measures]
    assert labels[:4] == [
        ("ELBO", 3),
        ("FID, reconstructions (classifier features)", 2),
        ("FID, reconstructions (inception features)", 1),
        ("FID, samples (classifier features)", 2),
    ]
    assert labels[-1] == ("reconstruction NLL", 3)


# ---- what is said


def test_nothing_is_claimed_by_ranks() -> None:
    analysis = analyse(groups(ladder(FIVE, 12, ("digits", "mnist", "tiles"))))
    words = " ".join(analysis.overall)
    for claim in ("Wilcoxon", "Friedman", "Nemenyi", "significant", "training FLOPs", "overall score"):
        assert claim not in words


def test_too_little_to_rank() -> None:
    for rows in (ladder(["grid"], 3), [search("grid", 0), search("ald", 1)], [search("ald", 0, "failed")]):
        assert ranks_data(analyse(groups(rows))) is None


def test_ties_everywhere_share_their_ranks() -> None:
    data = ranks_data(analyse(groups([search(name, seed) for name in FIVE for seed in range(10)])))
    assert data is not None
    assert set(data.panels[0].mean_ranks.values()) == {3.0}
    assert data.panels[0].friedman_p == 1.0


def test_the_order_of_rows_changes_nothing() -> None:
    rows = ladder(FIVE, 3, ("digits", "mnist"))
    shuffled = random.Random(0).sample(rows, len(rows))
    pd.testing.assert_frame_equal(analyse(groups(rows)).verdicts, analyse(groups(shuffled)).verdicts)
    assert analyse(groups(rows)).overall == analyse(groups(shuffled)).overall


# ---- the diagrams


def test_ranks_frame_holds_what_is_drawn() -> None:
    data = ranks_data(analyse(groups(ladder(FIVE, 3))))
    assert data is not None
    frame = data.frame()
    assert frame["measure"].unique().tolist() == [
        "ELBO",
        "FID, reconstructions (classifier features)",
        "FID, samples (classifier features)",
        "silhouette",
        "reconstruction NLL",
    ]
    own = frame[frame["measure"] == "silhouette"].set_index("mark")
    assert own.loc["mean rank", "searcher"].tolist() == FIVE
    assert own.loc["mean rank", "rank"].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert own.loc["critical difference", "rank_to"] == pytest.approx(1 + 3.52, abs=0.005)
    joined = own.loc["not told apart", ["rank", "rank_to"]].to_numpy().tolist()
    assert joined == [[1.0, 4.0], [2.0, 5.0]]  # 4 ranks apart is more than 3.52, 3 is less
    assert (own["friedman_p"] < 0.001).all()  # 120 of 120^3 choices of orders agree; chi-squared says 0.017


def test_bars_end_where_nemenyi_tells_apart() -> None:
    data = ranks_data(analyse(groups(ladder(FIVE[:3], 3))))
    assert data is not None
    assert data.panels[0].friedman_p == pytest.approx(6 / 216, abs=0.005)  # chi-squared says 0.0498
    assert data.panels[0].critical_difference == pytest.approx(2.343 * math.sqrt(2 / 3), abs=0.002)  # 1.91 < 2
    assert data.panels[0].joined == ((1.0, 2.0), (2.0, 3.0))


def test_all_are_joined_where_friedman_finds_nothing() -> None:
    rows = [scored(name, seed, (place + seed) % 5) for seed in range(5) for place, name in enumerate(FIVE)]
    data = ranks_data(analyse(groups(rows)))
    assert data is not None
    assert data.panels[0].friedman_p == 1.0
    assert data.panels[0].joined == ((3.0, 3.0),)


@pytest.mark.parametrize(("names", "seeds", "note"), [(FIVE, 1, "A single block"), (FIVE[:2], 4, "No test: Friedman")])
def test_ranks_without_a_test(names: list[str], seeds: int, note: str) -> None:
    data = ranks_data(analyse(groups(ladder(names, seeds))))
    assert data is not None
    assert any(text.startswith(note) for text in data.notes)
    assert set(data.frame()["mark"]) == {"mean rank"}


LONG = [
    "geco-l0arm@100",
    "my.package.search:AVeryLongSearcherNameIndeed",
    "ald@100",
    "ald@80",
    "grid",
    "mine:AlsoALongName",
]


MANY = [*SEARCHERS, *(f"my.own:Method{n}" for n in range(26 - len(SEARCHERS)))]
PAGE_HEIGHT = 9.5  # inches, for a figure


def texts(figure: Figure) -> list[Text]:
    found = [text for ax in figure.axes for text in ax.texts] + figure.texts
    return [text for text in found if text.get_text()]


@pytest.mark.parametrize(("names", "seeds"), [(FIVE, 3), (LONG, 4), (LONG, 1), (FIVE[:3], 2), (FIVE[:2], 3), (MANY, 3)])
def test_no_text_is_clipped_or_overlaps(names: list[str], seeds: int) -> None:
    data = ranks_data(analyse(groups(ladder(names, seeds))))
    assert data is not None
    with paper_style():
        figure = draw_ranks(data)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts(figure)]  # type: ignore[no-untyped-call]
    assert figure.get_figwidth() == COLUMN_WIDTH * (2 if names == MANY else 1) <= PAGE_WIDTH
    assert figure.get_figheight() < PAGE_HEIGHT
    assert len(boxes) > 5 * len(names)
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    for one, other in itertools.combinations(boxes, 2):
        assert not (
            min(one.x1, other.x1) - max(one.x0, other.x0) > 1 and min(one.y1, other.y1) - max(one.y0, other.y0) > 1
        )


# ---- the tables


def test_comparison_has_intervals() -> None:
    rows = [search("grid", seed, wall_seconds=w) for seed, w in enumerate([90.0, 100.0, 110.0])]
    rows += [search("ald", seed, wall_seconds=w, test_recon_nll=w) for seed, w in enumerate([20.0, 30.0, 25.0])]
    rows += [search("tpe", 0)]
    table = comparison(groups(rows)).set_index("searcher")
    ald, tpe, grid = table.loc["ald"], table.loc["tpe"], table.loc["grid"]
    assert (ald["wall_seconds_low [s]"], ald["wall_seconds_high [s]"]) == (20.0, 30.0)
    assert (ald["test_recon_nll_low [nats/image]"], ald["test_recon_nll_high [nats/image]"]) == (20.0, 30.0)
    ratios = (ald["wall_seconds_vs_grid_low"], ald["wall_seconds_vs_grid_high"])
    assert ratios == pytest.approx((20 / 90, 30 / 100))  # seed by seed
    assert ald["wall_seconds_vs_grid"] == 0.25
    assert tpe[["wall_seconds_low [s]", "test_recon_nll_high [nats/image]", "wall_seconds_vs_grid_low"]].isna().all()
    assert (grid["wall_seconds_low [s]"], grid["wall_seconds_vs_grid"]) == (90.0, 1.0)
    assert math.isnan(grid["wall_seconds_vs_grid_low"])
