"""Scalings of stored values: to the bit what bytes always were, exact where float32 is not, and undone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from benchmark.backbones.build import build_vae
from benchmark.backbones.model_file import load_model, save_model
from benchmark.datasets.base import STANDARDISED, split_dataset, standardised_on
from benchmark.datasets.likelihoods import for_likelihood, resolved_likelihood
from benchmark.datasets.scaling import BYTES, UNSCALED, Scaling, stacked, standardised
from benchmark.errors import InputError

N, D = 400, 6


def table(dtype: torch.dtype = torch.float64) -> Tensor:
    """Rows whose columns have very different means and spreads."""
    noise = torch.randn(N, D, generator=Generator().manual_seed(0), dtype=torch.float64)
    return (noise * torch.tensor([1, 10, 1e-3, 5, 100, 0.5]) + torch.tensor([0, 1e6, 3, -7, 1e4, 0])).to(dtype)


def labels(n: int = N) -> Tensor:
    return torch.zeros(n, dtype=torch.int64)


def test_bytes_are_what_they_always_were() -> None:
    pixels = torch.randint(256, (50, 1, 4, 4), dtype=torch.uint8, generator=Generator().manual_seed(0))
    dataset = split_dataset("toy", pixels, labels(50), 1)
    positions = torch.arange(len(dataset.train))
    expected = pixels[dataset.train.rows].float() / 255
    assert dataset.train.scaling is BYTES and dataset.is_images
    assert torch.equal(dataset.train.inputs(positions), expected)
    assert torch.equal(dataset.train.inputs(positions, torch.device("cpu")), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32, torch.int64])
def test_standardised_columns_have_mean_0_and_variance_1_on_the_training_split(dtype: torch.dtype) -> None:
    dataset = split_dataset(
        "toy", table(dtype), labels(), 1, scaling="standard", value_names=[f"c{i}" for i in range(D)]
    )
    assert dataset.image_shape == (D,) and not dataset.is_images and dataset.value_names[2] == "c2"
    assert STANDARDISED in dataset.description and f"{N} rows, {D} columns" in dataset.description
    for seed in (0, 1):
        own = dataset.for_seed(seed)
        x = own.train.inputs(torch.arange(len(own.train)))
        assert x.dtype == torch.float32
        varies = table(dtype)[own.train.rows].double().std(0) > 0
        np.testing.assert_allclose(x.double().mean(0), 0, atol=2e-6)
        np.testing.assert_allclose(x.double().std(0, correction=0)[varies], 1, rtol=1e-5)
        assert (x.std(0)[~varies] == 0).all()
    assert not torch.equal(dataset.train.scaling.shift, dataset.for_seed(1).train.scaling.shift)  # type: ignore[arg-type]


def test_values_far_from_0_keep_their_digits_and_are_undone() -> None:
    rows = torch.arange(100, dtype=torch.float64)[:, None] * 1e-4 + 1e9
    scaling = standardised(rows.split(7))
    assert float(scaling.scale) == pytest.approx(float(rows.std(correction=0)), rel=1e-6)
    x = scaling(rows)
    np.testing.assert_allclose(x.double(), (rows - rows.mean()) / rows.std(correction=0), atol=1e-3)
    np.testing.assert_allclose(scaling.undo(x), rows, rtol=0, atol=1e-9 * 200)


def test_a_fit_in_parts_is_the_fit_of_the_whole_and_a_constant_stays_finite() -> None:
    rows = torch.cat([table(), torch.full((N, 1), 0.1, dtype=torch.float64)], 1)
    whole, parts = standardised([rows]), standardised(rows.split(13))
    torch.testing.assert_close(whole.scale, parts.scale, rtol=1e-9, atol=0)
    torch.testing.assert_close(whole.scale[:-1], rows.std(0, correction=0)[:-1], rtol=1e-9, atol=0)  # type: ignore[index]
    assert whole.scale[-1] == parts.scale[-1] == 1  # type: ignore[index]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_column_that_is_constant_on_the_training_split_is_scaled_by_all_rows(seed: int) -> None:
    first = split_dataset("toy", table(), labels(), 1, scaling="standard").for_seed(seed)
    rare = torch.full((N, 1), 5e4, dtype=torch.float64)
    rare[first.test.rows[:20]] = 0
    rows = torch.cat([table(), rare, torch.ones(N, 1)], 1)
    own = split_dataset("toy", rows, labels(), 1, scaling="standard").for_seed(seed)
    assert torch.equal(own.train.rows, first.train.rows) and own.test.scaling is own.train.scaling
    shift, scale = (torch.as_tensor(part) for part in (own.train.scaling.shift, own.train.scaling.scale))
    assert torch.equal(scale[:D], torch.as_tensor(first.train.scaling.scale))
    assert float(shift[D]) == 5e4 and float(scale[D]) == pytest.approx(float(rare.std(correction=0))) and scale[-1] == 1
    assert float(own.test.inputs(torch.arange(len(own.test)))[:, D].abs().max()) < 10


def test_sixteen_bits_keep_their_precision() -> None:
    values = np.arange(65_536, dtype=np.uint16).reshape(-1, 1, 8, 8)
    dataset = split_dataset("deep", torch.from_numpy(values), labels(len(values)), 1, scaling=Scaling(scale=65_535.0))
    x = dataset.train.inputs(torch.arange(len(dataset.train)))
    expected = values[dataset.train.rows.numpy()].astype(np.float64) / 65_535
    np.testing.assert_allclose(x, expected, rtol=1e-6)
    assert len(x.unique()) == dataset.train.images[dataset.train.rows].numel() and "of uint16" in dataset.description


def test_members_of_a_stack_have_their_own_scalings() -> None:
    own = [standardised([table()[part]]) for part in (slice(0, 200), slice(200, 400))]
    stored = torch.stack([table()[:5], table()[5:10]])
    both = stacked(own)(stored)
    for i in range(2):
        torch.testing.assert_close(both[i], own[i](stored[i]))
    assert stacked([BYTES, BYTES]) is BYTES


def test_a_likelihood_decides_how_values_are_scaled() -> None:
    real = split_dataset("real", table(), labels(), 1, scaling="standard")
    binary = split_dataset("binary", (table() > table().mean(0)).double(), labels(), 1, scaling="standard")
    counts = split_dataset("counts", table().abs().round(), labels(), 1, scaling="standard")
    bytes_ = split_dataset("grey", torch.zeros(20, 1, 4, 4, dtype=torch.uint8), labels(20), 1)
    assert [resolved_likelihood("auto", data) for data in (real, binary, counts, bytes_)] == [
        *("gaussian-optimal", "bernoulli", "gaussian-optimal", "bernoulli")
    ]
    assert for_likelihood(real, "gaussian-learned").train is real.train
    assert for_likelihood(bytes_, "bernoulli") == bytes_
    for data, name in ((counts, "negative-binomial"), (counts, "poisson"), (binary, "bernoulli")):
        assert resolved_likelihood(name, data) == name
        plain = for_likelihood(data, name)
        assert plain.test.scaling is UNSCALED and STANDARDISED not in plain.description
        assert torch.equal(
            plain.for_seed(1).train.inputs(torch.arange(3)).double(), plain.for_seed(1).train.take(torch.arange(3))
        )


@pytest.mark.parametrize("name", ["poisson", "bernoulli", "negative-binomial"])
def test_values_that_a_likelihood_cannot_take_are_refused(name: str) -> None:
    dataset = split_dataset("real", table(), labels(), 1, scaling="standard")
    with pytest.raises(InputError, match=rf"likelihood {name} got values from .* dataset real; expected .*: choose"):
        resolved_likelihood(name, dataset)  # type: ignore[arg-type]


def test_bytes_of_other_values_than_0_and_1_are_no_bernoulli_s_unless_they_are_seen_in_0_to_1() -> None:
    rows = torch.randint(256, (40, 3), dtype=torch.uint8, generator=Generator().manual_seed(0))
    for scaling in ("standard", UNSCALED):
        dataset = split_dataset("bytes", rows, labels(40), 1, scaling=scaling)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="likelihood bernoulli got values from .* expected values from 0 to 1"):
            resolved_likelihood("bernoulli", dataset)
    ones = split_dataset("ones", rows % 2, labels(40), 1, scaling=UNSCALED)
    assert resolved_likelihood("bernoulli", ones) == "bernoulli" and not ones.train.is_of_bytes
    images = split_dataset("grey", rows[:, :, None, None], labels(40), 1, scaling=replace(BYTES))
    assert resolved_likelihood("bernoulli", images) == "bernoulli" and images.train.is_of_bytes
    assert images.train.to(torch.device("cpu")).is_of_bytes


def test_a_model_file_gives_the_data_s_own_units_back(tmp_path) -> None:  # type: ignore[no-untyped-def]
    dataset = split_dataset("toy", table(), labels(), 1, scaling="standard")
    scaling, options = dataset.train.scaling, {"hidden": [8]}
    vae = build_vae("mlp", options, (D,), 2, 0, "gaussian-optimal", scaling).eval()
    vae.likelihood.variance.fill_(0.3)  # type: ignore[union-attr, operator]
    save_model(tmp_path / "model.pt", vae, "mlp", options, (D,))
    loaded = load_model(tmp_path / "model.pt")
    mean, logvar = loaded.embed(table().numpy())
    expected = vae.encode(standardised_on(dataset.train)(table()))
    torch.testing.assert_close(mean, expected[0].detach())
    torch.testing.assert_close(logvar, expected[1].detach())
    data = loaded.generate(mean)
    torch.testing.assert_close(data, vae.decode(mean).detach().double() * scaling.scale + scaling.shift)
    assert float((data.mean(0) / table().mean(0))[1]) == pytest.approx(1, abs=1e-3)  # about a million, as the column
    assert float(loaded.likelihood.variance) == pytest.approx(0.3)  # type: ignore[arg-type]


def test_the_bytes_of_an_image_are_embedded_and_generated(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pixels = torch.randint(256, (5, 1, 4, 4), dtype=torch.uint8, generator=Generator().manual_seed(0))
    vae = build_vae("mlp", {"hidden": [8]}, (1, 4, 4), 2, 0).eval()
    save_model(tmp_path / "model.pt", vae, "mlp", {"hidden": [8]}, (1, 4, 4))
    loaded = load_model(tmp_path / "model.pt")
    mean, _ = loaded.embed(pixels)
    torch.testing.assert_close(mean, vae.encode(pixels.float() / 255)[0].detach())
    torch.testing.assert_close(loaded.generate(mean) / 255, vae.decode(mean).sigmoid().detach().double())


def test_other_numbers_need_a_scaling() -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        split_dataset("toy", table(), labels(), 1)
    moved = replace(split_dataset("toy", table(), labels(), 1, scaling=UNSCALED).train, scaling=BYTES)
    assert torch.equal(moved.inputs(torch.arange(2)), (moved.take(torch.arange(2)) / 255).float())
