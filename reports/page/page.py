"""The report as one page that needs nothing else: it opens from a file, in a mail or a chat, and asks no network."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import pandas as pd

from benchmark.text import features_kind, of_data
from reports.analysis.answer import against_grid
from reports.data.groups import Group
from reports.data.measured import measured
from reports.data.names import in_order, parts
from reports.drawing.base import Report, Written
from reports.drawing.traces import Choice, json_text
from reports.figures.registry import QUALITY
from reports.page.style import markers_css, markers_svg
from reports.page.tables import (
    answer_table,
    definitions_table,
    environment_table,
    estimates_table,
    failures,
    filters,
    methods_table,
    protocol_table,
    running_table,
    searches_table,
    settings_table,
    summary_table,
    truth_table,
)

CSV_BYTES = 500_000  # CSV files inside the page, together
IMAGE_BYTES = 2_000_000  # images that keep their resolution, together
MOST_RUNS, PAGE_RUNS = 60, 150  # single searches among the learning curves of a group, and of all
_FORMATS = {".csv": "CSV", ".pdf": "PDF", ".tex": "LaTeX", ".md": "Markdown", ".png": "PNG"}


@dataclass(frozen=True)
class Link:
    """A file to download: inside the page (`data:`), or beside it (its name)."""

    text: str
    name: str
    href: str

    @property
    def embedded(self) -> bool:
        """True where it works without the report's folder."""
        return self.href.startswith("data:")


@dataclass(frozen=True)
class Figure:
    """A figure of the page: choices of what an interactive one shows, or `image` (a `data:` URI).

    notes: what a plot leaves out and how to read it; an image has them in it.
    """

    title: str
    alt: str
    caption: str
    links: tuple[Link, ...]
    choices: tuple[Choice, ...] = ()
    notes: tuple[str, ...] = ()
    json: str = ""
    image: str = ""
    is_wide: bool = False


@dataclass(frozen=True)
class Section:
    """One group, or all of them together: interactive figures, then images of figures."""

    title: str
    plots: tuple[Figure, ...]
    stills: tuple[Figure, ...]


def write_page(report: Report) -> None:
    """Write `report.page` from what was written before it; the same report gives the same bytes."""
    report.page.write_text(page(report), encoding="utf-8")


def page(report: Report) -> str:
    """Renders the HTML.

    The template escapes all text from the store; scripts and styles are allowed by their hashes alone.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("reports.page")
    jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    groups = [of.group for of in report.analysis.groups]
    csv = [path for path in (*report.tables, *(figure.csv for figure in report.figures)) if path.suffix == ".csv"]
    embedded = _smallest(csv, CSV_BYTES)
    runs = min(MOST_RUNS, PAGE_RUNS // len(groups))
    quality, sections = _sections(groups, report, embedded, runs)
    names = [name for group in groups for name in group.searchers]
    searchers = in_order([*names, *(parts(name).base for name in names)])
    source = {name: loader.get_source(jinja, name)[0] for name in ("page.css", "page.js")}
    css = source["page.css"] + markers_css(searchers)
    plotly = _plotly() if any(section.plots for section in (*quality, *sections)) else ""
    searches = pd.concat([group.searches for group in groups])
    table = searches_table(groups)
    kinds = {features_kind(group.fid_features) for group in groups}
    kind = kinds.pop() if len(kinds) == 1 else ""
    return jinja.get_template("index.html").render(
        policy=_policy([source["page.js"], plotly], [css, ""]),
        css=css,
        js=source["page.js"],
        plotly=plotly,
        plotly_ids=_style_ids(plotly),
        markers=markers_svg(searchers),
        counts={status: int((searches["status"] == status).sum()) for status in ("done", "failed", "running")},
        datasets=sorted(set(searches["dataset"])),
        merged=report.merged,
        answers=[
            (of.headline, answer_table(of), against_grid(of), of.group.data, (*of.group.space, *of.group.rules))
            for of in report.analysis.groups
        ],
        quality=quality,
        summaries=[(of.group.title, measured(of.group), summary_table(of)) for of in report.analysis.groups],
        estimates=estimates_table(report.analysis.groups),
        truth=truth_table(report.analysis.truth),
        overall=report.analysis.overall,
        tables=[_link(path, embedded) for path in report.tables],
        sources=[Link("", name, _data_uri("text/plain", text.encode())) for name, text in report.sources.items()],
        searches=table,
        filters=filters(table, ("searcher", "status", "dataset")),
        sections=sections,
        missing=report.missing,
        failures=failures(groups),
        running=running_table(groups),
        protocol=protocol_table(groups),
        settings=settings_table(groups),
        methods=methods_table(groups),
        environment=environment_table(groups),
        definitions=definitions_table(kind),
        said=lambda text: of_data(text, kind),
        most_runs=runs,
    )


def _smallest(paths: Sequence[Path], budget: int) -> set[Path]:
    """Chooses as many of the files as fit into the budget (bytes), the smallest first."""
    found, total = set(), 0
    for size, path in sorted((path.stat().st_size, path) for path in paths):
        total += size
        if total <= budget:
            found.add(path)
    return found


def _sections(
    groups: Sequence[Group], report: Report, embedded: set[Path], runs: int
) -> tuple[list[Section], list[Section]]:
    """Makes a section for each group, then one for all groups, as far as there are figures.

    Quality against latent size comes in sections of its own, the first of the pair.
    """
    choices = [(written, written.choices(runs)) for written in report.figures]
    full = _smallest([written.png for written, choice in choices if not choice], IMAGE_BYTES)
    found: tuple[list[Section], list[Section]] = ([], [])
    for group in (*groups, None):
        for sections, is_quality in zip(found, (True, False), strict=True):
            shown = [pair for pair in choices if pair[0].group is group and (pair[0].name == QUALITY) == is_quality]
            figures = [_figure(*pair, embedded, full) for pair in shown]
            plots, stills = ([figure for figure in figures if bool(figure.choices) is kind] for kind in (True, False))
            stills.sort(key=lambda figure: figure.is_wide)
            if figures:
                sections.append(Section(group.title if group else "All groups", tuple(plots), tuple(stills)))
    return found


def _figure(written: Written, choices: tuple[Choice, ...], embedded: set[Path], full: set[Path]) -> Figure:
    where = written.group.title if written.group else "all groups"
    title = written.data.title.removesuffix(f": {where}")
    caption = of_data(written.kind.caption, written.group.fid_features) if written.group else written.kind.caption
    alt = f"{title}: {where}. {caption}"
    links = tuple(_link(path, embedded) for path in written.files)
    if choices:
        return Figure(title, alt, caption, links, choices, written.data.notes, json_text(choices))
    data = written.png.read_bytes()
    is_wide = int.from_bytes(data[16:20], "big") > 1000  # pixels, from the PNG's header
    image = _data_uri("image/png", data) if written.png in full else _data_uri("image/webp", _halved(data))
    return Figure(title, alt, caption, links, image=image, is_wide=is_wide)


def _halved(png: bytes) -> bytes:
    """The image at half its width and height, as WebP."""
    from PIL import Image

    halved = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").reduce(2).save(halved, "WEBP", quality=80)
    return halved.getvalue()


def _link(path: Path, embedded: set[Path]) -> Link:
    href = _data_uri("text/csv", path.read_bytes()) if path in embedded else path.name
    return Link(_FORMATS.get(path.suffix, path.suffix), path.name, href)


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@cache
def _plotly() -> str:
    """plotly.js, once for the whole page. A tag in it that would end its element cannot occur outside of a string."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", r"<\/script").replace("<!--", r"<\!--")


def _style_ids(plotly: str) -> list[str]:
    """Ids of style elements that plotly.js adds for its maps; where they exist it leaves them, as the policy wants."""
    return sorted(set(re.findall(r'getElementById\("([0-9a-f]{64})"\)', plotly)))


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Writes a content security policy: no request at all, and no script or style but these."""
    script, style = (" ".join(f"'sha256-{_digest(text)}'" for text in texts) for texts in (scripts, styles))
    sources = f"default-src 'none'; script-src {script}; style-src {style}; img-src data:"
    return f"{sources}; base-uri 'none'; form-action 'none'"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
