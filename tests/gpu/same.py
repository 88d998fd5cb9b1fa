"""A GPU's searches against a CPU's, and against themselves: repeated, and killed and run again."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmark.backbones.model_file import load_model
from benchmark.config.protocol import Evaluation
from benchmark.datasets import load_dataset
from benchmark.errors import Damaged, InputError
from benchmark.metrics.assessment import assess
from benchmark.metrics.evaluation import Evaluator
from benchmark.metrics.features import load_features
from benchmark.store import ResultsStore
from tests.gpu.part import Arguments, latentbench, read_arguments

UNSAMPLED = "searchers.experiments.unsampled:UnsampledGrid"
EXACT = ("recon_nll", "recon_sse", "kl", "elbo", "iwae", "fid_recon", "fid_gen")
MACHINE = ["train_seconds", "eval_seconds", "wall_seconds", "peak_memory_bytes", "reserved_memory_bytes", "attempts"]


def _run(arguments: Arguments, device: str, name: str, *options: object, **kwargs: object) -> ResultsStore:
    """Searches on digits in a results folder of this name."""
    results, epochs = arguments.out / "results" / "same" / name, 4 if arguments.is_small else 12
    sizes, jobs = ([2, 8], 1) if arguments.is_small else ([2, 4, 8], 3)
    few = ("--set", "evaluation.max_images=200", "--set", "evaluation.draws=4", "--set", f"space.sizes={sizes}")
    latentbench(
        *("run", "--dataset", "digits", "--seeds", 0, "--epochs", epochs, "--device", device, "--results", results),
        *("--jobs", jobs, *few, *options),
        **kwargs,  # type: ignore[arg-type]
    )
    return ResultsStore(results)


def against_cpu(arguments: Arguments, on_device: ResultsStore) -> None:
    """Training without noise, whose steps are the same on both; a model assessed on both; the grid's answers."""
    report = arguments.report
    stores = [_run(arguments, "cpu", "on-cpu", "--searchers", "grid", UNSAMPLED, "--deterministic"), on_device]
    first = "searcher == @UNSAMPLED and epoch <= 3"  # roundings grow with the steps
    losses = [store.epochs().query(first)["train_loss"].to_numpy() for store in stores]
    report.at_most("training without noise, GPU - CPU: loss of 3 epochs, relative", _apart(*losses), 1e-3)
    grids = [store.searches().query("searcher == 'grid'").iloc[0] for store in stores]
    good = [{int(own["latent_dim"]), *map(int, own["as_good"])} for own in grids]
    agree = int(grids[1]["latent_dim"]) in good[0] or int(grids[0]["latent_dim"]) in good[1]
    sizes = " and ".join(f"{own['latent_dim']:g}" for own in grids)
    report.add("grid's size on CPU and GPU", "equal, or one as good", sizes, agree)
    elbos = [store.curves().query("searcher == 'grid' and split == 'val'")["elbo"].to_numpy() for store in stores]
    report.at_most("grid's ELBOs, with each device's own noise, relative", _apart(*elbos), 0.05)
    dataset = load_dataset("digits").for_seed(0)
    features = load_features("classifier", load_dataset("digits"), torch.device("cpu"))
    model = stores[0].folder(grids[0]["search_id"]).path / "model.pt"
    rows = []
    for name in ("cpu", arguments.device):
        device = torch.device(name)
        moved = type(features)(features.network.to(device), features.name)  # type: ignore[attr-defined,call-arg]
        evaluator = Evaluator(dataset.val, dataset.n_classes, moved, Evaluation(draws=4), device)
        rows.append(assess(evaluator, load_model(model).to(device), None, seed=1, with_iwae=True))
    for metric in EXACT:
        values = (np.array([row[metric]]) for row in rows)
        report.at_most(f"a model assessed on both: {metric}, relative", _apart(*values), 1e-3)


def _apart(a: "np.ndarray", b: "np.ndarray") -> float:
    """The largest difference, relative to the first."""
    return float(np.max(np.abs(a - b) / np.abs(a))) if len(a) == len(b) else float("inf")


def options_of(arguments: Arguments) -> tuple[str, ...]:
    """Of the searches on the device."""
    searchers = ("grid", UNSAMPLED, "ald") if arguments.is_small else ("grid", UNSAMPLED, "ald", "nested")
    return ("--searchers", *searchers, "--deterministic", "--set", "searchers.ald.patience=2")


def repeated(arguments: Arguments, first: ResultsStore) -> None:
    """The same searches again, and killed amid a training and run again."""
    options = options_of(arguments)
    sizes = first.epochs().groupby(["search_id", "trial"])["latent_dim"].nunique()
    arguments.report.at_least("trainings in which latents went, of those repeated", float((sizes > 1).sum()), 1)
    if not arguments.is_small:  # a CPU that was killed repeats itself as well
        second = _run(arguments, arguments.device, "second", *options)
        arguments.report.add("--deterministic, twice", "equal bits", *_equal(first, second))
    killed = arguments.out / "results" / "same" / "killed"
    _run(arguments, arguments.device, "killed", *options, kill_when=lambda: _is_amid(killed))
    again = _run(arguments, arguments.device, "killed", *options)
    arguments.report.add("--deterministic, killed and run again", "equal bits", *_equal(first, again))


def _is_amid(results: Path) -> bool:
    """Whether a training has some epochs."""
    try:
        rows = ResultsStore(results).epochs()
    except (InputError, Damaged, OSError):
        return False
    return bool((rows["epoch"] >= 2).any())


def _equal(a: ResultsStore, b: ResultsStore) -> tuple[str, bool]:
    """What differs between two results, times and memory apart."""
    for frame in ("searches", "trials", "epochs", "latents", "curves"):
        own, other = (getattr(store, frame)().drop(columns=MACHINE, errors="ignore") for store in (a, b))
        try:
            pd.testing.assert_frame_equal(own, other, check_exact=True)
        except AssertionError as error:
            return f"{frame} differ: {' '.join(str(error).split())[:150]}", False
    models = [sorted(store.path.glob("searches/*/model.pt")) for store in (a, b)]
    for ours, theirs in zip(*models, strict=True):
        mine, others = load_model(ours).state_dict(), load_model(theirs).state_dict()
        if not all(torch.equal(value, others[name]) for name, value in mine.items()):
            return f"the weights of {ours.parent.name} differ", False
    return f"equal: {len(models[0])} models and all frames", True


def main() -> None:
    """Both."""
    arguments = read_arguments("same")
    shutil.rmtree(arguments.out / "results" / "same", ignore_errors=True)
    first = _run(arguments, arguments.device, "first", *options_of(arguments))
    against_cpu(arguments, first)
    repeated(arguments, first)


if __name__ == "__main__":
    sys.exit(main())
