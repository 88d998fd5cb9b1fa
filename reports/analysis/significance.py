"""What the searches show and what they cannot: rows of tests for every pair of searchers, and plain sentences."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import cast

import numpy as np
import pandas as pd

from reports.analysis.paired_blocks import Blocks, Measure
from reports.analysis.stats import ALPHA, blocks_needed, critical_difference, nemenyi, p_text, pairwise, smallest_p
from reports.data.names import in_order
from reports.data.quantities import PANEL_METRICS, TRAIN_FLOPS

_COLUMNS = ["measure", "unit", "better", "searcher_a", "searcher_b", "n_blocks", "n_lower", "n_higher"]
_COLUMNS += ["median_difference", "p_wilcoxon", "p_holm", "rank_biserial", "p_nemenyi", "p_friedman", "claimed"]


def significance(blocks: Blocks) -> pd.DataFrame:
    """Tests of every pair of searchers by every measure; no rows with fewer than 2 searchers in 2 common blocks.

    Columns: `n_lower` and `n_higher`, blocks where a's value is lower or higher than b's; `median_difference`, of a - b
    in `unit`, blank where it is not finite; `p_wilcoxon`, of the paired signed-rank test, and `p_holm`, corrected over
    the pairs of the measure; `rank_biserial`, above 0 where a is higher; `p_friedman`, of the measure, and `p_nemenyi`,
    of the pair, blank with 2 searchers; `claimed`, whether both `p_holm` and, with 3 searchers, `p_friedman` are below
    0.05.
    """
    frames = [_pairs(measure) for measure in blocks.measures if min(measure.values.shape) > 1]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=_COLUMNS)


def _pairs(measure: Measure) -> pd.DataFrame:
    rows = pairwise(measure.values, measure.quantity.better).rename(columns={"p": "p_wilcoxon"})
    tested = bool(np.isfinite(measure.friedman.p))
    apart = nemenyi(measure.ranks) if tested else None
    pairs = zip(rows["searcher_a"], rows["searcher_b"], strict=True)
    return rows.assign(
        measure=measure.label,
        unit=measure.quantity.unit,
        better=measure.quantity.better,
        p_nemenyi=[np.nan if apart is None else apart.loc[a, b] for a, b in pairs],
        p_friedman=measure.friedman.p,
        claimed=(rows["p_holm"] < ALPHA) & (measure.differs or not tested),
    )[_COLUMNS]


def claims(blocks: Blocks, tests: pd.DataFrame) -> list[str]:
    """Plain sentences: what is compared and what is left out, what the tests find, and what they cannot find.

    `tests` is `significance(blocks)`.
    """
    if len(blocks.searchers) < 2:
        return ["No two searchers have finished the same seed of the same dataset: there is nothing to compare."]
    sentences = [_design(blocks), *_left_out(blocks), _scope(blocks), *_oddities(blocks)]
    if len(blocks.blocks) < 2:
        return [*sentences, "A single block allows no test: run more seeds or datasets."]
    if len(blocks.searchers) == 2:
        sentences.append("Friedman's test needs three searchers: the paired Wilcoxon test stands alone.")
    sentences += _too_few(blocks)
    for measure in blocks.measures:
        if len(measure.values) > 1:
            sentences += _found(measure, tests[tests["measure"] == measure.label])
    return sentences


def _design(blocks: Blocks) -> str:
    seeds = _by_group(blocks, [(block, "") for block in blocks.blocks])
    return f"Compared: {', '.join(blocks.searchers)} in {_count(len(blocks.blocks))}, each a seed of a group: {seeds}."


def _left_out(blocks: Blocks) -> Iterator[str]:
    """Names the searchers and blocks that are not in the table, and what became of their searches."""
    for name in (name for name in blocks.status.columns if name not in blocks.searchers):
        kinds = blocks.status[name].value_counts()
        states = [f"{state} in {kinds[state]}" for state in ("done", "failed", "running", "not run") if state in kinds]
        yield f"Left out, to keep the most pairs of searches: {name} ({', '.join(states)})."
    lost = []
    for block, row in blocks.status[list(blocks.searchers)].iterrows():
        why = [f"{name} {state}" for name, state in row.items() if state != "done"]
        if why:
            lost.append((block, f" ({', '.join(why)})"))
    if lost:
        yield f"Left out, as a compared searcher has not finished there: {_by_group(blocks, lost)}."


def _by_group(blocks: Blocks, named: Iterable[tuple[Hashable, str]]) -> str:
    """Blocks with a remark each, as `digits, mlp: seeds 0, 1; mnist, mlp: seed 2 (ald failed)`."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for block, remark in named:
        slug, seed = cast(tuple[str, float], block)
        seeds.setdefault((blocks.titles[slug], remark), []).append(f"{seed:g}")
    parts = [
        f"{title}: seed{'s' if len(group_seeds) > 1 else ''} {', '.join(group_seeds)}{remark}"
        for (title, remark), group_seeds in seeds.items()
    ]
    return "; ".join(parts)


def _count(blocks: int) -> str:
    return f"{blocks} block{'s' if blocks > 1 else ''}"


def _scope(blocks: Blocks) -> str:
    """Says for which datasets a claim holds."""
    datasets = sorted(set(blocks.searches["dataset"]))
    if len(datasets) == 1:
        return (
            f"All blocks are of one dataset ({datasets[0]}). Its seeds are not independent datasets: "
            "a claim holds for this dataset only."
        )
    return (
        f"The blocks are of {len(datasets)} datasets ({', '.join(datasets)}). Seeds of one dataset are not independent "
        "datasets, though the tests take them so: a claim holds for these datasets."
    )


def _oddities(blocks: Blocks) -> Iterator[str]:
    """Names repeated searches and missing values."""
    times = blocks.searches.groupby(["slug", "seed", "searcher"]).size()
    repeated = in_order(times[times > 1].index.get_level_values("searcher"))
    if repeated:
        yield (
            f"Finished more than once with a seed (other settings or another device): {', '.join(repeated)}; "
            "the block has the mean."
        )
    missing = [
        f"{measure.label} of {name} in {n} of {_count(len(measure.values))}"
        for measure in blocks.measures
        for name, n in measure.values.isna().sum().items()
        if n
    ]
    if missing:
        yield f"A missing value counts as the worst: {'; '.join(missing)}."
    measured = {measure.quantity for measure in blocks.measures}
    absent = [quantity.label for quantity in (*PANEL_METRICS, TRAIN_FLOPS) if quantity not in measured]
    if absent:
        yield f"In no block: {', '.join(absent)}."


def _too_few(blocks: Blocks) -> Iterator[str]:
    """Says where there are too few blocks for the Wilcoxon test to reach significance, and why."""
    comparisons = len(blocks.searchers) * (len(blocks.searchers) - 1) // 2
    needed = blocks_needed(comparisons)
    labels: dict[int, list[str]] = {}
    for measure in blocks.measures:
        labels.setdefault(len(measure.values), []).append(measure.label)
    for n, measures in sorted(labels.items(), reverse=True):
        if n >= needed:
            continue
        corrected = min(1.0, comparisons * smallest_p(n))
        holm = f" ({corrected:.2g} after Holm's correction over {comparisons} comparisons)" if comparisons > 1 else ""
        yield (
            f"{_count(n)}{'' if len(labels) == 1 else ' (' + ', '.join(measures) + ')'}: the smallest p-value that the "
            f"paired Wilcoxon test can give is {smallest_p(n):.2g}{holm}, so it can support no claim at the 5 % level; "
            f"at least {needed} blocks (seeds x datasets) are needed."
        )


def _found(measure: Measure, rows: pd.DataFrame) -> Iterator[str]:
    """Reports a measure's tests: one sentence on all searchers, then one for each claim."""
    n, shown = len(measure.values), measure.label
    if np.isfinite(measure.friedman.p):
        test = f"(chi-squared {measure.friedman.statistic:.2f}, {p_text(measure.friedman.p)}, {_count(n)})"
        if not measure.differs:
            yield f"{shown}: Friedman's test finds no difference between the searchers {test}, so nothing is claimed."
            return
        far = rows[rows["p_nemenyi"] < ALPHA]
        pairs = "; ".join(f"{a} and {b}" for a, b in zip(far["searcher_a"], far["searcher_b"], strict=True))
        distance = critical_difference(measure.values.shape[1], n)
        yield (
            f"{shown}: Friedman's test finds that the searchers differ {test}. Mean ranks further apart than Nemenyi's "
            f"critical difference {distance:.2f}: {pairs or 'none'}. "
            f"Paired Wilcoxon tests below 0.05 after Holm's correction: {rows['claimed'].sum()} of {len(rows)}."
        )
    elif not rows["claimed"].any():
        pair = rows.iloc[0]
        yield (
            f"{shown}: the paired Wilcoxon test finds no difference between {pair['searcher_a']} and "
            f"{pair['searcher_b']} ({p_text(pair['p_wilcoxon'])}, {_count(n)})."
        )
    for _, row in rows[rows["claimed"]].iterrows():
        yield _claim(measure, row, len(rows))


def _claim(measure: Measure, row: pd.Series, comparisons: int) -> str:
    """States one significant difference, the better searcher first."""
    better = measure.quantity.better
    lower = row["rank_biserial"] < 0
    forward = lower == (better == "lower")
    first, second = (row["searcher_a"], row["searcher_b"])[:: 1 if forward else -1]
    sign = 1 if forward else -1
    holm = f" after Holm over {comparisons} comparisons" if comparisons > 1 else ""
    median = sign * row["median_difference"]
    size = f", median difference {median:.3g} {row['unit']}".rstrip() if np.isfinite(median) else ""
    verb = "are" if measure.quantity == TRAIN_FLOPS else "is"
    return (
        f"{first}'s {measure.label} {verb} {better} than {second}'s in {row['n_lower' if lower else 'n_higher']} of "
        f"{_count(row['n_blocks'])} (Wilcoxon {p_text(row['p_holm'])}{holm}, "
        f"rank-biserial {sign * row['rank_biserial']:.2f}{size})."
    )
