"""`make results`: draws every figure and writes every number of docs/results.md anew from the study's files."""

from __future__ import annotations

import sys
from pathlib import Path

import reports.headless  # noqa: F401
from benchmark.store import ResultsStore
from docs.results import figures
from docs.results.moves import moved
from docs.results.page import FOLDER, PAGE, README, readme_with, render
from docs.results.study import CORE, Study, only
from reports.drawing.style import paper_style
from reports.figures.quality import draw_quality, quality_data
from reports.papers.base import StoreFrames
from reports.papers.registry import PAPER_ITEMS

PAPERS = ("ald-figure2", "ald-figure3", "ald-figure4", "geco-figure3")
QUALITY = ("digits", "mnist")  # blocks whose quality against size is shown


def main() -> int:
    """Writes the figures, the page and the README's part of it."""
    study, sensitivity, papers = (
        ResultsStore(FOLDER / f"{name}.parquet") for name in ("study", "sensitivity", "papers")
    )
    of_study = Study(study)
    frame = moved(sensitivity, study)
    with paper_style():
        drawn = {
            "losses": figures.losses(of_study),
            "sizes": figures.sizes(of_study),
            "ranks": figures.ranks(of_study, CORE),
            "thresholds": figures.thresholds(frame),
            "starts": figures.starts(frame),
        }
        for block in QUALITY:
            data = quality_data(only(of_study.group(block), CORE))
            if data is not None:
                drawn[f"quality-{block}"] = draw_quality(data)
        runs = StoreFrames(papers)
        for name in PAPERS:
            item = PAPER_ITEMS[name]
            shown = item.data(runs)
            if shown is not None and item.draw is not None:
                drawn[name] = item.draw(shown)
        for name, figure in drawn.items():
            path = FOLDER / f"{name}.png"
            figure.savefig(path, dpi=150)
            print(f"wrote {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}", flush=True)
    text = render(of_study, frame, sensitivity, runs)
    PAGE.write_text(text, encoding="utf-8")
    README.write_text(readme_with(text), encoding="utf-8")
    print("wrote docs/results.md and its sentences in README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
