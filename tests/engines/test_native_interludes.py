"""What engine native lets in between two blocks of what it computes."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.native import NativeEngine, create
from hifigan_rt.errors import StreamBroken
from native_generators import V1_MODEL
from waiting import at_once

FRAMES = 4000
"""Of a network with an eighth of V1's channels: some hundred milliseconds."""
LONG = np.random.default_rng(1).normal(-5, 2, (80, FRAMES)).astype(np.float32)
SHORT = np.random.default_rng(2).normal(-5, 2, (80, 40)).astype(np.float32)


@pytest.fixture(params=[1, 2])
def engine(request: pytest.FixtureRequest) -> NativeEngine:
    return create(V1_MODEL, EngineOptions(threads=request.param))


CALLS: dict[str, Callable[[NativeEngine], np.ndarray]] = {
    "run": lambda engine: engine.run(LONG[None])[0],
    "run_many": lambda engine: engine.run_many([LONG])[0],
    "push": lambda engine: engine.stream(64).push(LONG),
}


def once_at_a_time(interlude: Callable[[], None]) -> Callable[[], None]:
    """An interlude that lets no other into itself, as the scheduler's ends: on a slow machine each would have one."""
    inside = threading.local()

    def called() -> None:
        if getattr(inside, "now", False):
            return
        inside.now = True
        try:
            interlude()
        finally:
            inside.now = False

    return called


@pytest.mark.parametrize("call", CALLS)
def test_other_streams_and_mels_in_between_change_no_bit(engine: NativeEngine, call: str) -> None:
    expected = CALLS[call](engine)
    expected_run, expected_push = engine.run(SHORT[None]), engine.stream(16).push(SHORT)
    threads: list[int] = []

    @once_at_a_time
    def interlude() -> None:
        threads.append(threading.get_ident())
        np.testing.assert_array_equal(engine.run(SHORT[None]), expected_run)
        np.testing.assert_array_equal(engine.stream(16).push(SHORT), expected_push)

    while not threads:
        audio = engine.interruptible(lambda: CALLS[call](engine), interlude)
        np.testing.assert_array_equal(audio, expected)
    assert set(threads) == {threading.get_ident()}


def test_mels_side_by_side_are_not_interrupted() -> None:
    # A loop of the pool is open all the time.
    engine = create(V1_MODEL, EngineOptions(threads=2))
    expected = engine.run(LONG[None].repeat(2, 0))
    called: list[None] = []
    audio = engine.interruptible(lambda: engine.run(LONG[None].repeat(2, 0)), lambda: called.append(None))
    np.testing.assert_array_equal(audio, expected)
    assert not called


def test_an_exception_ends_what_it_interrupts(engine: NativeEngine) -> None:
    stream = engine.stream(64)

    def interlude() -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        while True:
            engine.interruptible(lambda: stream.push(LONG), interlude)
    with pytest.raises(StreamBroken):
        stream.push(SHORT)
    # It is forgotten with the call, and the threads are free.
    assert engine.run(LONG[None]).shape == (1, FRAMES * 256)


def test_small_numbers_are_not_flushed_to_zero_in_between(engine: NativeEngine) -> None:
    products: list[float] = []
    while not products:
        engine.interruptible(
            lambda: engine.run(LONG[None]), lambda: products.append(np.float32(1e-30) * np.float32(1e-10))
        )
    assert min(products) > 0


def test_threads_that_wait_for_the_engine_let_interludes_in() -> None:
    engine = create(V1_MODEL, EngineOptions(threads=2))
    expected, expected_short = engine.run(LONG[None]), engine.run(SHORT[None])
    right: list[bool] = []
    interrupted: set[int] = set()

    @once_at_a_time
    def interlude() -> None:
        interrupted.add(threading.get_ident())
        right.append(np.array_equal(engine.run(SHORT[None]), expected_short))

    def compute(barrier: threading.Barrier) -> None:
        barrier.wait()
        audio = engine.interruptible(lambda: engine.run(LONG[None]), interlude)
        right.append(np.array_equal(audio, expected))

    while len(interrupted) < 2:  # one that computes, and one that waits for it
        barrier = threading.Barrier(4)
        at_once(compute, [barrier] * 4)
    assert all(right)
