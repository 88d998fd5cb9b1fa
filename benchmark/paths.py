"""Where files are: the data, which may be read-only, the cache of everything that we derive, and the results."""

import argparse
import hashlib
import os
from pathlib import Path

from benchmark.errors import InputError


def data_root() -> Path:
    """Folder of datasets and downloaded weights: $LATENTBENCH_DATA, else ~/.cache/latentbench. May be read-only."""
    return _root("LATENTBENCH_DATA", "~/.cache/latentbench")


def cache_root() -> Path:
    """Folder of derived files: $XDG_CACHE_HOME/latentbench, else ~/.cache/latentbench.

    It ignores $LATENTBENCH_DATA, which may be read-only or shared.
    """
    return _root("XDG_CACHE_HOME", "~/.cache") / "latentbench"


def _root(variable: str, default: str) -> Path:
    path = os.environ.get(variable) or default
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # no home folder, or no such user
        raise InputError(f"{variable}: the home folder in {path!r} is not known; set it to a full path") from error


def cache_file(folder: str, identity: tuple[object, ...], suffix: str) -> Path:
    """The file in the cache folder `folder` whose name is a hash of `identity`."""
    key = hashlib.blake2b(repr(identity).encode(), digest_size=16).hexdigest()
    return cache_folder(folder) / f"{key}{suffix}"


def cache_folder(*parts: str) -> Path:
    """Returns the folder cache_root()/parts and makes it if missing. Raises InputError if it cannot be made."""
    folder = cache_root().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the cache folder {folder} ({error.strerror}); set XDG_CACHE_HOME to a writable folder"
        ) from error
    return folder


def path_argument(argument: str) -> Path:
    """Reads a path from the command line; use it as argparse's `type`."""
    if not argument:  # Path("") is the working folder
        raise argparse.ArgumentTypeError("got ''; expected a folder's name")
    try:
        return Path(argument).expanduser()
    except RuntimeError as error:  # no home folder, or no such user
        raise argparse.ArgumentTypeError(f"no home folder is known for {argument!r}; expected a full path") from error


def is_url(results: str | Path) -> bool:
    """Returns True if the results are at a URL, False if they are in a folder."""
    return "://" in str(results)


def output_folder(results: str | Path, name: str) -> Path:
    """Where what is made from results goes by itself: `results/NAME` of a folder, `results-NAME` beside a study's file.

    Of results at a URL it is `results/NAME` here.
    """
    path = Path("results") if is_url(results) else Path(results)
    return path.with_name(f"{path.stem}-{name}") if os.path.isfile(path) else path / name


def results_argument(argument: str) -> str | Path:
    """Reads the folder or the URL of results from the command line; use it as argparse's `type`."""
    return argument if is_url(argument) else path_argument(argument)
