"""Each method against the grid search of its group: worse, equivalent within a margin, or not shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.analysis.effects import CONFIDENCE, FEW_SEEDS, MARGIN, SIZE_RATIO, Effect, Shown, effect, holm, p_below
from reports.analysis.losses import counted, losses_of
from reports.data.groups import Group
from reports.data.names import in_order, is_size_only, label
from reports.data.quantities import TRAIN_FLOPS

WITHIN = f"{MARGIN:.0%}".replace("%", " %")
ALPHA = (1 - CONFIDENCE) / 2  # one-sided
_EQUAL = 1e-9  # parts of the gap below which two models are the same


@dataclass(frozen=True)
class Verdict:
    """One method against the grid of its group.

    effect: its loss in parts of the gap, paired by seed. gap: nats/image. n_failed: failed seeds, each of which counts
    1.0. shown: after Holm's correction over the group's comparisons. recommended: it is the cheapest by training FLOPs
    that is shown equivalent, cheaper than the grid, with sizes at most `SIZE_RATIO` times the grid's. size_ratio: the
    geometric mean over seeds of its size in units of the grid's.
    """

    searcher: str
    effect: Effect
    gap: float
    n_failed: int
    shown: Shown
    recommended: bool
    sentence: str
    size_ratio: float = math.nan

    @property
    def is_larger(self) -> bool:
        """Whether its sizes are too large to be what the grid found."""
        return self.size_ratio > SIZE_RATIO


@dataclass(frozen=True)
class Decision:
    """What the differences of one method show, and whether it is the one to recommend."""

    effect: Effect
    shown: Shown
    recommended: bool = False


def decide(
    differences: Mapping[str, Sequence[float]],
    flops: Mapping[str, float],
    grid_flops: float,
    size_ratios: Mapping[str, float] | None = None,
) -> dict[str, Decision]:
    """Decides from each method's losses by seed, in parts of the gap, its mean training FLOPs and its sizes.

    `worse` and `equivalent` are each kept from being said wrongly of any method in more than 2.5 % of groups (Holm).
    """
    equivalent = _below_alpha({name: p_below(values, MARGIN) for name, values in differences.items()})
    worse = _below_alpha({name: p_below([-value for value in values], 0.0) for name, values in differences.items()})
    shown: dict[str, Shown] = {
        name: "equivalent" if name in equivalent else "worse" if name in worse else "not shown" for name in differences
    }
    larger = {name for name, size_ratio in (size_ratios or {}).items() if size_ratio > SIZE_RATIO}
    cheaper = [name for name in differences if name in equivalent - larger and flops[name] < grid_flops]
    cheapest = min(cheaper, key=lambda name: flops[name], default=None)
    return {name: Decision(effect(values), shown[name], name == cheapest) for name, values in differences.items()}


def _below_alpha(p_values: Mapping[str, float]) -> set[str]:
    """The names whose p-value is significant after Holm's correction over those that are known."""
    known = {name: p for name, p in p_values.items() if not math.isnan(p)}
    return {name for name, p in zip(known, holm(list(known.values())), strict=True) if p <= ALPHA}


def verdicts_of(group: Group) -> tuple[Verdict, ...]:
    """The verdict of every method with a seed in common with the grid search; none without losses."""
    losses = losses_of(group)
    if losses is None:
        return ()
    names = [name for name in in_order(map(str, losses.values)) if name != losses.grid]
    differences = {name: losses.against_grid(name).tolist() for name in names}
    differences = {name: values for name, values in differences.items() if values}
    rows = counted(group)
    flops = {name: float(rows.loc[rows["searcher"] == name, TRAIN_FLOPS.column].mean()) for name in names}
    grid_flops = float(rows.loc[rows["searcher"] == losses.grid, TRAIN_FLOPS.column].mean())
    ratios = {name: _size_ratio(rows, name, losses.grid) for name in differences}
    found = decide(differences, flops, grid_flops, ratios)
    tested = sum(math.isfinite(one.effect.low) for one in found.values())
    return tuple(
        Verdict(
            name,
            one.effect,
            losses.gap,
            losses.failed(name),
            one.shown,
            one.recommended,
            _sentence(name, one, losses.gap, losses.failed(name), differences[name], tested),
            ratios[name],
        )
        for name, one in found.items()
    )


@dataclass(frozen=True)
class SizeOnly:
    """What the sizes of a method lose, by plain trainings of them, against the grid: an effect without a verdict."""

    searcher: str
    effect: Effect
    gap: float


def size_only_losses(group: Group) -> tuple[SizeOnly, ...]:
    """The losses of the sizes alone, of a group with those scores (`with_size_only`), in parts of the gap."""
    losses = losses_of(group)
    if losses is None:
        return ()
    names = in_order(filter(is_size_only, map(str, losses.values)))
    found = {name: losses.against_grid(name).tolist() for name in names}
    return tuple(SizeOnly(name, effect(values), losses.gap) for name, values in found.items() if values)


def _size_ratio(rows: pd.DataFrame, searcher: str, grid: str) -> float:
    done = rows[rows["status"] == "done"]
    ours, of_grid = (done[done["searcher"] == name].set_index("seed")["latent_dim"] for name in (searcher, grid))
    return float(np.exp(np.log(ours / of_grid).mean()))


def _sentence(
    name: str, one: Decision, gap: float, n_failed: int, differences: Sequence[float], comparisons: int
) -> str:
    method, n = label(name), one.effect.n
    each = "its one seed" if n == 1 else f"each of {n} seeds"
    if n_failed == n:
        return f"{method} failed in {each}: it counts as a model without latents."
    if n < FEW_SEEDS and np.abs(differences).max() < _EQUAL:
        return f"{method} handed over the same models as the grid in {each}, which shows nothing of other seeds."
    failures = f" {n_failed} of {n} seeds failed and count as models without latents." if n_failed else ""
    return f"{method}’s test loss (−ELBO) is {_amount(one.effect, gap)}: {shown_text(one, comparisons)}.{failures}"


def _amount(found: Effect, gap: float) -> str:
    """The loss in nats with its interval, and in parts of the gap."""
    half = (found.high - found.low) / 2
    known = math.isfinite(half)
    of_seeds = f"{found.n} seed{'s' if found.n > 1 else ''}"
    interval = f"95 %: {decimal(gap * found.low, gap * half)} to {decimal(gap * found.high, gap * half)}, {of_seeds}"
    spread = gap * half if known else gap * abs(found.mean)
    if decimal(abs(gap * found.mean), spread).strip("0.") == "":
        by = "equal to the grid’s"
    else:
        by = f"{decimal(abs(gap * found.mean), spread)} nats {'above' if found.mean > 0 else 'below'} the grid’s"
    share = percent(abs(found.mean), half)
    share = "under 1 %" if share == "0 %" else share
    return f"{by} ({interval if known else of_seeds}), {share} of what latents are worth"


def shown_text(one: Decision, comparisons: int) -> str:
    """What a difference shows, in words; comparisons: of how many it is one."""
    n, low = one.effect.n, one.effect.low
    if not math.isfinite(low):
        return "one seed has no interval, so nothing is shown" if n == 1 else "without an interval nothing is shown"
    if one.shown == "worse":
        return "it is shown to be worse"
    if one.shown == "equivalent":
        return f"a loss of {WITHIN} or more is ruled out"
    among = (
        f", after Holm’s correction over {comparisons} comparisons," if one.effect.shown(MARGIN) != one.shown else ""
    )
    return f"neither a loss nor equality within {WITHIN} is{among} shown"


def decimal(value: float, spread: float) -> str:
    """A number to the second significant digit of its spread: `0.20` with 0.72, `12` with 23."""
    places = 2 if not spread or not math.isfinite(spread) else max(0, 1 - math.floor(math.log10(abs(spread))))
    return minus(f"{value:.{places}f}")


def percent(share: float, spread: float = math.nan) -> str:
    """A share in per cent, with a decimal where its spread is below 1 %."""
    return minus(f"{100 * share:.{1 if abs(spread) < 0.01 else 0}f}") + " %"


def minus(text: str) -> str:
    """A number's text with the sign of subtraction, without one for zero."""
    return text.removeprefix("-") if not text.strip("-0.") else text.replace("-", "−")


VERDICT_COLUMNS = ["dataset", "backbone", "protocol_hash", "fid_features", "searcher", "n_datasets", "n_seeds"]
VERDICT_COLUMNS += ["n_failed", "gap [nats/image]", "loss", "loss_low", "loss_high", "size_ratio", "shown"]
VERDICT_COLUMNS += ["recommended", "sentence"]


def verdict_rows(group: Group, verdicts: Sequence[Verdict]) -> list[dict[str, object]]:
    """A group's rows of `verdicts.csv`: losses in parts of the gap."""
    keys = {"dataset": group.dataset, "backbone": group.backbone, "protocol_hash": group.protocol_hash}
    return [
        {
            **keys,
            **{"fid_features": group.fid_features, "searcher": one.searcher, "n_datasets": 1},
            **{"n_seeds": one.effect.n, "n_failed": one.n_failed, "gap [nats/image]": one.gap},
            **{"loss": one.effect.mean, "loss_low": one.effect.low, "loss_high": one.effect.high},
            **{
                "size_ratio": one.size_ratio,
                "shown": one.shown,
                "recommended": one.recommended,
                "sentence": one.sentence,
            },
        }
        for one in verdicts
    ]


def verdict_frame(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """The frame of `verdicts.csv`."""
    return pd.DataFrame(rows, columns=VERDICT_COLUMNS)
