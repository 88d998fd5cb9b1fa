"""The command line as a user meets it: the main job, failures, and bad input."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import TINY, benchmark, environment

import benchmark as latentbench
from benchmark.datasets import load_dataset
from benchmark.store import ResultsStore
from benchmark.store.columns import KEYS, SEARCH_COLUMNS, TRIAL_COLUMNS
from benchmark.store.rows import EPOCH_COLUMNS
from searchers import GROUPS, KINDS
from searchers import SEARCHERS as REGISTRY

# `benchmark list` names these; other programs rely on them.
SEARCHERS = ("grid", "random", "tpe", "tolerance", "halving", "ald", "geco-l0arm", "sparsity")

OWN_SEARCHER = '''
import os
import signal

from searchers.base import KEEP_ALL, Choice, Controller, Expected, Searcher
from searchers.parts.objectives import Loss


class Descending(Searcher):
    """Halves the size while a short training's error rises by less than a tenth."""

    def expected(self, space, epochs, seed):
        return [Expected(16, 2), Expected(8, 2), Expected(4, 2), Expected(4, epochs)]

    def search(self, problem):
        def error(trial):
            return trial.history["recon_sse"].iloc[-1]

        size, short = 16, 2
        best = problem.train(size, epochs=short)
        while size > 2 and error(trial := problem.train(size // 2, epochs=short)) < 1.1 * error(best):
            size, best = size // 2, trial
        return Choice(problem.train(size))


class Killed(Searcher):
    def search(self, problem):
        problem.train(4)
        os.kill(os.getpid(), signal.SIGKILL)


class Exploding(Controller):
    def loss(self, vae, x, generator):
        loss = super().loss(vae, x, generator)
        return Loss(loss.total * float("inf"))

    def after_epoch(self, history, model):
        return KEEP_ALL


class Diverges(Searcher):
    def search(self, problem):
        return Choice(problem.train(4, Exploding()))


class Raises(Searcher):
    def search(self, problem):
        raise RuntimeError("no idea\\nsecond line")
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's working directory, with a results folder that a suite has filled."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.toml").write_text(TINY.format(epochs=3))
    (folder / "own.py").write_text(OWN_SEARCHER)
    names = [*SEARCHERS, "own:Descending", "own:Killed", "own:Raises", "own:Diverges"]
    arguments = ["--protocol", "tiny.toml", "--searchers", *names, "--seeds", 0, "--results", "results"]
    done = benchmark("run", *arguments, cwd=folder, cache=folder / "cache")
    assert done.returncode == 1, done.stderr  # three of the searches fail
    (folder / "printed").write_text(done.stdout)
    return folder


def test_every_search_is_a_row(folder: Path) -> None:
    searches = ResultsStore(folder / "results").searches().set_index("searcher")
    assert set(searches.index) == {*SEARCHERS, "own:Descending", "own:Killed", "own:Raises", "own:Diverges"}
    failed = searches[searches["status"] == "failed"]
    assert failed["error"].to_dict() == {
        "own:Raises": "RuntimeError: no idea",
        "own:Diverges": "FloatingPointError: the loss is nan in epoch 1; lower the learning rate",
        "own:Killed": "the worker process was killed by SIGKILL (out of memory?); "
        "run the same command again to continue",
    }
    assert (searches["status"] == "done").sum() == 9
    assert failed.loc["own:Killed", "n_epochs"] == 3  # what it cost is still there


def test_contract_columns_and_sums(folder: Path) -> None:
    store = ResultsStore(folder / "results")
    epochs, trials, searches = store.epochs(), store.trials(), store.searches()
    assert set(epochs.columns) >= {*KEYS, *EPOCH_COLUMNS}
    assert {name for name in epochs.columns if name not in (*KEYS, *EPOCH_COLUMNS)} == {
        name for name in epochs.columns if name.startswith("ctl_")
    }
    assert set(trials.columns) == {*KEYS, *TRIAL_COLUMNS}
    assert set(searches.columns) >= {*KEYS, *SEARCH_COLUMNS, "env_torch", "env_threads", "setting_start_latent_dim"}
    done = searches[searches["status"] == "done"].set_index("search_id")
    for search_id, search in done.iterrows():
        own = trials[trials["search_id"] == search_id]
        rows = epochs[epochs["search_id"] == search_id]
        assert search["n_trials"] == len(own) and search["n_epochs"] == len(rows)
        assert search["train_seconds"] == pytest.approx(rows["train_seconds"].sum())
        assert search["train_flops"] == rows.groupby("trial")["train_flops"].max().sum() > 0
        assert search["images_seen"] == rows.groupby("trial")["images_seen"].max().sum()
        assert search["wall_seconds"] >= search["train_seconds"] + search["eval_seconds"]
        chosen = own.set_index("trial").loc[search["chosen_trial"]]
        assert search["latent_dim"] == chosen["latent_dim"]
        assert np.isfinite(
            search[["test_recon_nll", "test_fid_recon", "test_fid_gen", "test_silhouette"]].tolist()
        ).all()
    assert done["protocol_hash"].nunique() == 1


def test_what_the_data_are_is_recorded_and_printed(folder: Path) -> None:
    searches = ResultsStore(folder / "results").searches()
    said = "1,797 images, grey 8x8; 10 classes of 174 to 183 images; splits: 1,293 train, 144 validation, 360 test"
    said += "; all differ by seed (5 partitions)"
    assert set(searches["data"]) == {said}
    assert set(searches["data_fingerprint"]) == {load_dataset("digits").fingerprint}
    assert f"digits: {said}" in (folder / "printed").read_text().splitlines()


def test_grid_costs_the_sum_of_its_sizes(folder: Path) -> None:
    trials = ResultsStore(folder / "results").trials()
    assert trials[trials["searcher"] == "grid"]["start_latent_dim"].tolist() == [2, 4, 8]


def test_exported_models_work(folder: Path) -> None:
    store = ResultsStore(folder / "results")
    for _, search in store.searches().query("status == 'done'").iterrows():
        vae = latentbench.load_model(store.folder(search["search_id"]).path / "model.pt")
        mean, logvar = vae.encode(torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
        assert mean.shape == logvar.shape == (5, search["latent_dim"])
        assert vae.decode(mean).shape == (5, 1, 8, 8)
        gallery = store.gallery(search["search_id"])
        assert gallery is not None and gallery.pop("labels").shape == (10,)
        assert {name: images.shape for name, images in gallery.items()} == dict.fromkeys(
            ("originals", "reconstructions", "samples"), (10, 1, 8, 8)
        )


def test_the_summary_and_show_name_every_search(folder: Path) -> None:
    shown = benchmark("show", "results", cwd=folder, cache=folder / "cache", cold=True)
    assert shown.returncode == 0
    for text in (shown.stdout, (folder / "printed").read_text()):
        assert all(name in text for name in (*SEARCHERS, "own:Descending", "RuntimeError: no idea"))


def test_choose_decides_where_all_trainings_were_compared(folder: Path) -> None:
    chosen = benchmark("choose", "results", "--rule", "tolerance", cwd=folder, cache=folder / "cache", cold=True)
    assert chosen.returncode == 0
    named = [name for name in SEARCHERS if f"-{name}-s0-" in chosen.stdout]
    assert named == ["grid", "random", "tpe", "tolerance"]  # halving has trained some of its sizes a little only


def test_list(tmp_path: Path) -> None:
    listed = benchmark("list", cwd=tmp_path, cache=tmp_path, cold=True)
    names = (*SEARCHERS, "digits", "mnist", "tiles", "linear", "folder", "mlp", "conv", "geco-conv", "asperti-dense")
    assert listed.returncode == 0
    assert all(any(line.split()[:1] == [name] for line in listed.stdout.splitlines()) for name in names)


def test_searchers_in_groups(tmp_path: Path) -> None:
    listed = benchmark("list", cwd=tmp_path, cache=tmp_path).stdout.splitlines()
    starts = [listed.index(f"searchers that {kind}:") for kind in KINDS.values()]
    assert starts[0] < listed.index(next(line for line in listed if line.startswith("  grid "))) < starts[1] < starts[2]
    plan = benchmark("run", "--searchers", "fast", "grid", "--seeds", "0", "--dry-run", cwd=tmp_path, cache=tmp_path)
    planned = [line.split()[0] for line in plan.stdout.splitlines() if line.split()[:1]]
    assert {name for name in planned if name in REGISTRY} == {"grid", *GROUPS["fast"]}
    assert {"nested", "twonn"} < set(GROUPS["fast"]) and "tpe" not in GROUPS["fast"]


# What the workers find out, whose environment is their own; the rest of bad input is in `test_bad_input`.
BAD = {
    "run --searchers gird": "unknown searcher 'gird'; did you mean 'grid'?",
    "run --dataset mnist": "LATENTBENCH_DATA",  # not downloaded, and no network to a host of that name
    "run --backbone geco-conv": "images of shape 1x8x8",
    "run --device tpu9": "device 'tpu9' cannot be used here",
    "run --features inception": "inception: found no",
    "prepare minst": "did you mean 'mnist'?",
    "show missing": "no results at missing",
    "": "the following arguments are required",
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_line_and_exit_code_2(arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # no download leaves this machine
    (tmp_path / "work").mkdir()
    got = benchmark(*arguments.split(), cwd=tmp_path / "work", cache=tmp_path / "cache")
    assert (got.returncode, got.stdout) == (2, "")
    assert got.stderr.count("\n") == 1 and got.stderr.startswith("latentbench: ")
    assert BAD[arguments] in got.stderr
    assert not list((tmp_path / "work").iterdir())


def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "benchmark", "list"]
    got = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (got.returncode, got.stderr) == (1, b"")


def test_a_dry_run_prints_the_plan_and_runs_nothing(folder: Path) -> None:
    arguments = ["--protocol", "tiny.toml", "--seeds", 0, 1, "--results", "results", "--dry-run"]
    done = benchmark("run", *arguments, cwd=folder, cache=folder / "cache")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "10 searches, 5 done; " in done.stdout  # seed 0 has run
    assert "speed: median of 1 finished search" in done.stdout or "finished searches" in done.stdout
    assert set(ResultsStore(folder / "results").searches()["seed"]) == {0}


def test_results_at_a_url_are_those_in_a_folder(folder: Path) -> None:
    url = f"file://{folder / 'store'}"
    arguments = ["--protocol", "tiny.toml", "--seeds", 0, "--searchers", "sparsity", "--results", url]
    done = benchmark("run", *arguments, cwd=folder, cache=folder / "cache")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    own, plain = (ResultsStore(folder / name).epochs() for name in ("store", "results"))
    plain = plain[plain["searcher"] == "sparsity"]
    columns = ["search_id", "epoch", "latent_dim", "recon_nll", "fid_gen", "train_flops"]
    assert own[columns].to_numpy().tolist() == plain[columns].to_numpy().tolist() and len(own) == 3
    assert not [path for path in (folder / "store").rglob("*") if path.name.startswith((".", "claim-", "checkpoint"))]
    shown = benchmark("show", url, cwd=folder, cache=folder / "elsewhere")
    assert shown.returncode == 0 and "sparsity" in shown.stdout
