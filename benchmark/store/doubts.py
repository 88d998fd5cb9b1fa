"""Reasons to doubt the size that a search chose: each rule and its wording, for the terminal, tables and page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.text import ROWS, features_kind, of_data

MOST_UNUSED, FEWEST_USED = 0.1, 0.1  # shares of a model's latents
FID_IMAGES_PER_FEATURE, FEWEST_FID_IMAGES = 10, 100
MOST_NAMED = 10  # searches in a sentence
NONE_IN_USE = "no latent is in use"
MOST_LATE_GAIN, STANDARD_ERRORS = 0.01, 2  # a gain counts above this share of what latents are worth and this many SEs
LEAST_WORTH = 1e-3  # share of the NLL without latents that latents are to be worth
MOST_COMPONENTS = 256  # the most PCA components that are computed

Row = Mapping[Any, Any]
"""A row of `ResultsStore.searches()` or of `trials()`; unknown values are missing, None or NaN."""


def flags(row: Row) -> dict[str, bool | None]:
    """The columns that follow from other columns; None if those are unknown or the row is unfinished.

    unused_latents: more than a tenth of the latents are unused (`active_units`: on the test split for a search, the
    mean of the last epochs for a training). collapsed: no more than a tenth of them, or none, is in use, too.
    few_fid_images: a FID comes from fewer images than 10 times the number of features, or from fewer than 100.
    """
    return {
        "unused_latents": _has_unused(row),
        "collapsed": _collapsed(row),
        "few_fid_images": _has_few_fid_images(row),
    }


def search_flags(search: Row) -> dict[str, bool | None]:
    """`flags`, and the flags that only searches have.

    still_learning: in the last tenth of the chosen training the validation ELBO rose by more than 1 % of what latents
    are worth, and by more than two standard errors (`late_gain`, `late_gain_error`: see
    `benchmark.metrics.baselines.late_gain`). worse_than_pca: on the test split the squared error is above that of PCA
    with as many components as the model has latents (`pca_sse`); of images alone. worthless: on the test split the
    model's -ELBO is not lower by 0.1 % than the NLL of a model without latents (`no_latents_nll`).
    """
    return {
        **flags(search),
        "still_learning": _still_learning(search),
        "worse_than_pca": _worse_than_pca(search),
        "worthless": _is_worthless(search),
    }


def doubts(search: Row) -> list[str]:
    """The doubts about one search, a few words each."""
    if search.get("status") != "done":
        return []
    found = [f"{doubt.name}: {detail}" for doubt in DOUBTS if (detail := doubt.detail(search))]
    return [of_data(text, _features(search)) for text in found]


def sentences(searches: Iterable[Row], name: Callable[[Row], str]) -> list[str]:
    """A sentence for each doubt: the searches it concerns, by `name`, and what to do; few FID images last."""
    done = [search for search in searches if search.get("status") == "done"]
    lines = []
    for doubt in DOUBTS:
        named = [f"{name(search)} ({detail})" for search in done if (detail := doubt.detail(search))]
        rest = f", and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        if named:
            lines.append(f"{doubt.title}: {', '.join(named[:MOST_NAMED])}{rest}. {doubt.advice}")
    lines += dict.fromkeys(_few_images_sentence(search) for search in done if _has_few_fid_images(search))
    kinds = {features_kind(_features(search)) for search in done}
    kind = kinds.pop() if len(kinds) == 1 else ""
    return [of_data(line, kind) for line in lines]


def _features(search: Row) -> str:
    return str(search.get("test_fid_features") or "")


@dataclass(frozen=True)
class Doubt:
    """A reason to doubt a size. detail: describes it from a finished search's row; empty if it does not apply."""

    name: str
    detail: Callable[[Row], str]
    advice: str

    @property
    def title(self) -> str:
        """The name as a sentence begins."""
        return self.name[0].upper() + self.name[1:]


def _unused_latents(search: Row) -> str:
    if not _has_unused(search) or _collapsed(search):
        return ""
    active, size = search["test_active_units"], search["latent_dim"]
    return f"{size - active:.0f} of {size:.0f}"


def _few_in_use(search: Row) -> str:
    if not _collapsed(search):
        return ""
    active, size = search["test_active_units"], search["latent_dim"]
    return f"{active:.0f} of {size:.0f} latents {'is' if active == 1 else 'are'} in use" if active else NONE_IN_USE


def _unstable_size(search: Row) -> str:
    return f"size {search['latent_dim']:.0f} was not yet stable" if known_value(search, "settled") == 0 else ""


def _largest_size(search: Row) -> str:
    size, high, rule = known_value(search, "latent_dim"), known_value(search, "space_high"), search.get("rule")
    if size is None or size != high or _has_unused(search):
        return ""
    is_chosen = isinstance(rule, str) and rule != ""
    is_decided = is_chosen or known_value(search, "settled") == 1 or (known_value(search, "estimate") or 0) > high
    return f"size {size:.0f} is the largest of the space" if is_decided else ""


def _unshown_choice(search: Row) -> str:
    if known_value(search, "choice_shown") != 0:
        return ""
    return f"size {search['latent_dim']:.0f} was chosen by its mean loss alone"


def _worthless(search: Row) -> str:
    if not _is_worthless(search) or known_value(search, "test_active_units") == 0:  # that is said already
        return ""
    elbo, nll = search["test_elbo"], search["no_latents_nll"]
    return f"-ELBO {-elbo:.2f} nats against {nll:.2f} of a model without latents"


def _late_gain(search: Row) -> str:
    if not _still_learning(search):
        return ""
    share = search["late_gain"]
    amount = f"{100 * share:.1f} % of what latents are worth" if share < 1 else "more than latents are worth so far"
    return f"the ELBO rose by {amount} in the last tenth"


def _pca_error(search: Row) -> str:
    if not _worse_than_pca(search):
        return ""
    sse, pca_sse = search["test_recon_sse"], search["pca_sse"]
    components = min(search["latent_dim"], MOST_COMPONENTS)
    return f"squared error {sse:.1f} against {pca_sse:.1f} of {components:.0f} principal components"


def _diverged_sizes(search: Row) -> str:
    n = known_value(search, "n_diverged")
    return f"{'size' if n == 1 else 'sizes'} {search['diverged_sizes']}" if n else ""


DOUBTS = (
    Doubt(
        "collapsed",
        _few_in_use,
        "Latents out of use say nothing about an image, so the size is not what the data need: look at the "
        "reconstructions, train longer or with another network.",
    ),
    Doubt(
        "worth nothing",
        _worthless,
        "A model without latents explains the test images as well, so no size is shown to be right: the images may "
        "have no structure, or be too few to learn it.",
    ),
    Doubt(
        "unused latents",
        _unused_latents,
        "They say nothing about an image: read the size as that of the latents in use.",
    ),
    Doubt("budget too short", _unstable_size, "More epochs may give another size."),
    Doubt(
        "not shown to be enough",
        _unshown_choice,
        "The validation images are too few, or the sizes too close, to show that it loses less than the margin.",
    ),
    Doubt("space too small", _largest_size, "A larger size may be better: raise space.high and the grid's sizes."),
    Doubt("still learning", _late_gain, "A network that has learned more may use more latents: train longer."),
    Doubt(
        "worse than PCA",
        _pca_error,
        "A linear model reconstructs better with as many numbers: train longer, or with another learning rate or "
        "network. PCA adds no noise to its numbers, so with many of them it may also beat a network that has learned.",
    ),
    Doubt("diverged trainings", _diverged_sizes, "The choice is among the other sizes: lower the learning rate."),
)


def _share_in_use(row: Row) -> float | None:
    active = known_value(row, "test_active_units" if "test_active_units" in row else "active_units")
    size = known_value(row, "latent_dim")
    if row.get("status") != "done" or size is None or active is None:
        return None
    return active / size if size else 0.0


def _has_unused(row: Row) -> bool | None:
    share = _share_in_use(row)
    return None if share is None else share < 1 - MOST_UNUSED


def _collapsed(row: Row) -> bool | None:
    share = _share_in_use(row)
    return None if share is None else share <= FEWEST_USED


def _still_learning(search: Row) -> bool | None:
    gain, error = known_value(search, "late_gain"), known_value(search, "late_gain_error")
    if search.get("status") != "done" or gain is None:
        return None
    return gain > max(MOST_LATE_GAIN, STANDARD_ERRORS * (error or 0))


def _is_worthless(search: Row) -> bool | None:
    elbo, nll = known_value(search, "test_elbo"), known_value(search, "no_latents_nll")
    if search.get("status") != "done" or elbo is None or nll is None:
        return None
    return nll + elbo < LEAST_WORTH * abs(nll)


def _worse_than_pca(search: Row) -> bool | None:
    sse, pca_sse = known_value(search, "test_recon_sse"), known_value(search, "pca_sse")
    if features_kind(_features(search)) == ROWS:  # whose noise PCA fits too, with as many components as columns exactly
        return None
    return None if search.get("status") != "done" or sse is None or pca_sse is None else sse > pca_sse


def _has_few_fid_images(row: Row) -> bool | None:
    known = [n for name in ("test_fid_images", "fid_images") if (n := known_value(row, name)) is not None]
    n_features = known_value(row, "n_fid_features")
    if row.get("status") != "done" or not known or n_features is None:
        return None
    return min(known) < _enough_images(n_features)


def _enough_images(n_features: float) -> float:
    return max(FEWEST_FID_IMAGES, FID_IMAGES_PER_FEATURE * n_features)


def _few_images_sentence(search: Row) -> str:
    n_features = known_value(search, "n_fid_features") or 0
    n_images = {"test": known_value(search, "test_fid_images"), "validation": known_value(search, "fid_images")}
    enough = _enough_images(n_features)
    few = [f"{n:.0f} {split} images" for split, n in n_images.items() if n is not None and n < enough]
    return (
        f"FIDs come from few images: {' and '.join(few)} for {n_features:.0f} features, which ask for at least "
        f"{enough:.0f}. They are too high and vary by chance: add images, or raise "
        "evaluation.max_images."
    )


def known_value(row: Row, name: str) -> float | None:
    """A number of the row; None where it is missing, None or NaN."""
    value = row.get(name)
    return None if value is None or value != value else float(value)
