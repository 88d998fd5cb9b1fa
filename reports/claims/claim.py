"""A registered claim: a TOML file that says, before the runs, what they are to show and by which test."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, MinLen

from benchmark.config.protocol import Protocol, load_protocol
from benchmark.config.settings import from_mapping
from benchmark.config.tables import parse_toml, toml_text
from benchmark.errors import InputError
from benchmark.suite.plan import plan
from reports.analysis.effects import MARGIN
from reports.data.names import GRID, parts
from searchers.parts.ranges import Positive, Share
from searchers.rule import Rule

Seeds = tuple[Annotated[int, Ge(0)], ...]


@dataclass(frozen=True)
class Block:
    """One protocol of a claim.

    protocol: a name, or a .toml file beside the claim's. dataset: blocks of one data set (several networks) are
    averaged before anything is tested; by itself the protocol's. gap: what latents are worth over none, in nats an
    image, from a pilot; by itself computed from the results. seeds: where they are not the claim's. why: this block
    was chosen.
    """

    protocol: str
    dataset: str = ""
    gap: Positive | None = None
    seeds: Seeds = ()
    why: str = ""


@dataclass(frozen=True)
class Secondary:
    """A family of further measures, corrected by Holm among themselves; registered, and not part of the verdict."""

    family: str
    measures: Annotated[tuple[str, ...], MinLen(1)]


@dataclass(frozen=True)
class Claim:
    """What a claim file says; all parts must pass. `docs/claims.md` says how each is tested.

    claim: one sentence. method, reference: searchers. rule: by which both choose among trainings. metric: of the loss,
    on the test split. margin: the largest mean loss, in parts of the gap;
    strict: a smaller one, read from the same interval. size_ratio: to the reference's sizes, of the geometric mean.
    cost_ratio: of a search's training FLOPs to one full training of the largest size, in every block. pilot_seeds:
    those that the method was developed with. tuned, exclusions, refuted_by, secondary: text for readers.
    """

    claim: str
    method: str
    blocks: Annotated[tuple[Block, ...], MinLen(1)]
    seeds: Annotated[Seeds, MinLen(2)]
    reference: str = GRID
    rule: Rule = "smallest-good"
    metric: Literal["elbo", "iwae"] = "elbo"
    margin: Share = MARGIN
    strict: Share = 0.02
    size_ratio: Annotated[float, Gt(1)] = 1.5
    cost_ratio: Positive = 1.25
    pilot_seeds: Seeds = ()
    tuned: str = ""
    exclusions: str = ""
    refuted_by: str = ""
    secondary: tuple[Secondary, ...] = ()

    def __post_init__(self) -> None:
        if not self.claim.strip():
            raise ValueError("claim is ''; expected one sentence")
        if self.strict > self.margin:
            raise ValueError(f"strict is {self.strict} and margin {self.margin}; expected strict at most the margin")
        if parts(self.reference).base != GRID:
            raise ValueError(f"reference is {self.reference!r}; expected grid: its trainings are the controls")
        if self.method == self.reference:
            raise ValueError(f"method and reference are both {self.method!r}; expected two searchers")
        for block in self.blocks:
            self._check_seeds(block)
        _check_once("blocks", [block.protocol for block in self.blocks])

    def _check_seeds(self, block: Block) -> None:
        seeds = self.seeds_of(block)
        _check_once("seeds", seeds)
        if len(seeds) < 2:
            raise ValueError(f"seeds is {list(seeds)} for {block.protocol}; expected at least 2")
        pilot = [seed for seed in seeds if seed in self.pilot_seeds]
        if pilot:
            raise ValueError(f"seeds has {pilot[0]}, which is a pilot seed; expected seeds that nobody has looked at")

    def seeds_of(self, block: Block) -> Seeds:
        """The registered seeds of a block."""
        return block.seeds or self.seeds


def _check_once(what: str, names: tuple[int, ...] | list[str]) -> None:
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{what} has {name} twice; expected each once")


@dataclass(frozen=True)
class RegisteredBlock:
    """A block with its protocol read. argument: the protocol as `latentbench run --protocol` takes it."""

    name: str
    dataset: str
    seeds: Seeds
    gap: float | None
    protocol: Protocol
    argument: str


@dataclass(frozen=True)
class Registered:
    """A claim file as it was read. digest: its SHA-256."""

    claim: Claim
    digest: str
    blocks: tuple[RegisteredBlock, ...]


def read_claim(path: Path) -> Registered:
    """Reads a claim file and the protocols that it names. Raises InputError where something does not fit."""
    text = toml_text(path, "claim")
    where = f"claim {path.stem}"
    claim = from_mapping(Claim, parse_toml(text, where), where)
    blocks = tuple(_registered(block, claim, path.parent, where) for block in claim.blocks)
    return Registered(claim, hashlib.sha256(path.read_bytes()).hexdigest(), blocks)


def _registered(block: Block, claim: Claim, beside: Path, where: str) -> RegisteredBlock:
    is_file = block.protocol.endswith(".toml")
    argument = str(beside / os.path.expanduser(block.protocol)) if is_file else block.protocol
    try:
        protocol = load_protocol(argument)
        plan(protocol, "", (claim.reference, claim.method), claim.seeds_of(block))  # names and settings
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if protocol.training.scale != 1:
        scale = protocol.training.scale
        raise InputError(
            f"{where}: protocol {block.protocol} has scale {scale:g}; expected 1: smoke runs are no evidence"
        )
    name = block.protocol.removesuffix(".toml")
    dataset = block.dataset or protocol.dataset.name
    return RegisteredBlock(name, dataset, claim.seeds_of(block), block.gap, protocol, argument)
