"""Sparsity in variational autoencoders (1812.07238): its runs, their latents and what they decode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.config.protocol import load_protocol
from reports.papers.base import RequiredRuns, StoreFrames
from reports.papers.runs import is_full, of_one_condition, share_of_budget
from searchers.quantities import ACTIVE

MNIST_DENSE = RequiredRuns("asperti-mnist-dense", ("grid@16",))
MNIST_CONV = RequiredRuns("asperti-mnist-conv", ("grid@16",))
TILES_DENSE = RequiredRuns("asperti-tiles-dense", ("grid@16",))
TILES_CONV = RequiredRuns("asperti-tiles-conv", ("grid@16",))

GreyImages = NDArray[np.float32]  # [N, H, W], 0 black to 1 white


@dataclass(frozen=True)
class Run:
    """The search that stands for a need (see `reports.papers.runs.of_one_condition`).

    share: of the protocol's own budget in epochs.
    """

    search_id: str
    trial: int
    seed: int
    share: float

    @property
    def note(self) -> str:
        """Its seed and, where it is not all, the share of the budget."""
        return f"seed {self.seed}" + ("" if is_full(self.share) else f", {100 * self.share:.3g} % of the budget")


def find_run(runs: StoreFrames, need: RequiredRuns) -> Run | None:
    """The run of a need of one searcher on the protocol's own data and network; None where it has not finished."""
    return next(iter(find_runs(runs, need)), None)


def find_runs(runs: StoreFrames, need: RequiredRuns) -> list[Run]:
    """The runs of all seeds of the condition that stands for a need, by rising seed."""
    protocol = load_protocol(need.protocol)
    found = runs.of(need)
    found = found[(found["dataset"] == protocol.dataset.name) & (found["backbone"] == protocol.backbone.name)]
    if found.empty:
        return []
    return [
        Run(search["search_id"], int(search["chosen_trial"]), int(search["seed"]), share_of_budget(search))
        for _, search in of_one_condition(found).iterrows()
    ]


def rows_of(frame: pd.DataFrame, run: Run) -> pd.DataFrame:
    """A run's rows of one of the store's frames."""
    return frame[(frame["search_id"] == run.search_id) & (frame["trial"] == run.trial)]


def decode(runs: StoreFrames, run: Run, z: NDArray[np.floating]) -> GreyImages:
    """The images that the run's exported model decodes from z [N, latent_dim]; of the first channel."""
    import torch  # here: a report without decoded images needs none

    from benchmark import load_model

    model = load_model(runs.store.folder(run.search_id).path / "model.pt")
    with torch.inference_mode():
        images: GreyImages = model.likelihood.mean(model.decode(torch.from_numpy(z.astype(np.float32))))[:, 0].numpy()
    return images


def pixels(images: GreyImages) -> list[str]:
    """Each image as a line of a CSV: its pixels as drawn, 0 to 255, two hexadecimal digits each, row by row."""
    return [image.tobytes().hex() for image in (images * 255).round().astype(np.uint8)]


def final_latents(runs: StoreFrames, run: Run) -> pd.DataFrame:
    """The latents of a run after its last epoch, by index in its model: no., variance (of the posterior mean over
    the validation images), mean(σ²) (of the posterior), their sum, inactive.
    """
    rows = rows_of(runs.latents, run)
    rows = rows[rows["epoch"] == rows["epoch"].max()]
    return latent_frame(
        rows["latent_id"].astype(int).tolist(),
        rows["latent_mean_variance"].astype(float).tolist(),
        rows["latent_variance_mean"].astype(float).tolist(),
    )


def latent_frame(ids: list[int], variances: list[float], mean_variances: list[float]) -> pd.DataFrame:
    """The columns of `final_latents` from the first three."""
    frame = pd.DataFrame({"no.": ids, "variance": variances, "mean(σ²)": mean_variances})
    return frame.assign(
        sum=frame["variance"] + frame["mean(σ²)"],
        inactive=~(frame["variance"] > ACTIVE),  # NaN: nothing says that it is in use
    )
