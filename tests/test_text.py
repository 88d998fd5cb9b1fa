"""Text for the user."""

import pytest

from benchmark.text import duration_text


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0 s"), (2.34, "2.3 s"), (9.96, "10 s"), (119.4, "119 s"), (120, "2 min"), (700, "12 min"), (9000, "2.5 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_long_durations_are_in_days() -> None:
    assert duration_text(400_000) == "4.6 days"
