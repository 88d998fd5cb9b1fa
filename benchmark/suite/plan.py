"""Turns a protocol into searches: loads classes by name, checks settings and gives each search its id."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, NamedTuple

from benchmark.backbones.build import make_backbone
from benchmark.config.protocol import N_PARTITIONS, Evaluation, Named, Protocol, Training
from benchmark.config.settings import from_mapping
from benchmark.errors import InputError
from benchmark.plugins import SEARCHER
from searchers.base import ChoiceRule, Expected, Searcher, SearchSpace
from searchers.registry import unknown_name

DEFAULT_LIKELIHOOD = "bernoulli"
LATER = ("iwae_draws", "metrics", "every")  # settings younger than the hash: they count where not at the default


@dataclass(frozen=True)
class SearchSpec:
    """One search: all that its result depends on. Searches with the same `protocol_hash` are comparable.

    device: its type (cpu, cuda, mps), since results differ between types. execution: how the trainings are carried out
    that are known beforehand. data: a line that describes the data. size_only: see `Protocol`. These two do not change
    the id.
    """

    protocol: str
    dataset: Named
    data_fingerprint: str
    backbone: Named
    training: Training
    evaluation: Evaluation
    space: SearchSpace
    choice: ChoiceRule
    searcher: str
    settings: Mapping[str, Any]
    seed: int
    device: str = "cpu"
    execution: str = "sequential"
    data: str = ""
    size_only: bool = False
    likelihood: str = DEFAULT_LIKELIHOOD

    @property
    def protocol_hash(self) -> str:
        """A hash of what comparable searches share: data, partitions, backbone, training, evaluation, space and rule.

        Only the content of a user's folder or array counts: not its place, nor how its path and options are written.
        """
        choice = asdict(self.choice)
        if not self.choice.weights.others:
            del choice["weights"]["others"]
        return short_hash([*self._conditions(), self.space, choice])

    def _conditions(self) -> list[Any]:
        dataset = Named(self._kind) if self._is_own else self.dataset
        other = [] if self.likelihood == DEFAULT_LIKELIHOOD else [self.likelihood]
        evaluation = without_defaults(self.evaluation, LATER)
        return [dataset, self.data_fingerprint, N_PARTITIONS, self.backbone, self.training, evaluation, *other]

    def training_key(self, latent_dim: int, epochs: int) -> str:
        """The name of a plain training. Searches that would get the same model give it the same name."""
        stacked = self.execution == "stacked" and (latent_dim, epochs) in {e[:2] for e in self.certain()}
        execution = "stacked" if stacked else "alone"
        return short_hash([*self._conditions(), self.seed, self.device, execution, latent_dim, epochs])

    @property
    def _kind(self) -> str:
        return self.dataset.name.partition(":")[0]

    @property
    def _is_own(self) -> bool:
        """Whether the data are the user's, at a path of theirs."""
        return self._kind in ("folder", "array")

    @property
    def search_id(self) -> str:
        """A readable folder name that changes with everything that the result depends on."""
        dataset = self._kind if self._is_own else self.dataset.name
        parts = (dataset, self.backbone.name, self.searcher, f"s{self.seed}")
        stacked = ["stacked"] if self.execution == "stacked" else []  # its numbers differ in the last digits
        items = [self.protocol_hash, self.searcher, self.settings, self.seed, self.device, *stacked]
        return "-".join([*(re.sub(r"[^A-Za-z0-9_]+", "_", part)[-40:] for part in parts), short_hash(items)[:8]])

    def make_searcher(self) -> Searcher:
        """The searcher with its settings."""
        searcher: Searcher = make_searcher(self.searcher, self.settings)
        return searcher

    def expected(self) -> list[Expected]:
        """The trainings that the search expects to ask for."""
        return list(self.make_searcher().expected(self.space, self.training.epochs, self.seed))

    def planned(self) -> list[Expected]:
        """The expected trainings and, with `size_only`, one of the size that is found: at most that of the largest.

        A search that knows all its trainings hands one of them over, and needs no other.
        """
        expected = self.expected()
        is_one_of_them = all(training.certain for training in expected)
        more = [Expected(self.space.high, self.training.epochs)] if self.size_only and not is_one_of_them else []
        return [*expected, *more]

    def certain(self) -> list[Expected]:
        """The expected trainings that do not depend on any result."""
        return [training for training in self.expected() if training.certain]

    def overlaps(self) -> bool:
        """Whether it may go on from some of the trainings that are spread before the last of them has ended."""
        certain = [training.certain for training in self.expected()]
        return self.execution == "spread" and certain != sorted(certain, reverse=True)

    def identity(self) -> dict[str, Any]:
        """The columns of `ResultsStore.searches()` that are known before the search starts."""
        return {
            "search_id": self.search_id,
            "dataset": self.dataset.name,
            "data": self.data,
            "data_fingerprint": self.data_fingerprint,
            "backbone": self.backbone.name,
            "searcher": self.searcher,
            "seed": self.seed,
            "protocol": self.protocol,
            "protocol_hash": self.protocol_hash,
            "epochs": self.training.epochs,
            "scale": self.training.scale,
            "likelihood": self.likelihood,
            "space": str(self.space),
            "space_high": self.space.high if self.space.low < self.space.high else None,
            "execution": self.execution,
            "settings": dict(self.settings),
        }


class Shared(NamedTuple):
    """What all machines that run a suite must have in common.

    code: `provenance.code_digest()`. cache_files: the feature classifier and the baselines, as file contents by their
    name below the cache's folder. If each machine made its own, they would differ in the last bits.
    """

    code: str
    cache_files: Mapping[str, bytes]


class Prepared(NamedTuple):
    """The result of preparing a suite.

    device and protocol: with `auto` and budgets resolved. fingerprint: of the data; data: a line that describes them.
    image_shape: [C, H, W] or [C, T, H, W]. n_images: in the training split.
    """

    device: str
    protocol: Protocol
    fingerprint: str
    data: str
    image_shape: tuple[int, ...]
    n_images: int
    shared: Shared


def without_defaults(settings: Any, names: Sequence[str]) -> dict[str, Any]:
    """A dataclass as a table, in which those of the named fields are left out that have their default."""
    default = {one.name: one.default for one in fields(settings)}
    return {key: value for key, value in asdict(settings).items() if key not in names or value != default[key]}


def short_hash(items: Sequence[Any]) -> str:
    """Twelve hexadecimal digits that follow from the items, dataclasses included."""
    plain = [asdict(item) if is_dataclass(item) and not isinstance(item, type) else item for item in items]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def searcher_class(name: str) -> type[Any]:
    """The class behind a searcher's name, whose variant (`@...`) does not count. Raises InputError."""
    cls = SEARCHER.load(name.partition("@")[0])
    if not (isinstance(cls, type) and issubclass(cls, Searcher)):
        raise InputError(f"searcher {name!r} is {cls!r}; expected a subclass of searchers.base.Searcher")
    return cls


def make_searcher(name: str, settings: Mapping[str, Any]) -> Any:
    """The searcher of this name with these settings; InputError where a setting does not fit."""
    return from_mapping(searcher_class(name), settings, f"searcher {name}")


def plan(
    protocol: Protocol,
    data_fingerprint: str,
    searchers: Sequence[str],
    seeds: Sequence[int],
    device: str = "cpu",
    execution: str = "sequential",
    data: str = "",
) -> list[SearchSpec]:
    """Makes one spec for each searcher and seed, with all settings and options written out, defaults included.

    execution: one of `benchmark.config.protocol.EXECUTIONS`, for the searchers that know trainings beforehand; all
    others are sequential. data: a line that describes the data.
    """
    backbone = Named(protocol.backbone.name, _plain(make_backbone(protocol.backbone.name, protocol.backbone.options)))
    specs = []
    found = False
    for name in searchers:
        if "@" in name and name not in protocol.searchers:
            variants = [known for known in protocol.searchers if "@" in known]
            raise InputError(f"protocol {protocol.name}: {unknown_name('variant', name, variants)}")
        searcher = make_searcher(name, protocol.searchers.get(name, {}))
        if protocol.evaluation.every > 1 and searcher.reads_epochs:
            got = f"evaluation.every is {protocol.evaluation.every} and {name} reads every epoch's metrics"
            raise InputError(f"{got}; expected 1 with it, or searchers such as grid alone")
        settings = _plain(searcher)
        searcher_execution = execution if _knows_trainings(name, searcher, protocol, seeds[0]) else "sequential"
        found |= searcher_execution != "sequential"
        for seed in seeds:
            specs.append(
                SearchSpec(
                    protocol=protocol.name,
                    dataset=protocol.dataset,
                    data_fingerprint=data_fingerprint,
                    backbone=backbone,
                    training=protocol.training,
                    evaluation=protocol.evaluation,
                    space=protocol.space,
                    choice=protocol.choice,
                    searcher=name,
                    settings=settings,
                    seed=seed,
                    device=device.partition(":")[0],
                    execution=searcher_execution,
                    data=data,
                    size_only=protocol.size_only,
                    likelihood=DEFAULT_LIKELIHOOD if protocol.likelihood == "auto" else protocol.likelihood,
                )
            )
    if execution != "sequential" and not found:
        got = f"{execution} concerns searchers whose sizes are known beforehand, got {', '.join(searchers)}"
        raise InputError(f"{got}; expected grid or random too")
    return specs


def _knows_trainings(name: str, searcher: Searcher, protocol: Protocol, seed: int) -> bool:
    """Whether a search knows trainings beforehand. Raises InputError where a user's `expected` fails."""
    try:
        expected = searcher.expected(protocol.space, protocol.training.epochs, seed)
        return any(training.certain for training in expected)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"searcher {name}: {reason}; expected() must return a list of searchers.base.Expected"
        ) from error


def _plain(settings: Any) -> Any:
    return json.loads(json.dumps(asdict(settings))) if is_dataclass(settings) and not isinstance(settings, type) else {}
