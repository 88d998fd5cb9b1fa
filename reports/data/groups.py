"""Reads a results store into groups of comparable searches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.errors import InputError
from benchmark.text import features_kind, of_data, printable
from reports.data.names import GRID, SEQUENTIAL, dataset_label, executed, in_order, is_size_only, label, parts
from reports.data.quantities import DEVICE_SECONDS, METRICS, SHOWN_COSTS

_TEXT = ["search_id", "dataset", "backbone", "searcher", "status", "error", "protocol", "protocol_hash"]
_TEXT += ["test_fid_features", "fid_features", "diverged_sizes", "data", "data_fingerprint", "space", "execution"]
_TEXT += ["rule", "split", "size_only"]
_NUMBERS = ["seed", "latent_dim", "n_trials", "chosen_trial", "epochs", "trial", "epoch", "active_units", "settled"]
_NUMBERS += ["test_active_units", "n_diverged", "fid_images", "test_fid_images", "n_fid_features"]
_NUMBERS += ["late_gain", "late_gain_error", "pca_sse", "no_latents_nll", "true_low", "true_high"]
_NUMBERS += ["size", "draws", "test_draws", "fid_samples", "test_fid_samples", "images", "fid_real", "test_fid_real"]
_NUMBERS += ["estimate", "test_silhouette_noise", "choice_loss", "choice_limit", "choice_shown"]
_NUMBERS += ["size_only_active_units", *(cost.column for cost in SHOWN_COSTS)]
_NUMBERS += [name for metric in METRICS for name in (metric.column, metric.tested, metric.size_only)]
_KEY = ["dataset", "backbone", "protocol_hash", "fid_features"]


Gallery = Callable[[str], dict[str, NDArray[np.uint8]] | None]
"""Images of a search by its id: [N, C, H, W] (video [N, C, T, H, W]) originals, reconstructions, samples, or None."""


TableRows = Callable[[str], dict[str, NDArray[Any]] | None]
"""Rows of a search by its id: see `ResultsStore.rows`; None of images."""


def _no_rows(search_id: str) -> None:
    return None


class Store(Protocol):
    """What the reports read of `benchmark.store.ResultsStore`."""

    def searches(self) -> pd.DataFrame:
        """One row per search, failed and running ones included."""

    def epochs(self) -> pd.DataFrame:
        """One row per search, trial and epoch."""

    def trials(self) -> pd.DataFrame:
        """One row per search and training, its metrics the means over its last 5 epochs on validation data."""

    def curves(self) -> pd.DataFrame:
        """One row per assessment of a model, with all of its latents or some: its size, split and metrics."""

    def gallery(self, search_id: str) -> dict[str, NDArray[np.uint8]] | None:
        """See `Gallery`."""


@dataclass(frozen=True)
class Group:
    """Searches that may be compared: same dataset, backbone, experimental conditions and FID features.

    curves: assessments of their models by size; those of finished trainings on the splits `val` and `test`.
    """

    dataset: str
    backbone: str
    protocol_hash: str
    fid_features: str
    suffix: str
    slug: str
    searches: pd.DataFrame
    epochs: pd.DataFrame
    trials: pd.DataFrame
    curves: pd.DataFrame
    gallery: Gallery
    table_rows: TableRows = _no_rows

    @property
    def title(self) -> str:
        """Dataset, backbone and, where several groups share them, what tells this one apart."""
        return f"{dataset_label(self.dataset)}, {self.backbone}" + (f" ({self.suffix})" if self.suffix else "")

    @property
    def data(self) -> tuple[str, ...]:
        """Describes the data in a line; in several where searches describe the same images differently.

        Empty for searches from before version 0.2.
        """
        return tuple(sorted(set(self.searches["data"]) - {""}))

    @property
    def conditions(self) -> str:
        """A sentence on what the group's searches share."""
        protocols = ", ".join(sorted(set(self.searches["protocol"]) - {""})) or "unknown"
        epochs = ", ".join(f"{n:g}" for n in sorted(self.searches["epochs"].dropna().unique())) or "unknown"
        text = (
            f"Dataset {self.dataset}, backbone {self.backbone}, protocol {protocols} "
            f"(hash {self.protocol_hash or 'unknown'}), epochs per training: {epochs}, "
            f"FID on {features_kind(self.fid_features) or 'unknown'} features."
            + "".join(f" {sentence}" for sentence in (*self.space, *self.rules))
        )
        return of_data(text, self.fid_features)

    @property
    def space(self) -> tuple[str, ...]:
        """A sentence on the sizes that all searchers of the group choose from; none where they are unknown."""
        spaces = sorted(set(self.searches["space"]) - {""})
        compared = "regret and ranks compare searches of the same sizes only"
        return (f"Sizes to choose from: {'; or '.join(spaces)} ({compared}).",) if spaces else ()

    @property
    def rules(self) -> tuple[str, ...]:
        """A sentence on the rules by which searches chose among their trainings; none where that is unknown."""
        known = self.done[self.done["rule"] != ""]
        named = {str(rule): ", ".join(map(label, in_order(rows["searcher"]))) for rule, rows in known.groupby("rule")}
        rules = "; ".join(f"{rule} ({names})" for rule, names in named.items())
        return (f"Rule of choice among trainings: {rules}.",) if rules else ()

    @cached_property
    def searchers(self) -> list[str]:
        """Searchers with any search in the group, in the fixed order."""
        return in_order(self.searches["searcher"])

    @cached_property
    def grids(self) -> list[str]:
        """The grid search under each execution that has finished one, the sequential first."""
        names = in_order(self.done["searcher"])
        return [name for name in names if parts(name)[:2] == (GRID, "") and not is_size_only(name)]

    def grid_like(self, searcher: str) -> str | None:
        """The finished grid search of the same execution, with which alone a searcher's times compare."""
        return next((name for name in self.grids if parts(name).execution == parts(searcher).execution), None)

    @property
    def executions(self) -> tuple[str, ...]:
        """How the finished searches were executed: with several, their times do not compare."""
        return tuple(dict.fromkeys(parts(name).execution for name in in_order(self.done["searcher"])))

    @cached_property
    def done(self) -> pd.DataFrame:
        """The finished searches."""
        return self.searches[self.searches["status"] == "done"]

    def of(self, searcher: str, status: str | None = None) -> pd.DataFrame:
        """Searches of one searcher by rising seed; all of them or those of one status (done, failed, running)."""
        found = self.searches[self.searches["searcher"] == searcher]
        return found if status is None else found[found["status"] == status]

    def as_good(self, searcher: str) -> tuple[int, ...]:
        """The sizes that lie within the ranges of most of the searcher's finished searches.

        A search's range is that of the sizes that it chose or calls as good as the chosen one. Of more searches the
        union of all ranges would only be wider.
        """
        return sizes_as_good(self.of(searcher, "done"))

    def unfinished(self, searcher: str) -> str:
        """Counts a searcher's searches without a result: `1 failed, 2 running`; empty where all are finished."""
        numbers = {status: len(self.of(searcher, status)) for status in ("failed", "running")}
        return ", ".join(f"{n} {status}" for status, n in numbers.items() if n)

    @property
    def device_kinds(self) -> tuple[str, ...]:
        """What the finished searches ran on, `core` (of a CPU) or `GPU`: with several, device times do not compare."""
        return tuple(kind for kind in ("core", "GPU") if kind in set(self.done["device_kind"]))


def sizes_as_good(done: pd.DataFrame) -> tuple[int, ...]:
    """See `Group.as_good`; done: finished searches of one searcher."""
    done = done.reindex(columns=["as_good", "latent_dim"]).dropna(subset=["latent_dim"])
    listed = [[int(size) for size in sizes] if isinstance(sizes, Iterable) else [] for sizes in done["as_good"]]
    if not any(listed):
        return ()
    ranges = [sorted({int(chosen), *sizes}) for chosen, sizes in zip(done["latent_dim"], listed, strict=True)]
    sizes = sorted({size for one in ranges for size in one})
    return tuple(size for size in sizes if 2 * sum(one[0] <= size <= one[-1] for one in ranges) > len(ranges))


def read_groups(store: Store, where: str) -> list[Group]:
    """Splits a store's searches into groups; `where` names the results folder in the error.

    Raises:
        InputError: the store holds no search.
    """
    searches = _cleaned(store.searches())
    if searches.empty:
        raise InputError(f"no searches in {where}; run: make benchmark")
    searches["device_kind"], searches[DEVICE_SECONDS.column] = _device_time(searches)
    epochs, trials, curves = (_cleaned(frame()) for frame in (store.epochs, store.trials, store.curves))
    curves["split"] = curves["split"].replace("", "val")  # results of earlier versions have no other
    searches["execution"] = searches["execution"].replace("", SEQUENTIAL)
    searches["searcher"] = list(map(executed, searches["searcher"], searches["execution"]))
    named = dict(zip(searches["search_id"], searches["searcher"], strict=True))
    for frame in (epochs, trials, curves):
        frame["searcher"] = frame["search_id"].map(named).fillna(frame["searcher"])
    searches["fid_features"] = _features(searches, epochs)
    searches["dataset"] = dataset_names(searches)
    for column, within in (("protocol_hash", _KEY[:2]), ("fid_features", _KEY[:3])):
        searches[column] = _filled(searches, column, within)
    groups: list[Group] = []
    taken: set[str] = set()
    for key, rows in searches.groupby(_KEY, sort=True):
        dataset, backbone, protocol_hash, fid_features = (str(part) for part in key)
        suffix = _suffix(searches, dataset, backbone, protocol_hash, fid_features)
        slug = _slug(" ".join(part for part in (dataset, backbone, suffix) if part), taken)
        taken.add(slug)
        rows = rows.sort_values(["searcher", "seed", "search_id"])
        logged, tried, assessed = (
            frame[frame["search_id"].isin(rows["search_id"])].sort_values(["search_id", "trial", "epoch", "size"])
            for frame in (epochs, trials, curves)
        )
        keys = (dataset, backbone, protocol_hash, fid_features, suffix, slug)
        groups.append(Group(*keys, rows, logged, tried, assessed, store.gallery, getattr(store, "rows", _no_rows)))
    return groups


def dataset_names(searches: pd.DataFrame) -> pd.Series[str]:
    """Names each search's dataset; folders and arrays with the same content share the first of their names."""
    is_folder = searches["dataset"].str.startswith(("folder:", "array:")) & (searches["data_fingerprint"] != "")
    first = searches[is_folder].groupby("data_fingerprint")["dataset"].min().to_dict()
    return searches["dataset"].where(~is_folder, searches["data_fingerprint"].map(first))


def _cleaned(frame: pd.DataFrame) -> pd.DataFrame:
    """Makes text columns printable and complete, and numbers floats that are finite or NaN.

    An error keeps its lines.
    """
    frame = frame.reindex(columns=[*frame.columns, *(c for c in _TEXT + _NUMBERS if c not in frame.columns)])
    for column in _TEXT:
        text = frame[column].astype(object).where(frame[column].notna(), "").astype(str)
        lines = {value: value.splitlines() if column == "error" else [value] for value in text.unique()}
        frame[column] = text.map({value: "\n".join(map(printable, rows)) for value, rows in lines.items()})
    for column in _NUMBERS:
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)
    return frame


def _device_time(searches: pd.DataFrame) -> tuple[pd.Series[str], pd.Series[float]]:
    """Returns kinds of device (`core`, `GPU`, empty where unknown) and seconds: of all CPU threads, or of the GPU."""
    environment = searches.reindex(columns=["env_device", "env_threads"])
    device, threads = environment["env_device"], pd.to_numeric(environment["env_threads"])
    kinds = device.map(lambda name: "" if pd.isna(name) else "core" if name == "cpu" else "GPU").astype(object)
    units = threads.where(kinds == "core", 1.0).where(kinds != "")
    return kinds, (searches["train_seconds"] + searches["eval_seconds"]) * units


def _features(searches: pd.DataFrame, epochs: pd.DataFrame) -> pd.Series[str]:
    """Names the FID features of each search, from its test metrics or, before those exist, from its epochs."""
    logged = epochs[epochs["fid_features"] != ""].groupby("search_id")["fid_features"].first().to_dict()
    known = searches["test_fid_features"]
    return known.where(known != "", searches["search_id"].map(lambda search_id: logged.get(search_id, "")))


def _filled(searches: pd.DataFrame, column: str, within: list[str]) -> pd.Series[str]:
    """Fills the blanks of searches that ended early where the others `within` a group have one value only."""

    def fill(values: pd.Series[str]) -> pd.Series[str]:
        known = values[values != ""].unique()
        return values.where(values != "", known[0]) if len(known) == 1 else values

    return searches.groupby(within)[column].transform(fill)


def _suffix(searches: pd.DataFrame, dataset: str, backbone: str, protocol_hash: str, fid_features: str) -> str:
    """Tells a group from others with the same printed dataset and backbone; empty where there are none."""
    near = searches[
        (searches["dataset"].map(dataset_label) == dataset_label(dataset)) & (searches["backbone"] == backbone)
    ]
    same = near[near["protocol_hash"] == protocol_hash]
    parts = [protocol_hash[:6] or "unknown protocol"] if near["protocol_hash"].nunique() > 1 else []
    parts += [fid_features or "no FID"] if same["fid_features"].nunique() > 1 else []
    return ", ".join(parts)


def _slug(name: str, taken: set[str]) -> str:
    """Makes a unique file name of a name's last 80 characters: ASCII letters, digits and single hyphens."""
    base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[-80:].strip("-") or "group"
    return next(s for s in (base, *(f"{base}-{n}" for n in range(2, len(taken) + 3))) if s not in taken)
