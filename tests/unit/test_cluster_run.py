"""A run by the workers of a cluster: nothing lost, nothing doubled, whatever dies; what a machine lacks is told.

Ray is simulated, so that each order of events can be had; `cluster/` has the real one.
"""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hifigan_rt.errors import AudioError, ClusterError, EngineUnavailable, OutputError
from hifigan_rt.system.folder_lock import locked_folder
from hifigan_rt.system.temporary_names import remove_left_over, temporary_prefix
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, read_manifest
from hifigan_rt.tools.bulk.outputs import plan_outputs
from hifigan_rt.tools.bulk.run import Interrupted, run_in_folder
from hifigan_rt.tools.bulk.work import ClipFacts, Work
from hifigan_rt.tools.cluster.actors import WorkerSize, worker_size
from hifigan_rt.tools.cluster.recipe import WorkRecipe
from hifigan_rt.tools.cluster.run import ClusterRunner
from hifigan_rt.tools.datasets import find_inputs
from simulated_ray import SimulatedRay

CLIPS = 25


class Copy(Work):
    def __init__(self, trouble, variant):
        self._trouble, self._variant = trouble, variant

    def settings(self):
        return {"command": "copy", "variant": self._variant()}

    def read(self, source):
        return source.read_bytes()

    def compute(self, data):
        if data.decode() in self._trouble:
            raise self._trouble[data.decode()]
        return data

    def write(self, data, output):
        output.write_bytes(data)
        return ClipFacts(audio_seconds=1.0)


@dataclass
class CopyRecipe(WorkRecipe):
    trouble: dict
    variant: object = lambda: "same"
    start: Exception | None = None

    def make_work(self):
        if self.start is not None:
            raise self.start
        return Copy(self.trouble, self.variant)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


class Place:
    """A folder of clips."""

    def __init__(self, path):
        (path / "in").mkdir()
        for index in range(CLIPS):
            (path / f"in/{index:02}.wav").write_text(f"{index:02}")
        self.out = path / "out"
        self.jobs = plan_outputs(find_inputs([str(path / "in")], {".wav"}), self.out, ".bin")
        self.told = []

    def run(self, ray, trouble=None, *, cpus=1, within=60.0, progress=lambda _: None, resume=False, **recipe):
        self.records = []

        def report(record):
            self.records.append(record)
            progress(record)

        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "ray", ray)
            recipe = CopyRecipe(trouble or {}, **recipe)
            options = {"folder": self.out, "note": self.told.append, "worker_within_seconds": within}
            with ClusterRunner(ray, recipe, WorkerSize(cpus), CLIPS, **options) as runner:
                return run_in_folder(runner, self.jobs, self.out, progress=report, resume=resume)

    def check_whole(self, failed=()):
        """Each clip has its output and one line, and nothing else is there."""
        names = sorted(record.output for record in self.records)
        assert names == [f"{index:02}.bin" for index in range(CLIPS)]
        lines = (self.out / MANIFEST_NAME).read_text().splitlines()
        assert len(lines) == CLIPS + 1
        clips = read_manifest(self.out / MANIFEST_NAME).clips
        assert {name for name, record in clips.items() if record.status == "failed"} == set(failed)
        for name in set(names) - set(failed):
            assert (self.out / name).read_text() == name[:2]
        # A worker may have written what it is then said to have failed at.
        assert set(os.listdir(self.out)) - set(failed) == set(names) - set(failed) | {MANIFEST_NAME}


@given(st.integers(0, 1 << 20), st.integers(1, 4), st.sets(st.integers(1, 3 * CLIPS), max_size=12))
def test_workers_may_die_at_any_time(tmp_path_factory, seed, cpus, deaths):
    place = Place(tmp_path_factory.mktemp("run"))
    ray = SimulatedRay({"a": cpus, "b": 1}, seed)
    ended = Counter()

    def dies(call, item):
        names = [job.name for job in call.arguments[0]]
        # A clip that four workers ended with is given up, which is another test's.
        if item not in deaths or any(ended[name] == 3 for name in names):
            return False
        ended.update(names)
        return True

    ray.dies = dies
    summary = place.run(ray)
    assert (summary.done, summary.complete, summary.failed) == (CLIPS, True, [])
    place.check_whole()


def test_a_machine_that_goes_and_one_that_comes(place):
    ray = SimulatedRay({"a": 1, "b": 1})

    def progress(_):
        if len(place.records) == 5:
            ray.remove("a")
        if len(place.records) == 10:
            ray.machines["c"] = 2

    summary = place.run(ray, progress=progress)
    assert summary.complete
    place.check_whole()
    assert summary.notes[-1].startswith(
        "1 worker ended on the way, and what was in their hands went to others; the last: "
    )
    assert {actor.node for actor in ray.actors if actor.instance is not None} >= {"a", "b"}


def test_a_clip_that_kills_its_workers_is_given_up_alone(place):
    ray = SimulatedRay({"a": 1, "b": 1})

    def dies(call, _):
        back = {record.output for record in place.records}
        [jobs, *_] = call.arguments
        return next((job.name for job in jobs if job.name not in back), "") == "07.bin"

    ray.dies = dies
    summary = place.run(ray)
    place.check_whole(failed=["07.bin"])
    [(name, reason)] = summary.failed
    assert name.endswith("07.wav")
    assert reason.startswith("4 workers ended while they made it, which others do not; the last: The actor died")


def test_a_bad_clip_fails_alone(place):
    summary = place.run(SimulatedRay({"a": 2}), {"03": AudioError("not audio"), "04": ValueError("a slip")})
    assert sorted(reason for _, reason in summary.failed) == ["ValueError: a slip", "not audio"]
    assert summary.done == CLIPS - 2


def test_an_input_that_is_gone_since_the_listing(place):
    place.jobs[5].source.path.unlink()
    summary = place.run(SimulatedRay({"a": 1}))
    [(name, reason)] = summary.failed
    assert name.endswith("05.wav")
    assert "it has been removed since the run began, or lies on no file system that this machine shares" in reason
    place.check_whole(failed=["05.bin"])


def test_a_full_disk_ends_the_run_and_keeps_what_is_done(place):
    full = OutputError("'x' could not be written: no space")
    full.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    summary = place.run(SimulatedRay({"a": 1, "b": 1}), {"09": full})
    assert summary.stopped == "'x' could not be written: no space"
    assert not summary.complete
    clips = read_manifest(place.out / MANIFEST_NAME).clips
    assert {name for name, record in clips.items() if record.status == "ok"} == {
        path.name for path in place.out.glob("*.bin")
    }
    assert place.run(SimulatedRay({"a": 1}), resume=True).complete


def test_a_manifest_that_cannot_be_written_ends_the_run(place, monkeypatch):
    from hifigan_rt.tools.bulk.manifest import ManifestWriter

    original = ManifestWriter.append

    def append(self, record):
        if record.output == "02.bin":
            raise OutputError("manifest cannot be written: no space")
        original(self, record)

    monkeypatch.setattr(ManifestWriter, "append", append)
    assert place.run(SimulatedRay({"a": 1})).stopped == "manifest cannot be written: no space"


def test_an_interruption_keeps_what_the_workers_have_finished(place):
    def progress(_):
        if len(place.records) == 4:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        place.run(SimulatedRay({"a": 1, "b": 1}), progress=progress)
    done = {path.name for path in place.out.glob("*.bin")}
    assert set(read_manifest(place.out / MANIFEST_NAME).clips) == done
    assert len(done) >= caught.value.summary.done >= 4
    assert place.run(SimulatedRay({"a": 1}), resume=True).skipped == len(done)


def test_a_machine_without_the_package(place):
    ray = SimulatedRay({"a": 1, "b": 1})
    ray.spoil = lambda machine, said: said.update(absent="No module named 'hifigan_rt'") if machine == "b" else None
    assert place.run(ray).complete
    assert {actor.node for actor in ray.actors if actor.instance is not None} >= {"a"}
    ray.spoil = lambda machine, said: said.update(absent="No module named 'hifigan_rt'")
    with pytest.raises(ClusterError, match=r"cannot import hifigan_rt \(No module named 'hifigan_rt'\): install the"):
        place.run(ray, resume=True)
    ray.spoil = lambda machine, said: said.update(version="0.0.1")
    with pytest.raises(ClusterError, match=r"has hifigan_rt 0\.0\.1, and here is .*: install the same version"):
        place.run(ray, resume=True)


def test_what_the_work_says_at_its_start_is_told(place):
    with pytest.raises(EngineUnavailable, match="engine 'openvino' needs"):
        place.run(SimulatedRay({"a": 1}), start=EngineUnavailable("engine 'openvino' needs the package"))


def test_machines_that_compute_differently_are_refused(place):
    ray = SimulatedRay({"a": 1, "b": 1})
    with pytest.raises(ClusterError, match=r"variant is '.' there and '.' for process .*; set HIFIGAN_RT_ISA to an"):
        place.run(ray, variant=lambda: ray._current.node)
    assert not place.out.exists()


def test_a_machine_that_comes_later_and_computes_differently_is_left_out(place):
    ray = SimulatedRay({"a": 1})

    def progress(_):
        ray.machines["b"] = 4

    summary = place.run(ray, progress=progress, variant=lambda: ray._current.node)
    assert summary.complete
    place.check_whole()


def test_an_output_folder_that_a_machine_does_not_share(place, monkeypatch):
    from hifigan_rt.tools.cluster import worker

    monkeypatch.setattr(worker, "_SEEN_WITHIN_SECONDS", 0)
    ray = SimulatedRay({"a": 1, "b": 1})
    original = worker.FolderSign._is_there
    monkeypatch.setattr(worker.FolderSign, "_is_there", lambda self: ray._current.node == "a" and original(self))
    summary = place.run(ray)
    assert summary.complete
    place.check_whole()
    assert "is another one on" in summary.notes[-1]


def test_no_room_for_a_worker(place):
    with pytest.raises(ClusterError, match=r"each worker takes 4 CPUs, and the cluster has 1 machines with 2 CPUs"):
        place.run(SimulatedRay({"a": 2}), cpus=4, within=0.0)


def test_workers_that_die_before_they_speak(place):
    ray = SimulatedRay({"a": 1})
    original = ray._place

    def die(actor):
        original(actor)
        actor.dead = True

    ray._place = die
    with pytest.raises(ClusterError, match="10 workers in a row failed before they said a word: The actor died"):
        place.run(ray)


def test_workers_that_fail_at_their_start(place):
    with pytest.raises(ClusterError, match="before they were ready: TypeError: a slip; if it"):
        place.run(SimulatedRay({"a": 1}), start=TypeError("a slip"))


def test_one_run_at_a_time(place):
    place.out.mkdir()
    with locked_folder(place.out), pytest.raises(OutputError, match="another run is at work in"):
        place.run(SimulatedRay({"a": 1}))


def test_left_over_files_of_a_worker_elsewhere(tmp_path):
    here = temporary_prefix()
    elsewhere = tmp_path / here.replace(here.split("-")[1], "0" * 8).replace(f"-{os.getpid()}-", "-17-")
    for path in (Path(f"{elsewhere}half.part"), tmp_path / f"{here}half.part"):
        path.touch()
    remove_left_over([tmp_path])
    assert len(os.listdir(tmp_path)) == 2
    remove_left_over([tmp_path], [("another host", 17)])
    assert len(os.listdir(tmp_path)) == 2


def test_what_a_worker_takes():
    assert worker_size(None, None) == WorkerSize(1, 0)
    assert worker_size(4, "cuda:0") == WorkerSize(4, 1)
    assert str(worker_size(4, "cuda")) == "4 CPUs and 1 GPU"
