"""When a connection is ended whose client does not read: transport and time are the test's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from hifigan_rt.tools.serving.connection_guards import ConnectionGuard, OpenConnections, read_at_once
from hifigan_rt.tools.serving.settings import ServerSettings

TIMEOUT = 7.0


class HeldTransport(asyncio.Transport):
    """A transport whose client takes in what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent, self.aborted = 0, False

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True


class Timers:
    """The timers that a guard has set."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.cancelled = 0

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timers:
        self.due.append((seconds, callback))
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def fire(self) -> None:
        [(seconds, callback)] = self.due
        assert seconds == TIMEOUT
        self.due.clear()
        callback()


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> tuple[ConnectionGuard, HeldTransport, Timers]:
    timers: Any = Timers()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: timers)
    guard, transport = ConnectionGuard(), HeldTransport()
    guard.open_connections, guard.limits = OpenConnections(1), ServerSettings(write_timeout_seconds=TIMEOUT)
    guard.connection_made(transport)
    return guard, transport, timers


def test_who_takes_in_little_by_little_is_left_alone(guarded: tuple[ConnectionGuard, HeldTransport, Timers]) -> None:
    guard, transport, timers = guarded
    transport.unsent = 100_000
    guard.pause_writing()
    for _ in range(20):
        transport.unsent -= 4096
        timers.fire()
        assert not transport.aborted
    guard.resume_writing()
    assert timers.cancelled == 1


@pytest.mark.parametrize("taken", [0, 4095])
def test_who_takes_in_next_to_nothing_loses_the_connection(
    guarded: tuple[ConnectionGuard, HeldTransport, Timers], taken: int
) -> None:
    guard, transport, timers = guarded
    transport.unsent = 100_000
    guard.pause_writing()
    transport.unsent -= taken
    timers.fire()
    assert transport.aborted
    assert not timers.due


def test_a_lost_connection_is_watched_no_longer(guarded: tuple[ConnectionGuard, HeldTransport, Timers]) -> None:
    guard, _, timers = guarded
    guard.pause_writing()
    guard.connection_lost(None)
    assert timers.cancelled == 1


class Counted:
    """A connection as `OpenConnections` sees it."""

    def __init__(self, address: str) -> None:
        self.address, self.waits_for_request, self.waits_for_body, self.given_up = address, True, False, False

    def give_up(self) -> None:
        self.given_up = True


class Arrivals:
    """Connections that come one after the other, most of them to begin something at once."""

    def __init__(self, most: int) -> None:
        self.counted: Any = OpenConnections(most)
        self.all: list[Counted] = []

    def come(self, address: str, then: str = "idle") -> None:
        connection = Counted(address)
        self.all.append(connection)
        self.counted.add(connection)
        connection.waits_for_request, connection.waits_for_body = then == "idle", then == "body"

    @property
    def given_up(self) -> list[int]:
        return [number for number, connection in enumerate(self.all) if connection.given_up]


def test_beyond_the_most_the_oldest_that_waits_gives_way_of_who_has_most() -> None:
    arrivals = Arrivals(5)
    arrivals.come("first", "busy")
    for address in ("first", "first", "first", "second", "third", "second"):
        arrivals.come(address)
    assert arrivals.given_up == [1, 2]
    arrivals.counted.remove(arrivals.all[4])
    arrivals.counted.remove(arrivals.all[1])  # it was closed and is gone already
    arrivals.come("fourth")
    assert arrivals.given_up == [1, 2]


def test_if_none_waits_the_last_that_came_is_closed() -> None:
    arrivals = Arrivals(2)
    for address in ("first", "first", "second"):
        arrivals.come(address, "busy")
    assert arrivals.given_up == [2]


def test_bodies_on_their_way_give_way_to_an_address_that_has_fewer() -> None:
    arrivals = Arrivals(4)
    arrivals.come("first", "busy")
    for address in ("first", "first", "second", "second", "second"):
        arrivals.come(address, "body")
    assert arrivals.given_up == [1, 5]


def test_less_is_read_at_once_of_what_takes_long_to_parse():
    size = 8 << 10
    for _ in range(5):
        size = read_at_once(size, 0.003)
    assert size == 512
    assert read_at_once(size, 0.001) == 512
    for _ in range(12):
        size = read_at_once(size, 0.0001)
    assert size == 256 << 10


def test_a_connection_reads_as_much_as_its_last_bytes_allow():
    class Protocol(asyncio.Protocol):
        seconds = 0.0

        def data_received(self, data: bytes) -> None:
            time.sleep(self.seconds)

    class Guarded(ConnectionGuard, Protocol):
        open_connections = OpenConnections(1)

    transport = HeldTransport()
    transport.max_size = 256 << 10
    guarded = Guarded()
    guarded.connection_made(transport)
    assert transport.max_size == 8 << 10
    guarded.seconds = 0.005
    guarded.data_received(b"")
    assert transport.max_size == 2 << 10
