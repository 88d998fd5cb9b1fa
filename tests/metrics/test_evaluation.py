"""The evaluator against the definitions of its metrics."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from torch import Generator, Tensor

from benchmark.backbones.build import build_vae
from benchmark.config.protocol import Evaluation
from benchmark.datasets.base import Split
from benchmark.metrics.evaluation import Evaluator
from benchmark.metrics.frechet import feature_stats, frechet_distance

N, LATENTS, CLASSES = 60, 5, 3


class Pixels:
    """An extractor whose features are the pixels."""

    name = "pixels"

    def __call__(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def _split() -> Split:
    generator = Generator().manual_seed(1)
    images = torch.randint(256, (N + 10, 1, 4, 4), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(N + 10) % CLASSES, torch.arange(10, N + 10))


def _evaluator(**settings: int) -> Evaluator:
    return Evaluator(_split(), CLASSES, Pixels(), Evaluation(**settings), torch.device("cpu"))


@pytest.mark.parametrize("gates", [None, [True, False, True, True, False]])
def test_metrics_are_their_definitions(gates: list[bool] | None) -> None:
    vae = build_vae("mlp", {"hidden": [8]}, (1, 4, 4), LATENTS, seed=0).eval()
    open_latents = None if gates is None else torch.tensor(gates)
    metrics, latents = _evaluator().evaluate(vae, open_latents, Generator().manual_seed(2))

    x = _split().take(torch.arange(N)).float() / 255
    gate = torch.tensor(gates if gates else [True] * LATENTS)
    generator = Generator().manual_seed(2)
    with torch.no_grad():
        mean, logvar = vae.encode(x)
        noise = torch.empty_like(mean).normal_(generator=generator)
        z = (mean + (0.5 * logvar).exp() * noise) * gate
        p = torch.sigmoid(vae.decode(z))
        prior = torch.empty_like(mean).normal_(generator=generator) * gate
        samples = torch.sigmoid(vae.decode(prior))
    kl = -0.5 * (1 + logvar - mean**2 - logvar.exp())
    nll = -(x * p.log() + (1 - x) * (1 - p).log())
    assert metrics["recon_nll"] == pytest.approx(float(nll.sum()) / N, rel=1e-5)
    assert metrics["recon_sse"] == pytest.approx(float(((p - x) ** 2).sum()) / N, rel=1e-5)
    assert metrics["kl"] == pytest.approx(float((kl * gate).sum()) / N, rel=1e-5)
    real = feature_stats(x.flatten(1))
    assert metrics["fid_recon"] == pytest.approx(frechet_distance(real, feature_stats(p.flatten(1))), rel=1e-4)
    assert metrics["fid_gen"] == pytest.approx(frechet_distance(real, feature_stats(samples.flatten(1))), rel=1e-4)
    assert metrics["active_units"] == int((mean.var(0, correction=0)[gate] > 0.01).sum())
    np.testing.assert_allclose(latents["latent_mean_variance"], mean.var(0, correction=0), rtol=1e-4)
    np.testing.assert_allclose(latents["latent_variance_mean"], logvar.exp().mean(0), rtol=1e-4)
    np.testing.assert_allclose(latents["latent_kl"], kl.mean(0), rtol=1e-4, atol=1e-7)
    assert metrics["fid_features"] == "pixels"

    seed = int(torch.randint(2**31, (), generator=generator))
    points = z.numpy()[:, gate.numpy()].astype(np.float64)  # all images, since there are fewer than 500
    clusters = KMeans(CLASSES, n_init=1, random_state=seed).fit_predict(points)
    assert metrics["silhouette"] == pytest.approx(silhouette_score(points, clusters), abs=1e-6)
    labels = (np.arange(N) + 10) % CLASSES
    assert metrics["silhouette_labels"] == pytest.approx(silhouette_score(points, labels), abs=1e-6)


def test_same_generator_same_metrics_and_only_the_first_images() -> None:
    vae = build_vae("mlp", {"hidden": [8]}, (1, 4, 4), LATENTS, seed=0).eval()
    few = _evaluator(max_images=20, silhouette_images=10)
    assert len(few.split) == 20
    first, again = (few.evaluate(vae, None, Generator().manual_seed(3))[0] for _ in range(2))
    other = few.evaluate(vae, None, Generator().manual_seed(4))[0]
    assert first == again and first["recon_nll"] != other["recon_nll"]


def test_data_without_classes_still_has_a_silhouette() -> None:
    evaluator = Evaluator(_split(), 1, Pixels(), Evaluation(), torch.device("cpu"))
    vae = build_vae("mlp", {"hidden": [8]}, (1, 4, 4), LATENTS, seed=0).eval()
    assert np.isfinite(evaluator.evaluate(vae, None, Generator().manual_seed(0))[0]["silhouette"])
