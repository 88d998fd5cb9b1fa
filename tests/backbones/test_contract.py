"""latentbench's own backbones keep the contract, and the contract finds those that do not."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from benchmark.backbones import BACKBONES
from benchmark.backbones.asperti_conv import AspertiConv
from benchmark.backbones.checks import ImageShape, Init
from benchmark.backbones.conv import Conv
from benchmark.backbones.dense import MLP, AspertiDense
from benchmark.backbones.geco_conv import GecoConv
from benchmark.backbones.vae import VAE
from benchmark.backbones.video import Video
from benchmark.testing import BackboneContract
from searchers.testing.contract import failures


class TestMLP(BackboneContract):
    backbone = MLP(hidden=(40, 30))
    shapes = ((1, 8, 8), (3, 5, 7), (3, 2, 4, 4))


class TestMLPOfRows(BackboneContract):
    backbone = MLP(hidden=(40, 30))
    shapes = ((12,),)


class TestAspertiDense(BackboneContract):
    backbone = AspertiDense()
    shapes = ((1, 28, 28), (3, 8, 8))


class TestConv(BackboneContract):
    backbone = Conv(hidden=32)
    shapes = ((1, 16, 16), (3, 64, 64), (3, 17, 30))


class TestGecoConv(BackboneContract):
    backbone = GecoConv()
    shapes = ((1, 28, 28), (3, 64, 64))


class TestAspertiConv(BackboneContract):
    backbone = AspertiConv()
    shapes = ((1, 28, 28), (2, 32, 27))


class TestVideo(BackboneContract):
    backbone = Video(channels=6, n_blocks=1, heads=3, hidden=16)
    shapes = ((2, 4, 8, 16), (1, 2, 4, 4))


def test_every_backbone_is_tested() -> None:
    tested = {type(cls.backbone) for cls in BackboneContract.__subclasses__() if cls.__module__ == __name__}
    assert tested >= {entry.load() for entry in BACKBONES.values()}


@dataclass(frozen=True)
class Wrong:
    """A network with one fault."""

    fault: str = ""
    init: Init = "torch"

    def build(self, image_shape: ImageShape, latent_dim: int) -> VAE:
        generator = torch.Generator().manual_seed(0)
        encoder: list[nn.Module] = [nn.Flatten(), nn.Linear(64, 8)]
        if self.fault == "fixed":
            nn.init.normal_(encoder[1].weight, generator=generator)  # type: ignore[arg-type]
        if self.fault == "idle":
            encoder += [nn.Flatten()]
            encoder[-1].register_parameter("unused", nn.Parameter(torch.zeros(1)))
        if self.fault == "stack":
            encoder.append(Sorted())
        decoder = [nn.Linear(8, 64), nn.Unflatten(1, (64,) if self.fault == "shape" else image_shape)]
        return VAE(nn.Sequential(*encoder), 8, latent_dim, 8, nn.Sequential(*decoder))


class Sorted(nn.Module):
    """Waits for a value, which no stack can."""

    def forward(self, x: Any) -> Any:
        return x if float(x.detach().sum()) > 0 else x + 0


@pytest.mark.parametrize(
    "fault, what, why",
    [
        ("", "", ""),
        ("fixed", "the seed makes the weights", "encoder.1.weight are the same for two seeds"),
        ("idle", "every parameter learns", "unused got no gradient"),
        ("shape", "it encodes and decodes images of its shapes", "expected torch.Size([8, 1, 8, 8])"),
        ("stack", "a stack gives the losses of its members or fails", "or set stacks = False"),
    ],
)
def test_a_fault_is_found(fault: str, what: str, why: str) -> None:
    contract = type("Contract", (BackboneContract,), {"backbone": Wrong(fault), "shapes": ((1, 8, 8),)})
    found = {name: error for name, error in failures(contract) if error is not None}
    assert (what in found and why in found[what]) if fault else found == {}
    if fault == "stack":
        refusing = type("Contract", (BackboneContract,), {**vars(contract), "stacks": False})
        assert what not in {name for name, error in failures(refusing) if error is not None}
