"""Reports: known answers from synthetic frames, fixed styles, and a whole report from a store with every trouble."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_frames import NO_STORE, Frames, epochs, group, search, write_store

from benchmark.errors import InputError
from reports.__main__ import main
from reports.axes import worth_log
from reports.curves import curves_data
from reports.curves_plot import size_ticks
from reports.data import read_groups
from reports.images import images_data, to_rgb
from reports.markdown import comparison_page, escape, table
from reports.quantities import scaled
from reports.strips import cost_data, latent_dim_data
from reports.style import in_order, searcher_style
from reports.tables import cautions, comparison, mean_sd_text, rows_of

# ---- data


def test_groups_never_mix_protocols_or_features() -> None:
    searches = [
        search("grid"),
        search("grid", protocol_hash="aaaaaa99"),
        search("ald", protocol_hash="aaaaaa99", test_fid_features="inception"),
        search("ald", dataset="folder:/Some/../päth*"),
    ]
    groups = read_groups(Frames(searches), "results")
    assert [g.slug for g in groups] == [
        "digits-mlp-3fa2c1",
        "digits-mlp-aaaaaa-classifier",
        "digits-mlp-aaaaaa-inception",
        "folder-some-p-th-mlp",
    ]
    assert groups[0].title == "digits, mlp (3fa2c1)"
    assert all(len(g.searches) == 1 for g in groups)


def test_slugs_stay_apart() -> None:
    groups = read_groups(Frames([search("ald", dataset="folder:/a/b"), search("ald", dataset="folder:/a_b")]), "r")
    assert [g.slug for g in groups] == ["folder-a-b-mlp", "folder-a-b-mlp-2"]


def test_unfinished_search_joins_its_group() -> None:
    running = search("tpe", status="running", protocol_hash=None)
    found = group([search("grid"), running, search("ald", status="failed", error="x")], epochs(running, [4, 4]))
    assert found.fid_features == "classifier"
    assert found.searchers == ["grid", "tpe", "ald"]


def test_features_of_a_running_search_come_from_its_epochs() -> None:
    running = search("ald", status="running")
    assert group([running], epochs(running, [4], fid_features="inception")).fid_features == "inception"


def test_no_searches_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no searches in results; run: make benchmark"):
        read_groups(Frames([]), "results")


# ---- tables


def test_comparison_known_answers() -> None:
    searches = [search("grid", seed, wall_seconds=w) for seed, w in enumerate([90.0, 100.0, 110.0])]
    searches += [search("ald", s, wall_seconds=w, latent_dim=n) for s, w, n in [(0, 20.0, 9), (1, 30.0, 14)]]
    searches += [search("ald", 2, "failed"), search("ald", 3, "running")]
    rows = comparison([group(searches)]).set_index("searcher")
    ald = rows.loc["ald"]
    assert (ald["n_done"], ald["n_failed"], ald["n_running"]) == (2, 1, 1)
    assert (ald["latent_dim_median"], ald["latent_dim_min"], ald["latent_dim_max"]) == (11.5, 9, 14)
    assert ald["wall_seconds_mean [s]"] == pytest.approx(25.0)
    assert ald["wall_seconds_sd [s]"] == pytest.approx(math.sqrt(50.0))
    assert ald["wall_seconds_vs_grid"] == pytest.approx(0.25)
    assert rows.loc["grid", "wall_seconds_sd [s]"] == pytest.approx(10.0)
    assert ald["test_recon_nll_mean [nats/image]"] == 1.0


def test_relative_cost_is_blank_without_grid_in_the_group() -> None:
    searches = [search("grid"), search("ald", protocol_hash="bbbbbb00")]
    groups = read_groups(Frames(searches), "results")
    frame = comparison(groups)
    ald = rows_of(frame, groups[1]).iloc[0]
    assert ald["searcher"] == "ald"
    assert math.isnan(ald["wall_seconds_vs_grid"])
    assert math.isnan(ald["wall_seconds_sd [s]"])  # one seed has no spread


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [
        (123.44, 0.512, "123.4 ± 0.5"),
        (0.12345, math.nan, "0.1235"),
        (3.21e12, 1e10, "(3.210 ± 0.010)e12"),
        (3.21e12, math.nan, "3.210e12"),
        (-5.0, 1.0, "-5.000 ± 1.000"),
        (0.0, 0.0, "0.000 ± 0.000"),
        (math.nan, math.nan, "–"),
    ],
)
def test_mean_sd_text(mean: float, sd: float, text: str) -> None:
    assert mean_sd_text(mean, sd) == text


def test_cautions_name_few_seeds_missing_values_and_machines() -> None:
    searches = [search("grid", seed, env_device="cuda" if seed else "cpu") for seed in range(3)]
    searches += [search("ald", 0, test_fid_recon=math.nan), search("ald", 1, test_fid_recon=math.inf)]
    few, missing, machines = cautions(group(searches))
    assert few.startswith("Fewer than 3 finished seeds: ald (2).")
    assert "ald has no value of FID, reconstructions in 2 of 2 finished searches" in missing
    assert "env_device: cpu, cuda" in machines


def test_enough_seeds_need_no_caution() -> None:
    assert cautions(group([search("grid", seed) for seed in range(3)])) == []


def test_markdown_is_escaped() -> None:
    assert escape("a|b\n <i>*x*_y_ `z` [q]") == r"a\|b \<i\>\*x\*\_y\_ \`z\` \[q\]"
    lines = table(["a", "b"], [["x|y", "1\n2"]]).splitlines()
    assert lines[1:] == ["| --- | ---: |", r"| x\|y | 1 2 |"]
    found = group([search("ald", 0, "failed", error="bad | value\nline 2")])
    page = comparison_page([found], comparison([found]))
    assert r"- digits, mlp: ald, seed 0: bad \| value line 2" in page
    assert "No search is running." in page


# ---- style


def test_styles_are_fixed_and_distinct() -> None:
    names = ["sparsity", "my_module:B", "ald", "grid", "a.b:C", "geco-l0arm", "tpe", "random"]
    before = {name: searcher_style(name) for name in names}
    assert before == {name: searcher_style(name) for name in reversed(names)}
    assert len({style.color for style in before.values()}) >= 7
    assert searcher_style("a.b:C").label == "b:C"
    own = {searcher_style(f"m:{n}").color for n in range(50)}
    assert own.isdisjoint(searcher_style(name).color for name in ("grid", "ald", "tpe"))
    expected = ["grid", "random", "tpe", "ald", "geco-l0arm", "sparsity", "a.b:C", "my_module:B"]
    assert in_order([*names, *names]) == expected


def test_scales() -> None:
    assert scaled("wall_seconds", 90.0) == (1.0, "s")
    assert scaled("wall_seconds", 7200.0) == (3600.0, "h")
    assert scaled("train_flops", 5e12) == (1e12, "TFLOP")
    assert worth_log([1.0, 10.0])
    assert not worth_log([1.0, 9.0])
    assert not worth_log([0.0, 10.0])
    assert not worth_log([])


# ---- figures


def test_cost_data_scales_units_and_counts_the_unfinished() -> None:
    searches = [search("grid", s, wall_seconds=w) for s, w in [(0, 7200.0), (1, 14400.0)]]
    searches += [search("ald", 0, wall_seconds=36.0), search("ald", 1, "failed"), search("tpe", 0, "running")]
    wall, flops = cost_data(group(searches), NO_STORE).panels
    assert wall.label == "wall-clock of the whole search (h)"
    assert wall.log and not flops.log
    grid, tpe, ald = wall.rows
    assert grid.values == (2.0, 4.0)
    assert grid.centre == 3.0
    assert grid.sd == pytest.approx(math.sqrt(2))
    assert (tpe.values, tpe.note) == ((), "1 running")
    assert ald.values == pytest.approx((0.01,))
    assert ald.note == "1 failed"
    assert flops.label.endswith("(GFLOP)")


def test_latent_dim_data_marks_the_median() -> None:
    searches = [search("ald", seed, latent_dim=n) for seed, n in enumerate([12, 30, 13])]
    (panel,) = latent_dim_data(group(searches), NO_STORE).panels
    assert panel.rows[0].values == (12.0, 30.0, 13.0)
    assert panel.rows[0].centre == 13.0


def test_curves_of_a_shrinking_training() -> None:
    runs = [search("ald", 0, "failed"), search("ald", 1), search("ald", 2)]
    logged = epochs(runs[0], [9, 9]) + epochs(runs[1], [9, 9, 7, 7, 6, 6], kl=math.inf) + epochs(runs[2], [9, 5])
    (row,) = curves_data(group(runs, logged), NO_STORE).rows
    assert (row.seed, row.status) == (1, "done")
    assert row.sizes == (9, 9, 7, 7, 6, 6)
    assert row.last_change == 5
    assert [curve.role for curve in row.curves] == ["main", "other seed"]
    assert row.main is not None and row.main.epochs == (1, 2, 3, 4, 5, 6)


def test_curves_of_whole_run_trials() -> None:
    run = search("grid", n_trials=3, chosen_trial=1)
    logged = [row for trial, size in enumerate([2, 4, 8]) for row in epochs(run, [size] * 3, trial)]
    (row,) = curves_data(group([run], logged), NO_STORE).rows
    assert [(curve.role, curve.latent_dim) for curve in row.curves] == [("trial", 2), ("main", 4), ("trial", 8)]
    assert (row.sizes, row.last_change) == ((), None)


def test_curves_before_any_search_is_done() -> None:
    grid, ald = search("grid", status="running"), search("ald", status="running")
    logged = epochs(grid, [2, 2]) + epochs(grid, [4], trial=1) + epochs(ald, [9, 8])
    rows = curves_data(group([grid, ald, search("tpe", status="running")], logged), NO_STORE).rows
    assert [row.searcher for row in rows] == ["grid", "ald"]
    assert rows[0].main is None
    assert rows[1].sizes == (9, 8)
    assert rows[1].last_change is None  # it may go on shrinking


def test_size_ticks_follow_the_changes() -> None:
    sizes = (64, 40, 20, 11, 11, 11, 11, 11, 11, 11)
    assert size_ticks(tuple(range(1, 11)), sizes, gap=2.0) == {1: 64, 3: 20, 5: 11, 10: 11}
    assert size_ticks((1,), (8,), gap=1.0) == {1: 8}


def test_images_show_the_first_done_seed_and_the_middle_frame() -> None:
    runs = [search("ald", 0, "failed"), search("ald", 1, latent_dim=5), search("grid", 0)]
    clips = np.arange(8 * 3 * 5 * 2 * 2, dtype=np.uint8).reshape(8, 3, 5, 2, 2)
    gallery = {"originals": clips, "reconstructions": clips, "samples": clips}
    found = group(runs)
    rows = images_data(found, Frames(runs, galleries={runs[1]["search_id"]: gallery})).rows
    assert [row.label for row in rows] == ["test images", "ALD, size 5\nreconstructions", "ALD, size 5\nsamples"]
    assert np.array_equal(rows[0].images, clips[:, :, 2].transpose(0, 2, 3, 1))
    assert images_data(found, Frames(runs)) is None


def test_grey_images_become_rgb() -> None:
    grey = np.arange(8 * 4, dtype=np.uint8).reshape(8, 1, 2, 2)
    assert np.array_equal(to_rgb(grey)[..., 2], grey[:, 0])


# ---- the whole report


@pytest.fixture
def troubled(tmp_path: Path) -> Path:
    """Several searchers, a failed search, a running one, NaN metrics, single seeds and a second dataset."""
    grid, ald = search("grid", n_trials=2, chosen_trial=1, latent_dim=4), search("ald", 0)
    lost = search("ald", 1, "failed", error="ValueError: a | b\n[bold]c[/bold]")
    running = search("my.own:Thing", 0, "running")
    blind = search("geco-l0arm", 0, test_fid_recon=math.nan, test_fid_gen=math.nan)
    other = search("sparsity", dataset="folder:/some/path", wall_seconds=0.0, train_flops=0.0)
    logged = epochs(grid, [2] * 6) + epochs(grid, [4] * 6, trial=1) + epochs(ald, [9, 9, 8, 8, 8, 8])
    logged += epochs(lost, [9]) + epochs(running, [5, 5]) + epochs(other, [3])
    logged += epochs(blind, [9] * 6, fid_recon=math.nan, fid_gen=math.nan)
    write_store(tmp_path / "results", [grid, ald, lost, running, blind, other], logged)
    return tmp_path / "results"


def test_report_of_a_troubled_store(troubled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--results", str(troubled)]) == 0
    out = troubled / "report"
    names = [f"{f}-{g}" for g in ("digits-mlp", "folder-some-path-mlp") for f in ("cost", "latent_dim", "trainings")]
    names += ["images-digits-mlp", "images-folder-some-path-mlp"]
    expected = {f"{name}.{kind}" for name in names for kind in ("png", "pdf", "csv")}
    assert {path.name for path in out.iterdir()} == expected | {"comparison.csv", "comparison.md"}
    assert all(path.stat().st_size > 4000 for path in out.glob("*.png"))
    for path in out.glob("*.pdf"):
        assert b"/FontFile2" in path.read_bytes() and b"/Type3" not in path.read_bytes()
    page = (out / "comparison.md").read_text(encoding="utf-8")
    assert r"ald, seed 1: ValueError: a \| b \[bold\]c\[/bold\]" in page
    assert "- digits, mlp: my.own:Thing, seed 0" in page
    assert "geco-l0arm has no value of FID, reconstructions in 1 of 1" in page
    assert "Fewer than 3 finished seeds" in page
    for line in page.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert cells in (0, 9, 8)  # every row of a table has its header's number of cells
    assert len(pd.read_csv(out / "comparison.csv")) == 5
    printed = capsys.readouterr()
    assert "comparison.csv" in printed.out and "cost-digits-mlp.png" in printed.out
    assert printed.err == ""


def test_same_store_gives_the_same_files(tmp_path: Path) -> None:
    running = search("ald", status="running")
    write_store(tmp_path / "results", [running], epochs(running, [9, 8, 8]))
    outs = [tmp_path / "first", tmp_path / "second"]
    assert [main(["--results", str(tmp_path / "results"), "--out", str(out)]) for out in outs] == [0, 0]
    names = [path.name for path in outs[0].iterdir()]
    assert len(names) == 11  # both tables, and three figures with their three files: no images yet
    assert all((outs[0] / name).read_bytes() == (outs[1] / name).read_bytes() for name in names)


def bad_arguments(tmp_path: Path) -> list[tuple[list[str], str]]:
    empty, taken = tmp_path / "empty", tmp_path / "taken"
    (empty / "searches").mkdir(parents=True)
    taken.write_text("a file")
    full = tmp_path / "full"
    write_store(full, [search("ald", status="running")], [])
    return [
        (["--results", str(tmp_path / "absent")], "absent"),
        (["--results", str(empty)], "run: make benchmark"),
        (["--results", str(full), "--out", str(taken)], "--out"),
        (["--results", str(full), "--out", str(taken / "below")], "--out"),
        (["--no-such-option"], "--help"),
    ]


def test_bad_input_is_one_line_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in bad_arguments(tmp_path):
        before = sorted(tmp_path.rglob("*"))
        assert main(arguments) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1 and said in printed.err
        assert sorted(tmp_path.rglob("*")) == before


def test_reports_import_neither_torch_nor_pyplot() -> None:
    code = "import sys, reports.__main__; print({'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    root = Path(__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_variants_keep_their_searchers_colour_and_follow_their_number() -> None:
    assert searcher_style("ald@100").color == searcher_style("ald").color
    assert searcher_style("ald@100").label != searcher_style("ald@80").label
    names = ["ald@100", "sparsity", "ald@80", "ald", "grid"]
    assert in_order(names) == ["grid", "ald", "ald@80", "ald@100", "sparsity"]
