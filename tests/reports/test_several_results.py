"""Several results as one, a study in one file, and one results against another: each from folders that ran."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from commands import TINY, benchmark
from report_frames import epochs, search, write_store

from benchmark.cli import main
from benchmark.errors import InputError
from benchmark.paths import output_folder
from benchmark.store import ResultsStore
from benchmark.store.sources.study_file import FRAMES, write_study_file
from reports.__main__ import main as reports
from reports.compare.pairs import compare_searches

SEARCHERS = ("grid", "sparsity")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`whole` has three seeds; `a` and `b` share the second of them; `again` is of the same commands; `a.parquet`."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.toml").write_text(TINY.format(epochs=3))
    for results, seeds in (("whole", (0, 1, 2)), ("again", (0,))):
        command = ("run", "--protocol", "tiny.toml", "--searchers", *SEARCHERS, "--seeds", *seeds, "--jobs", 1)
        done = benchmark(*command, "--results", results, cwd=folder, cache=folder / "cache")
        assert done.returncode == 0, done.stdout + done.stderr
    for part, seeds in (("a", "01"), ("b", "12")):
        shutil.copytree(folder / "whole", folder / part)
        for path in (folder / part / "searches").iterdir():
            if not re.search(f"-s[{seeds}]-", path.name):
                shutil.rmtree(path)
    for name in ("a", "whole"):
        write_study_file(ResultsStore(folder / name), folder / f"{name}.parquet")
    return folder


def test_two_parts_are_the_whole(work: Path) -> None:
    whole, parts = ResultsStore(work / "whole"), ResultsStore(work / "a", work / "b")
    for name in FRAMES:
        expected, got = (getattr(store, name)() for store in (whole, parts))
        assert list(got.columns) == [*expected.columns, "source"] and len(expected)
        pd.testing.assert_frame_equal(got[expected.columns], expected, check_dtype=False, check_exact=True)
    assert parts.duplicates == len(SEARCHERS) and whole.duplicates == 0 and whole.description() == ""
    sources = parts.searches().groupby("source")["seed"].unique().map(sorted).to_dict()
    assert sources == {str(work / "a"): [0, 1], str(work / "b"): [2]}  # of both the one given first
    assert f"{work / 'a'} (4 searches)" in parts.description()
    assert "2 searches are in several of them and count once" in parts.description()
    last = parts.searches()["search_id"].iloc[-1]
    assert parts.folder(last).path.is_dir()
    gallery = parts.gallery(last)
    assert gallery is not None and len(gallery["originals"])
    assert set(parts.kept()) == set(whole.kept())


@pytest.mark.parametrize("first, second", [("running", "failed"), ("failed", "done"), ("running", "done")])
def test_a_finished_search_counts_before_an_unfinished_one(first: str, second: str, tmp_path: Path) -> None:
    for name, status in (("a", first), ("b", second), ("c", second)):
        row = search("ald", 0, status, **({"latent_dim": 3} if name == "a" else {}))
        write_store(tmp_path / name, [row, search("grid", ord(name))], epochs(row, [4, 4]))
    store = ResultsStore(*(tmp_path / name for name in "abc"))
    searches = store.searches().set_index("searcher")
    assert (searches.loc["ald", "status"], searches.loc["ald", "source"]) == (second, str(tmp_path / "b"))
    assert store.duplicates == 2 and len(searches) == 4
    assert store.epochs()["source"].unique().tolist() == [str(tmp_path / "b")] and len(store.epochs()) == 2


def test_the_same_results_twice_are_refused(work: Path) -> None:
    with pytest.raises(InputError, match="is given twice; expected each of the results once"):
        ResultsStore(work / "a", work / "a")


def test_a_file_holds_the_frames_of_its_folder(work: Path) -> None:
    folder, file = ResultsStore(work / "a"), ResultsStore(work / "a.parquet")
    for name in FRAMES:
        expected, got = getattr(folder, name)(), getattr(file, name)()
        if name == "latents":
            last = expected.groupby(["search_id", "trial"])["epoch"].transform("max")
            expected = expected[expected["epoch"] == last].reset_index(drop=True)
        assert len(expected)
        pd.testing.assert_frame_equal(got, expected, check_exact=True)
    grid = file.searches().query("searcher == 'grid'")["as_good"]
    assert all(isinstance(sizes, list) for sizes in grid)  # as the folder's, no arrays
    assert file.kept() == folder.kept() and any(name.startswith("protocol-") for name in file.kept())
    assert file.gallery(file.searches()["search_id"].iloc[0]) is None and file.probes().empty
    assert (work / "a.parquet").stat().st_size < 500_000
    names = pq.read_schema(work / "a.parquet").names  # other programs read it as a table
    assert {"searches.latent_dim", "epochs.kl", "curves.elbo"} <= set(names)


def test_a_report_of_the_file_is_that_of_the_folder(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for name in ("a", "a.parquet"):
        assert reports(["--results", str(work / name), "--out", str(work / f"report-{name}")]) == 0
        said.append(capsys.readouterr().out)
    folder, file = (work / f"report-{name}" for name in ("a", "a.parquet"))
    names = {path.name for path in folder.iterdir() if not path.name.startswith("images-")}
    assert {path.name for path in file.iterdir()} == names and len(names) > 20
    for name in names - {"index.html"}:
        assert (folder / name).read_bytes() == (file / name).read_bytes(), name
    pages = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", (one / "index.html").read_text(), re.S) for one in (folder, file)]
    assert pages[0] == pages[1] and len(pages[0]) > 100
    assert said[0].split("wrote")[0] == said[1].split("wrote")[0]
    assert "not drawn: images-digits-mlp" in said[1]


def test_a_page_of_several_says_what_they_share(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = [str(work / name) for name in ("a.parquet", "b")]
    assert reports(["--results", *results, "--out", str(work / "merged")]) == 0
    page = (work / "merged" / "index.html").read_text()
    for text in (page, capsys.readouterr().out):
        assert "From 2 results" in text and "2 searches are in several of them and count once" in text
    assert page.count(f'<td class="text">{results[1]}</td>') == len(SEARCHERS)
    assert reports(["--results", str(work / "whole"), "--out", str(work / "alone")]) == 0
    merged, alone = (pd.read_csv(work / name / "comparison.csv") for name in ("merged", "alone"))
    pd.testing.assert_frame_equal(merged, alone)
    with pytest.raises(SystemExit) as stop:
        main(["show", "--results", *results])
    assert stop.value.code == 0 and "2 searches are in several" in " ".join(capsys.readouterr().out.split())


def test_a_merged_file_is_read_together_with_others(work: Path) -> None:
    write_study_file(ResultsStore(work / "a", work / "b"), work / "merged.parquet")
    both = ResultsStore(work / "merged.parquet", work / "again")
    for name in FRAMES:
        frame = getattr(both, name)()
        assert list(frame.columns).count("source") == 1 and len(frame)
    assert set(both.searches()["source"]) == {str(work / "merged.parquet")}


@pytest.mark.parametrize("file", ["results.parquet", "results"])
def test_what_is_made_from_a_file_goes_beside_it(file: str, tmp_path: Path) -> None:
    assert output_folder(tmp_path / "other", "report") == tmp_path / "other" / "report"
    (tmp_path / file).write_text("")
    assert output_folder(tmp_path / file, "report") == tmp_path / "results-report"
    assert output_folder("s3://bucket/study", "export") == Path("results/export")


def test_export_writes_the_file(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["export", str(work / "b"), "--format", "study", "--out", str(work / "out" / "b.parquet")])
    assert stop.value.code == 0 and "b.parquet" in capsys.readouterr().out
    assert len(ResultsStore(work / "out" / "b.parquet").searches()) == 4


# --- one against the other


def test_the_same_code_gives_exact_zeros(work: Path) -> None:
    found = compare_searches(ResultsStore(work / "whole").searches(), ResultsStore(work / "again").searches())
    rows = found.rows[~found.rows["quantity"].str.endswith("_seconds")]
    assert {"latent_dim", "test_elbo", "test_fid_gen", "train_flops"} <= set(rows["quantity"])
    assert (rows["difference"] == 0).all() and (rows["equal"] == rows["pairs"]).all() and (rows["pairs"] == 1).all()
    assert set(rows["searcher"]) == set(SEARCHERS)
    assert found.notes == ("4 of 6 searches are in the first alone",) and found.warnings == ()


def test_differences_have_the_interval_of_paired_seeds() -> None:
    one = [search("ald", seed, test_elbo=-20.0 - seed, env_torch="2.11", env_device="cpu") for seed in range(4)]
    gains = (0.5, 1.0, 1.5, 2.0)
    two = [
        {**row, "test_elbo": row["test_elbo"] + gain, "env_torch": "2.15"} for row, gain in zip(one, gains, strict=True)
    ]
    two[0]["status"] = "failed"
    found = compare_searches(pd.DataFrame(one), pd.DataFrame(two))
    row = found.rows.set_index("quantity").loc["test_elbo"]
    half = 4.302653 * np.std(gains[1:], ddof=1) / 3**0.5  # Student's t of two degrees of freedom
    assert row[["pairs", "equal"]].tolist() == [3, 0]
    assert row[["first", "second", "difference"]].tolist() == pytest.approx([-22.0, -20.5, 1.5])
    assert row[["low", "high"]].tolist() == pytest.approx([1.5 - half, 1.5 + half], rel=1e-5)
    assert found.warnings == ("torch differs: 2.11 and 2.15",)
    assert found.notes == ("1 of 4 pairs are left out, as not both are finished (4 done and 3 done, 1 failed)",)


def test_the_same_data_in_two_places_are_paired() -> None:
    one = [search("ald", seed, dataset="array:/home/a.npy", data_fingerprint="f") for seed in range(2)]
    two = [{**row, "dataset": "array:/data/a.npy"} for row in one]
    rows = compare_searches(pd.DataFrame(one), pd.DataFrame(two)).rows
    assert set(rows["dataset"]) == {"array:/data/a.npy"} and set(rows["pairs"]) == {2}
    with pytest.raises(InputError, match="no search of the first has a partner"):
        compare_searches(pd.DataFrame(one).iloc[:0], pd.DataFrame(two))
    two = [{**row, "data_fingerprint": "g"} for row in two]
    with pytest.raises(InputError, match="no search of the first has a partner"):
        compare_searches(pd.DataFrame(one), pd.DataFrame(two))


def test_of_several_settings_the_same_search_is_paired() -> None:
    same = search("ald", 0, search_id="b", test_elbo=-20.0, setting_patience="10")
    other = {**same, "search_id": "a", "test_elbo": -25.0, "setting_patience": "99"}
    both, alone = pd.DataFrame([same, other]), pd.DataFrame([same])
    for one, two, which in ((both, alone, "first"), (alone, both, "second")):
        found = compare_searches(one, two)
        row = found.rows.set_index("quantity").loc["test_elbo"]
        assert row[["pairs", "equal", "difference"]].tolist() == [1, 1, 0]
        assert found.warnings == ()
        assert found.notes == (
            f"1 searches of the {which} are left out, as others of their protocol, searcher and seed count",
        )
    found = compare_searches(pd.DataFrame([other]), alone)
    assert found.warnings == ("setting patience differs in 1 of 1 pairs: 99 and 10",) and found.notes == ()


def test_compare_prints_and_writes(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("found.csv", "found.md"):
        with pytest.raises(SystemExit) as stop:
            main(["compare", str(work / "again"), str(work / "whole.parquet"), "--out", str(work / name)])
        assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "4 of 6 searches are in the second alone" in out and "Grid" in out and "test ELBO (nats/image)" in out
    assert pd.read_csv(work / "found.csv")["equal"].sum() > 10
    text = (work / "found.md").read_text()
    assert "## digits, mlp (protocol " in text and "| Grid | latent size |" in text


BAD = {
    "compare A other": "no search of the first has a partner in the second",
    "compare A B --out x.txt": "out is x.txt; expected a file that ends in .csv or .md",
    "compare A none": "no results at none",
    "show A A": "is given twice",
    "show text.parquet": "no results at text.parquet, a file (ArrowInvalid",
    "show other.parquet": "no results at other.parquet, a file (KeyError",
    "report --results damaged.parquet": "no results at damaged.parquet, a file (",
    "watch A.parquet": "is a file, in which nothing runs; expected a results folder",
    "choose A.parquet": "has no models and no files of single searches",
    "run --results A.parquet": "A.parquet",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_is_one_line(
    command: str, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(work)
    (work / "text.parquet").write_text("no table")
    pd.DataFrame({"x": [1]}).to_parquet(work / "other.parquet")
    content = (work / "a.parquet").read_bytes()
    (work / "damaged.parquet").write_bytes(content[:5000] + bytes(2000) + content[7000:])
    if not (work / "other").exists():
        write_store(work / "other", [search("ald")], [])
    words = command.replace("A", "a").replace("B", "b").split()
    with pytest.raises(SystemExit) as stop:
        main(words)
    out, line = capsys.readouterr()
    assert stop.value.code == 2 and line.count("\n") == 1 and out == ""
    assert BAD[command].replace("A.", "a.") in line


def test_a_file_may_have_fewer_epochs(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of three epochs the second, by a step of two, and the last; nothing else is less."""
    with pytest.raises(SystemExit) as stop:
        main(["export", str(work / "b"), "--to", "study", "--epochs", "2", "--out", str(work / "thin.parquet")])
    assert stop.value.code == 0
    thin, whole = ResultsStore(work / "thin.parquet"), ResultsStore(work / "b")
    assert sorted(thin.epochs()["epoch"].unique()) == [2, 3]
    for name in ("searches", "trials", "curves"):
        pd.testing.assert_frame_equal(getattr(thin, name)(), getattr(whole, name)(), check_dtype=False)
    with pytest.raises(SystemExit) as stop:
        main(["export", str(work / "b"), "--to", "csv", "--epochs", "2"])
    assert stop.value.code == 2 and "with --to study" in capsys.readouterr().err
