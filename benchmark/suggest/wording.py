"""What one search says about the latent size, in plain words: pure functions from rows of the store to sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from benchmark.store.doubts import DOUBTS, Row, known_value

CURVES = "nested or grid"  # searchers that assess many sizes
NEAR = math.sqrt(2)  # an assessed size stands for one that is at most so many times as large or as small
AMOUNTS = {0.01: "hardly anything", 0.05: "a little", 0.15: "a fair part", math.inf: "much"}  # by parts of the gap


def dimension_sentence(dimension: float | None, n_samples: int, sample: str = "image") -> str:
    """The data's intrinsic dimension in a line; None where it cannot be estimated. sample: image or row."""
    by = f"TwoNN on {n_samples:,} training {sample}s"
    if dimension is None:
        return f"How many dimensions the {sample}s have, {by} cannot tell: too many are equal, or equally far apart."
    return f"The {sample}s have about {dimension:.0f} dimensions by {by}; a VAE may need more latents or fewer."


def answer(search: Row, curves: Iterable[Row], sample: str = "image", another: str = "") -> list[str]:
    """Three sentences: the size, which others are as good, what half and twice as many would change. Then the doubts.

    search: a finished row of `ResultsStore.searches()`. curves: its rows of `ResultsStore.curves()`. sample: what the
    data are of, image or row. another: how to try another seed.
    """
    return [
        _size(search, sample),
        _as_good(search, sample),
        _other_sizes(search, size_curve(curves, search.get("chosen_trial")), sample),
        *_doubts(search, another),
    ]


def size_curve(curves: Iterable[Row], chosen_trial: float | None) -> dict[int, float]:
    """The validation ELBO (nats per image) by size, of the last epoch in which several sizes were assessed.

    The chosen training has to be among them: others may have been trained less.
    """
    by_epoch: dict[int, dict[int, float]] = {}
    of_chosen = set()
    for row in curves:
        if row["split"] == "val" and math.isfinite(row["elbo"]):
            by_epoch.setdefault(int(row["epoch"]), {})[int(row["size"])] = float(row["elbo"])
            of_chosen |= {int(row["epoch"])} if row["trial"] == chosen_trial else set()
    epochs = [epoch for epoch, sizes in by_epoch.items() if len(sizes) > 1 and epoch in of_chosen]
    return dict(sorted(by_epoch[max(epochs)].items())) if epochs else {}


def _size(search: Row, sample: str) -> str:
    size, loss, limit, gap = (
        known_value(search, name) for name in ("latent_dim", "choice_loss", "choice_limit", "choice_gap")
    )
    take = f"Take {size:.0f} latents"
    if gap is None:
        return f"{take}: {search['searcher']} ended with them and has compared no sizes."
    if loss is None or limit is None:
        return f"{take}, though no size that was tried is better on validation {sample}s than no latents at all."
    behind = f"they are {_percent(loss)} behind the best size tried, at most {_percent(limit)} with 95 % confidence"
    found = behind if loss > 0 else "no size that was tried is better"
    worth = f"100 % is what latents are worth, {gap:.3g} nats {_each(sample)}"
    return f"{take}: on {sample}s that training does not see {found} ({worth})."


def _as_good(search: Row, sample: str) -> str:
    sizes = search.get("as_good")
    others = sorted(int(size) for size in sizes) if isinstance(sizes, Sequence) else []
    if known_value(search, "choice_gap") is not None and known_value(search, "choice_loss") is None:
        return "So it cannot say which sizes are as good either."
    if not others:
        return f"Which other sizes are as good it cannot say: {CURVES} can, given enough epochs."
    if len(others) == 1:
        return f"Validation {sample}s drawn anew choose no other size; larger ones may do as well, but are not needed."
    few = f"{', '.join(map(str, others[:-1]))} and {others[-1]}"
    named = few if len(others) < 5 else f"{others[0]} to {others[-1]}"
    return f"Sizes {named} are as good: which one is chosen depends on the validation {sample}s that were drawn."


def _other_sizes(search: Row, curve: Mapping[int, float], sample: str) -> str:
    size, no_latents = int(search["latent_dim"]), known_value(search, "val_no_latents_nll")
    worth = no_latents + max(curve.values()) if curve and no_latents is not None else 0.0
    own = _nearest(curve, size)  # latents out of use may have gone since it was assessed
    if own is None or worth <= 0:
        return f"What half or twice as many would change, it cannot say: that takes many sizes ({CURVES})."
    parts = []
    for words, wanted in (("half", size / 2), ("twice", size * 2)):
        near = _nearest(curve, wanted)
        if near is None or near == own:
            parts.append(f"about {words} as many were not assessed")
            continue
        gain = curve[near] - curve[own]
        amount = next(amount for most, amount in AMOUNTS.items() if abs(gain) / worth < most)
        nats = f"{_percent(abs(gain) / worth)} of what latents are worth, {abs(gain):.2g} nats {_each(sample)}"
        parts.append(f"about {words} as many ({near}) would {'gain' if gain > 0 else 'lose'} {amount} ({nats})")
    sentence = "; ".join(parts) + ("" if own == size else f"; {own} stand for {size}")
    return f"{sentence[0].upper()}{sentence[1:]}."


def _nearest(curve: Mapping[int, float], wanted: float) -> int | None:
    """The assessed size nearest to the wanted one, as far as it can stand for it."""
    near = min(curve, key=lambda other: abs(math.log(other / wanted)), default=None)
    return None if near is None or abs(math.log(near / wanted)) > math.log(NEAR) else near


def _doubts(search: Row, another: str) -> list[str]:
    """What speaks against the size, and what one training cannot show."""
    found = [(doubt, doubt.detail(search)) for doubt in DOUBTS]
    lines = [f"{doubt.title}: {detail}. {doubt.advice}" for doubt, detail in found if detail]
    low, scale = str(search["space"]).partition(" to ")[0], known_value(search, "scale")
    if f"{search['latent_dim']:.0f}" == low != "2":
        lines.append(f"Space too small: size {low} is the space's smallest. A smaller one may do: lower space.low.")
    if scale is not None and scale < 1:
        epochs = f"{search['epochs']:.0f} epoch{'' if search['epochs'] == 1 else 's'} at most"
        share = f"{_percent(scale)} of the protocol's budget"
        lines.append(f"A short training: {epochs}, {share}. More may give another size.")
    another = another or f"--seed {search['seed'] + 1} tries one"
    return [*lines, f"Another seed may give another size, which one training cannot show: {another}."]


def _each(sample: str) -> str:
    return f"an {sample}" if sample == "image" else f"a {sample}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if abs(share) < 0.1 else f"{100 * share:.0f} %"
