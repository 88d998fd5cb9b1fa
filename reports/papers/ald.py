"""The figures of ALD-VAE (arXiv 2312.06280) and the numbers of its section 5.2, from the store's runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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
from reports.papers.runs import (
    PaperTable,
    budget_note,
    is_full,
    of_one_condition,
    of_one_seed,
    printed_name,
    seeds_note,
    share_of_budget,
    share_of_epoch,
)

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
    """A line of every panel: by epoch the latent size, and `values[i]`, metric i of `PANEL_METRICS` or NaN.

    stop: the epoch after which its seed's stop rule fired, or None.
    """

    name: str
    seed: int
    stop: int | None
    epochs: tuple[int, ...]
    sizes: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class DatasetCurves:
    """One dataset's panels. about: which runs, a line each. trainings: those of the first seed, then of the others."""

    dataset: str
    about: tuple[str, ...]
    fid_features: str
    trainings: tuple[TrainingLine, ...]


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
    frame = pd.DataFrame({**keys, "seed": line.seed, "epoch": line.epochs, "latent_dim": line.sizes})
    stopped = np.array(line.epochs) >= (math.inf if line.stop is None else line.stop)
    return frame.assign(rule_has_fired=stopped, **dict(zip(units, line.values, strict=True)))


def figure_2_data(runs: StoreFrames) -> ALDCurves | None:
    """Metrics while the size shrinks to 2, and where the stop rule would have ended that (`ald@full`), of all seeds."""
    rows = []
    for dataset, found in _by_dataset(runs, (FULL,)):
        lines = []
        for _, search in found.iterrows():
            logged = runs.training(search["search_id"], int(search["chosen_trial"]))
            lines.append(_training("ALD", search, logged, logged))
        sizes = f"size {lines[0].sizes[0]} → {_list(line.sizes[-1] for line in lines)}"
        rows.append(_curves(dataset, found, lines, sizes, _fired(lines)))
    return ALDCurves(tuple(rows)) if rows else None


def figure_3_data(runs: StoreFrames) -> ALDCurves | None:
    """An ALD training, and one of fixed size at the size that it found (`ald@retrain`), of all seeds."""
    rows = []
    for dataset, found in _by_dataset(runs, (RETRAINED,)):
        lines = []
        for _, search in found.iterrows():
            shrinking, fixed = (runs.training(search["search_id"], trial) for trial in (0, 1))
            lines += [_training("fixed", search, fixed, shrinking), _training("ALD", search, shrinking, shrinking)]
        sizes = f"final size {_list(found['latent_dim'])}"
        about = () if all(line.stop for line in lines) else (_fired(lines[1::2]),)
        rows.append(_curves(dataset, found, lines, sizes, *about))
    return ALDCurves(tuple(rows)) if rows else None


def figure_4_data(runs: StoreFrames) -> ALDCurves | None:
    """ALD trainings of one seed from several start sizes, those that have finished; by name the other seeds' sizes."""
    rows = []
    for dataset, found in _by_dataset(runs, STARTS):
        lines = []
        drawn = of_one_seed(found)
        for _, search in drawn.set_index("searcher", drop=False).loc[in_order(drawn["searcher"])[::-1]].iterrows():
            logged = runs.training(search["search_id"], int(search["chosen_trial"]))
            others = found.loc[(found["searcher"] == search["searcher"]) & (found["seed"] != search["seed"])]
            ends = f"; {seeds_note(others['seed'])}: {_list(others['latent_dim'])}" if len(others) else ""
            name = f"{logged['latent_dim'].iloc[0]:g} (Dim = {search['latent_dim']:g}{ends})"
            lines.append(_training(name, search, logged, logged))
        rows.append(_curves(dataset, drawn, lines))
    return ALDCurves(tuple(rows)) if rows else None


def _by_dataset(runs: StoreFrames, searchers: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Returns every dataset's printed name and searches to draw, of any protocol; the paper's datasets first."""
    found = runs.searches[runs.searches["searcher"].isin(searchers)]
    return [(printed_name(name), of_one_condition(found[found["dataset"] == name])) for name in _datasets(found)]


def _datasets(searches: pd.DataFrame) -> list[str]:
    present = set(searches["dataset"])
    return [name for name in PAPER_SD if name in present] + sorted(present - set(PAPER_SD))


def _curves(dataset: str, drawn: pd.DataFrame, lines: Sequence[TrainingLine], *about: str) -> DatasetCurves:
    """One dataset's panels: network, seeds and budget, then what else there is to say about them."""
    first = drawn.iloc[0]
    epoch = share_of_epoch(first)
    notes = [budget_note(_share(first)), "" if is_full(epoch) else f"epochs of {100 * epoch:.3g} % of the images"]
    said = f"{first['backbone']}, {seeds_note(sorted(set(drawn['seed'])))}", *filter(None, notes), *about
    return DatasetCurves(dataset, said, first["test_fid_features"], tuple(lines))


def _share(search: pd.Series) -> float:
    return share_of_budget(search) if search["protocol"] in PROTOCOLS else math.nan


def _training(name: str, search: pd.Series, rows: pd.DataFrame, ruled: pd.DataFrame) -> TrainingLine:
    """The line of a training. ruled: the rows of the one whose stop rule is marked."""
    fired = ruled.loc[ruled["ctl_stopped"] > 0, "epoch"] if "ctl_stopped" in ruled else ruled["epoch"].iloc[:0]
    stop = int(fired.iloc[0]) if len(fired) else None
    values = tuple(tuple(rows[metric.column].astype(float)) for metric in PANEL_METRICS)
    by_epoch = tuple(rows["epoch"].astype(int)), tuple(rows["latent_dim"].astype(int))
    return TrainingLine(name, int(search["seed"]), stop, *by_epoch, values)


def _fired(lines: Sequence[TrainingLine]) -> str:
    """The size at which the rule fired, of each seed."""
    fired = ["never" if line.stop is None else str(line.sizes[line.epochs.index(line.stop)]) for line in lines]
    return "rule did not fire" if set(fired) == {"never"} else f"rule fires at {_list(fired)}"


def _list(values: Iterable[object]) -> str:
    """`36, 40, 31`, and one value where all are the same."""
    texts = [f"{value:g}" if isinstance(value, (int, float)) else str(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


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
    alpha: float = 1.0

    def pale(self) -> _Look:
        """That of the seeds that do not stand out."""
        return self._replace(linewidth=0.6 * self.linewidth, alpha=0.4)

    def handle(self) -> Line2D:
        """Makes the legend's handle."""
        return Line2D([], [], **self._asdict())


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
            ncols=1 if any(";" in name for name in looks) else len(looks),
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
            shrinking = [line for line in row.trainings if line.name == "ALD"]
            for line in shrinking:
                if line.stop is not None:
                    ax.axvline(line.stop, **(_STOP if line.seed == shrinking[0].seed else _STOP.pale())._asdict())
            ticks = _size_ticks(shrinking[0], _longest(row) / _TOP_TICKS)
            upper = ax.secondary_xaxis("top")
            upper.set_xticks(list(ticks), [str(size) for size in ticks.values()])
            upper.tick_params(labelsize=6.5, colors=_ALD.color, pad=1, length=2)
            if r == 0:
                ax.set_title(_heading(k, common), pad=6)
            if r == n - 1:
                ax.set_xlabel("epoch")
    handles = [look.handle() for look in looks.values()]
    if any(line.stop is not None for row in data.rows for line in row.trainings):
        handles, names = [*handles, _STOP.handle()], [*names, stop]
    if any(len({line.seed for line in row.trainings}) > 1 for row in data.rows):
        handles, names = [*handles, _ALD.pale().handle()], [*names, "pale: other seeds"]
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 3))
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
    for name, look in looks.items():
        for line in (line for line in row.trainings if line.name == name):
            marker = "." if len(line.epochs) == 1 else ""
            is_first = line.seed == row.trainings[0].seed
            style = (look if is_first else look.pale())._asdict()
            ax.plot(line.epochs, line.values[k], marker=marker, zorder=2.1 if is_first else 2, **style)
    measured = [value for line in row.trainings for value in line.values[k] if math.isfinite(value)]
    if not measured:
        no_values(ax)
        ax.set_yticks([])
    elif PANEL_METRICS[k].better == "lower" and worth_log(measured):
        log_scale(ax, "y", measured, most=5)
    else:
        ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
