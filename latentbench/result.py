"""What a search for the latent size has found."""

import base64
import html
import io
import shutil
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from benchmark.backbones.model_file import load_model
from benchmark.backbones.vae import VAE
from benchmark.datasets.arrays.source import named
from benchmark.errors import InputError
from benchmark.store import ResultsStore
from benchmark.store.doubts import doubts
from benchmark.suggest.command import Searched
from benchmark.text import one_line
from latentbench.data import Columns
from reports.data.groups import read_groups, sizes_as_good

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CURVE = ["seed", "size", "split", "trial", "epoch", "elbo", "recon_nll", "kl", "recon_sse", "active_units"]


class Result:
    """The answer of `find_latent_size`.

    Attributes
    ----------
    size : int
        The latent size; of several seeds the median, as one of them found it.
    as_good : tuple of int
        Sizes that are as good in most seeds, the chosen one among them; empty where the searcher compares no sizes.
    sizes : dict
        The size by seed, for those that did not fail.
    doubts : list of str
        What speaks against the size.
    sentences : list of str
        The answer in plain words, as `latentbench suggest` prints it.
    curve : DataFrame
        Quality against size: on validation data (`split` is `val`) a row for each size when the sizes were last
        compared, on the test split one for each finished training; with `elbo` (nats a sample) and other metrics.
    model : VAE
        The trained model of that size: `embed(data)` gives the posterior's mean and log-variance, `generate(z)` data in
        their own units.
    columns : list or None
        The columns that the model takes, names of a table or numbers of an array's, without labels and constant ones.
        None for images, and for a file whose columns have no names.
    searches : DataFrame
        A row for each seed with all that is known; see `ResultsStore.searches`.
    """

    def __init__(self, found: Searched, columns: Columns, is_temporary: bool = False) -> None:
        self.columns, self._n_columns = columns
        self._path = found.store.path
        self.searches = found.searches.sort_values("seed").reset_index(drop=True)
        done = self.searches[self.searches["status"] == "done"]
        if done.empty:
            raise RuntimeError(f"the search failed: {one_line(self.searches['error'].iloc[0])}")
        self.sizes = {int(seed): int(size) for seed, size in zip(done["seed"], done["latent_dim"], strict=True)}
        self.size = sorted(self.sizes.values())[(len(self.sizes) - 1) // 2]
        chosen = done[done["latent_dim"] == self.size].iloc[0].to_dict()
        self.doubts = doubts(chosen)
        self.sentences = found.sentences(chosen, another="seeds=(0, 1, 2) tries three")
        self.as_good = sizes_as_good(done)
        curves = found.store.curves()
        own = _last_compared(curves[curves["search_id"].isin(done["search_id"])])
        self.curve = own.sort_values(["seed", "size", "split"]).reindex(columns=_CURVE).reset_index(drop=True)
        self.model: VAE = load_model(found.store.folder(chosen["search_id"]).path / "model.pt")
        if is_temporary:
            weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True)

    def embed(self, X: Any) -> tuple[Tensor, Tensor]:
        """The posterior's mean and log-variance, [N, size] each, of X as `find_latent_size` took it, or of more rows.

        Takes the `columns` of it and gives them to `model.embed`. Raises InputError where columns are missing.
        """
        if isinstance(X, (str, Path)):
            raise InputError(f"X is {str(X)!r}; expected rows of numbers, such as an array or a DataFrame")
        has_numbers = self._n_columns > 0  # in place of names
        if isinstance(X, pd.DataFrame) and self.columns is not None and not has_numbers:
            missing = [name for name in self.columns if name not in X.columns]
            if missing:
                raise InputError(
                    f"X has no column {named(missing)}; expected the {len(self.columns)} of result.columns"
                )
            return self.model.embed(X[self.columns])
        values = X if isinstance(X, Tensor) else np.asarray(X)
        if has_numbers and values.ndim == 2 and values.shape[1] == self._n_columns:
            values = values[:, self.columns]
        return self.model.embed(values)

    @property
    def store(self) -> ResultsStore:
        """The results as frames; a temporary folder is gone after the result was pickled elsewhere."""
        return ResultsStore(self._path)

    def figure(self) -> "Figure":
        """Quality against latent size with the chosen sizes and those that are as good, as the report draws it."""
        from reports.drawing.style import paper_style
        from reports.figures.quality import draw_quality, quality_data

        ids = set(self.searches["search_id"])
        groups = read_groups(self.store, str(self._path))
        group = next(group for group in groups if ids & set(group.searches["search_id"]))
        data = quality_data(group)
        if data is None:
            raise ValueError("no model has been assessed; expected a finished search")
        with paper_style():
            return draw_quality(data)

    def report(self, out: str | Path | None = None) -> Path:
        """Write the page with all figures and tables, and return its path. out: a folder (default: beside the results).

        A temporary folder of results goes with the result: give `out` then.
        """
        from reports.write import write_report

        target = self._path / "report" if out is None else Path(out)
        return write_report(read_groups(self.store, str(self._path)), target, self.store).page

    def __repr__(self) -> str:
        others = [size for size in self.as_good if size != self.size]
        alike = f", as good: {', '.join(map(str, others))}" if others else ""
        spread = f", by seed: {self.sizes}" if len(self.sizes) > 1 else ""
        return "\n  ".join([f"Result(size={self.size}{alike}{spread})", *self.sentences])

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in self.sentences)
        return f"<div><h4>{self.size} latents</h4><ul>{lines}</ul>{figure_html(self.figure())}</div>"


def figure_html(figure: "Figure") -> str:
    """A figure as an <img> that needs no other file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}" style="max-width:100%">'


def _last_compared(curves: pd.DataFrame) -> pd.DataFrame:
    """The test rows, and those on validation data of the last epoch of a search that has several sizes, or any."""
    is_test, keys = curves["split"] == "test", ["search_id", "split", "epoch"]
    several = curves.groupby(keys)["size"].transform("nunique") > 1
    ever = several.groupby([curves["search_id"], curves["split"]]).transform("any")
    found = curves[is_test | several | ~ever]
    is_last = found["epoch"] == found.groupby(["search_id", "split"])["epoch"].transform("max")
    return found[(found["split"] == "test") | is_last].drop_duplicates(["search_id", "split", "trial", "size"])
