"""Numbers in print: no more digits than they carry, no exponents from 1e-4 to 1e27, and no loss but by rounding."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.data.numbers import interval_text, mean_sd_text, metric_text, number_text, quantity_text, scaled
from reports.data.quantities import (
    ELBO,
    FID_GEN,
    IMAGES_SEEN,
    KID_GEN,
    SHOWN_COSTS,
    TRAIN_FLOPS,
    WALL_SECONDS,
    Quantity,
)

NAN = math.nan
PREFIXES = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18, "Z": 21, "Y": 24}
MAGNITUDES = st.floats(1e-4, 1e24)
SIGNED = st.builds(lambda value, sign: value * sign, MAGNITUDES, st.sampled_from([-1, 1]))


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [
        (123.44, 0.512, "123.44 ± 0.51"),
        (1234.0, 567.0, "1230 ± 570"),
        (9.996, 0.0996, "10.00 ± 0.10"),
        (-0.001, 5.0, "0.0 ± 5.0"),
        (-5.0, 1.0, "-5.0 ± 1.0"),
        (0.0, 1.23, "0.0 ± 1.2"),
        (3.21e12, 1e10, "3.210 ± 0.010 T"),
        (1e-5, 3e-6, "(1.00 ± 0.30)e-5"),
        (5.0, 0.0, "5.000"),
        (5.0, 1e-9, "5.000"),
        (0.12345, NAN, "0.1235"),
        (999999.6, NAN, "1.000 M"),
        (9.99996, NAN, "10.00"),
        (3.21e12, NAN, "3.210 T"),
        (1.234e-5, NAN, "1.234e-5"),
        (1e30, NAN, "1.000e30"),
        (0.0, 0.0, "0"),
        (NAN, NAN, "–"),
        (math.inf, NAN, "–"),
    ],
)
def test_mean_and_sd(mean: float, sd: float, text: str) -> None:
    assert mean_sd_text(mean, sd) == text


@pytest.mark.parametrize(
    ("cost", "mean", "sd", "text"),
    [
        (TRAIN_FLOPS, 2.948e11, NAN, "295 GFLOP"),
        (TRAIN_FLOPS, 2.948e11, 0.0, "295 GFLOP"),
        (TRAIN_FLOPS, 2.948e11, 1e9, "294.8 ± 1.0 GFLOP"),
        (TRAIN_FLOPS, 9.997e11, NAN, "1.00 TFLOP"),
        (WALL_SECONDS, 41.23, NAN, "41.2 s"),
        (WALL_SECONDS, 723.0, NAN, "12.1 min"),
        (WALL_SECONDS, 723.0, 100.0, "12.1 ± 1.7 min"),
        (WALL_SECONDS, 7200.0, NAN, "2.00 h"),
        (WALL_SECONDS, 0.0, 0.0, "0 s"),
        (IMAGES_SEEN, 600.0, 0.0, "600"),
        (IMAGES_SEEN, 960_000.0, NAN, "960 thousand"),
        (ELBO, -24.0512, 0.081, "-24.051 ± 0.081"),
        (TRAIN_FLOPS, NAN, NAN, "–"),
    ],
)
def test_costs_have_a_unit_and_metrics_have_none(cost: Quantity, mean: float, sd: float, text: str) -> None:
    assert quantity_text(cost, mean, sd) == text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((3.81, -5.02, 12.64), "+3.8 % (−5.0 to 12.6 %)"),
        ((6.2, -16.4, 28.8), "+6 % (−16 to 29 %)"),
        ((-0.2, -1.0, 0.6), "−0.20 % (−1.00 to 0.60 %)"),
        ((100.0, NAN, NAN), "+100 % (no interval)"),
        ((100.0, -math.inf, math.inf), "+100 % (no interval)"),
        ((NAN, NAN, NAN), "–"),
    ],
)
def test_intervals(interval: tuple[float, float, float], text: str) -> None:
    assert interval_text(*interval, "%") == text


def test_scales() -> None:
    assert scaled("wall_seconds", 90.0) == (1.0, "s")
    assert scaled("wall_seconds", 7200.0) == (3600.0, "h")
    assert scaled("train_flops", 5e12) == (1e12, "TFLOP")
    assert scaled("train_flops", NAN) == (1.0, "FLOP")
    assert scaled("images_seen", 1999.0) == (1.0, "")
    assert scaled("images_seen", 3e6) == (1e6, "million")


def read(text: str) -> list[float]:
    """The numbers of a text of `mean_sd_text`, from before the prefix or exponent."""
    found = re.fullmatch(r"\(?(-?[\d.]+)(?: ± ([\d.]+))?\)?(?:e(-?\d+)| ([kMGTPEZY]))?", text)
    assert found is not None, text
    factor = 10.0 ** int(found[3] or 0) * 10.0 ** PREFIXES[found[4] or ""]
    return [float(number) * factor for number in found.groups()[:2] if number is not None]


def digits(text: str) -> int:
    """Significant digits of a printed number."""
    return len(re.sub(r"\D", "", text).lstrip("0"))


@settings(derandomize=True)
@given(SIGNED)
def test_a_lone_number_has_four_digits_and_no_exponent(value: float) -> None:
    text = mean_sd_text(value, NAN)
    assert "e" not in text and text == mean_sd_text(value, 0.0)
    assert read(text)[0] == pytest.approx(value, rel=5.1e-4)
    number = text.partition(" ")[0]
    assert digits(number) == 4 or ("." not in number and digits(number.rstrip("0")) <= 4)


@settings(derandomize=True)
@given(SIGNED, st.floats(1e-6, 1e6))
def test_the_sd_has_two_digits_and_the_mean_its_decimals(mean: float, ratio: float) -> None:
    sd = abs(mean) * ratio
    text = mean_sd_text(mean, sd)
    numbers = read(text)
    if len(numbers) == 1:  # not to be seen in six digits of the mean
        assert sd < 1e-5 * abs(mean)
        return
    printed_mean, printed_sd = re.findall(r"[\d.]+", text)[:2]
    assert len(printed_mean.partition(".")[2]) == len(printed_sd.partition(".")[2])
    assert numbers[0] == pytest.approx(mean, abs=max(0.51 * 10 ** (math.floor(math.log10(sd)) - 1), 1e-5 * abs(mean)))
    assert numbers[1] == pytest.approx(sd, abs=max(0.051 * sd, 1e-5 * abs(mean)))
    assert (
        digits(printed_sd) <= 2 or set(printed_sd.replace(".", "")[2:]) <= {"0"} or digits(printed_sd.rstrip("0")) <= 2
    )
    assert "-0.0 " not in text


@settings(derandomize=True)
@given(st.sampled_from(SHOWN_COSTS), st.floats(0, 1e24), st.floats(0, 0.5))
def test_no_cost_has_an_exponent_in_reach(cost: Quantity, mean: float, spread: float) -> None:
    if mean == 0 or mean > 1e-4:
        assert not re.search(r"\de", quantity_text(cost, mean, mean * spread))


def test_whole_numbers_are_printed_in_full() -> None:
    assert [number_text(value) for value in (8.0, 0.0, 960000.0, 0.12345)] == ["8", "0", "960000", "0.1235"]


@pytest.mark.parametrize(
    ("quantity", "value", "error", "text"),
    [
        (ELBO, -23.985964, 0.0225, "-23.99"),
        (ELBO, -7602.13, 1.4, "-7602"),
        (KID_GEN, 61.62, 2.22, "62"),
        (KID_GEN, 161.62, 22.2, "162"),
        (ELBO, -0.0004, 0.01, "0.00"),
        (ELBO, -23.985964, NAN, "-23.99"),
        (FID_GEN, 15.7589, NAN, "15.8"),
        (FID_GEN, NAN, 1.0, "–"),
    ],
)
def test_a_metric_of_one_model_has_the_digits_of_its_error(
    quantity: Quantity, value: float, error: float, text: str
) -> None:
    assert metric_text(quantity, value, error) == text
