"""Claim files: what they can say, and one line for what does not fit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from claim_store import CLAIM, ONE_BLOCK, claim_file, registered
from commands import ROOT

from benchmark.errors import InputError
from reports.claims.claim import Block, Secondary, read_claim

SECTION_6 = """
claim = "Nested latents are as good as the exhaustive grid, at the cost of one training of the largest size."
method = "sparsity"  # stands for the method until it is there
reference = "grid"
rule = "smallest-good"
metric = "iwae"
margin = 0.05
strict = 0.02
size_ratio = 1.5
cost_ratio = 1.25
seeds = [10, 11, 12, 13, 14]
pilot_seeds = [0, 1, 2]
tuned = "learning rates on pilot seeds"
exclusions = "none"
refuted_by = "a lower limit above the margin"
secondary = [{ family = "samples", measures = ["kid_gen"] }, { family = "parts", measures = ["recon_nll", "kl"] }]

[[blocks]]
protocol = "digits"
gap = 3.2
seeds = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
why = "small, so ten seeds"

[[blocks]]
protocol = "networks/digits-wide.toml"
dataset = "digits"

[[blocks]]
protocol = "manifold"
"""


def test_a_whole_registration(tmp_path: Path) -> None:
    (tmp_path / "networks").mkdir()
    wide = tmp_path / "networks" / "digits-wide.toml"
    wide.write_text('extends = "digits"\nbackbone.hidden = [512]\n')
    found = registered(tmp_path, SECTION_6, "")
    assert found.claim.secondary == (Secondary("samples", ("kid_gen",)), Secondary("parts", ("recon_nll", "kl")))
    assert [(block.name, block.dataset, len(block.seeds), block.gap) for block in found.blocks] == [
        ("digits", "digits", 10, 3.2),
        ("networks/digits-wide", "digits", 5, None),
        ("manifold", "manifold", 5, None),
    ]
    assert found.blocks[1].argument == str(wide)
    assert found.blocks[1].protocol.backbone.options["hidden"] == [512]
    assert found.digest == hashlib.sha256((tmp_path / "own.toml").read_bytes()).hexdigest()


def test_defaults_are_those_of_the_page(tmp_path: Path) -> None:
    claim = registered(tmp_path).claim
    page = (ROOT / "docs" / "claims.md").read_text()
    for name in ("reference", "rule", "metric", "margin", "strict", "size_ratio", "cost_ratio"):
        value = getattr(claim, name)
        assert f"| `{name}` | `{value if not isinstance(value, str) else chr(34) + value + chr(34)}`" in page, name


@pytest.mark.parametrize("path", sorted((ROOT / "claims").glob("*.toml")), ids=lambda path: path.stem)
def test_the_bundled_claims_can_be_read(path: Path) -> None:
    assert read_claim(path).blocks


def test_the_example_is_of_digits() -> None:
    found = read_claim(ROOT / "claims" / "example-digits.toml")
    assert found.claim.method == "sparsity"
    assert found.claim.blocks[0].protocol == "digits"
    assert found.claim.seeds == (0, 1, 2, 3, 4)


def test_the_claim_about_nested_is_over_five_data_sets() -> None:
    found = read_claim(ROOT / "claims" / "nested.toml")
    assert {block.dataset for block in found.blocks} == {"digits", "manifold", "mnist", "fashionmnist", "eurosat"}
    assert not {*found.claim.pilot_seeds} & {seed for block in found.blocks for seed in block.seeds}


WRONG = {
    "claim = 3": "claim is 3; expected str",
    'claim = " "': "claim is ''; expected one sentence",
    'metod = "ald"': "unknown setting 'metod'; did you mean 'method'?",
    'metric = "elob"': "unknown metric 'elob'; did you mean 'elbo'?",
    'rule = "smalest-good"': "unknown rule 'smalest-good'; did you mean 'smallest-good'?",
    "margin = 0": "margin is 0; expected above 0",
    "margin = 5": "margin is 5; expected at most 1",
    "strict = 0.1": "strict is 0.1 and margin 0.05; expected strict at most the margin",
    "size_ratio = 1.0": "size_ratio is 1.0; expected above 1",
    "cost_ratio = -1": "cost_ratio is -1; expected above 0",
    "seeds = 3": "seeds is 3; expected a list",
    "seeds = [3]": "seeds is [3]; expected a list of at least 2",
    "seeds = [0, 0]": "seeds has 0 twice; expected each once",
    "seeds = [0, -1]": "seeds is -1; expected at least 0",
    "pilot_seeds = [3]": "seeds has 3, which is a pilot seed; expected seeds that nobody has looked at",
    'reference = "random"': "reference is 'random'; expected grid: its trainings are the controls",
    'method = "grid"': "method and reference are both 'grid'; expected two searchers",
    'method = "sparsty"': "unknown searcher 'sparsty'; did you mean 'sparsity'?",
    'method = "ald@9"': "unknown variant 'ald@9'",
    'secondary = [{ family = "a" }]': "secondary: measures is missing; expected a value",
    "x = [": "not valid TOML",
}
WRONG_BLOCKS = {
    "": "blocks is missing; expected a value",
    "blocks = []": "blocks is []; expected a list of at least 1",
    'blocks = ["digits"]': "blocks is 'digits'; expected a table of settings",
    '[[blocks]]\nprotocol = "digit"': "unknown protocol 'digit'; did you mean 'digits'?",
    '[[blocks]]\nprotocol = "other.toml"': "other.toml'; expected one of",
    '[[blocks]]\nprotocl = "digits"': "blocks: unknown setting 'protocl'; did you mean 'protocol'?",
    "[[blocks]]\ngap = 1.0": "blocks: protocol is missing; expected a value",
    '[[blocks]]\nprotocol = "digits"\ngap = 0': "blocks: gap is 0; expected above 0",
    '[[blocks]]\nprotocol = "digits"\nseeds = [1]': "seeds is [1] for digits; expected at least 2",
    2 * ONE_BLOCK: "blocks has digits twice; expected each once",
    '[[blocks]]\nprotocol = "smoke.toml"': "protocol smoke.toml has scale 0.05; expected 1",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    name = line.partition(" = ")[0]
    rest = "".join(f"{row}\n" for row in CLAIM.splitlines() if not row.startswith(f"{name} = "))
    _refused(claim_file(tmp_path, f"{rest}{line}\n"), WRONG[line])


@pytest.mark.parametrize("blocks", WRONG_BLOCKS)
def test_a_wrong_block_is_named(tmp_path: Path, blocks: str) -> None:
    (tmp_path / "smoke.toml").write_text('extends = "digits"\ntraining.scale = 0.05\n')
    _refused(claim_file(tmp_path, blocks=blocks), WRONG_BLOCKS[blocks])


def test_a_missing_or_broken_file(tmp_path: Path) -> None:
    _refused(tmp_path / "none.toml", "cannot read claim", "expected a TOML file")
    path = tmp_path / "latin.toml"
    path.write_bytes("claim = 'é'".encode("latin-1"))
    _refused(path, "save it as UTF-8")


def _refused(path: Path, *says: str) -> None:
    with pytest.raises(InputError) as refusal:
        read_claim(path)
    message = str(refusal.value)
    assert all(text in message for text in says), message
    assert "claim" in message and "\n" not in message


def test_blocks_are_frozen() -> None:
    assert hash(Block("digits")) == hash(Block("digits"))
