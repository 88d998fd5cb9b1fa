"""Generated datasets whose right latent sizes are known: their recipes, dimensions, options and accepted sizes."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset
from benchmark.datasets.generated.linear import accepted, spectrum
from benchmark.datasets.generated.shapes2d import render
from benchmark.datasets.generated.truth import factor_ratios, fewest
from benchmark.errors import InputError
from searchers.parts.intrinsic_dimension import two_nn

FINGERPRINTS = {
    "linear": "7e279c0a5f77",
    "sphere": "26b2c40c3bb3",
    "torus": "0b3608a3f636",
    "shapes2d": "a3393e472459",
    "noise": "a58e8dac0e67",
    "shuffled": "faf86bf8550f",
}


def pixels(dataset: Dataset) -> np.ndarray:
    """All images, [N, D] in [0, 1]."""
    return dataset.train.images.flatten(1).double().numpy() / 255


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_the_bytes_are_the_same_everywhere(name: str) -> None:
    assert load_dataset(name, n_images=200).fingerprint[:12] == FINGERPRINTS[name]


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_splits_labels_and_truth(name: str) -> None:
    dataset = load_dataset(name, n_images=700)
    splits = [dataset.train, dataset.val, dataset.test]
    sizes = {"shuffled": [567, 63, 70]}.get(name, [540, 60, 100])
    assert [len(split) for split in splits] == sizes
    assert (dataset.train.labels.bincount(minlength=dataset.n_classes) > 20).all()
    assert dataset.truth is not None and dataset.for_seed(3).truth == dataset.truth
    assert f"right latent sizes: {dataset.truth[0]} to {dataset.truth[1]}" in dataset.description


@pytest.mark.parametrize(
    ("name", "options", "truth"),
    [
        ("manifold", {}, (5, 5)),
        ("manifold", {"latent_dim": 12}, (12, 12)),
        ("manifold", {"decay": 0.7}, (4, 5)),
        ("manifold", {"rare": 0.1}, (4, 5)),
        ("sphere", {}, (4, 5)),
        ("sphere", {"dim": 2}, (2, 3)),
        ("torus", {}, (3, 6)),
        ("torus", {"dim": 2, "noise": 0.05}, (2, 4)),
        ("torus", {"decay": 0.5}, (2, 6)),
        ("linear", {}, (6, 10)),
        ("linear", {"contrast": 0.08}, (4, 6)),
        ("shapes2d", {}, (4, 5)),
        ("noise", {}, (0, 0)),
        ("shuffled", {}, (0, 1)),
        ("digits", {}, None),
    ],
)
def test_accepted_sizes(name: str, options: dict[str, Any], truth: tuple[int, int] | None) -> None:
    assert load_dataset(name, **options).truth == truth


@pytest.mark.parametrize(
    ("name", "options", "dimension"),
    [
        ("sphere", {"dim": 2}, 2),
        ("sphere", {}, 4),
        ("torus", {"dim": 2}, 2),
        ("torus", {}, 3),
        ("manifold", {"decay": 0.7}, 5),
    ],
)
def test_intrinsic_dimension(name: str, options: dict[str, Any], dimension: int) -> None:
    assert abs(two_nn(pixels(load_dataset(name, **options))[:3_000]) - dimension) < 0.3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sphere", {"dim": 1}, "sphere: dim is 1; expected at least 2"),
        ("torus", {"dims": 3}, "did you mean 'dim'"),
        ("torus", {"decay": 0.0}, "decay is 0.0; expected above 0"),
        ("torus", {"rare": 1.5}, "rare is 1.5; expected at most 1"),
        ("linear", {"contrast": 0.5}, "contrast is 0.5; expected at most 0.18"),
        ("linear", {"noise": 0.2}, "noise is 0.2; expected at most 0.1"),
        ("shapes2d", {"n_images": 10}, "n_images is 10; expected at least 100"),
        ("manifold", {"noise": -0.1}, "noise is -0.1; expected at least 0"),
        ("shuffled", {"of": "digit"}, "did you mean 'digits'"),
    ],
)
def test_wrong_options(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset(name, **options)


# --- how many latents pay


def test_what_a_linear_vae_gains_by_a_direction() -> None:
    """The best ELBO of one linear latent, by a search over the decoder's weight: its encoder has a closed form."""
    variances = np.array([4.0, 1.0, 0.5, 0.3, 0.2])
    ratios = variances / 0.25

    def gain(ratio: float) -> float:
        """Decoder weight w, encoder slope a and posterior variance s, for data of variance `ratio` and noise 1."""
        best = 0.0
        for w in np.linspace(0, math.sqrt(ratio), 60):
            a, s = w / (1 + w * w), 1 / (1 + w * w)
            error = ratio * (1 - w * a) ** 2 + w * w * s
            kl = (a * a * ratio + s - 1 - math.log(s)) / 2
            best = max(best, (ratio - error) / 2 - kl)
        return best

    gains = np.array([gain(ratio) for ratio in ratios])
    expected = np.maximum(ratios, 1) - 1 - np.log(np.maximum(ratios, 1))
    np.testing.assert_allclose(gains, expected / 2, atol=0.02)
    lost = [gains[k:].sum() / gains.sum() for k in range(6)]
    assert lost[1] > 0.05 > lost[2] and fewest(ratios) == 2


def test_fewest_by_hand() -> None:
    assert fewest([5.0] * 8) == 8  # each gains an eighth
    assert fewest([5.0] * 25) == 24  # one of them is 4 %
    assert fewest([5.0, 0.9]) == 1 and fewest([0.9, 0.5]) == 0
    assert accepted(np.array([10.0, 0.24, 0.1]), contrast=0.16) == (1, 2)  # 0.24 is above 1/4 - 0.16^2


def test_the_worth_of_factors_of_linear_images_is_their_variance() -> None:
    factors = torch.randn(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scales = torch.tensor([0.02, 0.01, 0.0], dtype=torch.float64)
    directions = torch.ones(3, 200, dtype=torch.float64)

    def images(some: Tensor) -> Tensor:
        return 0.5 + (some * scales) @ directions

    first, second, none = factor_ratios(images, factors)
    assert first == pytest.approx(200 * 0.02**2 / 0.25, rel=0.1)
    assert second == pytest.approx(200 * 0.01**2 / 0.25, rel=0.1) and none == 0


def test_linear_has_its_spectrum() -> None:
    points = pixels(load_dataset("linear", noise=0.05))
    values = np.linalg.eigvalsh(np.cov(points.T))[::-1]
    expected = np.append(spectrum(0.16, 0.7), 0) + 0.05**2
    assert expected[:10] == pytest.approx(values[:10], rel=0.06)  # 0.4 % of pixels are cut off
    assert expected[:24].sum() == pytest.approx(1024 * 0.16**2 + 24 * 0.05**2)
    assert points.std(0) == pytest.approx(np.full(1024, math.hypot(0.16, 0.05)), rel=0.05)


# --- options


def test_noise_is_as_large_as_said() -> None:
    clean, noisy = (pixels(load_dataset("torus", noise=noise)) for noise in (0.0, 0.05))
    middle = (clean > 0.2) & (clean < 0.8)
    assert (noisy - clean)[middle].std() == pytest.approx(0.05, rel=0.02)
    assert load_dataset("torus", noise=0.05).fingerprint != load_dataset("torus").fingerprint


def test_a_rare_factor_varies_in_its_share_of_the_images() -> None:
    always, rarely = (pixels(load_dataset("shapes2d", n_images=1_000, rare=rare)) for rare in (1.0, 0.1))
    same = (always == rarely).all(1)
    assert same.mean() == pytest.approx(0.1, abs=0.03)  # those that are rotated as before


def test_weak_factors_move_the_images_less() -> None:
    def spread(decay: float) -> float:
        return float(pixels(load_dataset("manifold", decay=decay)).var(0).sum())

    assert spread(0.5) < 0.7 * spread(1.0)


# --- shapes


def test_a_shape_has_its_place_area_and_angle() -> None:
    factors = torch.tensor(
        [[0.5, -0.5, 0.0, 0.0, 0.0], [0, 0, 1.0, 0, 1], [0, 0, 1.0, 0, 2], [0, 0, 1.0, 1.0, 1]], dtype=torch.float64
    )
    images = render(factors).reshape(-1, 64, 64)
    places = torch.arange(64) + 0.5 - 32
    ellipse, rectangle, triangle, turned = images
    assert float((ellipse.sum(0) * places).sum() / ellipse.sum()) == pytest.approx(9, abs=0.01)
    assert float((ellipse.sum(1) * places).sum() / ellipse.sum()) == pytest.approx(-9, abs=0.01)
    assert float(ellipse.sum()) == pytest.approx(math.pi * 10 * 5, rel=0.01)
    assert float(rectangle.sum()) == pytest.approx(26 * 13, rel=0.01)
    assert float(triangle.sum()) == pytest.approx(26 * 13 / 2, rel=0.02)
    assert float(turned.sum()) == pytest.approx(26 * 13, rel=0.01)
    down, right = torch.meshgrid(places.double(), places.double(), indexing="ij")
    assert float((turned * right * down).sum() / turned.sum()) == pytest.approx((13**2 - 6.5**2) / 6, rel=0.02)
    assert 0 < images.max() <= 1 and ((images > 0) & (images < 1)).any()  # smooth edges


# --- controls


def test_shuffled_images_keep_their_values_and_nothing_else() -> None:
    source, shuffled = load_dataset("digits").train, load_dataset("shuffled").train
    before, after = source.images[source.rows].flatten(1), shuffled.images.flatten(1)
    assert torch.equal(before.sort(1).values, after.sort(1).values) and not torch.equal(before, after)
    assert torch.equal(shuffled.labels, source.labels[source.rows])
    values = (np.linalg.eigvalsh(np.cov(some.double().numpy().T)) for some in (before, after))
    first, rest = (of[-1] / of.sum() for of in values)  # the share of the first principal component
    assert rest < 0.05 < 0.1 < first


def test_noise_is_uniform_and_independent() -> None:
    points = pixels(load_dataset("noise"))
    assert points.mean() == pytest.approx(0.5, abs=0.005) and points.var() == pytest.approx(1 / 12, rel=0.01)
    assert np.linalg.eigvalsh(np.corrcoef(points.T))[-1] < 1.5  # 1.42 by the law of Marchenko and Pastur
