"""Trouble with workers and drivers on a real cluster; `unit/test_cluster_run.py` tries every order of events."""

from __future__ import annotations

import base64
import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.running import command, hifigan, records
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME
from hifigan_rt.tools.bulk.outputs import plan_outputs
from hifigan_rt.tools.bulk.run import run_in_folder
from hifigan_rt.tools.bulk.work import ClipFacts, Work
from hifigan_rt.tools.cluster.actors import WorkerSize, _actor_class
from hifigan_rt.tools.cluster.recipe import WorkRecipe
from hifigan_rt.tools.cluster.run import ClusterRunner
from hifigan_rt.tools.datasets import find_inputs
from waiting import wait_for

pytestmark = pytest.mark.ray

WITHOUT_THE_PACKAGE = """
import base64, pickle, sys
from types import SimpleNamespace
sys.modules["hifigan_rt"] = None
kind = pickle.loads(base64.b64decode(sys.stdin.read()))
sys.modules["ray"] = SimpleNamespace(get_runtime_context=lambda: SimpleNamespace(get_node_id=lambda: "n"))
print(kind().look({})["absent"])
"""


def test_a_worker_without_the_package_can_say_so():
    import ray
    from ray import cloudpickle

    kind = _actor_class(ray).__ray_metadata__.modified_class
    sent = base64.b64encode(cloudpickle.dumps(kind))
    done = subprocess.run([sys.executable, "-c", WITHOUT_THE_PACKAGE], input=sent, capture_output=True, check=True)
    assert b"hifigan_rt" in done.stdout
    assert pickle.loads(base64.b64decode(sent)) is not None


@dataclass
class Deadly(WorkRecipe):
    """Work that ends its process at one clip, as the system does for want of memory."""

    name: str

    def make_work(self):
        return DeadlyWork(self.name)


class DeadlyWork(Work):
    def __init__(self, name):
        self._name = name

    def settings(self):
        return {}

    def read(self, source):
        return source.name

    def compute(self, data):
        if data == self._name:
            os.kill(os.getpid(), signal.SIGKILL)
        return data

    def write(self, data, output):
        output.write_text(data)
        return ClipFacts()


@pytest.mark.long
def test_a_clip_that_takes_all_memory_is_given_up(place, connected):
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    out = place / "out"
    jobs = plan_outputs(find_inputs(["in"], {".wav"}, recursive=True), out, ".txt")
    with ClusterRunner(connected, Deadly("c2.wav"), WorkerSize(), len(jobs), folder=out) as runner:
        summary = run_in_folder(runner, jobs, out)
    [(name, reason)] = summary.failed
    assert name.endswith("c2.wav")
    assert "4 workers ended while they made it, which others do not" in reason
    assert summary.done == 5
    assert sum(path.is_file() for path in out.rglob("*")) == 6


@pytest.mark.long
def test_a_driver_that_is_killed_is_resumed(place, cluster):
    arguments = (
        "synth",
        "in",
        "--recursive",
        "--model",
        "model",
        "-o",
        "out",
        "--ray",
        "--ray-address",
        cluster.address,
    )
    with subprocess.Popen(command(*arguments)) as process:
        manifest = Path("out", MANIFEST_NAME)
        wait_for(lambda: manifest.exists() and manifest.read_bytes().count(b"\n") > 2)
        process.send_signal(signal.SIGKILL)
    done = json.loads(hifigan(*arguments, "--resume", "--json", status=1, cwd=place).stdout)
    assert done["skipped"] >= 2
    assert done["done"] + done["skipped"] == 5
    assert sum(path.is_file() for path in Path("out").rglob("*")) == 6
    assert {record.status for record in records("out").values()} == {"ok", "failed"}


@pytest.mark.long
def test_a_cluster_that_is_started_for_the_run(place):
    here = json.loads(hifigan("synth", "in/sub0", "--model", "model", "-o", "here", "--json", cwd=place).stdout)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    there = json.loads(
        hifigan(
            "synth", "in/sub0", "--model", "model", "-o", "out", "--ray", "--json", cwd=place, env=environment
        ).stdout
    )
    assert (here["done"], there["done"]) == (3, 3)
    for path in Path("here").glob("*.wav"):
        assert path.read_bytes() == Path("out", path.name).read_bytes()
