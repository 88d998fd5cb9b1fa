"""What papers say of these methods, beside what was measured here: the table of published claims."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from docs.results.moves import GATES
from docs.results.papers import NEAR_ONE
from docs.results.study import Study
from reports.analysis.effects import MARGIN, effect
from reports.analysis.verdicts import minus

HELD, NOT_HELD, NOT_SHOWN, NOT_RUN = "held", "did not hold", "not shown", "not run"
STARTS_APART = 2  # 2312.06280, section 5.2: "1 to 2"
RIVALS = ("reinforce", "straight-through", "hard-concrete")  # of ARM, 2003.10901, section II-B
DENSE = ("mnist_dense", "tiles_dense")
MOST_LATENTS = 0.95
OTHER_GECO, OTHER_ARD = 304.75, 22.24  # FIDs of samples on MNIST, of a public fork of 2501.10901's code


@dataclass(frozen=True)
class Published:
    """A claim with its source, the rule by which it is judged, what is measured here and the outcome by the rule.

    runs: the seeds here and the share of the paper's budget that they had.
    """

    source: str
    claim: str
    rule: str
    runs: str
    here: str
    outcome: str


def published(study: Study, moved: pd.DataFrame, papers: dict[str, Any]) -> Iterator[Published]:
    """The claims. moved: of `docs.results.moves.moved`. papers: `docs.results.papers.numbers`."""
    ald = [one for one in papers["ald"].values() if one["apart"]["n"]]
    budget = "; ".join(_runs(one["apart"]["n"], one["share"]) for one in ald)
    yield Published(
        "2312.06280, 5.2",
        "ALD-VAE ends at sizes 1 to 2 apart, whatever it starts from",
        f"at most {STARTS_APART} apart in a seed, on every data set",
        budget,
        "; ".join(f"{one['dataset']} {_values(one['apart'])} (in use {_values(one['in_use_apart'])})" for one in ald),
        _outcome([one["apart"]["max"] <= STARTS_APART for one in ald]),
    )
    drawn = [one for one in ald if one["figure_2"] is not None and one["figure_2"]["fired"]]
    behind = [one["figure_2"]["fid_recon"]["behind"]["mean"] for one in drawn]
    yield Published(
        "2312.06280, 5.1",
        "ALD-VAE's rule fires \"at the minimum (or directly after)\" of the reconstructions' FID",
        f"FID at the stop at most {100 * MARGIN:.0f} % above its minimum",
        "; ".join(_runs(one["figure_2"]["fired"], one["share"]) for one in drawn),
        "; ".join(f"{one['dataset']} {value:.2f} times" for one, value in zip(drawn, behind, strict=True)),
        _outcome([value <= 1 + MARGIN for value in behind]),
    )
    fixed = [(name, one["figure_3"]["recon_nll"]["mean"]) for name, one in papers["ald"].items() if one["figure_3"]]
    yield Published(
        "2312.06280, 5.1",
        "ALD-VAE differs marginally from a training of its final size",
        f"an NLL of at most {100 * MARGIN:.0f} % of what latents are worth more",
        budget,
        "; ".join(f"{papers['ald'][name]['dataset']} {minus(f'{nll:.2f}')} nats" for name, nll in fixed),
        _outcome([nll <= MARGIN * study.gap(name) for name, nll in fixed if name in study.blocks]),
    )
    inside = papers["geco"]["inside"]
    ends = papers["geco"]["paper"]
    points = papers["geco"]["points"]
    yield Published(
        "2003.10901, figure 3",
        " and ".join(f"{size} latents at tau = {tau}" for tau, size in ends.items()),
        "the seeds' range has each whose bound was reached",
        _runs(points[max(ends)]["n"], papers["geco"]["share"]) if max(ends) in points else "",
        " and ".join(
            _values(points[tau]) if tau in inside else f"bound of {tau} not reached" for tau in ends if tau in points
        ),
        _outcome(list(inside.values())),
    )
    yield _fids(study)
    yield _arm(moved)
    asperti = papers["asperti"]
    trained = [name for name in DENSE if asperti[name]["inactive"]["n"]]
    yield Published(
        "1812.07238, tables I, II",
        f"{' and '.join(str(asperti[name]['paper']) for name in DENSE)} of 16 latents inactive (MNIST, tiles; dense)",
        "the seeds' range has both",
        "; ".join(_runs(asperti[name]["inactive"]["n"], asperti[name]["share"]) for name in trained),
        " and ".join(_inactive(asperti[name]) for name in trained),
        _of_starts([asperti[name] for name in trained]),
    )
    sums = [asperti[name]["sums"]["near"] for name in DENSE if asperti[name]["sums"]]
    yield Published(
        "1812.07238, equation 13",
        "variance of the means and mean variance of a latent sum to 1",
        f"{100 * MOST_LATENTS:.0f} % of the latents within {100 * NEAR_ONE:.0f} % of 1 (MNIST, tiles; dense)",
        "the same",
        " and ".join(f"{100 * share:.0f} %" for share in sums),
        _outcome([share >= MOST_LATENTS for share in sums]),
    )


def _outcome(held: list[bool]) -> str:
    """Held where it did on every data set."""
    return NOT_RUN if not held else HELD if all(held) else NOT_HELD


def _values(found: dict[str, Any]) -> str:
    """The seeds' values: `11/9/10`."""
    return "/".join(map(str, found["values"]))


def _inactive(found: dict[str, Any]) -> str:
    """The counts of inactive latents, with those of another start of the weights in parentheses."""
    scaled = found["scaled"]["inactive"]
    return _values(found["inactive"]) + (f" (scaled start {_values(scaled)})" if scaled["n"] else "")


def _of_starts(found: list[dict[str, Any]]) -> str:
    """The outcome, by the other start of the weights where the first does not have the paper's counts."""
    first = _outcome([one["inside"] for one in found])
    scaled = _outcome([one["scaled"]["inside"] for one in found if one["scaled"]["inactive"]["n"]])
    return f"{HELD} with the scaled start" if first == NOT_HELD and scaled == HELD else first


def _runs(seeds: int, share: float) -> str:
    return f"{seeds} {'seed' if seeds == 1 else 'seeds'}, {round(share, 0 if share > 5 else 1):g} % of the budget"


def _fids(study: Study) -> Published:
    """The other paper's FID of GECO's samples against those of ARD, and ours, on MNIST."""
    theirs, block = OTHER_GECO / OTHER_ARD, "mnist"
    pairs = study.paired("fid_gen", "geco-l0arm", "ard", block) if block in study.blocks else []
    ratio = sum(ours for ours, _ in pairs) / sum(other for _, other in pairs) if pairs else float("nan")
    return Published(
        "a fork of 2501.10901's code, its tables",
        f"samples of GECO have {theirs:.1f} times the FID of ARD-VAE's on MNIST ({OTHER_GECO}, {OTHER_ARD})",
        "at least half of that",
        f"{len(pairs)} seeds; `study-mnist`, a classifier's features where theirs are Inception's",
        f"{ratio:.1f} times" if pairs else "",
        _outcome([ratio >= theirs / 2] if pairs else []),
    )


def _arm(moved: pd.DataFrame) -> Published:
    """ARM's test ELBO against the best other estimator of the same gates, by seed."""
    rows = moved[(moved["what"] == GATES) & moved["setting"].isin(["arm", *RIVALS])]
    elbo = rows.pivot(index="seed", columns="setting", values="elbo")
    others = elbo.drop(columns="arm").mean()
    rival = str(others.idxmax())
    found = effect((elbo["arm"] - elbo[rival]).dropna().tolist())
    low, high, mean = (minus(f"{value:+.3f}") for value in (found.low, found.high, found.mean))
    return Published(
        "2003.10901, II-B",
        'ARM "outperforms" REINFORCE, straight-through and hard concrete (cited from Yin and Zhou, not tested there)',
        "test ELBO of a training of its size on digits above that of the best other, 95 % over seeds",
        f"{found.n} seeds; digits, where a training's ELBO judges the size alone",
        f"{mean} nats ({low} to {high}) against {rival}",
        HELD if found.low > 0 else NOT_HELD if found.high < 0 else NOT_SHOWN,
    )
