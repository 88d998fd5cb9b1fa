"""Results as pandas frames, wherever they are: one source or several as one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from benchmark.errors import InputError
from benchmark.store.folders import SearchFolder
from benchmark.store.frames import ResultsFolder
from benchmark.store.sources.study_file import Frames, StudyFile

RULE = "a finished one before a failed one, that before an unfinished one, then the one of the results given first"
_PLACE = {"done": 0, "failed": 1}


class Source(Frames, Protocol):
    """What `ResultsStore` reads of a folder or a file. For the columns see `benchmark.store.frames.ResultsFolder`."""

    def probes(self) -> pd.DataFrame: ...  # noqa: D102
    def gallery(self, search_id: str) -> dict[str, np.ndarray] | None: ...  # noqa: D102
    def rows(self, search_id: str) -> dict[str, np.ndarray] | None: ...  # noqa: D102
    def folder(self, search_id: str) -> SearchFolder: ...  # noqa: D102


class ResultsStore:
    """Results as DataFrames: of folders that runs wrote, or of files that `latentbench export --to study` wrote.

    Of several the frames have a column `source`, the results' name. A search that several hold (it has the same
    `search_id`, which follows from all that its result depends on) counts once, in all frames: a finished one before a
    failed one, that before an unfinished one, then the one of the results given first.

    names: of the paths, where they are not the paths themselves. Raises InputError if a path holds no results.
    """

    def __init__(self, *paths: str | Path, names: Sequence[str] = ()) -> None:
        if not paths:
            raise InputError("got no results; expected a folder or a file of a study")
        self.path = Path(paths[0])
        given = [*map(str, names or paths)]
        twice = [name for name, n in Counter(given).items() if n > 1]
        if twice:
            raise InputError(f"{twice[0]} is given twice; expected each of the results once")
        self._sources: dict[str, Source] = {name: _open(Path(path)) for name, path in zip(given, paths, strict=True)}

    @property
    def names(self) -> tuple[str, ...]:
        """The results' names, in the order given."""
        return tuple(self._sources)

    def folder(self, search_id: str) -> SearchFolder:
        """The files of one search. Raises InputError for a search in a study's file, which has none."""
        return self._source_of(search_id).folder(search_id)

    def searches(self) -> pd.DataFrame:
        """One row per search, also failed and running ones."""
        return self._joined({name: source.searches() for name, source in self._sources.items()})

    def trials(self) -> pd.DataFrame:
        """One row per training. Metrics are on validation data, means over the last 5 epochs."""
        return self._joined({name: source.trials() for name, source in self._sources.items()})

    def epochs(self) -> pd.DataFrame:
        """One row per epoch of every training."""
        return self._joined({name: source.epochs() for name, source in self._sources.items()})

    def curves(self) -> pd.DataFrame:
        """One row per assessment of a model, by repeated draws: quality against latent size, on both splits."""
        return self._joined({name: source.curves() for name, source in self._sources.items()})

    def latents(self) -> pd.DataFrame:
        """One row per latent and epoch; of a study's file only the latents of the trainings' last epochs."""
        return self._joined({name: source.latents() for name, source in self._sources.items()})

    def probes(self) -> pd.DataFrame:
        """One row per probe image, epoch and training; a study's file has none."""
        return self._joined({name: source.probes() for name, source in self._sources.items()})

    def gallery(self, search_id: str) -> dict[str, np.ndarray] | None:
        """Example images of the chosen model; None where there are none, as in a study's file."""
        return self._source_of(search_id).gallery(search_id)

    def rows(self, search_id: str) -> dict[str, np.ndarray] | None:
        """Example rows of a table with their reconstructions; None where there are none, as in a study's file."""
        return self._source_of(search_id).rows(search_id)

    def kept(self) -> dict[str, str]:
        """The texts beside the searches by file name: complete protocols, and the lists of installed packages."""
        found: dict[str, str] = {}
        for source in self._sources.values():
            for name, text in source.kept().items():
                stem, dot, ending = name.partition(".")
                names = (name, *(f"{stem}-{n}{dot}{ending}" for n in range(2, len(self._sources) + 1)))
                free = next(one for one in names if found.get(one, text) == text)
                found[free] = text
        return found

    @property
    def duplicates(self) -> int:
        """How many searches were left out, as others with the same id count."""
        return sum(len(ids) for ids in self._ids.values()) - len(self._owner)

    def description(self) -> str:
        """A sentence on several results and what they share; empty for one."""
        if len(self._sources) == 1:
            return ""
        named = ", ".join(f"{name} ({len(ids)} searches)" for name, ids in self._ids.items())
        counted = f"{self.duplicates} searches are in several of them and count once ({RULE})."
        return f"From {len(self._sources)} results: {named}. {counted if self.duplicates else 'They share no search.'}"

    @cached_property
    def _ids(self) -> dict[str, dict[str, str]]:
        """The status of each search by its id, for each of the results, as they are when first asked for."""
        frames = {name: source.searches() for name, source in self._sources.items()}
        return {name: dict(zip(f["search_id"], f["status"], strict=True)) for name, f in frames.items()}

    @cached_property
    def _owner(self) -> dict[str, str]:
        """The results that each search is read from."""
        best: dict[str, tuple[int, int]] = {}
        for place, ids in enumerate(self._ids.values()):
            for search_id, status in ids.items():
                rank = (_PLACE.get(status, 2), place)
                best[search_id] = min(best.get(search_id, rank), rank)
        return {search_id: self.names[place] for search_id, (_, place) in best.items()}

    def _source_of(self, search_id: str) -> Source:
        first = self._sources[self.names[0]]
        return first if len(self._sources) == 1 else self._sources.get(self._owner.get(search_id, ""), first)

    def _joined(self, frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
        if len(frames) == 1:
            return next(iter(frames.values()))
        # A file of several results has a source of its own.
        columns = dict.fromkeys(column for frame in frames.values() for column in frame if column != "source")
        kept = []
        for name, frame in frames.items():
            own = frame[frame["search_id"].map(self._owner) == name]
            if len(own):
                kept.append(own.dropna(axis="columns", how="all").assign(source=name))
        if not kept:
            return pd.DataFrame(columns=[*columns, "source"])
        joined = pd.concat(kept).sort_values("search_id", kind="stable", ignore_index=True)
        return joined.reindex(columns=[*columns, "source"])


def _open(path: Path) -> Source:
    return StudyFile(path) if os.path.isfile(path) else ResultsFolder(path)  # False where the name is too long
