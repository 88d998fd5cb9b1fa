"""Runs the tests of the GPU path: those of tests/gpu, and of the recorded step."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET

from tests.gpu.part import ROOT, read_arguments

FILES = ("tests/gpu/test_cuda.py", "tests/training/test_cuda_graph.py")


def main() -> None:
    """One line with the counts, and one for each test that fails."""
    arguments = read_arguments("tests")
    path = arguments.out / "tests.xml"
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    environment = {**os.environ, "LATENTBENCH_GPU_TESTS": arguments.device}
    subprocess.run([*command, f"--junitxml={path}", *FILES], cwd=ROOT, env=environment, check=False)
    cases = list(ET.parse(path).getroot().iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    found = f"{len(cases) - len(failed) - len(skipped)} pass, {len(failed)} fail, {len(skipped)} skipped"
    should = "those of a GPU are skipped, all others pass" if arguments.is_small else "all pass, none is skipped"
    is_met = bool(cases) and not failed and (arguments.is_small or not skipped)
    arguments.report.add("pytest", should, found, is_met)
    for case in failed:
        problem = next(child for child in case if child.tag in ("failure", "error"))
        arguments.report.add(
            str(case.get("name")), "passes", (problem.get("message") or "")[:150].replace("\n", " "), False
        )


if __name__ == "__main__":
    sys.exit(main())
