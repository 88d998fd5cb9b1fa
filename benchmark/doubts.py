"""What speaks against a finished search's answer: each rule and its words once, for the terminal, tables and page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_UNUSED = 0.1  # of a model's latents
FID_IMAGES_PER_FEATURE, FEWEST_FID_IMAGES = 10, 100
MOST_NAMED = 10  # searches in a sentence
NONE_IN_USE = "no latent is in use"

Row = Mapping[Any, Any]
"""A row of `ResultsStore.searches()` or of `trials()`; what is unknown is missing, None or NaN."""


def flags(row: Row) -> dict[str, bool | None]:
    """The columns that follow from others, None where those are unknown or nothing has finished.

    collapsed: the model has no latent in use, or fewer than its size by more than a tenth (`active_units`: on the test
    split for a search, the mean of the last epochs for a training). few_fid_images: a FID comes from fewer than 10
    times as many images as there are features, or from fewer than 100.
    """
    return {"collapsed": _collapsed(row), "few_fid_images": _few_fid_images(row)}


def doubts(search: Row) -> list[str]:
    """What is to be said of one search beside its size, a few words each."""
    found = ((kind.name, kind.detail(search)) for kind in KINDS if search.get("status") == "done")
    return [f"{name}: {detail}" for name, detail in found if detail]


def sentences(searches: Iterable[Row], name: Callable[[Row], str]) -> list[str]:
    """For each kind of doubt the searches that it meets, by their `name`, and what to do; then for few FID images."""
    done = [search for search in searches if search.get("status") == "done"]
    said = []
    for kind in KINDS:
        named = [f"{name(search)} ({detail})" for search in done if (detail := kind.detail(search))]
        rest = f", and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        said += [f"{kind.name.capitalize()}: {', '.join(named[:MOST_NAMED])}{rest}. {kind.advice}"] if named else []
    return [*said, *dict.fromkeys(_of_few_images(search) for search in done if _few_fid_images(search))]


@dataclass(frozen=True)
class Kind:
    """A reason to doubt a size. detail: what a finished search's row shows of it, empty where there is nothing."""

    name: str
    detail: Callable[[Row], str]
    advice: str


def _out_of_use(search: Row) -> str:
    if not _collapsed(search):
        return ""
    active, size = search["test_active_units"], search["latent_dim"]
    return f"{active:.0f} of {size:.0f} latents {'is' if active == 1 else 'are'} in use" if active else NONE_IN_USE


def _unsettled(search: Row) -> str:
    return f"size {search['latent_dim']:.0f} was not yet stable" if _number(search, "settled") == 0 else ""


def _diverged(search: Row) -> str:
    n = _number(search, "n_diverged")
    return f"{'size' if n == 1 else 'sizes'} {search['diverged_sizes']}" if n else ""


KINDS = (
    Kind(
        "collapsed",
        _out_of_use,
        "Latents out of use say nothing about an image, so the size is not what the data need: look at the "
        "reconstructions, train longer or with another network.",
    ),
    Kind("budget too short", _unsettled, "More epochs may give another size."),
    Kind("diverged trainings", _diverged, "The choice is among the other sizes: lower the learning rate."),
)


def _collapsed(row: Row) -> bool | None:
    size, active = (_number(row, name) for name in ("latent_dim", _active_column(row)))
    if row.get("status") != "done" or size is None or active is None:
        return None
    return active == 0 or size - active > MOST_UNUSED * size


def _active_column(row: Row) -> str:
    return "test_active_units" if "test_active_units" in row else "active_units"


def _few_fid_images(row: Row) -> bool | None:
    known = [n for name in ("test_fid_images", "fid_images") if (n := _number(row, name)) is not None]
    n_features = _number(row, "n_fid_features")
    if row.get("status") != "done" or not known or n_features is None:
        return None
    return min(known) < _enough_images(n_features)


def _enough_images(n_features: float) -> float:
    return max(FEWEST_FID_IMAGES, FID_IMAGES_PER_FEATURE * n_features)


def _of_few_images(search: Row) -> str:
    n_features = _number(search, "n_fid_features") or 0
    of = {"test": _number(search, "test_fid_images"), "validation": _number(search, "fid_images")}
    few = [f"{n:.0f} {split} images" for split, n in of.items() if n is not None and n < _enough_images(n_features)]
    return (
        f"FIDs come from few images: {' and '.join(few)} for {n_features:.0f} features, which ask for at least "
        f"{_enough_images(n_features):.0f}. They are too high and vary by chance: add images, or raise "
        "evaluation.max_images."
    )


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    return None if value is None or value != value else float(value)
