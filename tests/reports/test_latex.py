"""LaTeX tables: known cells, text that nothing in it can break, and a document of two pages that pdflatex compiles."""

from __future__ import annotations

import math
import re
import shutil
import string
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_frames import Frames, Row, group, search, write_store

from benchmark.store import ResultsStore
from reports.analysis.analysis import analyse
from reports.data.groups import read_groups
from reports.papers import write as papers_render
from reports.papers.base import PaperItem, StoreFrames
from reports.tables.latex.comparison import comparison_latex, write_latex
from reports.tables.latex.frame import frame_latex
from reports.tables.latex.text import escape, number, shortened

HOSTILE = r"own.py:A\B{c}$d&e#f%g_h^i~j<k>l|m" + '"`n–±→≥×↓↑é中😀'
NEEDS_PDFLATEX = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")

# ---- text and numbers


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (r"\{}", r"\textbackslash{}\{\}"),
        ("$&#%_^~", r"$\$$\&\#\%\_\textasciicircum{}\textasciitilde{}"),
        ('<a>|b"`', r"\textless{}a\textgreater{}\textbar{}b''\`{}"),
        ("[x]*", "{[}x{]}{*}"),
        ("1–2 ± 3 → 4 ≥ 5 × 6 ↓↑", r"1--2 $\pm$ 3 $\rightarrow$ 4 $\geq$ 5 $\times$ 6 $\downarrow$$\uparrow$"),
        ("a--b ''c'' ,,", "a-{}-b '{}'c'{}' ,{},"),
        ("päth Ångström e\u0301 ế", r"p\"{a}th \r{A}ngstr\"{o}m \'{e} \'{\^{e}}"),
        ("ﬁve ½", "five 1/2"),
        ("中😀\x00", r"\texttt{U+4E2D}\texttt{U+1F600}\texttt{U+0000}"),
        (" two\n lines\t", "two lines"),
        ("λ σ² μ", r"$\lambda$ $\sigma$${}^2$ $\mu$"),
    ],
)
def test_escape(text: str, source: str) -> None:
    assert escape(text) == source


@settings(derandomize=True)
@given(st.text())
def test_escaped_text_is_ascii_with_nothing_left_to_interpret(text: str) -> None:
    source = escape(text)
    assert set(source) <= set(string.ascii_letters + string.digits + string.punctuation + " ")
    bare = re.sub(r"\$(\\\$|[^$])*\$", "", source)  # mathematics, a dollar sign too
    bare = re.sub(r"\\([a-zA-Z]+|.)", "", bare)
    assert not set(bare) & set("\\$&#%_^~<>|")
    assert bare.count("{") == bare.count("}")


def test_shortened_keeps_both_ends() -> None:
    assert shortened("a" * 40, 40) == "a" * 40
    assert shortened("start" + "x" * 60 + "end", 11) == "start…xxend"


@pytest.mark.parametrize(
    ("text", "bold", "source"),
    [
        ("123.4 ± 0.5", False, r"$123.4 \pm 0.5$"),
        ("123.4 ± 0.5", True, r"$\mathbf{123.4} \pm 0.5$"),
        ("3.210 ± 0.010 T", True, r"$\mathbf{3.210} \pm 0.010$ T"),
        ("(1.00 ± 0.30)e-5", False, r"$(1.00 \pm 0.30) \times 10^{-5}$"),
        ("1.234e-5", False, r"$1.234 \times 10^{-5}$"),
        ("-5.000", False, "$-5.000$"),
        ("0.18x", False, r"$0.18\times$"),
        ("1e-05x", False, r"$1 \times 10^{-5}\times$"),
        ("–", True, "--"),
    ],
)
def test_number(text: str, bold: bool, source: str) -> None:
    assert number(text, bold) == source


# ---- the comparison of a group


def _source(searches: list[Row]) -> str:
    return comparison_latex(analyse([group(searches)]).groups[0])


def _lines(source: str) -> list[list[str]]:
    """The cells of every line of both tables."""
    end = r" \tabularnewline"
    return [line.removesuffix(end).split(" & ") for line in source.splitlines() if line.endswith(end)]


def _tables(source: str) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """Both tables: cells by searcher and heading."""
    tables = []
    for table in re.findall(r"\\toprule(.*?)\\bottomrule", source, flags=re.DOTALL):
        head, body = table.split(r"\midrule")
        headings = [" ".join(filter(None, lines)) for lines in zip(*_lines(head), strict=True)]
        tables.append({row[0]: dict(zip(headings, row, strict=True)) for row in _lines(body) if row[0]})
    costs, quality = tables
    return costs, quality


def test_costs_have_readable_units_and_multiples_of_the_grid() -> None:
    searches = [search("grid", s, wall_seconds=w, train_flops=4e12) for s, w in enumerate([7200.0, 14400.0])]
    searches += [search("ald", s, wall_seconds=1800.0, train_flops=1e12, latent_dim=n) for s, n in [(0, 9), (1, 14)]]
    source = _source(searches)
    costs, _ = _tables(source)
    assert costs["Grid"]["wall-clock (h)"] == r"$3.0 \pm 1.4$"
    assert costs["ALD"]["wall-clock (h)"] == r"$\mathbf{0.500}$"
    assert costs["ALD"]["training FLOPs (TFLOP)"] == r"$\mathbf{1.00}$"
    assert costs["ALD"]["latent size: median (min--max)"] == "11.5 (9--14)"
    assert costs["ALD"]["seeds"] == "2"
    below = [cells for cells in _lines(source) if cells[0] == "" and r"\times" in cells[4]]
    assert [cells[4] for cells in below] == [r"$1.00\times$", r"$0.17\times$"]
    assert "multiple of the grid search's mean" in source


def test_without_a_grid_search_there_are_no_multiples() -> None:
    source = _source([search("ald"), search("tpe")])
    assert r"\times" not in source and "multiple of" not in source
    assert len(_tables(source)[0]) == 2


def test_the_best_is_bold_in_its_metrics_direction() -> None:
    values = {"grid": (20.0, 0.3), "ald": (19.0, 0.1), "tpe": (21.0, 0.2)}
    rows = [search(name, test_recon_nll=nll, test_silhouette_excess=s) for name, (nll, s) in values.items()]
    _, quality = _tables(_source(rows))
    nll, silhouette = r"reconstruction NLL (nats/image) $\downarrow$", r"silhouette less that of noise $\uparrow$"
    assert [quality[name][nll] for name in ("Grid", "TPE", "ALD")] == ["$20.00$", "$21.00$", r"$\mathbf{19.00}$"]
    assert [quality[name][silhouette] for name in ("Grid", "TPE", "ALD")] == [
        r"$\mathbf{0.3000}$",
        "$0.2000$",
        "$0.1000$",
    ]
    assert r"FID, reconstructions (classifier features) $\downarrow$" in quality["Grid"]


def test_times_that_do_not_compare_have_no_best() -> None:
    rows = [search(name, seed, wall_seconds=10.0 + 5 * n) for n, name in enumerate(("grid", "ald")) for seed in (0, 1)]
    work = {"trial": 0, "start_latent_dim": 8, "latent_dim": 8, "n_epochs": 6, "train_flops": 6e10}
    for slow, bold in ((11.0, True), (44.0, False)):
        trials = [
            {**row, **work, "train_seconds": seconds} for row, seconds in zip(rows, (10, 10, 10, slow), strict=True)
        ]
        (found,) = analyse(read_groups(Frames(rows, trials=trials), "results")).groups
        assert (r"\mathbf{10.0}" in comparison_latex(found)) == bold


def test_ties_in_print_are_all_bold_and_missing_values_never() -> None:
    rows = [search("grid", test_fid_gen=10.001, test_kl=math.nan), search("tpe", test_fid_gen=10.004, test_kl=3.0)]
    rows += [search("ald", test_fid_gen=math.nan, test_kl=math.nan), search("sparsity", test_fid_gen=10.01)]
    rows[-1]["test_kl"] = math.nan
    _, quality = _tables(_source(rows))
    fid = r"FID, samples (classifier features) $\downarrow$"
    assert [quality[name][fid] for name in ("Grid", "TPE", "ALD", "Sparsity")] == [
        r"$\mathbf{10.00}$",
        r"$\mathbf{10.00}$",
        "--",
        "$10.01$",
    ]
    # A single value is no best one.
    assert quality["TPE"][r"KL (nats/image) $\downarrow$"] == "$3.000$"


def test_caption_says_what_was_run_and_what_failed() -> None:
    rows = [search("grid", s) for s in range(3)] + [search("ald", 0), search("ald", 1, "failed", error="x")]
    source = _source([*rows, search("my_own:Thing", 0, "running")])
    (caption,) = re.findall(r"\\caption\{(.*)\}", source)
    assert "Dataset digits, backbone mlp, protocol digits (hash 3fa2c19b77), epochs per training: 6" in caption
    assert "FID on classifier features" in caption
    assert "finished seeds (0 to 3 a searcher)" in caption
    assert "Failed, not in the means: ALD (1)." in caption
    assert r"Still running, not in the means: my\_own:Thing (1)." in caption
    assert r"\label{tab:comparison-digits-mlp}" in source
    assert "Fewer than 6 finished seeds: Grid (3), ALD (1), my" in source
    costs, quality = _tables(source)
    assert set(costs) == set(quality) == {"Grid", "ALD", r"my\_own:Thing"}
    assert set(list(quality[r"my\_own:Thing"].values())[2:]) == {"--"}


def test_write_latex_names_files_by_group(tmp_path: Path) -> None:
    groups = read_groups(Frames([search("grid"), search("ald", dataset="folder:/a/päth")]), "results")
    paths = write_latex(analyse(groups), tmp_path)
    assert [path.name for path in paths] == ["comparison-digits-mlp.tex", "comparison-folder-a-p-th-mlp.tex"]
    sources = [path.read_text(encoding="ascii") for path in paths]
    assert "Grid & 1" in sources[0] and "Grid" not in sources[1]
    assert r"folder p\"{a}th" in sources[1]


# ---- tables of papers

PAPER_TABLE = pd.DataFrame(
    {
        "data & model": ["MNIST", None, HOSTILE],
        "recon_nll [nats/image]": [102.345, math.nan, 1.2e12],
        "epochs": [100, math.nan, 7],
        "var ≥ 0.01": [0.00001234, math.inf, -math.inf],
        "stopped": [True, False, True],
    }
)


def test_frame_latex() -> None:
    source = frame_latex(PAPER_TABLE, "50 % of A_b", "tab:a b_1")
    assert source.startswith("% needs") and r"\begin{table*}" in source
    assert r"\caption{50 \% of A\_b}" in source and r"\label{tab:a-b_1}" in source
    lines = _lines(source)
    headings = [" ".join(filter(None, parts)) for parts in zip(*lines[:-3], strict=True)]
    assert headings == [r"data \& model", r"recon\_nll {[}nats/image{]}", "epochs", r"var $\geq$ 0.01", "stopped"]
    assert lines[-3][1:] == ["$102.3$", "$100$", r"$1.234 \times 10^{-5}$", "yes"]
    assert [cell.removeprefix(r"\raggedright ") for cell in lines[-2]] == ["--", "--", "--", r"$\infty$", "no"]
    assert lines[-1][1:] == ["$1.200$ T", "$7$", r"$-$$\infty$", "yes"]
    assert r"\begin{table}" in frame_latex(PAPER_TABLE[["epochs", "stopped"]], "narrow", "n")
    unknown = pd.DataFrame({"paper's sd": [math.nan], "note": [None], "long": ["words " * 20]})
    assert r"{@{}rlp{0.4\linewidth}@{}}" in frame_latex(unknown, "nothing is there", "n")
    assert r"\bottomrule" in frame_latex(PAPER_TABLE.iloc[:0], "no rows", "n")


@dataclass(frozen=True)
class _Table:
    def frame(self) -> pd.DataFrame:
        return PAPER_TABLE


def test_papers_tables_are_written_as_csv_and_latex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_store(tmp_path / "results", [search("grid")], [])
    item = PaperItem("ALD-VAE (2312.06280), table I", "what & why", (), lambda runs: _Table())
    monkeypatch.setattr(papers_render, "PAPER_ITEMS", {"ald-table-1": item})
    report = papers_render.write_papers(["ald-table-1"], StoreFrames(ResultsStore(tmp_path / "results")), tmp_path)
    assert [path.name for path in report.written["ald-table-1"]] == ["ald-table-1.csv", "ald-table-1.tex"]
    source = (tmp_path / "ald-table-1.tex").read_text(encoding="ascii")
    assert r"\caption{ALD-VAE (2312.06280), table I: what \& why}" in source
    assert r"\label{tab:ald-table-1}" in source
    assert len(pd.read_csv(tmp_path / "ald-table-1.csv")) == 3


# ---- a document


def _compiled(body: str, folder: Path) -> str:
    """The log of the document's second run; fails where pdflatex does."""
    packages = r"\usepackage[utf8]{inputenc}\usepackage{booktabs,graphicx}\usepackage[margin=2cm]{geometry}"
    document = rf"\documentclass[twocolumn]{{article}}{packages}\begin{{document}}{body}\end{{document}}"
    (folder / "paper.tex").write_text(document, encoding="utf-8")
    for _ in range(2):  # the second run knows the labels
        command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
        assert done.returncode == 0, done.stdout[-2000:]
    return (folder / "paper.log").read_text(encoding="utf-8", errors="replace")


@NEEDS_PDFLATEX
def test_a_paper_of_two_pages_compiles(tmp_path: Path) -> None:
    names = ["grid", "ald@100", "geco-l0arm", "sparsity", HOSTILE, "own:" + "Long" * 30]
    costs = {"wall_seconds": 81234.5, "train_seconds": 1e7, "eval_seconds": 123.4, "images_seen": 96000000}
    searches = [search(name, s, train_flops=1.2e15 + s, latent_dim=9 + s, **costs) for name in names for s in range(3)]
    searches += [search("ald@100", 3, "failed", error="x"), search(HOSTILE, 3, "running")]
    other = [search(name, dataset="folder:/some/" + "very_long_name" * 9, test_kl=-1e-9) for name in names[1:3]]
    groups = read_groups(Frames([*searches, *other]), "results")
    sources = [path.read_text() for path in write_latex(analyse(groups), tmp_path)]
    text = "Tables " + " and ".join(rf"\ref{{{label}}}" for label in re.findall(r"\\label\{(.*?)\}", "".join(sources)))
    paper = frame_latex(PAPER_TABLE, f"A paper's table: {HOSTILE}", "tab:paper")
    narrow = frame_latex(PAPER_TABLE[["epochs", "stopped"]], "A table in a column", "tab:narrow")
    log = _compiled(text + ". " + narrow + "".join(sources) + paper + "Words and more words. " * 200, tmp_path)
    assert re.search(r"Output written on paper.pdf \(2 pages", log)
    overfull = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", log)]
    assert max(overfull, default=0.0) <= 5.0
    assert "undefined" not in log and "multiply defined" not in log


@NEEDS_PDFLATEX
def test_every_character_compiles(tmp_path: Path) -> None:
    blocks = [
        range(0x20, 0x250),
        range(0x370, 0x400),
        range(0x1E00, 0x1F00),
        range(0x2000, 0x2300),
        range(0xFB00, 0xFB07),
    ]
    text = " ".join(chr(code) for block in blocks for code in block)
    log = _compiled(escape(text), tmp_path)
    assert "Missing character" not in log
