"""The calls that search: `find_latent_size` for an answer, `compare` for searchers side by side."""

import argparse
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.config.protocol import dataset_protocol, override
from benchmark.config.tables import assigned
from benchmark.errors import InputError
from benchmark.paths import is_url
from benchmark.store import ResultsStore
from benchmark.suggest.command import Searched, search
from benchmark.suggest.request import Request, duration_argument, trimmed_sizes
from benchmark.suite.display import Quiet, Screen
from benchmark.suite.runner import check_results
from latentbench.data import Data, named_data, used_columns
from latentbench.progress import Progress
from latentbench.result import Result
from searchers import GROUPS

Seeds = int | Sequence[int]


def find_latent_size(
    X: Data,
    searcher: str = "nested",
    seeds: Seeds = (0,),
    *,
    labels: Sequence[Any] | str | None = None,
    time_limit: float | str | None = None,
    epochs: int | None = None,
    likelihood: str = "auto",
    settings: Mapping[str, Any] | None = None,
    results: str | Path | None = None,
    device: str = "auto",
    jobs: int = 1,
    verbose: bool = True,
) -> Result:
    """Find the latent size of a VAE for these data, train it, and say what speaks for the size and against it.

    Parameters
    ----------
    X : array, DataFrame, tensor, str or Path
        Rows of numbers [N, D], images [N, C, H, W], a file (`"array:spectra.csv"`), a folder of images
        (`"folder:faces"`) or the name of a dataset (`"digits"`). Rows are standardised column by column on the
        training split; the model takes and gives the data's own units.
    searcher : str
        How the size is chosen; `latentbench list` names all. `nested` trains once and compares all sizes.
    seeds : int or sequence of int
        One search each, with other splits and other chance. The answer is the median size.
    labels : sequence or str
        The class of each row, or the column that holds it. Only metrics and figures use them.
    time_limit : float or str
        Seconds, or `"30m"`: fewer epochs, so that all is done in time. By default the protocol's epochs.
    epochs : int
        Of a full training, in place of the protocol's.
    likelihood : str
        `auto`, `bernoulli`, `gaussian`, `gaussian-optimal`, `gaussian-learned`, `poisson` or `negative-binomial`.
    settings : mapping
        Any other value of the protocol, such as `{"training.batch_size": 128, "space.high": 16}`.
    results : str or Path
        A folder for models, logs and the report. The same call with it trains nothing twice and goes on where Ctrl-C
        stopped it. By default a temporary folder, which lives as long as the result.
    device : str
        `auto`, `cpu`, `cuda` or `mps`.
    jobs : int
        Searches at a time. With 1 all happens in this process and no other is started; with more, a pool of processes
        runs them, and a script needs `if __name__ == "__main__":`.
    verbose : bool
        Show lines and a progress bar.

    Returns
    -------
    Result
        `size`, `as_good`, `doubts`, `curve`, `model`, `store`, and a picture in notebooks.

    Raises
    ------
    InputError
        A ValueError in one line: what was got, what is expected, what to do.
    RuntimeError
        Every search failed.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from latentbench import find_latent_size
    >>> wine = load_wine()
    >>> result = find_latent_size(wine.data, epochs=3, verbose=False)
    >>> 2 <= result.size <= 13
    True
    >>> result.embed(wine.data)[0].shape[1] == result.size
    True
    """
    changes = {"run": [searcher], **_changes(epochs, likelihood, settings)}
    path = Path(tempfile.mkdtemp(prefix="latentbench-")) if results is None else results
    try:
        found = _search(X, labels, changes, seeds, time_limit, path, device, jobs, verbose)
        return Result(found, used_columns(X, found.value_names), is_temporary=results is None)
    except BaseException:
        if results is None:
            shutil.rmtree(path, ignore_errors=True)
        raise


def compare(
    X: Data,
    searchers: Sequence[str] = ("fast",),
    seeds: Seeds = (0, 1, 2),
    *,
    labels: Sequence[Any] | str | None = None,
    epochs: int | None = None,
    likelihood: str = "auto",
    settings: Mapping[str, Any] | None = None,
    results: str | Path = "results",
    device: str = "auto",
    jobs: int = 1,
    verbose: bool = True,
) -> ResultsStore:
    """Run several searchers on the same data, and return the store of their results.

    Parameters
    ----------
    X, labels, epochs, likelihood, settings, device, jobs, verbose
        As in :func:`find_latent_size`.
    searchers : sequence of str
        Names (`latentbench list`), or `all`, `fast` or `papers`.
    seeds : int or sequence of int
        One search of each searcher for each.
    results : str or Path
        The folder of the results; what is done there is not done again.

    Returns
    -------
    ResultsStore
        Frames: `searches()`, `trials()`, `epochs()`, `curves()`, `latents()`. `latentbench report --results FOLDER`
        makes the page of it.

    Examples
    --------
    >>> store = compare("digits", ["nested", "sparsity"], seeds=[0], results="results")   # doctest: +SKIP
    >>> store.searches()[["searcher", "latent_dim", "test_elbo"]]                         # doctest: +SKIP
    """
    names = [searchers] if isinstance(searchers, str) else list(searchers)
    named = list(dict.fromkeys(name for group in names for name in GROUPS.get(group, (group,))))
    changes = {"run": named, **_changes(epochs, likelihood, settings)}
    return _search(X, labels, changes, seeds, None, results, device, jobs, verbose).store


def _changes(epochs: int | None, likelihood: str, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    given = {} if epochs is None else {"training.epochs": epochs}
    return {"likelihood": likelihood, **given, **(settings or {})}


def _search(
    data: Data,
    labels: Sequence[Any] | str | None,
    changes: Mapping[str, Any],
    seeds: Seeds,
    time_limit: float | str | None,
    results: str | Path,
    device: str,
    jobs: int,
    verbose: bool,
) -> Searched:
    started = time.monotonic()
    if is_url(results):
        raise InputError(f"results is {results}; expected a folder on this machine")
    if jobs < 1:
        raise InputError(f"jobs is {jobs}; expected at least 1")
    path = Path(results).expanduser().absolute()  # the caller may go to another folder
    check_results(path)
    named = named_data(data, labels, path)
    tables = [assigned(key, _plain(value)) for key, value in {**changes, "seeds": np.atleast_1d(seeds)}.items()]
    dataset = {"dataset": {"name": named.name, **named.options}}
    base = dataset_protocol(named.name)
    protocol = override(base, dataset, *tables, trimmed_sizes(base, tables))
    request = Request(
        protocol,
        path,
        device,
        _seconds(time_limit),
        started,
        asked_threads=protocol.training.threads,
        asks_space=any("space" in table for table in tables),
        executor="here" if jobs == 1 else "local",
        jobs=jobs,
        makes_page=False,
    )
    screen: Screen = Progress() if verbose else Quiet()
    return search(request, screen)


def _plain(value: Any) -> Any:
    """numpy's numbers and arrays as Python's own, also within lists and tables."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple, range)) else value


def _seconds(limit: float | str | None) -> float | None:
    if isinstance(limit, str):
        try:
            return duration_argument(limit)
        except argparse.ArgumentTypeError as error:
            raise InputError(f"time_limit: {error}") from error
    if limit is not None and not 0 < limit < float("inf"):
        raise InputError(f"time_limit is {limit}; expected seconds above 0, or a text such as '30m'")
    return limit
