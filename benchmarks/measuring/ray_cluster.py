"""A Ray cluster of several nodes on this machine, each on a core of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
}
"""Variables for Ray: no statistics, no workers for work that never comes."""

T = TypeVar("T")

_STORE_BYTES = 150 << 20

_STARTS = 4


class PinnedCluster:
    """A head without CPUs, and nodes with one CPU each. Made by `pinned_cluster`."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._cores = sorted(os.sched_getaffinity(0))
        self.nodes: list[Any] = []

    @property
    def address(self) -> str:
        """What --ray-address takes."""
        return str(self._cluster.address)

    def add_node(self) -> None:
        """Start a node, on the core that has the fewest; what it starts later stays there."""
        node = in_several_tries(lambda: self._cluster.add_node(num_cpus=1, object_store_memory=_STORE_BYTES))
        taken = [one.core for one in self.nodes]
        node.core = min(self._cores, key=taken.count)
        for process in processes_of(node):
            for thread in Path(f"/proc/{process}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {node.core})
        self.nodes.append(node)

    def kill_node(self, index: int) -> None:
        """End all processes of a node at once, as a power cut does."""
        self._cluster.remove_node(self.nodes.pop(index), allow_graceful=False)


@contextmanager
def pinned_cluster(nodes: int) -> Iterator[PinnedCluster]:
    """Start a cluster, and end it."""
    os.environ.update(QUIET)
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    cluster = in_several_tries(lambda: Cluster(initialize_head=True, head_node_args=head))
    try:
        pinned = PinnedCluster(cluster)
        for _ in range(nodes):
            pinned.add_node()
        yield pinned
    finally:
        cluster.shutdown()


def in_several_tries(start: Callable[[], T]) -> T:
    """Start a node of Ray, which gives up after 30 s: again, on a machine that is as busy as that."""
    for _ in range(_STARTS):
        try:
            return start()
        except Exception as error:  # Ray raises no narrower one
            if "timed out" not in str(error):
                raise
    return start()


def processes_of(node: Any) -> list[int]:
    """Numbers of a node's processes."""
    return [info.process.pid for infos in node.all_processes.values() for info in infos]


def command(*arguments: str) -> list[str]:
    """`hifigan`, with the Python that runs this."""
    return [sys.executable, "-m", "hifigan_rt", *arguments]


def synth(*arguments: str, core: int | None = None) -> dict[str, Any]:
    """Run `hifigan synth`, and give its summary with the processor time of its process.

    Args:
        arguments: of the command.
        core: that it is kept on.
    """
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    before = os.times()
    done = subprocess.run(
        [*pinned, *command("synth", *arguments, "--json")], capture_output=True, text=True, check=False
    )
    after = os.times()
    if done.returncode != 0:
        raise SystemExit(f"hifigan synth ended with {done.returncode}: {done.stdout}\n{done.stderr}")
    summary: dict[str, Any] = json.loads(done.stdout)
    summary["cpu_seconds"] = round(
        after.children_user + after.children_system - before.children_user - before.children_system, 3
    )
    return summary


def write_mels(folder: Path, frames: Sequence[int], num_mels: int) -> None:
    """Write mels of given lengths, from a seed, as .npy files."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index, length in enumerate(frames):
        np.save(folder / f"{index:05}.npy", rng.uniform(-9.0, 0.5, (num_mels, length)).astype(np.float32))
