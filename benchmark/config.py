"""A protocol (one experiment, a TOML file) and the searches that it and the command line ask for."""

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

from benchmark.datasets import check_dataset_name
from benchmark.errors import InputError
from benchmark.settings import from_mapping
from searchers import SEARCHERS
from searchers.registry import Entry, unknown_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROTOCOLS = Path(__file__).parent / "protocols"
DEFAULT_SEARCHERS = ("grid", "random", "ald", "geco-l0arm", "sparsity")
FEATURES = ("auto", "classifier", "inception")


@dataclass(frozen=True)
class Training:
    """One training's budget and optimiser (Adam). threads: CPU threads of a search, whatever the number of jobs."""

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate is {self.learning_rate}; expected a number between 0 and 1")


@dataclass(frozen=True)
class Evaluation:
    """What the metrics are computed on.

    features: of both FIDs; auto is inception on a GPU and classifier on a CPU. max_images: of a split, for all
    metrics. silhouette_images: of them, for both silhouettes (2312.06280, figure 1: 500).
    """

    features: str = "auto"
    max_images: int = 10_000
    silhouette_images: int = 500

    def __post_init__(self) -> None:
        if self.features not in FEATURES:
            raise ValueError(unknown_name("features", self.features, FEATURES))
        if self.max_images < 2 or self.silhouette_images < 2:
            raise ValueError("max_images and silhouette_images: expected at least 2 each")


@dataclass(frozen=True)
class Named:
    """A dataset's or backbone's name and its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """One experiment. `searchers` holds settings by searcher name; a searcher without any has its defaults."""

    name: str
    summary: str
    dataset: Named
    backbone: Named
    training: Training
    evaluation: Evaluation
    searchers: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class SearchSpec:
    """One search: everything its result follows from. Two searches of equal `protocol_hash` are comparable."""

    protocol: str
    dataset: Named
    data_fingerprint: str
    backbone: Named
    training: Training
    evaluation: Evaluation
    searcher: str
    settings: Mapping[str, Any]
    seed: int

    @property
    def protocol_hash(self) -> str:
        """A hash of the conditions that comparable searches share: data, backbone, training, evaluation."""
        return _hash([self.dataset, self.data_fingerprint, self.backbone, self.training, self.evaluation])

    @property
    def search_id(self) -> str:
        """A folder name: readable, and different whenever anything that the result follows from differs."""
        parts = (self.dataset.name, self.backbone.name, self.searcher, f"s{self.seed}")
        digest = _hash([self.protocol_hash, self.searcher, self.settings, self.seed])
        return "-".join([*(re.sub(r"[^A-Za-z0-9_]+", "_", part)[-40:] for part in parts), digest[:8]])

    def identity(self) -> dict[str, Any]:
        """The columns of `ResultsStore.searches()` that are known before the search starts."""
        return {
            "search_id": self.search_id,
            "dataset": self.dataset.name,
            "backbone": self.backbone.name,
            "searcher": self.searcher,
            "seed": self.seed,
            "protocol": self.protocol,
            "protocol_hash": self.protocol_hash,
            "epochs": self.training.epochs,
            "settings": dict(self.settings),
        }


def _hash(items: Sequence[Any]) -> str:
    plain = [asdict(item) if is_dataclass(item) and not isinstance(item, type) else item for item in items]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def protocol_names() -> list[str]:
    """The names that `load_protocol` takes."""
    return sorted(path.stem for path in PROTOCOLS.glob("*.toml"))


def load_protocol(name: str) -> Protocol:
    """Reads `protocols/NAME.toml`, or a user's own file where `name` ends in .toml.

    Raises InputError where there is none or a key or value does not fit.
    """
    path = Path(name) if name.endswith(".toml") else PROTOCOLS / f"{name}.toml"
    if not path.is_file():
        raise InputError(unknown_name("protocol", name, protocol_names()) + ", or the path of a .toml file")
    try:
        return parse_protocol(path.read_text(), path.stem)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read protocol {path}: {error}; expected a TOML file") from error


def parse_protocol(text: str, name: str) -> Protocol:
    """A protocol from TOML text; see `load_protocol`."""
    where = f"protocol {name}"
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not valid TOML ({error})") from error
    known = ("summary", "dataset", "backbone", "training", "evaluation", "searchers")
    for key in table:
        if key not in known:
            raise InputError(f"{where}: {unknown_name('setting', key, known)}")
    if not isinstance(table.get("searchers", {}), dict):
        raise InputError(f"{where}: searchers is {table['searchers']!r}; expected a table for each searcher")
    return Protocol(
        name=name,
        summary=str(table.get("summary", "")),
        dataset=_named(table, "dataset", where),
        backbone=_named(table, "backbone", where),
        training=from_mapping(Training, table.get("training", {}), f"{where}: training"),
        evaluation=from_mapping(Evaluation, table.get("evaluation", {}), f"{where}: evaluation"),
        searchers=table.get("searchers", {}),
    )


def _named(table: Mapping[str, Any], key: str, where: str) -> Named:
    options = table.get(key)
    if not isinstance(options, dict) or not isinstance(options.get("name"), str):
        raise InputError(f"{where}: {key} is {options!r}; expected a table with a name")
    return Named(options["name"], {name: value for name, value in options.items() if name != "name"})


def override(
    protocol: Protocol, dataset: str | None, backbone: str | None, epochs: int | None, features: str | None
) -> Protocol:
    """The protocol with what the command line says otherwise; another dataset or backbone has its default options."""
    if dataset is not None and dataset != protocol.dataset.name:
        check_dataset_name(dataset)
        protocol = replace(protocol, dataset=Named(dataset))
    if backbone is not None and backbone != protocol.backbone.name:
        protocol = replace(protocol, backbone=Named(backbone))
    if features is not None:
        protocol = replace(protocol, evaluation=replace(protocol.evaluation, features=features))
    if epochs is not None:
        if epochs < 1:
            raise InputError(f"epochs is {epochs}; expected at least 1")
        protocol = replace(protocol, training=replace(protocol.training, epochs=epochs))
    return protocol


def searcher_class(name: str) -> type[Any]:
    """The class of a searcher's name, or of a user's `module:Class`. Nothing else is loaded by name."""
    from searchers.base import Searcher

    if ":" not in name and name not in SEARCHERS:
        raise InputError(unknown_name("searcher", name, SEARCHERS) + ", or your own as module:Class")
    entry = SEARCHERS.get(name) or Entry(name, "")
    try:
        cls = entry.load()
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"cannot load searcher {name!r}: {error}; expected an importable module:Class") from error
    if not (isinstance(cls, type) and issubclass(cls, Searcher)):
        raise InputError(f"searcher {name!r} is {cls!r}; expected a subclass of searchers.base.Searcher")
    return cls


def make_searcher(name: str, settings: Mapping[str, Any]) -> Any:
    """The searcher of this name with these settings; InputError where a setting does not fit."""
    return from_mapping(searcher_class(name), settings, f"searcher {name}")


def plan(protocol: Protocol, data_fingerprint: str, searchers: Sequence[str], seeds: Sequence[int]) -> list[SearchSpec]:
    """One spec for each searcher and seed; settings and options are written out in full, defaults included."""
    from benchmark.backbones.export import make_backbone

    backbone = Named(protocol.backbone.name, _plain(make_backbone(protocol.backbone.name, protocol.backbone.options)))
    specs = []
    for name in searchers:
        searcher = make_searcher(name, protocol.searchers.get(name, {}))
        settings = _plain(searcher)
        for seed in seeds:
            specs.append(
                SearchSpec(
                    protocol=protocol.name,
                    dataset=protocol.dataset,
                    data_fingerprint=data_fingerprint,
                    backbone=backbone,
                    training=protocol.training,
                    evaluation=protocol.evaluation,
                    searcher=name,
                    settings=settings,
                    seed=seed,
                )
            )
    return specs


def _plain(settings: Any) -> Any:
    return json.loads(json.dumps(asdict(settings))) if is_dataclass(settings) and not isinstance(settings, type) else {}
