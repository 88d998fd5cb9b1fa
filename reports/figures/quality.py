"""Quality against latent size: what more latents are worth, and which sizes are as good as the best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmark.store.frames import compared_all
from reports.analysis.effects import MARGIN
from reports.analysis.losses import grid_trainings, losses_of, seed_levels
from reports.analysis.stats import mean_interval
from reports.analysis.verdicts import WITHIN
from reports.data.groups import Group
from reports.data.names import GRID, counted, label, parts
from reports.data.numbers import number_text
from reports.data.quantities import ELBO, FID_GEN, FID_RECON, KID_GEN, KL, RECON_NLL, Quantity
from reports.drawing.layout import SPREAD, legend_below, no_values, searcher_entries, unfinished, wrapped_title
from reports.drawing.style import GREY, PAGE_WIDTH, STOP_RED, SearcherStyle, drawn_styles
from reports.drawing.traces import (
    SIDE_LETTERS,
    Choice,
    Trace,
    band,
    choice,
    dashed,
    line,
    plain,
    points,
    scaled_axis,
)

LOSS = Quantity("loss", "loss, −ELBO", ELBO.unit)
METRICS = (LOSS, RECON_NLL, KL, FID_GEN, FID_RECON, KID_GEN)
_PANELS = (LOSS, RECON_NLL, KL, FID_GEN, FID_RECON)  # in print; beside them rate against distortion
TRAININGS, PARTS, ONE = "trainings", "parts", "one training"
"""What a line is of: a training for each size; some of the latents of one model; or there is no line, as each search
has one model only."""
_LIMIT: dict[str, Any] = {"color": STOP_RED, "linewidth": 1.1, "linestyle": "--"}
LIMIT_TEXT = f"{WITHIN} of the gap"
AS_GOOD_TEXT = "as good in most seeds of {}: {}"
_WIDER = 1.06  # how far the shading goes beyond the sizes
_MODEL = ["search_id", "searcher", "seed", "trial", "epoch", "split", "size", ELBO.column]
_MODEL += [metric.column for metric in METRICS[1:]]
_KEYS = ["metric", "line", "split", "searcher"]
_COLUMNS = [*_KEYS, "mark", "n", "seed", "search_id", "trial", "size", "chosen", "value", "level", "low", "high"]
_AS_GOOD = "#F0E442"  # yellow: no searcher's, and no band's


@dataclass(frozen=True)
class Reference:
    """What the loss is compared with (nats/image): the best size's mean, without latents, and the limit.

    limit: the best and 5 % of the gap between the two.
    """

    best: float
    no_latents: float

    @property
    def limit(self) -> float:
        """The largest loss that is as good as the best."""
        return self.best + MARGIN * (self.no_latents - self.best)


@dataclass(frozen=True)
class Quality:
    """Marks of every metric; see `quality_data`.

    as_good: whose sizes are as good, the smallest and the largest: the grid's, or without one the first method's that
    says so.
    """

    title: str
    fid_features: str
    searchers: tuple[str, ...]
    marks: pd.DataFrame
    reference: Reference | None
    as_good: tuple[str, int, int] | None
    notes: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """The marks, then the lines and the range that the others are read against."""
        more: list[dict[str, object]] = []
        if self.reference:
            found = {f"best + {LIMIT_TEXT}": self.reference.limit, "without latents": self.reference.no_latents}
            more += [{"metric": LOSS.csv_column(""), "mark": mark, "value": value} for mark, value in found.items()]
        more += [{"mark": "as good", "size": size} for size in (self.as_good or ())[1:]]
        return pd.DataFrame([*self.marks.to_dict("records"), *more], columns=_COLUMNS).astype({"seed": "Int64"})

    def of(self, metric: Quantity) -> pd.DataFrame:
        """The marks of one metric."""
        return self.marks[self.marks["metric"] == metric.csv_column(self.fid_features)]


def quality_data(group: Group) -> Quality | None:
    """The finished models of the group by latent size, on the test split; None where no model has been assessed.

    One row a mark: a model (mark `seed`), or the mean over the n models of a searcher's line at one size (mark
    `mean`) with the range of the seeds, from 6 seeds on with the 95 % t-interval, as low and high. chosen: whether the
    search handed over this size. line: see `TRAININGS`. value: without the level of its seed, which is how far the
    grid's values lie above those of other seeds (see `seed_levels`). The models with only some of their latents are on
    validation data where the test split has none.
    """
    models = _models(group)
    found = []
    grids = group.of(group.grids[0], "done").drop_duplicates("seed") if group.grids else group.done[:0]
    for metric in METRICS:
        sign, column = (-1.0, ELBO.column) if metric == LOSS else (1.0, metric.column)
        levels = seed_levels(sign * grid_trainings(group, column, grids["search_id"]))
        level = models["seed"].map(levels).fillna(0.0)
        name = metric.csv_column(group.fid_features)
        seeds = models.assign(metric=name, value=sign * models[column] - level, level=level, mark="seed", n=1)
        seeds = seeds.dropna(subset=["value"])
        lines = seeds[seeds["line"] != ONE]
        found += [seeds, *(_mean(rows) for _, rows in lines.groupby([*_KEYS, "size"], sort=False))]
    marks = pd.concat(found, ignore_index=True).reindex(columns=_COLUMNS)
    if marks.empty:
        return None
    losses = losses_of(group)
    reference = Reference(losses.best, losses.no_latents) if losses else None
    found_good = ((name, group.as_good(name)) for name in (group.grids[:1] or group.searchers))
    as_good = next(((label(name), sizes[0], sizes[-1]) for name, sizes in found_good if sizes), None)
    title = f"Quality against latent size: {group.title}"
    notes = tuple(_notes(group, models, reference, bool(marks["level"].any())))
    return Quality(title, group.fid_features, tuple(group.searchers), marks, reference, as_good, notes)


def _models(group: Group) -> pd.DataFrame:
    """The rows of `curves` to draw, each with its line and whether its size is the chosen one."""
    done = group.done.reindex(columns=["search_id", "latent_dim", "chosen_trial", "pareto"])
    rows = group.curves[_MODEL].merge(done, on="search_id")
    # A search that compared its trainings has their Pareto front; of another only the chosen training is its result.
    compared = compared_all(rows).to_numpy()
    is_chosen = rows["trial"] == rows["chosen_trial"].fillna(rows["trial"])
    trained = rows[(rows["split"] == "test") & _is_last(rows) & (is_chosen | compared)]
    trained = trained[trained["size"] == trained.groupby(["search_id", "trial"])["size"].transform("max")]
    several = trained.groupby("search_id")["size"].transform("nunique") > 1
    kind = trained["searcher"].isin(trained.loc[several, "searcher"]).map({True: TRAININGS, False: ONE})
    trained = trained.assign(line=kind, chosen=is_chosen[trained.index])
    at_once = rows.groupby(["search_id", "trial", "split", "epoch"])["size"].transform("nunique")
    pruned = rows[is_chosen & (at_once > 1)]
    pruned = pruned[_is_last(pruned)]
    tested = pruned.loc[pruned["split"] == "test", "search_id"]
    pruned = pruned[(pruned["split"] == "test") == pruned["search_id"].isin(tested)]
    return pd.concat([trained, pruned.assign(line=PARTS, chosen=pruned["size"] == pruned["latent_dim"])])


def _is_last(rows: pd.DataFrame) -> pd.Series[bool]:
    """Whether no other row of the training is of a later epoch."""
    return rows["epoch"] == rows.groupby(["search_id", "trial"])["epoch"].transform("max")


def _mean(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean of a line at one size, as a frame of one row."""
    low, high = mean_interval(rows["value"])
    mean = rows["value"].mean()
    return rows.iloc[:1][[*_KEYS, "size"]].assign(mark="mean", n=len(rows), value=mean, low=low, high=high)


def _lines(marks: pd.DataFrame, styles: dict[str, SearcherStyle]) -> Iterator[tuple[str, SearcherStyle, pd.DataFrame]]:
    """What each line is of, its style and its marks, in the order of the searchers."""
    for name, style in styles.items():
        for kind, rows in marks[marks["searcher"] == name].groupby("line"):
            yield str(kind), style, rows


def _notes(group: Group, models: pd.DataFrame, reference: Reference | None, is_level: bool) -> Iterable[str]:
    yield from unfinished(group)
    if is_level:
        yield "Seeds have other images: a seed's level, the grid's mean over all sizes, is taken off."
    if reference:
        yield (
            f"Without latents the loss is {number_text(reference.no_latents)} nats/image; the best size is worth "
            f"{reference.no_latents - reference.best:.3g} (the gap)."
        )
    in_parts = models[models["line"] == PARTS]
    for split, rows in in_parts.groupby("split"):
        data = "validation data" if split == "val" else "the test split"
        names = ", ".join(map(label, dict.fromkeys(rows["searcher"])))
        yield f"Dotted: some of the latents of one model, when it was last compared, on {data} ({names})."
    lost = group.done.loc[~group.done["search_id"].isin(models["search_id"]), "searcher"]
    if len(lost):
        yield f"Finished without an assessed model: {counted(lost)}."


# ---- in print


def draw_quality(data: Quality) -> Figure:
    """Two rows of three panels: five metrics against the latent size, and rate against distortion."""
    figure = Figure(figsize=(PAGE_WIDTH, 5.3 + 0.12 * len(data.notes)), layout="constrained")
    wrapped_title(figure, data.title)
    axes = figure.subplots(2, 3)
    styles = drawn_styles(data.searchers, data.marks["searcher"])
    for ax, metric in zip(axes.flat, _PANELS, strict=False):
        marks = data.of(metric)
        ax.set_title(f"{metric.heading(data.fid_features, chr(10))} {metric.arrow}", fontsize=7.5)
        ax.set_xlabel("latent size")
        if marks.empty:
            no_values(ax)
            continue
        _size_axis(ax, data.marks["size"])
        _draw_metric(ax, marks, styles)
        if metric == LOSS and data.reference:
            _draw_reference(ax, data.reference)
        if data.as_good:
            _, low, high = data.as_good
            ax.axvspan(low / _WIDER, high * _WIDER, color=_AS_GOOD, alpha=0.3, linewidth=0, zorder=0)
    _draw_plane(axes[1, 2], data, styles)
    legend_below(figure, *_entries(data, styles), data.notes)
    return figure


def _size_axis(ax: Axes, sizes: pd.Series[float]) -> None:
    """A log axis of powers of two, with some room at its ends."""
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(powers_of_two(sizes)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:g}"))
    ax.set_xlim(sizes.min() / 1.25, sizes.max() * 1.25)


def powers_of_two(sizes: pd.Series[float]) -> list[float]:
    """The powers of two around the sizes, for the ticks of their axis."""
    low, high = (math.log2(size) for size in (sizes.min(), sizes.max()))
    return [2.0**power for power in range(math.floor(low), math.ceil(high) + 1)]


def _draw_metric(ax: Axes, marks: pd.DataFrame, styles: dict[str, SearcherStyle]) -> None:
    for kind, style, rows in _lines(marks, styles):
        means = rows[rows["mark"] == "mean"].sort_values("size")
        dashes = ":" if kind == PARTS else style.linestyle
        ax.plot(means["size"], means["value"], color=style.color, linestyle=dashes, linewidth=1.1)
        ax.fill_between(means["size"], means["low"], means["high"], color=style.color, alpha=0.15, linewidth=0)
        _draw_models(ax, rows[rows["mark"] == "seed"], "size", "value", style)


def _draw_models(ax: Axes, rows: pd.DataFrame, x: str, y: str, style: SearcherStyle) -> None:
    """A marker a model, filled where it is the chosen one."""
    for chosen, size in ((False, 2.6), (True, 4.6)):
        of = rows[rows["chosen"] == chosen]
        face = style.color if chosen and style.fill == "full" else "white"
        look = style.mark | {"markerfacecolor": face, "markeredgecolor": "white" if chosen else style.color}
        look |= {"markeredgewidth": 0.4, "alpha": 0.85 if chosen else 0.6}
        ax.plot(of[x], of[y], linestyle="none", markersize=size, zorder=3 if chosen else 2, **look)


def _draw_reference(ax: Axes, reference: Reference) -> None:
    """The limit of what is as good; the loss without latents where that leaves the curves room."""
    low, high = ax.get_ylim()
    ax.axhline(reference.limit, **_LIMIT)
    _name_line(ax, reference.limit, f"best + {WITHIN}", 2)
    if reference.no_latents - low < 1.6 * (high - low):
        ax.axhline(reference.no_latents, color=GREY, linewidth=0.9)
        _name_line(ax, reference.no_latents, "without latents", -7)


def _name_line(ax: Axes, y: float, name: str, up: float) -> None:
    """Writes the name of a horizontal line at its right end, so many points above it."""
    ax.annotate(name, (1, y), (-2, up), ax.get_yaxis_transform(), "offset points", ha="right", fontsize=6)


def _draw_plane(ax: Axes, data: Quality, styles: dict[str, SearcherStyle]) -> None:
    """Rate (KL) against distortion (reconstruction NLL), with the sizes beside the grid's means."""
    ax.set_title("rate against distortion\n(nats/image)", fontsize=7.5)
    ax.set_xlabel("KL")
    ax.set_ylabel("reconstruction NLL", fontsize=7)
    plane = rate_distortion(data)
    if plane.empty:
        no_values(ax)
    for _, style, rows in _lines(plane, styles):
        means = rows[rows["mark"] == "mean"].sort_values("size")
        ax.plot(means["rate"], means["distortion"], color=style.color, linestyle=style.linestyle, linewidth=0.9)
        _draw_models(ax, rows[rows["mark"] == "seed"], "rate", "distortion", style)
        if len(means) and parts(str(rows["searcher"].iloc[0])).base == GRID:
            _name_sizes(ax, means, style.color)


def _name_sizes(ax: Axes, means: pd.DataFrame, color: str) -> None:
    """Writes the sizes beside their means, from the smallest on, as far as there is room."""
    at = means[["rate", "distortion"]].to_numpy()
    room, last = 0.06 * np.ptp(at, axis=0), np.full(2, np.inf)
    for place, size in zip(at, means["size"], strict=True):
        if (np.abs(place - last) > room).any():
            ax.annotate(f"{size:g}", tuple(place), (3, 3), textcoords="offset points", fontsize=6, color=color)
            last = place


def rate_distortion(data: Quality) -> pd.DataFrame:
    """The marks of whole trainings that have both, as columns rate (KL) and distortion (reconstruction NLL)."""
    keys = ["line", "searcher", "mark", "seed", "search_id", "trial", "size", "chosen"]
    rate, distortion = (
        data.of(metric).loc[lambda rows: rows["line"] != PARTS, [*keys, "value"]].rename(columns={"value": name})
        for metric, name in ((KL, "rate"), (RECON_NLL, "distortion"))
    )
    return rate.merge(distortion, on=keys)


def _entries(data: Quality, styles: dict[str, SearcherStyle]) -> tuple[list[Artist], list[str]]:
    """The legend: searchers, then what marks and areas mean, as far as they are drawn."""
    handles, names = searcher_entries(styles.values(), is_line=True)
    found: list[tuple[Artist, str]] = list(zip(handles, names, strict=True))
    seeds = data.marks[data.marks["mark"] == "seed"]
    grey: dict[str, Any] = {"color": GREY, "marker": "o", "linestyle": "none", "markeredgewidth": 0.6}
    found.append((Line2D([], [], **grey, markersize=4.6, markeredgecolor="white"), "chosen size of a seed"))
    if (~seeds["chosen"].astype(bool)).any():
        found.append((Line2D([], [], **grey, markersize=3, markerfacecolor="white"), "other sizes of a seed"))
    if data.marks["low"].notna().any():
        found.append((Patch(color=GREY, alpha=0.3, linewidth=0), SPREAD))
    if data.reference:
        found.append((Line2D([], [], **_LIMIT), f"best + {LIMIT_TEXT}"))
    if data.as_good:
        searcher, low, high = data.as_good
        sizes = f"{low} to {high}" if low < high else str(low)
        found.append((Patch(color=_AS_GOOD, alpha=0.3, linewidth=0), AS_GOOD_TEXT.format(searcher, sizes)))
    return [handle for handle, _ in found], [name for _, name in found]


# ---- on the page


def interactive_quality(data: Quality, most_runs: int) -> Iterable[Choice]:
    """A choice a metric, against the latent size, then rate against distortion."""
    styles = drawn_styles(data.searchers, data.marks["searcher"])
    for metric in METRICS:
        marks = data.of(metric)
        if marks.empty:
            continue
        hover = f"<br>size %{{x}}: %{{y:.5~g}} {metric.unit_with(data.fid_features)}".rstrip()
        traces = []
        if metric == LOSS and data.reference:
            ends = pd.DataFrame({"size": [marks["size"].min(), marks["size"].max()], "value": data.reference.limit})
            traces.append(dashed(ends, "size", "value", STOP_RED, f"best + {LIMIT_TEXT}"))
        for kind, style, rows in _lines(marks, styles):
            traces += _traces(rows, kind, "size", "value", style, hover)
        x = scaled_axis("latent size", []) | _power_axis(data.marks["size"])
        y = scaled_axis(f"{metric.heading(data.fid_features)} {metric.arrow}", [], SIDE_LETTERS)
        yield choice(metric.name(data.fid_features), traces, xaxis=x, yaxis=y, shapes=_shading(data))
    plane = rate_distortion(data)
    if not plane.empty:
        hover = "<br>KL %{x:.4~g}, reconstruction NLL %{y:.5~g}"
        traces = []
        for kind, style, rows in _lines(plane, styles):
            traces += _traces(rows, kind, "rate", "distortion", style, hover)
        x, y = scaled_axis("KL (nats/image)", []), scaled_axis(RECON_NLL.heading(""), [], SIDE_LETTERS)
        yield choice("rate against distortion", traces, xaxis=x, yaxis=y)


def _traces(rows: pd.DataFrame, kind: str, x: str, y: str, style: SearcherStyle, hover: str) -> list[Trace]:
    """A line of means with its band where there is one, then the models, the chosen ones larger; in the legend once."""
    seeds, means = (rows[rows["mark"] == mark].sort_values("size") for mark in ("seed", "mean"))
    if kind == PARTS:
        style = replace(style, linestyle=":", label=f"{style.label}, some latents of one model")
    found: list[Trace] = []
    if len(means):
        found += _bands(means, x, style) if "low" in means else []
        found.append(line(means, x, y, style, hover, f"{plain(style.label)}, mean over seeds"))
    for chosen, size in ((False, 6), (True, 10)):
        of = seeds[seeds["chosen"] == chosen]
        if len(of):
            texts = [_model_text(row, style) for _, row in of.iterrows()]
            is_named = not len(means) and chosen
            trace = points(of, x, y, style, size, 0.9 if chosen else 0.45, hover, texts)
            found.append(trace | {"showlegend": is_named})
    return [trace | {"legendgroup": style.label} for trace in found]


def _bands(means: pd.DataFrame, x: str, style: SearcherStyle) -> list[Trace]:
    """A band for each stretch of sizes that several seeds have: one across a gap would be of nothing."""
    known = means["low"].notna()
    stretches = means[known].groupby((~known).cumsum()[known])
    return [trace for _, rows in stretches if len(rows) > 1 for trace in band(rows, x, "low", "high", style)]


def _model_text(row: pd.Series, style: SearcherStyle) -> str:
    chosen = "<br>chosen" if row["chosen"] else ""
    return f"{plain(style.label)}, seed {row['seed']:g}, size {row['size']:g}{chosen}<br>{plain(row['search_id'])}"


def _power_axis(sizes: pd.Series[float]) -> dict[str, Any]:
    ticks = powers_of_two(sizes)
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _shading(data: Quality) -> list[dict[str, Any]]:
    """The sizes that are as good, as a rectangle over the height of the plot."""
    if not data.as_good:
        return []
    _, low, high = data.as_good
    area = {"type": "rect", "layer": "below", "xref": "x", "yref": "paper", "y0": 0, "y1": 1}
    return [
        {**area, "x0": low / _WIDER, "x1": high * _WIDER, "fillcolor": "rgba(240,228,66,0.25)", "line": {"width": 0}}
    ]
