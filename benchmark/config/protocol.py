"""A protocol: one experiment, read from a TOML file, with what the command line says otherwise."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import StringConstraints

from benchmark.config.settings import from_mapping
from benchmark.config.tables import Table, bundled_protocols, laid_over, parse_table, protocol_file, read_table
from benchmark.errors import InputError
from benchmark.plugins import SEARCHER
from searchers.parts.ranges import Count, Positive, Share
from searchers.rule import ChoiceRule
from searchers.space import SearchSpace

DEFAULT_SEARCHERS = ("grid", "random", "ald", "geco-l0arm", "sparsity")
DATASET_PROTOCOLS = {  # whose name is not the dataset's own
    "sprites": "ald-sprites",
    "dsprites": "geco-table1-dsprites",
    "shapes3d": "geco-table1-shapes3d",
    "cars3d": "geco-table1-cars3d",
    "cifar100": "geco-table1-cifar100",
    "tiles": "asperti-tiles-dense",
}
OTHER_PROTOCOL = "folder"  # of data sets that are no part of latentbench
DEFAULT_SEEDS = (0, 1, 2)
N_PARTITIONS = 5  # of a dataset into training, validation and test images; the seed chooses one
LikelihoodName = Literal[
    "auto", "bernoulli", "gaussian", "gaussian-optimal", "gaussian-learned", "poisson", "negative-binomial"
]
Precision = Literal["float32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
EXECUTORS = ("local", "here", "ray")  # a pool of processes; one search after another in this process; a cluster
EXECUTIONS = ("sequential", "spread", "stacked")  # one training after another; on several workers; as one model
FeaturesKind = Literal["auto", "classifier", "inception", "data"]
FEATURES: tuple[FeaturesKind, ...] = get_args(FeaturesKind)
ThisClassifier = Annotated[str, StringConstraints(pattern="^classifier:[0-9a-f]{8}$")]  # the one of these weights
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

    epochs: Count = 100
    batches: Count | None = None
    epoch_batches: Count | None = None
    scale: Share = 1.0
    batch_size: Count = 64
    learning_rate: Annotated[float, Gt(0), Lt(1)] = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    threads: Annotated[int, Ge(1), Le(MAX_THREADS)] = 1
    precision: Precision = "float32"
    deterministic: bool = False

    def steps_per_epoch(self, n_images: int) -> int:
        """Batches between two evaluations."""
        whole_pass = n_images // min(self.batch_size, n_images)
        return whole_pass if self.epoch_batches is None else min(self.epoch_batches, whole_pass)

    def with_epochs(self, n_images: int) -> "Training":
        """The same budget in whole epochs of `n_images`, its scale applied: the nearest number, at least 1."""
        return replace(self, epochs=max(1, round(self.unscaled_epochs(n_images) * self.scale)))

    def unscaled_epochs(self, n_images: int) -> float:
        """The budget in epochs of `n_images`, without its scale."""
        return self.epochs if self.batches is None else self.batches / self.steps_per_epoch(n_images)


@dataclass(frozen=True)
class Evaluation:
    """What the metrics are computed on.

    features: of both FIDs; auto is data for rows of a table, else inception on a GPU where its weights can be had, else
    classifier. max_images: of a split, for all metrics. silhouette_images: of them, for both silhouettes (2312.06280,
    figure 1: 500). probe_images: of them, those whose posterior every epoch's row keeps (`ResultsStore.probes()`).
    draws: of z an image where a size is chosen or a result reported; fewer, at least 2, where images are many or large
    (`benchmark.metrics.assessment`). iwae_draws: for the importance-weighted bound, on the test split at the end.
    metrics: your own, as module:function (`benchmark.metrics.own`); `choice.weights` may weigh them by their names.
    every: epochs from one row of metrics to the next; the last epoch has one too. More than 1 is for searchers that
    read no single epochs (`searchers.base.Searcher.reads_epochs`).
    """

    features: FeaturesKind | ThisClassifier = "auto"
    max_images: Annotated[int, Ge(2)] = 10_000
    draws: Annotated[int, Ge(2)] = 20
    iwae_draws: Count = 50
    metrics: tuple[str, ...] = ()
    silhouette_images: Annotated[int, Ge(2)] = 500
    probe_images: Annotated[int, Ge(0)] = 0
    every: Count = 1


@dataclass(frozen=True)
class Resources:
    """What a search takes of a cluster's node; results do not follow from it.

    cpus: None is training.threads. gpus: where the device is a GPU; a fraction lets searches share one. memory_gb: of
    main memory. max_retries: how often a search is started again whose node was lost.
    """

    cpus: Positive | None = None
    gpus: Positive = 1.0
    memory_gb: Positive | None = None
    max_retries: Annotated[int, Ge(0)] = 3

    def __post_init__(self) -> None:
        if self.gpus > 1 and self.gpus % 1:
            raise ValueError(f"gpus is {self.gpus}; expected a whole number, or less than 1")


@dataclass(frozen=True)
class Named:
    """A dataset's or backbone's name and its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """One experiment.

    space: the latent sizes that every searcher chooses from. choice: how those choose that compare sizes.
    likelihood: p(x | z), see `searchers.parts.likelihoods`; auto takes bernoulli for images and for columns of 0 and 1,
    gaussian-optimal for other tables.
    searchers: settings by searcher name; one without any has its defaults. A name may carry a variant, `ald@100`, so
    that one searcher runs with several settings. run and seeds: which of them run where the protocol is asked for by
    name and the command line says nothing else. size_only: also score the size that each search has found by a plain
    training of it (`searches()`: `size_only...`). show_latents: print each latent's statistics at the end.
    """

    name: str
    dataset: Named
    backbone: Named
    summary: str = ""
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    space: SearchSpace = SearchSpace()
    choice: ChoiceRule = ChoiceRule()
    likelihood: LikelihoodName = "auto"
    resources: Resources = Resources()
    searchers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    run: Annotated[tuple[str, ...], MinLen(1)] = DEFAULT_SEARCHERS
    seeds: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)] = DEFAULT_SEEDS
    size_only: bool = False
    show_latents: bool = False


def protocol_names() -> list[str]:
    """The names that `load_protocol` takes."""
    return list(bundled_protocols())


def dataset_protocol(dataset: str) -> Protocol:
    """The protocol that a dataset runs with by default, for the searchers and seeds that every dataset has."""
    kind = dataset.partition(":")[0]
    name = DATASET_PROTOCOLS.get(kind, kind)
    protocol = load_protocol(name if name in bundled_protocols() else OTHER_PROTOCOL)
    return replace(protocol, run=DEFAULT_SEARCHERS, seeds=DEFAULT_SEEDS, show_latents=False)


def load_protocol(name: str) -> Protocol:
    """Reads a bundled protocol, or a user's own file where `name` ends in .toml.

    Raises InputError where there is none or a key or value does not fit.
    """
    path = protocol_file(name)
    return _make_protocol(read_table(path), path.stem)


def parse_protocol(text: str, name: str) -> Protocol:
    """A protocol from TOML text; see `load_protocol`."""
    return _make_protocol(parse_table(text, name), name)


def override(protocol: Protocol, *changes: Table) -> Protocol:
    """The protocol with these tables laid over its own (`laid_over`), as the command line makes them."""
    table = protocol_table(protocol)
    for change in changes:
        table = laid_over(table, change)
    return _make_protocol(table, protocol.name)


def protocol_table(protocol: Protocol) -> Table:
    """The complete table from which the same protocol is read; what is None is left out, as TOML has no word for it."""
    table = {key: value for key, value in asdict(protocol).items() if key != "name"}
    for key in ("dataset", "backbone"):
        table[key] = {"name": table[key]["name"], **table[key]["options"]}
    return {key: _without_none(value) if isinstance(value, dict) else value for key, value in table.items()}


def _without_none(table: Table) -> Table:
    return {key: value for key, value in table.items() if value is not None}


def _make_protocol(table: Table, name: str) -> Protocol:
    """name: the file's, unless the table has a name."""
    where = f"protocol {name}"
    table = _with_own_weights(table)
    named = {key: _named(table, key, where) for key in ("dataset", "backbone")}
    protocol = from_mapping(Protocol, {"name": name, **table, **named}, where)
    for searcher in protocol.searchers:
        base = searcher.partition("@")[0]
        try:
            if base not in SEARCHER.built_in:  # if another package has the name too, that is refused where it is used
                SEARCHER.check(base)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    return protocol


def _with_own_weights(table: Table) -> Table:
    """The weights of a user's own metrics go to `choice.weights.others`."""
    choice, evaluation = table.get("choice"), table.get("evaluation")
    weights = choice.get("weights") if isinstance(choice, dict) else None
    names = evaluation.get("metrics", ()) if isinstance(evaluation, dict) else ()
    if not isinstance(choice, dict) or not isinstance(weights, dict) or not isinstance(names, (list, tuple)):
        return table
    own = {str(name).rpartition(":")[2] for name in names}
    others = {**weights.get("others", {}), **{key: value for key, value in weights.items() if key in own}}
    kept = {key: value for key, value in weights.items() if key not in (*own, "others")}
    return {**table, "choice": {**choice, "weights": {**kept, **({"others": others} if others else {})}}}


def _named(table: Table, key: str, where: str) -> Table:
    options = table.get(key)
    if not isinstance(options, dict) or not isinstance(options.get("name"), str):
        raise InputError(f"{where}: {key} is {options!r}; expected a table with a name")
    return {"name": options["name"], "options": {name: value for name, value in options.items() if name != "name"}}
