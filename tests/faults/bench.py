"""The bench of the fault harness: suites, an undisturbed one to compare with, tries and their tally."""

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from benchmark.store.folders import SearchFolder
from tests.faults.run import TESTS, Run
from tests.faults.state import differences, read_state

SEARCHERS = ("grid", "random", "tpe", "ald", "geco-l0arm", "sparsity")
DISK_MEGABYTES = 64

# In each searcher's training something happens within its few epochs: latents are removed, gates close.
PROTOCOL = """
[dataset]
name = "digits"
[backbone]
name = "mlp"
hidden = [32]
[training]
epochs = 12
epoch_batches = 20
batch_size = 32
learning_rate = 0.005
[evaluation]
features = "classifier"
silhouette_images = 50
probe_images = 3
[space]
low = 2
high = 16
sizes = [2, 4]
[searchers.tpe]
n_startup = 1
[searchers.ald]
patience = 2
decrease = 4
[searchers.geco-l0arm]
tau = 3.5
[searchers.sparsity]
stable_epochs = 1
max_mean_variance = 0.1
min_variance_mean = 0.7
"""


class Bench:
    """A folder with all that suites need, and the results of an undisturbed one.

    state: what those say. operations: how many file operations it took. start_seconds: until the first of them.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.undisturbed = root / "undisturbed"
        (root / "shim").mkdir(parents=True)
        shutil.copy(TESTS / "shim.py", root / "shim" / "sitecustomize.py")
        (root / "protocol.toml").write_text(PROTOCOL)
        start = time.monotonic()
        with self.suite(self.undisturbed) as run:
            run.reaches(lambda: run.operations() > 0)
            self.start_seconds = time.monotonic() - start
            problems = run.end(0)
        assert not problems, problems
        self.operations = run.operations()
        self.state = read_state(self.undisturbed)

    def suite(self, results: Path, jobs: int = 2, **settings: str) -> Run:
        """Starts a suite of all searchers. settings: environment variables, such as those of `tests.faults.shim`."""
        command = f"benchmark run --protocol protocol.toml --seeds 0 --jobs {jobs} --device cpu --results".split()
        return Run(self.root, results, [*command, str(results), "--searchers", *SEARCHERS], **settings)

    def is_done(self, results: Path) -> bool:
        """Whether all of a suite's searches have ended."""
        paths = list((results / "searches").glob("*"))
        return len(paths) == len(SEARCHERS) and all(SearchFolder(path).status() == "done" for path in paths)

    def compare(self, results: Path) -> list[str]:
        """How a results folder differs from the undisturbed one."""
        try:
            return differences(read_state(results), self.state)
        except Exception as error:  # whatever it is: they cannot be read
            return [repr(error)]


@cache
def bench(root: Path) -> Bench:
    """The bench in the folder `root`, made on first use."""
    return Bench(root)


@dataclass
class Try:
    """One suite, disturbed once or more often. What it draws follows from its seed.

    disk: a folder, or a file system of its own (`on_disk`) where this process may mount one. share: of the suite's
    work, after which a disturbance comes at the latest.
    """

    bench: Bench
    seed: int
    disk: Path
    on_disk: bool
    share: float = 0.9

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.results = self.disk / "results"

    def suite(self, jobs: int = 2, **settings: str) -> Run:
        """Starts the suite, or starts it again."""
        return self.bench.suite(self.results, jobs, **settings)

    def operation(self) -> int:
        """A random file operation of the suite, counted from where it goes on."""
        return self.rng.randint(1, max(1, int(self.share * self.bench.operations)))

    def waits(self, run: Run, started: bool = False) -> bool:
        """Waits for a random moment, of the start-up too unless `started`; False where the command ended before."""
        operation, later = self.operation(), self.rng.uniform(0, 0.05)  # that may be amid computations
        if not started and self.rng.random() < 0.3:
            moment = time.monotonic() + self.rng.uniform(0, self.bench.start_seconds)  # on a machine as busy as then
            return run.reaches(lambda: time.monotonic() >= moment or run.operations() >= operation)
        return run.reaches(lambda: run.operations() >= operation) and run.lasts(later)

    def finish(self) -> list[str]:
        """Runs the suite to its end where it is not done; how its results differ from the undisturbed ones."""
        if not self.bench.compare(self.results):
            return []
        with self.suite() as run:
            return run.end(0) + self.bench.compare(self.results)


class Skipped(Exception):
    """A fault that cannot be made here, and why."""


class Tally:
    """Tries of one fault: how many there were, and how many left nothing lost, wrong or behind."""

    on_try: ClassVar[Callable[[int], None]] = staticmethod(lambda tried: None)

    def __init__(self, folder: Path, count: int, seed: int) -> None:
        self.tried = self.survived = 0
        self._bench = bench(folder.parent / "bench")
        self._folder, self._count, self._seed = folder, count, seed

    def tries(self) -> Iterator[Try]:
        """Tries with the seed, the seed plus 1, ... until so many are counted: each can be repeated alone."""
        for seed in range(self._seed, self._seed + 10 * self._count):
            if self.left <= 0:
                return
            with _disk(self._folder / f"{seed:04d}") as (path, on_disk):
                yield Try(self._bench, seed, path, on_disk)
        raise RuntimeError("the fault hardly ever comes before its suite has ended")

    @property
    def left(self) -> int:
        """How many tries are still to be counted."""
        return self._count - self.tried

    def count(self, one: Try, problems: list[str], tried: int = 1) -> None:
        """Counts tries with a common outcome; problems are printed, and the results kept to look at."""
        tried = tried or bool(problems)  # where nothing came of the fault, nothing may be lost either
        self.tried += tried
        self.survived += 0 if problems else tried
        if problems:
            kept = self._folder / f"{one.seed:04d}-kept"
            shutil.copytree(one.disk, kept)
            lines = "".join(f"\n    {problem}" for problem in problems)
            again = f"repeat with --seed {one.seed} --count {tried}"
            print(f"{self._folder.name}, {again}; {kept}:{lines}", file=sys.stderr)
        Tally.on_try(tried)

    @property
    def outcome(self) -> tuple[int, int]:
        """How many were tried and survived."""
        return self.tried, self.survived


@contextmanager
def _disk(path: Path) -> Iterator[tuple[Path, bool]]:
    """A new file system at `path`, or a new folder where this process may not mount one."""
    path.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(path)]
    with ExitStack() as stack:
        mounted = shutil.which("mount") and subprocess.run(command, capture_output=True).returncode == 0
        if mounted:
            stack.callback(subprocess.run, ["umount", "--lazy", str(path)], check=True)
        yield path, bool(mounted)
    shutil.rmtree(path)
