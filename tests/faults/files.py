"""Disturbances of files: a full disk, a folder that turns read-only, damage, and reading what is damaged.

Each starts a suite once, or starts it again, and says what is not as it should be then: None where the suite was done
before anything could happen to it.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

from benchmark.store.folders import SearchFolder
from tests.faults.bench import Skipped, Try
from tests.faults.processes import Problems
from tests.faults.run import Run

FULL = "No space left on device"
IN_SEARCH = ("search.json", "model.pt", "images.npz")
IN_TRAINING = ("checkpoint.pt", "epochs.arrow", "trial.json", "request.json", "model.pt")
DAMAGES = ("torn", "flipped", "emptied")
READERS = {  # which files they cannot do without
    "benchmark show {results}": ("search.json",),
    "reports --results {results} --out {out}": ("search.json", "trial.json", "epochs.arrow", "images.npz"),
}


def full_disk(one: Try) -> Problems:
    """A disk that fills up in the middle, or when a worker has died, or when a repair is due: one line."""
    if not one.on_disk:
        raise Skipped("a disk of its own needs root, to mount it")
    filler = one.disk / "filler"
    ways = [_fills, _fills_before_a_death] if one.results.exists() else [_fills, _fills_before_a_repair]
    try:
        return one.rng.choice(ways)(one, filler)
    finally:
        filler.unlink(missing_ok=True)


def _fills(one: Try, filler: Path) -> Problems:
    needed = sum(path.stat().st_blocks * 512 for path in one.bench.undisturbed.rglob("*"))
    _fill(filler, one.rng.uniform(0, one.share) * needed)
    with one.suite() as run:
        return None if run.process.wait() == 0 else run.end(2, FULL)


def _fills_before_a_death(one: Try, filler: Path) -> Problems:
    with one.suite(jobs=1) as run:
        worker = run.stop_worker() if one.waits(run, started=True) else None
        if worker is None:
            return None
        _fill(filler)
        os.kill(worker, signal.SIGKILL)
        return run.end(2, FULL)


def _fills_before_a_repair(one: Try, filler: Path) -> Problems:
    shutil.copytree(one.bench.undisturbed, one.results, dirs_exist_ok=True)
    for path in one.results.glob("searches/*/model.pt"):
        damage(path, "emptied", one.rng)
    _fill(filler)
    with one.suite() as run:
        return run.end(2, FULL)


def _fill(filler: Path, free: float = 0) -> None:
    state = os.statvfs(filler.parent)
    filler.write_bytes(bytes(max(0, state.f_bavail * state.f_frsize - int(free))))


def read_only(one: Try) -> Problems:
    """The results folder takes no more writes for a while (its disk is remounted; without root, permissions)."""
    with one.suite() as run:
        if not one.waits(run, started=True):
            return None
        _protect(one, True)
        problems = run.end(2, "Read-only file system" if one.on_disk else "Permission denied")
    _protect(one, False)
    return problems


def _protect(one: Try, on: bool) -> None:
    if one.on_disk:
        command = ["mount", "-o", f"remount,{'ro' if on else 'rw'}", str(one.disk)]
        while subprocess.run(command, capture_output=True).returncode != 0:  # busy while a file is being written
            time.sleep(0.001)
    else:
        for path in one.results.rglob("*"):
            if path.is_dir():
                path.chmod(0o500 if on else 0o700)


def damaged(one: Try) -> Problems:
    """A damaged file in every search, of a killed suite or a done one: each is named once, and its search redone.

    In a shared training too, where a search still needs it.
    """
    searches = _leave_results(one)
    needed = sorted({path for search in searches for path in _needed_trainings(search)})
    damages = [damage_one(search, one.rng) for search in searches]
    damages += [_damage_some([path / name for name in IN_TRAINING], one.rng) for path in needed[:1]]
    with one.suite() as run:
        problems = run.end(0) + one.bench.compare(one.results)
    for path, notable in damages:
        times = run.output.count(f"{path} is damaged")
        if times > 1 or notable and times == 0:
            problems.append(f"{path} was damaged, which was said {times} times")
    return problems


def _leave_results(one: Try) -> list[Path]:
    """Results of a suite that was killed, or of one that is done, unless there are some; the searches in them."""
    if not one.results.exists() and one.rng.random() < 0.3:
        shutil.copytree(one.bench.undisturbed, one.results)
    elif not one.results.exists():
        with one.suite(FAULT_KILL_AT=str(one.operation())) as run:
            run.process.wait()
    return sorted(path.parent for path in one.results.glob("searches/*/search.json"))


def damage(path: Path, kind: str, rng: random.Random) -> None:
    """Cuts a file off at a random length, flips a random bit, or empties it."""
    content = bytearray(path.read_bytes())
    if kind == "flipped":
        bit = rng.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
    else:
        del content[rng.randrange(len(content)) if kind == "torn" else 0 :]
    path.write_bytes(content)


def damage_one(search: Path, rng: random.Random) -> tuple[Path, bool]:
    """Damages a random file of a search: which, and whether that must be noticed."""
    trials = list((search / "trials").glob("*"))
    paths = [search / name for name in IN_SEARCH] + [trial / name for trial in trials for name in IN_TRAINING]
    return _damage_some(paths, rng)


def _needed_trainings(search: Path) -> list[Path]:
    """The folders of the shared trainings that a search which was killed goes on with."""
    trials = [trial for trial in SearchFolder(search).trials() if not (trial.path / "trial.json").exists()]
    keys = [(trial.request() or {}).get("shared") for trial in trials]
    folders = [search.parents[1] / "trainings" / key for key in keys if key]
    return [folder for folder in folders if (folder / "epochs.arrow").exists()]


def _damage_some(paths: list[Path], rng: random.Random) -> tuple[Path, bool]:
    path = rng.choice(sorted(path for path in paths if path.exists() and path.stat().st_size))
    used, before = _is_used(path), path.read_bytes()
    damage(path, rng.choice(DAMAGES), rng)
    return path, used and not _says_the_same(before, path.read_bytes())


def _is_used(path: Path) -> bool:
    """Whether a file's content counts: it is not one that is written anew when its interrupted search goes on."""
    if path.name in ("search.json", "trial.json", "request.json", "checkpoint.pt"):
        return True
    in_trial = path.parent.parent.name in ("trials", "trainings")
    return (path.parent / "trial.json").exists() if in_trial else SearchFolder(path.parent).status() == "done"


def _says_the_same(before: bytes, after: bytes) -> bool:
    """Whether the content is the same, or the same JSON but for white space."""
    try:
        return bool(json.loads(before) == json.loads(after))
    except ValueError:
        return before == after


def read_damaged(one: Try) -> Problems:
    """`show` and the reports on results with one damaged file: a line that names it, and exit code 2."""
    searches = _leave_results(one)
    if not searches:
        return None
    path, notable = damage_one(one.rng.choice(searches), one.rng)
    problems = []
    for command, needed in READERS.items():
        words = [word.format(results=one.results, out=one.disk / "report") for word in command.split()]
        with Run(one.bench.root, one.results, words) as run:
            fails = run.process.wait() == 2 or notable and path.name in needed
            ended = run.end(2, f"{path} is damaged") if fails else run.end(0)
            problems += [f"{path.name} damaged, {words[0]}: {problem}" for problem in ended]
    return problems
