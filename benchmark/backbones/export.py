"""Building a backbone by name, and models as files: settings and weights, never a pickle of code."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from benchmark.backbones import BACKBONES
from benchmark.backbones.checks import ImageShape, Init
from benchmark.backbones.vae import VAE
from benchmark.config.settings import from_mapping
from benchmark.errors import InputError
from benchmark.store.atomic_files import replacing
from searchers.registry import unknown_name

FORMAT = "latentbench-model-1"


class Backbone(Protocol):
    """A builder: a frozen dataclass whose fields are its options."""

    @property
    def init(self) -> Init:
        """The weights to start from."""

    def build(self, image_shape: ImageShape, latent_dim: int) -> VAE:
        """The network for images of this shape, initialised from torch's global generator."""


def make_backbone(name: str, options: Mapping[str, Any]) -> Backbone:
    """The backbone of this name with these options; InputError where either is unknown."""
    if name not in BACKBONES:
        raise InputError(unknown_name("backbone", name, BACKBONES))
    backbone: Backbone = from_mapping(BACKBONES[name].load(), options, f"backbone {name}")
    return backbone


def build_vae(name: str, options: Mapping[str, Any], image_shape: ImageShape, latent_dim: int, seed: int) -> VAE:
    """A freshly initialised VAE; the same seed gives the same weights, and torch's global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make_backbone(name, options).build(image_shape, latent_dim)


def save_model(path: Path, vae: VAE, name: str, options: Mapping[str, Any], image_shape: ImageShape) -> None:
    """Writes a model that `load_model` reads; the file appears at once and whole."""
    content = {
        "format": FORMAT,
        "backbone": name,
        "options": dict(options),
        "image_shape": list(image_shape),
        "latent_dim": vae.latent_dim,
        "weights": {key: value.cpu() for key, value in vae.state_dict().items()},
    }
    buffer = io.BytesIO()  # given a file, torch hides why it cannot write
    torch.save(content, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_model(path: str | Path) -> VAE:
    """The VAE that a search exported, on the CPU and in evaluation mode.

    `encode(x)` takes [B, C, H, W] in [0, 1] and gives the posterior's mean and log-variance [B, n]; `decode(z)` gives
    logits, whose sigmoid is the image. Raises InputError where the file is missing or no such model.
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
        vae.load_state_dict(content["weights"])
    except Exception as error:
        raise InputError(f"{path} is no latentbench model ({type(error).__name__}); export it anew") from error
    return vae.eval()
