"""The verdict on a claim, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from reports.analysis.effects import MOST_FLIPS, effect, new_interval, sign_flips
from reports.analysis.stats import p_text
from reports.claims import companions
from reports.claims.claim import Claim, Registered
from reports.claims.evidence import BlockEvidence, Evidence
from reports.claims.parts import OF_THE_GAP, Outcome, Part, Parts, judge
from reports.claims.wording import chance, counted, interval, listed, number, percent
from reports.data.names import dataset_label, label


@dataclass(frozen=True)
class ClaimVerdict:
    """What `latentbench verdict` says.

    why: it is not shown. beside: sentences that do not decide. sources: the blocks, the versions, the file.
    """

    claim: str
    outcome: Outcome
    why: str
    scope: str
    parts: tuple[Part, ...]
    beside: tuple[str, ...]
    sources: tuple[str, ...]


def verdict(registered: Registered, evidence: Evidence) -> ClaimVerdict:
    """Judges a claim by its evidence."""
    claim = registered.claim
    found = judge(claim, evidence)
    beside = (*_failures(claim, evidence), *_spread(claim, evidence, found), *_other_tests(claim, evidence))
    beside += (*_blocks(claim, evidence), *_seconds(claim, evidence))
    sources = tuple(_sources(registered, evidence))
    return ClaimVerdict(claim.claim, found.outcome, found.why, _scope(evidence), found.all, beside, sources)


def _scope(evidence: Evidence) -> str:
    names = [dataset_label(name) for name in evidence.datasets]
    if len(names) == 1:
        return f"for the data set {names[0]} only: its seeds are the sample"
    return f"the sample is {len(names)} data sets ({len(evidence.blocks)} blocks): {', '.join(names)}"


def _failures(claim: Claim, evidence: Evidence) -> Iterator[str]:
    """How many searches failed, and the loss without them."""
    failed = {
        claim.method: sum(search.failed for block in evidence.blocks for search in block.method.values()),
        claim.reference: sum(search.failed for block in evidence.blocks for search in block.reference.values()),
    }
    named = [f"{label(searcher)} {n}" for searcher, n in failed.items() if n]
    if not named:
        return
    without = effect(list(evidence.units(BlockEvidence.losses_without_failures).values()))
    yield (
        f"Failed searches: {', '.join(named)}. A failed {label(claim.method)} counts as a model without latents (loss "
        f"100 %), a failed {label(claim.reference)} as the mean of its other seeds. Without these seeds the loss is "
        f"{interval(without, percent, OF_THE_GAP)}: {without.shown(claim.margin)}."
    )


def _spread(claim: Claim, evidence: Evidence, found: Parts) -> Iterator[str]:
    sd, losses = companions.spread(evidence), found.quality_effect
    text = f"Standard deviation of a seed's loss: {percent(sd.seeds)} of the gap ({sd.seeds_df} degrees of freedom)"
    if len(evidence.datasets) > 1:
        low, high = new_interval(losses.mean, sd.between, sd.units, losses.n)
        text += (
            f"; between data sets beyond that (tau): {percent(sd.between)}. For a new data set: {percent(losses.mean)} "
            f"(95 %: {percent(low)} to {percent(high)})"
        )
    yield f"{text}."
    chances = [companions.power(loss, claim.margin, sd.units, losses.n) for loss in (0.0, 0.01)]
    if not math.isnan(chances[0]):
        n, sd_text = counted(losses.n, evidence), percent(sd.units)
        yield (
            f"With {n} of this spread (sd {sd_text}) a method that loses nothing passes on quality with a chance of "
            f"{chance(chances[0])}, one that loses 1 % of the gap of {chance(chances[1])}."
        )


def _other_tests(claim: Claim, evidence: Evidence) -> Iterator[str]:
    units = evidence.units(BlockEvidence.losses)
    what = "seed" if len(evidence.datasets) == 1 else "data set"
    if len(units) > 2:
        highs = {name: found.high for name, found in companions.without_each(units).items()}
        worst, best = max(highs, key=lambda name: highs[name]), min(highs.values())
        yield (
            f"Without any one {what} the upper limit is {percent(best)} to {percent(highs[worst])} (without {worst})."
        )
    exact = "exact" if 2 ** len(units) <= MOST_FLIPS else "drawn"
    flips = sign_flips([loss - claim.margin for loss in units.values()], "less")
    yield (
        f"Sign flips ({exact}, one-sided, against the margin): {p_text(flips)}; "
        f"{counted(len(units), evidence)} can give no p below {number(0.5 ** len(units))}."
    )
    both = "within" if companions.equivalent_both_ways(units, claim.margin) else "not shown to be within"
    yield f"Two-sided equivalence (90 % interval): {both} {100 * claim.margin:g} % on both sides."


def _blocks(claim: Claim, evidence: Evidence) -> Iterator[str]:
    tests = companions.block_tests(claim, evidence)
    worst = max(tests, key=lambda name: tests[name].mean)
    if len(tests) > 1:
        yield f"Worst block: {worst}, {percent(tests[worst].mean)}."
    each = [f"{name} {percent(test.mean)} ({p_text(test.p_holm)})" for name, test in tests.items()]
    alone = sum(test.p < companions.ALPHA for test in tests.values())
    yield (
        f"Blocks alone below the margin (paired by seed, one-sided, p after Holm): {', '.join(each)}. "
        f"At 5 % without correction, as for 'in every block': {alone} of {len(tests)}."
    )


def _seconds(claim: Claim, evidence: Evidence) -> Iterator[str]:
    said = []
    for name, blocks in (
        (claim.method, [block.method for block in evidence.blocks]),
        (claim.reference, [block.reference for block in evidence.blocks]),
    ):
        seconds = [search.seconds for block in blocks for search in block.values() if search.seconds > 0]
        if seconds:
            said.append(f"{label(name)} {number(min(seconds))} to {number(max(seconds))}")
    if said:
        yield f"Seconds of a search, evaluations included, on whatever machines ran them: {', '.join(said)}."


def _sources(registered: Registered, evidence: Evidence) -> Iterator[str]:
    claim = registered.claim
    for block, asked in zip(evidence.blocks, registered.blocks, strict=True):
        how = "registered" if block.gap_registered else "computed from these results, not registered"
        yield (
            f"block {block.name}: data set {dataset_label(block.dataset)}, protocol hash {block.protocol_hash}, seeds "
            f"{listed(asked.seeds)}, gap {number(block.gap)} nats ({how})"
        )
    choosing = label(claim.reference) if evidence.decides_by_itself else "both"
    yield (
        f"metric {claim.metric} on the test split, draws of z an image: {listed(evidence.draws)}; "
        f"rule {claim.rule} ({choosing}); pilot seeds: {listed(claim.pilot_seeds) or 'none'}"
    )
    if evidence.n_ignored:
        yield f"searches in the results that are not registered, and were ignored: {evidence.n_ignored}"
    yield f"results made by {'; '.join(evidence.versions)}"
    yield f"SHA-256 of the claim file: {registered.digest}"
