"""A protocol: one experiment, read from a TOML file, with what the command line says otherwise."""

import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from benchmark.config.settings import from_mapping
from benchmark.datasets import check_dataset_name
from benchmark.errors import InputError
from searchers import SEARCHERS
from searchers.registry import unknown_name
from searchers.space import SearchSpace

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROTOCOLS = Path(__file__).parents[1] / "protocols"
DEFAULT_SEARCHERS = ("grid", "random", "ald", "geco-l0arm", "sparsity")
DATASET_PROTOCOLS = {  # whose name is not the dataset's own
    "sprites": "ald-sprites",
    "dsprites": "geco-table1-dsprites",
    "shapes3d": "geco-table1-shapes3d",
    "cars3d": "geco-table1-cars3d",
    "cifar100": "geco-table1-cifar100",
    "tiles": "asperti-tiles-dense",
}
DEFAULT_SEEDS = (0, 1, 2)
PRECISIONS = ("float32", "bf16")
SCHEDULES = ("constant", "cosine")
EXECUTORS = ("local", "ray")
EXECUTIONS = ("sequential", "spread", "stacked")  # one training after another; on several workers; as one model
FEATURES = ("auto", "classifier", "inception")
CLASSIFIER = re.compile("classifier:[0-9a-f]{8}")  # the one of these weights: how a suite calls its own
MAX_THREADS = 1024  # where there are very many, torch crashes


@dataclass(frozen=True)
class Training:
    """One full training's budget and optimiser (Adam).

    The budget is `epochs`, or `batches` where that is given, times `scale` (for a smoke run; the store records it).
    epoch_batches: batches after which the metrics are computed; None: once in a pass over the images.
    threads: CPU threads of a search, whatever the number of jobs. precision: of the products in training; bf16 is
    faster where the hardware has it, weights and metrics stay float32. schedule: of the learning rate over a training's
    budget; cosine rises to learning_rate within the first 5 % and falls to 1 % of it. deterministic: a GPU repeats
    itself bit for bit, at some cost; a CPU always does.
    """

    epochs: int = 100
    batches: int | None = None
    epoch_batches: int | None = None
    scale: float = 1.0
    batch_size: int = 64
    learning_rate: float = 1e-3
    schedule: str = "constant"
    threads: int = 1
    precision: str = "float32"
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.threads > MAX_THREADS:
            raise ValueError(f"threads is {self.threads}; expected at most {MAX_THREADS}")
        for name in ("batches", "epoch_batches"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate is {self.learning_rate}; expected a number between 0 and 1")
        for name, known in (("precision", PRECISIONS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise ValueError(unknown_name(name, getattr(self, name), known))
        if not 0 < self.scale <= 1:
            raise ValueError(f"scale is {self.scale}; expected a number above 0 and at most 1")

    def steps_per_epoch(self, n_images: int) -> int:
        """Batches between two evaluations."""
        whole_pass = n_images // min(self.batch_size, n_images)
        return whole_pass if self.epoch_batches is None else min(self.epoch_batches, whole_pass)

    def with_epochs(self, n_images: int) -> "Training":
        """The same budget in whole epochs of `n_images`, its scale applied: the nearest number, at least 1."""
        epochs = self.epochs if self.batches is None else self.batches / self.steps_per_epoch(n_images)
        return replace(self, epochs=max(1, round(epochs * self.scale)))


@dataclass(frozen=True)
class Evaluation:
    """What the metrics are computed on.

    features: of both FIDs; auto is inception on a GPU where its weights can be had, else classifier. max_images: of a
    split, for all metrics. silhouette_images: of them, for both silhouettes (2312.06280, figure 1: 500). probe_images:
    of them, those whose posterior every epoch's row keeps (`ResultsStore.probes()`).
    """

    features: str = "auto"
    max_images: int = 10_000
    silhouette_images: int = 500
    probe_images: int = 0

    def __post_init__(self) -> None:
        if self.features not in FEATURES and not CLASSIFIER.fullmatch(self.features):
            raise ValueError(unknown_name("features", self.features, FEATURES))
        if self.max_images < 2 or self.silhouette_images < 2:
            got = f"max_images is {self.max_images} and silhouette_images {self.silhouette_images}"
            raise ValueError(f"{got}; expected at least 2 each")
        if self.probe_images < 0:
            raise ValueError(f"probe_images is {self.probe_images}; expected at least 0")


@dataclass(frozen=True)
class Resources:
    """What a search takes of a cluster's node; results do not follow from it.

    cpus: None is training.threads. gpus: where the device is a GPU; a fraction lets searches share one. memory_gb: of
    main memory. max_retries: how often a search is started again whose node was lost.
    """

    cpus: float | None = None
    gpus: float = 1.0
    memory_gb: float | None = None
    max_retries: int = 3

    def __post_init__(self) -> None:
        for name in ("cpus", "gpus", "memory_gb"):
            amount = getattr(self, name)
            if amount is not None and not 0 < amount < math.inf:
                raise ValueError(f"{name} is {amount}; expected a number above 0")
        if self.gpus > 1 and self.gpus % 1:
            raise ValueError(f"gpus is {self.gpus}; expected a whole number, or less than 1")
        if self.max_retries < 0:
            raise ValueError(f"max_retries is {self.max_retries}; expected at least 0")


@dataclass(frozen=True)
class Named:
    """A dataset's or backbone's name and its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """One experiment.

    space: the latent sizes that every searcher chooses from.
    searchers: settings by searcher name; one without any has its defaults. A name may carry a variant, `ald@100`, so
    that one searcher runs with several settings. run and seeds: which of them run where the protocol is asked for by
    name and the command line says nothing else. show_latents: print each latent's statistics at the end.
    """

    name: str
    dataset: Named
    backbone: Named
    summary: str = ""
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    space: SearchSpace = SearchSpace()
    resources: Resources = Resources()
    searchers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    run: tuple[str, ...] = DEFAULT_SEARCHERS
    seeds: tuple[int, ...] = DEFAULT_SEEDS
    show_latents: bool = False

    def __post_init__(self) -> None:
        for name in ("run", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty; expected at least one, or leave the setting out")


def protocol_names() -> list[str]:
    """The names that `load_protocol` takes."""
    return sorted(path.stem for path in PROTOCOLS.glob("*.toml"))


def dataset_protocol(dataset: str) -> Protocol:
    """The protocol that a dataset runs with by default, for the searchers and seeds that every dataset has."""
    kind = dataset.partition(":")[0]
    protocol = load_protocol(DATASET_PROTOCOLS.get(kind, kind))
    return replace(protocol, run=DEFAULT_SEARCHERS, seeds=DEFAULT_SEEDS, show_latents=False)


def load_protocol(name: str) -> Protocol:
    """Reads `protocols/NAME.toml`, or a user's own file where `name` ends in .toml.

    Raises InputError where there is none or a key or value does not fit.
    """
    path = Path(os.path.expanduser(name)) if name.endswith(".toml") else PROTOCOLS / f"{name}.toml"
    if not path.is_file():
        raise InputError(unknown_name("protocol", name, protocol_names()) + ", or the path of a .toml file")
    try:
        return parse_protocol(path.read_text(encoding="utf-8-sig"), path.stem)  # with or without a byte-order mark
    except OSError as error:
        raise InputError(f"cannot read protocol {path}: {error}; expected a TOML file") from error
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read protocol {path}: {error}; expected a TOML file: save it as UTF-8") from error


def parse_protocol(text: str, name: str) -> Protocol:
    """A protocol from TOML text; see `load_protocol`."""
    where = f"protocol {name}"
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not valid TOML ({error}); correct it there") from error
    if "name" in table:
        raise InputError(f"{where}: name is {table['name']!r}; a protocol's name is its file's: remove the setting")
    named = {key: _named(table, key, where) for key in ("dataset", "backbone")}
    protocol = cast(Protocol, from_mapping(Protocol, {**table, **named, "name": name}, where))
    for searcher in protocol.searchers:
        base = searcher.partition("@")[0]
        if base not in SEARCHERS and ":" not in base:
            raise InputError(f"{where}: {unknown_name('searcher', base, SEARCHERS)}, or your own as module:Class")
    return protocol


def _named(table: Mapping[str, Any], key: str, where: str) -> Named:
    options = table.get(key)
    if not isinstance(options, dict) or not isinstance(options.get("name"), str):
        raise InputError(f"{where}: {key} is {options!r}; expected a table with a name")
    return Named(options["name"], {name: value for name, value in options.items() if name != "name"})


def override(
    protocol: Protocol,
    dataset: str | None = None,
    backbone: str | None = None,
    epochs: int | None = None,
    scale: float | None = None,
    features: str | None = None,
    precision: str | None = None,
    deterministic: bool | None = None,
) -> Protocol:
    """The protocol with what the command line says otherwise; another dataset or backbone has its default options."""
    if dataset is not None and dataset != protocol.dataset.name:
        check_dataset_name(dataset)
        same_kind = dataset.partition(":")[0] == protocol.dataset.name.partition(":")[0]  # folder:A, folder:B
        protocol = replace(protocol, dataset=Named(dataset, protocol.dataset.options if same_kind else {}))
    if backbone is not None and backbone != protocol.backbone.name:
        protocol = replace(protocol, backbone=Named(backbone))
    changed = {"epochs": epochs, "scale": scale, "precision": precision, "deterministic": deterministic}
    training = asdict(protocol.training) | {key: value for key, value in changed.items() if value is not None}
    if epochs is not None:
        training["batches"] = None
    protocol = replace(protocol, training=from_mapping(Training, training, "training"))
    if features is not None:
        protocol = replace(protocol, evaluation=replace(protocol.evaluation, features=features))
    return protocol
