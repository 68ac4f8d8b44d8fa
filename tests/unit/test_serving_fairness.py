"""A client that asks for little beside clients that ask for everything, in time that pretends to pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hifigan_rt.tools.serving.errors import QueueFull, TooManyRequests
from hifigan_rt.tools.serving.loading import WHOLE_SEGMENT_FRAMES
from hifigan_rt.tools.serving.scheduling.jobs import QueuedJob
from hifigan_rt.tools.serving.scheduling.streams import StreamJob
from serving_models import MEL, SECONDS_PER_FRAME
from serving_simulation import Simulation, mel_of

CONNECTIONS = 16
X_REAL_TIME = 15.0
SECONDS = 25.0
WHOLE_FRAMES = 344
"""4 s of audio, which the honest client asks for each second; its live stream takes a second more."""
LIMITS = {
    "max_queued_requests": 256,
    "max_queued_audio_seconds": 7200.0,
    "max_queue_wait_seconds": 5.0,
    "max_live_streams": 64,
    "max_urgent_share": 0.95,
}

Hostile = Callable[[Simulation, str], QueuedJob]
HOSTILE: dict[str, Hostile] = {
    "streamed": lambda simulation, client: simulation.stream(4000, live=False, client=client),
    "gone after the first audio": lambda simulation, client: simulation.stream(4000, live=False, client=client),
    "long": lambda simulation, client: simulation.whole(200_000, client=client),
    "short": lambda simulation, client: simulation.whole(20, client=client),
    "live": lambda simulation, client: simulation.stream(256, live=True, client=client),
}


class Scenario:
    """16 hostile connections that ask again at once, and from the fifth second on an honest client."""

    def __init__(self, hostile: str, addresses: int, x_real_time: float = X_REAL_TIME) -> None:
        self.simulation = Simulation(x_real_time, interrupts=True, **LIMITS)
        self.simulation.engine.offline_segment_frames = WHOLE_SEGMENT_FRAMES
        self.latencies: list[float] = []
        self.refused = self.underruns = 0
        self._hostile = hostile
        self._clients = [f"address {index % addresses}" for index in range(CONNECTIONS)]
        self._works: dict[int, QueuedJob] = {}
        self._again: dict[int, float] = {}
        self._wholes: list[QueuedJob] = []

    def play(self) -> None:
        simulation = self.simulation
        due = pushed = simulation.clock() + 5.0
        end = due + SECONDS
        live: StreamJob | None = None
        plays_until: float | None = None
        while (now := simulation.clock()) < end:
            self._attack(now)
            if now >= due:
                due += 1.0
                self._ask()
            if live is None and now >= pushed:
                live, pushed = simulation.stream(live=True, client="honest"), now
            if live is not None:
                if now >= pushed:
                    live.put(mel_of(32))
                    pushed += 32 * SECONDS_PER_FRAME
                before = simulation.given(live)
                simulation.read(live)
                if plays_until is None and before:
                    plays_until = now + 32 * SECONDS_PER_FRAME
                if plays_until is not None and now > plays_until + simulation.given(live) / MEL.sample_rate:
                    self.underruns += 1
                    plays_until = now - simulation.given(live) / MEL.sample_rate
            if not simulation.queue.step():
                simulation.clock.now += 0.005
        self.latencies = [
            simulation.ended_at[whole] - simulation.begun_at[whole]
            for whole in self._wholes
            if whole in simulation.ended
        ]

    def _ask(self) -> None:
        try:
            self._wholes.append(self.simulation.whole(WHOLE_FRAMES, client="honest"))
        except QueueFull:
            self.refused += 1

    def _attack(self, now: float) -> None:
        for index, client in enumerate(self._clients):
            work = self._works.get(index)
            if work is None or work in self.simulation.ended:
                if now < self._again.get(index, 0.0):
                    continue
                try:
                    self._works[index] = HOSTILE[self._hostile](self.simulation, client)
                except (QueueFull, TooManyRequests):
                    self._again[index] = now + 0.05
            elif isinstance(work, StreamJob):
                self.simulation.read(work)
                if work.live and work.has_room():
                    work.put(mel_of(256))
                elif self._hostile == "gone after the first audio" and self.simulation.given(work):
                    work.close()


@pytest.mark.parametrize("hostile", HOSTILE)
def test_one_hostile_address_hardly_slows_others(hostile: str) -> None:
    scenario = Scenario(hostile, 1)
    scenario.play()
    assert scenario.refused == 0
    assert len(scenario.latencies) >= SECONDS - 1
    assert np.quantile(scenario.latencies, 0.95) <= 2 * scenario.simulation.seconds(WHOLE_FRAMES)
    assert scenario.underruns == 0


@pytest.mark.parametrize("hostile", ["streamed", "gone after the first audio", "long"])
def test_sixteen_hostile_addresses_that_want_much_do_not_shut_others_out(hostile: str) -> None:
    scenario = Scenario(hostile, CONNECTIONS)
    scenario.play()
    assert scenario.refused == 0
    assert len(scenario.latencies) >= SECONDS - 2
    assert np.quantile(scenario.latencies, 0.95) <= 3 * scenario.simulation.seconds(WHOLE_FRAMES)
    assert scenario.underruns == 0


@pytest.mark.parametrize("hostile", ["streamed", "gone after the first audio", "long"])
@pytest.mark.parametrize("addresses", [1, CONNECTIONS])
def test_a_client_that_needs_most_of_the_processor_gets_it_beside_streams(hostile: str, addresses: int) -> None:
    # 4 s whole and 1 s live each second of what gives 6.3 s: 79 %.
    scenario = Scenario(hostile, addresses, x_real_time=6.3)
    scenario.play()
    assert scenario.refused == 0
    assert len(scenario.latencies) >= SECONDS - 2
    assert np.quantile(scenario.latencies, 0.95) <= 2 * scenario.simulation.seconds(WHOLE_FRAMES)
    assert scenario.underruns == 0


def test_a_long_request_ends_though_others_ask_for_everything() -> None:
    simulation = Simulation()
    long = simulation.whole(5000)
    begun = simulation.clock()
    others = [f"client {index}" for index in range(20)]
    while long not in simulation.ended:
        for client in others:
            if not any(job.client == client for job in simulation.queue._jobs):
                simulation.whole(100, client=client)
        simulation.queue.step()
        assert simulation.clock() < begun + 15 * simulation.seconds(5000)


def test_a_client_may_fill_the_queue_and_others_still_come_in() -> None:
    simulation = Simulation(max_queued_requests=32, max_queued_audio_seconds=1000.0, max_live_streams=32)
    for _ in range(32):
        simulation.whole(1, client="many")
        simulation.stream(live=True, client="many")
    with pytest.raises(QueueFull):
        simulation.whole(1, client="many")
    with pytest.raises(TooManyRequests):
        simulation.stream(live=True, client="many")
    simulation.whole(1, client="another")
    simulation.stream(live=True, client="another")
    simulation.run_dry()
    simulation.whole(80_000, client="much")
    with pytest.raises(QueueFull):
        simulation.check_room(100.0, "much")
    simulation.check_room(100.0, "another")


def test_only_the_client_that_was_refused_has_a_shorter_limit() -> None:
    simulation = Simulation(max_queue_wait_seconds=2.0)
    simulation.whole(3000, client="many")
    simulation.whole(3000, client="many")
    with pytest.raises(QueueFull):
        simulation.check_room(60.0, "many")
    simulation.clock.now += 1.5
    with pytest.raises(QueueFull):
        simulation.check_room(60.0, "many")
    simulation.check_room(20.0, "another")
