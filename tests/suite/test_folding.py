"""What a controller folds into a model is in its evaluations, its file and its samples."""

from pathlib import Path

import pytest
import torch
from small_bench import DATASET, EVALUATOR, TEST, SmallResults, spec_of
from torch import Generator, Tensor

from benchmark import load_model
from benchmark.backbones.vae import VAE
from benchmark.metrics.assessment import assess
from benchmark.training.rng import Purpose, stream_seed
from searchers.from_autoencoder.irmae import IRMAE
from searchers.in_training.sigma import Sigma
from searchers.parts.likelihoods import Bernoulli

X = DATASET.val.take(torch.arange(len(DATASET.val))).float() / 255


def model_of(results: SmallResults, trial: int) -> VAE:
    return load_model(results.folder(spec_of()).trial(trial).model)


def test_an_autoencoder_is_evaluated_without_noise_and_with_its_linear_layers(tmp_path: Path) -> None:
    results = SmallResults(tmp_path)
    results.search(IRMAE())
    vae = model_of(results, 0)
    with torch.no_grad():
        error = float(Bernoulli().squared_error(vae.decode(vae.encode(X)[0]), X).mean())
    last = results.store.epochs().query("trial == 0").iloc[-1]
    assert last["recon_sse"] == pytest.approx(error, rel=1e-4)
    assert last["train_loss"] == pytest.approx(error, rel=0.3)  # on other images and over the epoch
    curve = results.store.curves().query("trial == 0 and split == 'val'").iloc[0]
    assert curve["recon_sse"] == pytest.approx(error, rel=1e-4) and curve["recon_sse_error"] < 1e-6


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> SmallResults:
    results = SmallResults(tmp_path_factory.mktemp("staged"))
    results.search(Sigma(retrain=False, second_stage=0.75))
    return results


def test_a_second_stage_changes_the_samples_alone(staged: SmallResults) -> None:
    curves = staged.store.curves().set_index(["trial", "split"])
    for split in ("val", "test"):
        first, second = curves.loc[(0, split)], curves.loc[(1, split)]
        same = ["recon_nll", "recon_sse", "kl", "elbo", "fid_recon", "silhouette"]
        assert first[same].to_numpy().tolist() == second[same].to_numpy().tolist()
        assert first["fid_gen"] != second["fid_gen"] and first["kid_gen"] != second["kid_gen"]
    epochs = staged.store.epochs().query("trial == 1")
    assert len(epochs) == 3 and epochs["fid_gen"].nunique() == 3 and (epochs["train_flops"] > 0).all()


def test_a_second_stage_is_in_the_file(staged: SmallResults) -> None:
    first, second = model_of(staged, 0), model_of(staged, 1)
    row = assess(TEST, second, None, stream_seed(Purpose.ASSESSMENT, spec_of().seed, 1))
    known = staged.store.curves().query("trial == 1 and split == 'test'").iloc[0]
    assert row["fid_gen"] == pytest.approx(known["fid_gen"], rel=1e-6)

    def images(vae: VAE) -> Tensor:
        return vae.sample(50, Generator().manual_seed(0))

    assert images(second).shape == (50, *EVALUATOR.split.images.shape[1:]) and 0 < float(images(second).min())
    assert float((images(second) - images(first)).abs().max()) > 1e-3
    z = torch.randn(50, first.latent_dim, generator=Generator().manual_seed(0))
    assert torch.equal(images(first), torch.sigmoid(first.decode(z)))


def test_a_model_with_a_second_stage_is_not_trained_on(tmp_path: Path) -> None:
    problem = SmallResults(tmp_path).problem(spec_of(), keeps_optimizers=True)
    searched = Sigma(retrain=False, second_stage=0.75).search(problem)
    with pytest.raises(ValueError, match="a model with a sampler of its own to go on from; expected one without"):
        problem.train(searched.latent_dim, epochs=1, start=(searched.trial, None))
