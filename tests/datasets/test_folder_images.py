"""How `folder:PATH` decodes: orientation, transparency, greys, formats, frames, and what cannot be read."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

from benchmark.datasets import load_dataset
from benchmark.datasets.base import Dataset
from benchmark.datasets.folders import image_decoding
from benchmark.datasets.folders.image_decoding import SAFE_FORMATS, read_square
from benchmark.datasets.folders.image_files import image_extensions
from benchmark.errors import InputError
from benchmark.paths import cache_root

SIDE = 24
# How an upright picture is stored under each EXIF orientation. A viewer reverses it.
STORED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x[::-1].swapaxes(0, 1)[::-1, ::-1],
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x[::-1].swapaxes(0, 1),
}
LOSSLESS = {"png": {}, "tiff": {}, "webp": {"lossless": True}}


def _photograph(seed: int, side: int = SIDE) -> np.ndarray:
    """A smooth image [side, side, 3] with four different corners."""
    corners = np.random.default_rng(seed).integers(256, size=(2, 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(corners).resize((side, side), Image.Resampling.BILINEAR))


def _load(root: Path, **options: object) -> Dataset:
    return load_dataset(f"folder:{root}", **{"size": SIDE, **options})


def _all(dataset: Dataset) -> torch.Tensor:
    return torch.cat([split.images[split.rows] for split in (dataset.train, dataset.val, dataset.test)])


def _twenty(root: Path, image: Image.Image, extension: str = "png", **options: object) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for i in range(20):
        image.save(root / f"{i:02}.{extension}", **options)
    return root


# --- orientation


@pytest.mark.parametrize("extension", LOSSLESS)
def test_exif_orientation_is_obeyed(tmp_path: Path, extension: str) -> None:
    for folder in ("turned", "upright"):
        (tmp_path / folder).mkdir()
    for i in range(24):
        upright, orientation = _photograph(i), i % 8 + 1
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
        stored.save(tmp_path / "turned" / f"{i:02}.{extension}", exif=exif, **LOSSLESS[extension])
        Image.fromarray(upright).save(tmp_path / "upright" / f"{i:02}.{extension}", **LOSSLESS[extension])
    turned, upright_images = _all(_load(tmp_path / "turned")), _all(_load(tmp_path / "upright"))
    assert torch.equal(turned, upright_images)
    assert len(turned.unique(dim=0)) == 24


def test_exif_orientation_of_a_jpeg_that_is_not_square(tmp_path: Path) -> None:
    """An image with a black left half is stored turned: the crop must cut out the centre of the upright image."""
    upright = np.full((SIDE, 2 * SIDE), 255, np.uint8)
    upright[:, :SIDE] = 0
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(STORED[6](upright)))
    images = _all(_load(_twenty(tmp_path / "a", stored, "jpg", exif=exif, quality=95))).float()
    assert images[..., : SIDE // 2 - 4].mean() < 5 and images[..., SIDE // 2 + 4 :].mean() > 250


def test_a_broken_exif_block_leaves_the_image_as_it_is(tmp_path: Path) -> None:
    pixels = _photograph(0)
    root = _twenty(tmp_path / "a", Image.fromarray(pixels), exif=b"Exif\x00\x00no TIFF header")
    assert np.array_equal(_all(_load(root))[0].permute(1, 2, 0), pixels)


# --- transparency


def _hidden(mode: str) -> Image.Image:
    """The left half is opaque grey; the right half is noise under alpha 0."""
    rng = np.random.default_rng(3)
    grey = np.full((SIDE, SIDE), 100, np.uint8)
    grey[:, SIDE // 2 :] = rng.integers(90, size=(SIDE, SIDE // 2))
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    alpha[:, : SIDE // 2] = 255
    la = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    if mode in ("LA", "RGBA"):
        return la.convert(mode)
    key = np.where(alpha == 255, 100, 7).astype(np.uint8)  # these modes have one transparent colour
    return Image.fromarray(key).convert(mode)


@pytest.mark.parametrize(
    "mode, extension, options",
    [
        ("RGBA", "png", {}),
        ("RGBA", "webp", {"lossless": True, "exact": True}),
        ("RGBA", "tiff", {}),
        ("LA", "png", {}),
        ("L", "png", {"transparency": 7}),
        ("RGB", "png", {"transparency": (7, 7, 7)}),
        ("P", "png", {"transparency": 7}),
        ("P", "gif", {"transparency": 7}),
    ],
)
def test_transparency_is_laid_on_white(tmp_path: Path, mode: str, extension: str, options: dict[str, object]) -> None:
    dataset = _load(_twenty(tmp_path / "a", _hidden(mode), extension, **options))
    images = _all(dataset)
    assert (images[..., : SIDE // 2] == 100).all() and (images[..., SIDE // 2 :] == 255).all()
    assert "20 images with transparency, laid on white" in dataset.description


def test_half_transparent_pixels_are_mixed_with_white(tmp_path: Path) -> None:
    images = _all(_load(_twenty(tmp_path / "a", Image.new("RGBA", (SIDE, SIDE), (0, 100, 200, 51)))))
    assert images[0, :, 0, 0].tolist() == [204, 224, 244]  # 0.2 of the colour, 0.8 of white


def test_premultiplied_modes_are_laid_on_white() -> None:
    for mode, straight in (("La", "LA"), ("RGBa", "RGBA")):
        image = _hidden(straight).convert(mode)
        assert image.mode == mode
        laid = np.asarray(image_decoding._put_on(image, "white").convert("L"))
        assert (laid[:, : SIDE // 2] == 100).all() and (laid[:, SIDE // 2 :] == 255).all()


def test_opaque_images_say_nothing_of_transparency(tmp_path: Path) -> None:
    assert "transparency" not in _load(_twenty(tmp_path / "a", Image.new("RGB", (9, 9)))).description


# --- grey


def _paletted(is_grey: bool) -> Image.Image:
    image = Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE) % 250).convert("P")
    if not is_grey:
        image.putpalette([value for i in range(256) for value in (i, 0, 255 - i)])
    return image


GREYS = {
    "1.png": Image.new("1", (SIDE, SIDE), 1),
    "L.jpg": Image.new("L", (SIDE, SIDE), 70),
    "LA.png": Image.new("LA", (SIDE, SIDE), (70, 255)),
    "P.png": _paletted(True),
    "P.gif": _paletted(True),
    "P.tiff": _paletted(True),
    "P.bmp": _paletted(True),
}


def test_grey_images_in_any_mode_have_one_channel(tmp_path: Path) -> None:
    for i in range(3):
        for name, image in GREYS.items():
            image.save(tmp_path / f"{i}-{name}")
    dataset = _load(tmp_path)
    assert dataset.image_shape == (1, SIDE, SIDE)
    assert dataset.description.startswith(f"21 images, grey {SIDE}x{SIDE}; 1 class")
    with Image.open(tmp_path / "0-P.png") as stored:
        assert stored.mode == "P"
        expected = np.asarray(stored.convert("L"))
    assert any(np.array_equal(image[0], expected) for image in _all(dataset))


@pytest.mark.parametrize("colour", [Image.new("RGB", (SIDE, SIDE), (70, 70, 70)), _paletted(False)])
def test_one_image_of_a_colour_mode_makes_three_channels(tmp_path: Path, colour: Image.Image) -> None:
    _twenty(tmp_path, GREYS["LA.png"])
    colour.save(tmp_path / "colour.png")
    assert _load(tmp_path).image_shape == (3, SIDE, SIDE)


# --- formats

EXTENSIONS = {
    **{"jfif": "JPEG", "jpe": "JPEG", "gif": "GIF", "jp2": "JPEG2000", "j2k": "JPEG2000", "tga": "TGA", "qoi": "QOI"},
    **{"pcx": "PCX", "sgi": "SGI", "pnm": "PPM", "pbm": "PPM", "dib": "DIB", "dds": "DDS", "TIF": "TIFF"},
    **({"avif": "AVIF"} if features.check("avif") else {}),
}


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_every_format_that_pillow_decodes_itself_counts(tmp_path: Path, extension: str) -> None:
    if EXTENSIONS[extension] not in Image.SAVE and EXTENSIONS[extension] != "JPEG2000":
        pytest.skip("this Pillow does not write it")
    image = Image.new("1" if extension == "pbm" else "RGB", (SIDE, SIDE), "white")
    dataset = _load(_twenty(tmp_path, image, extension, format=EXTENSIONS[extension]))
    assert len(dataset.train) + len(dataset.val) + len(dataset.test) == 20
    assert _all(dataset).min() >= 250 and "left out" not in dataset.description


def test_formats_that_other_programs_draw_do_not_count() -> None:
    assert not image_extensions() & {".eps", ".ps", ".wmf", ".emf", ".pdf", ".h5", ".hdf", ".grib", ".mpg", ".mpeg"}
    assert not set(SAFE_FORMATS) & {"EPS", "WMF", "PDF", "HDF5", "GRIB", "BUFR", "FITS", "MPEG"}


def test_postscript_under_another_name_is_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    _twenty(tmp_path, Image.new("RGB", (SIDE, SIDE)))
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "21.png", format="EPS")
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("drawn by Ghostscript"))
    with pytest.raises(InputError, match=r"21\.png \(no image format that is known here\)"):
        _load(tmp_path)


def test_a_file_with_another_formats_extension_is_read(tmp_path: Path) -> None:
    for i, format in enumerate(["PNG", "GIF", "WEBP", "TIFF", "BMP"] * 4):
        Image.new("RGB", (SIDE, SIDE), "white").save(tmp_path / f"{i}.jpg", format=format)
    assert (_all(_load(tmp_path)) == 255).all()


@pytest.mark.parametrize("extension", ["gif", "webp", "tiff", "png"])
def test_the_first_of_several_frames_is_taken(tmp_path: Path, extension: str) -> None:
    _twenty(tmp_path, Image.new("RGB", (SIDE, SIDE), "white"))
    first, *others = (Image.new("RGB", (SIDE, SIDE), (value, value, value)) for value in (60, 120, 180))
    options = {"webp": {"lossless": True}, "tiff": {"compression": "tiff_lzw"}}.get(extension, {})
    first.save(tmp_path / f"frames.{extension}", save_all=True, append_images=others, **options)
    dataset = _load(tmp_path)
    assert sorted(_all(dataset)[:, 0, 0, 0].tolist()) == [60] + 20 * [255]
    assert "1 image with several frames, the first taken" in dataset.description


# --- how they are made square


def test_fit_crops_stretches_or_pads(tmp_path: Path) -> None:
    pixels = np.zeros((30, 90), np.uint8)  # three squares: 50, 100, 150
    for i in range(3):
        pixels[:, 30 * i : 30 * (i + 1)] = 50 * (i + 1)
    root = _twenty(tmp_path, Image.fromarray(pixels))
    crop, stretch, pad = (_all(_load(root, size=30, fit=fit))[0, 0] for fit in ("crop", "stretch", "pad"))
    assert (crop == 100).all()
    assert (stretch[:, [0, 15, 29]] == torch.tensor([50, 100, 150])).all()
    assert (pad[:10] == 0).all() and (pad[20:] == 0).all()
    assert (pad[12:18, [0, 15, 29]] == torch.tensor([50, 100, 150])).all()
    assert torch.equal(_all(_load(root, size=30))[0, 0], crop)
    fingerprints = {_load(root, size=30, fit=fit).fingerprint for fit in ("crop", "stretch", "pad")}
    assert len(fingerprints) == 3
    assert "fit pad: the longer side scaled" in _load(root, size=30, fit="pad").description


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_very_long_images_fit(tmp_path: Path, fit: str) -> None:
    Image.new("RGB", (500, 1), "white").save(tmp_path / "line.png")
    assert read_square(tmp_path / "line.png", "RGB", SIDE, fit).shape == (3, SIDE, SIDE)


# --- what cannot be read


def _tiff_of_13_bands(path: Path) -> None:
    """Writes 8x8 pixels of 13 bands of 16 bits by hand, as satellites record them; Pillow cannot write such files."""
    entries = [(256, 4, 8), (257, 4, 8), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 13)]
    entries += [(278, 4, 8), (279, 4, 8 * 8 * 13 * 2)]
    pixels = bytes(8 * 8 * 13 * 2)
    directory = len(entries).to_bytes(2, "little") + b"".join(
        tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + (1).to_bytes(4, "little") + value.to_bytes(4, "little")
        for tag, kind, value in entries
    )
    start = (8 + len(pixels)).to_bytes(4, "little")
    path.write_bytes(b"II*\x00" + start + pixels + directory + bytes(4))


def test_unreadable_files_are_named_together(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b"):
        _twenty(tmp_path / name, Image.fromarray(_photograph(1, 64)))
    noise = Image.fromarray(np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8))
    noise.save(tmp_path / "a" / "half.png")
    content = (tmp_path / "a" / "half.png").read_bytes()
    (tmp_path / "a" / "half.png").write_bytes(content[:6000])  # the header is complete
    (tmp_path / "a" / "deep.tif").write_bytes(b"")
    Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(tmp_path / "a" / "deep.tif")
    for i in range(10):
        _tiff_of_13_bands(tmp_path / "b" / f"bands{i}.tif")
    (tmp_path / "b" / "empty.jpg").write_bytes(b"")
    with pytest.raises(InputError) as caught, caplog.at_level(logging.CRITICAL + 1):
        _load(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"folder:{tmp_path}: 13 files cannot be read as an image: a/deep.tif (more than 8 bits")
    parts = ("a/half.png (", "b/bands0.tif (TIFF: ", "samples per pixel", ", and 3 more; expected images of up to 4")
    assert all(part in message for part in parts)
    assert "<_io" not in message and "\n" not in message and "bands8" not in message and "()" not in message
    (cache,) = (cache_root() / "folders").iterdir()
    assert not list(cache.iterdir())


@pytest.mark.parametrize("content, why", [(b"", "empty file"), (b"no image" * 9, "no image format that is known here")])
def test_the_reason_of_what_is_no_image(tmp_path: Path, content: bytes, why: str) -> None:
    _twenty(tmp_path, Image.new("L", (9, 9)))
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"1 file cannot be read as an image: bad\.png \({why}\); expected"):
        _load(tmp_path)


def test_a_decompression_bomb_is_one_of_the_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _twenty(tmp_path, Image.new("L", (40, 40)))
    Image.new("L", (60, 60)).save(root / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_700)  # Pillow refuses images of more than twice as many
    with pytest.raises(
        InputError, match=r"1 file cannot be read.*bomb\.png \(Image size \(3600 pixels\) exceeds limit"
    ):
        _load(root)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_500)  # and warns about images of more than as many
    with pytest.raises(InputError, match="1 file cannot be read"):
        _load(root)
