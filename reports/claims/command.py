"""`latentbench verdict CLAIM RESULTS...`: what a registered claim's runs have shown."""

from __future__ import annotations

import argparse

import reports.headless  # noqa: F401
from benchmark.store.remote import open_results
from benchmark.text import printable
from reports.claims.claim import read_claim
from reports.claims.gather import gather
from reports.claims.verdict import ClaimVerdict, verdict


def print_verdict(options: argparse.Namespace) -> int:
    """Prints the verdict and returns 0. Raises InputError where the results do not hold what was registered."""
    registered = read_claim(options.claim)
    store = open_results(options.results)
    print("\n".join(map(printable, lines(verdict(registered, gather(registered, [store]))))))
    return 0


def lines(found: ClaimVerdict) -> list[str]:
    """The lines that are printed."""
    width = max(len(part.name) for part in found.parts)
    state_width = max(len(part.state) for part in found.parts)
    parts = [f"  {part.name:{width}}  {part.state:{state_width}}  {part.sentence}" for part in found.parts]
    beside = ["beside it (none of this decides):", *(f"  {sentence}" for sentence in found.beside)]
    why = f" ({found.why})" if found.why else ""
    head = [f"claim: {found.claim}", f"verdict: {found.outcome}{why}", f"  {found.scope}"]
    return [*head, *parts, *beside, "sources:", *(f"  {source}" for source in found.sources)]
