"""A real job: MNIST's grid of the paper as one stacked model, or EuroSAT's sparsity and nested, while time allows."""

import json
import shutil
import sys
import time
from collections.abc import Sequence

import pandas as pd

from benchmark.store import ResultsStore
from tests.gpu.part import Arguments, latentbench, read_arguments
from tests.gpu.prepare import seeds_of, wait_for_data

PAPERS_EPOCHS = {"mnist": 200, "eurosat": 40}  # of 2312.06280; of our own protocol
TRAINING = {"mnist": 35.0, "eurosat": 50.0}  # seconds of training and evaluations; 30 models' assessments come on top
WITHOUT_SPEED = 10  # epochs where part "speed" has not measured one
SMALL_EPOCHS = 4
WAIT = 100.0  # seconds for the data
SMALL = {
    "mnist": ("space.sizes=[4, 16]", "training.epoch_batches=40", "evaluation.max_images=500", "evaluation.draws=4"),
    "eurosat": (
        *("training.epoch_batches=20", "evaluation.max_images=60", "space.high=32", "space.sizes=[8, 32]"),
        *("backbone.channels=4", "backbone.hidden=32", "evaluation.draws=2"),
    ),
}


def affordable_epochs(name: str, arguments: Arguments) -> int:
    """As many as fit, by the speed that part "speed" has measured."""
    path = arguments.out / "epoch-seconds.json"
    if arguments.is_small or not path.exists():
        return SMALL_EPOCHS if arguments.is_small else WITHOUT_SPEED
    of_epoch = json.loads(path.read_text(encoding="utf-8")).get(name)
    return WITHOUT_SPEED if of_epoch is None else max(2, min(PAPERS_EPOCHS[name], int(TRAINING[name] / of_epoch)))


def run(name: str, arguments: Arguments, searchers: Sequence[str], options: Sequence[object]) -> tuple[int, float]:
    """Runs the searches; returns their epochs and the seconds of the whole command."""
    epochs, begin = affordable_epochs(name, arguments), time.monotonic()
    sets = [text for value in (SMALL[name] if arguments.is_small else ()) for text in ("--set", value)]
    latentbench(
        *("run", "--searchers", *searchers, "--seeds", *seeds_of(name, arguments.is_small), "--epochs", epochs),
        *("--features", "classifier", "--device", arguments.device, "--results", arguments.out / "results" / name),
        *(*options, *sets),
    )
    return epochs, time.monotonic() - begin


def tell(name: str, arguments: Arguments, epochs: int, seconds: float) -> None:
    """The lines of a finished job."""
    store, report = ResultsStore(arguments.out / "results" / name), arguments.report
    searches, trials = store.searches(), store.trials()
    n_done, n = int((searches["status"] == "done").sum()), len(searches)
    report.add("searches that are done", f"all {n}", str(n_done), n_done == n)
    report.add("epochs", f"{PAPERS_EPOCHS[name]} have the protocol's quality", f"{epochs} in {seconds:.0f} s")
    for searcher, own in searches.groupby("searcher"):
        sizes = ", ".join(f"{size:g}" for size in own["latent_dim"])
        report.add(f"{searcher}: chosen sizes", "of each seed", sizes)
        report.add(f"{searcher}: test ELBO, nats", "mean over seeds", f"{own['test_elbo'].mean():.2f}")
        gain = own["val_no_latents_nll"] + own["test_elbo"]
        better = (gain > 0).all() if name == "mnist" or not arguments.is_small else None
        report.add(f"{searcher}: better than no latents", "by more than 0 nats", f"by {gain.min():.1f}", better)
    spent = trials[["train_seconds", "eval_seconds"]].sum()
    report.at_most("assessed models and evaluations / training (time)", *_ratio(spent), 1.0, counts=False)
    memory = trials["reserved_memory_bytes"].dropna()
    if len(memory):
        report.add("GPU memory that torch held", "below the card's", f"{memory.max() / 2**30:.2f} GiB")


def _ratio(spent: "pd.Series[float]") -> tuple[float]:
    return (float(spent["eval_seconds"] / spent["train_seconds"]),)


def evaluations(name: str, arguments: Arguments) -> None:
    """What the evaluations after the epochs took, against those epochs' training."""
    epochs = ResultsStore(arguments.out / "results" / name).epochs()
    later = epochs[epochs["epoch"] > 1]
    share = float(later["eval_seconds"].sum() / later["train_seconds"].sum())
    arguments.report.at_most("evaluations / training (time)", share, 0.2, counts=not arguments.is_small)


def main() -> None:
    """One of the two jobs."""
    arguments = read_arguments("job")
    (name,) = arguments.names
    shutil.rmtree(arguments.out / "results" / name, ignore_errors=True)
    why = wait_for_data(name, arguments, WAIT)
    if why:
        arguments.report.add("data", "ready", why[:200], None)
        return
    if name == "mnist":
        options = ["--protocol", "ald-mnist", "--execution", "stacked", "--set", "evaluation.every=10"]
        tell(name, arguments, *run(name, arguments, ["grid"], options))
    else:
        tell(name, arguments, *run(name, arguments, ["sparsity", "nested"], ["--protocol", "eurosat"]))
        evaluations(name, arguments)


if __name__ == "__main__":
    sys.exit(main())
