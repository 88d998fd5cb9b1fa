"""Checks the path of `array:PATH`, without reading the file or importing what reads it."""

from pathlib import Path

from benchmark.errors import InputError
from searchers.registry import Entry

OWN_CACHE = ".latentbench"  # a folder beside a file that keeps what is read of it, in place of the user's cache
READERS: dict[str, Entry] = {
    ".npy": Entry("benchmark.datasets.arrays.numpy_files:read_npy", "NumPy's array"),
    ".npz": Entry("benchmark.datasets.arrays.numpy_files:read_npz", "NumPy's arrays by name"),
    ".csv": Entry("benchmark.datasets.arrays.tables:read_csv", "a table as text"),
    ".parquet": Entry("benchmark.datasets.arrays.tables:read_parquet", "a table in Parquet"),
    ".h5ad": Entry("benchmark.datasets.arrays.h5ad:read_h5ad", "AnnData's matrix"),
}
FORMATS = tuple(READERS)


def array_file(path: str) -> Path:
    """The file behind a path. Raises InputError unless it is a file of one of the FORMATS."""
    try:
        file = Path(path).expanduser()
    except RuntimeError as error:  # no home folder, or no such user
        raise InputError(f"array:{path}: no home folder is known for it; give a full path") from error
    if not file.is_file():
        got = "is not a file" if file.exists() else "does not exist"
        hint = f"; folder:{path} reads a folder of images" if file.is_dir() else ""
        raise InputError(f"array:{path}: {file.absolute()} {got}; give a file ending in {', '.join(FORMATS)}{hint}")
    if file.suffix.lower() not in FORMATS:
        got = f"ends in {file.suffix}" if file.suffix else "has no ending"
        raise InputError(f"array:{path}: the file {got}; expected one of {', '.join(FORMATS)}: convert it")
    return file
