"""Runs tasks on a Ray cluster. On CPUs, Ray keeps a worker process for the next task."""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmark.config.protocol import Protocol
from benchmark.errors import InputError
from benchmark.suite.executors.local_pool import Death, OnEnd, OnMessage, OnOffer, Task, safe_path, startable
from benchmark.text import one_line
from searchers.registry import Entry

POLL_SECONDS = 0.5  # between two reads of messages and offers of waiting tasks
STATUS_SECONDS = 2.0  # between two reports of the cluster's state
CONNECT_SECONDS = 10.0
SPARE_TASKS = 8  # tasks beyond the room, so that no node is idle and an autoscaler sees the demand
OBJECT_STORE_BYTES = 100_000_000  # of a local cluster: only messages pass through it
AGAIN = "run the same command again to continue"


class Mailbox:
    """An actor on the command's machine that collects the messages of tasks."""

    def __init__(self) -> None:
        self._messages: list[tuple[Any, Any]] = []

    def put(self, key: tuple[int, int], message: Any) -> None:
        """Adds a message. key: the index of its task, and the attempt."""
        self._messages.append((key, message))

    def take(self) -> list[tuple[Any, Any]]:
        """Returns all messages since the last call, in order."""
        messages, self._messages = self._messages, []
        return messages


class _RaySender:
    def __init__(self, mailbox: Any, key: tuple[int, int]) -> None:
        self._mailbox, self._key = mailbox, key
        self.last: Any = None

    def send(self, message: Any, /) -> None:
        self.last = self._mailbox.put.remote(self._key, message)


def _work(mailbox: Any, key: tuple[int, int], task: Task, folder: str) -> None:
    """Runs a task in a Ray worker. folder: the command's working folder, which may hold a user's searcher."""
    import ray

    with suppress(OSError):  # another machine may not have the folder
        os.chdir(folder)
    if folder not in sys.path:
        sys.path.append(folder)
    sender = _RaySender(mailbox, key)
    sender.send(("started", socket.gethostname()))
    try:
        Entry(task.target, "").load()(sender, *task.arguments)
    finally:
        ray.get(sender.last)  # the task ends only after its last message has arrived


class Cluster:
    """A connected cluster. needs: the resources that one search takes of a node."""

    def __init__(self, ray: Any, protocol: Protocol, device: str) -> None:
        self._ray = ray
        self.device = ("cuda" if ray.cluster_resources().get("GPU") else "cpu") if device == "auto" else device
        self.needs = _needs(protocol, self.device)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._mailbox = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
        names = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
        needs = {names[name]: amount for name, amount in self.needs.items()}
        self._work = ray.remote(max_retries=0, **needs)(_work)  # with a GPU, its process ends with the task
        self._running: dict[Any, tuple[int, int]] = {}  # Ray's reference of the task -> index and attempt
        self._attempts = 0
        self.on_status: Callable[[str], None] = lambda _: None

    def room(self) -> int:
        """The number of searches that the present nodes can run at a time."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        needs = [(name, amount) for name, amount in self.needs.items() if amount]
        return sum(int(min((node.get(name, 0) + 1e-9) // amount for name, amount in needs)) for node in nodes)

    def status(self) -> str:
        """Describes the nodes and the part of them in use."""
        total, free = self._ray.cluster_resources(), self._ray.available_resources()
        nodes = sum(node["Alive"] for node in self._ray.nodes())
        parts = [f"{nodes} node{'s' * (nodes != 1)}"]
        for name in ("CPU", "GPU"):
            if total.get(name):
                parts.append(f"{total[name] - free.get(name, 0):g} of {total[name]:g} {name}s busy")
        return ", ".join(parts)

    def run_tasks(self, count: int, jobs: int, offer: OnOffer, on_message: OnMessage, on_end: OnEnd) -> None:
        """See `benchmark.suite.executors.local_pool.RunTasks`."""
        waiting = list(range(count))
        last_status = 0.0
        try:
            while waiting or self._running:
                self._start(waiting, jobs, offer, on_end)
                ended = self._ended()
                current = set(self._running.values())
                for key, message in self._ray.get(self._mailbox.take.remote()):
                    if key in current:  # else its attempt was lost with its node
                        on_message(key[0], message)
                for reference in ended:
                    index = self._running.pop(reference)[0]
                    if on_end(index, self._death(reference)):
                        waiting.insert(0, index)
                if time.monotonic() - last_status > STATUS_SECONDS:
                    last_status = time.monotonic()
                    self.on_status(self.status())
        except self._ray.exceptions.RayError as error:  # errors of a task are caught in _death
            raise InputError(f"the Ray cluster is lost ({one_line(error)[:200]}); {AGAIN}") from error
        finally:
            for reference in self._running:
                with suppress(Exception):  # the cluster may be lost
                    self._ray.cancel(reference, force=True)

    def _start(self, waiting: list[int], jobs: int, offer: OnOffer, on_end: OnEnd) -> None:
        if not waiting:
            return
        limit = min(jobs, 2 * self.room() + SPARE_TASKS)
        for index, task in startable(waiting, lambda: len(self._running) < limit, offer, on_end):
            self._attempts += 1
            key = (index, self._attempts)
            reference = self._work.remote(self._mailbox, key, task, str(Path.cwd()))
            self._running[reference] = key

    def _ended(self) -> list[Any]:
        references = list(self._running)
        if not references:
            time.sleep(POLL_SECONDS)
            return []
        self._ray.wait(references, num_returns=1, timeout=POLL_SECONDS)
        ended: list[Any] = self._ray.wait(references, num_returns=len(references), timeout=0)[0]
        return ended

    def _death(self, reference: Any) -> Death | None:
        errors = self._ray.exceptions
        try:
            self._ray.get(reference)
        except (errors.NodeDiedError, errors.LocalRayletDiedError) as error:
            return Death(f"its node was lost ({one_line(error)[:200]}); {AGAIN}", lost=True)
        except errors.OutOfMemoryError:
            return Death(f"Ray ended its worker process, as the node ran out of memory; give it more, and {AGAIN}")
        except errors.WorkerCrashedError:
            return Death(f"its worker process died (out of memory?); {AGAIN}")
        except errors.RayTaskError as error:
            return Death(one_line(f"{type(error.cause).__name__}: {error.cause}"))
        except errors.RayError as error:
            return Death(f"Ray could not run it: {one_line(error)[:500]}")
        return None


def _needs(protocol: Protocol, device: str) -> dict[str, float]:
    """The resources that one search takes of a node: CPUs, GPUs, memory in bytes."""
    resources = protocol.resources
    cpus = protocol.training.threads if resources.cpus is None else resources.cpus
    needs = {"CPU": float(cpus), "GPU": resources.gpus if device.startswith("cuda") else 0.0}
    return needs if resources.memory_gb is None else {**needs, "memory": resources.memory_gb * 1e9}


def _check_reachable(address: str | None) -> None:
    """Raises OSError if nothing answers at the address; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()


def _silence(ray: Any) -> None:
    """Hides the log pages of a lost node; versions of Ray without this function show them."""
    worker: Any = getattr(getattr(ray, "_private", None), "worker", None)
    if hasattr(worker, "listen_error_messages"):
        worker.listen_error_messages = lambda *_: None


@contextmanager
def connect(address: str | None, protocol: Protocol, device: str) -> Iterator[Cluster]:
    """Connects to the cluster at the address; `auto`: to the running one; None: to RAY_ADDRESS or a new local one.

    device: auto, cpu or cuda; auto takes a GPU if the cluster has one now. Raises InputError if Ray is not installed or
    the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the future default; Ray warns if it is unset
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise InputError(f"executor ray: {error}; run: pip install 'latentbench[ray]'") from error
    _silence(ray)
    is_local = address is None and not os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES} if is_local else {}
    sigterm_handler = signal.getsignal(signal.SIGTERM)
    try:
        _check_reachable(address or os.environ.get("RAY_ADDRESS"))
        with safe_path():
            ray.init("local" if is_local else address, **options)
    except Exception as error:  # ConnectionError, RuntimeError, ValueError, ...
        where = "on this machine" if is_local else f"at {address or os.environ['RAY_ADDRESS']}"
        reason = one_line(f"{type(error).__name__}: {error}")[:300]
        hint = "start one, or check the address, and RAY_AUTH_MODE where it asks for a token"
        raise InputError(f"executor ray: no cluster {where} ({reason}); {hint}") from error
    signal.signal(signal.SIGTERM, sigterm_handler)  # Ray has replaced it
    try:
        cluster = Cluster(ray, protocol, device)
        if is_local and not cluster.room():
            raise InputError(f"this machine has less than a search takes ({cluster.needs}); change [resources]")
        if not cluster.room():
            print(f"no node of the cluster has room for a search now ({cluster.needs}); waiting for one")
        yield cluster
    finally:
        ray.shutdown()
