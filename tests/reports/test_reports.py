"""Reports: known answers from synthetic frames, fixed styles, and a whole report from a store with every trouble."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from report_frames import Frames, epochs, group, search, write_store

from benchmark.errors import InputError
from reports.__main__ import main
from reports.analysis.analysis import analyse
from reports.analysis.comparison import cautions, comparison
from reports.data.groups import read_groups
from reports.data.names import in_order
from reports.drawing.layout import fold, worth_log
from reports.drawing.style import searcher_style, searcher_styles
from reports.figures.trainings import size_ticks, trainings_data
from reports.tables.markdown import comparison_page, escape, table
from searchers import SEARCHERS

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
    assert [found.unfinished(name) for name in found.searchers] == ["", "1 running", "1 failed"]


def test_features_of_a_running_search_come_from_its_epochs() -> None:
    running = search("ald", status="running")
    assert group([running], epochs(running, [4], fid_features="inception")).fid_features == "inception"


def test_one_folder_under_several_paths_is_one_group() -> None:
    same = {"data_fingerprint": "f1", "protocol_hash": "aaaaaa99"}
    searches = [
        search("grid", dataset="folder:/data/zoo", data="20 images", **same),
        search("ald", dataset="folder:zoo/", data="20 images", **same),
        search("tpe", dataset="folder:/mnt/copy", data="20 images; left out: 1 file", **same),
        search("grid", dataset="folder:/other/zoo", data_fingerprint="f2", protocol_hash="bbbbbb99"),
        search("grid", dataset="folder:/old/zoo", protocol_hash="cccccc99"),  # of version 0.1: no fingerprint
    ]
    groups = {g.dataset: g for g in read_groups(Frames(searches), "results")}
    assert set(groups) == {"folder:/data/zoo", "folder:/other/zoo", "folder:/old/zoo"}
    assert groups["folder:/data/zoo"].searchers == ["grid", "tpe", "ald"]
    assert set(groups["folder:/data/zoo"].searches["dataset"]) == {"folder:/data/zoo"}
    assert groups["folder:/data/zoo"].data == ("20 images", "20 images; left out: 1 file")
    assert groups["folder:/old/zoo"].data == ()
    titles = [g.title for g in groups.values()]
    assert sorted(titles) == [f"folder zoo, mlp ({h})" for h in ("aaaaaa", "bbbbbb", "cccccc")]


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
    ald = analyse(groups).groups[1].rows.iloc[0]
    assert ald["searcher"] == "ald"
    assert math.isnan(ald["wall_seconds_vs_grid"])
    assert math.isnan(ald["wall_seconds_sd [s]"])  # one seed has no spread


def test_cautions_name_few_seeds_missing_values_and_machines() -> None:
    searches = [search("grid", seed, env_device="cuda" if seed else "cpu") for seed in range(3)]
    searches += [search("ald", 0, test_fid_recon=math.nan), search("ald", 1, test_fid_recon=math.inf)]
    few, missing, devices, machines = cautions(group(searches))
    assert few.startswith("Fewer than 6 finished seeds: Grid (3), ALD (2).")
    assert "ALD has no value of FID, reconstructions in 2 of 2 finished searches" in missing
    assert devices.startswith("Searches ran on CPUs and on GPUs")
    assert "env_device: cpu, cuda" in machines


def test_core_seconds_and_gpu_seconds_have_no_common_mean() -> None:
    cpu, gpu = {"env_device": "cpu", "env_threads": 2}, {"env_device": "NVIDIA H200", "env_threads": 2}
    on_cpu = [search(name, 0, **cpu) for name in ("grid", "ald")]
    column = "device_seconds_{} [core-s or GPU-s]"
    alone = comparison([group(on_cpu)]).set_index("searcher")
    assert alone.loc["ald", column.format("mean")] == 2 * 28
    assert alone.loc["ald", "device_seconds_vs_grid"] == 1.0
    both = comparison([group([*on_cpu, search("ald", 1, **gpu)])])
    shown = [name for name in both.columns if name.startswith("device_seconds")]
    assert len(shown) == 7
    assert both[shown].isna().all(axis=None)
    assert both["wall_seconds_mean [s]"].tolist() == [30.0, 30.0]


def test_cautions_count_partly_missing_costs_and_repeated_seeds() -> None:
    searches = [search("ald", seed, train_flops=math.nan if seed == 1 else 1e9) for seed in range(3)]
    searches += [search("grid", seed, train_flops=math.nan) for seed in range(3)]
    searches.append({**search("grid", 2), "search_id": "again", "train_flops": math.nan})
    _, missing, repeated = cautions(group(searches))
    assert "ALD has no value of training FLOPs in 1 of 3 finished searches" in missing
    assert repeated.startswith("Finished more than once with a seed (other settings or another device): Grid;")


def test_enough_seeds_need_no_caution() -> None:
    assert cautions(group([search("grid", seed) for seed in range(6)])) == []


def test_markdown_is_escaped() -> None:
    assert escape("a|b\n <i>*x*_y_ `z` [q]") == r"a\|b \<i\>\*x\*\_y\_ \`z\` \[q\]"
    lines = table(["a", "b"], [["x|y", "1\n2"]]).splitlines()
    assert lines[1:] == ["| --- | ---: |", r"| x\|y | 1 2 |"]
    found = group([search("ald", 0, "failed", error="bad | value\nline 2")])
    page = comparison_page(analyse([found]))
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


def test_a_decade_is_worth_a_log_axis() -> None:
    assert worth_log([1.0, 10.0])
    assert not worth_log([1.0, 9.0])
    assert not worth_log([0.0, 10.0])
    assert not worth_log([])


# ---- trainings


def test_curves_of_a_shrinking_training() -> None:
    runs = [search("ald", 0, "failed"), search("ald", 1), search("ald", 2)]
    logged = epochs(runs[0], [9, 9]) + epochs(runs[1], [9, 9, 7, 7, 6, 6], kl=math.inf) + epochs(runs[2], [9, 5])
    (row,) = trainings_data(group(runs, logged)).rows
    assert (row.seed, row.status) == (1, "done")
    assert row.sizes == (9, 9, 7, 7, 6, 6)
    assert row.last_change == 5
    assert [curve.role for curve in row.curves] == ["main", "other seed"]
    assert row.main is not None and row.main.epochs == (1, 2, 3, 4, 5, 6)


def test_curves_frame_names_every_line_and_unit() -> None:
    runs = [search("ald", 3, "failed"), search("ald", 4), search("ald", 5), search("tpe", 0, "failed")]
    logged = epochs(runs[0], [9]) + epochs(runs[1], [9, 8], recon_nll=7.0)
    logged += epochs(runs[2], [9, 5, 5], fid_gen=math.nan)
    data = trainings_data(group(runs, logged))
    assert data is not None
    frame = data.frame()
    assert frame[["search_id", "seed", "trial", "line", "epoch"]].to_numpy().tolist() == [
        *[[runs[1]["search_id"], 4, 0, "main", n] for n in (1, 2)],
        *[[runs[2]["search_id"], 5, 0, "other seed", n] for n in (1, 2, 3)],
    ]
    assert frame["recon_nll [nats/image]"].tolist() == [7.0, 7.0, 1.0, 1.0, 1.0]
    assert frame["fid_gen [classifier features]"].isna().tolist() == [False, False, True, True, True]
    assert data.notes == ("Not drawn (failed, running or without a logged training): TPE (1), ALD (1).",)


def test_curves_of_whole_run_trials() -> None:
    run = search("grid", n_trials=3, chosen_trial=1)
    logged = [row for trial, size in enumerate([2, 4, 8]) for row in epochs(run, [size] * 3, trial)]
    (row,) = trainings_data(group([run], logged)).rows
    assert [(curve.role, curve.latent_dim) for curve in row.curves] == [("trial", 2), ("main", 4), ("trial", 8)]
    assert (row.sizes, row.last_change) == ((), None)


def test_curves_before_any_search_is_done() -> None:
    grid, ald = search("grid", status="running"), search("ald", status="running")
    logged = epochs(grid, [2, 2]) + epochs(grid, [4], trial=1) + epochs(ald, [9, 8])
    rows = trainings_data(group([grid, ald, search("tpe", status="running")], logged)).rows
    assert [row.searcher for row in rows] == ["grid", "ald"]
    assert rows[0].main is None
    assert rows[1].sizes == (9, 8)
    assert rows[1].last_change is None  # it may go on shrinking


def test_size_ticks_follow_the_changes() -> None:
    sizes = (64, 40, 20, 11, 11, 11, 11, 11, 11, 11)
    assert size_ticks(tuple(range(1, 11)), sizes, gap=2.0) == {1: 64, 3: 20, 5: 11, 10: 11}
    assert size_ticks((1,), (8,), gap=1.0) == {1: 8}


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
    shown = ("cost", "latent_dim", "learning", "trainings", "images")
    names = [f"{figure}-{slug}" for slug in ("digits-mlp", "folder-some-path-mlp") for figure in shown]
    expected = {f"{name}.{kind}" for name in names for kind in ("png", "pdf", "csv")}
    assert {path.name for path in out.iterdir()} >= expected | {"comparison.csv", "comparison.md"}
    assert all(path.stat().st_size > 4000 for path in out.glob("*.png"))
    for path in out.glob("*.pdf"):
        assert b"/FontFile2" in path.read_bytes() and b"/Type3" not in path.read_bytes()
    page = (out / "comparison.md").read_text(encoding="utf-8")
    assert r"ald, seed 1: ValueError: a \| b \[bold\]c\[/bold\]" in page
    assert "- digits, mlp: my.own:Thing, seed 0" in page
    assert "GECO/L0-ARM has no value of FID, reconstructions in 1 of 1" in page
    assert "Fewer than 6 finished seeds" in page
    for part in page.split("\n\n"):
        if part.startswith("|"):  # every row of a table has its header's number of cells
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in part.splitlines()}) == 1
    assert len(pd.read_csv(out / "comparison.csv")) == 5
    printed = capsys.readouterr()
    assert "index.html" in printed.out and "not drawn: " in printed.out
    assert printed.err == ""


def test_same_store_gives_the_same_files(tmp_path: Path) -> None:
    running = search("ald", status="running")
    write_store(tmp_path / "results", [running], epochs(running, [9, 8, 8]))
    outs = [tmp_path / "first", tmp_path / "second"]
    assert [main(["--results", str(tmp_path / "results"), "--out", str(out)]) for out in outs] == [0, 0]
    names = [path.name for path in outs[0].iterdir()]
    assert {"cost-digits-mlp.png", "latent_dim-digits-mlp.pdf", "trainings-digits-mlp.csv"} <= set(names)
    assert not any(name.startswith(("images", "learning")) for name in names)  # nothing to show yet
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


def test_every_registered_searcher_has_a_look_of_its_own() -> None:
    looks = {(entry.colour, entry.marker) for entry in SEARCHERS.values()}
    assert len(looks) == len({entry.label for entry in SEARCHERS.values()}) == len(SEARCHERS)
    for name, entry in SEARCHERS.items():
        style = searcher_style(name)
        assert (style.color, style.marker, style.label) == (entry.colour, entry.marker, entry.label)


def test_reports_import_neither_torch_nor_pyplot() -> None:
    code = "import sys, reports.__main__; print({'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_variants_keep_their_searchers_colour_and_follow_their_number() -> None:
    assert searcher_style("ald@100").color == searcher_style("ald").color
    assert searcher_style("ald@100").label != searcher_style("ald@80").label
    names = ["ald@100", "sparsity", "ald@80", "ald", "grid"]
    assert in_order(names) == ["grid", "ald", "ald@80", "ald@100", "sparsity"]


def test_lines_of_variants_differ_whatever_the_order() -> None:
    names = ["ald@100", "sparsity", *(f"geco-l0arm@tau{n}" for n in range(9)), "ald@80", "ald", "grid", "geco-l0arm"]
    styles = searcher_styles(names)
    assert styles == searcher_styles(reversed(names))
    assert list(styles) == in_order(names)
    for base in ("ald", "geco-l0arm"):
        lines = [style.linestyle for name, style in styles.items() if name.partition("@")[0] == base]
        assert len(set(lines)) == len(lines)
    assert {styles[name].linestyle for name in ("grid", "sparsity", "ald", "geco-l0arm")} == {"-"}


def test_lines_of_searchers_that_look_alike_differ() -> None:
    looks: dict[tuple[str, str], str] = {}
    names = (f"my.own:Searcher{n}" for n in range(99))
    first, second = next(
        (looks[look], name)
        for name in names
        for look in [(searcher_style(name).color, searcher_style(name).marker)]
        if looks.setdefault(look, name) != name
    )
    styles = searcher_styles([first, second])
    assert styles[first].linestyle != styles[second].linestyle


def test_fold_breaks_long_names_where_they_have_parts() -> None:
    assert fold("package:VeryLongSearcherName", 20) == "package:\nVeryLongSearcherName"
    assert fold("package:VeryLongSearcherName", 16) == "package:\nVeryLongSearcher\nName"
    assert fold("GECO/L0-ARM", 16) == "GECO/L0-ARM"
    assert fold("one two three", 7) == "one two\nthree"
    assert fold("GECO/L0-ARM @tau3", 16) == "GECO/L0-ARM\n@tau3"
    assert fold("ab@cd", 3) == "ab\n@cd"
    assert fold("", 5) == ""
