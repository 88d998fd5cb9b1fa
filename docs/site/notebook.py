"""The notebook, executed, as a page: text, code and what the code gave."""

import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

SECONDS = 300  # for one cell


def notebook_page(path: Path, execute: bool) -> str:
    """Markdown of the notebook. execute: runs it, in a folder of its own; an error in a cell is an error here."""
    notebook = nbformat.read(path, as_version=4)
    if execute:
        with tempfile.TemporaryDirectory() as folder:
            NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": folder}}).execute()
    return "\n\n".join(part for cell in notebook.cells for part in _parts(cell))


def _parts(cell: Any) -> list[str]:
    if cell.cell_type == "markdown":
        return [cell.source]
    shown = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]  # warnings of the kernel
    return [_fenced(cell.source, "python"), *map(_output, shown)]


def _output(output: Any) -> str:
    """HTML before a picture before text."""
    if output.output_type == "stream":
        return _fenced(output.text.rstrip(), "text")
    data = output.data
    if "text/html" in data:
        return f'<div class="output" markdown="0">\n{_joined(data["text/html"])}\n</div>'
    if "image/png" in data:
        return f"![output](data:image/png;base64,{_joined(data['image/png']).strip()})"
    return _fenced(_joined(data["text/plain"]), "text")


def _joined(text: Any) -> str:
    return text if isinstance(text, str) else "".join(text)


def _fenced(text: str, language: str) -> str:
    return f"````{language}\n{text}\n````"
