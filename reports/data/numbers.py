"""Numbers as all tables and figures print them: no more digits than they carry."""

from __future__ import annotations

import math

from reports.data.quantities import IMAGES_SEEN, SHOWN_COSTS, TRAIN_FLOPS, Quantity

DASH = "–"
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")  # of SI, for thousands and their powers
_LEAST, _MOST = -4, 6  # powers of ten; between these a number needs neither an exponent nor a prefix
_DIGITS, _COST_DIGITS, _SD_DIGITS, _MOST_DIGITS = 4, 3, 2, 6  # significant ones


def mean_sd_text(mean: float, sd: float, digits: int = _DIGITS) -> str:
    """sd to two significant digits and the mean to the same decimals: `123.44 ± 0.51`, `294.8 ± 1.0 G`.

    The mean never has more than six digits. Without an sd, or with one too small to be seen in six digits, it has
    `digits`. NaN is a dash.
    """
    if not math.isfinite(mean):
        return DASH
    decimals, has_sd = _decimals(mean, sd, digits)
    mean, sd = round(mean, decimals) + 0.0, round(sd, decimals) if has_sd else 0.0  # + 0.0: no -0
    size = max(abs(mean), sd)
    exponent = _exponent(size)
    if size == 0:
        return "0"
    if exponent < _LEAST or exponent >= 3 * len(_PREFIXES):
        shift, text_form, end = exponent, "({})" if has_sd else "{}", f"e{exponent}"
    else:
        shift = exponent // 3 * 3 if exponent >= _MOST else 0
        text_form, end = "{}", f" {_PREFIXES[shift // 3]}" if shift else ""
    places = max(0, decimals + shift)
    texts = [f"{value / 10.0**shift:.{places}f}" for value in ([mean, sd] if has_sd else [mean])]
    return text_form.format(" ± ".join(texts)) + end


def number_text(value: float, whole: bool | None = None) -> str:
    """A whole number up to a million as it is, another with four significant digits; a dash for NaN.

    whole: whether a column's numbers are all whole; None asks the number itself.
    """
    return f"{value:.0f}" if (is_whole(value) if whole is None else whole) else mean_sd_text(value, math.nan)


def quantity_text(quantity: Quantity, mean: float, sd: float = math.nan) -> str:
    """A metric's mean and sd; a cost's in a readable unit: `295 GFLOP`, `41.2 s`, `12.1 ± 1.7 min`.

    A cost has three significant digits, or more where its sd allows for them.
    """
    if quantity not in SHOWN_COSTS or not math.isfinite(mean):
        return mean_sd_text(mean, sd)
    mean = _significant(mean, _COST_DIGITS) if not _is_seen(sd, mean, _COST_DIGITS) else mean
    divisor, unit = scaled(quantity.column, mean)
    text = mean_sd_text(mean / divisor, sd / divisor if _is_seen(sd, mean, _COST_DIGITS) else math.nan, _COST_DIGITS)
    return f"{text} {unit}" if unit else text


def metric_text(metric: Quantity, value: float, error: float = math.nan) -> str:
    """A metric of one model to the first digit of its error; without one a FID has three digits, others four."""
    if not math.isfinite(value):
        return DASH
    if math.isfinite(error) and error > 0:
        decimals = max(0, -_exponent(_significant(error, 1)))
        return f"{round(value, decimals) + 0.0:.{decimals}f}"
    return mean_sd_text(value, math.nan, 3 if metric.is_fid else _DIGITS)


def interval_text(mean: float, low: float, high: float, unit: str = "") -> str:
    """A signed mean with its interval, to two digits of half the interval's width: `+3.8 % (−5.0 to 12.6 %)`."""
    end = f" {unit}" if unit else ""
    if not math.isfinite(mean):
        return DASH
    half = (high - low) / 2
    if not math.isfinite(half):
        return _minus(f"{_significant(mean, _SD_DIGITS):+g}{end} (no interval)")
    decimals = max(0, _decimals(mean, half, _DIGITS)[0])
    low_text, high_text = (f"{round(value, decimals) + 0.0:.{decimals}f}" for value in (low, high))
    return _minus(f"{round(mean, decimals) + 0.0:+.{decimals}f}{end} ({low_text} to {high_text}{end})")


def is_whole(value: float) -> bool:
    """True for whole numbers that are short enough to print in full."""
    return math.isfinite(value) and value == round(value) and abs(value) < 10**_MOST


def scaled(column: str, largest: float) -> tuple[float, str]:
    """Divisor and unit that make `largest` (seconds, FLOPs or images, by column) readable: 7200 s -> (3600, "h")."""
    if column == TRAIN_FLOPS.column:
        divisor, prefix = _prefix(largest)
        return divisor, f"{prefix}FLOP"
    ladder = [(1.0, "s"), (60.0, "min"), (3600.0, "h")] if column.endswith("seconds") else [(1.0, "")]
    if column == IMAGES_SEEN.column:
        ladder = [(1.0, ""), (1e3, "thousand"), (1e6, "million"), (1e9, "billion")]
    # Two of a unit are needed before it is used: 90 s stay seconds.
    return max((step for step in ladder if largest >= 2 * step[0]), default=ladder[0])


def _minus(text: str) -> str:
    """The text with the sign of subtraction in place of hyphens."""
    return text.replace("-", "−")


def _prefix(value: float) -> tuple[float, str]:
    """The largest power of a thousand that is not above the value, at least 1, and its prefix."""
    step = min(max(_exponent(value) // 3, 0), len(_PREFIXES) - 1)
    return 1000.0**step, _PREFIXES[step]


def _decimals(mean: float, sd: float, digits: int) -> tuple[int, bool]:
    """To how many decimals to round both (to tens, hundreds, ... where negative), and whether the sd shows then."""
    if not _is_seen(sd, mean, _MOST_DIGITS):
        return digits - 1 - _exponent(_significant(mean, digits)), False
    decimals = _SD_DIGITS - 1 - _exponent(_significant(sd, _SD_DIGITS))
    return min(decimals, _MOST_DIGITS - 1 - _exponent(max(abs(mean), sd))), True


def _is_seen(sd: float, mean: float, digits: int) -> bool:
    """False for an sd that rounds to nothing where the mean has so many digits."""
    return math.isfinite(sd) and sd > 0 and (not mean or sd >= 0.5 * 10.0 ** (_exponent(mean) + 1 - digits))


def _significant(value: float, digits: int) -> float:
    return float(f"{value:.{digits - 1}e}")


def _exponent(value: float) -> int:
    """The power of ten of the first significant digit; 0 for 0 and for what is no number."""
    return int(f"{value:e}".partition("e")[2]) if value and math.isfinite(value) else 0
