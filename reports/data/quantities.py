"""What the reports show of a search: the store's column, its name in print, its unit and its direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmark.text import ROWS, features_kind, of_data
from searchers.quantities import HIGHER_IS_BETTER


@dataclass(frozen=True)
class Quantity:
    """One measured column of the store."""

    column: str
    label: str
    unit: str = ""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Which values are better."""
        return "higher" if self.column in HIGHER_IS_BETTER else "lower"

    @property
    def is_fid(self) -> bool:
        """True for FID and KID, whose value means something only beside the name of its features."""
        return self.column in ("fid_recon", "fid_gen", "kid_gen")

    @property
    def is_time(self) -> bool:
        """True for seconds, which depend on the machine and on how trainings are executed."""
        return self.column.endswith("_seconds")

    @property
    def tested(self) -> str:
        """Column of the same metric on the test split, in `searches()`."""
        return f"test_{self.column}"

    @property
    def size_only(self) -> str:
        """Column of the same metric of a plain training of the size that was found, in `searches()`."""
        return f"size_only_{self.column}"

    def unit_with(self, fid_features: str) -> str:
        """The unit; that of FID and KID is the kind of its features."""
        if not self.is_fid:
            return of_data(self.unit, fid_features)
        kind = features_kind(fid_features) or "unknown"
        return "scaled data" if kind == ROWS else f"{kind} features"

    def name(self, fid_features: str) -> str:
        """The label; of rows of a table a FID is called a Fréchet distance."""
        return of_data(self.label, fid_features)

    def heading(self, fid_features: str, separator: str = " ") -> str:
        """Name with its unit in parentheses."""
        unit = self.unit_with(fid_features)
        name = self.name(fid_features)
        return f"{name}{separator}({unit})" if unit else name

    def csv_column(self, fid_features: str) -> str:
        """Store's column with the unit in brackets: `recon_nll [nats/image]`, `fid_gen [inception features]`."""
        unit = self.unit_with(fid_features)
        return f"{self.column} [{unit}]" if unit else self.column

    @property
    def arrow(self) -> str:
        """The direction that is better, as an arrow."""
        return "↓" if self.better == "lower" else "↑"


WALL_SECONDS = Quantity("wall_seconds", "wall-clock", "s")
# What the search occupied: each of its threads on a CPU, or one GPU, while it trained and evaluated. The two cannot be
# compared; `Group.device_kinds` says which a group has.
DEVICE_SECONDS = Quantity("device_seconds", "device time", "core-s or GPU-s")
TRAIN_FLOPS = Quantity("train_flops", "training FLOPs")
IMAGES_SEEN = Quantity("images_seen", "images seen")
SHOWN_COSTS = (
    WALL_SECONDS,
    Quantity("train_seconds", "training", "s"),
    Quantity("eval_seconds", "evaluation", "s"),
    DEVICE_SECONDS,
    TRAIN_FLOPS,
    IMAGES_SEEN,
)

RECON_NLL = Quantity("recon_nll", "reconstruction NLL", "nats/image")
KL = Quantity("kl", "KL", "nats/image")
ELBO = Quantity("elbo", "ELBO", "nats/image")
IWAE = Quantity("iwae", "IWAE bound", "nats/image")
RECON_SSE = Quantity("recon_sse", "squared error", "sum over pixels, per image")
R2 = Quantity("r2", "R²")
FID_RECON = Quantity("fid_recon", "FID, reconstructions")
FID_GEN = Quantity("fid_gen", "FID, samples")
KID_GEN = Quantity("kid_gen", "KID, samples")
SILHOUETTE = Quantity("silhouette", "silhouette")
SHOWN_METRICS = (
    ELBO,
    IWAE,
    RECON_NLL,
    KL,
    RECON_SSE,
    FID_RECON,
    FID_GEN,
    KID_GEN,
    Quantity("silhouette_excess", "silhouette less that of noise"),
)
# The four metrics that searches decide by in the papers, in the order of ALD-VAE's figure 2.
PANEL_METRICS = (FID_RECON, FID_GEN, SILHOUETTE, RECON_NLL)
# By which models of different sizes are compared; not the silhouette, which measures the size.
QUALITY_METRICS = (ELBO, RECON_NLL, FID_RECON, FID_GEN)
METRICS = tuple(dict.fromkeys((*SHOWN_METRICS, *PANEL_METRICS, R2)))


def shown_metrics(fid_features: str) -> tuple[Quantity, ...]:
    """The metrics of a table of results: those of images, or of rows where the features say that the data are such."""
    if features_kind(fid_features) != ROWS:
        return SHOWN_METRICS
    place = SHOWN_METRICS.index(RECON_SSE) + 1
    return (*SHOWN_METRICS[:place], R2, *SHOWN_METRICS[place:])
