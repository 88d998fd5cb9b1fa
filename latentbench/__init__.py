"""Which latent size should a variational autoencoder of your data have? The benchmark as Python calls.

Examples
--------
>>> import latentbench                                                        # doctest: +SKIP
>>> result = latentbench.find_latent_size(X)                                  # doctest: +SKIP
>>> result.size, result.as_good                                               # doctest: +SKIP
(6, (5, 6, 8))
>>> codes = latentbench.LatentSizeSearch().fit_transform(X)                   # doctest: +SKIP
>>> latentbench.inspect_latents(my_encoder, X)                                # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from benchmark import __version__
from searchers.registry import Entry

if TYPE_CHECKING:
    from benchmark.backbones.model_file import load_model as load_model
    from benchmark.errors import InputError as InputError
    from benchmark.store import ResultsStore as ResultsStore
    from latentbench.calls import compare as compare
    from latentbench.calls import find_latent_size as find_latent_size
    from latentbench.estimator import LatentSizeSearch as LatentSizeSearch
    from latentbench.inspection import Inspection as Inspection
    from latentbench.inspection import inspect_latents as inspect_latents
    from latentbench.result import Result as Result

_EXPORTS = {  # imported when first used, so that `import latentbench` stays light
    "find_latent_size": "latentbench.calls",
    "compare": "latentbench.calls",
    "Result": "latentbench.result",
    "LatentSizeSearch": "latentbench.estimator",
    "inspect_latents": "latentbench.inspection",
    "Inspection": "latentbench.inspection",
    "load_model": "benchmark.backbones.model_file",
    "ResultsStore": "benchmark.store",
    "InputError": "benchmark.errors",
}
__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used."""
    if name in _EXPORTS:
        return Entry(f"{_EXPORTS[name]}:{name}", "").load()
    raise AttributeError(f"module 'latentbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
