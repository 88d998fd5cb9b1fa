"""A training from whose model the latents go, when it ends, that a reading of it calls out of use."""

from abc import ABC, abstractmethod

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from searchers.base import KEEP_ALL, Controller, Decision, Model
from searchers.quantities import LAST_EPOCHS, is_stable

LEAST = 2  # latents that stay: no smaller size can be trained


class Masking(Controller, ABC):
    """Closes the latents out of use for the last evaluations and in the finished model.

    Read after each of the last epochs but the very last, since the finished model is one that was evaluated. They are
    trained like the others, and may come back. is_open: bool [latent_dim].
    """

    is_open: Tensor

    def __init__(self, latent_dim: int, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self.register_buffer("is_open", torch.ones(latent_dim, dtype=torch.bool))

    @abstractmethod
    def in_use(self, history: pd.DataFrame, model: Model) -> NDArray[np.bool_]:
        """Reads which latents are in use, bool [latent_dim]; of fewer than two those of the highest KL stay too."""

    def after_epoch(self, history: pd.DataFrame, model: Model) -> Decision:
        if self.epochs - LAST_EPOCHS <= len(history) < self.epochs:
            used = at_least(LEAST, self.in_use(history, model), history["latent_kl"].iloc[-1])
            self.is_open.copy_(torch.from_numpy(used))
        return KEEP_ALL

    def open_latents(self) -> Tensor:
        return self.is_open

    def traces(self) -> dict[str, float]:
        return {"open": float(self.is_open.sum())}


def settled(history: pd.DataFrame) -> bool:
    """Whether as many latents were open in each of the last epochs."""
    return is_stable(history["ctl_open"])


def at_least(n: int, used: NDArray[np.bool_], kl: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The latents in use, bool [latent_dim], and of fewer than n those of the highest KL too. n: at least 1."""
    kept = np.zeros(len(used), dtype=bool)
    kept[np.lexsort((kl, used))[-max(n, int(used.sum())) :]] = True
    return kept
