"""What `latentbench verdict` prints, and its exit codes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from claim_store import CLAIM, ONE_BLOCK, ClaimStore, claim_file, complete, registered
from commands import benchmark
from report_frames import search, write_store

from benchmark import cli
from reports.analysis.stats import p_text
from reports.claims import command
from reports.claims.gather import gather
from reports.claims.verdict import ClaimVerdict, verdict
from reports.claims.wording import listed, number, percent


def judged(folder: Path, store: ClaimStore, text: str = CLAIM, blocks: str = ONE_BLOCK) -> ClaimVerdict:
    claim = registered(folder, text, blocks)
    return verdict(claim, gather(claim, [store]))


def test_a_supported_claim_with_its_numbers(tmp_path: Path) -> None:
    found = judged(tmp_path, complete(), blocks=ONE_BLOCK + "gap = 4.0\n")
    assert found.outcome == "supported"
    assert found.scope == "for the data set digits only: its seeds are the sample"
    assert [(part.name, part.state) for part in found.parts] == [
        (name, "passes") for name in ("quality", "size", "cost", "controls")
    ]
    quality, size, cost, controls = (part.sentence for part in found.parts)
    # the mean of six losses is 0.17 %, their sd 1.5 %: half a width of 2.571 * 1.47 / sqrt(6) = 1.5
    assert (
        quality == "mean loss 0.17 % of the gap (95 %: -1.4 % to 1.7 %), 6 seeds; the margin is 5 % (strict: below 2 %)"
    )
    assert size == "mean ratio of sizes 1 (95 %: 1 to 1), 6 seeds; the limit is 1.5"
    assert cost == "at most 0.25 full trainings of the largest size (FLOPs) in every block; the limit is 1.25"
    assert "the smallest size is shown to be worse: 60 % of the gap (95 %: 60 % to 60 %), 6 seeds; half" in controls
    said = " ".join(found.beside)
    assert "Sign flips (exact, one-sided, against the margin): p = 0.016; 6 seeds can give no p below 0.016." in said
    assert "Two-sided equivalence (90 % interval): within 5 % on both sides." in said
    assert "tau" not in said  # of one data set
    assert "Failed" not in said
    sources = "\n".join(found.sources)
    assert "seeds 0 to 5, gap 4 nats (registered)" in sources
    assert "draws of z an image: 20; rule smallest-good (Grid); pilot seeds: none" in sources
    assert "results made by latentbench 0.3.0 (commit c0ffeec0ff)" in sources
    assert registered(tmp_path, CLAIM, ONE_BLOCK + "gap = 4.0\n").digest in sources


def test_a_gap_from_the_results_is_said_to_be(tmp_path: Path) -> None:
    assert "nats (computed from these results, not registered)" in "\n".join(judged(tmp_path, complete()).sources)


@pytest.mark.parametrize(
    "losses, outcome, why",
    [([0.3, 0.31, 0.29, 0.3, 0.32, 0.3], "refuted", ""), ([0.0, 0.2, -0.2, 0.1, 0.0, 0.1], "not shown", "quality")],
)
def test_other_outcomes(tmp_path: Path, losses: list[float], outcome: str, why: str) -> None:
    found = judged(tmp_path, complete(losses))
    assert (found.outcome, found.why) == (outcome, why)


def test_failures_are_said_with_the_loss_without_them(tmp_path: Path) -> None:
    store = complete()
    store.change(lambda row: (row["searcher"], row["seed"]) == ("sparsity", 3), status="failed", test_elbo=math.nan)
    found = judged(tmp_path, store)
    assert found.outcome == "not shown"
    assert found.beside[0].startswith(
        "Failed searches: Sparsity 1. A failed Sparsity counts as a model without latents"
    )
    assert found.beside[0].endswith("equivalent.")


def test_several_data_sets(tmp_path: Path) -> None:
    names = ("digits", "mnist", "fashionmnist", "manifold", "eurosat", "sprites.toml", "digits-wide.toml")
    (tmp_path / "sprites.toml").write_text('extends = "digits"\ndataset.name = "manifold"\nname = "own"\n')
    (tmp_path / "digits-wide.toml").write_text('extends = "digits"\nbackbone.hidden = [512]\n')
    claim = registered(
        tmp_path,
        CLAIM,
        "".join(
            f'[[blocks]]\nprotocol = "{name}"\ndataset = "{"digits" if "digits" in name else name}"\n' for name in names
        ),
    )
    stores = [
        complete([0.001 * place * x for x in (1, -1, 2, -2, 3, 3)], block.argument)
        for place, block in enumerate(claim.blocks)
    ]
    found = verdict(claim, gather(claim, stores))
    assert found.outcome == "supported"
    assert found.scope.startswith("the sample is 6 data sets (7 blocks): digits, mnist,")
    said = " ".join(found.beside)
    assert "between data sets beyond that (tau): 0 %. For a new data set:" in said
    assert "Worst block: digits-wide," in said
    assert "6 data sets can give no p below 0.016" in said
    assert "digits-wide 0.6" in said and "7 of 7" in said


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> dict[str, ClaimStore]:
    """The stores that the command finds, by the names of their folders."""
    found: dict[str, ClaimStore] = {"results": complete(), "empty": ClaimStore()}
    monkeypatch.setattr(command, "open_results", lambda paths: found[Path(paths[0]).name])
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    monkeypatch.setattr(cli, "_find_own_modules", lambda: None)
    return found


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(["verdict", *map(str, arguments)])
    return int(end.value.code or 0)


@pytest.mark.parametrize("losses, outcome", [([0.0] * 5 + [0.01], "supported"), ([0.9] * 5 + [0.8], "refuted")])
def test_the_command_prints_a_verdict(
    stores: dict[str, ClaimStore], tmp_path: Path, capsys: pytest.CaptureFixture[str], losses: list[float], outcome: str
) -> None:
    stores["results"] = complete(losses)
    assert run(claim_file(tmp_path), "results", "empty") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "claim: Sparsity is as good as the grid."
    assert lines[1] == f"verdict: {outcome}"
    assert lines[2].startswith("  for the data set digits only")
    assert lines[3].startswith("  quality ")
    assert lines[-1].startswith("  SHA-256 of the claim file: ")


def test_a_refusal_is_one_line_and_code_2(
    stores: dict[str, ClaimStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(claim_file(tmp_path), "empty") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("latentbench: block digits: grid (seeds 0 to 5) and sparsity (seeds 0 to 5) are")
    assert captured.err.count("\n") == 1


def test_a_claim_cannot_write_to_the_terminal(
    stores: dict[str, ClaimStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(claim_file(tmp_path, CLAIM.replace("as good", "\\u001b[2Jas good")), "results") == 0
    assert "\x1b" not in capsys.readouterr().out


def test_the_command_reads_a_results_folder(tmp_path: Path) -> None:
    write_store(tmp_path / "results", [search("grid", 0), search("sparsity", 0, "running")], [])
    path = claim_file(tmp_path)
    done = benchmark("verdict", path.name, "results", cwd=tmp_path, cache=tmp_path / "cache", cold=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith(
        "latentbench: block digits: grid (seed 0) is there under other conditions or settings"
    )
    assert done.stdout == ""


def test_numbers() -> None:
    assert [number(x) for x in (0.0341, 1.234, 37.4, 123.4, 0.0, 1e-9, math.nan, math.inf)] == [
        *("0.034", "1.2", "37", "120", "0", "0", "–", "+inf"),
    ]
    assert percent(-0.0123) == "-1.2 %"
    assert [p_text(p) for p in (0.0001, 0.0496, 1.0)] == ["p < 0.001", "p = 0.050", "p = 1.000"]
    assert [listed(s) for s in ((2, 0, 1), (0, 2), (5,), ())] == ["0 to 2", "0, 2", "5", ""]
