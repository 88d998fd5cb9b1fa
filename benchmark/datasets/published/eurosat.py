"""EuroSAT (Helber et al., 2019): satellite images of ten kinds of land."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmark.datasets.archives.download import RemoteFile, fetch
from benchmark.datasets.archives.extracted import cached_archive
from benchmark.datasets.archives.image_cache import write_images
from benchmark.datasets.base import Dataset, split_dataset
from benchmark.errors import InputError
from benchmark.paths import data_root

# torchvision's EuroSAT uses the same file, address and MD5.
ARCHIVE = RemoteFile(
    "eurosat/EuroSAT.zip",
    "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
    "c8fa014336c82ac7804f0398fcb19387",
)
CACHE_VERSION = 1  # raise it when decoding changes
SIDE = 64
FOLDER = "2750"  # in the archive, and where torchvision extracts it
COUNTS = {
    **{"AnnualCrop": 3000, "Forest": 3000, "HerbaceousVegetation": 3000, "Highway": 2500, "Industrial": 2500},
    **{"Pasture": 2000, "PermanentCrop": 2500, "Residential": 3000, "River": 2500, "SeaLake": 3000},
}


def load() -> Dataset:
    """Loads 27,000 RGB images [N, 3, 64, 64] of 10 classes, memory-mapped.

    There is no official split; see `split_dataset`. Decodes the archive data_root()/eurosat/EuroSAT.zip, or without it
    the images extracted to data_root()/eurosat/2750, and downloads the archive if both are missing. The cache keeps the
    decoded images (332 MB). Raises InputError if the archive cannot be downloaded, its checksum is wrong or extracted
    images are missing.
    """
    folder = data_root() / "eurosat" / FOLDER
    stored = cached_archive(ARCHIVE, CACHE_VERSION, _decode, [folder], _list_extracted, _write)
    classes = sorted(COUNTS)
    return split_dataset("eurosat", stored.images, stored.labels, len(classes), stored.fingerprint, classes)


def _list_extracted(folder: Path) -> list[Path]:
    """Lists the images by class and name. Raises InputError unless every class has its official number of images."""
    files = {kind: sorted((folder / kind).glob("*.jpg"), key=lambda file: file.name) for kind in sorted(COUNTS)}
    problems = [f"{len(files[kind]):,} of {n:,} {kind}" for kind, n in COUNTS.items() if len(files[kind]) != n]
    if problems:
        raise InputError(
            f"eurosat: {folder} holds {', '.join(problems)} images; expected {sum(COUNTS.values()):,} .jpg files in "
            f"{len(COUNTS)} class folders; extract {Path(ARCHIVE.path).name} there again, or remove the folder to "
            "download it"
        )
    return [file for of_kind in files.values() for file in of_kind]


def _decode(cache: Path) -> None:
    """Decodes 2750/CLASS/CLASS_NUMBER.jpg of the archive. The labels number the sorted class folders."""
    with zipfile.ZipFile(fetch("eurosat", ARCHIVE)) as archive:
        files = [zipfile.Path(archive, name) for name in archive.namelist() if name.endswith(".jpg")]
        images = [file for file in files if _kind(file) in COUNTS]
        _write(cache, sorted(images, key=lambda file: (_kind(file), file.name)))


def _kind(file: Path | zipfile.Path) -> str:
    return Path(str(file)).parent.name


def _write(cache: Path, files: Sequence[Path | zipfile.Path]) -> None:
    """Writes the images, which are sorted by class and name, to the cache."""
    numbers = {kind: number for number, kind in enumerate(sorted(COUNTS))}
    labels = [numbers[_kind(file)] for file in files]
    write_images(cache, (len(files), 3, SIDE, SIDE), labels, map(_pixels, files))


def _pixels(file: Path | zipfile.Path) -> NDArray[np.uint8]:
    """Decodes an image to [1, 3, H, W]."""
    try:
        with file.open("rb") as content, Image.open(content, formats=["JPEG"]) as image:
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)[None]
    except (OSError, SyntaxError) as error:
        raise InputError(f"eurosat: {file} cannot be read ({error}); replace it") from error
