"""A Ray cluster on this machine, of two nodes with one CPU each, for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from cli.running import clip
from golden.tiny import write_tiny
from object_stores import bucket, line, s3_port  # noqa: F401 - fixtures

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A node starts as many workers as it has CPUs, for work that may come; here none does but what tests bring.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    # Else Ray Serve's proxy gives everything to the replica of its own node.
    "RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "hifigan_rt.tools.serving.ray_proxy:middlewares",
    # A busy machine is no lost node: one that is gone does not answer at all, and is noticed as soon.
    "RAY_health_check_timeout_ms": "60000",
    # Nor is a proxy lost that needs more than 5 s to start beside other tests.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
}


@pytest.fixture(scope="package")
def cluster() -> Iterator[Any]:
    """The cluster: `cluster.address` leads to it, `add_node` and `remove_node` change it."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ.update(SETTINGS)  # its processes take them over
    node = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    # Ray asks for the dashboard's port, without one too, and leaves a socket open where another cluster has it.
    cluster = Cluster(initialize_head=True, head_node_args={**node, "dashboard_port": 0})
    try:
        cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
        yield cluster
    finally:
        cluster.shutdown()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="package")
def connected(cluster) -> Iterator[Any]:
    """The module ray, connected to the cluster once for all tests: commands in this process use that."""
    import logging

    import ray

    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield ray
    ray.shutdown()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a tiny model and six recordings, one of them none."""
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "model")
    for index in range(6):
        clip(f"in/sub{index % 2}/c{index}.wav", 0.2 + 0.1 * index, seed=index)
    (tmp_path / "in/sub1/c5.wav").write_bytes(b"no recording")
    return tmp_path


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of this test for what runs on object stores keep of them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def filled(tmp_path):
    """A store with six inputs."""
    from object_stores import Folder
    from store_runs import NAMES

    made = Folder(tmp_path / "store")
    for name in NAMES:
        made.put(f"in/{name}.bin", name.encode())
    return made
