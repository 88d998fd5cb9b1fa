"""What MkDocs does beside these documents: pages from the root and from the code, links between them, the notebook."""

import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from benchmark.store.sources.descriptions import FRAMES, MORE, describe

sys.path.append(str(Path(__file__).parent))
from notebook import notebook_page  # noqa: E402

ROOT = Path(__file__).parents[2]
FROM_ROOT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security.md"}
FROM_ROOT |= {"CHANGELOG.md": "changelog.md"}
API = {
    "api/latentbench.md": (
        "The package latentbench",
        [f"latentbench.{name}" for name in ("find_latent_size", "Result", "LatentSizeSearch", "compare")]
        + ["latentbench.inspect_latents", "latentbench.Inspection"],
    ),
    "api/store.md": ("The results store", ["benchmark.store.ResultsStore", "benchmark.store.frames.ResultsFolder"]),
    "api/searchers.md": ("The interface of searchers", ["searchers.base"]),
    "api/testing.md": (
        "Contracts",
        ["searchers.testing.contract", "benchmark.testing.backbones", "benchmark.testing.datasets"],
    ),
}


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are no files of docs/."""
    pages = {new: linked((ROOT / old).read_text(encoding="utf-8"), "") for old, new in FROM_ROOT.items()}
    pages["columns.md"] = columns_page()
    pages["notebook.md"] = notebook_page(
        ROOT / "docs" / "notebook.ipynb", execute="SITE_WITHOUT_RUNS" not in os.environ
    )
    for name, (title, modules) in API.items():
        pages[name] = "\n\n".join([f"# {title}", *(f"::: {module}" for module in modules)])
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leads links to the root's documents to their pages."""
    return linked(markdown, "../") if page.file.generated_by is None else markdown


def linked(text: str, up: str) -> str:
    """The text with links as the site has them. up: the way from the text's folder to the root."""
    for old, new in FROM_ROOT.items():
        text = text.replace(f"]({up}{old}", f"]({new}")
    return text if up else re.sub(r"(\]\(|src=\")docs/", r"\1", text)


def columns_page() -> str:
    """The columns of every frame of `ResultsStore`, a line each."""
    lines = [
        "# Columns of the store",
        "",
        "What `ResultsStore` gives; [reading-results.md](reading-results.md) explains.",
    ]
    for name, columns in FRAMES.items():
        lines += ["", f"## {name}()", "", MORE.get(name, ""), "", "| column | |", "|---|---|"]
        lines += [f"| `{column}` | {describe(column)} |" for column in columns]
    return "\n".join(lines)
