"""Threads that make a voice's latents of text: a sentence at a time, two at once, shared among clients."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from hifigan_rt.tools.serving.errors import QueueFull
from hifigan_rt.tools.serving.scheduling.clients import ClientUse
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry
from hifigan_rt.tools.serving.threads import in_thread

T = TypeVar("T")

_AT_ONCE = 2
"""Each takes up to a quarter of a gigabyte."""


@dataclass(eq=False)
class _WaitingSentence:
    client: str
    begun: bool
    granted: asyncio.Future[None]


class TextParts:
    """Lets sentences in, those of the client first that has used least lately; belongs to the event loop.

    A long sentence takes seconds, so that a line in the order of arrival would be as long as one client likes.
    """

    def __init__(
        self, settings: ServerSettings, telemetry: Telemetry, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._telemetry, self._clock = settings, telemetry, clock
        self._threads = ThreadPoolExecutor(_AT_ONCE, "hifigan-text-parts")
        self._use = ClientUse()
        self._waiting: list[_WaitingSentence] = []
        self._running = 0

    async def run(self, client: str, work: Callable[[], T], *, begun: bool) -> T:
        """Do the work of one sentence; when the call is cancelled, it returns after the work has ended.

        Args:
            client: whose sentence it is.
            work: is called in a thread.
            begun: whether something of the text was heard: then the sentence goes before others of its client, and
                waits as long as it takes.

        Raises:
            QueueFull: it had to wait longer than the queue lets anybody wait.
        """
        await self._turn(client, begun=begun)
        began = self._clock()
        try:
            return await in_thread(self._threads, lambda _: work())
        finally:
            now = self._clock()
            self._use.book(client, now - began, now)
            self._end_turn()

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, client: str, *, begun: bool) -> None:
        waiting = _WaitingSentence(client, begun, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._let_in()
        is_turn = False
        try:
            async with asyncio.timeout(None if begun else self._settings.max_queue_wait_seconds):
                await waiting.granted
            is_turn = True
        except TimeoutError as error:
            raise self._full() from error
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            elif not is_turn:
                self._end_turn()  # it was let in at the very moment in which it was given up

    def _end_turn(self) -> None:
        self._running -= 1
        self._let_in()

    def _let_in(self) -> None:
        now = self._clock()
        while self._running < _AT_ONCE:
            # Of equal ones the first to come; who is given up has not been told yet, and leaves by itself.
            following = min(
                (one for one in self._waiting if not one.granted.done()),
                key=lambda one: (self._use.seconds(one.client, now), not one.begun), default=None,
            )  # fmt: skip
            if following is None:
                return
            self._waiting.remove(following)
            self._running += 1
            following.granted.set_result(None)

    def _full(self) -> QueueFull:
        self._telemetry.rejected(QueueFull.code)
        return QueueFull(
            f"the server is busy: {len(self._waiting)} sentences wait for their turn; try again later",
            float(math.ceil(min(30.0, max(1.0, self._settings.max_queue_wait_seconds / 2)))),
        )
