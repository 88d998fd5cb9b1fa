"""The page: its tables with known answers, what a browser may run of it, and what it embeds and links."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
from page_store import HOSTILE_DATA, HOSTILE_DATASET, HOSTILE_SEARCHER, IMAGE, SCRIPT, TEMPLATE, write_page_of
from PIL import Image
from report_frames import Frames, epochs, group, search, write_store

from benchmark.store import ResultsStore
from reports.analysis.analysis import analyse
from reports.data.groups import read_groups
from reports.data.quantities import SHOWN_COSTS, shown_metrics
from reports.drawing.base import Report
from reports.page.definitions import DEFINITIONS
from reports.page.page import page
from reports.page.tables import (
    environment_table,
    estimates_table,
    failures,
    filters,
    methods_table,
    number_cell,
    running_table,
    searches_table,
    settings_table,
)
from reports.write import write_report
from searchers import KINDS

# ---- tables


def test_all_searches_in_order_with_their_numbers() -> None:
    rows = [search("tpe", 1, "failed", error="ValueError: x\nline 2"), search("grid", 2), search("grid", 0)]
    table = searches_table([group(rows)])
    headings = [column.heading for column in table.columns]
    texts = [[cell.text for cell in row] for row in table.rows]
    assert [row[2:5] for row in texts] == [["Grid", "0", "done"], ["Grid", "2", "done"], ["TPE", "1", "failed"]]
    assert texts[2][-1] == "ValueError: x"
    nll = headings.index("reconstruction NLL (nats/image) ↓")
    assert table.columns[nll].is_number
    assert (table.rows[0][nll].value, texts[2][nll]) == (1.0, "–")
    assert math.isnan(table.rows[2][nll].value)
    assert [f.options for f in filters(table, ("searcher", "status"))] == [
        (("grid", "Grid"), ("tpe", "TPE")),
        (("done", "done"), ("failed", "failed")),
    ]


def test_columns_that_tell_groups_apart() -> None:
    rows = [search("grid", 0), search("grid", 0, dataset="mnist", protocol_hash="bb", test_fid_features="inception")]
    headings = [column.heading for column in searches_table(read_groups(Frames(rows), "results")).columns]
    assert {"protocol", "FID features"} <= set(headings)
    assert "FID, samples (given features) ↓" in headings
    alone = [column.heading for column in searches_table([group(rows[:1])]).columns]
    assert not {"protocol", "FID features"} & set(alone)
    assert "FID, samples (classifier features) ↓" in alone


@pytest.mark.parametrize(("value", "text"), [(8.0, "8"), (0.0, "0"), (960000.0, "960000"), (0.12345, "0.1235")])
def test_number_cells(value: float, text: str) -> None:
    assert number_cell(value).text == text


def test_running_searches_show_their_last_epoch() -> None:
    two, none = search("ald", 0, "running"), search("ald", 1, "running")
    logged = epochs(two, [9, 9], active_units=9) + epochs(two, [7], trial=1, active_units=5)
    texts = [[cell.text for cell in row] for row in running_table([group([two, none], logged)]).rows]
    assert [row[2:] for row in texts] == [["0", "2", "1 of 6", "7", "5"], ["1", "–", "none yet", "–", "–"]]


def test_estimates_side_by_side_with_their_seconds() -> None:
    rows = [search("twonn", seed, estimate=value, latent_dim=5) for seed, value in enumerate((4.9, 5.1))]
    costs = {"train_seconds": 2.0, "eval_seconds": 0.5}
    logged = [
        row
        for seed, of in enumerate(rows)
        for before in (0.3 + 0.2 * seed,)
        for row in [*epochs(of, [5], wall_seconds=2.5 + before, **costs), *epochs(of, [5], wall_seconds=99.0, **costs)]
    ]
    (of,) = analyse([group([*rows, search("grid")], logged)]).groups
    assert [[cell.text for cell in row] for row in estimates_table([of]).rows] == [
        ["digits, mlp", "TwoNN", "5.00 ± 0.14", "5", "0.40 ± 0.14"]
    ]


def test_failures_keep_the_whole_error() -> None:
    rows = [search("ald", 0, "failed", error="ValueError: a\nb\nc"), search("ald", 1, "failed")]
    assert failures([group(rows)]) == [
        ("digits, mlp: ALD, seed 0", "ValueError: a", "b\nc"),
        ("digits, mlp: ALD, seed 1", "no error recorded", ""),
    ]


def test_environment_and_settings_count_what_differs() -> None:
    rows = [search("ald", seed, env_torch="2.15.0" if seed else "2.14.0", setting_window="20") for seed in range(3)]
    found = [group(rows)]
    assert [[cell.text for cell in row] for row in environment_table(found).rows] == [
        ["device", "cpu"],
        ["torch", "2.14.0 (1 search), 2.15.0 (2 searches)"],
    ]
    assert settings_table(found).rows[0][2].text == "window = 20"


def test_methods_stand_with_their_kind_and_paper() -> None:
    """Each once, whatever its variants; a user's own has no line of ours."""
    found = group([search(name) for name in ("irmae", "pca", "ald", "ald@100", "grid", "my.own:Method")])
    rows = methods_table([found]).rows
    assert [row[0].text for row in rows] == ["Grid", "ALD", "PCA", "IRMAE"]
    assert [row[1].text for row in rows] == list(KINDS.values())
    assert "2312.06280" in rows[1][2].text


def test_every_quantity_is_defined() -> None:
    assert set(DEFINITIONS) == {quantity.column for quantity in (*shown_metrics("data"), *SHOWN_COSTS)}


# ---- the page


class Reader(HTMLParser):
    """Collects a page's elements, text outside of scripts and styles, and what is in those."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.text, self._inside = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        is_data = dict(attrs).get("type") == "application/json"
        self._inside = tag if tag in self.inline and not is_data else "data" if is_data else ""
        if self._inside in self.inline:
            self.inline[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag in self.inline else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside in self.inline:
            self.inline[self._inside][-1] += data
        elif not self._inside:
            self.text += data


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return write_page_of(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def reader(report: Report) -> Reader:
    return Reader(report.page.read_text(encoding="utf-8"))


def test_only_the_pages_own_scripts_and_styles_may_run(reader: Reader) -> None:
    (policy,) = [a["content"] for tag, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(maxsplit=1) for rule in str(policy).split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for kind in ("script", "style"):
        digests = [hashlib.sha256(text.encode()).digest() for text in reader.inline[kind]]
        hashes = {f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests}
        assert hashes == set(rules[f"{kind}-src"].split())
    assert not [a for _, a in reader.elements for name in a if name == "style" or name.startswith("on")]


def test_hostile_names_are_text(reader: Reader) -> None:
    tags = [tag for tag, _ in reader.elements]
    assert tags.count("script") == 2 + len([a for t, a in reader.elements if a.get("type") == "application/json"])
    assert all(str(a["src"]).startswith("data:image/") for tag, a in reader.elements if tag == "img")
    for text in (HOSTILE_SEARCHER.removeprefix("my."), HOSTILE_DATASET, f"ValueError: {TEMPLATE} {IMAGE}", SCRIPT):
        assert text in reader.text
    assert reader.text.count(f"Data: {HOSTILE_DATA}") == 1  # of its group
    assert "49" not in re.findall(r"ValueError: (\S+)", reader.text)


def test_nothing_is_loaded_from_elsewhere(reader: Reader, report: Report) -> None:
    files = {path.name for path in report.files}
    for _, attributes in reader.elements:
        for name in ("src", "href"):
            target = attributes.get(name) or ""
            assert not target or target.startswith(("#", "data:")) or target in files


def test_what_was_not_well_is_said(reader: Reader) -> None:
    text = " ".join(reader.text.split())
    for sentence in (
        "12 finished, 1 failed, 1 running searches",
        "ALD (1). Means are of the finished ones only",
        "TPE (1). The results may change",
        "GECO/L0-ARM has no value of reconstruction NLL in 1 of 1",
        "Shown to be worse: TPE. Not shown either way: GECO/L0-ARM.",
        "in line 2",
        "2 of 6",
    ):
        assert sentence in text


def test_the_known_answer_is_compared_with(reader: Reader, report: Report) -> None:
    table = pd.read_csv(next(path for path in report.tables if path.name == "truth.csv")).set_index("searcher")
    assert table.loc[["grid", "ald", "tpe"], "n_within"].tolist() == [3, 0, 2]
    assert table.loc["ald", "error_mean"] == pytest.approx(19 / 3)  # of 14, 12 and 17
    text = " ".join(reader.text.split())
    assert "Against the known answer" in text and "6–8 14 (12–17) 6.333 0 of 4 0 of 3 – 1 failed" in text


def test_plotly_accepts_every_plot(report: Report) -> None:
    drawn = [choice for written in report.figures for choice in written.choices(60)]
    assert len(drawn) > 10
    for choice in drawn:
        go.Figure(choice.data, choice.layout)  # raises where an attribute or a value is not plotly's


def test_figures_have_their_text_caption_and_files(reader: Reader, report: Report) -> None:
    images = [a for tag, a in reader.elements if tag == "img"]
    plots = [a for tag, a in reader.elements if a.get("class") == "plot"]
    assert len(images) + len(plots) == len(report.figures)
    assert len(plots) == 7  # five in the first group; the models of the other are not assessed
    assert all(len(str(a["alt"])) > 40 for a in images) and all(len(str(a["aria-label"])) > 40 for a in plots)
    links = {a["download"]: str(a["href"]) for tag, a in reader.elements if tag == "a" and "download" in a}
    assert set(links) == {path.name for path in report.files} - {"index.html"}
    for written in report.figures:
        assert links[written.pdf.name] == written.pdf.name
        content = links[written.csv.name].removeprefix("data:text/csv;base64,")
        assert base64.b64decode(content) == written.csv.read_bytes()
        assert " ".join(written.kind.caption.split()) in " ".join(reader.text.split())


def test_every_figure_says_what_it_is(report: Report) -> None:
    titles = {written.name: written.data.title.partition(":")[0] for written in report.figures}
    assert titles == {
        **{
            "quality": "Quality against latent size",
            "ranks": "Ranks",
            "cost": "Search cost",
            "latent_dim": "Chosen latent size",
        },
        **{"tradeoff": "Quality against cost", "anytime": "Model so far", "regret": "Regret"},
        **{"learning": "Learning curves", "trainings": "Trainings", "images": "Reconstructions and samples"},
    }


SHOWN = ("worse", "equivalent", "not-shown")  # TPE, ALD and GECO


def test_the_answer_comes_first_then_quality_then_tables_then_the_other_figures(reader: Reader, report: Report) -> None:
    parts = [str(a["id"]) for tag, a in reader.elements if tag == "h2"]
    first = ["answer", "quality", "comparison", "searches", "figures"]
    assert parts == [*first, "failures", "protocol", "definitions"]
    assert [str(a["href"]) for tag, a in reader.elements if tag == "a"][1 : 1 + len(parts)] == [f"#{p}" for p in parts]
    assert [a["class"] for tag, a in reader.elements if tag == "span" and a.get("class") in SHOWN] == [*SHOWN]
    labels = [str(a["aria-label"]) for _, a in reader.elements if a.get("class") == "plot"]
    assert labels[0].startswith("Quality against latent size: digits, mlp")
    assert not any(label.startswith("Quality against latent size") for label in labels[1:])


def test_what_earlier_versions_did_not_measure_is_said_once_a_group(tmp_path: Path) -> None:
    new = ("test_elbo", "test_iwae", "test_kid_gen", "test_silhouette_excess")
    rows = [
        {k: v for k, v in search(name, seed).items() if k not in new} for name in ("grid", "ald") for seed in (0, 1)
    ]
    written = write_report(read_groups(Frames(rows), "results"), tmp_path)
    text = " ".join(Reader(written.page.read_text(encoding="utf-8")).text.split())
    absent = "No search has: ELBO; IWAE bound; KID, samples; silhouette less that of noise"
    assert text.count(f"{absent}; quality against size.") == 1
    assert "has no value of ELBO" not in text
    assert "No search here has its trainings scored on the test split" in text
    assert "quality-digits-mlp: no search has its data yet" in written.missing


def test_same_report_gives_the_same_page(report: Report) -> None:
    assert page(report) == report.page.read_text(encoding="utf-8")


def test_too_much_to_embed_is_linked_or_halved(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.page.page.CSV_BYTES", report.tables[0].stat().st_size)
    monkeypatch.setattr("reports.page.page.IMAGE_BYTES", 0)
    small = page(report)
    links = {a["download"]: str(a["href"]) for tag, a in Reader(small).elements if tag == "a" and "download" in a}
    largest = max((written.csv for written in report.figures), key=lambda path: path.stat().st_size)
    assert links[largest.name] == largest.name
    assert any(href.startswith("data:text/csv") for href in links.values())
    sources = [str(a["src"]) for tag, a in Reader(small).elements if tag == "img"]
    images = [base64.b64decode(source.removeprefix("data:image/webp;base64,")) for source in sources]
    full = [size_of(written.png.read_bytes()) for written in report.figures if not written.choices(60)]
    assert sorted(map(size_of, images)) == sorted(((width + 1) // 2, (height + 1) // 2) for width, height in full)


def size_of(image: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(image)) as opened:
        return opened.size


def test_a_store_without_results_has_a_page_without_plots(tmp_path: Path) -> None:
    write_store(tmp_path / "results", [search("ald", 0, "failed", error="ValueError: x")], [])
    store = ResultsStore(tmp_path / "results")
    written = write_report(read_groups(store, "results"), tmp_path / "report")
    text = written.page.read_text(encoding="utf-8")
    assert "No search has finished yet" in text and "ValueError: x" in text
    assert len(text) < 1_000_000  # plotly.js alone is 5 MB


def test_the_page_carries_the_protocols_and_the_packages(tmp_path: Path) -> None:
    write_store(tmp_path, [search("ald", 0, "failed", error="x"), search("ald", dataset="mnist")], [])
    (tmp_path / "protocols").mkdir()
    kept = {"protocols/protocol-3fa2c19b77.toml": "[space]\nlow = 2\n# </script>", "packages.txt": "torch==2.12\n"}
    for name, text in {**kept, "protocols/protocol-other.toml": "not of these groups"}.items():
        (tmp_path / name).write_text(text)
    store = ResultsStore(tmp_path)
    html = write_report(read_groups(store, "results"), tmp_path / "report", store).page.read_text()
    links = re.findall(r'href="data:text/plain;base64,([^"]*)" download="([^"]*)"', html)
    found = {name: base64.b64decode(content).decode() for content, name in links}
    assert found == {Path(name).name: text for name, text in kept.items()}
