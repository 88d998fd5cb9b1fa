"""The search as a scikit-learn estimator: a VAE of the size that the data ask for, as a transformer."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Generator, Tensor

from benchmark.backbones.vae import VAE
from benchmark.errors import InputError
from latentbench.calls import Seeds, find_latent_size
from searchers.parts.objectives import kl_per_dim, reparameterise

DTYPES = [np.float64, np.float32]
FEWEST_ROWS, FEWEST_COLUMNS = 6, 2  # two rows to train on, two for validation, two to test
DRAWS = 10  # of z a row, behind a score
BATCH = 1_000


class LatentSizeSearch(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Find the latent size, train a VAE of it, and transform rows to its codes.

    Parameters
    ----------
    searcher, seeds, time_limit, epochs, likelihood, settings, results, device
        As in :func:`latentbench.find_latent_size`.
    verbose : bool
        Show lines and a progress bar.

    Attributes
    ----------
    n_components_ : int
        The latent size.
    model_ : VAE
        The trained model, which takes the columns that vary.
    results_ : Result
        What speaks for the size and against it.
    n_features_in_, feature_names_in_
        As scikit-learn defines them.

    Notes
    -----
    A tenth of the rows tests the model and a tenth of the rest chooses the size, so it is trained on about 81 %.
    Constant columns are left out of the model, and `inverse_transform` puts them back. On a CPU the same data give the
    same model.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from latentbench import LatentSizeSearch
    >>> X = load_wine().data
    >>> search = LatentSizeSearch(epochs=3).fit(X)
    >>> search.transform(X).shape == (178, search.n_components_)
    True
    >>> search.inverse_transform(search.transform(X)).shape
    (178, 13)
    """

    def __init__(
        self,
        searcher: str = "nested",
        *,
        seeds: Seeds = (0,),
        time_limit: float | str | None = None,
        epochs: int | None = None,
        likelihood: str = "auto",
        settings: Mapping[str, Any] | None = None,
        results: str | Path | None = None,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.searcher = searcher
        self.seeds = seeds
        self.time_limit = time_limit
        self.epochs = epochs
        self.likelihood = likelihood
        self.settings = settings
        self.results = results
        self.device = device
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> "LatentSizeSearch":
        """Search on the rows X [N, D]; y is not used."""
        values = validate_data(
            self, X, dtype=DTYPES, ensure_min_samples=FEWEST_ROWS, ensure_min_features=FEWEST_COLUMNS
        )
        varies = values.min(0) < values.max(0)
        if varies.sum() < FEWEST_COLUMNS:
            raise InputError(f"{int(varies.sum())} of {len(varies)} columns of X vary; expected at least 2 that do")
        self.results_ = find_latent_size(
            values,
            self.searcher,
            self.seeds,
            time_limit=self.time_limit,
            epochs=self.epochs,
            likelihood=self.likelihood,
            settings=self.settings,
            results=self.results,
            device=self.device,
            verbose=self.verbose,
        )
        self.model_ = self.results_.model
        self.n_components_ = self.results_.size
        self._varies = varies
        self._constants = values[0].copy()
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """The posterior means of the rows X [N, D]: [N, n_components_], of the type of X."""
        values = self._rows(X)
        x, model = self._scaled(values), _in_float64(self.model_)
        means = [model.encode(part)[0] for part in x.split(BATCH)]
        return np.asarray(torch.cat(means).detach().numpy().astype(values.dtype))

    def inverse_transform(self, X: Any) -> NDArray[Any]:
        """The rows that the decoder expects for codes X [N, n_components_]: [N, D] in the data's own units."""
        check_is_fitted(self)
        codes = check_array(X, dtype=DTYPES)
        if codes.shape[1] != self.n_components_:
            raise InputError(f"X has {codes.shape[1]} columns; expected {self.n_components_}, one for each latent")
        rows = np.tile(self._constants, (len(codes), 1)).astype(codes.dtype)
        rows[:, self._varies] = self.model_.generate(torch.tensor(codes)).numpy()
        return rows

    @torch.no_grad()
    def score(self, X: Any, y: Any = None) -> float:
        """The mean ELBO of the rows X [N, D] in nats a row, of the scaled values: higher is better."""
        x, model = self._scaled(self._rows(X)), _in_float64(self.model_)
        generator, total = Generator().manual_seed(0), 0.0
        for part in x.split(BATCH):
            mean, logvar = model.encode(part)
            for _ in range(DRAWS):
                outputs = model.decode(reparameterise(mean, logvar, generator))
                total -= float(model.likelihood.nll_of_each(outputs, part).sum()) / DRAWS
            total -= float(kl_per_dim(mean, logvar).sum())
        return total / len(x)

    @property
    def _n_features_out(self) -> int:
        """What `get_feature_names_out` counts."""
        return self.n_components_

    def _rows(self, X: Any) -> NDArray[Any]:
        check_is_fitted(self)
        values: NDArray[Any] = validate_data(self, X, dtype=DTYPES, reset=False)
        return values

    def _scaled(self, values: NDArray[Any]) -> Tensor:
        """What the network sees of rows, in float64, so that a row's code does not depend on its batch."""
        return self.model_.scaling(torch.from_numpy(values[:, self._varies])).double()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _in_float64(vae: VAE) -> VAE:
    return copy.deepcopy(vae).double().eval()
