"""The figures and the table of GECO with L0-ARM (arXiv 2003.10901), from the store's runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.drawing.images import Images, gap_of, mosaic, to_rgb
from reports.drawing.layout import fold, log_scale, worth_log, wrapped_title
from reports.drawing.style import COLUMN_WIDTH, STOP_RED, searcher_style
from reports.papers.base import RequiredRuns, StoreFrames
from reports.papers.runs import (
    PaperTable,
    budget_note,
    of_one_condition,
    of_one_seed,
    printed_name,
    seeds_note,
    share_of_budget,
)

BATCH = 64  # images, section IV: batches are counted in these, whatever a run's own batch size
TAUS = (3, 4, 6, 8, 10, 14, 18, 22, 26, 30)
FIGURE_1 = RequiredRuns("geco-figure1", ("geco-l0arm",))
FIGURE_2 = RequiredRuns("geco-figure2", ("geco-l0arm@tau25", "geco-l0arm@tau35"), files=True)
FIGURE_3 = RequiredRuns("geco-figure3", tuple(f"geco-l0arm@tau{tau}" for tau in TAUS))
PAPER_ENDS = ((3, 27), (30, 2))  # (tau, retained dimensions): the two numbers that section IV-B gives
PAPER_SIZES = {25: 5, 35: 3}  # by tau, from figure 2's caption; section IV-C's text says 20 for 25
_SHOWN_TAUS = 5  # reconstructions beside figure 3's original
_SHOWN_DIGIT = 7

# Table I: n -> the baseline's MSE at 200K batches, retained dimensions at 200K, 300K and 400K batches.
TABLE_1 = {
    "dsprites": {5: (9.48, 7, 6, 6), 10: (8.83, 7, 6, 6), 30: (6.14, 13, 12, 10)},
    "cars3d": {5: (94.42, 6, 5, 5), 10: (65.67, 14, 13, 12), 30: (60.97, 21, 17, 16)},
    "shapes3d": {5: (36.73, 6, 6, 6), 10: (19.53, 9, 9, 9), 30: (18.74, 20, 15, 11)},
    "mnist": {5: (17.07, 5, 5, 5), 10: (9.49, 10, 9, 9), 30: (7.16, 14, 14, 14)},
    "cifar100": {5: (325.87, 6, 6, 6), 10: (249.1, 10, 10, 10), 30: (147.8, 31, 30, 30)},
}
SHARES = {"200K": 0.5, "300K": 0.75, "400K": 1.0}  # of the protocol's budget of 400K batches
TABLE_1_NEEDS = {
    name: RequiredRuns(f"geco-table1-{name}", tuple(f"geco-l0arm@n{n}" for n in TABLE_1[name])) for name in TABLE_1
}


@dataclass(frozen=True)
class GecoTraining:
    """Figure 1: one training. about: which. tau: its bound on the MSE.

    curves, a row an epoch: batches so far, mse (squared error summed over the pixels, mean over a batch's images,
    averaged with a decay of 0.95 a batch), gate_mass (sum of sigma(k gamma_j)), lambda, hit_rate (share of the epoch's
    training images within tau).
    """

    about: str
    tau: float
    curves: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """One row an epoch; tau repeated."""
        units = {"mse": "mse [squared error/image]", "hit_rate": "hit_rate [share of images]"}
        frame = self.curves.rename(columns=units).assign(run=self.about)
        frame["tau [squared error/image]"] = self.tau
        return frame


def figure_1_data(runs: StoreFrames) -> GecoTraining | None:
    """The gated training of figure 1's run."""
    found = runs.of(FIGURE_1)
    if found.empty:
        return None
    search = of_one_seed(found).iloc[0]
    rows = runs.training(search["search_id"], int(search["chosen_trial"]))
    curves = pd.DataFrame(
        {
            "batches": rows["images_seen"] / BATCH,
            "mse": rows["ctl_error_average"],
            "gate_mass": rows["ctl_gate_mass"],
            "lambda": rows["ctl_lambda"],
            "hit_rate": rows["ctl_hit_rate"],
        }
    )
    return GecoTraining(_about(runs, search), float(rows["ctl_tau"].iloc[-1]), curves.reset_index(drop=True))


@dataclass(frozen=True)
class Reconstructions:
    """Figure 2: test images [N, H, W, 3], and below them a row per run: its name and their reconstructions."""

    about: str
    originals: Images
    rows: tuple[tuple[str, Images], ...]
    runs: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """One row a run: tau, dimensions, the paper's, and the search that kept the images."""
        units = {"tau": "tau [squared error/image]", "latent_dim": "dimensions"}
        return self.runs.rename(columns=units).assign(images=len(self.originals), run=self.about)


def figure_2_data(runs: StoreFrames) -> Reconstructions | None:
    """Reconstructions by the models of two taus, those whose images the store has."""
    found = runs.of(FIGURE_2)
    if found.empty:
        return None
    drawn = _by_tau(found)
    galleries = [runs.store.gallery(search_id) for search_id in drawn["search_id"]]
    drawn = drawn[[gallery is not None for gallery in galleries]]
    kept = [gallery for gallery in galleries if gallery is not None]
    if not kept:
        return None
    drawn["paper's dimensions"] = drawn["tau"].map(PAPER_SIZES)
    names = [
        f"τ = {search['tau']:g}\nsize {search['latent_dim']:g}\n(paper: {PAPER_SIZES.get(search['tau'], '–')})"
        for _, search in drawn.iterrows()
    ]
    rows = [(name, to_rgb(gallery["reconstructions"])) for name, gallery in zip(names, kept, strict=True)]
    about = _about(runs, drawn.iloc[0])
    columns = ["tau", "latent_dim", "paper's dimensions", "search_id"]
    # Searches of one seed have one test split, and keep the same images of it.
    return Reconstructions(about, to_rgb(kept[0]["originals"]), tuple(rows), drawn[columns])


@dataclass(frozen=True)
class Front:
    """Figure 3. points: tau, seed, retained dimensions and whether these had settled, a row a run; unfinished: the
    paper's taus without one.

    original: a test image [H, W, 3], None where no run kept any; what: what it shows; images: its reconstructions,
    by tau.
    """

    about: str
    unfinished: tuple[int, ...]
    points: pd.DataFrame
    original: Images | None
    what: str
    images: dict[float, Images]

    def frame(self) -> pd.DataFrame:
        """One row a point of the line, then the paper's."""
        ours = self.points.assign(source="ours", run=self.about)
        paper = pd.DataFrame(PAPER_ENDS, columns=["tau", "dimensions"]).assign(source="paper", run="section IV-B")
        return pd.concat([ours, paper], ignore_index=True).rename(columns={"tau": "tau [squared error/image]"})


def figure_3_data(runs: StoreFrames) -> Front | None:
    """Retained dimensions of each tau's runs of all seeds, and one image as some of one seed's reconstruct it."""
    found = runs.of(FIGURE_3)
    if found.empty:
        return None
    drawn = _with_tau(of_one_condition(found))
    points = drawn[["tau", "seed", "latent_dim", "settled"]].rename(columns={"latent_dim": "dimensions"})
    points = points.astype({"settled": bool}).reset_index(drop=True)
    original, what, images = _one_image(runs, _by_tau(found))
    unfinished = tuple(tau for tau in TAUS if tau not in set(drawn["tau"]))
    about = _about(runs, drawn.iloc[0], seeds=sorted(set(drawn["seed"])))
    return Front(about, unfinished, points, original, what, images)


def _one_image(runs: StoreFrames, drawn: pd.DataFrame) -> tuple[Images | None, str, dict[float, Images]]:
    """A test image, what it is, and its reconstructions by tau: at most `_SHOWN_TAUS`, evenly over the points."""
    galleries = {search["tau"]: runs.store.gallery(search["search_id"]) for _, search in drawn.iterrows()}
    kept = {tau: gallery for tau, gallery in galleries.items() if gallery is not None}
    if not kept:
        return None, "", {}
    first = next(iter(kept.values()))
    place, what = 0, "a test image"
    if "labels" in first:  # galleries written before labels were kept have none
        sevens = np.flatnonzero(first["labels"] == _SHOWN_DIGIT)
        place = int(sevens[0]) if len(sevens) else 0
        what = f"a test image of class {first['labels'][place]}"
    taus = list(kept)
    shown = {taus[round(i)] for i in np.linspace(0, len(taus) - 1, min(_SHOWN_TAUS, len(taus)))}
    images = {tau: to_rgb(kept[tau]["reconstructions"])[place] for tau in taus if tau in shown}
    return to_rgb(first["originals"])[place], what, images


def table_1_data(runs: StoreFrames) -> PaperTable | None:
    """Table I, the paper's numbers beside ours; ours are blank where no run has finished."""
    every = runs.store.searches()
    rows = [_table_row(runs, every, name, n) for name, of_n in TABLE_1.items() for n in of_n]
    table = pd.DataFrame(rows).astype({_column(at, "ours"): "Int64" for at in SHARES})
    return PaperTable(table) if table[_column("MSE", "ours")].notna().any() else None


def _table_row(runs: StoreFrames, every: pd.DataFrame, name: str, n: int) -> dict[str, object]:
    """Our MSE is the tau that the baseline training has set; our dimensions are the gates open at each share.

    every: the store's searches, unfinished ones included.
    """
    need, searcher = TABLE_1_NEEDS[name], f"geco-l0arm@n{n}"
    found = runs.of(need)
    found = found[found["dataset"] == name]
    drawn = of_one_seed(found) if len(found) else found
    drawn = drawn[drawn["searcher"] == searcher]
    ours: dict[str, float | int] = {}
    if len(drawn):
        search = drawn.iloc[0]
        gated = runs.training(search["search_id"], int(search["chosen_trial"]))
        open_gates = {
            at: gated["ctl_open_gates"].iloc[max(0, round(share * len(gated)) - 1)] for at, share in SHARES.items()
        }
        ours = {"MSE": float(gated["ctl_tau"].iloc[-1]), **{at: int(dims) for at, dims in open_gates.items()}}
        run = _about(runs, search, dataset=False)
    else:
        keys = ["protocol", "dataset", "searcher"]
        status = every.loc[(every[keys] == [need.protocol, name, searcher]).all(axis=1), "status"]
        run = "not run" if status.empty else ", ".join(sorted(set(status)))
    row: dict[str, object] = {"dataset": printed_name(name), "n": n}
    for what, paper in zip(("MSE", *SHARES), TABLE_1[name][n], strict=True):
        row |= {_column(what, "paper"): paper, _column(what, "ours"): ours.get(what, math.nan)}
    return row | {"run": run}


def _column(what: str, whose: str) -> str:
    """`what`: MSE, or the batches after which the dimensions are counted."""
    if what == "MSE":
        return f"MSE (200K), {whose} [squared error/image]"
    return f"size ({what}), {whose} [dimensions]"


def _by_tau(searches: pd.DataFrame) -> pd.DataFrame:
    """Those to draw of one seed, with their tau, by rising tau."""
    return _with_tau(of_one_seed(searches))


def _with_tau(searches: pd.DataFrame) -> pd.DataFrame:
    return searches.assign(tau=searches["setting_tau"].astype(float)).sort_values(["tau", "seed"])


def _about(runs: StoreFrames, search: pd.Series, dataset: bool = True, seeds: Sequence[int] = ()) -> str:
    """Dataset, backbone, the search's seed or `seeds`, and the budget where it is not the paper's; of figure 2 the
    paper gives none.
    """
    rows = runs.training(search["search_id"], int(search["chosen_trial"]))
    share = share_of_budget(search, rows["images_seen"].iloc[-1])
    note = budget_note(share, of="protocol" if search["protocol"] == FIGURE_2.protocol else "paper")
    parts = [
        *([printed_name(search["dataset"])] if dataset else []),
        search["backbone"],
        seeds_note(seeds or [search["seed"]]),
    ]
    return ", ".join([*parts, *([note] if note else [])])


_ACROSS = 8  # images of figure 2 side by side
_NAME_WIDTH = 0.6  # inches, at their left
_STYLE = searcher_style("geco-l0arm")


def draw_figure_1(data: GecoTraining) -> Figure:
    """Four panels over the batches: MSE with tau, open gates, the multiplier, and how many images are within tau."""
    figure = Figure(figsize=(COLUMN_WIDTH, 5.0), layout="constrained")
    wrapped_title(figure, f"GECO/L0-ARM in training: {data.about}")
    axes: list[Axes] = figure.subplots(4, 1, sharex=True).tolist()
    columns = ("mse", "gate_mass", "lambda", "hit_rate")
    labels = ("MSE\n(sum over pixels,\nper image)", "open gates\n‖σ(kγ)‖₁", "multiplier λ")
    marker = "." if len(data.curves) == 1 else ""
    for ax, column, label in zip(axes, columns, (*labels, "images\nwithin τ (%)"), strict=True):
        values = data.curves[column] * (100 if column == "hit_rate" else 1)
        ax.plot(data.curves["batches"] / 1000, values, color=_STYLE.color, linewidth=1.1, marker=marker)
        ax.set_ylabel(label)
        measured = values.dropna().tolist()
        if column in ("mse", "lambda") and worth_log(measured):
            log_scale(ax, "y", measured, most=5)
    axes[0].axhline(data.tau, color=STOP_RED, linewidth=1.0, linestyle="--", label=f"τ = {data.tau:g}")
    axes[0].legend(loc="upper right")
    axes[1].yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes[3].set_ylim(-3, 103)
    axes[3].set_xlabel(f"thousand batches of {BATCH} images")
    figure.align_ylabels(axes)
    return figure


def draw_figure_2(data: Reconstructions) -> Figure:
    """Test images above, a row per tau below, named at the left with the size that it kept."""
    rows = [("test\nimages", data.originals), *data.rows]
    strips = [mosaic(images[:_ACROSS], min(_ACROSS, len(images)), gap_of(images)) for _, images in rows]
    height = (COLUMN_WIDTH - _NAME_WIDTH) * strips[0].shape[0] / strips[0].shape[1]
    figure = Figure(figsize=(COLUMN_WIDTH, 0.5 + (height + 0.1) * len(rows)), layout="constrained")
    wrapped_title(figure, f"Reconstructions: {data.about}")
    for ax, (name, _), strip in zip(figure.subplots(len(rows), 1), rows, strips, strict=True):
        ax.imshow(strip, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7)
    return figure


def draw_figure_3(data: Front) -> Figure:
    """Retained dimensions against tau, the paper's two printed points, and above them one image's reconstructions."""
    height = 2.6 if data.original is None else 3.6
    figure = Figure(figsize=(COLUMN_WIDTH, height), layout="constrained")
    wrapped_title(figure, f"Retained dimensions: {data.about}")
    if data.original is None:
        ax = figure.subplots()
    else:
        upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[1, 2.6])[:, 0].tolist()
        upper.suptitle(f"reconstructions of {data.what}", fontsize=7)
        images = {"original": data.original, **{f"τ = {tau:g}": image for tau, image in data.images.items()}}
        for place, (name, image) in zip(upper.subplots(1, len(images)), images.items(), strict=True):
            place.imshow(image, interpolation="nearest")
            place.set_title(name, fontsize=7, pad=2)
            place.axis("off")
        ax = lower.subplots()
    of_tau = data.points.groupby("tau")["dimensions"].agg(["mean", "min", "max"])
    spread = data.points["seed"].nunique() > 1
    if spread:
        ax.vlines(of_tau.index, of_tau["min"], of_tau["max"], color=_STYLE.color, linewidth=3, alpha=0.5)
    name = "ours, mean (bars: range of the seeds)" if spread else "ours"
    size = 4 if spread else None
    ax.plot(of_tau.index, of_tau["mean"], color=_STYLE.color, marker=_STYLE.marker, markersize=size, label=name)
    moving = data.points[~data.points["settled"]]
    if len(moving):
        (hollow,) = ax.plot(moving["tau"], moving["dimensions"], _STYLE.marker, markersize=size, color=_STYLE.color)
        hollow.set(markerfacecolor="white", label="size not settled")
    taus, sizes = zip(*PAPER_ENDS, strict=True)
    ax.plot(
        taus, sizes, color="black", marker="o", markerfacecolor="none", markersize=8, linestyle="none", label="paper"
    )
    ax.set_xlabel("bound τ on the squared error per image")
    ax.set_ylabel("retained size (dimensions)")
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    missing = f"no finished run at τ = {', '.join(map(str, data.unfinished))}" if data.unfinished else ""
    ax.legend(title=fold(missing, 32), title_fontsize=6.5, alignment="left")
    return figure
