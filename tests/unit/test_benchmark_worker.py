"""The worker process for real, with the reference engine on a tiny model."""

import os
import signal

import numpy as np
import pytest

import tolerances
from golden.tiny import tiny_generator, tiny_mel, write_tiny
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines.reference import generate
from hifigan_rt.tools.benchmark.candidate_process import CandidateProcess
from hifigan_rt.tools.benchmark.rotation import CandidateFailed
from measuring.candidates import Job
from waiting import wait_until_gone


def tiny_job(folder, candidate="reference"):
    mel = np.stack([tiny_mel(20, seed=1), tiny_mel(20, seed=2)])
    np.save(folder / "mel.npy", mel)
    return mel, Job(candidate, 2, 20, 1, str(write_tiny(folder)), str(folder / "mel.npy"))


def start(job, folder):
    return CandidateProcess("measuring.worker", job.to_json(), job.threads, folder / "log")


def test_a_worker_loads_runs_and_hands_over_what_it_computed(tmp_path):
    mel, job = tiny_job(tmp_path, "reference#2")
    worker = start(job, tmp_path)
    try:
        assert worker.facts["executed"] == {
            "runtime": f"reference {np.__version__}",
            "precision": "float64",
            "threads": 1,
            "device": "cpu",
            "caveat": "",
            "products_per_frame": None,
        }
        seconds, cpu_seconds = worker.run()
        assert 0 < seconds < cpu_seconds + 5
        assert worker.run()[1] >= cpu_seconds
        assert worker.peak_memory_mib() > 10
        audio = worker.output()
    finally:
        worker.close()
    expected = np.stack([generate(tiny_generator(), item) for item in mel]).astype(np.float32)
    np.testing.assert_array_equal(audio, expected)


@pytest.mark.torch
def test_pytorch_beside_us_computes_the_same(tmp_path):
    pytest.importorskip("torch")
    mel, job = tiny_job(tmp_path, "torch-eager")
    worker = start(job, tmp_path)
    try:
        assert worker.facts["executed"]["precision"] == "float32"
        worker.run()
        audio = worker.output()
    finally:
        worker.close()
    expected = np.stack([generate(tiny_generator(), item) for item in mel])
    assert snr_db(expected, audio) >= tolerances.FLOAT32_ENGINE_SNR_DB


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


STUBBORN = """
import os, signal, subprocess, sys, time
import numpy as np
from hifigan_rt.tools.benchmark.worker import Executed, Load, serve

class Candidate:
    executed = Executed("stub", "float32", 1)
    compute_seconds = None

    def __init__(self, job):
        self.job, self.calls = job, 0
        if job["fault"] == "hangs while loading":
            time.sleep(600)
        if job["fault"] == "prints":
            print("not an answer")
            os.write(1, b"nor is this")
        if job["fault"] == "leaves a child":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            open(job["note"], "w").write(str(child.pid))

    def run(self, mel):
        self.calls += 1
        if self.calls == 2 and self.job["fault"] == "hangs":
            time.sleep(600)
        if self.calls == 2 and self.job["fault"] == "dies":
            os._exit(7)
        if self.job["fault"] == "has a clock":
            self.compute_seconds = 0.125
        return mel[:, 0]

def main():
    serve(lambda job: Load(lambda: Candidate(job), job["mel"], 1))
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    (tmp_path / "stubborn_candidate.py").write_text(STUBBORN)
    monkeypatch.syspath_prepend(str(tmp_path))
    np.save(tmp_path / "mel.npy", np.zeros((1, 2, 3), np.float32))

    def start_stub(fault):
        job = {"fault": fault, "mel": str(tmp_path / "mel.npy"), "note": str(tmp_path / "note")}
        return CandidateProcess("stubborn_candidate", job, 1, tmp_path / "log", timeout_seconds=8)

    return start_stub


def test_a_worker_that_hangs_is_ended(stub):
    worker = stub("hangs")
    with pytest.raises(CandidateFailed, match="it gave no answer within 8 s and was ended"):
        worker.run()
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def test_a_worker_that_ends_tells_its_status(stub):
    with pytest.raises(CandidateFailed, match="its process ended with status 7"):
        stub("dies").run()


def test_what_a_runtime_prints_is_no_answer(stub, tmp_path):
    worker = stub("prints")
    assert worker.run()[0] >= 0
    worker.close()
    worker.close()
    assert "not an answer" in (tmp_path / "log").read_text()


def test_what_a_worker_started_ends_with_it(stub, tmp_path):
    worker = stub("leaves a child")
    child = int((tmp_path / "note").read_text())
    worker.close()
    wait_until_gone(child)


def test_a_device_clock_is_taken_where_there_is_one(stub):
    worker = stub("has a clock")
    assert worker.facts["device_clock"]
    assert worker.run()[0] == 0.125
    worker.close()
