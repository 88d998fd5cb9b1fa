"""How a size is chosen among assessed ones, as a protocol's `[choice]` says it: `searchers.selection` does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from searchers.parts.ranges import Share
from searchers.quantities import Weights

Rule = Literal["smallest-good", "mean-rank", "tolerance", "knee"]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True)
class ChoiceRule:
    """L is -ELBO on validation data; the gap, what latents are worth, is L without latents less L of the reference.

    The reference is the size with the lowest L; of sizes of one nested model, the largest.

    rule: `smallest-good`, the smallest size whose L is shown (paired over images, one-sided 95 %) to be less than
    `margin` of the gap above the reference's, and whose samples' KID is not a quarter above its; `tolerance`, the
    smallest whose L is within `margin` of the gap; `knee`, the farthest below the line from the smallest to the largest
    size in a plot of L over log size; `mean-rank`, the lowest mean rank in the metrics that `weights` weigh
    (2312.06280, section 6), where values within their noise or 5 % of the metric's range tie.
    """

    rule: Rule = "smallest-good"
    margin: Share = 0.05
    weights: Weights = Weights()
