"""Where files live: data the user provides is only read, everything we derive goes to the cache."""

import os
from pathlib import Path

from benchmark.errors import InputError


def data_root() -> Path:
    """Folder of downloaded datasets and weights: $LATENTBENCH_DATA, else ~/.cache/latentbench. May be read-only."""
    return _root("LATENTBENCH_DATA", "~/.cache/latentbench")


def cache_root() -> Path:
    """Folder of what we derive ourselves: $XDG_CACHE_HOME/latentbench, else ~/.cache/latentbench.

    It does not follow $LATENTBENCH_DATA, which may be read-only or shared.
    """
    return _root("XDG_CACHE_HOME", "~/.cache") / "latentbench"


def _root(variable: str, default: str) -> Path:
    path = os.environ.get(variable) or default
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # no home folder, or no such user
        raise InputError(f"{variable}: the home folder in {path!r} is not known; set it to a full path") from error


def cache_folder(*parts: str) -> Path:
    """The folder cache_root()/parts, made if missing. Raises InputError where it cannot be made."""
    folder = cache_root().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the cache folder {folder} ({error.strerror}); set XDG_CACHE_HOME to a writable folder"
        ) from error
    return folder
