"""Builds backbones and VAEs by name."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Protocol, cast

import torch

from benchmark.backbones import BACKBONE
from benchmark.backbones.checks import ImageShape, Init
from benchmark.backbones.vae import VAE
from benchmark.config.settings import from_mapping
from benchmark.datasets.scaling import BYTES, Scaling
from benchmark.errors import InputError
from searchers.parts.likelihoods import Bernoulli, make_likelihood


class Backbone(Protocol):
    """A builder of networks: a frozen dataclass whose fields are its options."""

    @property
    def init(self) -> Init:
        """The initial weights: `torch` for PyTorch's own, `scaled` for those of `initialise`."""

    def build(self, image_shape: ImageShape, latent_dim: int) -> VAE:
        """Builds the network for images of this shape and initialises it from torch's global generator."""


def make_backbone(name: str, options: Mapping[str, Any]) -> Backbone:
    """Makes the backbone `name` with these options. Raises InputError if the name or an option is unknown."""
    cls = BACKBONE.load(name)
    if not (isinstance(cls, type) and is_dataclass(cls) and hasattr(cls, "build")):
        raise InputError(
            f"backbone {name!r} is {cls!r}; expected a frozen dataclass with build(image_shape, latent_dim)"
        )
    return cast(Backbone, from_mapping(cls, options, f"backbone {name}"))


def build_vae(
    name: str,
    options: Mapping[str, Any],
    image_shape: ImageShape,
    latent_dim: int,
    seed: int,
    likelihood: str = Bernoulli.name,
    scaling: Scaling = BYTES,
) -> VAE:
    """Builds a VAE whose initial weights depend only on the seed; torch's global generator does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = make_backbone(name, options).build(image_shape, latent_dim)
    vae.likelihood, vae.scaling = make_likelihood(likelihood, image_shape), scaling
    vae.image_shape = tuple(image_shape)
    return vae
