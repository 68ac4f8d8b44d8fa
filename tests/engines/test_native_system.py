"""What systems do to an engine: many threads, fork, Ctrl-C, no memory."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hifigan_rt.config import GeneratorConfig
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.native import create, load_generator
from hifigan_rt.errors import StreamBusy
from hifigan_rt.model.kinds import Weights
from native_generators import V1_LIKE, make_case, stream_all

CASE = make_case(V1_LIKE, 30)


@pytest.fixture
def engine():
    return create(Weights("a test", Path("test"), "none", CASE.generator), EngineOptions(threads=2))


def test_callers_from_many_threads(engine):
    expected = engine.run(CASE.mel[None])
    streamed = stream_all(load_generator(CASE.generator, engine.isa, 16, 1, {}), CASE.mel, 16, [7])

    def call(i):
        if i % 3 == 0:
            stream = engine.stream(16)
            parts = [stream.push(np.ascontiguousarray(CASE.mel[:, at : at + 7])) for at in range(0, 30, 7)]
            return np.array_equal(np.concatenate([*parts, stream.finish()]), streamed)
        batch = engine.run(np.repeat(CASE.mel[None], 1 + i % 2 * 4, axis=0))
        return all(np.array_equal(audio, expected[0]) for audio in batch)

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert all(pool.map(call, range(48)))


def test_a_stream_is_for_one_thread_at_a_time(engine):
    stream = engine.stream(64)
    mel, nothing = np.zeros((80, 20_000), np.float32), np.empty((80, 0), np.float32)

    def long_push():
        while True:
            try:
                return stream.push(mel)
            except StreamBusy:  # the look of the other thread
                pass

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pushed, refused = pool.submit(long_push), False
        while not pushed.done() and not refused:
            try:
                stream.push(nothing)
            except StreamBusy as error:
                refused = str(error) == "the stream is in use by another thread: give each signal its own stream"
        assert refused
        assert len(pushed.result()) + stream.pending_samples == 20_000 * 256


def test_a_stream_that_was_interrupted_waits_for_a_reset():
    result = run_python(
        """
        import os, signal, threading
        import numpy as np
        from hifigan_rt.engines.native import create
        from hifigan_rt.engines.base import EngineOptions
        from hifigan_rt.errors import StreamBroken, StreamBusy
        from native_generators import V1_MODEL
        stream = create(V1_MODEL, EngineOptions(threads=1)).stream(64)
        mel = np.zeros((80, 200_000), np.float32)
        def interrupt():
            while True:
                try:
                    stream.push(mel[:, :0])
                except StreamBusy:
                    return os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt).start()
        try:
            while True:
                try:
                    stream.push(mel)
                except StreamBusy:
                    pass
        except KeyboardInterrupt:
            print(stream.pending_samples)
        for call in (stream.finish, lambda: stream.push(mel)):
            try:
                call()
            except StreamBroken as error:
                print(error)
        stream.reset()
        print(len(stream.push(mel[:, :30])) + len(stream.finish()))
        """
    )
    text = "the stream was interrupted: reset it, or open a new one"
    assert result.stdout.splitlines() == ["0", text, text, str(30 * 256)], result.stderr


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_in_the_middle(engine):
    """A child process has no pool threads and may have been forked while they ran."""
    expected = engine.run(CASE.mel[None])
    stop = threading.Event()

    def keep_busy():
        while not stop.is_set():
            engine.run(CASE.mel[None])

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                os._exit(0 if np.array_equal(engine.run(CASE.mel[None]), expected) else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        busy.join()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_that_only_frees_an_engine():
    """The pool's threads, asleep in the parent, are none that the child could wait for."""
    engine = create(Weights("a test", Path("test"), "none", CASE.generator), EngineOptions(threads=2))
    stream = engine.stream(16)
    engine.run(CASE.mel[None])
    stream.push(CASE.mel)
    time.sleep(0.1)  # until they sleep
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        stream.close()
        engine.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(stream.finish()) > 0


def test_a_fork_while_another_thread_calibrates():
    result = run_python(
        """
        import os, signal, threading
        from hifigan_rt import _native
        from hifigan_rt.engines.native_tuning import choose_tuning
        calibrating, forked = threading.Event(), threading.Event()
        def measure(isa, seconds, lender):
            calibrating.set()
            forked.wait()
            return [[1.0] * (len(_native.tunings()) + 1)]
        _native.measure_tunings = measure
        thread = threading.Thread(target=choose_tuning, args=["a test"])
        thread.start()
        calibrating.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            forked.set()
            choose_tuning("a test")
            os._exit(0)
        print(os.waitpid(child, 0)[1])
        forked.set()
        thread.join()
        """,
        HIFIGAN_RT_TUNING="",
    )
    assert result.stdout == "0\n", result.stderr


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


EVERY_CALL = pytest.mark.parametrize(
    "call",
    [
        "engine.run(mel[None])",
        "engine.run(mel[None].repeat(4, 0))",
        # The thread that calls has soon nothing left but to wait for the other.
        "engine.run_many([mel[:, :500].copy()] * 2 + [mel, mel[:, :500].copy()])",
        "engine.stream(64).push(mel)",
    ],
)


@EVERY_CALL
def test_ctrl_c_on_long_audio(call):
    result = run_python(
        f"""
        import os, signal, threading, time
        import numpy as np
        from hifigan_rt.engines.native import create
        from hifigan_rt.engines.base import EngineOptions
        from native_generators import V1_MODEL
        engine = create(V1_MODEL, EngineOptions(threads=2))
        mel = np.zeros((80, 200_000), np.float32)
        sent = []
        def interrupt():
            begun = time.process_time()
            while time.process_time() < begun + 1:
                time.sleep(0.05)
            sent.append(time.process_time())
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt).start()
        try:
            {call}
        except KeyboardInterrupt:
            print(time.process_time() - sent[0])
        """
    )
    assert result.returncode == 0, result.stderr
    # Seconds of the processor, for which another process's load counts nothing; the whole takes minutes of them.
    assert float(result.stdout) < 3


def test_a_long_segment_is_interrupted_between_its_layers(monkeypatch):
    """The first stage takes a whole segment at a time: of 4096 frames, that was more than a second."""
    monkeypatch.setenv("HIFIGAN_RT_ISA", "generic")
    config = GeneratorConfig(512, (8,), (16,), "1", (3, 7, 11), ((1, 3, 5),) * 3, num_mels=80)
    case = make_case(config, 512)
    model = Weights("a test", Path("test"), "none", case.generator)
    engine = create(model, EngineOptions(threads=1, settings={"segment_frames": 512}))
    asked: list[None] = []
    engine.interruptible(lambda: engine.run(case.mel[None]), lambda: asked.append(None))
    assert len(asked) >= 5


def test_no_memory_is_a_memory_error():
    result = run_python(
        """
        import resource
        import numpy as np
        from hifigan_rt.engines.native import create
        from hifigan_rt.engines.base import EngineOptions
        from native_generators import V1_MODEL
        engine = create(V1_MODEL, EngineOptions(threads=1))
        mel = np.zeros((1, 80, 400_000), np.float32)
        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (100 << 20),) * 2)
        try:
            engine.run(mel)
        except MemoryError:
            print("MemoryError")
        print(engine.run(mel[:, :, :8].copy()).shape)
        """
    )
    assert result.stdout.split("\n")[:2] == ["MemoryError", "(1, 2048)"], result.stderr


def test_memory_does_not_grow_with_the_segment_lengths_that_were_used():
    result = run_python(
        """
        import numpy as np
        from hifigan_rt.engines.native import create
        from hifigan_rt.engines.base import EngineOptions
        from hifigan_rt.system.machine import resident_memory
        from native_generators import V1_MODEL
        engine = create(V1_MODEL, EngineOptions(threads=1))
        mel = np.zeros((80, 120), np.float32)
        def use(lengths):
            for frames in lengths:
                engine.stream(frames).push(mel)
            return resident_memory()
        before = use([120, 80])
        print((use(range(80, 120)) - before) / 2**20)
        """
    )
    # The buffers of one length are 4 MB; what is known of a segment length is some KB.
    assert float(result.stdout) < 15, result.stderr


def test_memory_does_not_grow_with_the_callers_that_wait():
    result = run_python(
        """
        from concurrent.futures import ThreadPoolExecutor
        import numpy as np
        from hifigan_rt.engines.native import create
        from hifigan_rt.engines.base import EngineOptions
        from hifigan_rt.system.machine import resident_memory
        from native_generators import V1_MODEL
        engine = create(V1_MODEL, EngineOptions(threads=2))
        mels = np.zeros((2, 80, 300), np.float32)
        def use(callers):
            with ThreadPoolExecutor(callers) as pool:
                list(pool.map(lambda i: engine.run(mels[: 1 + i % 2]), range(4 * callers)))
            return resident_memory()
        before = use(2)
        print((use(12) - before) / 2**20)
        """
    )
    # A caller has its samples and what is kept between segments, 2 MB; buffers are for those that compute.
    assert float(result.stdout) < 40, result.stderr


@EVERY_CALL
def test_a_process_ends_while_a_daemon_thread_computes(call):
    result = run_python(
        f"""
        import threading, time
        import numpy as np
        from hifigan_rt.engines.native import create
        from hifigan_rt.engines.base import EngineOptions
        from native_generators import V1_MODEL
        engine = create(V1_MODEL, EngineOptions(threads=2))
        mel = np.zeros((80, 100), np.float32)
        def compute():
            while True:
                {call}
        threading.Thread(target=compute, daemon=True).start()
        time.sleep(0.5)
        """
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_signal_handler_that_computes(engine):
    """Handlers run between two blocks, which of a batch is within a loop of the pool's threads."""
    expected, mel = engine.run(CASE.mel[None]), CASE.mel.repeat(40, axis=1)
    whole, audios = engine.run(mel[None]), []

    def handle(*_):
        audios.append(engine.run(CASE.mel[None].repeat(1 + len(audios) % 2, 0)))

    before = signal.signal(signal.SIGALRM, handle)
    try:
        for items in (1, 4):
            audios.clear()
            while len(audios) < 4:
                signal.setitimer(signal.ITIMER_REAL, 0.03)
                batch = engine.run(mel[None].repeat(items, 0))
                assert np.array_equal(batch, whole.repeat(items, 0))
            assert all(np.array_equal(audio, expected.repeat(len(audio), 0)) for audio in audios)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_no_threads_is_an_error_that_says_so():
    result = run_python(
        """
        import resource
        import numpy as np
        from hifigan_rt import _native
        from hifigan_rt.engines.native import create
        from hifigan_rt.engines.base import EngineOptions
        from hifigan_rt.errors import EngineError
        from native_generators import V1_MODEL
        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (600 << 20),) * 2)
        calls = [
            lambda: create(V1_MODEL, EngineOptions(threads=1000)),
            lambda: _native.measure_multiply_adds("generic", 1000, 0.001),
        ]
        for call in calls:
            try:
                call()
            except EngineError as error:
                print(error)
        """,
    )
    lines = result.stdout.splitlines()
    assert len(lines) == 2, result.stderr
    for line in lines:
        assert line.startswith("the system gives this process "), line
        assert "of the 1000 threads that are asked for" in line
