"""Finished and failed searches of a method by their test losses, for tests of what is shown of it."""

from __future__ import annotations

import math
from typing import Any

from report_frames import Row, assessed, search

NO_LATENTS = 20.0  # nats/image


def method(searcher: str, losses: list[float], flops: float = 1e10, size: int = 8, **values: Any) -> list[Row]:
    """A search for each seed from 0 on, with that test loss (-ELBO, nats/image); a failed one for NaN."""
    return [
        search(searcher, seed, "failed", error="ValueError: x", **values)
        if math.isnan(loss)
        else search(
            searcher,
            seed,
            **{"test_elbo": -loss, "no_latents_nll": NO_LATENTS, "train_flops": flops, "latent_dim": size, **values},
        )
        for seed, loss in enumerate(losses)
    ]


def trainings(of: Row, losses: dict[int, float], **values: Any) -> list[Row]:
    """A search's finished trainings by size, in this order, with the same loss on both splits."""
    return [
        assessed(of, size, trial, split, elbo=-loss, **values)
        for trial, (size, loss) in enumerate(losses.items())
        for split in ("val", "test")
    ]
