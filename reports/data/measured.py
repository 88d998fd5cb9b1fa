"""How a group's metrics were measured, in sentences that stand once above its tables."""

from __future__ import annotations

import math

import pandas as pd

from benchmark.text import ROWS, features_kind, of_data
from reports.data.groups import Group
from reports.data.numbers import mean_sd_text
from reports.data.quantities import ELBO, shown_metrics

FEW_FID_IMAGES = 2000  # with fewer, a FID is clearly biased


def measured(group: Group) -> tuple[str, ...]:
    """Says with how many images, samples and draws the finished searches were scored, and what none of them has."""
    done = group.done
    if done.empty:
        return ()
    found = [_fid(group), _draws(done), _noise(done), _absent(group)]
    return tuple(of_data(sentence, group.fid_features) for sentence in found if sentence)


def _fid(group: Group) -> str:
    images = _range(group.done["test_fid_images"], whole=True)
    if not images:
        return ""
    samples = _range(group.done["test_fid_samples"], whole=True)
    parts = [f"{images} real images", *([f"{samples} samples of each model"] if samples else [])]
    real = _range(group.done["test_fid_real"])
    parts += [f"training images in their place have {real}" if real else "what real images have is unknown"]
    few = group.done["test_fid_images"].min() < FEW_FID_IMAGES
    bias = " So few images make every FID too high: it compares within this table only." if few else ""
    kind = features_kind(group.fid_features) or "unknown"
    on = "the scaled data" if kind == ROWS else f"{kind} features"
    return f"FID on {on} ({'; '.join(parts)}).{bias}"


def _draws(done: pd.DataFrame) -> str:
    draws = _range(done["test_draws"], whole=True)
    known = bool(draws) and done[ELBO.tested].notna().any()
    return f"ELBO, NLL and errors: mean of {draws} draws of z an image, the same noise for all models." if known else ""


def _noise(done: pd.DataFrame) -> str:
    noise = _range(done["test_silhouette_noise"], digits=2)
    taken = f"The silhouette of normal noise of the models' dimensions is {noise}; it is taken off."
    return f"{taken} What is left still falls with the size: compare models of like size." if noise else ""


def _absent(group: Group) -> str:
    names = [metric.label for metric in shown_metrics(group.fid_features) if group.done[metric.tested].isna().all()]
    if not (group.curves["split"] == "test").any():
        names.append("quality against size")
    return f"No search has: {'; '.join(names)}." if names else ""


def _range(values: pd.Series[float], whole: bool = False, digits: int = 3) -> str:
    """The value, or the smallest and the largest; empty where there is none."""
    known = values.dropna()
    if known.empty:
        return ""
    ends = known.min(), known.max()
    texts = [f"{value:,.0f}" if whole else mean_sd_text(value, math.nan, digits) for value in ends]
    return " to ".join(dict.fromkeys(texts))
