"""What a results folder shows of a model: originals and reconstructions on the same scale."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from benchmark.backbones.build import build_vae
from benchmark.datasets.base import split_dataset
from benchmark.datasets.scaling import BYTES, UNSCALED, Scaling
from benchmark.metrics.by_kind.gallery import save_gallery


@pytest.mark.parametrize(("scaling", "brightest"), [(UNSCALED, 255), (BYTES, 1)])
def test_originals_are_shown_as_the_network_sees_them(scaling: Scaling, brightest: int, tmp_path: Path) -> None:
    ones = torch.randint(2, (60, 1, 4, 4), dtype=torch.uint8, generator=Generator().manual_seed(0))
    dataset = split_dataset("ones", ones, torch.zeros(60).long(), 1, scaling=scaling)
    vae = build_vae("mlp", {"hidden": [4]}, (1, 4, 4), 2, 0, "bernoulli", scaling).eval()
    save_gallery(tmp_path, vae, dataset, Generator().manual_seed(0))
    with np.load(tmp_path / "images.npz") as shown:
        assert set(np.unique(shown["originals"])) == {0, brightest}
