"""What admission promises against what the scheduler then does, for mixtures of work that are drawn."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hifigan_rt.tools.serving.errors import QueueFull
from hifigan_rt.tools.serving.scheduling.streams import StreamJob
from serving_models import SECONDS_PER_FRAME
from serving_simulation import Simulation, arrival

MIXTURES = 300
STREAMED = 4000
"""Frames of 46 s."""


def come(simulation: Simulation, drawn: random.Random, clients: list[str]) -> None:
    client = drawn.choice(clients)
    match drawn.choice(["whole", "whole", "batch", "streamed", "live"]):
        case "whole":
            simulation.whole(drawn.randint(1, 3000), client=client)
        case "batch":
            simulation.whole(*(drawn.randint(1, 700) for _ in range(drawn.randint(1, 6))), client=client)
        case "streamed":
            simulation.stream(drawn.randint(1, STREAMED), live=False, client=client)
        case "live":
            simulation.stream(drawn.randint(0, 1000), live=True, client=client)


def step(simulation: Simulation) -> bool:
    """Compute a block, for clients that read everything."""
    worked = simulation.queue.step()
    for job in simulation.begun_at:
        if isinstance(job, StreamJob):
            simulation.read(job)
    return worked


def promise_and_wait(seed: int, *, interrupts: bool) -> tuple[float, float]:
    """What a request was promised to wait for others, and what it waited, in seconds."""
    drawn = random.Random(seed)
    simulation = Simulation(interrupts=interrupts)
    clients = [f"client {index}" for index in range(drawn.randint(1, 5))]
    for _ in range(drawn.randint(0, 12)):
        come(simulation, drawn, clients)
        for _ in range(drawn.randint(0, 12)):
            step(simulation)
    streamed = drawn.random() < 0.3
    frames = drawn.randint(1, 2000)
    client = drawn.choice([*clients, "another"])
    promise = simulation.queue.seconds_before(arrival(client, frames * SECONDS_PER_FRAME, streamed=streamed))
    if streamed:
        stream = simulation.stream(frames, live=False, client=client)
        while not simulation.given(stream):
            assert step(simulation)
        return promise, simulation.clock() - simulation.begun_at[stream] - simulation.seconds(min(frames, 32))
    whole = simulation.whole(frames, client=client)
    while whole not in simulation.ended:
        assert step(simulation)
    return promise, simulation.ended_at[whole] - simulation.begun_at[whole] - simulation.seconds(frames)


@pytest.mark.parametrize("interrupts", [False, True])
def test_requests_wait_as_long_as_admission_says(*, interrupts: bool) -> None:
    promises, waits = np.array([promise_and_wait(seed, interrupts=interrupts) for seed in range(MIXTURES)]).T
    block = 256 * SECONDS_PER_FRAME / 20
    away = np.abs(promises - waits)
    assert np.mean(waits > 2 * block) > (0.12 if interrupts else 0.15)  # there is something to tell
    assert np.mean(away <= 2 * block) >= 0.95
    # What clients have used fades while they wait, so that some change places.
    assert np.all(away <= 3 * block + np.maximum(promises, waits) / 2)


@pytest.mark.parametrize("client", ["", "another"])
@pytest.mark.parametrize("streamed_frames", [STREAMED, 200_000])
def test_a_streamed_answer_holds_others_up_for_a_block(client: str, streamed_frames: int) -> None:
    simulation = Simulation(5.0, max_queue_wait_seconds=5.0)
    stream = simulation.stream(streamed_frames, live=False)
    for turn in range(20):
        simulation.run_until(simulation.clock() + 0.3)
        simulation.read(stream)
        for streamed in (False, True):
            simulation.queue.check_room(arrival(client, 4.0, streamed=streamed))
        if turn % 8 == 4:
            whole = simulation.whole(344, client=client)
            while whole not in simulation.ended:
                assert step(simulation)
            waited = simulation.ended_at[whole] - simulation.begun_at[whole] - simulation.seconds(344)
            assert waited <= simulation.seconds(32) + 1e-6
    assert stream not in simulation.ended


@pytest.mark.parametrize("frames", [[STREAMED], [200_000], [700] * 64])
def test_a_long_whole_request_holds_other_clients_up_for_a_block(frames: list[int]) -> None:
    simulation = Simulation(max_queue_wait_seconds=5.0)
    long = simulation.whole(*frames)
    for _ in range(8):
        simulation.run_until(simulation.clock() + 0.25)
        simulation.queue.check_room(arrival("another", 4.0))
        short = simulation.whole(344, client="another")
        while short not in simulation.ended:
            assert simulation.queue.step()
        waited = simulation.ended_at[short] - simulation.begun_at[short] - simulation.seconds(344)
        assert waited <= simulation.seconds(256) + 1e-6
    assert long not in simulation.ended or frames == [STREAMED]


@pytest.mark.parametrize("block_seconds", [0.0, 0.002, 0.02])
def test_short_requests_cost_what_their_blocks_cost(block_seconds: float) -> None:
    simulation = Simulation(block_seconds=block_seconds)
    drawn = random.Random(1)
    for _ in range(60):
        simulation.whole(drawn.choice([1, 1, 1, 1, 2, 3, 256, 600]))
        simulation.run_dry()
    waits = []
    for frames in ([1] * 100, [600] * 4, [1, 600] * 2):
        for count in frames:
            simulation.whole(count)
        promise = simulation.queue.seconds_before(arrival("", 1000.0))
        began = simulation.clock()
        simulation.run_dry()
        waits.append((promise, simulation.clock() - began))
    for promise, wait in waits:
        assert promise == pytest.approx(wait, rel=0.1)


def test_one_slow_block_does_not_make_short_requests_slow() -> None:
    simulation = Simulation()
    for _ in range(30):
        simulation.whole(1)
        simulation.whole(256)
        simulation.run_dry()
    simulation.engine.block_seconds = 5.0  # the machine stood still
    simulation.whole(1)
    simulation.run_dry()
    simulation.engine.block_seconds = 0.0
    for _ in range(100):
        simulation.whole(1)
    assert simulation.queue.seconds_before(arrival("", 1000.0)) < 1.0


def test_a_stream_that_nobody_reads_is_nothing_to_wait_for() -> None:
    simulation = Simulation(max_unread_seconds=2.0)
    simulation.stream(STREAMED, live=False)
    simulation.run_dry()
    assert simulation.queue.seconds_before(arrival("another", 100.0)) == 0.0
    assert simulation.queue.seconds_before(arrival("another", 100.0, streamed=True)) == 0.0


def test_more_streamed_answers_than_can_be_kept_at_pace_are_refused() -> None:
    simulation = Simulation(10.0, max_queue_wait_seconds=5.0)
    let_in = 0
    for index in range(30):
        try:
            simulation.check_room(46.0, f"client {index}", streamed=True)
        except QueueFull:
            continue
        simulation.stream(STREAMED, live=False, client=f"client {index}")
        let_in += 1
        for _ in range(3):
            step(simulation)
    assert let_in == pytest.approx(10, abs=1)
