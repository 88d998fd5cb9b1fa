"""The four parts of a claim, all of which must pass: quality, size, cost, and controls (the test can fail)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reports.analysis.effects import Effect, effect
from reports.claims.claim import Claim
from reports.claims.evidence import CONTROLS, BlockEvidence, BySeed, Evidence
from reports.claims.wording import counted, interval, number, percent

State = Literal["passes", "violated", "not shown"]
Outcome = Literal["supported", "refuted", "not shown"]
OF_THE_GAP = " of the gap"
FEWEST_EQUAL_SIZES = 5  # if the mean were at the limit by steps of a factor 2, so many equal ones would be a 1 % chance


@dataclass(frozen=True)
class Part:
    """One part: its state, and its number in a sentence."""

    name: str
    state: State
    sentence: str


@dataclass(frozen=True)
class Parts:
    """All parts of a claim. quality_effect: of the losses, in parts of the gap."""

    quality: Part
    size: Part
    cost: Part
    controls: Part
    quality_effect: Effect

    @property
    def all(self) -> tuple[Part, ...]:
        """The parts in the order of the file."""
        return self.quality, self.size, self.cost, self.controls

    @property
    def outcome(self) -> Outcome:
        """Supported if every part passes; refuted if quality, size or cost is shown to be violated."""
        if any(part.state == "violated" for part in (self.quality, self.size, self.cost)):
            return "refuted"
        return "supported" if all(part.state == "passes" for part in self.all) else "not shown"

    @property
    def why(self) -> str:
        """What stands in the way of a claim that is not shown."""
        lacking = [part.name for part in self.all if part.state != "passes"]
        if self.outcome != "not shown":
            return ""
        return "the benchmark cannot support the claim" if self.controls.name in lacking else ", ".join(lacking)


def judge(claim: Claim, evidence: Evidence) -> Parts:
    """Tests all parts of a claim on its evidence."""
    losses = effect(list(evidence.units(BlockEvidence.losses).values()))
    quality, size = _quality(claim, losses, evidence), _size(claim, evidence)
    return Parts(quality, size, _cost(claim, evidence), _controls(claim, evidence), losses)


def _state(found: Effect, limit: float) -> State:
    if found.high < limit:
        return "passes"
    return "violated" if found.low > limit else "not shown"


def _quality(claim: Claim, losses: Effect, evidence: Evidence) -> Part:
    strict = "below" if losses.high < claim.strict else "not shown to be below"
    text = (
        f"mean loss {interval(losses, percent, OF_THE_GAP)}, {counted(losses.n, evidence)}; the margin is "
        f"{100 * claim.margin:g} % (strict: {strict} {100 * claim.strict:g} %)"
    )
    return Part("quality", _state(losses, claim.margin), text)


def _size(claim: Claim, evidence: Evidence) -> Part:
    ratios = list(evidence.units(BlockEvidence.size_ratios).values())
    found = effect(ratios)
    if len(ratios) >= FEWEST_EQUAL_SIZES and np.ptp(ratios) == 0:
        found = Effect(len(ratios), ratios[0], ratios[0], ratios[0])
    text = (
        f"mean ratio of sizes {interval(found, lambda log: number(2**log))}, {counted(found.n, evidence)}; "
        f"the limit is {claim.size_ratio:g}"
    )
    return Part("size", _state(found, math.log2(claim.size_ratio)), text)


def _cost(claim: Claim, evidence: Evidence) -> Part:
    """A count, no test: training FLOPs hardly depend on the seed."""
    costs = {block.name: block.cost() for block in evidence.blocks}
    limit = f"the limit is {claim.cost_ratio:g}"
    above = [f"{name} ({number(cost)})" for name, cost in costs.items() if cost > claim.cost_ratio]
    if above:
        text = f"more full trainings of the largest size (FLOPs) than allowed in {', '.join(above)}; {limit}"
        return Part("cost", "violated", text)
    unknown = [name for name, cost in costs.items() if math.isnan(cost)]
    if unknown:
        return Part("cost", "not shown", f"training FLOPs are not known in {', '.join(unknown)}; {limit}")
    text = f"at most {number(max(costs.values()))} full trainings of the largest size (FLOPs) in every block; {limit}"
    return Part("cost", "passes", text)


def _controls(claim: Claim, evidence: Evidence) -> Part:
    """Sizes that are too small must be shown to be: else the test would pass anything."""
    said, shown = [], True
    for control, name in CONTROLS.items():
        found = effect(list(evidence.units(_losses_of(control)).values()))
        worse = found.low > 0 and not found.high < claim.margin
        shown &= worse
        state = "shown to be worse" if worse else "not shown to be worse"
        said.append(f"{name} is {state}: {interval(found, percent, OF_THE_GAP)}, {counted(found.n, evidence)}")
    return Part("controls", "passes" if shown else "not shown", "; ".join(said))


def _losses_of(control: Literal["smallest", "half"]) -> Callable[[BlockEvidence], BySeed]:
    return lambda block: block.control_losses(control)
