"""Everything that a report says about its groups, computed once and handed to every writer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports.analysis.comparison import cautions, comparison, doubt_sentences
from reports.analysis.headline import Headline, headline
from reports.analysis.paired_blocks import Blocks, complete_blocks
from reports.analysis.significance import claims, significance
from reports.data.groups import Group


@dataclass(frozen=True)
class GroupAnalysis:
    """One group of comparable searches, and what is said about it.

    rows: its part of the comparison, a row a searcher.
    doubts: what speaks against sizes and FIDs of its finished searches; `cautions` begins with the same sentences.
    cautions: what its numbers cannot carry.
    """

    group: Group
    rows: pd.DataFrame
    doubts: tuple[str, ...]
    cautions: tuple[str, ...]
    headline: Headline


@dataclass(frozen=True)
class Analysis:
    """All groups of a report.

    comparison: a row per group and searcher (see `reports.analysis.comparison.comparison`).
    tests: a row per measure and pair of searchers (see `reports.analysis.significance.significance`).
    claims: what the tests support, in sentences.
    """

    groups: tuple[GroupAnalysis, ...]
    comparison: pd.DataFrame
    blocks: Blocks
    tests: pd.DataFrame
    claims: tuple[str, ...]


def analyse(groups: Sequence[Group]) -> Analysis:
    """The analysis of one report's groups."""
    table = comparison(groups)
    blocks = complete_blocks(groups)
    tests = significance(blocks)
    found, start = [], 0
    for group in groups:
        rows = table.iloc[start : start + len(group.searchers)]
        start += len(rows)
        found.append(_of_group(group, rows))
    return Analysis(tuple(found), table, blocks, tests, tuple(claims(blocks, tests)))


def _of_group(group: Group, rows: pd.DataFrame) -> GroupAnalysis:
    doubts = doubt_sentences(group)
    warnings = [*doubts, *cautions(group)]
    return GroupAnalysis(group, rows, tuple(doubts), tuple(warnings), headline(group, rows, warnings))
