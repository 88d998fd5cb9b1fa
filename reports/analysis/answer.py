"""Each method against the grid search, as text: what was found, how much of it is shown, and at what cost."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports.analysis.analysis import GroupAnalysis
from reports.analysis.comparison import ratio, size_range
from reports.analysis.effects import Effect
from reports.analysis.verdicts import WITHIN, Verdict
from reports.data.groups import Group
from reports.data.numbers import DASH, interval_text, quantity_text
from reports.data.quantities import TRAIN_FLOPS

HEADINGS = (
    "latent size (as good)",
    "loss against the grid (nats/image)",
    "in % of the gap (95 % interval)",
    "verdict",
    "training FLOPs (× the grid’s)",
    "failed",
)

AGAINST_GRID = (
    "Loss: −ELBO on the test split less that of the grid’s search of the same seed, mean over seeds; above 0 is worse. "
    "The gap is what latents are worth: the loss of a model without any, less that of the best size. A failed search "
    "counts as a model without latents. Not shown: these seeds can tell neither that the method loses nor that it "
    "loses less than 5 % of the gap, with Holm’s correction for the number of methods."
)
OF_SIZES = (
    " Size only: a plain training of the size that the method found, in place of the model that it hands over. It has "
    "no verdict and is charged to nobody; where the two are the same model there is no such row."
)


@dataclass(frozen=True)
class AnswerRow:
    """A method's cells below `HEADINGS`; shown: what its verdict is, empty for the grid, which is the measure.

    loss: in parts of the gap, NaN where there is none.
    """

    searcher: str
    cells: tuple[str, ...]
    shown: str = ""


def against_grid(of: GroupAnalysis) -> str:
    """What the rows say, for below the table."""
    return AGAINST_GRID + OF_SIZES * bool(of.size_only)


def answer_rows(of: GroupAnalysis) -> list[AnswerRow]:
    """A row for each method with a verdict, and for its sizes alone where they are scored, and one for the grid.

    Empty where nothing has been compared.
    """
    verdicts = {verdict.searcher: verdict for verdict in of.verdicts}
    of_sizes = {one.searcher: one for one in of.size_only}
    found = []
    for _, row in of.rows.iterrows():
        searcher, failed = str(row["searcher"]), f"{row['n_failed']} of {row['n_done'] + row['n_failed']}"
        verdict = verdicts.get(searcher)
        if verdict is not None:
            cells = (*_loss(verdict.effect, verdict.gap), verdict_text(verdict), _cost(row), failed)
            found.append(AnswerRow(searcher, (sizes(of.group, row), *cells), verdict.shown))
        elif searcher in of_sizes:
            cells = (*_loss(of_sizes[searcher].effect, of_sizes[searcher].gap), DASH, DASH, failed)
            found.append(AnswerRow(searcher, (sizes(of.group, row), *cells)))
        elif searcher in of.group.grids and verdicts:
            cells = (DASH, DASH, "the measure", _cost(row), failed)
            found.append(AnswerRow(searcher, (sizes(of.group, row), *cells)))
    return found


def sizes(group: Group, row: pd.Series) -> str:
    """Median size, its range over seeds, and the range of sizes that were as good: `12 (10–14); 8–24 as good`."""
    as_good = group.as_good(str(row["searcher"]))
    alike = "" if len(as_good) < 2 else f"; {as_good[0]}–{as_good[-1]} as good"
    return size_range(row) + alike


def verdict_text(verdict: Verdict) -> str:
    """The verdict in words, and whether this is the method to take."""
    words = {"worse": "worse", "equivalent": f"loses less than {WITHIN} of the gap", "not shown": "not shown"}
    larger = f", with {verdict.size_ratio:.1f} times the grid’s latents" if verdict.is_larger else ""
    return words[verdict.shown] + (": the cheapest of these" if verdict.recommended else larger)


def _loss(effect: Effect, gap: float) -> tuple[str, str]:
    nats, parts = (
        interval_text(effect.mean * unit, effect.low * unit, effect.high * unit, name)
        for unit, name in ((gap, ""), (100.0, "%"))
    )
    return nats.partition(" (")[0], parts


def _cost(row: pd.Series) -> str:
    multiple = ratio(row, TRAIN_FLOPS)
    return quantity_text(TRAIN_FLOPS, row["train_flops_mean"]) + (f" ({multiple})" if multiple else "")
