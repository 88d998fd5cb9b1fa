"""Decodes an image file of any format to a square of pixels."""

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
TRANSPARENCY = "white"  # drawings on a transparent background are mostly dark
GREY_MODES = ("1", "L", "LA", "La")

logging.getLogger("PIL").addHandler(logging.NullHandler())  # keeps messages about broken files off the terminal


class Header(NamedTuple):
    """Facts about an image from its file's header and palette, without decoding its pixels."""

    is_grey: bool
    is_transparent: bool
    has_frames: bool


def read_header(path: Path) -> Header:
    """Raises ValueError for pixels of more than 8 bits, and many kinds of errors for broken files."""
    with Image.open(path, formats=SAFE_FORMATS) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"more than 8 bits a channel (mode {image.mode})")
        is_grey = image.mode in GREY_MODES or (image.mode in ("P", "PA") and _has_grey_palette(image))
        return Header(is_grey, image.has_transparency_data, getattr(image, "is_animated", False))


def _has_grey_palette(image: Image.Image) -> bool:
    colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def read_square(path: Path, mode: str, size: int, fit: Fit) -> NDArray[np.uint8]:
    """Decodes the first frame, turns it upright by its EXIF tag and puts it on TRANSPARENCY: uint8 [C, size, size].

    mode: L or RGB. fit: a key of FITS. Raises many kinds of errors for broken files.
    """
    with Image.open(path, formats=SAFE_FORMATS) as image:
        image.load()
        with suppress(SyntaxError, ValueError, struct.error):  # a broken EXIF block: the image is fine
            ImageOps.exif_transpose(image, in_place=True)
        opaque = _put_on(image, TRANSPARENCY) if image.has_transparency_data else image
        pixels = opaque.convert(mode)
    square = _to_square(pixels, size, fit)
    return np.asarray(square).reshape(size, size, -1).transpose(2, 0, 1)


def _put_on(image: Image.Image, colour: str) -> Image.Image:
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)  # premultiplied modes convert only to these
    rgba = (image.convert(straight) if straight else image).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, colour), rgba)


def _to_square(image: Image.Image, size: int, fit: Fit) -> Image.Image:
    """Makes the image a square of `size` pixels by scaling with antialiasing."""
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
    """Explains why a file cannot be read, in the words of the decoder, which Pillow hides."""
    if not isinstance(error, UnidentifiedImageError):
        without_path = error.strerror if isinstance(error, OSError) else None
        return without_path or str(error) or type(error).__name__
    with path.open("rb") as file:
        start = file.read(16)
        for name in filter(Image.OPEN.__contains__, SAFE_FORMATS):
            decoder, accepts = Image.OPEN[name]
            if accepts is not None and _is_accepted(accepts, start):
                file.seek(0)
                try:
                    decoder(file, "")
                except Exception as refusal:  # of any kind
                    return f"{name}: {refusal}"
    return "no image format that is known here" if start else "empty file"


def _is_accepted(accepts: Callable[[bytes], bool | str], start: bytes) -> bool:
    """True if a decoder accepts a file with this start. `accepts` returns a text if Pillow was built without it."""
    try:
        return accepts(start) is True
    except struct.error:  # the file is too short
        return False
