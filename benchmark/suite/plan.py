"""From a protocol to searches: names become classes, settings are checked, and each search gets its id."""

import hashlib
import json
import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.backbones.export import make_backbone
from benchmark.config.protocol import Evaluation, Named, Protocol, Training
from benchmark.config.settings import from_mapping
from benchmark.errors import InputError
from searchers import SEARCHERS
from searchers.base import Searcher
from searchers.registry import Entry, unknown_name

AHEAD = ("population", "spread")  # as one stacked model; each as a task of its own


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
    device: str = "cpu"  # its type: results of another are another search
    ahead: str = ""  # how trainings are done whose sizes are known beforehand: AHEAD, or by the search itself
    data: str = ""  # a line that says what the data are; no part of the search's identity

    @property
    def protocol_hash(self) -> str:
        """A hash of the conditions that comparable searches share: data, backbone, training, evaluation.

        Of a user's folder the content counts alone: neither its place nor how its path and options are spelled.
        """
        dataset = Named("folder") if self._is_folder else self.dataset
        return _hash([dataset, self.data_fingerprint, self.backbone, self.training, self.evaluation])

    @property
    def _is_folder(self) -> bool:
        return self.dataset.name.startswith("folder:")

    @property
    def search_id(self) -> str:
        """A folder name: readable, and different whenever anything that the result follows from differs."""
        dataset = "folder" if self._is_folder else self.dataset.name
        parts = (dataset, self.backbone.name, self.searcher, f"s{self.seed}")
        items = [self.protocol_hash, self.searcher, self.settings, self.seed, self.device, *filter(None, [self.ahead])]
        return "-".join([*(re.sub(r"[^A-Za-z0-9_]+", "_", part)[-40:] for part in parts), _hash(items)[:8]])

    def n_trainings(self) -> int:
        """How many the search takes, as far as its searcher says."""
        return int(make_searcher(self.searcher, self.settings).n_trainings)

    def known_sizes(self) -> tuple[int, ...]:
        """Sizes that are trained ahead of the search."""
        searcher = make_searcher(self.searcher, self.settings)
        return tuple(searcher.known_sizes(self.seed)) if self.ahead else ()

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
            "settings": dict(self.settings),
        }


class Shared(NamedTuple):
    """What all machines that run a suite must have in common.

    code: `machine.code_digest()`. cache_files: contents, by name below the cache's folder, that each would else make
    for itself, and not to the last bit alike: the feature classifier and the baselines.
    """

    code: str
    cache_files: Mapping[str, bytes]


class Prepared(NamedTuple):
    """What preparing a suite has found out: device and protocol resolved, the data and a line that describes them,
    image_shape [C, H, W] or [C, T, H, W], and the number of training images.
    """

    device: str
    protocol: Protocol
    fingerprint: str
    data: str
    image_shape: tuple[int, ...]
    n_images: int
    shared: Shared


class Assignment(NamedTuple):
    """A search, the path of its folder, and the number under which it can be claimed.

    training: only this one of its trainings, ahead of the search. rivals: folders with claims of what must not run
    beside it, and the newest claim there that is known to have ended.
    """

    spec: SearchSpec
    path: Path
    claim_number: int
    training: int | None = None
    rivals: tuple[tuple[Path, int], ...] = ()

    @property
    def claim_path(self) -> Path:
        """The folder whose claims count."""
        return claim_path(self.path, self.training)


def claim_path(folder: Path, training: int | None) -> Path:
    """The folder with the claims on a search, or on one of its trainings that is done ahead of it."""
    return folder if training is None else folder / "ahead" / f"{training:03d}"


def _hash(items: Sequence[Any]) -> str:
    plain = [asdict(item) if is_dataclass(item) and not isinstance(item, type) else item for item in items]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def searcher_class(name: str) -> type[Any]:
    """The class of a searcher's name (a variant `@...` set aside), or of a user's `module:Class`.

    Nothing else is loaded by name.
    """
    base = name.partition("@")[0]
    if ":" not in base and base not in SEARCHERS:
        raise InputError(unknown_name("searcher", base, SEARCHERS) + ", or your own as module:Class")
    entry = SEARCHERS.get(base) or Entry(base, "")
    try:
        cls = entry.load()
    except (Exception, SystemExit) as error:  # importing a module runs it
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if place.filename.startswith("<") else f" ({place.filename}, line {place.lineno})"
        reason = f"{type(error).__name__}: {error}{where}"
        raise InputError(f"cannot load searcher {name!r}: {reason}; expected an importable module:Class") from error
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
    ahead: str = "",
    data: str = "",
) -> list[SearchSpec]:
    """One spec for each searcher and seed; settings and options are written out in full, defaults included.

    data: a line that describes the data.
    ahead: one of AHEAD, where trainings whose sizes are known beforehand are not done one after another: a searcher
    that has such is then a variant of that name, `grid@population`.
    """
    backbone = Named(protocol.backbone.name, _plain(make_backbone(protocol.backbone.name, protocol.backbone.options)))
    specs = []
    found = False
    for name in searchers:
        if "@" in name and name not in protocol.searchers:
            variants = [known for known in protocol.searchers if "@" in known]
            raise InputError(f"protocol {protocol.name}: {unknown_name('variant', name, variants)}")
        searcher = make_searcher(name, protocol.searchers.get(name, {}))
        settings = _plain(searcher)
        own = ahead if ahead and searcher.known_sizes(seeds[0]) else ""
        found |= bool(own)
        for seed in seeds:
            specs.append(
                SearchSpec(
                    protocol=protocol.name,
                    dataset=protocol.dataset,
                    data_fingerprint=data_fingerprint,
                    backbone=backbone,
                    training=protocol.training,
                    evaluation=protocol.evaluation,
                    searcher=f"{name}@{own}" if own else name,
                    settings=settings,
                    seed=seed,
                    device=device.partition(":")[0],
                    ahead=own,
                    data=data,
                )
            )
    if ahead and not found:
        got = f"{ahead} concerns searchers whose sizes are known beforehand, got {', '.join(searchers)}"
        raise InputError(f"{got}; expected grid or random too")
    return specs


def _plain(settings: Any) -> Any:
    return json.loads(json.dumps(asdict(settings))) if is_dataclass(settings) and not isinstance(settings, type) else {}
