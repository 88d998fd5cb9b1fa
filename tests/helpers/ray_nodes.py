"""A Ray cluster on this machine, of a head without CPUs and nodes of one CPU, in a process of its own.

It takes lines `add` and `lose`, and answers each with the cluster's address when that is done; it ends with its input.
"""

import subprocess
import sys
from pathlib import Path

from commands import environment

MEMORY = 100_000_000  # bytes of a node's object store


class RayNodes:
    """The process. cache: of the nodes."""

    def __init__(self, cache: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env=environment(cache),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.address = self._answer()

    def add(self) -> None:
        """One more node."""
        self._ask("add")

    def lose(self) -> None:
        """The oldest node dies, its workers with it."""
        self._ask("lose")

    def shutdown(self) -> None:
        """Ends all nodes."""
        self._process.communicate(timeout=60)

    def _ask(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        assert self._answer() == self.address

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def main() -> None:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = []
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "add":
            nodes.append(cluster.add_node(num_cpus=1, object_store_memory=MEMORY))
        else:
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
        print(cluster.address, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
