"""The tile unit in a process with others: permission, signal stacks, forks, threads, signals, other users of tiles.

Each compares with the software's tiles, whose bits are the unit's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.amx

PREPARED = """
import ctypes, os, signal, sys, threading
import numpy.testing  # a lazy import of it in a signal handler would recurse
import numpy as np
from hifigan_rt.engines.native import SOFTWARE_TILES, load_generator
from native_generators import V1_LIKE, make_case

case = make_case(V1_LIKE, 40)
mel = case.mel[None]

def load(isa="amx", precision="bfloat16", threads=2):
    return load_generator(case.generator, isa, 16, threads, {}, precision)

expected = load(SOFTWARE_TILES).run(mel)

def check(core):
    np.testing.assert_array_equal(core.run(mel), expected)

def refusal():
    '''Why a user is not given the unit.'''
    from hifigan_rt.engines import create_engine
    from hifigan_rt.engines.base import EngineOptions
    from hifigan_rt.errors import PrecisionUnavailable
    from native_generators import V1_MODEL
    try:
        create_engine("native", V1_MODEL, EngineOptions(precision="bfloat16"))
    except PrecisionUnavailable as error:
        create_engine("native", V1_MODEL, EngineOptions()).run(np.zeros((1, 80, 4), np.float32))
        return str(error)
    return ""
"""


def run(code: str) -> str:
    """What a process of its own prints."""
    environment = {key: value for key, value in os.environ.items() if key != "HIFIGAN_RT_ISA"}
    done = subprocess.run(
        [sys.executable, "-c", PREPARED + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env=environment,
        timeout=180,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


@pytest.mark.parametrize(
    ("state", "reason"),
    [(0x1021, "the kernel does not hand it out"), (0x1023, "the kernel refuses it to this process (Operation not")],
    ids=["all", "request"],
)
def test_a_filter_of_system_calls_that_forbids_the_unit_is_told(state, reason):
    said = run(
        f"from system_call_filters import forbid\nforbid(158, 0x50001, {state})\nprint(refusal())"
    )  # arch_prctl, EPERM
    assert reason in said
    assert "float32, the default, is the fast" in said


def test_a_signal_stack_that_is_too_small_is_told_and_one_that_is_not_is_no_trouble():
    """Signals of a process are delivered on stacks that have to hold the tiles."""
    said = run(
        """
        class Stack(ctypes.Structure):
            _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

        def beside(size, body):
            memory = ctypes.create_string_buffer(size)
            ready, done = threading.Event(), threading.Event()
            def wait():
                stack = Stack(ctypes.addressof(memory), 0, size)
                assert ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0
                ready.set()
                done.wait()
            thread = threading.Thread(target=wait)
            thread.start()
            ready.wait()
            try:
                body()
            finally:
                done.set()
                thread.join()

        beside(4096, lambda: print(refusal()))
        beside(65536, lambda: check(load()))
        check(load())
        """
    )
    assert "a thread has a signal stack smaller than AT_MINSIGSTKSZ" in said


def test_children_of_a_fork_before_and_after_the_first_use():
    run(
        """
        def child():
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)
                try:
                    check(load())
                    if core:
                        check(core)
                except BaseException as error:
                    print(error, file=sys.stderr)
                    os._exit(1)
                os._exit(0)
            return pid

        core = None
        first = child()
        core = load()
        check(core)
        second = child()
        check(core)
        assert [os.waitpid(pid, 0)[1] for pid in (first, second)] == [0, 0]
        """
    )


def test_threads_that_load_and_run_side_by_side():
    run(
        """
        wrong = []
        def work(precision, expected):
            for _ in range(3):
                core = load(precision=precision, threads=3)
                for _ in range(4):
                    if not np.array_equal(core.run(mel), expected):
                        wrong.append(precision)

        finer = load(SOFTWARE_TILES, "bfloat16x3").run(mel)
        pairs = [("bfloat16", expected), ("bfloat16x3", finer)] * 3
        threads = [threading.Thread(target=work, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, wrong
        """
    )


def test_signals_in_the_middle_of_products():
    """The system saves and clears the tiles before a handler, and brings them back; some of these handlers use them."""
    said = run(
        """
        seen, going = [], True
        def handler(*_):
            seen.append(1)
            if len(seen) % 8 == 0:
                check(other)
            if going:
                signal.setitimer(signal.ITIMER_REAL, 0.0005)

        other, core = load(threads=1), load(threads=1)
        long = np.tile(mel, 12)
        whole = load(SOFTWARE_TILES).run(long)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        for _ in range(60):
            np.testing.assert_array_equal(core.run(long), whole)
        going = False  # or a handler that waits would set the timer again
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(len(seen))
        """
    )
    assert int(said) > 20


OTHERS = {
    "openvino": """
        import openvino as ov
        from openvino import opset13 as ops
        weights = np.random.default_rng(1).normal(size=(64, 64, 1, 3)).astype(np.float32)
        x = ops.parameter([1, 64, 1, 256], np.float32)
        model = ov.Model([ops.convolution(x, ops.constant(weights), [1, 1], [0, 1], [0, 1], [1, 1])], [x])
        compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
        made = compiled.get_runtime_model().get_ops()
        print([op.get_rt_info()["primitiveType"].astype(str) for op in made if "layerType" in op.get_rt_info()])
        data = np.random.default_rng(2).normal(size=(1, 64, 1, 256)).astype(np.float32)
        def other():
            return compiled([data])[0].copy()
    """,
    "torch": """
        import torch
        torch.manual_seed(1)
        layer = torch.nn.Conv2d(64, 64, (1, 3), padding=(0, 1)).to(torch.bfloat16).to(memory_format=torch.channels_last)
        data = torch.randn(1, 64, 1, 256).to(torch.bfloat16)
        def other():
            with torch.inference_mode():
                return layer(data).float().numpy()
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            other()
    """,
}


@pytest.mark.parametrize("name", ["openvino", pytest.param("torch", marks=pytest.mark.torch)])
def test_other_users_of_tiles_in_turn_and_side_by_side(name):
    """oneDNN configures tiles for itself: neither it nor the engine relies on what it finds, or finds what it left."""
    said = run(
        textwrap.dedent(OTHERS[name])
        + textwrap.dedent(
            """
        truth = other()
        core = load()
        for _ in range(5):
            check(core)
            np.testing.assert_array_equal(other(), truth)
        wrong = []
        def work(body):
            for _ in range(30):
                try:
                    body()
                except AssertionError as error:
                    wrong.append(error)
        bodies = [lambda: check(core), lambda: np.testing.assert_array_equal(other(), truth)]
        threads = [threading.Thread(target=work, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, wrong[0]
        """
        )
    )
    assert re.search(r"conv\w*amx|conv_fwd:\w*_amx", said), said
