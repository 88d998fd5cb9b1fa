"""Models as files: settings and weights, never pickled code."""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmark.backbones.build import build_vae
from benchmark.backbones.checks import ImageShape
from benchmark.backbones.vae import VAE
from benchmark.datasets.scaling import BYTES, Scaling
from benchmark.errors import InputError
from benchmark.store.atomic_files import replacing
from searchers.parts.likelihoods import Bernoulli
from searchers.parts.second_stage import SecondStage

FORMAT = "latentbench-model-1"


class NotImported(InputError):
    """A model's network is a user's own, whose module has not been imported."""


def save_model(path: Path, vae: VAE, name: str, options: Mapping[str, Any], image_shape: ImageShape) -> None:
    """Writes a file that `load_model` reads. The file appears only when it is complete."""
    content = {
        "format": FORMAT,
        "backbone": name,
        "options": dict(options),
        "image_shape": list(image_shape),
        "latent_dim": vae.latent_dim,
        "likelihood": vae.likelihood.name,
        "scaling": vae.scaling.table(),
        "weights": {key: value.cpu() for key, value in vae.state_dict().items()},
    }
    buffer = io.BytesIO()  # torch.save to a file hides why it cannot write
    torch.save(content, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_model(path: str | Path) -> VAE:
    """Loads the VAE that a search exported, on the CPU and in evaluation mode.

    `embed(data)` maps data in their own units to the posterior's mean and log-variance, `generate(z)` maps back.
    `encode(x)` and `decode(z)` are the network's own: x is an image [B, C, H, W] in [0, 1] or a scaled row [B, D], and
    `likelihood.mean` of what is decoded is x. Raises InputError if the file is missing or not such a model, and where
    its network is your own (`module:Class`) and you have not imported that module: a file names no code to run.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no model at {path}; expected a model.pt that a finished search exported")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, expected {FORMAT!r}")
        shape = tuple(content["image_shape"])
        _check_imported(content["backbone"])
        scaling = Scaling(**content["scaling"]) if "scaling" in content else BYTES  # files before 0.4 have none
        likelihood = content.get("likelihood", Bernoulli.name)
        vae = build_vae(content["backbone"], content["options"], shape, content["latent_dim"], 0, likelihood, scaling)
        if "sampler.out.weight" in content["weights"]:
            vae.sampler = SecondStage(vae.latent_dim)
        vae.load_state_dict(content["weights"])
    except NotImported:
        raise
    except Exception as error:
        raise InputError(f"{path} is no latentbench model ({type(error).__name__}); export it anew") from error
    return vae.eval()


def _check_imported(backbone: str) -> None:
    module, colon, _ = backbone.partition(":")
    if colon and module not in sys.modules:
        raise NotImported(f"the model's network is {backbone}, code of your own; import {module} before you load it")
