"""Threads for work beside the queue, a piece at a time in each, shared among clients."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from hifigan_rt.tools.serving.errors import QueueFull, ShuttingDown
from hifigan_rt.tools.serving.scheduling.clients import ClientUse
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry

T = TypeVar("T")


@dataclass(eq=False)
class _WaitingPiece:
    client: str
    patient: bool
    granted: asyncio.Future[None]


class FairThreads:
    """Lets pieces of work in, those of the client first that has used least lately; belongs to the event loop.

    A piece takes seconds, so that a line in the order of arrival would be as long as one client likes.
    """

    def __init__(
        self,
        name: str,
        most: int,
        settings: ServerSettings,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            name: what the work is, in the plural.
            most: how many pieces run at a time.
            settings: tell how long anybody may be let wait.
            telemetry: counts who is refused.
            clock: gives seconds.
        """
        self._name, self._most = name, most
        self._settings, self._telemetry, self._clock = settings, telemetry, clock
        self._threads = ThreadPoolExecutor(most, f"hifigan-{name}")
        self._use = ClientUse()
        self._waiting: list[_WaitingPiece] = []
        self._running = 0

    async def run(self, client: str, work: Callable[[threading.Event], T], *, patient: bool) -> T:
        """Do a piece of work; when the call is cancelled, it returns after the work has ended.

        Args:
            client: whose it is.
            work: is called in a thread, with an event to look at that is set when nobody waits for the result any more.
            patient: whether it waits as long as it takes, and goes before what would be refused of its client.

        Raises:
            QueueFull: it had to wait longer than the queue lets anybody wait.
            ShuttingDown: nothing begins any more.
        """
        await self._turn(client, patient=patient)
        began = self._clock()
        try:
            return await self._done(work)
        finally:
            now = self._clock()
            self._use.book(client, now - began, now)
            self._end_turn()

    def close(self) -> None:
        """Begin nothing more; those who wait are given up."""
        self._most = 0
        for waiting in self._waiting:
            waiting.granted.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check_open(self) -> None:
        if self._most == 0:
            raise ShuttingDown("the server is shutting down")

    async def _done(self, work: Callable[[threading.Event], T]) -> T:
        self._check_open()  # which may have changed since it was let in
        given_up = threading.Event()
        future = self._threads.submit(work, given_up)
        waiting = asyncio.wrap_future(future)
        # Looked at whatever becomes of the call: asyncio logs errors that nobody takes.
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            given_up.set()
            # What has not begun never will. What has begun holds memory, which counts until it ends.
            if not future.cancel():
                await asyncio.wait((waiting,))
            raise

    async def _turn(self, client: str, *, patient: bool) -> None:
        self._check_open()
        waiting = _WaitingPiece(client, patient, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._let_in()
        is_turn = False
        try:
            async with asyncio.timeout(None if patient else self._settings.max_queue_wait_seconds):
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
        while self._running < self._most:
            # Of equal ones the first to come; who is given up has not been told yet, and leaves by itself.
            following = min(
                (one for one in self._waiting if not one.granted.done()),
                key=lambda one: (self._use.seconds(one.client, now), not one.patient), default=None,
            )  # fmt: skip
            if following is None:
                return
            self._waiting.remove(following)
            self._running += 1
            following.granted.set_result(None)

    def _full(self) -> QueueFull:
        self._telemetry.rejected(QueueFull.code)
        return QueueFull(
            f"the server is busy: {len(self._waiting)} {self._name} wait for their turn; try again later",
            self._settings.retry_after_seconds,
        )
