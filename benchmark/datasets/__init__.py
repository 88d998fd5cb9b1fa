"""The datasets by name. This package does not import torch; it imports a loader's module when the loader is used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.config.settings import checked_arguments
from benchmark.datasets.arrays.path import array_file
from benchmark.datasets.folders.image_files import list_images
from benchmark.errors import InputError
from benchmark.plugins import Kind
from benchmark.text import is_unicode
from searchers.registry import Entry, unknown_name

if TYPE_CHECKING:
    from benchmark.datasets.base import Dataset


# The parameters of a loader that have a default are the dataset's options.
DATASETS: dict[str, Entry] = {
    "digits": Entry("benchmark.datasets.generated.digits:load", "1,797 grey 8x8 digits, bundled with scikit-learn"),
    "mnist": Entry("benchmark.datasets.published.mnist:load", "70,000 grey 28x28 digits"),
    "fashionmnist": Entry("benchmark.datasets.published.fashionmnist:load", "70,000 grey 28x28 images of clothes"),
    "eurosat": Entry("benchmark.datasets.published.eurosat:load", "27,000 RGB 64x64 satellite images, 10 classes"),
    "cifar100": Entry(
        "benchmark.datasets.published.cifar100:load", "60,000 RGB photographs upscaled to 64x64, 100 classes"
    ),
    "sprites": Entry(
        "benchmark.datasets.published.sprites:load", "11,664 RGB videos of 8x64x64, game characters in 9 actions"
    ),
    "dsprites": Entry("benchmark.datasets.published.dsprites:load", "737,280 binary 64x64 images of 3 shapes"),
    "shapes3d": Entry("benchmark.datasets.published.shapes3d:load", "480,000 RGB 64x64 images of 4 shapes in a room"),
    "cars3d": Entry("benchmark.datasets.published.cars3d:load", "17,568 RGB 64x64 views of 183 cars"),
    "tiles": Entry(
        "benchmark.datasets.generated.tiles:load", "generated 28x28 images of one to three white tiles (1812.07238)"
    ),
    "manifold": Entry("benchmark.datasets.generated.manifold:load", "generated 16x16 images of known latent dimension"),
    "linear": Entry("benchmark.datasets.generated.linear:load", "generated 32x32 images of known principal components"),
    "sphere": Entry("benchmark.datasets.generated.embedded:load_sphere", "generated 16x16 images on a sphere"),
    "torus": Entry("benchmark.datasets.generated.embedded:load_torus", "generated 16x16 images on a torus"),
    "shapes2d": Entry("benchmark.datasets.generated.shapes2d:load", "generated 64x64 images of a shape, five factors"),
    "factors": Entry(
        "benchmark.datasets.generated.factors:load", "generated rows of a table of known latent dimension"
    ),
    "shuffled": Entry(
        "benchmark.datasets.generated.controls:load_shuffled", "a control: another dataset, the pixels of each shuffled"
    ),
    "noise": Entry("benchmark.datasets.generated.controls:load_noise", "a control: generated 16x16 images of noise"),
    "folder": Entry(
        "benchmark.datasets.folders.folder:load", "folder:PATH, your own images in class subfolders or flat"
    ),
    "array": Entry(
        "benchmark.datasets.arrays.array:load", "array:PATH, your own rows of numbers or images: .npy .csv .parquet ..."
    ),
}
_CHECKS: dict[str, Callable[[str], object]] = {"folder": list_images, "array": array_file}  # of those with a path
_EXAMPLES = {"folder": "folder:/data/faces", "array": "array:spectra.csv"}

DATASET = Kind("dataset", "module:function", DATASETS)


def load_dataset(name: str, **options: object) -> Dataset:
    """Loads a dataset: a key of DATASETS, `folder:PATH`, `array:PATH`, a package's name, or a user's `module:function`.

    `options` are the loader's parameters as a protocol's `[dataset]` table gives them (manifold: `latent_dim`,
    folder: `size`). Raises InputError for an unknown name, an option that does not fit and data that are missing.
    """
    kind, path = _split_name(name)
    load: Callable[..., Dataset] = DATASET.load(kind)
    if not callable(load):
        raise InputError(f"dataset {name!r} is {load!r}; expected a function that returns a Dataset")
    checked = checked_arguments(load, options, f"dataset {name}")
    if kind in DATASETS:
        return load(**checked) if path is None else load(path, **checked)
    return _of_user(name, partial(load, **checked))


def _of_user(name: str, load: Callable[[], Dataset]) -> Dataset:
    """Loads by code that is not ours, whose errors become an InputError."""
    from benchmark.datasets.base import Dataset

    try:
        dataset = load()
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"dataset {name}: {type(error).__name__}: {error}; expected its function to return a Dataset"
        ) from error
    if not isinstance(dataset, Dataset):
        raise InputError(
            f"dataset {name} is of type {type(dataset).__name__}; expected what split_dataset or make_dataset return"
        )
    return dataset


def check_dataset_name(name: str) -> None:
    """Raises InputError as load_dataset does for a wrong name and for data that are not there, but loads nothing."""
    kind, path = _split_name(name)
    if path is not None:
        _CHECKS[kind](path)


def _split_name(name: str) -> tuple[str, str | None]:
    """Splits a name into a key of DATASETS and, for `folder:PATH` and `array:PATH`, the path."""
    kind, _, path = name.partition(":")
    if kind in _CHECKS:
        if not path:
            raise InputError(f"dataset {name!r} lacks a path; write {kind}:PATH, such as {_EXAMPLES[kind]}")
        if not is_unicode(name):
            what = "folder" if kind == "folder" else "file"
            raise InputError(f"dataset {name!r} is no Unicode text; rename the {what}, or give a link to it")
        return kind, path
    if DATASET.find(name) is not None:
        return name, None
    known = [f"{key}:PATH" if key in _CHECKS else key for key in (*DATASETS, *DATASET.from_packages())]
    meant = {"folder": Path(name).is_dir(), "array": Path(name).is_file()} if name else {}
    hint = "".join(f"did you mean {kind}:{name}? " for kind, is_meant in meant.items() if is_meant)
    raise InputError(f"{hint}{unknown_name('dataset', name, known)}, or your own as {DATASET.own}")
