"""The figures of ALD-VAE (arXiv 2312.06280) and the numbers of its section 5.2, from the store's runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmark.text import features_kind
from reports.analysis.comparison import mean_sd
from reports.data.names import in_order
from reports.data.quantities import PANEL_METRICS
from reports.drawing.layout import fold, log_scale, no_values, worth_log
from reports.drawing.style import COLUMN_WIDTH, PAGE_WIDTH, STOP_RED, Linestyle, searcher_style, searcher_styles
from reports.figures.trainings import size_ticks
from reports.papers.base import RequiredRuns, StoreFrames
from reports.papers.runs import PaperTable, budget_note, of_one_condition, of_one_seed, printed_name, share_of_budget

FULL, RETRAINED = "ald@full", "ald@retrain"
STARTS = ("ald@100", "ald@80", "ald@64")
# Standard deviation (dimensions) of the size over five seeds, section 5.2. The paper does not say from which start.
PAPER_SD = {"mnist": 3, "fashionmnist": 2, "eurosat": 6, "sprites": 7}
PROTOCOLS = tuple(f"ald-{dataset}" for dataset in PAPER_SD)


def needs(*searchers: str) -> tuple[RequiredRuns, ...]:
    """Asks for these searchers in each of the paper's experiments."""
    return tuple(RequiredRuns(protocol, searchers) for protocol in PROTOCOLS)


@dataclass(frozen=True)
class TrainingLine:
    """A line of every panel: by epoch the latent size, and `values[i]`, metric i of `PANEL_METRICS` or NaN."""

    name: str
    epochs: tuple[int, ...]
    sizes: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class DatasetCurves:
    """One dataset's panels. about: which run, a line each. stop: the epoch after which the stop rule fired, or None."""

    dataset: str
    about: tuple[str, ...]
    fid_features: str
    trainings: tuple[TrainingLine, ...]
    stop: int | None


@dataclass(frozen=True)
class ALDCurves:
    """Figure 2, 3 or 4: metrics on validation data by epoch; the paper's datasets first."""

    rows: tuple[DatasetCurves, ...]

    def frame(self) -> pd.DataFrame:
        """One row an epoch of every line drawn."""
        return pd.concat([_frame(row, line) for row in self.rows for line in row.trainings], ignore_index=True)


def _frame(row: DatasetCurves, line: TrainingLine) -> pd.DataFrame:
    keys = {"dataset": row.dataset, "run": "; ".join(row.about), "fid_features": row.fid_features, "line": line.name}
    units = [f"{metric.column} [{metric.unit}]" if metric.unit else metric.column for metric in PANEL_METRICS]
    frame = pd.DataFrame({**keys, "epoch": line.epochs, "latent_dim": line.sizes})
    stopped = np.array(line.epochs) >= (math.inf if row.stop is None else row.stop)
    return frame.assign(rule_has_fired=stopped, **dict(zip(units, line.values, strict=True)))


def figure_2_data(runs: StoreFrames) -> ALDCurves | None:
    """Metrics while the size shrinks to 2, and where the stop rule would have ended that (`ald@full`)."""
    rows = []
    for dataset, found in _by_dataset(runs, (FULL,)):
        search = found.iloc[0]
        logged = runs.training(search["search_id"], int(search["chosen_trial"]))
        line = _training("ALD", logged)
        stop = _first_stop(logged)
        about = (*_about(search), f"size {line.sizes[0]} → {line.sizes[-1]}", _fired(line, stop))
        rows.append(DatasetCurves(dataset, about, search["test_fid_features"], (line,), stop))
    return ALDCurves(tuple(rows)) if rows else None


def figure_3_data(runs: StoreFrames) -> ALDCurves | None:
    """An ALD training, and one of fixed size at the size that it found (`ald@retrain`)."""
    rows = []
    for dataset, found in _by_dataset(runs, (RETRAINED,)):
        search = found.iloc[0]
        shrinking, fixed = (runs.training(search["search_id"], trial) for trial in (0, 1))
        lines = (_training("fixed", fixed), _training("ALD", shrinking))
        stop = _first_stop(shrinking)
        about = (*_about(search), f"final size {search['latent_dim']:g}", *([] if stop else [_fired(lines[1], stop)]))
        rows.append(DatasetCurves(dataset, about, search["test_fid_features"], lines, stop))
    return ALDCurves(tuple(rows)) if rows else None


def figure_4_data(runs: StoreFrames) -> ALDCurves | None:
    """ALD trainings from several start sizes, those that have finished."""
    rows = []
    for dataset, found in _by_dataset(runs, STARTS):
        lines = []
        for _, search in found.set_index("searcher").loc[in_order(found["searcher"])[::-1]].iterrows():
            logged = runs.training(search["search_id"], int(search["chosen_trial"]))
            lines.append(_training(f"{logged['latent_dim'].iloc[0]:g} (Dim = {search['latent_dim']:g})", logged))
        first = found.iloc[0]
        rows.append(DatasetCurves(dataset, _about(first), first["test_fid_features"], tuple(lines), None))
    return ALDCurves(tuple(rows)) if rows else None


def _by_dataset(runs: StoreFrames, searchers: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Returns every dataset's printed name and searches to draw, of any protocol; the paper's datasets first."""
    found = runs.searches[runs.searches["searcher"].isin(searchers)]
    return [(printed_name(name), of_one_seed(found[found["dataset"] == name])) for name in _datasets(found)]


def _datasets(searches: pd.DataFrame) -> list[str]:
    present = set(searches["dataset"])
    return [name for name in PAPER_SD if name in present] + sorted(present - set(PAPER_SD))


def _about(search: pd.Series) -> tuple[str, ...]:
    note = budget_note(_share(search))
    return f"{search['backbone']}, seed {search['seed']:g}", *([note] if note else [])


def _share(search: pd.Series) -> float:
    return share_of_budget(search) if search["protocol"] in PROTOCOLS else math.nan


def _training(name: str, rows: pd.DataFrame) -> TrainingLine:
    values = tuple(tuple(rows[metric.column].astype(float)) for metric in PANEL_METRICS)
    return TrainingLine(name, tuple(rows["epoch"].astype(int)), tuple(rows["latent_dim"].astype(int)), values)


def _first_stop(rows: pd.DataFrame) -> int | None:
    fired = rows.loc[rows["ctl_stopped"] > 0, "epoch"] if "ctl_stopped" in rows else rows["epoch"].iloc[:0]
    return int(fired.iloc[0]) if len(fired) else None


def _fired(line: TrainingLine, stop: int | None) -> str:
    return "rule did not fire" if stop is None else f"rule fires at {line.sizes[line.epochs.index(stop)]}"


def seeds_data(runs: StoreFrames) -> PaperTable | None:
    """Section 5.2's spread of the chosen size over seeds, a row per dataset and settings of ALD.

    A dataset of the paper needs one finished seed, any other two.
    """
    everything = runs.store.searches()
    ours = _choosing(everything)
    settings = [name for name in ours.columns if name.startswith("setting_")]
    rows = []
    for dataset in _datasets(ours):
        of_dataset = ours[ours["dataset"] == dataset]
        for searcher in in_order(of_dataset["searcher"]):
            for _, alike in of_dataset[of_dataset["searcher"] == searcher].groupby(settings, dropna=False):
                done = alike[alike["status"] == "done"]
                if done["seed"].nunique() >= (1 if dataset in PAPER_SD else 2):
                    rows.append(_seeds_row(dataset, done, alike))
    return PaperTable(pd.DataFrame(rows)) if rows else None


def _choosing(searches: pd.DataFrame) -> pd.DataFrame:
    """Keeps ALD's searches that choose a size by the stop rule; a retrained one repeats a choice."""
    base = searches["searcher"].str.partition("@")[0]
    settings = searches.reindex(columns=["setting_stop_rule", "setting_retrain"])
    ignored = (settings["setting_stop_rule"] == "False") | (settings["setting_retrain"] == "True")
    return searches[(base == "ald") & ~ignored]


def _start_size(search: pd.Series) -> int | None:
    """The setting, which results of version 0.1 call latent_dim, or else the largest size of the space."""
    for name in ("setting_start_latent_dim", "setting_latent_dim"):
        if str(search.get(name)).isdecimal():
            return int(search[name])
    largest = str(search.get("space")).partition(" to ")[2].partition(";")[0]
    return int(largest) if largest else None


def _seeds_row(dataset: str, done: pd.DataFrame, alike: pd.DataFrame) -> dict[str, object]:
    """Makes a row of the searches of one condition, preferably with several seeds, then of the largest budget."""
    drawn = of_one_condition(done, complete=lambda rows: min(2, rows["seed"].nunique()))
    first = drawn.iloc[0]
    unfinished = alike[(alike["protocol_hash"] == first["protocol_hash"]) & (alike["status"] != "done")]
    mean, sd = mean_sd(drawn["latent_dim"].astype(float))
    return {
        "dataset": printed_name(dataset),
        "searcher": first["searcher"],
        "start size": _start_size(first),
        "seeds": len(drawn),
        "failed or running": len(unfinished),
        "mean size [dimensions]": mean,
        "sd [dimensions]": sd,
        "paper's sd [dimensions]": PAPER_SD.get(dataset, math.nan),
        "backbone": first["backbone"],
        "epochs": int(first["epochs"]),
        "share of the paper's budget [%]": 100 * _share(first),
    }


_LABEL_LETTERS, _TITLE_LETTERS = 19, 42  # a line, at the left of a row and above a column
_TOP_TICKS = 5  # latent sizes over a panel of a quarter page
_SHADES = ("#7f3800", "#d55e00", "#f0a25e")  # ALD's colour, darker and lighter: three trainings of one searcher


class _Look(NamedTuple):
    """A training's line."""

    color: str
    linewidth: float
    linestyle: Linestyle = "-"

    def handle(self) -> Line2D:
        """Makes the legend's handle."""
        return Line2D([], [], color=self.color, linewidth=self.linewidth, linestyle=self.linestyle)


_ALD = _Look(searcher_style("ald").color, 1.1)
_STOP = _Look(STOP_RED, 1.0, "--")


def draw_figure_2(data: ALDCurves) -> Figure:
    """A row per dataset, the latent size above; the red line is where the stop rule would have ended removal."""
    names = ["ALD without its stop rule (upper axis: latent size, dimensions)"]
    return _rows_figure(data, {"ALD": _ALD}, names, "the rule would have stopped removal")


def draw_figure_3(data: ALDCurves) -> Figure:
    """A row per dataset; ALD solid with its latent size above, the training of fixed size dashed."""
    looks = {"fixed": _Look(searcher_style("grid").color, 0.9, (0, (4, 1.2))), "ALD": _ALD}
    names = ["final size from the start", "ALD (upper axis: its latent size, dimensions)"]
    return _rows_figure(data, looks, names, "the rule stopped removal")


def draw_figure_4(data: ALDCurves) -> Figure:
    """Two by two panels a dataset, two datasets side by side; a shade and dashes for each start size."""
    n = len(data.rows)
    across, down = min(n, 2), (n + 1) // 2
    figure = Figure(figsize=(PAGE_WIDTH if across == 2 else COLUMN_WIDTH, 3.7 * down), layout="constrained")
    parts: list[SubFigure] = figure.subfigures(down, across, squeeze=False).flatten().tolist()
    for part, row in zip(parts, data.rows, strict=False):
        part.suptitle(fold(f"{row.dataset}: {', '.join(row.about)}", _TITLE_LETTERS))
        looks = _start_looks(row.trainings)
        axes: list[Axes] = part.subplots(2, 2, sharex=True).flatten().tolist()
        for k, ax in enumerate(axes):
            _draw_panel(ax, row, k, looks)
            ax.set_title(_heading(k, row.fid_features))
            if k >= 2:
                ax.set_xlabel("epoch")
        title = "latent size at the start (Dim: at the end)"
        part.legend(
            [look.handle() for look in looks.values()],
            list(looks),
            title=title,
            loc="outside lower center",
            ncols=len(looks),
        )
    return figure


def _start_looks(trainings: Sequence[TrainingLine]) -> dict[str, _Look]:
    """A line style for each training of one dataset."""
    dashes = [style.linestyle for style in searcher_styles(f"ald@{i}" for i in range(len(trainings))).values()]
    return {line.name: _Look(color, 1.0, dash) for line, color, dash in zip(trainings, _SHADES, dashes, strict=False)}


def _rows_figure(data: ALDCurves, looks: dict[str, _Look], names: list[str], stop: str) -> Figure:
    """A row per dataset and a column per metric, the size of the training "ALD" above. looks: of each training, drawn
    in this order; names: theirs and `stop` the red line's in the legend.
    """
    n = len(data.rows)
    figure = Figure(figsize=(PAGE_WIDTH, 0.75 + 1.5 * n), layout="constrained")
    axes: list[list[Axes]] = figure.subplots(n, len(PANEL_METRICS), squeeze=False).tolist()
    features = sorted({features_kind(row.fid_features) for row in data.rows})
    common = features[0] if len(features) == 1 else ""
    for r, row in enumerate(data.rows):
        about = row.about if common else (*row.about, f"{features_kind(row.fid_features)} features")
        label = "\n".join(fold(line, _LABEL_LETTERS) for line in (row.dataset, *about))
        axes[r][0].set_ylabel(label, rotation=0, ha="right", va="center", multialignment="right")
        for k, ax in enumerate(axes[r]):
            _draw_panel(ax, row, k, looks)
            if row.stop is not None:
                ax.axvline(row.stop, **_STOP._asdict())
            shrinking = next(line for line in row.trainings if line.name == "ALD")
            ticks = _size_ticks(shrinking, _longest(row) / _TOP_TICKS)
            upper = ax.secondary_xaxis("top")
            upper.set_xticks(list(ticks), [str(size) for size in ticks.values()])
            upper.tick_params(labelsize=6.5, colors=_ALD.color, pad=1, length=2)
            if r == 0:
                ax.set_title(_heading(k, common), pad=6)
            if r == n - 1:
                ax.set_xlabel("epoch")
    handles = [look.handle() for look in looks.values()]
    if any(row.stop is not None for row in data.rows):
        handles, names = [*handles, _STOP.handle()], [*names, stop]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def _size_ticks(line: TrainingLine, gap: float) -> dict[int, int]:
    """Epochs to mark with their latent size, at least `gap` apart, the last epoch's among them."""
    ticks = size_ticks(line.epochs, line.sizes, gap)
    last = line.epochs[-1]
    return {epoch: size for epoch, size in ticks.items() if epoch <= last - gap} | {last: line.sizes[-1]}


def _heading(k: int, fid_features: str) -> str:
    """A metric's name, its unit below and its direction; no features where the rows' differ."""
    metric = PANEL_METRICS[k]
    text = metric.heading(fid_features, "\n") if fid_features or not metric.is_fid else metric.label
    return f"{text} {metric.arrow}"


def _longest(row: DatasetCurves) -> int:
    return max(line.epochs[-1] for line in row.trainings)


def _draw_panel(ax: Axes, row: DatasetCurves, k: int, looks: dict[str, _Look]) -> None:
    by_name = {line.name: line for line in row.trainings}
    for name, look in looks.items():
        line = by_name[name]
        marker = "." if len(line.epochs) == 1 else ""
        ax.plot(line.epochs, line.values[k], marker=marker, **look._asdict())
    measured = [value for line in row.trainings for value in line.values[k] if math.isfinite(value)]
    if not measured:
        no_values(ax)
        ax.set_yticks([])
    elif PANEL_METRICS[k].better == "lower" and worth_log(measured):
        log_scale(ax, "y", measured, most=5)
    else:
        ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
