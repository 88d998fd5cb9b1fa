"""From an image file of any format to a square of pixels."""

import logging
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from benchmark.datasets.folders.image_files import SAFE_FORMATS

Fit = Literal["crop", "stretch", "pad"]
FITS: dict[Fit, str] = {
    "crop": "the shorter side scaled, the centre cut out",
    "stretch": "both sides scaled, proportions not kept",
    "pad": "the longer side scaled, black bars beside",
}
TRANSPARENCY = "white"  # a drawing on a transparent ground is mostly dark
GREY_MODES = ("1", "L", "LA", "La")

logging.getLogger("PIL").addHandler(logging.NullHandler())  # or its words about a broken file go to the terminal too


class Header(NamedTuple):
    """What a file says about its image without being decoded (a palette of greys aside)."""

    is_grey: bool
    is_transparent: bool
    has_frames: bool


def read_header(path: Path) -> Header:
    """Raises ValueError for pixels of more than 8 bits, and all sorts for broken files."""
    with Image.open(path, formats=SAFE_FORMATS) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"more than 8 bits a channel (mode {image.mode})")
        is_grey = image.mode in GREY_MODES or (image.mode in ("P", "PA") and _has_grey_palette(image))
        return Header(is_grey, image.has_transparency_data, getattr(image, "is_animated", False))


def _has_grey_palette(image: Image.Image) -> bool:
    colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def read_square(path: Path, mode: str, size: int, fit: Fit) -> NDArray[np.uint8]:
    """The first frame, turned upright as its EXIF tag says and laid on TRANSPARENCY: uint8 [C, size, size].

    mode: L or RGB. fit: a key of FITS. Raises all sorts for broken files.
    """
    with Image.open(path, formats=SAFE_FORMATS) as image:
        image.load()
        with suppress(SyntaxError, ValueError, struct.error):  # of a broken EXIF block: the image itself is whole
            ImageOps.exif_transpose(image, in_place=True)
        opaque = _laid_on(image, TRANSPARENCY) if image.has_transparency_data else image
        pixels = opaque.convert(mode)
    square = _fitted(pixels, size, fit)
    return np.asarray(square).reshape(size, size, -1).transpose(2, 0, 1)


def _laid_on(image: Image.Image, colour: str) -> Image.Image:
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)  # premultiplied modes convert to these alone
    rgba = (image.convert(straight) if straight else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, colour), rgba)


def _fitted(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """All ways scale with antialiasing."""
    if fit == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    if fit == "stretch":
        return image.resize((size, size), Image.Resampling.BILINEAR)
    longer = max(image.size)
    scaled = image.resize([max(1, round(side * size / longer)) for side in image.size], Image.Resampling.BILINEAR)
    square = Image.new(image.mode, (size, size))  # black
    square.paste(scaled, ((size - scaled.width) // 2, (size - scaled.height) // 2))
    return square


def reason(path: Path, error: Exception) -> str:
    """Why a file cannot be read, in the decoder's words; Pillow keeps them from whoever opens a file."""
    if not isinstance(error, UnidentifiedImageError):
        own_words = error.strerror if isinstance(error, OSError) else None  # without the path, which the line names
        return own_words or str(error) or type(error).__name__
    with path.open("rb") as file:
        start = file.read(16)
        for name in filter(Image.OPEN.__contains__, SAFE_FORMATS):
            decoder, accepts = Image.OPEN[name]
            if accepts is not None and _is_accepted(accepts, start):
                file.seek(0)
                try:
                    decoder(file, "")
                except Exception as refusal:  # of all sorts
                    return f"{name}: {refusal}"
    return "no image format that is known here" if start else "empty file"


def _is_accepted(accepts: Callable[[bytes], bool | str], start: bytes) -> bool:
    """Whether a decoder takes a file that starts so; a text says that the installed Pillow lacks the decoder."""
    try:
        return accepts(start) is True
    except struct.error:  # too short
        return False
