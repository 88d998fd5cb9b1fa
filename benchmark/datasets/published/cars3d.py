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

# It is published only over plain http, so the user fetches it. The author publishes no checksum; several public loaders
# check this MD5. We have not seen the file itself.
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
    """Loads 17,568 RGB images [N, 3, 64, 64], memory-mapped; the label is the car (183 classes).

    The 128x128 renderings are resized with antialiasing (Lanczos, as in disentanglement_lib). There is no official
    split (see `split_dataset`): every car occurs in every split. Decodes the archive, or the 183 files extracted from
    it to data_root()/cars3d/data/cars, once; the cache keeps the images (216 MB). Raises InputError if both are
    missing, the archive's checksum is wrong or an extracted file is missing.
    """
    folders = [data_root() / "cars3d" / FOLDER]
    stored = cached_archive(ARCHIVE, CACHE_VERSION, _decode, folders, _list_extracted, _decode_files)
    n_cars = int(stored.labels.max()) + 1
    return split_dataset("cars3d", stored.images, stored.labels, n_cars, stored.fingerprint)


def _decode(cache: Path) -> None:
    """Reads one file per car, FOLDER/NAME.mat, in memory. The labels number the sorted names."""
    views_by_name: dict[str, NDArray[np.uint8]] = {}
    archive_path = fetch("cars3d", ARCHIVE)
    advance = begin_stage("reading the archive", unit="cars")
    with tarfile.open(archive_path) as archive:
        for member in archive:  # in the order of the stream: any other order decompresses it many times
            path = PurePosixPath(member.name)
            file = archive.extractfile(member) if path.suffix == ".mat" and str(path.parent) == FOLDER else None
            if file is not None:
                with file:
                    views_by_name[path.name] = _views(file.read())
                advance(1)
    _write(cache, [views_by_name[name] for name in sorted(views_by_name)])


def _list_extracted(folder: Path) -> list[Path]:
    """Lists the files by name. Raises InputError unless there is one per car."""
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
    """Reads the views of a car, [elevations * azimuths, 3, 64, 64], from `im` [H, W, 3, azimuths, elevations]."""
    im = loadmat(io.BytesIO(content), variable_names=["im"])["im"]
    views = im.transpose(4, 3, 0, 1, 2).reshape(-1, *im.shape[:3])  # [elevations * azimuths, H, W, 3]
    small = [Image.fromarray(view).resize((SIDE, SIDE), Image.Resampling.LANCZOS) for view in views]
    return np.stack([np.asarray(image) for image in small]).transpose(0, 3, 1, 2)
