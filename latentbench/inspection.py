"""Check my model: how many latents of an encoder are in use, by several readings, and which could go."""

import argparse
import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmark.backbones.model_file import load_model
from benchmark.backbones.vae import VAE
from benchmark.config.protocol import dataset_protocol, override
from benchmark.config.tables import parse_assignment
from benchmark.datasets import check_dataset_name, load_dataset
from benchmark.errors import InputError
from benchmark.metrics.latents import PosteriorStats, posterior_stats
from benchmark.text import one_line, printable
from searchers.in_training.sigma import Sigma
from searchers.in_training.sparsity import Sparsity
from searchers.quantities import ACTIVE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 1_000  # samples that are encoded at once
LEAST_KL = 0.01  # nats a sample
MOST_LINES = 60  # latents that the text shows

Encode = Callable[[Any], tuple[Any, Any]]
"""Maps a raw batch [B, ...] to the posterior's mean and log-variance, [B, n] each: tensors or arrays."""


@dataclass(frozen=True)
class Reading:
    """A rule that says which latents are in use. in_use: of the statistics, bool [n]."""

    name: str
    meaning: str
    in_use: Callable[[PosteriorStats], NDArray[np.bool_]]


READINGS = (
    Reading(
        "active units",
        f"the mean varies over the data by more than {ACTIVE} (1509.00519, section 5.2)",
        lambda stats: stats.mean_variance > ACTIVE,
    ),
    Reading(
        "KL",
        f"more than {LEAST_KL} nats a sample",
        lambda stats: stats.kl > LEAST_KL,
    ),
    Reading(
        "sparsity",
        f"not both: mean's variance below {Sparsity.max_mean_variance}, mean variance above "
        f"{Sparsity.min_variance_mean} (1812.07238)",
        lambda stats: (
            ~((stats.mean_variance < Sparsity.max_mean_variance) & (stats.variance_mean > Sparsity.min_variance_mean))
        ),
    ),
    Reading(
        "sigma",
        f"mean variance below {Sigma.most_variance} (1903.05789)",
        lambda stats: stats.variance_mean < Sigma.most_variance,
    ),
)


@dataclass(frozen=True)
class Inspection:
    """What the posteriors of an encoder say of its latents; see `inspect_latents`.

    Attributes
    ----------
    latents : DataFrame
        A row for each latent: `mean_variance`, the variance over the data of the posterior mean; `variance_mean`, the
        mean of the posterior variance (1 for a latent out of use); `kl`, nats a sample; and for each reading whether it
        is in use.
    n_samples : int
        How many samples were encoded.
    """

    latents: pd.DataFrame
    n_samples: int

    @property
    def in_use(self) -> dict[str, int]:
        """How many latents are in use by each reading."""
        return {reading.name: int(self.latents[reading.name].sum()) for reading in READINGS}

    @property
    def removable(self) -> list[int]:
        """The latents that no reading calls in use: without them the model does what it does now."""
        votes = self.latents[[reading.name for reading in READINGS]].sum(axis=1)
        return [int(latent) for latent in votes.index[votes == 0]]

    @property
    def doubtful(self) -> list[int]:
        """The latents that some readings call in use and others do not."""
        votes = self.latents[[reading.name for reading in READINGS]].sum(axis=1)
        return [int(latent) for latent in votes.index[(votes > 0) & (votes < len(READINGS))]]

    def sentences(self) -> list[str]:
        """What follows, in plain words."""
        n, counts = len(self.latents), sorted(set(self.in_use.values()))
        span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}, by the reading,"
        lines = [f"{span} of {n} latents {'is' if counts == [1] else 'are'} in use, on {self.n_samples:,} samples."]
        if self.removable:
            them = "it" if len(self.removable) == 1 else "them"
            lines.append(f"Could be removed: {_numbers(self.removable)}; no reading calls {them} in use.")
        if self.doubtful:
            lines.append(f"The readings differ on {_numbers(self.doubtful)}.")
        if counts[0] == n:
            lines.append("All are in use: more latents may do better, which only a search can tell.")
        return lines

    def figure(self) -> "Figure":
        """KL of each latent, and the two parts of its variance, by falling KL."""
        from latentbench.per_latent import draw_latents

        return draw_latents(self.latents)

    def __repr__(self) -> str:
        shown = self.latents.sort_values("kl", ascending=False, kind="stable").head(MOST_LINES)
        lines = [f"{'latent':>6} {'KL (nats)':>10} {'var(mean)':>10} {'mean(var)':>10}  in use by"]
        for latent, row in shown.iterrows():
            names = ", ".join(reading.name for reading in READINGS if row[reading.name]) or "none"
            names = "all" if names.count(",") + 1 == len(READINGS) else names
            numbers = f"{row['kl']:>10.3g} {row['mean_variance']:>10.3g} {row['variance_mean']:>10.3g}"
            lines.append(f"{latent:>6} {numbers}  {names}")
        if len(self.latents) > len(shown):
            lines.append(f"... and {len(self.latents) - len(shown):,} of smaller KL")
        rules = [f"{reading.name:>12}: {self.in_use[reading.name]:>3}  {reading.meaning}" for reading in READINGS]
        return "\n".join([*self.sentences(), "", "in use by each reading:", *rules, "", *lines])

    def _repr_html_(self) -> str:
        from latentbench.result import figure_html

        lines = "".join(f"<li>{html.escape(line)}</li>" for line in self.sentences())
        rules = "".join(
            f"<tr><td>{reading.name}</td><td>{self.in_use[reading.name]}</td><td>{html.escape(reading.meaning)}</td></tr>"
            for reading in READINGS
        )
        head = "<tr><th>reading</th><th>in use</th><th>in use where</th></tr>"
        return f"<div><ul>{lines}</ul><table>{head}{rules}</table>{figure_html(self.figure())}</div>"


def inspect_latents(encode: Encode | VAE | str | Path, X: Any) -> Inspection:
    """Say of an encoder which latents are in use on these data, by several readings, and which could be removed.

    Parameters
    ----------
    encode : callable, VAE, str or Path
        Any callable from a raw batch to the posterior's mean and log-variance, [B, n] each, as tensors or arrays; or a
        model of latentbench, or its file.
    X : array, tensor or DataFrame
        The data, [N, ...]; `encode` gets at most 1,000 rows at a time, of the type of X (of a DataFrame its values).

    Returns
    -------
    Inspection
        `latents` (a frame), `in_use`, `removable`, `doubtful`, `figure()`, and a picture in notebooks.

    Raises
    ------
    InputError
        The encoder returns something else, or values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> def encode(batch):  # the third latent is out of use
    ...     mean = batch * [1.0, 0.9, 0.0]
    ...     return mean, np.log(np.broadcast_to([0.01, 0.2, 1.0], mean.shape))
    >>> inspection = inspect_latents(encode, X)
    >>> inspection.in_use["active units"], inspection.removable
    (2, [2])
    """
    if isinstance(encode, (str, Path)):
        encode = load_model(encode)
    if isinstance(encode, VAE):
        encode = encode.embed
    values = X.to_numpy() if isinstance(X, pd.DataFrame) else X
    if not hasattr(values, "shape"):
        values = np.asarray(values)
    if len(values) < 2:
        raise InputError(f"got {len(values)} rows; expected at least 2")
    posteriors = list(_encoded(encode, values))
    mean, logvar = (torch.cat(parts) for parts in zip(*posteriors, strict=True))
    return inspection_of(posterior_stats(mean, logvar), len(mean))


def inspection_of(stats: PosteriorStats, n_samples: int) -> Inspection:
    """The inspection behind these statistics."""
    columns: dict[str, Any] = {
        **{"mean_variance": stats.mean_variance, "variance_mean": stats.variance_mean, "kl": stats.kl},
        **{reading.name: reading.in_use(stats) for reading in READINGS},
    }
    return Inspection(pd.DataFrame(columns).rename_axis("latent"), n_samples)


@torch.no_grad()
def _encoded(encode: Encode, values: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for start in range(0, len(values), BATCH):
        batch = values[start : start + BATCH]
        found = encode(batch)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise InputError(
                f"encode returned a {type(found).__name__}; expected a mean and a log-variance, [B, n] each"
            )
        mean, logvar = map(_float64, found)
        if mean.ndim != 2 or mean.shape != logvar.shape or len(mean) != len(batch):
            got = f"a mean {list(mean.shape)} and a log-variance {list(logvar.shape)} for {len(batch)} rows"
            raise InputError(f"encode returned {got}; expected [{len(batch)}, n] for both")
        if not (mean.isfinite().all() and logvar.isfinite().all()):
            raise InputError(
                "encode returned values that are not finite; expected a mean and the logarithm of a variance"
            )
        yield mean, logvar


def _float64(part: Any) -> torch.Tensor:
    if isinstance(part, torch.Tensor):
        return part.detach().cpu().double()
    return torch.tensor(np.asarray(part), dtype=torch.float64)  # a copy: an array may be read-only


def command(options: argparse.Namespace) -> int:
    """`latentbench inspect MODEL DATA`: prints the inspection on the test split, and writes the figure if asked to.

    A model's file does not say of which seed it is: a test split that is drawn is that of seed 0, and the text says so.
    """
    check_dataset_name(options.data)
    vae = load_model(options.model)
    table = {"dataset": {"name": options.data}}
    data = override(dataset_protocol(options.data), table, *map(parse_assignment, options.set)).dataset
    dataset = load_dataset(data.name, **data.options)
    split = dataset.test
    if split.images.shape[1:] != vae.image_shape:
        got = f"{options.model} does not take the samples of {data.name}, {list(split.images.shape[1:])}"
        raise InputError(f"{got}; expected data like those that it was trained on")
    inspection = inspect_latents(vae, split.take(torch.arange(len(split))))
    print(inspection)
    if "test" in dataset.drawn:
        samples = "images" if dataset.is_images else "rows"
        print(f"\nThe samples are the test {samples} of seed 0; a model of another seed may have been trained on some.")
    if options.figure is not None:
        options.figure.parent.mkdir(parents=True, exist_ok=True)
        try:
            inspection.figure().savefig(options.figure)
        except ValueError as error:  # no such format
            raise InputError(f"figure is {options.figure}: {one_line(error)}") from error
        print(f"wrote {printable(options.figure)}")
    return 0


def _numbers(latents: list[int]) -> str:
    """Latents in a line, runs of them as `4 to 9`."""
    runs: list[list[int]] = []
    for latent in latents:
        if runs and latent == runs[-1][-1] + 1:
            runs[-1].append(latent)
        else:
            runs.append([latent])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}{' to ' if len(run) > 2 else ', '}{run[-1]}" for run in runs]
    return f"latent{'' if len(latents) == 1 else 's'} {', '.join(texts)}"
