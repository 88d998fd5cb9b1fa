"""Numbers as all tables and figures print them."""

from __future__ import annotations

import math

from reports.data.quantities import IMAGES_SEEN, TRAIN_FLOPS


def mean_sd_text(mean: float, sd: float) -> str:
    """Mean to four significant digits, sd to the same decimals: `123.4 ± 0.5`, `(3.210 ± 0.010)e12`."""
    if not math.isfinite(mean):
        return "–"
    exponent = math.floor(math.log10(abs(mean))) if mean else 0
    plain = -4 <= exponent < 6
    decimals, divisor = (max(0, 3 - exponent), 1.0) if plain else (3, 10.0**exponent)
    text = f"{mean / divisor:.{decimals}f}"
    if math.isfinite(sd):
        text += f" ± {sd / divisor:.{decimals}f}"
    if plain:
        return text
    return f"({text})e{exponent}" if math.isfinite(sd) else f"{text}e{exponent}"


def number_text(value: float, whole: bool | None = None) -> str:
    """A whole number up to a million as it is, another with four significant digits; a dash for NaN.

    whole: whether a column's numbers are all whole; None asks the number itself.
    """
    return f"{value:.0f}" if (is_whole(value) if whole is None else whole) else mean_sd_text(value, math.nan)


def is_whole(value: float) -> bool:
    """True for whole numbers that are short enough to print in full."""
    return math.isfinite(value) and value == round(value) and abs(value) < 1e6


def scaled(column: str, largest: float) -> tuple[float, str]:
    """Divisor and unit that make `largest` (seconds, FLOPs or images, by column) readable: 7200 s -> (3600, "h")."""
    ladder = [(1.0, "s"), (60.0, "min"), (3600.0, "h")] if column.endswith("seconds") else [(1.0, "")]
    if column == TRAIN_FLOPS.column:
        ladder = [(10.0 ** (3 * k), f"{prefix}FLOP") for k, prefix in enumerate(["", "k", "M", "G", "T", "P", "E"])]
    if column == IMAGES_SEEN.column:
        ladder = [(1.0, ""), (1e3, "thousand"), (1e6, "million"), (1e9, "billion")]
    # Two of a unit are needed before it is used: 90 s stay seconds.
    return max((step for step in ladder if largest >= 2 * step[0]), default=ladder[0])
