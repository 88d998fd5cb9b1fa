"""Cars3D (Reed et al., "Deep visual analogy-making", 2015): 183 cars seen from 24 azimuths and 4 elevations."""

import io
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat

from benchmark.datasets.archives.download import RemoteFile, fetch
from benchmark.datasets.archives.extracted import cached_archive
from benchmark.datasets.archives.image_cache import write_images
from benchmark.datasets.base import Dataset, split_dataset
from benchmark.errors import InputError
from benchmark.paths import data_root
from benchmark.stages import begin_stage

# Published over plain http alone, so the user fetches it. The author publishes no checksum; several public loaders
# check this MD5. The file itself was not at hand.
ARCHIVE = RemoteFile(
    "cars3d/nips2015-analogy-data.tar.gz",
    "http://www.scottreed.info/files/nips2015-analogy-data.tar.gz",
    "4e866a7919c1beedf53964e6f7a23686",
)
CACHE_VERSION = 1  # raise it when decoding changes
FOLDER = "data/cars"
N_CARS = 183
SIDE = 64


def load() -> Dataset:
    """17,568 RGB images [N, 3, 64, 64], memory-mapped; the label is the car (183 classes).

    The 128x128 renderings are resized with antialiasing (Lanczos, as disentanglement_lib does). There is no official
    split: a tenth, drawn at random with a fixed seed, is the test split, so every split has seen every car. Reads
    the archive, or the 183 files extracted from it to data_root()/cars3d/data/cars, once; the images stay in the cache
    (216 MB). Raises InputError if both are missing, the archive's checksum is wrong or a file is missing.
    """
    folders = [data_root() / "cars3d" / FOLDER]
    stored = cached_archive(ARCHIVE, CACHE_VERSION, _decode, folders, _extracted, _decode_files)
    n_cars = int(stored.labels.max()) + 1
    return split_dataset("cars3d", stored.images, stored.labels, n_cars, stored.fingerprint)


def _decode(cache: Path) -> None:
    """One file a car, FOLDER/NAME.mat; the labels number the sorted names. Nothing is extracted to disk."""
    cars: dict[str, NDArray[np.uint8]] = {}
    archive_path = fetch("cars3d", ARCHIVE)
    advance = begin_stage("reading the archive", unit="cars")
    with tarfile.open(archive_path) as archive:
        for member in archive:  # in the order of the compressed stream: any other would decompress it again and again
            path = PurePosixPath(member.name)
            file = archive.extractfile(member) if path.suffix == ".mat" and str(path.parent) == FOLDER else None
            if file is not None:
                with file:
                    cars[path.name] = _views(file.read())
                advance(1)
    _write(cache, [cars[name] for name in sorted(cars)])


def _extracted(folder: Path) -> list[Path]:
    """By name. Raises InputError unless every car has its file."""
    files = sorted(folder.glob("*.mat"))
    if len(files) != N_CARS:
        raise InputError(
            f"cars3d: {folder} holds {len(files)} .mat files, expected {N_CARS}; extract {Path(ARCHIVE.path).name} "
            "there again"
        )
    return files


def _decode_files(cache: Path, files: list[Path]) -> None:
    _write(cache, [_views(file.read_bytes()) for file in files])


def _write(cache: Path, cars: list[NDArray[np.uint8]]) -> None:
    labels = [label for label, views in enumerate(cars) for _ in views]
    write_images(cache, (len(labels), 3, SIDE, SIDE), labels, cars)


def _views(content: bytes) -> NDArray[np.uint8]:
    """The views of one car, [elevations * azimuths, 3, 64, 64], from `im` [H, W, 3, azimuths, elevations]."""
    im = loadmat(io.BytesIO(content), variable_names=["im"])["im"]
    views = im.transpose(4, 3, 0, 1, 2).reshape(-1, *im.shape[:3])  # [elevations * azimuths, H, W, 3]
    small = [Image.fromarray(view).resize((SIDE, SIDE), Image.Resampling.LANCZOS) for view in views]
    return np.stack([np.asarray(image) for image in small]).transpose(0, 3, 1, 2)
