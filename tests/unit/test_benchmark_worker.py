"""The worker process for real, with the reference engine on a tiny model."""

import os
import signal

import numpy as np
import pytest

from golden.tiny import tiny_generator, tiny_mel, write_tiny
from hifigan_rt.benchmark.rotation import CandidateFailed
from hifigan_rt.benchmark.worker_process import WorkerProcess
from hifigan_rt.engines.reference import generate
from measuring.candidates import Job


def tiny_job(folder, candidate="reference"):
    mel = np.stack([tiny_mel(20, seed=1), tiny_mel(20, seed=2)])
    np.save(folder / "mel.npy", mel)
    return mel, Job(candidate, 2, 20, 1, str(write_tiny(folder)), str(folder / "mel.npy"))


def start(job, folder):
    return WorkerProcess("measuring.worker", job.to_json(), job.threads, folder / "log")


def test_a_worker_loads_runs_and_hands_over_what_it_computed(tmp_path):
    mel, job = tiny_job(tmp_path, "reference#2")
    worker = start(job, tmp_path)
    try:
        assert worker.facts["executed"] == {
            "runtime": f"reference {np.__version__}",
            "precision": "float64",
            "threads": 1,
            "device": "cpu",
            "simulated": False,
        }
        seconds, cpu_seconds = worker.run()
        assert 0 < seconds < cpu_seconds + 5
        assert worker.run()[1] >= cpu_seconds
        assert worker.ask(do="memory")["peak_memory_mib"] > 10
        path = worker.save_output()
        audio = np.load(path)
        path.unlink()
    finally:
        worker.close()
    expected = np.stack([generate(tiny_generator(), item) for item in mel]).astype(np.float32)
    np.testing.assert_array_equal(audio, expected)


def test_what_a_runtime_raises_reaches_the_parent(tmp_path):
    _, job = tiny_job(tmp_path)
    (tmp_path / "generator.safetensors").write_bytes(b"nothing")
    with pytest.raises(CandidateFailed, match=r"generator.safetensors"):
        start(job, tmp_path)
    assert "Traceback" in (tmp_path / "log").read_text()


def test_a_worker_that_dies_is_told_apart_from_an_error(tmp_path):
    _, job = tiny_job(tmp_path)
    worker = start(job, tmp_path)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(CandidateFailed, match="its process was ended by SIGKILL"):
        worker.run()
    worker.close()
