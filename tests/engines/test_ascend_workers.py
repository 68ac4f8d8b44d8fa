"""Engine `ascend` when its workers die or hang, are closed, or lose their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ascend_simulator.environment import CAVEAT
from engines.ascend_models import STAND_IN, pids, stop, works
from golden.tiny import tiny_mel
from hifigan_rt.errors import EngineError
from waiting import gone, wait_until_gone

GEARS = (100, 150)
MEL = tiny_mel(120)[None]


@pytest.fixture
def load(place):
    return lambda *device, **settings: place.engine(place.om(gears=GEARS), *device, **settings)


def failures(engine, runs: int) -> list[str]:
    """What went wrong in so many runs."""
    texts = []
    for _ in range(runs):
        try:
            works(engine, MEL)
        except EngineError as error:
            texts.append(str(error))
    return texts


def in_background(engine, mel=MEL):
    """A run in a thread, with the error that it ends with."""
    caught = []

    def run():
        try:
            engine.run(mel)
        except EngineError as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    return thread, caught


def test_a_worker_that_dies_half_way_fails_one_mel_and_is_replaced(load):
    engine = load()
    (pid,) = pids(engine)
    stop(pid)
    thread, caught = in_background(engine)
    time.sleep(1)  # until it has sent its mel
    os.kill(pid, signal.SIGKILL)
    thread.join()
    (text,) = caught
    assert text.startswith("the Ascend worker on device 0 was ended by signal 9 (Killed) while computing a mel [1, 10")
    works(engine, MEL)
    assert pids(engine) != [pid]


def test_a_worker_that_died_between_runs_is_replaced_after_one_failure(load):
    engine = load("0,1")
    for pid in pids(engine):
        os.kill(pid, signal.SIGKILL)
    texts = failures(engine, 10)
    assert 1 <= len(texts) <= 2
    assert all("was ended by signal 9" in text for text in texts)
    works(engine, MEL)


def test_a_device_that_is_lost_leaves_its_work_to_the_other(load, place):
    engine = load("0,1")
    os.kill(pids(engine)[0], signal.SIGKILL)
    place.simulator.set(FAULT="acl:busy=0")
    assert all("was ended by signal 9" in text for text in failures(engine, 5))
    for _ in range(5):
        works(engine, MEL)


def test_a_worker_that_hangs_is_stopped_and_replaced(load):
    engine = load(timeout="5")
    (pid,) = pids(engine)
    stop(pid)
    engine._pool._workers[0]._timeout_s = 0.5
    with pytest.raises(EngineError) as caught:
        engine.run(MEL)
    assert str(caught.value) == (
        "the Ascend worker on device 0 did not answer within 0.5 s while computing a mel [1, 10, 100], and was "
        "stopped: the device may hang ('npu-smi info'); --engine-option timeout=SECONDS allows more"
    )
    wait_until_gone(pid)
    works(engine, MEL)


def test_closing_while_a_worker_hangs_does_not_hang(load, monkeypatch):
    monkeypatch.setattr("hifigan_rt.engines.ascend_runtime.worker_pool._CLOSE_TIMEOUT_S", 0.5)
    engine = load()
    (pid,) = pids(engine)
    stop(pid)
    thread, caught = in_background(engine)
    time.sleep(1)  # until it has sent its mel
    engine.close()
    thread.join()
    assert len(caught) == 1
    wait_until_gone(pid)


def test_closed_engines_say_so_and_free_their_processes(load):
    engine = load("0,1")
    processes = pids(engine)
    works(engine, MEL)
    engine.close()
    engine.close()
    for pid in processes:
        wait_until_gone(pid)
    for call in (lambda: engine.run(MEL), lambda: engine.run_many([MEL[0]])):
        with pytest.raises(EngineError, match=r"^engine 'ascend' is closed: load the model again$"):
            call()


def test_an_engine_that_is_dropped_frees_its_processes(load, place):
    (pid,) = pids(load())
    place.engines.clear()
    wait_until_gone(pid)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_refused_and_ends_no_worker_of_its_parent(load):
    """It waited for ever for threads that are the parent's; closing the engine there took the parent's worker."""
    engine = load()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        told = ""
        try:
            engine.run(MEL)
        except EngineError as error:
            told = str(error)
        engine.close()
        os._exit(0 if told.startswith("an .om cannot be used in a process that was forked after it was loaded") else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert failures(engine, 2) == []


def test_ctrl_c_while_waiting_leaves_the_engine_usable(load):
    engine = load()
    (pid,) = pids(engine)
    stop(pid)
    timer = threading.Timer(0.5, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        engine.run(MEL)
    timer.join()
    os.kill(pid, signal.SIGCONT)
    works(engine, MEL)
    assert pids(engine) == [pid]


SCRIPT = """
import sys, numpy
from engines.ascend_models import Place, pids
from pathlib import Path
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.model.kinds import OmFile
from golden.tiny import TINY
om = Path(sys.argv[1])
model = OmFile("m", om, "om", TINY, 10)
engine = create_engine("ascend", model, EngineOptions())
print(*pids(engine), flush=True)
engine.run(numpy.zeros((1, 10, 100), numpy.float32))
"""


@pytest.fixture
def started(place, request):
    """A process of its own that loads an engine and runs it; its first line tells the worker."""
    processes = []

    def start(om, **environment):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(om)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"PYTHONPATH": f"{os.environ['PYTHONPATH']}:{request.config.rootpath / 'tests'}"}
            | environment,
        )
        processes.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_worker_dies_with_its_parent_even_deep_in_the_vendor_s_code(place, stand_in, started, number):
    om = place.om(gears=(100,))
    stand_in(STAND_IN + f"CAVEAT = {CAVEAT!r}")
    process, worker = started(om)
    time.sleep(1)
    assert not gone(worker)
    process.send_signal(number)
    wait_until_gone(worker)
    process.wait(20)
