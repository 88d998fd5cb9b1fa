"""Everything that a report says about its groups, computed once and handed to every writer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.text import of_data
from reports.analysis.across import Across, Compared, across, across_rows
from reports.analysis.comparison import cautions, comparison, doubt_sentences
from reports.analysis.headline import Headline, headline
from reports.analysis.overall import overall
from reports.analysis.paired_blocks import Blocks, complete_blocks, one_of_each
from reports.analysis.verdicts import SizeOnly, Verdict, size_only_losses, verdict_frame, verdict_rows, verdicts_of
from reports.data.groups import Group
from reports.data.size_only import with_size_only
from reports.data.truth import truth


@dataclass(frozen=True)
class GroupAnalysis:
    """One group of comparable searches, and what is said about it.

    rows: its part of the comparison, a row a searcher, and one for its sizes alone where they are scored so.
    doubts: what speaks against sizes and FIDs of its finished searches; `cautions` begins with the same sentences.
    cautions: what its numbers cannot carry.
    verdicts: every method against its grid search. size_only: the same of their sizes alone, without a verdict.
    """

    group: Group
    rows: pd.DataFrame
    doubts: tuple[str, ...]
    cautions: tuple[str, ...]
    headline: Headline
    verdicts: tuple[Verdict, ...]
    size_only: tuple[SizeOnly, ...] = ()


@dataclass(frozen=True)
class Analysis:
    """All groups of a report.

    comparison: a row per group and searcher (see `reports.analysis.comparison.comparison`).
    blocks: the searches that mean ranks are over.
    across: the methods over several data sets.
    verdicts: a row per group and method, then one per method over data sets (see `verdict_rows`).
    truth: a row per group with a known answer and searcher (see `reports.data.truth.truth`).
    overall: what holds over the groups and what cannot be said of them, in sentences.
    """

    groups: tuple[GroupAnalysis, ...]
    comparison: pd.DataFrame
    blocks: Blocks
    across: tuple[Across, ...]
    verdicts: pd.DataFrame
    truth: pd.DataFrame
    overall: tuple[str, ...]


def analyse(groups: Sequence[Group]) -> Analysis:
    """The analysis of one report's groups."""
    scored = [with_size_only(group) for group in groups]
    table = comparison(scored)
    found, start = [], 0
    for group, both in zip(groups, scored, strict=True):
        rows = table.iloc[start : start + len(both.searchers)]
        start += len(rows)
        found.append(_of_group(group, both, rows))
    kept = one_of_each(groups)
    blocks = complete_blocks(kept)
    over = across([Compared(of.group, of.verdicts) for of in found if any(of.group is one for one in kept)])
    rows_of_verdicts = [row for of in found for row in verdict_rows(of.group, of.verdicts)] + across_rows(over)
    said = overall(groups, kept, blocks, over)
    verdicts = verdict_frame(rows_of_verdicts)
    return Analysis(tuple(found), table, blocks, tuple(over), verdicts, truth(groups), tuple(said))


def _of_group(group: Group, scored: Group, rows: pd.DataFrame) -> GroupAnalysis:
    """scored: the group with the scores of sizes alone, which the rows are of."""
    doubts, verdicts = doubt_sentences(group), verdicts_of(group)
    warnings = [of_data(sentence, group.fid_features) for sentence in (*doubts, *cautions(group))]
    told = headline(group, rows[rows["searcher"].isin(group.searchers)], verdicts, warnings)
    return GroupAnalysis(group, rows, tuple(doubts), tuple(warnings), told, verdicts, size_only_losses(scored))
