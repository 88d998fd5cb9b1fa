"""Tensors as files that say when they have been damaged. Loads torch, unlike the rest of the store."""

import io
from pathlib import Path
from typing import Any

import torch

from benchmark.store.atomic_files import read_checked, write_checked


def write_tensors(path: Path, content: Any) -> None:
    """Writes tensors and plain values behind a digest; the file appears only when it is complete."""
    buffer = io.BytesIO()  # torch.save to a file hides why it cannot write
    torch.save(content, buffer)
    write_checked(path, buffer.getvalue())


def read_tensors(path: Path) -> Any:
    """The content that `write_tensors` wrote, on the CPU. Raises Damaged if the file has changed since."""
    return torch.load(io.BytesIO(read_checked(path)), map_location="cpu", weights_only=True)
