"""What is computed in the middle of another block, by an engine that lets it in every 20 ms of pretended time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hifigan_rt.errors import EngineError
from hifigan_rt.tools.serving.errors import EngineFailed
from hifigan_rt.tools.serving.scheduling.jobs import QueuedJob
from hifigan_rt.tools.serving.scheduling.streams import StreamJob
from serving_models import INTERLUDE_SECONDS, MEL, SECONDS_PER_FRAME
from serving_simulation import Simulation

T = TypeVar("T")


def at_each_interlude(simulation: Simulation, action: Callable[[int], None]) -> None:
    """Do something before the queue looks; it is told how many interludes there were."""
    engine = simulation.engine
    interruptible = engine.interruptible
    numbers = itertools.count(1)

    def wrapped(compute: Callable[[], T], interlude: Callable[[], None]) -> T:
        def both() -> None:
            action(next(numbers))
            interlude()

        return interruptible(compute, both)

    engine.interruptible = wrapped  # type: ignore[method-assign]


def at_interlude(simulation: Simulation, number: int, action: Callable[[], object]) -> None:
    def at_this(current: int) -> None:
        if current == number:
            action()

    at_each_interlude(simulation, at_this)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("client", ["", "another"])
def test_who_comes_in_the_middle_of_a_block_waits_for_an_interlude(client: str, *, live: bool) -> None:
    simulation = Simulation(2.0, interrupts=True)  # a block of 256 frames takes 1.5 s
    long = simulation.whole(2000)
    came: list[QueuedJob] = []

    def come() -> None:
        job = simulation.stream(32, live=True, client=client) if live else simulation.whole(32, client=client)
        came.append(job)

    at_interlude(simulation, 3, come)
    begun = simulation.clock()
    simulation.queue.step()
    [job] = came
    assert simulation.given(job) == 32 * MEL.hop_length
    assert job.served_at - simulation.begun_at[job] == pytest.approx(simulation.seconds(32))
    # Who computed when is booked right, whatever came in between.
    assert job.busy_seconds == pytest.approx(simulation.seconds(32))
    assert long.busy_seconds == pytest.approx(simulation.seconds(256))
    assert simulation.clock() - begun == pytest.approx(simulation.seconds(256 + 32))


def test_a_live_stream_comes_into_a_whole_request_that_came_into_another() -> None:
    simulation = Simulation(2.0, interrupts=True)
    long = simulation.whole(2000, client="one")
    came: list[QueuedJob] = []
    at_interlude(simulation, 1, lambda: came.append(simulation.whole(200, client="two")))
    at_interlude(simulation, 5, lambda: came.append(simulation.stream(32, live=True, client="three")))
    at_interlude(simulation, 6, lambda: came.append(simulation.whole(5, client="four")))
    simulation.queue.step()
    two, three, four = came
    assert three.served_at < two.served_at < long.served_at
    assert four.served_at > two.served_at  # no whole request into an interlude
    assert sum(job.busy_seconds for job in (long, *came)) == pytest.approx(simulation.seconds(256 + 200 + 32 + 5))


def test_what_is_interrupted_gets_on_beside_requests_that_never_cease() -> None:
    simulation = Simulation(interrupts=True)
    long = simulation.whole(100_000, client="long")
    begun = simulation.clock()
    shorts: list[QueuedJob] = []

    def ask_again(_: int) -> None:
        if not shorts or shorts[-1] in simulation.ended:
            shorts.append(simulation.whole(64, client="short"))

    at_each_interlude(simulation, ask_again)
    while simulation.clock() < begun + 60:
        ask_again(0)
        simulation.queue.step()
    assert long.busy_seconds / 60 == pytest.approx(simulation.settings.bulk_share, rel=0.1)
    assert sum(job.busy_seconds for job in (long, *shorts)) == pytest.approx(simulation.clock() - begun)
    waits = [
        simulation.ended_at[job] - simulation.begun_at[job] - simulation.seconds(64)
        for job in shorts
        if job in simulation.ended
    ]
    assert max(waits) <= 2 * INTERLUDE_SECONDS


def test_an_interlude_that_fails_ends_its_own_job_alone() -> None:
    simulation = Simulation(2.0, interrupts=True)
    long = simulation.whole(300)
    came: list[QueuedJob] = []

    def come() -> None:
        came.append(simulation.whole(64))
        simulation.engine.failure = EngineError("no more")

    at_interlude(simulation, 2, come)
    simulation.queue.step()
    assert isinstance(simulation.ended[came[0]], EngineFailed)
    simulation.engine.failure = None
    simulation.run_dry()
    assert simulation.ended[long] is None
    assert simulation.given(long) == 300 * MEL.hop_length


def test_a_client_that_goes_in_an_interlude_is_ended_behind_the_block() -> None:
    simulation = Simulation(2.0, interrupts=True)
    long = simulation.whole(2000)
    at_interlude(simulation, 2, long.close)
    simulation.whole(32, client="another")
    simulation.run_dry()
    assert long in simulation.ended
    assert all(stream.closed for stream in simulation.engine.streams)


@given(st.data())
def test_every_job_ends_and_gives_all_its_samples_though_blocks_are_interrupted(data: st.DataObject) -> None:
    simulation = Simulation(3.0, interrupts=True)
    expected: dict[QueuedJob, int] = {}

    def come() -> None:
        client = data.draw(st.sampled_from(["a", "b", "c"]))
        frames = data.draw(st.integers(1, 600))
        kind = data.draw(st.sampled_from(["whole", "streamed", "live"]))
        if kind == "whole":
            job: QueuedJob = simulation.whole(frames, client=client)
        else:
            job = stream = simulation.stream(frames, live=kind == "live", client=client)
            stream.finish()
        expected[job] = frames * MEL.hop_length

    interludes = data.draw(st.lists(st.integers(1, 40), max_size=6))
    for number in interludes:
        at_interlude(simulation, number, come)
    come()
    worked = True
    while worked:
        worked = simulation.queue.step()
        for job in expected:
            if isinstance(job, StreamJob):
                simulation.read(job)
    assert {job: simulation.given(job) for job in expected} == expected
    assert all(simulation.ended[job] is None for job in expected)
    busy = sum(job.busy_seconds for job in expected)
    assert busy == pytest.approx(sum(expected.values()) / MEL.hop_length * SECONDS_PER_FRAME / 3.0)
