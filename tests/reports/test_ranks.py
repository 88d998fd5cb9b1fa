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
from reports.data.quantities import FID_GEN, FID_RECON, METRICS, PANEL_METRICS, RECON_NLL, SILHOUETTE
from reports.drawing.style import COLUMN_WIDTH, paper_style
from reports.figures.ranks import draw_ranks, ranks_data
from reports.tables.markdown import comparison_page

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
    rows = ladder(FIVE, 3) + [search("sparsity", 0), search("sparsity", 1, "failed")]
    rows += [search("grid", 3), search("ald", 3, "failed"), search("tpe", 3, "running")]
    blocks = complete_blocks(groups(rows))
    assert blocks.searchers == tuple(FIVE)
    assert blocks.blocks == (("digits-mlp", 0.0), ("digits-mlp", 1.0), ("digits-mlp", 2.0))
    said = analyse(groups(rows)).claims
    assert said[0] == (
        "Compared: grid, random, tpe, ald, geco-l0arm in 3 blocks, each a seed of a group: digits, mlp: seeds 0, 1, 2."
    )
    assert said[1] == "Left out, to keep the most pairs of searches: sparsity (done in 1, failed in 1, not run in 2)."
    assert said[2] == (
        "Left out, as a compared searcher has not finished there: digits, mlp: seed 3 "
        "(random not run, tpe running, ald failed, geco-l0arm not run)."
    )


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


def test_repeated_searches_are_averaged_and_said() -> None:
    rows = [scored("grid", seed, 1.0) for seed in range(2)] + [scored("ald", seed, 2.0) for seed in range(2)]
    rows.append({**scored("ald", 1, 5.0), "search_id": "ald-again"})
    assert measure(rows, RECON_NLL.label).values["ald"].tolist() == [2.0, 3.5]
    assert any(
        s.startswith("Finished more than once with a seed") and "ald; " in s for s in analyse(groups(rows)).claims
    )


# ---- measures


def test_overall_score_by_hand() -> None:
    values = {
        "grid": (1.0, 1.0, 0.5, 10.0),
        "ald": (2.0, 3.0, 0.9, 10.0),
        "tpe": (3.0, 2.0, 0.1, 30.0),
    }  # ranks by FIDs, silhouette (higher is better), NLL: grid 1 1 2 1.5; ald 2 3 1 1.5; tpe 3 2 3 3
    columns = [FID_RECON.tested, FID_GEN.tested, SILHOUETTE.tested, RECON_NLL.tested]
    rows = [search(name, **dict(zip(columns, four, strict=True))) for name, four in values.items()]
    overall = measure(rows, "overall score")
    assert overall.values.iloc[0].to_dict() == {"grid": 5.5 / 4, "tpe": 11 / 4, "ald": 7.5 / 4}
    assert overall.ranks.iloc[0].to_dict() == {"grid": 1.0, "tpe": 3.0, "ald": 2.0}


def test_a_metric_that_nobody_has_does_not_count() -> None:
    rows = [scored("grid", 0, 1.0, test_fid_gen=NAN), scored("ald", 0, 2.0, test_fid_gen=NAN)]
    rows += [scored("grid", 1, 1.0, test_silhouette=-9.0), scored("ald", 1, 2.0)]
    assert measure(rows, "overall score").values["grid"].tolist() == [1.0, 1.25]
    assert measure(rows, "FID, samples").values.index.tolist() == [("digits-mlp", 1.0)]


def test_missing_values_rank_last_and_are_said() -> None:
    rows = [*ladder(["grid", "ald", "tpe"], 3)]
    rows[0]["test_recon_nll"] = NAN  # grid, seed 0: else the best
    assert measure(rows, RECON_NLL.label).ranks["grid"].tolist() == [3.0, 1.0, 1.0]
    assert measure(rows, "overall score").values["grid"].tolist() == [1.5, 1.0, 1.0]
    said = "A missing value counts as the worst: reconstruction NLL of grid in 1 of 3 blocks."
    assert said in analyse(groups(rows)).claims


def test_a_metric_in_no_block_is_said() -> None:
    rows = [{**row, "test_silhouette": NAN} for row in ladder(["grid", "ald"], 2)]
    assert "In no block: silhouette." in analyse(groups(rows)).claims
    assert all("silhouette" != m.label for m in complete_blocks(groups(rows)).measures)


def test_frechet_distances_on_other_features_are_other_measures() -> None:
    rows = ladder(["grid", "ald"], 2) + [
        {**row, "test_fid_features": "inception"} for row in ladder(["grid", "ald"], 1, ("mnist",))
    ]
    labels = [(m.label, len(m.values)) for m in complete_blocks(groups(rows)).measures]
    assert labels[:4] == [
        ("overall score", 3),
        ("FID, reconstructions (classifier features)", 2),
        ("FID, reconstructions (inception features)", 1),
        ("FID, samples (classifier features)", 2),
    ]
    assert labels[-1] == ("training FLOPs", 3)


# ---- tests and claims


def test_claims_of_nine_blocks() -> None:
    rows = ladder(FIVE, 3, ("digits", "mnist", "tiles"))
    table = analyse(groups(rows)).tests
    assert len(table) == 6 * 10
    pair = table[(table["searcher_a"] == "grid") & (table["searcher_b"] == "ald")].set_index("measure")
    nll = pair.loc["reconstruction NLL"]
    assert (nll["n_blocks"], nll["n_lower"], nll["rank_biserial"]) == (9, 9, -1.0)
    assert nll["p_wilcoxon"] == 2 / 2**9
    assert nll["p_holm"] == pytest.approx(20 / 2**9)
    assert nll["median_difference"] == pytest.approx(-3 * 1.11)
    assert nll["unit"] == "nats/image"
    assert pair.loc["silhouette", "rank_biserial"] == 1.0
    assert table["claimed"].all()
    said = analyse(groups(rows)).claims
    assert said[1] == (
        "The blocks are of 3 datasets (digits, mnist, tiles). Seeds of one dataset are not independent datasets, "
        "though the tests take them so: a claim holds for these datasets."
    )
    assert (
        "grid's reconstruction NLL is lower than ald's in 9 of 9 blocks (Wilcoxon p = 0.039 after Holm over "
        "10 comparisons, rank-biserial -1.00, median difference -3.33 nats/image)."
    ) in said
    assert not any("smallest p-value" in sentence for sentence in said)


def test_the_better_searcher_is_named_first() -> None:
    rows = ladder(["ald", "grid"], 6)  # ald is the better, grid the first in order
    said = analyse(groups(rows)).claims
    silhouette = next(s for s in said if "silhouette" in s)
    assert silhouette.startswith("ald's silhouette is higher than grid's in 6 of 6 blocks (Wilcoxon p = 0.031, rank-b")
    assert "rank-biserial 1.00" in silhouette
    flops = next(s for s in said if "training FLOPs" in s)
    assert flops.startswith("ald's training FLOPs are lower than grid's in 6 of 6 blocks")


def test_three_blocks_allow_no_claim() -> None:
    said = analyse(groups(ladder(FIVE, 3))).claims
    assert said[1] == (
        "All blocks are of one dataset (digits). Its seeds are not independent datasets: "
        "a claim holds for this dataset only."
    )
    assert said[2] == (
        "3 blocks: the smallest p-value that the paired Wilcoxon test can give is 0.25 (1 after Holm's correction over "
        "10 comparisons), so it can support no claim at the 5 % level; at least 9 blocks (seeds x datasets) are needed."
    )
    # chi-squared of complete agreement: blocks x (searchers - 1)
    assert said[3].startswith(
        "overall score: Friedman's test finds that the searchers differ (chi-squared 12.00, p = 0.017, 3 blocks). Mean "
        "ranks further apart than Nemenyi's critical difference 3.52: grid and geco-l0arm. "
    )
    assert said[3].endswith("after Holm's correction: 0 of 10.")
    assert not any("lower than" in sentence for sentence in said)


def test_blocks_needed_count_holms_correction() -> None:
    said = [s for s in analyse(groups(ladder(FIVE, 8))).claims if "smallest p-value" in s]
    assert len(said) == 1
    assert "is 0.0078 (0.078 after Holm's correction over 10 comparisons)" in said[0] and "at least 9 blocks" in said[0]


def test_nothing_is_claimed_where_friedman_finds_nothing() -> None:
    # grid < tpe < ald in ten blocks and, by less, the reverse in four: the size of the differences convinces Wilcoxon's
    # test (0.016 after Holm), but Friedman's has the ranks alone (0.076). So has the overall score.
    rows = []
    for seed in range(14):
        size = 10.0 + seed if seed < 10 else -(seed - 9.0)
        rows += [scored("grid", seed, 50 - size), scored("ald", seed, 50 + size), scored("tpe", seed, 50.0)]
    table = analyse(groups(rows)).tests
    assert (table.loc[table["measure"] != "overall score", "p_holm"] < 0.05).all() and (
        table["p_friedman"] > 0.05
    ).all()
    assert not table["claimed"].any()
    said = [sentence for sentence in analyse(groups(rows)).claims if "Friedman" in sentence]
    assert len(said) == 6 and all(sentence.endswith("so nothing is claimed.") for sentence in said)


def test_two_searchers_stand_on_wilcoxon_alone() -> None:
    few, many = analyse(groups(ladder(["grid", "ald"], 4))).claims, analyse(groups(ladder(["grid", "ald"], 6))).claims
    assert "Friedman's test needs three searchers: the paired Wilcoxon test stands alone." in few
    assert any("smallest p-value" in s and "is 0.12, so" in s and "at least 6 blocks" in s for s in few)
    equal = "silhouette: the paired Wilcoxon test finds no difference between grid and ald (p = 0.12, 4 blocks)."
    assert equal in few
    assert any(s.startswith("grid's silhouette is higher than ald's in 6 of 6 blocks") for s in many)
    assert analyse(groups(ladder(["grid", "ald"], 6))).tests[["p_nemenyi", "p_friedman"]].isna().all(axis=None)


def test_too_little_to_test() -> None:
    one = groups(ladder(FIVE, 1))
    assert analyse(one).claims[-1] == "A single block allows no test: run more seeds or datasets."
    assert analyse(one).tests.empty and "p_holm" in analyse(one).tests
    for rows in (ladder(["grid"], 3), [search("grid", 0), search("ald", 1)], [search("ald", 0, "failed")]):
        (sentence,) = analyse(groups(rows)).claims
        assert sentence.startswith("No two searchers have finished the same seed")
        assert ranks_data(analyse(groups(rows))) is None


def test_ties_everywhere_claim_nothing() -> None:
    rows = [search(name, seed) for name in FIVE for seed in range(10)]
    table = analyse(groups(rows)).tests
    assert (table["p_wilcoxon"] == 1).all() and (table["rank_biserial"] == 0).all()
    data = ranks_data(analyse(groups(rows)))
    assert data is not None
    assert set(data.panels[0].mean_ranks.values()) == {3.0}
    assert not any("lower than" in sentence for sentence in analyse(groups(rows)).claims)


def test_the_order_of_rows_changes_nothing() -> None:
    rows = ladder(FIVE, 3, ("digits", "mnist"))
    shuffled = random.Random(0).sample(rows, len(rows))
    pd.testing.assert_frame_equal(analyse(groups(rows)).tests, analyse(groups(shuffled)).tests)
    assert analyse(groups(rows)).claims == analyse(groups(shuffled)).claims


# ---- the diagrams


def test_ranks_frame_holds_what_is_drawn() -> None:
    data = ranks_data(analyse(groups(ladder(FIVE, 3))))
    assert data is not None
    frame = data.frame()
    assert frame["measure"].unique().tolist() == [
        "overall score",
        "FID, reconstructions (classifier features)",
        "FID, samples (classifier features)",
        "silhouette",
        "reconstruction NLL",
        "training FLOPs",
    ]
    own = frame[frame["measure"] == "silhouette"].set_index("mark")
    assert own.loc["mean rank", "searcher"].tolist() == FIVE
    assert own.loc["mean rank", "rank"].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert own.loc["critical difference", "rank_to"] == pytest.approx(1 + 3.52, abs=0.005)
    joined = own.loc["not told apart", ["rank", "rank_to"]].to_numpy().tolist()
    assert joined == [[1.0, 4.0], [2.0, 5.0]]  # 4 ranks apart is more than 3.52, 3 is less
    assert own["friedman_p"].to_numpy() == pytest.approx(0.0174, abs=1e-4)


def test_bars_end_where_nemenyi_tells_apart() -> None:
    data = ranks_data(analyse(groups(ladder(FIVE[:3], 3))))
    assert data is not None
    assert data.panels[0].friedman_p == pytest.approx(math.exp(-3))  # chi-squared 6, 2 degrees of freedom: 0.0498
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


def texts(figure: Figure) -> list[Text]:
    found = [text for ax in figure.axes for text in ax.texts] + figure.texts
    return [text for text in found if text.get_text()]


@pytest.mark.parametrize(("names", "seeds"), [(FIVE, 3), (LONG, 4), (LONG, 1), (FIVE[:3], 2), (FIVE[:2], 3)])
def test_no_text_is_clipped_or_overlaps(names: list[str], seeds: int) -> None:
    data = ranks_data(analyse(groups(ladder(names, seeds))))
    assert data is not None
    with paper_style():
        figure = draw_ranks(data)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts(figure)]  # type: ignore[no-untyped-call]
    assert figure.get_figwidth() == COLUMN_WIDTH
    assert len(boxes) > 6 * len(names)
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
    rows += [search("tpe", seed) for seed in range(2)]
    table = comparison(groups(rows)).set_index("searcher")
    ald, tpe, grid = table.loc["ald"], table.loc["tpe"], table.loc["grid"]
    assert (ald["wall_seconds_low [s]"], ald["wall_seconds_high [s]"]) == (20.0, 30.0)
    assert (ald["test_recon_nll_low [nats/image]"], ald["test_recon_nll_high [nats/image]"]) == (20.0, 30.0)
    assert 20 / 110 <= ald["wall_seconds_vs_grid_low"] < 0.25 < ald["wall_seconds_vs_grid_high"] <= 30 / 90
    assert tpe[["wall_seconds_low [s]", "test_recon_nll_high [nats/image]", "wall_seconds_vs_grid_low"]].isna().all()
    assert (grid["wall_seconds_low [s]"], grid["wall_seconds_vs_grid"]) == (90.0, 1.0)
    assert math.isnan(grid["wall_seconds_vs_grid_low"])


def test_the_page_has_the_claims() -> None:
    found = groups(ladder(FIVE, 3))
    page = comparison_page(analyse(found))
    assert "## Significance" in page
    assert "- 3 blocks: the smallest p-value that the paired Wilcoxon test can give is 0.25" in page
    assert len(PANEL_METRICS) == 4  # the page's text names the four
