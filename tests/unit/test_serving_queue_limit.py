"""How long requests wait: bursts, clients that take turns, and overloads that last."""

from __future__ import annotations

import pytest

from hifigan_rt.tools.serving.errors import QueueFull
from hifigan_rt.tools.serving.scheduling.policy import CALM_SECONDS
from serving_models import SECONDS_PER_FRAME
from serving_simulation import Simulation

FRAMES = 86
AUDIO_SECONDS = FRAMES * SECONDS_PER_FRAME


class Arrivals:
    """Requests of a second of audio, which the queue lets in or not."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.computing = simulation.seconds(FRAMES)
        self.refused = 0

    def come(self) -> bool:
        try:
            self.simulation.check_room(AUDIO_SECONDS)
        except QueueFull:
            self.refused += 1
            return False
        self.simulation.whole(FRAMES)
        return True

    @property
    def waits(self) -> list[float]:
        """From coming to the end, of those let in that have ended."""
        begun, ended = self.simulation.begun_at, self.simulation.ended_at
        return [ended[job] - begun[job] for job in ended]

    def flood(self, seconds: float, factor: float = 10.0) -> None:
        """`factor` times as many as can be computed."""
        begun = self.simulation.clock()
        for number in range(int(seconds * factor / self.computing)):
            self.simulation.run_until(begun + number * self.computing / factor)
            self.come()


def test_a_burst_is_let_in_whole() -> None:
    arrivals = Arrivals(Simulation(max_queue_wait_seconds=5.0))
    for _ in range(int(5.0 / arrivals.computing)):
        assert arrivals.come()
    arrivals.simulation.run_dry()
    assert max(arrivals.waits) == pytest.approx(5.0, abs=0.1)


def test_clients_that_take_turns_are_never_refused() -> None:
    arrivals = Arrivals(Simulation(x_real_time=5.0, max_queue_wait_seconds=5.0))
    for _ in range(200):
        while len(arrivals.simulation.queue._jobs) < 20:
            assert arrivals.come()
        arrivals.simulation.queue.step()


def test_under_a_lasting_overload_those_let_in_are_answered_soon_and_the_processor_is_never_idle() -> None:
    arrivals = Arrivals(Simulation(max_queue_wait_seconds=5.0))
    arrivals.flood(10.0)
    begun, ended = arrivals.simulation.clock(), len(arrivals.simulation.ended)
    arrivals.flood(50.0)
    assert max(arrivals.waits[ended:]) <= 0.25 + 2.5 * arrivals.computing
    computed = (len(arrivals.simulation.ended) - ended) * arrivals.computing
    assert computed >= 0.99 * (arrivals.simulation.clock() - begun)


def test_when_nothing_was_refused_for_a_while_bursts_are_let_in_again() -> None:
    arrivals = Arrivals(Simulation(max_queue_wait_seconds=5.0))
    arrivals.flood(10.0)
    arrivals.simulation.run_dry()
    arrivals.simulation.clock.now += CALM_SECONDS
    for _ in range(int(4.0 / arrivals.computing)):
        assert arrivals.come()


def test_a_server_that_lets_nobody_wait_long_lets_nobody_wait_longer_under_overload() -> None:
    arrivals = Arrivals(Simulation(max_queue_wait_seconds=0.2))
    arrivals.flood(5.0)
    assert max(arrivals.waits) <= 0.2 + 2.5 * arrivals.computing


def test_too_much_audio_is_no_overload() -> None:
    simulation = Simulation(max_queued_audio_seconds=1000.0, max_queue_wait_seconds=10.0)
    simulation.whole(4000)
    with pytest.raises(QueueFull):
        simulation.check_room(990.0)
    arrivals = Arrivals(simulation)
    for _ in range(int(2.0 / arrivals.computing)):
        assert arrivals.come()
