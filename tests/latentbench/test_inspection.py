"""How many latents are in use: a made-up encoder with a known answer, a model file, and the command."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from commands import benchmark

from benchmark.backbones.build import build_vae
from benchmark.backbones.model_file import save_model
from benchmark.errors import InputError
from latentbench import inspect_latents
from latentbench.inspection import READINGS, Inspection

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3_000, 5))
# in use; weak; a mean that moves but says little; out of use; out of use
SLOPES = np.array([0.95, 0.3, 0.15, 0.0, 0.005])
VARIANCES = np.array([0.05, 0.4, 0.97, 1.0, 0.999])


def encode(batch: Any) -> tuple[Any, Any]:
    mean = np.asarray(batch) * SLOPES
    return mean, np.broadcast_to(np.log(VARIANCES), mean.shape)


@pytest.fixture(scope="module")
def inspection() -> Inspection:
    return inspect_latents(encode, X)


def test_the_statistics_are_those_of_the_closed_form(inspection: Inspection) -> None:
    variance = X.var(0) * SLOPES**2
    np.testing.assert_allclose(inspection.latents["mean_variance"], variance)
    np.testing.assert_allclose(inspection.latents["variance_mean"], VARIANCES)
    kl = 0.5 * ((X * SLOPES) ** 2 + VARIANCES - 1 - np.log(VARIANCES)).mean(0)
    np.testing.assert_allclose(inspection.latents["kl"], kl)


def test_each_reading_counts_as_its_method_does(inspection: Inspection) -> None:
    assert inspection.in_use == {"active units": 3, "KL": 3, "sparsity": 3, "sigma": 2}
    assert inspection.removable == [3, 4] and inspection.doubtful == [2]
    assert inspection.sentences() == [
        "2 to 3, by the reading, of 5 latents are in use, on 3,000 samples.",
        "Could be removed: latents 3, 4; no reading calls them in use.",
        "The readings differ on latent 2.",
    ]


def test_all_in_use() -> None:
    found = inspect_latents(lambda batch: (batch[:, :2], np.full((len(batch), 2), -3.0)), X)
    assert found.removable == found.doubtful == []
    assert found.sentences()[-1] == "All are in use: more latents may do better, which only a search can tell."


@pytest.mark.parametrize("kind", ["tensor", "frame", "list", "with gradients"])
def test_tensors_frames_and_lists(inspection: Inspection, kind: str) -> None:
    def with_gradients(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = batch * torch.tensor(SLOPES, requires_grad=True)
        return mean, torch.tensor(np.log(VARIANCES)).expand_as(mean)

    data = {"tensor": torch.tensor(X), "frame": pd.DataFrame(X), "list": X.tolist(), "with gradients": torch.tensor(X)}
    found = inspect_latents(with_gradients if kind == "with gradients" else encode, data[kind])
    pd.testing.assert_frame_equal(found.latents, inspection.latents)


def test_what_it_shows(inspection: Inspection) -> None:
    text = repr(inspection)
    assert len(text.splitlines()) == 3 + 1 + 1 + len(READINGS) + 1 + 1 + 5
    order = [int(line.split()[0]) for line in text.splitlines()[-5:]]
    assert order == [0, 1, 2, 4, 3]  # by falling KL
    page = inspection._repr_html_()
    assert page.count("<tr>") == 1 + len(READINGS) and 'src="data:image/png;base64,' in page
    above, below = inspection.figure().axes
    heights = [bar.get_height() for bar in above.patches]
    assert heights == sorted(inspection.latents["kl"], reverse=True)
    assert len(below.patches) == 10


@pytest.mark.parametrize(
    "returned, message",
    [
        (lambda batch: batch, "encode returned a ndarray; expected a mean and a log-variance"),
        (lambda batch: (batch, batch[:, :2]), "a mean [1000, 5] and a log-variance [1000, 2] for 1000 rows"),
        (lambda batch: (batch[:5], batch[:5]), "expected [1000, n] for both"),
        (lambda batch: (batch, batch * np.nan), "values that are not finite"),
    ],
)
def test_encoders_that_return_something_else(returned: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        inspect_latents(returned, X)
    assert message in str(caught.value)


def test_the_command_on_a_model_file(tmp_path: Path) -> None:
    vae = build_vae("mlp", {"hidden": [16]}, (1, 8, 8), 4, seed=0)
    with torch.no_grad():  # latent 3 says nothing
        vae.mean_head.weight[3], vae.logvar_head.weight[3] = 0, 0
        vae.mean_head.bias[3], vae.logvar_head.bias[3] = 0, 0
    save_model(tmp_path / "model.pt", vae, "mlp", {"hidden": [16]}, (1, 8, 8))
    command = ["inspect", "model.pt", "digits", "--figure", "out/latents.png"]
    done = benchmark(*command, cwd=tmp_path, cache=tmp_path, cold=True)
    assert done.returncode == 0, done.stderr
    assert "of 4 latents are in use, on 360 samples." in done.stdout
    assert "Could be removed: latent 3; no reading calls it in use." in done.stdout
    note = "The samples are the test images of seed 0; a model of another seed may have been trained on some."
    assert note in done.stdout
    assert (tmp_path / "out" / "latents.png").stat().st_size > 1_000
    assert len(done.stdout.splitlines()) < 24  # a screen
    np.save(tmp_path / "x.npy", X)
    other = benchmark("inspect", "model.pt", "digits", "--figure", "x.xyz", cwd=tmp_path, cache=tmp_path)
    assert other.returncode == 2 and other.stderr.count("\n") == 1
    assert "figure is x.xyz: Format 'xyz' is not supported" in other.stderr
    bad = benchmark("inspect", "model.pt", "array:x.npy", cwd=tmp_path, cache=tmp_path)
    assert bad.returncode == 2 and bad.stderr.count("\n") == 1
    assert "model.pt does not take the samples of array:x.npy, [5]; expected data like those" in bad.stderr
