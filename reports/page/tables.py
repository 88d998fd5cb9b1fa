"""The page's tables: every search, each group's means, running searches, environment, settings and definitions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmark.store.doubts import doubts
from benchmark.text import features_kind, of_data, printable
from reports.analysis.analysis import GroupAnalysis
from reports.analysis.answer import HEADINGS, answer_rows
from reports.analysis.comparison import active_range, counts, mean_and_ratio, plus_minus, size_range
from reports.data.groups import Group
from reports.data.names import in_order, label, native, parts
from reports.data.numbers import DASH, mean_sd_text, metric_text, number_text, quantity_text
from reports.data.quantities import (
    DEVICE_SECONDS,
    IMAGES_SEEN,
    SHOWN_COSTS,
    TRAIN_FLOPS,
    WALL_SECONDS,
    Quantity,
    shown_metrics,
)
from reports.page.definitions import DEFINITIONS, IN_USE
from searchers import KINDS, SEARCHERS

_TABLE_COSTS = (WALL_SECONDS, DEVICE_SECONDS, TRAIN_FLOPS, IMAGES_SEEN)
_LONG = 60  # letters from which a cell asks for a wide column


@dataclass(frozen=True)
class Cell:
    """`value` is what a column of numbers is sorted by, NaN last; `searcher` gets its marker, `status` its colour."""

    text: str
    value: float = math.nan
    searcher: str = ""
    status: str = ""
    link: str = ""

    @property
    def key(self) -> str:
        """What the cell is filtered by: a searcher by its name in the store."""
        return self.searcher or self.text

    @property
    def is_long(self) -> bool:
        """True where the text needs a wide column."""
        return len(self.text) > _LONG


@dataclass(frozen=True)
class Column:
    """A heading; numbers stand at the right and sort by value."""

    heading: str
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of as many cells as there are columns; the first cell names the row."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Filter:
    """A choice among the values of a table's column: their keys with their printed texts."""

    heading: str
    column: int
    options: tuple[tuple[str, str], ...]


def filters(table: Table, headings: Sequence[str]) -> list[Filter]:
    """Makes a filter for each named column, its values in the order of the rows."""
    places = {column.heading: place for place, column in enumerate(table.columns)}
    cells = {name: [row[places[name]] for row in table.rows] for name in headings}
    return [
        Filter(name, places[name], tuple(dict.fromkeys((cell.key, cell.text) for cell in cells[name])))
        for name in headings
    ]


def searcher_cell(searcher: str) -> Cell:
    """A searcher by its printed name; its sizes alone have its marker."""
    return Cell(label(searcher), searcher=native(searcher))


def number_cell(value: float) -> Cell:
    """A number, which its column is sorted by."""
    return Cell(number_text(value), value)


def cost_cell(cost: Quantity, value: float) -> Cell:
    """A cost in a readable unit; its column is sorted by the number in the store's."""
    return Cell(quantity_text(cost, value), value)


def metric_cell(metric: Quantity, search: pd.Series) -> Cell:
    """A test metric of one search, to the first digit of its standard error where it has one."""
    value, error = search[metric.tested], search.get(f"{metric.tested}_error", math.nan)
    return Cell(metric_text(metric, value, float(error if error is not None else math.nan)), value)


def searches_table(groups: Sequence[Group]) -> Table:
    """One row a search, of all groups and statuses; protocol and FID features where the groups differ in them."""
    protocols = len({group.protocol_hash for group in groups}) > 1
    features = {features_kind(group.fid_features) for group in groups}
    common = next(iter(features)) if len(features) == 1 else "given"
    metrics = max((shown_metrics(kind) for kind in features), key=len)
    columns = [Column("dataset"), Column("backbone"), *([Column("protocol")] if protocols else [])]
    columns += [Column("searcher"), Column("seed", True), Column("status"), Column("latent size", True)]
    columns += [Column("latents in use", True), Column("rule of choice")]
    columns += [Column(cost.name(common), True) for cost in _TABLE_COSTS]
    columns += [Column(f"{metric.heading(common)} {metric.arrow}", True) for metric in metrics]
    columns += [*([Column("FID features")] if len(features) > 1 else []), Column("doubts"), Column("error")]
    merged = any("source" in group.searches for group in groups)
    columns += [Column("results")] if merged else []
    rows = []
    for group, search in _all(groups):
        cells = [Cell(group.dataset), Cell(group.backbone)]
        cells += [Cell(f"{search['protocol']} {group.protocol_hash[:6]}")] if protocols else []
        cells += [searcher_cell(search["searcher"]), number_cell(search["seed"])]
        cells += [Cell(search["status"], status=search["status"]), number_cell(search["latent_dim"])]
        cells += [number_cell(search["test_active_units"]), Cell(search["rule"] or DASH)]
        cells += [cost_cell(cost, search[cost.column]) for cost in _TABLE_COSTS]
        cells += [metric_cell(metric, search) for metric in metrics]
        cells += [Cell(features_kind(group.fid_features) or "unknown")] if len(features) > 1 else []
        cells += [Cell("; ".join(doubts(search.to_dict())))]
        lines = search["error"].strip().splitlines()
        cells += [Cell(lines[0] if lines else "", link="#failures" if lines else "")]
        rows.append((*cells, *([Cell(printable(search["source"]))] if merged else [])))
    return Table(tuple(columns), tuple(rows))


def answer_table(of: GroupAnalysis) -> Table:
    """A row a method: its verdict against the grid search; empty where there is none."""
    columns = [
        Column("searcher"),
        *(Column(of_data(heading, of.group.fid_features), heading != "verdict") for heading in HEADINGS),
    ]
    rows = []
    for row in answer_rows(of):
        cells = [
            Cell(text, status=row.shown.replace(" ", "-") if heading == "verdict" else "")
            for heading, text in zip(HEADINGS, row.cells, strict=True)
        ]
        rows.append((searcher_cell(row.searcher), *cells))
    return Table(tuple(columns), tuple(rows))


def summary_table(of: GroupAnalysis) -> Table:
    """A row a searcher: means over its finished seeds."""
    columns = [Column("searcher")]
    columns += [Column("done / failed / running", True), Column("latent size, median (min–max)", True)]
    columns += [Column("latents in use", True)]
    metrics = shown_metrics(of.group.fid_features)
    columns += [Column(cost.label, True) for cost in (TRAIN_FLOPS, WALL_SECONDS)]
    columns += [Column(f"{metric.heading(of.group.fid_features)} {metric.arrow}", True) for metric in metrics]
    table = [
        (
            searcher_cell(row["searcher"]),
            Cell(counts(row)),
            Cell(size_range(row)),
            Cell(active_range(row)),
            *(Cell(mean_and_ratio(row, cost)) for cost in (TRAIN_FLOPS, WALL_SECONDS)),
            *(Cell(plus_minus(row, metric)) for metric in metrics),
        )
        for _, row in of.rows.iterrows()
    ]
    return Table(tuple(columns), tuple(table))


def estimates_table(analysed: Sequence[GroupAnalysis]) -> Table:
    """One row a group and method that estimates the size from the images: means over its finished seeds."""
    columns = [Column("group"), Column("searcher"), Column("dimensions estimated", True)]
    columns += [Column("latent size, median (min–max)", True), Column("seconds before the training", True)]
    rows = []
    for of in analysed:
        for _, row in of.rows.iterrows():
            made = of.group.of(row["searcher"], "done").dropna(subset=["estimate"])
            if made.empty:
                continue
            first = of.group.epochs.drop_duplicates("search_id").set_index("search_id").reindex(made["search_id"])
            before = first["wall_seconds"] - first["train_seconds"] - first["eval_seconds"]
            cells = [Cell(mean_sd_text(made["estimate"].mean(), made["estimate"].std())), Cell(size_range(row))]
            cells += [Cell(mean_sd_text(before.mean(), before.std()))]
            rows.append((Cell(of.group.title), searcher_cell(row["searcher"]), *cells))
    return Table(tuple(columns), tuple(rows))


def truth_table(truth: pd.DataFrame) -> Table:
    """One row a group with a known answer and searcher: how far the chosen sizes are from it."""
    columns = [Column("group"), Column("searcher"), Column("right sizes", True)]
    columns += [Column("latent size, median (min–max)", True), Column("error, mean", True)]
    columns += [Column("within", True), Column("with doubts", True), Column("drift with the start", True)]
    columns += [Column("without an answer")]
    rows = []
    for _, row in truth.iterrows():
        ends = dict.fromkeys(number_text(row[name]) for name in ("true_low", "true_high"))
        n = row["n_done"] + row["n_failed"]
        counts = {"failed": row["n_failed"], "running": row["n_running"], "not settled": row["n_unsettled"]}
        missing = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        cells = [Cell("–".join(ends)), Cell(size_range(row)), number_cell(row["error_mean"])]
        cells += [Cell(f"{row['n_within']} of {n}"), Cell(f"{row['n_doubted']} of {row['n_done']}")]
        cells += [number_cell(row["start_drift"]), Cell(missing)]
        rows.append((Cell(row["group"]), searcher_cell(row["searcher"]), *cells))
    return Table(tuple(columns), tuple(rows))


def running_table(groups: Sequence[Group]) -> Table:
    """One row a running search, with the last epoch that it has logged."""
    columns = [Column("group"), Column("searcher"), Column("seed", True), Column("training", True)]
    columns += [Column("last epoch", True), Column("latent size", True), Column("latents in use", True)]
    rows = []
    for group, search in _all(groups, "running"):
        logged = group.epochs[group.epochs["search_id"] == search["search_id"]]
        cells = [Cell(group.title), searcher_cell(search["searcher"]), number_cell(search["seed"])]
        if logged.empty:
            cells += [Cell("–"), Cell("none yet"), Cell("–"), Cell("–")]
        else:
            last = logged.iloc[-1]
            of = f" of {search['epochs']:g}" if np.isfinite(search["epochs"]) else ""
            cells += [number_cell(last["trial"] + 1), Cell(f"{last['epoch']:g}{of}")]
            cells += [number_cell(last[name]) for name in ("latent_dim", "active_units")]
        rows.append(tuple(cells))
    return Table(tuple(columns), tuple(rows))


def failures(groups: Sequence[Group]) -> list[tuple[str, str, str]]:
    """Returns each failed search's name, the first line of its error and the lines after that."""
    found = []
    for group, search in _all(groups, "failed"):
        first, *rest = search["error"].strip().splitlines() or ["no error recorded"]
        name = f"{group.title}: {label(search['searcher'])}, seed {search['seed']:g}"
        found.append((name, first, "\n".join(rest)))
    return found


def protocol_table(groups: Sequence[Group]) -> Table:
    """One row a group: the conditions that its searches share."""
    names = ("group", "dataset", "backbone", "protocol", "protocol hash", "epochs a training", "scale", "features")
    rows = []
    for group in groups:
        of = group.searches
        shared = [_distinct(of, name) for name in ("protocol", "protocol_hash", "epochs", "scale")]
        texts = [group.title, group.dataset, group.backbone, *shared, group.fid_features or "unknown"]
        rows.append(tuple(Cell(text) for text in texts))
    return Table(tuple(Column(name) for name in names), tuple(rows))


def settings_table(groups: Sequence[Group]) -> Table:
    """One row a group and searcher: its settings, with every value where its searches differ."""
    rows = []
    for group in groups:
        for searcher in group.searchers:
            of = group.of(searcher).dropna(axis=1, how="all")
            names = [name for name in of.columns if name.startswith("setting_")]
            parts = [f"{name.removeprefix('setting_')} = {_distinct(of, name)}" for name in names]
            rows.append((Cell(group.title), searcher_cell(searcher), Cell("; ".join(parts) or "none recorded")))
    return Table((Column("group"), Column("searcher"), Column("settings")), tuple(rows))


def methods_table(groups: Sequence[Group]) -> Table:
    """One row a method of latentbench that the groups have: its kind, and what it does, with its paper."""
    bases = in_order(parts(name).base for group in groups for name in group.searchers)
    known = [(name, SEARCHERS[name]) for name in bases if name in SEARCHERS]
    rows = [(searcher_cell(name), Cell(KINDS.get(entry.room, DASH)), Cell(entry.summary)) for name, entry in known]
    return Table((Column("searcher"), Column("kind"), Column("how it chooses the size")), tuple(rows))


def environment_table(groups: Sequence[Group]) -> Table:
    """One row a recorded fact of the environment; with counts of searches where they differ."""
    searches = pd.concat([group.searches for group in groups], ignore_index=True)
    names = [name for name in searches.columns if name.startswith("env_") and searches[name].notna().any()]
    rows = [(Cell(name.removeprefix("env_").replace("_", " ")), Cell(_distinct(searches, name))) for name in names]
    return Table((Column("what"), Column("recorded")), tuple(rows))


def definitions_table(features: str) -> Table:
    """One row a measured quantity: unit, better direction, meaning; then the latents in use.

    features: those of all groups, empty where there are several kinds.
    """
    rows = [
        (Cell(q.name(features)), Cell(of_data(q.unit, features) or "–"), Cell(f"{q.better} {q.arrow}"), Cell(meaning))
        for q in (*shown_metrics(features), *SHOWN_COSTS)
        for meaning in [of_data(DEFINITIONS[q.column], features)]
    ]
    rows.append((Cell("latents in use"), Cell("–"), Cell("–"), Cell(of_data(IN_USE, features))))
    return Table(tuple(Column(name) for name in ("quantity", "unit", "better", "meaning")), tuple(rows))


def _all(groups: Iterable[Group], status: str | None = None) -> Iterable[tuple[Group, pd.Series]]:
    """Every search with its group, searchers in their fixed order, then by seed."""
    for group in groups:
        for searcher in in_order(group.searches["searcher"]):
            for _, search in group.of(searcher, status).iterrows():
                yield group, search


def _distinct(frame: pd.DataFrame, column: str) -> str:
    """Prints a column's value; of several values each with the number of its searches."""
    values = frame[column] if column in frame.columns else pd.Series(dtype=object)
    texts = values.dropna().map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
    known = texts[texts != ""].value_counts().sort_index()
    if len(known) < 2:
        return str(known.index[0]) if len(known) else "unknown"
    return ", ".join(f"{text} ({n} searches)" if n > 1 else f"{text} (1 search)" for text, n in known.items())
