"""The types and checks of options that the backbones share."""

from typing import Annotated, Literal

from annotated_types import Ge, Le, MinLen

from benchmark.errors import InputError

ImageShape = tuple[int, ...]
Init = Literal["scaled", "torch"]  # see `benchmark.backbones.initialise`
Width = Annotated[int, Ge(1), Le(2**16)]  # two layers of the widest have 17 GB of weights
Widths = Annotated[tuple[Width, ...], MinLen(1)]


def check_image(backbone: str, image_shape: ImageShape, smallest: int) -> ImageShape:
    """Returns the shape. Raises InputError unless it is (C, H, W) with sides of at least `smallest` pixels."""
    if len(image_shape) != 3 or min(image_shape[1:]) < smallest:
        expected = f"C x H x W with H and W of at least {smallest}; choose another backbone, mlp takes any shape"
        raise wrong_shape(backbone, image_shape, expected)
    return image_shape


def wrong_shape(backbone: str, image_shape: ImageShape, expected: str) -> InputError:
    """The error for images that do not fit; `expected` says which images fit and what to do."""
    shape = "x".join(map(str, image_shape))
    return InputError(f"backbone {backbone} got images of shape {shape}; expected {expected}")
