"""The page of the results: page.md with its numbers filled in from the study's files."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmark.store import ResultsStore
from docs.results import moves, plan
from docs.results.papers import numbers
from docs.results.published import published
from docs.results.study import CORE, Study, block_label, failures, hours_of, sizes
from reports.analysis.effects import Effect
from reports.analysis.verdicts import minus
from reports.data.names import label
from reports.papers.base import StoreFrames
from reports.papers.runs import printed_name

FOLDER = Path(__file__).parent
PAGE, README = FOLDER.parent / "results.md", FOLDER.parents[1] / "README.md"
_SENTENCES = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)


def render(study: Study, moved: pd.DataFrame, sensitivity: ResultsStore, papers: StoreFrames) -> str:
    """The page's text. moved: of `docs.results.moves.moved`."""
    of_papers = numbers(papers)
    jinja = Environment(
        loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    jinja.filters |= {
        "pct": percent,
        "num": number,
        "label": label,
        "block": block_label,
        "dataset": printed_name,
        "sizes": sizes,
        "interval": interval,
    }
    jinja.globals |= {
        "figures": {path.stem for path in FOLDER.glob("*.png")},
        "inf": math.inf,
        "study": study,
        "core": CORE,
        "moved": moved,
        "moves": moves,
        "papers": of_papers,
        "published": list(published(study, moved, of_papers)),
        "budgets": moves.budgets(sensitivity, study.store),
        "beside": {name: store.searches() for name, store in (("sensitivity", sensitivity), ("papers", papers.store))},
        "hours_of": hours_of,
        "failures": failures([study.store, sensitivity, papers.store]),
        "plan": plan,
    }
    return jinja.get_template("page.md").render() + "\n"


def readme_with(page: str) -> str:
    """The README with the page's sentences between its marks."""
    found = _SENTENCES.search(page)
    assert found is not None
    readme = README.read_text(encoding="utf-8")
    return _SENTENCES.sub(lambda _: found[0].replace("](results", "](docs/results"), readme)


def number(value: float, places: int = 2) -> str:
    """A number with so many places, and a dash for none."""
    return "–" if math.isnan(value) else minus(f"{value:.{places}f}")


def percent(value: float, places: int = 1) -> str:
    """A share in per cent."""
    return "–" if math.isnan(value) else minus(f"{100 * value:.{places}f}") + " %"


def interval(found: Effect) -> str:
    """`1.2 % (−0.4 to 2.8 %)`: a mean in parts of the gap with its 95 % interval."""
    if math.isnan(found.low):
        return f"{percent(found.mean)} (no interval)"
    return f"{percent(found.mean)} ({number(100 * found.low, 1)} to {percent(found.high)})"
