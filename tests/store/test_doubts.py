"""What speaks against a finished search's answer: rules, words, and one real run for each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import benchmark
from PIL import Image
from report_frames import Frames, Row, group, search
from rich.console import Console

from benchmark.datasets import load_dataset
from benchmark.metrics.baselines import load_baselines
from benchmark.store import ResultsStore
from benchmark.store.doubts import doubts, flags, search_flags, sentences
from benchmark.terminal.summary import print_summary
from reports.analysis.analysis import analyse
from reports.analysis.comparison import comparison
from reports.data.groups import read_groups
from reports.drawing.base import Report
from reports.page.tables import searches_table, summary_table
from reports.tables.latex.comparison import comparison_latex
from reports.tables.markdown import comparison_page
from reports.terminal import print_summary as print_report

NOISE = """
[dataset]
name = "folder:noise"
size = 8
[backbone]
name = "mlp"
hidden = [16]
[training]
epochs = 12
batch_size = 8
learning_rate = 0.03
[evaluation]
features = "classifier"
[space]
high = 16
sizes = [2, 16]
"""
HOT = """
[dataset]
name = "digits"
[backbone]
name = "mlp"
hidden = [64]
[training]
epochs = 3
learning_rate = 0.9
[evaluation]
features = "classifier"
[space]
high = 16
sizes = [2, 16]
"""
SHORT = """
[dataset]
name = "manifold"
latent_dim = 3
[backbone]
name = "mlp"
hidden = [128]
[training]
epochs = 12
[space]
high = 16
sizes = [16]
"""
LEARNED = """
[dataset]
name = "manifold"
latent_dim = 3
[backbone]
name = "mlp"
hidden = [128]
[training]
epochs = 10
schedule = "cosine"
learning_rate = 3e-3
[evaluation]
features = "classifier"
[space]
sizes = [3]
"""
UNLEARNED = LEARNED.replace("epochs = 10", "epochs = 4").replace("cosine", "constant").replace("3e-3", "1e-4")
FEW = {"fid_images": 144, "test_fid_images": 360, "n_fid_features": 64}


def _done(size: int, active: float | None, **values: Any) -> Row:
    return {"status": "done", "searcher": "grid", "seed": 0, "latent_dim": size, "test_active_units": active, **values}


def _name(row: Any) -> str:
    return f"{row['searcher']} seed {row['seed']}"


@pytest.mark.parametrize(
    ("size", "active", "collapsed", "said"),
    [
        (16, 0, True, "collapsed: no latent is in use"),
        (16, 1, True, "collapsed: 1 of 16 latents is in use"),
        (30, 3, True, "collapsed: 3 of 30 latents are in use"),
        (29, 3, False, "unused latents: 26 of 29"),
        (10, 8, False, "unused latents: 2 of 10"),
        (10, 9, False, ""),  # fewer by a tenth, not by more
        (70, 63, False, ""),
        (5, 4, False, "unused latents: 1 of 5"),
        (4, 1, False, "unused latents: 3 of 4"),
        (2, 2, False, ""),
        (16, None, None, ""),
        (16, math.nan, None, ""),
    ],
)
def test_collapse(size: int, active: float | None, collapsed: bool | None, said: str) -> None:
    row = _done(size, active)
    assert flags(row)["collapsed"] is collapsed
    assert doubts(row) == ([said] if said else [])
    training = {"status": "done", "latent_dim": size, "active_units": active}
    assert flags(training)["collapsed"] is collapsed
    has_unused = None if collapsed is None else bool(said)
    assert flags(row)["unused_latents"] is flags(training)["unused_latents"] is has_unused
    assert flags({**row, "status": "failed"})["collapsed"] is None and doubts({**row, "status": "failed"}) == []


@pytest.mark.parametrize(
    ("settled", "said"),
    [(True, []), (None, []), (math.nan, []), (False, ["budget too short: size 4 was not yet stable"]), (1.0, [])],
)
def test_an_unstable_size(settled: float | None, said: list[str]) -> None:
    assert doubts(_done(4, 4, settled=settled)) == said


@pytest.mark.parametrize(
    ("size", "known", "said"),
    [
        (8, {"rule": "smallest-good"}, ["space too small: size 8 is the largest of the space"]),
        (8, {"settled": True}, ["space too small: size 8 is the largest of the space"]),
        (8, {"settled": False}, ["budget too short: size 8 was not yet stable"]),
        (8, {"estimate": 8.2}, ["space too small: size 8 is the largest of the space"]),
        (8, {"estimate": 7.9}, []),
        (8, {}, []),  # an experiment that chooses no size
        (8, {"rule": math.nan, "settled": math.nan}, []),  # as a frame with others has it
        (6, {"rule": "smallest-good"}, []),
        (16, {"rule": "smallest-good"}, []),  # grown beyond it
    ],
)
def test_the_largest_size_of_the_space(size: int, known: dict[str, Any], said: list[str]) -> None:
    assert doubts(_done(size, size, space_high=8, **known)) == said
    assert not any("largest" in line for line in doubts(_done(size, 0, space_high=8, **known)))
    assert not any("largest" in line for line in doubts(_done(size, size, space_high=None, **known)))


@pytest.mark.parametrize(
    ("gain", "error", "learning", "said"),
    [
        (0.034, None, True, "still learning: the ELBO rose by 3.4 % of what latents are worth in the last tenth"),
        (2.5, 1.0, True, "still learning: the ELBO rose by more than latents are worth so far in the last tenth"),
        (0.034, 0.016, True, "still learning: the ELBO rose by 3.4 % of what latents are worth in the last tenth"),
        (0.034, 0.018, False, ""),
        (0.01, 0.0, False, ""),
        (-0.5, None, False, ""),
        (None, None, None, ""),
        (math.nan, math.nan, None, ""),
    ],
)
def test_still_learning(gain: float | None, error: float | None, learning: bool | None, said: str) -> None:
    row = _done(4, 4, late_gain=gain, late_gain_error=error)
    assert search_flags(row)["still_learning"] is learning
    assert doubts(row) == ([said] if said else [])
    assert search_flags({**row, "status": "failed"})["still_learning"] is None


@pytest.mark.parametrize(
    ("size", "sse", "of_pca", "worse", "said"),
    [
        (32, 96.7, 47.9, True, "worse than PCA: squared error 96.7 against 47.9 of 32 principal components"),
        (300, 10.0, 9.9, True, "worse than PCA: squared error 10.0 against 9.9 of 256 principal components"),
        (32, 47.9, 47.9, False, ""),
        (32, 30.0, 47.9, False, ""),
        (32, None, 47.9, None, ""),
        (32, 96.7, None, None, ""),
        (32, math.nan, 47.9, None, ""),
    ],
)
def test_worse_than_pca(size: int, sse: float | None, of_pca: float | None, worse: bool | None, said: str) -> None:
    row = _done(size, size, test_recon_sse=sse, pca_sse=of_pca)
    assert search_flags(row)["worse_than_pca"] is worse
    assert doubts(row) == ([said] if said else [])
    assert search_flags({**row, "status": "failed"})["worse_than_pca"] is None


@pytest.mark.parametrize(
    ("elbo", "without", "worthless", "said"),
    [
        (-178.2, 177.5, True, "worth nothing: -ELBO 178.20 nats against 177.50 of a model without latents"),
        (-177.4, 177.5, True, "worth nothing: -ELBO 177.40 nats against 177.50 of a model without latents"),
        (-177.3, 177.5, False, ""),
        (-150.0, None, None, ""),
        (math.nan, 177.5, None, ""),
    ],
)
def test_latents_that_are_worth_nothing(elbo: float, without: float | None, worthless: bool | None, said: str) -> None:
    row = _done(4, 4, test_elbo=elbo, no_latents_nll=without)
    assert search_flags(row)["worthless"] is worthless
    assert doubts(row) == ([said] if said else [])
    none_in_use = {**row, "test_active_units": 0.0}
    assert doubts(none_in_use) == ["collapsed: no latent is in use"]  # which says it


@pytest.mark.parametrize(
    ("n", "sizes", "said"),
    [(1, "16", ["diverged trainings: size 16"]), (2, "2, 16", ["diverged trainings: sizes 2, 16"]), (0, "", [])],
)
def test_diverged_trainings(n: int, sizes: str, said: list[str]) -> None:
    assert doubts(_done(4, 4, n_diverged=n, diverged_sizes=sizes)) == said


@pytest.mark.parametrize(
    ("test", "validation", "features", "few"),
    [
        (640, 640, 64, False),
        (639, 640, 64, True),
        (640, 639, 64, True),
        (20_479, 30_000, 2048, True),
        (20_480, 30_000, 2048, False),
        (99, 100, 2, True),
        (100, 100, 2, False),
        (640, None, 64, False),
        (None, None, 64, None),
        (10, 10, None, None),
    ],
)
def test_few_images_for_a_fid(test: int | None, validation: int | None, features: int | None, few: bool | None) -> None:
    row = _done(4, 4, test_fid_images=test, fid_images=validation, n_fid_features=features)
    assert flags(row)["few_fid_images"] is few
    assert len(sentences([row, row], _name)) == (few is True)


def test_sentences_name_the_searches_and_what_to_do() -> None:
    rows = [_done(16, 1, seed=seed, settled=seed > 0, n_diverged=0, **FEW) for seed in range(12)]
    collapsed, short, few = sentences([*rows, {"status": "failed", "latent_dim": 4}], _name)
    assert collapsed.startswith("Collapsed: grid seed 0 (1 of 16 latents is in use), grid seed 1 (1 of 16")
    assert "grid seed 9 (1 of 16 latents is in use), and 2 more. Latents out of use" in collapsed
    assert short == "Budget too short: grid seed 0 (size 16 was not yet stable). More epochs may give another size."
    assert few.startswith("FIDs come from few images: 360 test images and 144 validation images for 64 features, which")
    assert "at least 640" in few


def _doubtful() -> list[Row]:
    rows = [search("grid", seed, test_active_units=8, settled=None, n_diverged=1, **FEW) for seed in range(3)]
    rows = [{**row, "diverged_sizes": "64"} for row in rows]
    return [*rows, search("sparsity", 0, test_active_units=3, settled=False, n_diverged=0, diverged_sizes="", **FEW)]


SAID = (
    "Unused latents: Sparsity seed 0 (5 of 8).",
    "Budget too short: Sparsity seed 0 (size 8 was not yet stable).",
    "Diverged trainings: Grid seed 0 (size 64), Grid seed 1 (size 64), Grid seed 2 (size 64).",
    "FIDs come from few images: 360 test images and 144 validation images for 64 features",
)


def test_every_table_and_the_page_say_it() -> None:
    found = group(_doubtful())
    analysis = analyse([found])
    (of,), frame = analysis.groups, analysis.comparison
    told = of.headline
    assert told.lead.endswith(
        "Careful: models have unused latents (Sparsity 1 of 1), had no stable size yet (Sparsity 1 of 1); the "
        "notes below name them."
    )
    sentence = dict(told.searchers)["sparsity"]
    assert sentence.startswith("Sparsity found 8 latents (one seed), 3 in use, at 1.00x")
    texts = (" ".join(told.notes), comparison_page(analysis), comparison_latex(of).replace("\n", " "))
    for text in texts:
        plain = text.replace("\\", "")
        assert [said for said in SAID if said not in plain] == []
    counts = frame.set_index("searcher")[["n_unused_latents", "n_unsettled", "n_diverged", "n_few_fid_images"]]
    assert counts.loc["sparsity"].tolist() == [1, 1, 0, 1]
    assert counts.loc["grid"].fillna(-1).tolist() == [0, -1, 3, 3]  # a grid does not know whether it is settled
    assert frame["active_units_median"].tolist() == [8, 3]


def test_the_headline_and_the_table_say_that_a_training_has_not_learned() -> None:
    rows = [search("grid", seed, late_gain=0.1 * seed, pca_sse=0.5, test_recon_sse=1.0) for seed in range(3)]
    found = group([*rows, search("sparsity", 0, late_gain=0.0, pca_sse=2.0, test_recon_sse=1.0)])
    analysis = analyse([found])
    (of,), frame = analysis.groups, analysis.comparison
    told = of.headline
    expected = "Careful: models were still learning (Grid 2 of 3), are worse than PCA (Grid 3 of 3); the notes below"
    assert expected in told.lead
    assert any(note.startswith("Still learning: Grid seed 1 (the ELBO rose by 10.0 % of") for note in told.notes)
    assert any(note.startswith("Worse than PCA: Grid seed 0 (squared error 1.0 against 0.5") for note in told.notes)
    assert frame.set_index("searcher")[["n_still_learning", "n_worse_than_pca"]].to_numpy().tolist() == [[2, 3], [0, 0]]


def test_active_units_stand_beside_the_size() -> None:
    found = group(_doubtful())
    analysis = analyse([found])
    for table, expected in ((searches_table([found]), "3"), (summary_table(analysis.groups[0]), "3")):
        headings = [column.heading for column in table.columns]
        place = headings.index("latents in use")
        assert headings[place - 1].startswith("latent size")
        assert table.rows[-1][place].text == expected
    places = {column.heading: place for place, column in enumerate(searches_table([found]).columns)}
    assert [row[places["doubts"]].text for row in searches_table([found]).rows][2:] == [
        "diverged trainings: size 64",
        "unused latents: 5 of 8; budget too short: size 8 was not yet stable",
    ]
    assert "| latents in use |" in comparison_page(analysis)
    source = comparison_latex(analysis.groups[0])
    assert "latents" in source and "in use" in source


@pytest.mark.parametrize("columns", [80, 160])
def test_the_terminal_says_it(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_summary(pd.DataFrame(_doubtful()))
    text = capsys.readouterr().out
    assert "latents   in use   wall" in text
    assert [said.lower() for said in SAID if said.lower() not in text.lower()] == []
    found = read_groups(Frames(_doubtful()), "results")
    report = Report(analyse(found), (), (), (), Path("index.html"))
    print_report(report, Path("report"), console := Console(width=columns, record=True))
    shown = console.export_text()
    assert "in use" in shown and [said for said in SAID if said not in shown] == []


def test_results_from_before_the_columns_say_nothing() -> None:
    found = group([search("grid"), search("sparsity")])
    for name in ("n_collapsed", "n_unused_latents", "n_still_learning", "n_worse_than_pca"):
        assert comparison([found])[name].isna().all()
    beginnings = ("Collapsed", "Unused", "Budget", "Still", "Worse", "Diverged", "FIDs")
    assert not any(note.startswith(beginnings) for note in headline_notes(found))


def headline_notes(found: Any) -> tuple[str, ...]:
    return analyse([found]).groups[0].headline.notes


# --- as a user meets them


def _run(protocol: str, tmp_path: Path, cache: Path, *arguments: str) -> tuple[str, ResultsStore]:
    (tmp_path / "own.toml").write_text(protocol)
    command = ("run", "--protocol", "own.toml", "--seeds", "0", "--results", "results", *arguments)
    done = benchmark(*command, cwd=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    return done.stdout, ResultsStore(tmp_path / "results")


def _write_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "noise").mkdir()
    for n in range(64):
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / "noise" / f"{n}.png")


def test_pure_noise_collapses_and_says_so(tmp_path: Path) -> None:
    _write_noise(tmp_path)
    shown, store = _run(NOISE, tmp_path, tmp_path / "cache", "--searchers", "sparsity")
    (row,) = store.searches().to_dict("records")
    assert store.epochs()["latent_dim"].iloc[0] == 16 and store.epochs()["ctl_active"].iloc[-2] < 2
    assert row["latent_dim"] == 2 and row["status"] == "done"
    assert row["test_active_units"] == 0 and row["collapsed"] is True
    assert "sparsity seed 0: 2 latents, 0 in use (" in shown
    assert "); collapsed: no latent is in use" in shown
    assert "Collapsed: sparsity seed 0 (no latent is in use)." in shown
    assert (row["fid_images"], row["test_fid_images"], row["n_fid_features"], row["few_fid_images"]) == (6, 6, 64, True)
    (trial,) = store.trials().to_dict("records")
    assert (trial["collapsed"], trial["fid_images"], trial["few_fid_images"]) == (True, 6, True)


def test_nested_says_so_of_pure_noise_too(tmp_path: Path) -> None:
    _write_noise(tmp_path)
    shown, store = _run(NOISE, tmp_path, tmp_path / "cache", "--searchers", "nested")
    (row,) = store.searches().to_dict("records")
    assert row["latent_dim"] == 2 and row["test_active_units"] == 0 and row["collapsed"] is True
    assert "Collapsed: nested seed 0 (no latent is in use)." in shown


def test_a_training_that_diverged_inside_a_finished_search_is_named(tmp_path: Path) -> None:
    shown, store = _run(HOT, tmp_path, tmp_path / "cache", "--searchers", "grid")
    (row,) = store.searches().to_dict("records")
    assert store.trials()["status"].tolist() == ["done", "failed"]
    assert (row["status"], row["latent_dim"], row["n_diverged"], row["diverged_sizes"]) == ("done", 2, 1, "16")
    assert row["settled"] is None
    assert "Diverged trainings: grid seed 0 (size 16)." in shown


def test_a_search_that_ended_too_early_says_so(tmp_path: Path) -> None:
    shown, store = _run(SHORT, tmp_path, tmp_path / "cache", "--searchers", "sparsity")
    (row,) = store.searches().to_dict("records")
    assert row["latent_dim"] == 16 and store.epochs()["ctl_active"].iloc[-1] < 14
    assert row["settled"] is False and row["unused_latents"] is True
    assert "; budget too short: size 16 was not yet stable" in shown


def test_a_training_that_has_not_learned_says_so(tmp_path: Path) -> None:
    """Four epochs with a tenth of the usual learning rate: falling fast, and behind three principal components."""
    shown, store = _run(UNLEARNED, tmp_path, tmp_path / "cache", "--searchers", "grid")
    (row,) = store.searches().to_dict("records")
    assert row["still_learning"] is True and row["worse_than_pca"] is True
    assert row["late_gain"] > 0.05 and row["test_recon_sse"] > 1.3 * row["pca_sse"]
    assert "; still learning: the ELBO rose by" in shown and "3 principal components" in shown
    assert "Still learning: grid seed 0" in shown and "Worse than PCA: grid seed 0" in shown


def test_a_training_that_has_learned_says_nothing(tmp_path: Path) -> None:
    shown, store = _run(LEARNED, tmp_path, tmp_path / "cache", "--searchers", "grid")
    (row,) = store.searches().to_dict("records")
    assert row["still_learning"] is False and row["worse_than_pca"] is False
    assert abs(row["late_gain"]) < 0.005 and row["test_recon_sse"] < 0.9 * row["pca_sse"]
    assert row["test_recon_nll"] + row["test_kl"] < row["no_latents_nll"]
    assert "still learning" not in shown.lower() and "principal" not in shown
    epochs = store.epochs()
    loss = epochs["recon_nll"] + epochs["kl"]
    gap = load_baselines(load_dataset("manifold", latent_dim=3)).val.no_latents_nll - loss.min()
    assert row["late_gain"] == pytest.approx((loss.iloc[-2] - loss.iloc[-1]) / gap)
