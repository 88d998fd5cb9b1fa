"""Checks that the backbones share."""

from collections.abc import Sequence

from benchmark.errors import InputError
from searchers.registry import unknown_name

ImageShape = tuple[int, ...]
INITS = ("scaled", "torch")  # see `benchmark.backbones.initialise`
LARGEST_WIDTH = 2**16  # two such layers have 17 GB of weights


def check_widths(name: str, widths: Sequence[int]) -> None:
    """Raises ValueError unless there is at least one width and each is 1 to LARGEST_WIDTH."""
    if not widths or not 1 <= min(widths) <= max(widths) <= LARGEST_WIDTH:
        raise ValueError(f"{name} is {list(widths)}; expected numbers of at least 1 and at most {LARGEST_WIDTH}")


def check_init(init: str) -> None:
    """Raises ValueError for a name that is not in INITS."""
    if init not in INITS:
        raise ValueError(unknown_name("init", init, INITS))


def check_image(backbone: str, image_shape: ImageShape, smallest: int) -> ImageShape:
    """Returns the shape. Raises InputError unless it is (C, H, W) with sides of at least `smallest` pixels."""
    if len(image_shape) != 3 or min(image_shape[1:]) < smallest:
        shape = "x".join(map(str, image_shape))
        raise InputError(
            f"backbone {backbone} got images of shape {shape}; expected C x H x W with H and W of at least {smallest}; "
            "choose another backbone, mlp takes any shape"
        )
    return image_shape
