"""The types and checks of options that the backbones share."""

from typing import Annotated, Literal

from annotated_types import Ge, Le, MinLen

from benchmark.errors import InputError

ImageShape = tuple[int, ...]
Init = Literal["scaled", "torch"]  # see `benchmark.backbones.initialise`
Width = Annotated[int, Ge(1), Le(2**16)]  # two layers of the widest have 17 GB of weights
Widths = Annotated[tuple[Width, ...], MinLen(1)]


def check_image(backbone: str, image_shape: ImageShape, smallest: int) -> ImageShape:
    """The shape (C, H, W) as it came; InputError where it is no image or a side is below `smallest` pixels."""
    if len(image_shape) != 3 or min(image_shape[1:]) < smallest:
        shape = "x".join(map(str, image_shape))
        raise InputError(
            f"backbone {backbone} got images of shape {shape}; expected C x H x W with H and W of at least {smallest}; "
            "choose another backbone, mlp takes any shape"
        )
    return image_shape
