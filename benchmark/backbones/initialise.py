"""The weights that a training starts from: those of PyTorch, or weights scaled to the signal that the data give."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor, nn

from benchmark.backbones.vae import VAE
from benchmark.datasets.base import Split
from searchers.parts.objectives import frozen_batchnorm_statistics, reparameterise

LAYERS = (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
SAMPLE_BYTES, SAMPLE_IMAGES = 2**22, (16, 256)  # of uint8 pixels; images at least and at most
OUTPUT_STD, LOGVAR_STD = 0.3, 0.1  # of the pixels' logits and of the posterior's log-variances; 1 everywhere else
DARKEST = 0.01  # mean of a pixel that is nearly always black: its logit must stay finite


def scale_to_data(vae: VAE, split: Split, generator: Generator) -> None:
    """Draws all weights anew and scales them layer by layer on a sample of `split`, on the CPU, in place.

    Weights are normal; then, in the order in which the data pass, each layer is divided by the standard deviation of
    its outputs and its bias takes their mean away (layer-sequential unit variance, Mishkin & Matas, 1511.06422). So
    every layer sees inputs of the size that its activation is made for, whatever the images' brightness and contrast.
    The last layer starts near the mean image (its bias is the logit of the mean pixel), the log-variances near 0.
    """
    x = _sample(split, generator)
    with torch.no_grad(), frozen_batchnorm_statistics(vae):
        vae.train()
        for layer in vae.modules():
            if isinstance(layer, LAYERS):
                layer.weight.normal_(generator=generator)
                if layer.bias is not None:
                    layer.bias.zero_()
        output: Any = [layer for layer in vae.decoder.modules() if isinstance(layer, LAYERS)][-1]
        with _scaling(vae, {vae.logvar_head: LOGVAR_STD, output: OUTPUT_STD}):
            vae.decode(reparameterise(*vae.encode(x), generator))
        mean = x.mean(0).flatten() if isinstance(output, nn.Linear) else x.transpose(0, 1).flatten(1).mean(1)
        output.bias.copy_(torch.logit(mean.clamp(DARKEST, 1 - DARKEST)))


def _sample(split: Split, generator: Generator) -> Tensor:
    """Training images in [0, 1] on the CPU, [B, *image_shape]."""
    fewest, most = SAMPLE_IMAGES
    count = min(most, max(fewest, SAMPLE_BYTES // math.prod(split.images.shape[1:])))
    positions = torch.randperm(len(split), generator=generator)[:count]
    return split.take(positions.to(split.rows.device)).cpu().float() / 255


@contextmanager
def _scaling(vae: VAE, targets: Mapping[nn.Module, float]) -> Iterator[None]:
    """Within it a forward pass scales each layer as its data come; targets: standard deviations other than 1."""

    def scale(layer: Any, _: object, out: Tensor) -> Tensor:
        features = out if isinstance(layer, nn.Linear) else out.movedim(1, -1)  # [..., F]
        mean = features.flatten(0, -2).mean(0) if layer.bias is not None else torch.zeros(features.shape[-1])
        factor = targets.get(layer, 1.0) / float((features - mean).square().mean().sqrt().clamp_min(1e-6))
        layer.weight.mul_(factor)
        if layer.bias is not None:
            layer.bias.copy_(-factor * mean)
        scaled = (features - mean) * factor
        return scaled if isinstance(layer, nn.Linear) else scaled.movedim(-1, 1)

    hooks = [layer.register_forward_hook(scale) for layer in vae.modules() if isinstance(layer, LAYERS)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
