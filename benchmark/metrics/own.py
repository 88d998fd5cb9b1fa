"""A user's own metrics: functions of what a model makes of a split's images or rows, named in `evaluation.metrics`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from benchmark.errors import InputError
from benchmark.plugins import METRIC
from benchmark.store.columns import CURVE_COLUMNS, CURVE_EXTRAS, KEYS, SEARCH_COLUMNS, TRIAL_COLUMNS
from benchmark.store.rows import ARRAYS, EPOCH_COLUMNS

MOST_SAMPLES = 2_000  # of a split, that a metric sees
TAKEN = frozenset(
    {
        *(*KEYS, *TRIAL_COLUMNS, *SEARCH_COLUMNS, *EPOCH_COLUMNS, *ARRAYS, *CURVE_COLUMNS, *CURVE_EXTRAS),
        *(name.removeprefix("test_") for name in SEARCH_COLUMNS),
        *("source", "files", "settings", "environment"),  # of several results, and of a search's file
        "others",  # of the weights
    }
)
OF_OTHERS = ("ctl_", "setting_", "env_", "test_", "size_only_")  # beginnings of the columns of something else


@dataclass(frozen=True)
class Batch:
    """The first samples of a split, 2,000 at most, and what a model makes of them; tensors on the CPU, float32.

    x: what the network sees, [N, *shape]: images in [0, 1], scaled rows, counts. reconstruction: the likelihood's mean
    for z, in the same units. z: drawn from the posterior, [N, n], 0 in latents that the decoder may not use. mean,
    logvar: of the posterior, [N, n]. labels: int64 [N].
    """

    x: Tensor
    reconstruction: Tensor
    z: Tensor
    mean: Tensor
    logvar: Tensor
    labels: Tensor


Metric = Callable[[Batch], float]
"""Lower is better, unless the function has an attribute `higher_is_better` that is true."""


def load_metrics(names: Sequence[str]) -> dict[str, Metric]:
    """Imports metrics (`module:function`, or a package's), by the functions' names. Raises InputError."""
    found: dict[str, Metric] = {}
    for name in names:
        function = METRIC.load(name)
        column = getattr(function, "__name__", "")
        if not callable(function) or not column.isidentifier():
            raise InputError(f"metric {name!r} is {function!r}; expected a function of a benchmark.metrics.own.Batch")
        if column in TAKEN or column.startswith(OF_OTHERS) or column in found:
            raise InputError(f"metric {name!r} would be the column {column}, which is taken; rename the function")
        found[column] = function
    return found


def higher_is_better(metrics: Mapping[str, Metric]) -> list[str]:
    """Those of which higher values are better."""
    return [name for name, function in metrics.items() if getattr(function, "higher_is_better", False)]


def measured(metrics: Mapping[str, Metric], batch: Batch) -> dict[str, float]:
    """Their values. Raises ValueError, in one line, where one fails."""
    values = {}
    for name, function in metrics.items():
        try:
            values[name] = float(function(batch))
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"metric {name} failed: {reason}; expected a number for a Batch") from error
    return values
