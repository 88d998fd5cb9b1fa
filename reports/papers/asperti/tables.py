"""The latents' statistics, the paper's beside ours: tables I and II of 1812.07238."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports.papers.asperti.base import (
    MNIST_CONV,
    MNIST_DENSE,
    TILES_CONV,
    TILES_DENSE,
    final_latents,
    find_run,
    find_runs,
    latent_frame,
)
from reports.papers.base import RequiredRuns, StoreFrames

# Variance of a latent's mean over the data and mean of its variances, in the paper's order.
TABLE_1 = (
    *((8.847272e-05, 0.9802212), (0.00011756, 0.99551463), (6.665453e-05, 0.98517334), (0.97417927, 0.008741336)),
    *((0.99131817, 0.006186147), (1.0012343, 0.010142518), (0.94563377, 0.057169348), (0.00015841, 0.98205334)),
    *((0.94694275, 0.033207607), (0.00014789, 0.98505586), (1.0040375, 0.018151345), (0.98543876, 0.023995731)),
    *((0.000107441, 0.9829797), (4.5068125e-05, 0.998983), (0.00010853, 0.9604088), (0.9886378, 0.044405878)),
)
TABLE_2 = (
    *((0.89744579, 0.08080574), (5.1123271e-05, 0.98192715), (0.00013507, 0.99159979), (0.99963027, 0.016493475)),
    *((6.6830005e-05, 1.01567184), (0.96189236, 0.053041528), (1.01692736, 0.012168014), (0.99424797, 0.037749815)),
    *((0.00011436, 0.96450048), (3.2284329e-05, 0.97153729), (7.3369141e-05, 1.01612401), (0.91368156, 0.086443416)),
    *((0.79746723175, 0.23826576), (7.9485260e-05, 0.9702732), (0.92481815, 0.089715622), (4.3311214e-05, 0.95554572)),
)
PAPER_INACTIVE = {MNIST_CONV: 3, TILES_CONV: 4}  # sections IV-B and V-A; of the dense networks the tables say it


@dataclass(frozen=True)
class LatentTable:
    """A table of latents, the paper's beside ours, and below them the numbers that sum both up."""

    table: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """One row a latent of either side, both by rising variance: a latent's number says nothing across two
        trainings. `variance` is that of the posterior mean over the data (ours: the validation images), `mean(σ²)` the
        mean of the posterior's; inactive 1 or 0. Then the summary's rows: a count below `inactive`, else below
        `sum`.
        """
        return self.table


def table_1_data(runs: StoreFrames) -> LatentTable | None:
    """Table I: MNIST, dense."""
    return _table(runs, MNIST_DENSE, MNIST_CONV)


def table_2_data(runs: StoreFrames) -> LatentTable | None:
    """Table II: tiles, dense."""
    return _table(runs, TILES_DENSE, TILES_CONV)


def _table(runs: StoreFrames, dense: RequiredRuns, conv: RequiredRuns) -> LatentTable | None:
    if find_run(runs, dense) is None and find_run(runs, conv) is None:
        return None
    printed = {MNIST_DENSE: _printed(TABLE_1), TILES_DENSE: _printed(TABLE_2)}
    ours = {need: final_latents(runs, found) for need in printed if (found := find_run(runs, need)) is not None}
    body = pd.concat([_ranked("paper", printed[dense]), _ranked("ours", ours.get(dense))], axis=1).reset_index(
        names="row"
    )
    body["row"] = (body["row"] + 1).astype(str)
    sums = _sums("this table", printed[dense], ours.get(dense))
    both = pd.concat(ours.values()) if len(ours) == len(printed) else None
    sums += _sums("tables I and II", pd.concat(printed.values()), both)
    counts = _counts("inactive", runs, dense, int(printed[dense]["inactive"].sum()))
    counts += _counts("inactive, conv.", runs, conv, PAPER_INACTIVE[conv])
    table = pd.concat([body, pd.DataFrame([*counts, *sums])], ignore_index=True)
    whole = [name for name in table.columns if name.endswith((" no.", " inactive"))]
    return LatentTable(table.astype(dict.fromkeys(whole, "Int64")))


def _ranked(side: str, latents: pd.DataFrame | None) -> pd.DataFrame:
    if latents is None:
        return pd.DataFrame(columns=[f"{side} {name}" for name in latent_frame([], [], []).columns], dtype=float)
    return latents.sort_values("variance", ignore_index=True).astype({"inactive": int}).add_prefix(f"{side} ")


def _sums(of: str, paper: pd.DataFrame, ours: pd.DataFrame | None) -> list[dict[str, object]]:
    """Mean and variance (dividing by n) of the sums, which equation 13 puts at 1."""
    rows: list[dict[str, object]] = [{"row": f"{name} of the sums, {of}"} for name in ("mean", "variance")]
    for side, latents in (("paper", paper), ("ours", ours)):
        if latents is not None:
            rows[0][f"{side} sum"] = latents["sum"].mean()
            rows[1][f"{side} sum"] = latents["sum"].var(ddof=0)
    return rows


def _counts(name: str, runs: StoreFrames, need: RequiredRuns, paper: int) -> list[dict[str, object]]:
    """A row a seed, or one without ours."""
    rows: list[dict[str, object]] = [
        {"row": f"{name} ({run.note})", "ours inactive": int(final_latents(runs, run)["inactive"].sum())}
        for run in find_runs(runs, need)
    ]
    return [row | {"paper inactive": paper} for row in rows or [{"row": f"{name} (ours: not run)"}]]


def _printed(values: Sequence[tuple[float, float]]) -> pd.DataFrame:
    return latent_frame(list(range(len(values))), [value[0] for value in values], [value[1] for value in values])
