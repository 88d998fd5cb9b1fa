"""What the reports show of a search: the store's column, its name in print, its unit and its direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmark.text import features_kind
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
        return f"{features_kind(fid_features) or 'unknown'} features" if self.is_fid else self.unit

    def heading(self, fid_features: str, separator: str = " ") -> str:
        """Name with its unit in parentheses."""
        unit = self.unit_with(fid_features)
        return f"{self.label}{separator}({unit})" if unit else self.label

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
FID_RECON = Quantity("fid_recon", "FID, reconstructions")
FID_GEN = Quantity("fid_gen", "FID, samples")
KID_GEN = Quantity("kid_gen", "KID, samples")
SILHOUETTE = Quantity("silhouette", "silhouette")
SHOWN_METRICS = (
    ELBO,
    IWAE,
    RECON_NLL,
    KL,
    Quantity("recon_sse", "squared error", "sum over pixels, per image"),
    FID_RECON,
    FID_GEN,
    KID_GEN,
    Quantity("silhouette_excess", "silhouette less that of noise"),
)
# The four metrics that searches decide by in the papers, in the order of ALD-VAE's figure 2.
PANEL_METRICS = (FID_RECON, FID_GEN, SILHOUETTE, RECON_NLL)
# By which models of different sizes are compared; not the silhouette, which measures the size.
QUALITY_METRICS = (ELBO, RECON_NLL, FID_RECON, FID_GEN)
METRICS = tuple(dict.fromkeys((*SHOWN_METRICS, *PANEL_METRICS)))
