"""What docs/cluster.md and the files beside it name exists, and the Slurm script and the manifest are what they say."""

import argparse
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT

from benchmark.cli import _parser
from benchmark.config.protocol import Resources, parse_protocol
from benchmark.paths import is_url
from reports.__main__ import _parser as reports_parser

DOCS = ROOT / "docs"
PAGE, SCRIPT, MANIFEST = DOCS / "cluster.md", DOCS / "cluster" / "slurm.sh", DOCS / "cluster" / "rayjob.yaml"
OTHERS = re.compile(r"#SBATCH|\b(srun|ray start|start \"|pip)")  # lines whose options are another program's
SUBMIT = re.compile(r"\bsbatch (--nodes \d+ )?")


def _options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Of all subcommands together."""
    names = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            names |= set().union(*map(_options_of, action.choices.values()))
    return names


def _code(page: str) -> list[str]:
    """Lines of a page's blocks, and its inline code."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`]+)`", rest)


def _used(lines: list[str]) -> set[str]:
    """Options in lines of code that are this package's, continued lines joined."""
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    own = [SUBMIT.sub("", line) for line in joined if not OTHERS.search(line)]
    return {option for line in own for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", line)}


def _unknown(lines: list[str]) -> set[str]:
    reports = [line for line in lines if "python -m reports" in line]
    commands = [line for line in lines if line not in reports]
    return (_used(commands) - _options_of(_parser())) | (_used(reports) - _options_of(reports_parser()))


def _sources() -> dict[str, list[str]]:
    return {
        PAGE.name: _code(PAGE.read_text()),
        SCRIPT.name: SCRIPT.read_text().splitlines(),
        MANIFEST.name: MANIFEST.read_text().splitlines(),
    }


@pytest.mark.parametrize("name", [PAGE.name, SCRIPT.name, MANIFEST.name])
def test_every_option_exists(name: str) -> None:
    lines = _sources()[name]
    expected = {
        PAGE.name: {"--executor", "--address", "--execution", "--dry-run", "--results"},
        SCRIPT.name: {"--executor", "--address", "--protocol", "--seeds", "--results"},
        MANIFEST.name: {"--executor", "--address", "--device", "--protocol", "--seeds", "--results"},
    }[name]
    assert expected <= _used(lines)
    assert not _unknown(lines)


def test_an_option_that_does_not_exist_is_found() -> None:
    page = "Take `--sprad`.\n```\npython -m benchmark run \\\n  --adress auto\n```\nand `python -m reports --jobs 2`\n"
    assert _unknown(_code(page)) == {"--sprad", "--adress", "--jobs"}
    script = ["sbatch --nodes 4 docs/cluster/slurm.sh --protocl ald-mnist", "srun --cpus-per-task=1 ray start --head"]
    assert _unknown(script) == {"--protocl"}


def test_the_options_of_ray_start_exist() -> None:
    scripts = pytest.importorskip("ray.scripts.scripts", reason="needs Ray: pip install 'latentbench[ray]'")
    known = {name for parameter in scripts.start.params for name in (*parameter.opts, *parameter.secondary_opts)}
    joined = SCRIPT.read_text().replace("\\\n", " ")
    lines = re.findall(r"ray start (--.*)|^\s*start \"\$\S+\" (.*)", joined, flags=re.MULTILINE)
    used = {option for line in lines for part in line for option in re.findall(r"--[a-z-]+", part)}
    assert {"--head", "--address", "--block", "--num-cpus", "--port"} <= used <= known


def test_the_resources_are_those_of_the_protocol_with_its_defaults() -> None:
    (block,) = re.findall(r"```toml\n(\[resources\].*?)```", PAGE.read_text(), flags=re.DOTALL)
    names = {field.name for field in fields(Resources)}
    assert set(re.findall(r"^(\w+) =", block, flags=re.MULTILINE)) == names
    head = '[dataset]\nname = "digits"\n[backbone]\nname = "mlp"\n'
    assert parse_protocol(head + block, "page").resources == Resources(2, 0.5, 8, 3)
    assert Resources() == Resources(cpus=None, gpus=1, memory_gb=None, max_retries=3)  # as its comments say


def test_the_script_is_bash(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sh"
    broken.write_text(SCRIPT.read_text().replace("done", "", 1))
    results = [subprocess.run(["bash", "-n", path], capture_output=True, text=True) for path in (SCRIPT, broken)]
    assert [result.returncode == 0 for result in results] == [True, False], results[0].stderr


def test_the_script_sets_the_nodes_environment_before_ray_starts() -> None:
    lines = SCRIPT.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.strip().startswith(("start ", "srun ")))
    exported = "\n".join(line for line in lines[:first] if line.startswith("export "))
    for name in ("LATENTBENCH_DATA", "XDG_CACHE_HOME", "RAY_USAGE_STATS_ENABLED", "RAY_AUTH_TOKEN"):
        assert name in exported
    assert lines[-1].startswith("python -m benchmark run") and lines[-1].endswith('"$@"')


SLURM = {
    "scontrol": 'printf "first\\nsecond\\n"',
    "hostname": "echo 10.0.0.1 10.1.0.1",
    "srun": 'echo "srun $*" >> "$CALLS"; exec sleep 60',
    "python": """case "$1" in
    -c) echo secret ;;
    -) test $(grep -c srun "$CALLS") = 2 ;;
    *) echo "python $*" >> "$CALLS" ;;
esac""",
}


def test_the_script_starts_ray_on_every_node_then_the_command_and_ends_all(tmp_path: Path) -> None:
    """With programs that only note how they were called; the head is taken to answer."""
    for name, body in SLURM.items():
        program = tmp_path / ".venv" / "bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/usr/bin/env bash\n{body}\n")
        program.chmod(0o755)
    script = tmp_path / "slurm.sh"
    text = SCRIPT.read_text()
    assert text.count("head_answers() { ") == 1
    script.write_text(text.replace("head_answers() { ", 'head_answers() { grep -q srun "$CALLS"; return; '))
    calls = tmp_path / "calls"
    calls.touch()
    path = f"{tmp_path / '.venv' / 'bin'}:/usr/bin:/bin"
    env = {"PATH": path, "CALLS": str(calls), "SLURM_CPUS_ON_NODE": "3", "SLURM_JOB_ID": "70012"}
    command = ["bash", script, "--protocol", "ald-mnist"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**env, "SLURM_JOB_NODELIST": "n[1-2]"}, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr  # in time, so that nothing that was started still sleeps
    first, second, run = calls.read_text().splitlines()
    assert "--nodelist=first ray start --block --num-cpus=3 --head --node-ip-address=10.0.0.1 --port=20012" in first
    assert second.endswith("--nodelist=second ray start --block --num-cpus=3 --address=10.0.0.1:20012")
    assert run.startswith("python -m benchmark run --executor ray --address 10.0.0.1:20012 --results ")
    assert run.endswith(" --protocol ald-mnist")
    assert (tmp_path / "data").is_dir() and (tmp_path / "cache").is_dir()


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with Ray: pip install 'latentbench[ray]'")
    loaded: dict[str, Any] = yaml.safe_load(MANIFEST.read_text())
    return loaded


def test_the_manifest_is_a_ray_job_that_ends_its_cluster(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    assert spec["shutdownAfterJobFinishes"] is True and spec["backoffLimit"] >= 1
    assert cluster["enableInTreeAutoscaling"] is True and cluster["authOptions"] == {"mode": "token"}
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert head["rayStartParams"] == {"num-cpus": "0"}  # a string: KubeRay takes no others
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"] and workers["groupName"]
    (head_pod,), (worker_pod,) = (group["template"]["spec"]["containers"] for group in (head, workers))
    for key in ("image", "env", "envFrom", "volumeMounts"):
        assert head_pod[key] == worker_pod[key]
    assert head["template"]["spec"]["volumes"] == workers["template"]["spec"]["volumes"]
    assert worker_pod["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in head_pod["resources"]["limits"]
    assert f"FROM rayproject/ray:{cluster['rayVersion']}-" in PAGE.read_text()


def test_the_manifests_command_is_one_that_the_parser_takes(job: dict[str, Any]) -> None:
    program, dash, module, *arguments = job["spec"]["entrypoint"].split()
    assert (program, dash, module) == ("python", "-m", "benchmark")
    options = _parser().parse_args(arguments)
    assert (options.executor, options.address, options.device) == ("ray", "auto", "cuda") and is_url(options.results)


def test_links_lead_somewhere() -> None:
    pages = (PAGE, ROOT / "README.md")
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#]+)\)", page.read_text())]
    local = [page.parent / link for page, link in links if not is_url(link)]
    assert {SCRIPT, MANIFEST, DOCS / "scale.md"} <= set(local) and PAGE in local
    assert not [path for path in local if not path.exists()]
