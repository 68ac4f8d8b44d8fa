"""Work beside the queue: who comes next, who is refused, and that no turn is lost."""

from __future__ import annotations

import asyncio
import threading

import pytest

from hifigan_rt.tools.serving.errors import QueueFull, ShuttingDown
from hifigan_rt.tools.serving.fair_threads import FairThreads
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry

pytestmark = pytest.mark.anyio


class Line:
    """Pieces whose work ends when it is told to."""

    def __init__(self, wait_seconds: float = 60) -> None:
        settings = ServerSettings(max_queue_wait_seconds=wait_seconds)
        self.threads = FairThreads("sentences", 2, settings, Telemetry(), lambda: self.now)
        self.now = 0.0
        self.began: list[str] = []
        self._ends: dict[str, threading.Event] = {}

    def add(self, name: str, *, patient: bool = False) -> asyncio.Task[str]:
        """A piece of the client that the first letter names."""
        end = self._ends[name] = threading.Event()

        def work(_: threading.Event) -> str:
            self.began.append(name)
            end.wait(30)
            return name

        return asyncio.ensure_future(self.threads.run(name[0], work, patient=patient))

    async def until_begun(self, count: int) -> list[str]:
        """Those that have begun; of two that were let in together either may be first."""
        while len(self.began) < count:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        return self.began

    async def end(self, name: str, *, after_seconds: float = 1.0) -> None:
        self.now += after_seconds
        self._ends[name].set()


async def test_a_client_that_sends_many_does_not_keep_another_waiting():
    line = Line()
    many = [line.add(f"a{number}") for number in range(8)]
    assert sorted(await line.until_begun(2)) == ["a0", "a1"]
    one = line.add("b0")
    await line.end("a1")
    assert (await line.until_begun(3))[2:] == ["b0"]
    await line.end("b0")
    assert await one == "b0"
    for name in ("a0", *(f"a{number}" for number in range(2, 8))):
        await line.until_begun(line.began.index(name) + 1 if name in line.began else len(line.began) + 1)
        await line.end(name)
    assert await asyncio.gather(*many) == [f"a{number}" for number in range(8)]
    assert line.began[3:] == [f"a{number}" for number in range(2, 8)]
    line.threads.close()


async def test_what_is_being_heard_goes_before_what_begins():
    line = Line(wait_seconds=0.05)
    both = [line.add("a0"), line.add("a1")]
    await line.until_begun(2)
    new, heard = line.add("a2"), line.add("a3", patient=True)
    with pytest.raises(QueueFull) as caught:
        await new
    assert caught.value.retry_after_seconds == 1
    assert "2 sentences wait" in caught.value.message
    await line.end("a0")
    assert (await line.until_begun(3))[2:] == ["a3"]
    for name in ("a1", "a3"):
        await line.end(name)
    assert await asyncio.gather(*both, heard) == ["a0", "a1", "a3"]
    line.threads.close()


async def test_no_turn_is_lost_with_those_who_give_up():
    line = Line()
    running = [line.add("a0"), line.add("a1")]
    await line.until_begun(2)
    waiting, just_let_in = line.add("a2"), line.add("a3")
    await asyncio.sleep(0.01)
    waiting.cancel()
    await line.end("a0")
    assert await running[0] == "a0"
    just_let_in.cancel()  # whether it has begun or not
    for name in ("a1", "a3"):
        await line.end(name)
    done = await asyncio.gather(waiting, just_let_in, return_exceptions=True)
    assert all(isinstance(error, asyncio.CancelledError) for error in done)
    more = [line.add("b0"), line.add("b1")]
    assert sorted(await line.until_begun(len(line.began) + 2))[-2:] == ["b0", "b1"]
    for name in ("b0", "b1"):
        await line.end(name)
    assert await asyncio.gather(*more) == ["b0", "b1"]
    assert await running[1] == "a1"
    line.threads.close()


async def test_those_who_wait_at_the_end_are_given_up():
    line = Line()
    running = [line.add("a0"), line.add("a1")]
    await line.until_begun(2)
    waiting = line.add("a2", patient=True)
    await asyncio.sleep(0.01)
    line.threads.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    for name in ("a0", "a1"):
        await line.end(name)
    assert await asyncio.gather(*running) == ["a0", "a1"]
    with pytest.raises(ShuttingDown):
        await line.add("b0", patient=True)
    assert sorted(line.began) == ["a0", "a1"]


async def test_who_is_let_in_at_the_very_end_begins_nothing():
    loop, end, ending = asyncio.get_running_loop(), threading.Event(), threading.Event()

    def clock() -> float:
        if ending.is_set():  # asked before the next one is let in, which so finds the threads closed
            loop.call_soon(threads.close)
        return 0.0

    threads = FairThreads("sentences", 1, ServerSettings(), Telemetry(), clock)
    first = asyncio.ensure_future(threads.run("a", lambda _: end.wait(30), patient=True))
    second = asyncio.ensure_future(threads.run("b", lambda _: end.wait(30), patient=True))
    await asyncio.sleep(0.01)
    ending.set()
    end.set()
    assert await first
    with pytest.raises(ShuttingDown):
        await second
