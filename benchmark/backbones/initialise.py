"""The initial weights `init = "scaled"`: each layer is scaled so that its outputs on the data have unit variance."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor, nn

from benchmark.backbones.vae import VAE
from benchmark.datasets.base import Split
from searchers.parts.objectives import frozen_batchnorm_statistics, reparameterise

LAYERS = (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
SAMPLE_BYTES, MIN_IMAGES, MAX_IMAGES = 2**22, 16, 256  # uint8 pixels, images
OUTPUT_STD, LOGVAR_STD = 0.3, 0.1  # targets for the outputs and the log-variances; 1 for all other layers


def scale_to_data(vae: VAE, split: Split, generator: Generator) -> None:
    """Redraws all weights and scales them layer by layer on a sample of `split`, on the CPU, in place.

    Weights are drawn from N(0, 1). A forward pass then divides each layer by the standard deviation of its outputs and
    subtracts their mean in its bias (layer-sequential unit variance, Mishkin & Matas, 1511.06422). Thus the inputs of
    every activation have unit variance, whatever the images' brightness and contrast. The output layer's bias is what
    the likelihood takes for the mean pixel, so that outputs start near the mean image; log-variances start near 0.
    """
    x = _sample(split, generator)
    layers: list[Any] = [module for module in vae.modules() if isinstance(module, LAYERS)]
    output = layers[-1]
    with torch.no_grad(), frozen_batchnorm_statistics(vae):
        vae.train()
        for layer in layers:
            layer.weight.normal_(generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
        with _scaling(layers, {vae.logvar_head: LOGVAR_STD, output: OUTPUT_STD}):
            vae.decode(reparameterise(*vae.encode(x), generator))
        mean = x.mean(0).flatten() if isinstance(output, nn.Linear) else x.transpose(0, 1).flatten(1).mean(1)
        output.bias.copy_(vae.likelihood.initial_outputs(mean))


def _sample(split: Split, generator: Generator) -> Tensor:
    """Draws what the network sees of some images, [B, *image_shape], on the CPU."""
    count = min(MAX_IMAGES, max(MIN_IMAGES, SAMPLE_BYTES // math.prod(split.images.shape[1:])))
    positions = torch.randperm(len(split), generator=generator)[:count]
    return split.inputs(positions.to(split.rows.device), torch.device("cpu"))


@contextmanager
def _scaling(layers: Sequence[nn.Module], targets: Mapping[nn.Module, float]) -> Iterator[None]:
    """Lets a forward pass in the block scale each layer; targets: the standard deviations that are not 1."""

    def scale(layer: Any, _: object, out: Tensor) -> Tensor:
        features = out if isinstance(layer, nn.Linear) else out.movedim(1, -1)  # [..., F]
        mean = features.flatten(0, -2).mean(0) if layer.bias is not None else torch.zeros(features.shape[-1])
        factor = targets.get(layer, 1.0) / float((features - mean).square().mean().sqrt().clamp_min(1e-6))
        layer.weight.mul_(factor)
        if layer.bias is not None:
            layer.bias.copy_(-factor * mean)
        scaled = (features - mean) * factor
        return scaled if isinstance(layer, nn.Linear) else scaled.movedim(-1, 1)

    hooks = [layer.register_forward_hook(scale) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
