"""torch.compile against the recorded step: what a step takes, and what a removal costs each."""

import sys
from dataclasses import replace

import torch

from searchers.parts.objectives import bernoulli_nll, kl_per_dim
from tests.gpu.part import Arguments, read_arguments
from tests.speed.cases import MLP
from tests.speed.gpu import device_seconds

STEPS = 200


def compare(arguments: Arguments) -> None:
    """Forward and backward pass compiled, Adam as it is."""
    report, device = arguments.report, torch.device(arguments.device)
    case = replace(MLP, steps=STEPS, images=STEPS * MLP.training.batch_size)
    recorded = case.state(device=device)
    case.train(recorded)
    replayed = device_seconds(device, lambda: case.train(recorded)) / STEPS
    state = case.state(device=device)
    images = case.split(device).images[: case.training.batch_size]

    def loss(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:  # a generator inside it would not compile
        mean, logvar = state.vae.encode(x)
        logits = state.vae.decode(torch.addcmul(mean, torch.exp(0.5 * logvar), noise))
        return bernoulli_nll(logits, x) + kl_per_dim(mean, logvar).sum() / len(x)

    compiled = torch.compile(loss, dynamic=False)

    def step() -> None:
        noise = torch.randn(len(images), state.vae.latent_dim, device=device)
        compiled(images.float() / 255, noise).backward()
        state.optimizer.step()
        state.optimizer.zero_grad()

    first = device_seconds(device, step)
    step()
    each = device_seconds(device, lambda: [step() for _ in range(STEPS)]) / STEPS
    report.add("mlp: torch.compile / replayed (time of a step)", "", f"{each / replayed:.2f}")
    state.remove_all_but(range(case.latents - 2))
    again = device_seconds(device, step)
    report.add("mlp: torch.compile, first step and first after a removal", "", f"{first:.1f} and {again:.1f} s")


def main() -> None:
    """On a GPU only."""
    arguments = read_arguments("compile")
    if arguments.is_small:
        arguments.report.add("mlp: torch.compile / replayed (time of a step)", "", "of a GPU only")
    else:
        compare(arguments)


if __name__ == "__main__":
    sys.exit(main())
