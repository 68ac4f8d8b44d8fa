"""Streams that an engine computes together, as one on a GPU does: each has its own luck, and all of them their room."""

from __future__ import annotations

import numpy as np
import pytest

from hifigan_rt.errors import EngineError
from hifigan_rt.tools.serving.errors import InternalFailure, TooManyRequests
from hifigan_rt.tools.serving.scheduling.jobs import QueuedJob
from serving_models import MEL, SECONDS_PER_FRAME
from serving_simulation import Simulation, arrival, mel_of


def test_streams_of_an_engine_that_joins_them_are_computed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them fails to take its audio."""
    simulation = Simulation()
    simulation.engine.joined_streams = 4
    streams = [simulation.stream(frames, live=False) for frames in (100, 64, 7, 200)]
    monkeypatch.setattr(streams[3], "give", lambda audio, now: 1 / 0)
    assert simulation.queue.step()
    assert [simulation.given(stream) for stream in streams[:3]] == [count * MEL.hop_length for count in (32, 32, 7)]
    assert isinstance(simulation.ended[streams[3]], InternalFailure)
    simulation.run_dry()
    assert [simulation.given(stream) for stream in streams[:3]] == [count * MEL.hop_length for count in (100, 64, 7)]
    assert [simulation.ended[stream] for stream in streams[:3]] == [None] * 3
    assert all(stream.closed for stream in simulation.engine.streams)


def test_of_streams_that_are_computed_together_each_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = Simulation()
    simulation.engine.joined_streams = 4
    streams = [simulation.stream(100, live=False) for _ in range(4)]
    assert simulation.queue.step()

    def fail(*args: object) -> np.ndarray:
        raise EngineError("its values do not fit")

    monkeypatch.setattr(simulation.engine.streams[1], "push", fail)
    monkeypatch.setattr(simulation.engine.streams[2], "finish", fail)
    simulation.run_dry()
    frames = [simulation.given(stream) // MEL.hop_length for stream in streams]
    assert frames == [100, 32, 96, 100]
    codes = [None if error is None else error.code for error in map(simulation.ended.get, streams)]
    assert codes == [None, "engine_failed", "engine_failed", None]
    assert all(stream.closed for stream in simulation.engine.streams)


def test_a_stream_that_cannot_be_opened_ends_its_own_job(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = Simulation()
    simulation.engine.joined_streams = 4
    streams = [simulation.stream(40, live=False) for _ in range(3)]
    open_stream = simulation.engine.stream

    def with_room_for_two(*arguments: object) -> object:
        if len(simulation.engine.streams) == 2:
            raise EngineError("the card has no memory left")
        return open_stream(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(simulation.engine, "stream", with_room_for_two)
    simulation.run_dry()
    assert [simulation.ended[stream] is None for stream in streams] == [True, True, False]
    assert [simulation.given(stream) // MEL.hop_length for stream in streams] == [40, 40, 0]


def test_whole_mels_beside_streams_that_join_them_wait_as_long_as_admission_says() -> None:
    """Turns take 1 ms and 0.1 ms for each frame, whosever it is."""
    simulation = Simulation()
    simulation.engine.joined_streams = 64

    def together(streams: list[object], mels: list[np.ndarray], ending: list[int]) -> list[np.ndarray]:
        simulation.clock.now += 0.001 + 0.0001 * sum(mel.shape[1] for mel in mels)
        return [np.repeat(mel[0], MEL.hop_length) for mel in mels]

    simulation.engine.advance = together  # type: ignore[assignment, method-assign]
    streams = [simulation.stream(100_000, live=False, segment=16, client=f"client {index}") for index in range(8)]

    def computed(*jobs: QueuedJob) -> float:
        began = simulation.clock()
        while not all(job in simulation.ended for job in jobs):
            assert simulation.queue.step()
            for stream in streams:
                simulation.read(stream)
        return simulation.clock() - began

    for frames in [256] * 50:
        computed(simulation.whole(frames))
    wholes = [simulation.whole(2560) for _ in range(2)]
    promise = simulation.queue.seconds_before(arrival("", 1000.0))
    assert promise == pytest.approx(computed(*wholes), rel=0.3)


@pytest.mark.parametrize(("count", "has_room"), [(60, True), (300, True), (500, False)])
def test_an_engine_that_joins_streams_is_full_when_many_of_them_are_too_many(count: int, has_room: bool) -> None:
    """Turns take 20 ms and 1 ms for each stream, 256 at most: 344 of them are what it can do, and 20 keep it busy."""
    simulation = Simulation(max_urgent_share=0.95)
    simulation.engine.joined_streams = 256

    def together(streams: list[object], mels: list[np.ndarray], ending: list[int]) -> list[np.ndarray]:
        simulation.clock.now += 0.02 + 0.001 * len(streams)
        return [np.repeat(mel[0], MEL.hop_length) for mel in mels]

    simulation.engine.advance = together  # type: ignore[assignment, method-assign]
    streams = [simulation.stream(live=True) for _ in range(count)]
    begun, period = simulation.clock(), 32 * SECONDS_PER_FRAME
    for turn in range(60 * count):  # each at its own time
        stream = streams[turn % count]
        stream.put(mel_of(32))
        simulation.read(stream)
        simulation.run_until(begun + turn * period / count)
    if has_room:
        simulation.stream(live=True)
    else:
        with pytest.raises(TooManyRequests, match="of the processor"):
            simulation.stream(live=True)
