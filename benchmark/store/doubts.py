"""What speaks against a finished search's answer: each rule and its words once, for the terminal, tables and page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_UNUSED = 0.1  # of a model's latents
FID_IMAGES_PER_FEATURE, FEWEST_FID_IMAGES = 10, 100
MOST_NAMED = 10  # searches in a sentence
NONE_IN_USE = "no latent is in use"
MOST_LATE_GAIN, STANDARD_ERRORS = 0.01, 2  # of what latents are worth; that a gain has to be from 0
MOST_COMPONENTS = 256  # of PCA; more are not computed

Row = Mapping[Any, Any]
"""A row of `ResultsStore.searches()` or of `trials()`; what is unknown is missing, None or NaN."""


def flags(row: Row) -> dict[str, bool | None]:
    """The columns that follow from others, None where those are unknown or nothing has finished.

    collapsed: the model has no latent in use, or fewer than its size by more than a tenth (`active_units`: on the test
    split for a search, the mean of the last epochs for a training). few_fid_images: a FID comes from fewer than 10
    times as many images as there are features, or from fewer than 100.
    """
    return {"collapsed": _collapsed(row), "few_fid_images": _few_fid_images(row)}


def search_flags(search: Row) -> dict[str, bool | None]:
    """`flags` of a search, and those that a training's row does not have.

    still_learning: in the last tenth of the chosen training the validation ELBO rose by more than 1 % of what latents
    are worth, and by more than two of its standard errors (`late_gain`, `late_gain_error`: see
    `benchmark.metrics.baselines.late_gain`). worse_than_pca: on the test split the squared
    error is above that of PCA with as many components as the model has latents (`pca_sse`).
    """
    return {**flags(search), "still_learning": _still_learning(search), "worse_than_pca": _worse_than_pca(search)}


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
        said += (
            [f"{kind.name[0].upper()}{kind.name[1:]}: {', '.join(named[:MOST_NAMED])}{rest}. {kind.advice}"]
            if named
            else []
        )
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


def _late_gain(search: Row) -> str:
    if not _still_learning(search):
        return ""
    share = search["late_gain"]
    amount = f"{100 * share:.1f} % of what latents are worth" if share < 1 else "more than latents are worth so far"
    return f"the ELBO rose by {amount} in the last tenth"


def _beaten_by_pca(search: Row) -> str:
    if not _worse_than_pca(search):
        return ""
    sse, of_pca = search["test_recon_sse"], search["pca_sse"]
    components = min(search["latent_dim"], MOST_COMPONENTS)
    return f"squared error {sse:.1f} against {of_pca:.1f} of {components:.0f} principal components"


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
    Kind("still learning", _late_gain, "A network that has learned more may use more latents: train longer."),
    Kind(
        "worse than PCA",
        _beaten_by_pca,
        "A linear model reconstructs better with as many numbers: train longer, or with another learning rate or "
        "network. PCA adds no noise to its numbers, so with many of them it may also beat a network that has learned.",
    ),
    Kind("diverged trainings", _diverged, "The choice is among the other sizes: lower the learning rate."),
)


def _collapsed(row: Row) -> bool | None:
    size, active = (_number(row, name) for name in ("latent_dim", _active_column(row)))
    if row.get("status") != "done" or size is None or active is None:
        return None
    return active == 0 or size - active > MOST_UNUSED * size


def _still_learning(search: Row) -> bool | None:
    gain, error = _number(search, "late_gain"), _number(search, "late_gain_error")
    if search.get("status") != "done" or gain is None:
        return None
    return gain > max(MOST_LATE_GAIN, STANDARD_ERRORS * (error or 0))


def _worse_than_pca(search: Row) -> bool | None:
    sse, of_pca = _number(search, "test_recon_sse"), _number(search, "pca_sse")
    return None if search.get("status") != "done" or sse is None or of_pca is None else sse > of_pca


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
