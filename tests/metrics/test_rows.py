"""What is measured of rows of a table: the space of the Frechet distance, the baselines by each likelihood, R2."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.stats
import torch
from sklearn.decomposition import PCA
from torch import Generator, Tensor

from benchmark.backbones.build import build_vae
from benchmark.config.protocol import Evaluation
from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset, split_dataset
from benchmark.datasets.likelihoods import for_likelihood
from benchmark.datasets.scaling import UNSCALED
from benchmark.errors import InputError
from benchmark.metrics import baselines
from benchmark.metrics.assessment import assess
from benchmark.metrics.baselines import constant_nll, late_gain, load_baselines, pca_sse
from benchmark.metrics.by_kind.data_space import MOST_VALUES
from benchmark.metrics.evaluation import Evaluator
from benchmark.metrics.features import load_features, resolve_features
from benchmark.metrics.frechet import feature_stats, frechet_distance
from benchmark.stages import Stage, listening
from searchers.parts.likelihoods import NegativeBinomial

CPU = torch.device("cpu")
N, D = 600, 8


def table(columns: int = D, likelihood: str = "gaussian-optimal") -> Dataset:
    """Rows of two factors and noise; counts where the likelihood is of counts, 0 and 1 where it is bernoulli."""
    generator = Generator().manual_seed(0)
    rows = torch.randn(N, 2, generator=generator) @ torch.randn(2, columns, generator=generator)
    rows = rows + 0.3 * torch.randn(N, columns, generator=generator)
    if likelihood in ("poisson", "negative-binomial"):
        rows = torch.poisson((0.7 * rows).exp(), generator=generator)
    if likelihood == "bernoulli":
        rows = (rows > 0.5).float()
    dataset = split_dataset("toy", rows, torch.arange(N) % 3, 3, scaling="standard")
    return for_likelihood(dataset, likelihood)


def inputs(dataset: Dataset, name: str) -> Tensor:
    """What a network sees of a split."""
    split = getattr(dataset, name)
    return split.inputs(torch.arange(len(split)))


# --- the space of the Frechet distance


def test_a_narrow_table_is_its_own_space_and_counts_are_taken_by_their_logarithm() -> None:
    for likelihood in ("gaussian", "poisson"):
        dataset = table(likelihood=likelihood)
        features, x = load_features("data", dataset, CPU), inputs(dataset, "val")
        assert torch.equal(features(x), torch.log1p(x) if likelihood == "poisson" else x) and features.name == "data"


@pytest.mark.parametrize("columns", [MOST_VALUES + 6, 700])  # fewer and more than there are rows
def test_of_a_wide_one_it_is_the_first_principal_components(columns: int) -> None:
    dataset = table(columns)
    train, val, test = (inputs(dataset, name) for name in ("train", "val", "test"))
    features = load_features("data", dataset, CPU)
    pca = PCA(MOST_VALUES, svd_solver="full").fit(train.double().numpy())
    expected = [torch.from_numpy(x.double().numpy() @ pca.components_.T) for x in (val, test)]
    found = [features(x) for x in (val, test)]
    assert found[0].shape == (len(val), MOST_VALUES)
    own, other = (frechet_distance(*map(feature_stats, pair)) for pair in (found, expected))
    assert own == pytest.approx(other, rel=1e-3)


def test_features_of_images_and_of_rows_are_not_confused() -> None:
    digits, rows = load_dataset("digits"), table()
    assert resolve_features("auto", rows, torch.device("cuda")) == resolve_features("auto", rows, CPU) == "data"
    assert resolve_features("auto", digits, CPU) == "classifier"
    with pytest.raises(InputError, match="features data got the images of digits"):
        load_features("data", digits, CPU)
    with pytest.raises(InputError, match="features classifier are of images, and toy has rows; expected data"):
        load_features("classifier", rows, CPU)


# --- baselines


@pytest.mark.parametrize("name", ["gaussian", "gaussian-optimal", "gaussian-learned", "poisson", "bernoulli"])
def test_the_nll_without_latents_is_that_of_the_best_constants(name: str) -> None:
    dataset = table(likelihood=name)
    train, test = inputs(dataset, "train").double().numpy(), inputs(dataset, "test").double().numpy()
    mean = train.mean(0)
    sd = {"gaussian": 1.0, "gaussian-optimal": math.sqrt(train.var(0).mean()), "gaussian-learned": train.std(0)}
    if name == "poisson":
        expected = -scipy.stats.poisson.logpmf(test, mean)
    elif name == "bernoulli":
        expected = -scipy.stats.bernoulli.logpmf(test, mean)
    else:
        expected = -scipy.stats.norm.logpdf(test, mean, sd[name])
    (found,) = constant_nll(name, dataset.train, [dataset.test])
    assert found == pytest.approx(expected.sum(1).mean(), rel=1e-5)


def test_a_negative_binomial_s_dispersions_are_those_of_maximum_likelihood() -> None:
    dataset = table(likelihood="negative-binomial")
    train, test = inputs(dataset, "train").double().numpy(), inputs(dataset, "test").double().numpy()
    expected = np.zeros(len(test))
    for column in range(D):
        mean = train[:, column].mean()

        def nll(log_r: float, x: np.ndarray, mean: float = mean) -> np.ndarray:
            r = math.exp(log_r)
            return -scipy.stats.nbinom.logpmf(x, r, r / (r + mean))

        best = scipy.optimize.minimize_scalar(
            lambda log_r, x=train[:, column], nll=nll: nll(log_r, x).sum(), bounds=(-9, 9), method="bounded"
        )
        expected += nll(best.x, test[:, column])
    (found,) = constant_nll("negative-binomial", dataset.train, [dataset.test])
    assert found == pytest.approx(expected.mean(), rel=1e-4)
    poisson = constant_nll("poisson", dataset.train, [dataset.test])[0]
    assert found < poisson - 1  # these counts vary more than Poisson's


def test_dispersions_of_many_columns_are_fitted_to_fewer_rows_and_the_stages_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset, fitted, stages = table(likelihood="negative-binomial"), [], list[Stage]()
    monkeypatch.setattr(baselines, "LEAST_DISPERSION_IMAGES", 10)
    monkeypatch.setattr(baselines, "DISPERSION_VALUES", 50 * D)
    monkeypatch.setattr(NegativeBinomial, "fit", lambda self, variance, sample: fitted.append(len(sample)))
    with listening(stages.append):
        constant_nll("negative-binomial", dataset.train, [dataset.val, dataset.test])
    assert fitted == [50]
    assert [stage.what for stage in stages] == ["fitting a model without latents", "scoring a model without latents"]
    assert stages[-1].total == len(dataset.val) + len(dataset.test)


def test_pca_is_of_scaled_values_and_of_logarithms_of_counts() -> None:
    for likelihood, taken in (("gaussian", np.asarray), ("poisson", np.log1p)):
        dataset = table(likelihood=likelihood)
        train, test = (taken(inputs(dataset, name).double().numpy()) for name in ("train", "test"))
        pca = PCA(3, svd_solver="full").fit(train)
        errors = np.square(test - pca.inverse_transform(pca.transform(test))).sum(1).mean()
        (found,) = pca_sse(dataset.train, [dataset.test], are_counts=likelihood == "poisson")
        assert found[3] == pytest.approx(errors, rel=1e-5)


def test_other_likelihoods_and_scalings_have_files_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    real = table()
    others = [replace(real, likelihood="gaussian-learned"), real.with_scaling(UNSCALED)]
    values = {load_baselines(own).test.no_latents_nll for own in (real, *others)}
    assert len(values) == 3


@pytest.mark.parametrize("shape", [(D,), (1, 2, 4)])
def test_baselines_of_0_and_1_do_not_depend_on_their_type(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    values = (torch.rand(N, *shape, generator=Generator().manual_seed(0)) > 0.7).float()
    found = [
        load_baselines(split_dataset("toy", values.to(dtype), torch.zeros(N).long(), 1, scaling=UNSCALED))
        for dtype in (torch.float32, torch.uint8)
    ]
    assert found[0].val.no_latents_nll == pytest.approx(found[1].val.no_latents_nll, rel=1e-9)
    assert found[0].val.no_latents_nll > 4  # nats, of 8 values


def test_a_late_gain_where_likelihoods_are_densities() -> None:
    """An NLL may be negative: latents are worth the difference, and at least a thousandth of its size."""
    history = pd.DataFrame({"recon_nll": [-10.0, -10.0, -11.0], "kl": [1.0, 1.0, 1.0]})
    assert late_gain(history, -5.0)[0] == pytest.approx(1 / 5)
    assert late_gain(history, -20.0)[0] == pytest.approx(1 / 0.02)


# --- metrics of a model


@pytest.mark.parametrize("name", ["gaussian-optimal", "negative-binomial"])
def test_r2_and_the_noise_of_generated_rows(name: str) -> None:
    dataset = table(likelihood=name)
    vae = build_vae("mlp", {"hidden": [4]}, (D,), 2, 0, name, dataset.train.scaling).eval()
    with torch.no_grad():  # a model that says the training mean and nothing else
        for parameter in vae.decoder.parameters():
            parameter.zero_()
        train = inputs(dataset, "train")
        vae.decoder[-2].bias.copy_(vae.likelihood.initial_outputs(train.mean(0)))  # type: ignore[index, union-attr]
        vae.likelihood.fit(train.var(0, correction=0), train)
    total = load_baselines(dataset).val.pca_sse_of(0)
    evaluator = Evaluator(dataset.val, 3, load_features("data", dataset, CPU), Evaluation(), CPU, total)
    metrics, _ = evaluator.evaluate(vae, None, Generator().manual_seed(0))
    sse = float(
        (vae.likelihood.inputs(inputs(dataset, "val")) - vae.likelihood.inputs(train.mean(0))).square().sum(1).mean()
    )
    assert metrics["recon_sse"] == pytest.approx(sse, rel=1e-4)
    assert metrics["r2"] == pytest.approx(1 - sse / total, abs=1e-6)
    if name == "gaussian-optimal":
        assert metrics["r2"] == pytest.approx(0, abs=1e-3)  # it explains nothing
        real = feature_stats(inputs(dataset, "val"))
        spread = feature_stats(torch.randn(len(dataset.val), D, generator=Generator().manual_seed(1)))
        assert metrics["fid_gen"] == pytest.approx(frechet_distance(real, spread), rel=0.25)
        flat = feature_stats(torch.zeros(len(dataset.val), D))
        assert metrics["fid_gen"] < 0.8 * frechet_distance(real, flat)  # which is what it would be without the noise
    row, again = (assess(evaluator, vae, None, seed=3, with_iwae=True) for _ in range(2))
    assert row == again and row["r2"] == pytest.approx(metrics["r2"], abs=1e-6)
    assert row["iwae"] == pytest.approx(row["elbo"], abs=0.5)  # z does not matter


def test_more_importance_draws_tighten_the_bound() -> None:
    dataset = table()
    vae = build_vae("mlp", {"hidden": [16]}, (D,), 4, 0, "gaussian-optimal", dataset.train.scaling).eval()
    features = load_features("data", dataset, CPU)
    bounds = []
    for draws in (1, 50, 500):
        evaluator = Evaluator(dataset.val, 3, features, Evaluation(iwae_draws=draws), CPU, 1.0)
        bounds.append(assess(evaluator, vae, None, seed=1, with_iwae=True)["iwae"])
    assert bounds[0] < bounds[1] < bounds[2]
