"""A results folder as pandas frames."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmark.errors import Damaged, InputError
from benchmark.store.atomic_files import check_digests, is_hidden
from benchmark.store.columns import ARRAY_TYPES, CURVE_COLUMNS, CURVE_EXTRAS, KEYS, SEARCH_COLUMNS, TRIAL_COLUMNS
from benchmark.store.doubts import flags, search_flags
from benchmark.store.folders import SearchFolder, other_metrics
from benchmark.store.rows import ARRAYS, EPOCH_COLUMNS, LATENT_ARRAYS, PROBE_ARRAYS, read_table

_OF_METRICS = ("test_", "size_only_")


class ResultsFolder:
    """A results folder as DataFrames; see `ResultsStore`.

    Raises InputError if the path is no results folder or cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "searches").is_dir():
            raise InputError(f"no results at {self.path}; expected a folder that `make benchmark` wrote (RESULTS=...)")
        if not os.access(self.path / "searches", os.R_OK | os.X_OK):
            raise InputError(f"cannot read {self.path / 'searches'}; expected a readable folder; check its permissions")

    def kept(self) -> dict[str, str]:
        """The texts beside the searches by file name: complete protocols, and the list of installed packages."""
        paths = [*sorted((self.path / "protocols").glob("protocol-*.toml")), self.path / "packages.txt"]
        return {path.name: path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()}

    def folder(self, search_id: str) -> SearchFolder:
        """The files of one search."""
        return SearchFolder(self.path / "searches" / search_id)

    def searches(self) -> pd.DataFrame:
        """One row per search, also failed and running ones; settings as `setting_*`, environment as `env_*`.

        settled: False if the size was still changing at the end. n_diverged, diverged_sizes: the number and the sizes
        of the trainings whose loss was not finite. fid_images, test_fid_images: the number of images of the validation
        and test FIDs. late_gain: the rise of the validation ELBO in the last tenth of the chosen training, as a share
        of what latents are worth; late_gain_error: its standard error. pca_sse, no_latents_nll: on the test split, the
        squared error of PCA with latent_dim components (at most 256), and the NLL (nats per image) of the mean training
        image; val_no_latents_nll: the latter on validation data. true_low, true_high: the smallest and the largest
        size that is right, where the dataset knows. space: the sizes to choose from, up to space_high
        (none where there is one size only). execution: sequential, spread or stacked trainings; compare wall-clock
        within one kind only. test_draws: of z an image; `test_..._error`: standard errors over them; test_fid_samples:
        generated images behind test_fid_gen; fid_real, test_fid_real: the FID of as many real training images in their
        place; test_silhouette_noise: of normal noise of the model's dimension. rule: that chose the size, empty where
        the method decides by itself; as_good: sizes that are as good; as_good_shares: of the resamplings of the images
        that choose each; choice_loss, choice_limit: how much worse the size is than the rule's reference on validation
        data and the upper limit of that, in parts of the gap; choice_gap: the gap, nats; choice_shown: False where no
        limit was below the margin. size_only: how a plain training of the chosen size went, done or failed, where the
        protocol asks for it; native where the chosen model is that training. size_only_...: its values of test_... .
        peak_memory_bytes, reserved_memory_bytes: see `trials`. For the flags see `benchmark.store.doubts`.
        """
        rows = [
            {
                **{key: search.get(key) for key in (*KEYS, *SEARCH_COLUMNS)},
                **{key: value for key, value in search.items() if key.startswith(_OF_METRICS)},
                **search_flags(search),
                **{f"setting_{key}": str(value) for key, value in search.get("settings", {}).items()},
                **{f"env_{key}": value for key, value in search.get("environment", {}).items()},
            }
            for search in self._searches()
        ]
        return pd.DataFrame(rows, columns=None if rows else [*KEYS, *SEARCH_COLUMNS])

    def trials(self) -> pd.DataFrame:
        """One row per training. Metrics are on validation data, means over the last 5 epochs.

        collapsed, few_fid_images: see `benchmark.store.doubts`. peak_memory_bytes: of the process; on a GPU of torch's
        tensors there, and reserved_memory_bytes of what torch held of the GPU for them.
        """
        rows = [
            {**{key: search[key] for key in KEYS}, **dict.fromkeys(TRIAL_COLUMNS), **row, **flags(row)}
            for search in self._searches()
            for row in (trial.summary() for trial in self.folder(search["search_id"]).trials())
        ]
        known = (*KEYS, *TRIAL_COLUMNS)
        others = dict.fromkeys(name for row in rows for name in other_metrics(row) if name not in known)
        return pd.DataFrame(rows, columns=[*known, *others])

    def epochs(self) -> pd.DataFrame:
        """One row per epoch of every training: metrics on validation data, the controller's traces `ctl_*`, costs.

        train_seconds and eval_seconds are those of the epoch; wall_seconds accumulates over the search, images_seen
        and train_flops over the training. A training that another search has done is charged in full.
        """
        return self._concat(self._tables(skip=ARRAYS), EPOCH_COLUMNS)

    def curves(self) -> pd.DataFrame:
        """One row per assessment of a model, by repeated draws with noise that all models of a seed share.

        Every finished training has a row on validation data (split: val) and one on the test split (test), with all
        its latents; others have some latents only. Together they are quality against latent size. trial; epoch (of the
        trial); size: the number of latents; the metrics of `epochs()`, and kid_gen, silhouette_excess (the silhouette
        less that of normal noise) and iwae (test only); `..._error`: standard errors over the draws; draws: of z an
        image; fid_samples: generated images behind fid_gen and kid_gen; images: real ones. A searcher sees no row of
        the test split.
        """
        pairs = []
        for search in self._searches():
            folder = self.folder(search["search_id"])
            keys = tuple(search[key] for key in KEYS)
            paths = [*(trial.curves for trial in folder.trials()), folder.curves]
            found = [path for path in paths if path.exists()]
            pairs += [(keys, read_table(path, CURVE_EXTRAS, required=CURVE_COLUMNS)) for path in found]
        return self._concat(iter(pairs), CURVE_COLUMNS)

    def latents(self) -> pd.DataFrame:
        """One row per latent and epoch: latent_id (its index at the training's start) and, over the validation data,
        the variance of its posterior mean, the mean of its posterior variance, and its mean KL in nats.
        """
        return self._exploded(LATENT_ARRAYS)

    def probes(self) -> pd.DataFrame:
        """One row per probe image (`evaluation.probe_images`), epoch and training: probe_label, and the posterior's
        probe_mean and probe_variance, arrays [latent_dim]. The order of the images never changes.
        """
        return self._exploded(PROBE_ARRAYS)

    def _exploded(self, arrays: Sequence[str]) -> pd.DataFrame:
        columns = ("trial", "epoch", *arrays)
        tables = (pair for pair in self._tables(only=columns) if arrays[-1] in pair[1].column_names)
        types = {name: ARRAY_TYPES[name] for name in arrays}
        return self._concat(tables, columns).explode(list(arrays), ignore_index=True).astype(types)

    def gallery(self, search_id: str) -> dict[str, np.ndarray] | None:
        """Uint8 images [N, C, H, W] of the chosen model: originals (test split), reconstructions, samples; labels [N]
        of the originals.
        """
        return self._arrays(search_id, "images.npz")

    def rows(self, search_id: str) -> dict[str, np.ndarray] | None:
        """Rows of the test split [N, columns] in the data's own units, and the chosen model's reconstructions of them.

        columns: their names, from the worst explained to the best; r2: how much of each is explained. codes: the
        posterior mean [N, 2] of the two latents of the highest KL, which `latents` names; labels: [N].
        """
        return self._arrays(search_id, "rows.npz")

    def _arrays(self, search_id: str, name: str) -> dict[str, np.ndarray] | None:
        folder = self.folder(search_id)
        path = folder.path / name
        if not path.exists():
            return None
        files = folder.read().get("files", {})
        check_digests(folder.path, {path.name: files[path.name]} if path.name in files else {})
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except Exception as error:  # broken archives raise all sorts of errors
            raise Damaged(path) from error

    def _searches(self) -> Iterator[dict[str, Any]]:
        for path in sorted((self.path / "searches").iterdir()):
            content = {} if is_hidden(path) else SearchFolder(path).read()
            if content:
                yield content

    def _tables(self, skip: Sequence[str] = (), only: Sequence[str] | None = None) -> Iterator[tuple[Any, pa.Table]]:
        for search in self._searches():
            keys = tuple(search[key] for key in KEYS)
            for trial in self.folder(search["search_id"]).trials():
                rows = trial.rows_so_far()
                if rows.exists():
                    yield keys, _with_trial_number(read_table(rows, skip, only), trial.number)

    @staticmethod
    def _concat(keyed_tables: Iterator[tuple[Any, pa.Table]], columns: Sequence[str]) -> pd.DataFrame:
        pairs = list(keyed_tables)
        if not pairs:
            return pd.DataFrame(columns=[*KEYS, *columns])
        lengths = [len(table) for _, table in pairs]
        keys = {
            name: np.repeat(np.array([values[i] for values, _ in pairs], dtype=object), lengths)
            for i, name in enumerate(KEYS)
        }
        frame: pd.DataFrame = pa.concat_tables([t for _, t in pairs], promote_options="permissive").to_pandas()
        key_columns = pd.DataFrame({**keys, "seed": keys["seed"].astype(np.int64)})
        rest = [name for name in frame.columns if name not in columns]
        return pd.concat([key_columns, frame[[*columns, *rest]]], axis=1)


def _with_trial_number(table: pa.Table, number: int) -> pa.Table:
    """Sets the trial column: a shared training has another number in each search."""
    if "trial" not in table.column_names:
        return table
    column = pa.array(np.full(len(table), number, dtype=np.int64))
    return table.set_column(table.column_names.index("trial"), "trial", column)


def compared_all(searches: pd.DataFrame) -> pd.Series[bool]:
    """Whether each search compared all its trainings by a rule: it then has their Pareto front."""
    return searches["pareto"].map(lambda front: isinstance(front, list) and bool(front)).astype(bool)
