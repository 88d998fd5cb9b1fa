"""The protocol and the packages that a suite leaves beside its results."""

from importlib.metadata import version
from pathlib import Path

import pytest
from commands import TINY, benchmark

from benchmark.config.protocol import load_protocol, override, parse_protocol, protocol_names
from benchmark.config.resolved import packages, protocol_toml
from benchmark.store import ResultsStore
from benchmark.store.kept import keep_protocol


@pytest.mark.parametrize("name", protocol_names())
def test_a_protocol_written_out_is_read_back_equal(name: str) -> None:
    protocol = load_protocol(name)
    text = protocol_toml(protocol)
    assert parse_protocol(text, "another name") == protocol and "extends" not in text


def test_packages() -> None:
    lines = packages().splitlines()
    assert f"numpy=={version('numpy')}" in lines and lines == sorted(set(lines), key=str.lower)


def test_protocols_of_one_hash_are_all_kept(tmp_path: Path) -> None:
    one = load_protocol("digits")
    other = override(one, {"searchers": {"ald": {"patience": 3}}})
    paths = [keep_protocol(tmp_path, protocol, "0a1b") for protocol in (one, other, one, other)]
    assert paths[0] == paths[2] == tmp_path / "protocols" / "protocol-0a1b.toml" != paths[1] == paths[3]
    assert [load_protocol(str(path)) for path in paths[:2]] == [one, other]
    assert (tmp_path / "packages.txt").read_text() == packages()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        ["packages.txt", paths[0].name, paths[1].name]
    )


def test_the_file_repeats_the_suite(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.format(epochs=1))
    arguments = ["--searchers", "sparsity", "--seeds", "3", "--set", "training.batch_size=64"]
    first = benchmark("run", "--protocol", "tiny.toml", *arguments, cwd=tmp_path, cache=tmp_path / "cache")
    assert first.returncode == 0, first.stdout + first.stderr
    (search,) = ResultsStore(tmp_path / "results").searches().to_dict("records")
    file = f"results/protocols/protocol-{search['protocol_hash']}.toml"
    kept = load_protocol(str(tmp_path / file))
    assert (kept.name, kept.run, kept.seeds, kept.training.batch_size) == ("tiny", ("sparsity",), (3,), 64)
    again = benchmark("run", "--protocol", file, "--results", "again", cwd=tmp_path, cache=tmp_path / "cache")
    assert again.returncode == 0, again.stdout + again.stderr
    (repeated,) = ResultsStore(tmp_path / "again").searches().to_dict("records")
    same = ("search_id", "protocol", "latent_dim", "test_recon_nll", "train_flops")
    assert [repeated[name] for name in same] == [search[name] for name in same]
    assert (tmp_path / "again" / "packages.txt").is_file()
    (written,) = (tmp_path / "again" / "protocols").iterdir()
    assert load_protocol(str(written)) == kept
