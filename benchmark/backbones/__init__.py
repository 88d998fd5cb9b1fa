"""The VAE backbones by name. `build` builds them; `model_file` saves and loads them."""

from benchmark.plugins import Kind
from searchers.registry import Entry

BACKBONES: dict[str, Entry] = {
    "mlp": Entry("benchmark.backbones.dense:MLP", "fully connected, 400-400 by default (ALD-VAE, MNIST)"),
    "asperti-dense": Entry(
        "benchmark.backbones.dense:AspertiDense", "fully connected and deep, 256-32-24 (1812.07238)"
    ),
    "conv": Entry("benchmark.backbones.conv:Conv", "four strided convolutions, SiLU (ALD-VAE, EuroSAT)"),
    "geco-conv": Entry("benchmark.backbones.geco_conv:GecoConv", "convolutions with BatchNorm, 64x64 or 28x28 (GECO)"),
    "asperti-conv": Entry(
        "benchmark.backbones.asperti_conv:AspertiConv", "eight convolutions with BatchNorm, 28x28 (1812.07238)"
    ),
    "video": Entry(
        "benchmark.backbones.video:Video", "3D convolutions and axial attention, 8x64x64 (ALD-VAE, Sprites)"
    ),
}
BACKBONE = Kind("backbone", "module:Class", BACKBONES)
