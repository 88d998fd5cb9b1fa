"""The baselines against closed forms and scikit-learn, and whether a training is still learning."""

from __future__ import annotations

import math
import time

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits
from torch import Generator, Tensor

from benchmark.config.protocol import N_PARTITIONS
from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset, Split, make_dataset
from benchmark.metrics import baselines
from benchmark.metrics.baselines import (
    FIT_IMAGES,
    MEAN_MARGIN,
    Baseline,
    baselines_file,
    late_gain,
    load_baselines,
    mean_image,
    nll,
    pca_sse,
)
from benchmark.stages import Stage, listening
from benchmark.store.doubts import search_flags


def _split(images: Tensor) -> Split:
    return Split(images, torch.zeros(len(images)).long(), torch.arange(len(images)))


def _noise(n: int, *shape: int, seed: int = 0) -> Split:
    """Random images. The split starts at row 5, so that rows differ from positions."""
    images = torch.randint(256, (n + 5, *shape), dtype=torch.uint8, generator=Generator().manual_seed(seed))
    return Split(images, torch.zeros(n + 5).long(), torch.arange(5, n + 5))


def _rank_three(n: int, seed: int) -> Split:
    """Images of three stripes of random brightness and a black one, so that their rank is 3."""
    weights = torch.randint(256, (n, 3), generator=Generator().manual_seed(seed))
    stripes = torch.cat([weights, torch.zeros(n, 1).long()], 1).repeat_interleave(8, dim=1)
    return _split(stripes.reshape(n, 1, 4, 8).to(torch.uint8))


def _flat(split: Split) -> np.ndarray:
    return split.take(torch.arange(len(split))).flatten(1).numpy() / 255


def _errors_by_sklearn(fitted: Split, scored: Split, sizes: list[int]) -> list[float]:
    x, mean = _flat(scored), _flat(fitted).mean(0)
    components = PCA(max(sizes), svd_solver="full").fit(_flat(fitted)).components_
    differences = (x - (mean + (x - mean) @ components[:k].T @ components[:k]) for k in sizes)
    return [float(np.square(difference).sum(1).mean()) for difference in differences]


@pytest.mark.parametrize("n", [12, 200], ids=["fewer images than pixels", "more images than pixels"])
def test_three_components_explain_images_of_rank_three(n: int) -> None:
    fitted, scored = _rank_three(n, seed=1), _rank_three(30, seed=2)
    (errors,) = pca_sse(fitted, [scored])
    assert len(errors) == 4  # for 0 to 3 components
    assert errors[0] == pytest.approx(np.square(_flat(scored) - _flat(fitted).mean(0)).sum(1).mean())
    assert errors[0] > errors[1] > errors[2] > 0.01 and errors[3] == pytest.approx(0, abs=1e-9)
    assert Baseline(1.0, errors).pca_sse_of(2) == errors[2] and Baseline(1.0, errors).pca_sse_of(50) == errors[3]


@pytest.mark.parametrize("chunk", [7, 2048])
@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 2, 8, 8)], ids=["grey", "video"])
def test_pca_is_that_of_scikit_learn(shape: tuple[int, ...], chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "CHUNK", chunk)
    fitted, scored = _noise(60, *shape), [_noise(20, *shape, seed=1), _noise(30, *shape, seed=2)]
    sizes = [0, 1, 5, 30, 35]
    for errors, split in zip(pca_sse(fitted, scored), scored, strict=True):
        assert len(errors) == 1 + min(math.prod(shape), 59)
        assert [errors[k] for k in sizes] == pytest.approx(_errors_by_sklearn(fitted, split, sizes), rel=1e-9)
    assert [len(errors) for errors in pca_sse(fitted, scored, max_components=8)] == [9, 9]


def test_pca_is_fitted_on_a_part_of_many_or_large_images(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, scored = _noise(60, 1, 6, 6), _noise(20, 1, 6, 6, seed=1)
    expected = _errors_by_sklearn(fitted.sample(20), scored, [0, 4, 19])
    for name, most in (("FIT_IMAGES", 20), ("FIT_BYTES", 20 * 36)):
        with monkeypatch.context() as patch:
            patch.setattr(baselines, name, most)
            (errors,) = pca_sse(fitted, [scored])
        assert [errors[k] for k in (0, 4, 19)] == pytest.approx(expected, rel=1e-9)
    assert FIT_IMAGES == 5_000


def test_images_that_are_all_the_same_have_no_component() -> None:
    assert pca_sse(_split(torch.full((9, 1, 4, 4), 255).byte()), [_split(torch.zeros(3, 1, 4, 4).byte())]) == [[16.0]]


def test_the_nll_without_latents_is_that_of_the_mean_image() -> None:
    train, test = _noise(60, 1, 4, 4), _noise(20, 1, 4, 4, seed=1)
    mean = mean_image(train)
    assert mean == pytest.approx(_flat(train).mean(0), rel=1e-12)
    p, x = torch.from_numpy(mean).expand(20, 16), torch.from_numpy(_flat(test))
    expected = torch.nn.functional.binary_cross_entropy(p, x, reduction="sum") / 20
    assert nll(mean, test) == pytest.approx(float(expected), rel=1e-12)


def test_a_pixel_that_was_always_black_is_not_impossible() -> None:
    black, white = (_split(torch.full((4, 1, 1, 1), value).byte()) for value in (0, 255))
    assert nll(mean_image(black), white) == pytest.approx(-math.log(MEAN_MARGIN)) == pytest.approx(13.8, abs=0.1)
    assert nll(mean_image(white), black) == pytest.approx(-math.log(MEAN_MARGIN))
    assert nll(mean_image(black), black) == pytest.approx(0, abs=1e-5)


def _dataset(seed: int = 0) -> Dataset:
    split = _noise(95, 1, 4, 4, seed=seed)
    return make_dataset("toy", split.images, split.labels, split.images[:20], split.labels[:20], n_classes=1)


def test_baselines_are_computed_once_a_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[Stage] = []
    with listening(stages.append):
        computed = load_baselines(_dataset())
    assert {"computing the mean image", "decomposing the images by PCA"} <= {stage.what for stage in stages}
    mean = mean_image(_dataset().train)
    assert computed.val.no_latents_nll == nll(mean, _dataset().val)
    assert computed.test == Baseline(nll(mean, _dataset().test), pca_sse(_dataset().train, [_dataset().test])[0])
    other = load_baselines(_dataset(seed=1))
    assert other != computed and baselines_file(_dataset()) != baselines_file(_dataset(seed=1))
    file = baselines_file(_dataset())
    file.write_text(file.read_text().replace("0", "1"))  # damaged
    assert load_baselines(_dataset()) == computed
    monkeypatch.setattr(baselines, "_compute", None)
    assert load_baselines(_dataset()) == computed


def test_each_partition_has_baselines_of_its_own() -> None:
    dataset = load_dataset("digits")
    partitions = [dataset.for_seed(seed) for seed in range(N_PARTITIONS)]
    computed = [load_baselines(own) for own in partitions]
    for own, found in zip(partitions, computed, strict=True):
        assert found.test.no_latents_nll == nll(mean_image(own.train), own.test)
    assert len({found.test.no_latents_nll for found in computed}) == N_PARTITIONS
    assert len({baselines_file(own) for own in partitions}) == N_PARTITIONS
    assert baselines_file(dataset.for_seed(N_PARTITIONS + 1)) == baselines_file(partitions[1])


def test_digits_do_not_notice() -> None:
    dataset = load_dataset("digits")
    with threadpool_limits(1):  # as in a suite; threads that wait for each other use CPU time
        begin = time.process_time()
        load_baselines(dataset)
        assert time.process_time() - begin < 0.2


def _history(*losses: float) -> pd.DataFrame:
    """Epochs with these values of -ELBO, of which the KL is 3 nats."""
    return pd.DataFrame({"recon_nll": [loss - 3 for loss in losses], "kl": 3.0})


@pytest.mark.parametrize(
    ("losses", "gain", "error"),
    [
        ([100, 90, 80], 10 / 20, None),  # latents are worth 20 nats; the last epoch gained 10
        ([100, 80, 81], -1 / 20, None),
        ([100, 80, 80], 0, None),
        ([100, 90], None, None),
        ([100, 90, math.nan], None, None),
        ([100, math.inf, 80], None, None),
        ([*[100] * 16, 90, 88, 82, 80], (89 - 81) / 20, math.sqrt(2) / 20),  # a tenth is two epochs, with variance 2
        ([*[100] * 17, 60, 100, 100], (80 - 100) / 40, 20 / 40),  # one epoch was low by chance
        ([130, 120, 110], 10 / 0.1, None),  # worse than no latents: the worth is 0.1 % of the NLL
        ([100, 100, 100 - 1e-4], 1e-4 / 0.1, None),
    ],
)
def test_late_gain(losses: list[float], gain: float | None, error: float | None) -> None:
    expected = tuple(value if value is None else pytest.approx(value, rel=1e-6) for value in (gain, error))
    assert late_gain(_history(*losses), no_latents_nll=100.0) == expected


def test_noise_is_not_learning() -> None:
    """Under noise of 2 % of what latents are worth, a finished training is told from one that still learns."""
    rng = np.random.default_rng(0)
    learning = {slope: 0 for slope in (0.0, 0.4)}  # nats an epoch
    for slope in learning:
        for _ in range(200):
            losses = 80 - slope * np.arange(150) / 2 + rng.normal(0, 0.8, 150)
            gain, error = late_gain(_history(120, *losses), no_latents_nll=120.0)
            row = {"status": "done", "late_gain": gain, "late_gain_error": error}
            learning[slope] += search_flags(row)["still_learning"] is True
    assert learning[0.0] < 12 and learning[0.4] > 190
