"""The contract that every backbone keeps, as tests that run without data, GPU or pytest."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter
from torch import Generator, Tensor

from benchmark.backbones.build import Backbone, build_vae
from benchmark.backbones.checks import ImageShape
from benchmark.backbones.initialise import scale_to_data
from benchmark.backbones.model_file import load_model, save_model
from benchmark.backbones.vae import VAE
from benchmark.datasets.base import Dataset, split_dataset
from benchmark.training.stack import Stack
from searchers.parts.likelihoods import Bernoulli, Gaussian
from searchers.parts.objectives import elbo_loss, frozen_batchnorm_statistics

N = 6  # latents
BATCH = 8
RTOL, ATOL = 1e-3, 1e-4  # float32 sums in another order


class BackboneContract:
    """Checks a backbone: subclass it as a test class and set `backbone`.

    shapes: of images that it takes, (C, H, W), (C, T, H, W) or (D,); the first one is used where one is enough.
    stacks: False where `--execution stacked` must fail for it rather than give other numbers.
    """

    backbone: ClassVar[Backbone]
    shapes: ClassVar[Sequence[ImageShape]] = ((1, 28, 28),)
    stacks: ClassVar[bool] = True

    def vae(self, n: int = N, seed: int = 0, shape: ImageShape = ()) -> VAE:
        """A network with its initial weights, for tests of your own too."""
        shape = shape or self.shapes[0]
        likelihood = Bernoulli.name if len(shape) > 1 else Gaussian.name
        return build_vae(self.name, self.options, shape, n, seed, likelihood)

    def images(self, shape: ImageShape = ()) -> Tensor:
        """Images of three factors, [8, *shape] in [0, 1]."""
        return _images(BATCH, shape or self.shapes[0])

    @property
    def name(self) -> str:
        """The class as `module:Class`."""
        return f"{type(self.backbone).__module__}:{type(self.backbone).__qualname__}"

    @property
    def options(self) -> dict[str, Any]:
        """Its options as a protocol has them."""
        plain: dict[str, Any] = TypeAdapter(type(self.backbone)).dump_python(self.backbone, mode="json")
        return plain

    def test_its_options_survive_a_file(self) -> None:
        cls = type(self.backbone)
        assert is_dataclass(cls), f"{cls.__name__} is no dataclass; expected one whose fields are its options"
        adapter: TypeAdapter[Any] = TypeAdapter(cls)
        again = adapter.validate_json(adapter.dump_json(self.backbone))
        assert again == self.backbone, f"its options {self.options} came back from JSON as {asdict(again)}"
        inits = [getattr(replace(self.backbone, init=init), "init", None) for init in ("torch", "scaled")]
        assert inits == ["torch", "scaled"], f"its init is {inits}; expected a field `init: Init`"

    def test_it_encodes_and_decodes_images_of_its_shapes(self) -> None:
        for shape in self.shapes:
            vae, x = self.vae(shape=shape), self.images(shape)
            mean, logvar = vae.encode(x)
            assert mean.shape == logvar.shape == (BATCH, N), f"{shape}: encode gave {mean.shape} and {logvar.shape}"
            assert vae.decode(mean).shape == x.shape, f"decode gave {vae.decode(mean).shape}; expected {x.shape}"

    def test_every_parameter_learns(self) -> None:
        for shape in self.shapes:  # in evaluation mode, where BatchNorm does not cancel the biases before it
            vae = self.vae(shape=shape).eval().double()
            torch.autograd.backward(elbo_loss(vae, self.images(shape).double(), Generator().manual_seed(2)).total)
            idle = [name for name, p in vae.named_parameters() if p.grad is None or float(p.grad.abs().max()) < 1e-9]
            assert not idle, f"{', '.join(idle)} got no gradient; expected one for every parameter"

    def test_the_seed_makes_the_weights(self) -> None:
        before = torch.random.get_rng_state()
        first, same, other = (self.vae(seed=seed).state_dict() for seed in (1, 1, 2))
        assert torch.equal(before, torch.random.get_rng_state()), "building it changed torch's global generator"
        differ = [key for key in first if not torch.equal(first[key], same[key])]
        assert not differ, f"{', '.join(differ)} differ for one seed; draw from torch's global generator alone"
        weights = [key for key, value in first.items() if key.endswith("weight") and value.dim() > 1]
        fixed = [key for key in weights if torch.equal(first[key], other[key])]
        assert not fixed, f"{', '.join(fixed)} are the same for two seeds; expected them drawn"

    def test_removed_latents_are_those_zeroed(self) -> None:
        vae, x, keep = self.vae().eval(), self.images(), (0, 2, 3, 5)
        with torch.no_grad():
            mean, logvar = vae.encode(x)
            z = 3 * torch.randn(BATCH, N, generator=Generator().manual_seed(4))
            zeroed = vae.decode(z * torch.zeros(N).index_fill_(0, torch.tensor(keep), 1.0))
            vae.keep_latents(keep)
            for ours, whole in zip(vae.encode(x), (mean, logvar), strict=True):
                torch.testing.assert_close(ours, whole[:, keep], rtol=RTOL, atol=ATOL)
            torch.testing.assert_close(vae.decode(z[:, keep]), zeroed, rtol=RTOL, atol=ATOL)

    def test_added_latents_change_nothing_at_first(self) -> None:
        vae, x = self.vae().eval(), self.images()
        with torch.no_grad():
            mean = vae.encode(x)[0]
            before = vae.decode(mean)
            vae.add_latents(2, Generator().manual_seed(5))
            wider = vae.encode(x)[0]
            assert wider.shape == (BATCH, N + 2) and float(wider[:, N:].std(0).min()) > 0
            torch.testing.assert_close(vae.decode(wider), before, rtol=RTOL, atol=ATOL)

    def test_the_scaled_start_suits_the_data(self) -> None:
        for shape in self.shapes:
            dataset, vae = _dataset(shape), self.vae(shape=shape)
            scale_to_data(vae, dataset.train, Generator().manual_seed(0))
            x = dataset.train.inputs(torch.arange(BATCH), torch.device("cpu"))
            with torch.no_grad(), frozen_batchnorm_statistics(vae):
                mean, logvar = vae.train().encode(x)
                outputs = vae.decode(mean)
            assert 0.1 < float(mean.std()) < 10, f"means of standard deviation {float(mean.std()):.3g}; expected near 1"
            assert float(logvar.abs().mean()) < 1, f"log-variances of {float(logvar.abs().mean()):.3g}; expected near 0"
            error = float((vae.likelihood.mean(outputs).mean() - x.mean()).abs())
            assert error < 0.1, f"its outputs are {error:.2g} off the mean of the images; its last layer needs a bias"

    def test_a_model_file_gives_it_back(self) -> None:
        vae, x, shape = self.vae(), self.images(), self.shapes[0]
        vae.decode(vae.encode(x)[0])  # moves BatchNorm's statistics off their start
        vae.keep_latents((0, 4))
        with tempfile.TemporaryDirectory() as folder:
            save_model(Path(folder) / "model.pt", vae, self.name, self.options, shape)
            loaded = load_model(Path(folder) / "model.pt")
        with torch.no_grad():
            for ours, its in zip(loaded.encode(x), vae.eval().encode(x), strict=True):
                assert torch.equal(ours, its), "a model that was read encodes otherwise than the one that was written"

    def test_a_stack_gives_the_losses_of_its_members_or_fails(self) -> None:
        vaes, x = [self.vae(n, seed).train() for seed, n in enumerate((2, 4))], self.images()
        generators = [Generator().manual_seed(member) for member in range(2)]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of operations that it stacks slowly
                stack = Stack(vaes)
                losses = stack.losses(torch.stack([x, x]), stack.draw(BATCH, generators))
        except Exception as error:
            assert not self.stacks, f"it cannot be stacked: {type(error).__name__}: {error}; or set stacks = False"
            return
        assert self.stacks, "it can be stacked; expected an error, as stacks is False"
        alone = torch.stack([elbo_loss(vae, x, Generator().manual_seed(i)).total for i, vae in enumerate(vaes)])
        torch.testing.assert_close(losses, alone, rtol=RTOL, atol=ATOL)


def _images(n: int, shape: ImageShape) -> Tensor:
    generator = Generator().manual_seed(1)
    factors, mixing = (torch.randn(*size, generator=generator) for size in ((n, 3), (3, math.prod(shape))))
    images: Tensor = torch.sigmoid(factors @ mixing).unflatten(1, shape)
    return images


def _dataset(shape: ImageShape) -> Dataset:
    values, labels = _images(64, shape), torch.zeros(64, dtype=torch.int64)
    if len(shape) == 1:
        return split_dataset("contract", values, labels, 1, scaling="standard")
    return split_dataset("contract", (255 * values).to(torch.uint8), labels, 1)
