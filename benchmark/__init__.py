"""The bench: datasets, backbones, the training loop, metrics, the results store and the runner."""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from benchmark.backbones.model_file import load_model as load_model


def __getattr__(name: str) -> Any:
    """Imports `load_model` when it is first used, so that `import benchmark` stays light."""
    if name == "load_model":
        from benchmark.backbones.model_file import load_model

        return load_model
    raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
