"""Models as files: settings and weights, never pickled code."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmark.backbones.build import build_vae
from benchmark.backbones.checks import ImageShape
from benchmark.backbones.vae import VAE
from benchmark.errors import InputError
from benchmark.store.atomic_files import replacing
from searchers.parts.second_stage import SecondStage

FORMAT = "latentbench-model-1"


def save_model(path: Path, vae: VAE, name: str, options: Mapping[str, Any], image_shape: ImageShape) -> None:
    """Writes a file that `load_model` reads. The file appears only when it is complete."""
    content = {
        "format": FORMAT,
        "backbone": name,
        "options": dict(options),
        "image_shape": list(image_shape),
        "latent_dim": vae.latent_dim,
        "weights": {key: value.cpu() for key, value in vae.state_dict().items()},
    }
    buffer = io.BytesIO()  # torch.save to a file hides why it cannot write
    torch.save(content, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_model(path: str | Path) -> VAE:
    """Loads the VAE that a search exported, on the CPU and in evaluation mode.

    `encode(x)` maps images [B, C, H, W] in [0, 1] to the posterior's mean and log-variance, [B, n] each. `decode(z)`
    returns logits, whose sigmoid is the image. Raises InputError if the file is missing or not such a model.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no model at {path}; expected a model.pt that a finished search exported")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, expected {FORMAT!r}")
        shape = tuple(content["image_shape"])
        vae = build_vae(content["backbone"], content["options"], shape, content["latent_dim"], seed=0)
        if "sampler.out.weight" in content["weights"]:
            vae.sampler = SecondStage(vae.latent_dim)
        vae.load_state_dict(content["weights"])
    except Exception as error:
        raise InputError(f"{path} is no latentbench model ({type(error).__name__}); export it anew") from error
    return vae.eval()
