"""Work that is done on the event loop in pieces: parsing and unpacking bodies, writing long JSON.

Each piece is short, since everybody waits for it, and one runs at a time, those of all requests by turns. While the
queue has work, the loop rests after each: a core that parses strangers' bodies is missing to the engine, whose threads
wait for each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import TypeVar

T = TypeVar("T")

REST = 4.0
"""Rest after a piece over the time that it took, while the queue has work: a fifth of a core is left to all pieces."""


class LoopPieces:
    """Turns of all that is done in pieces."""

    def __init__(
        self,
        busy: Callable[[], bool],
        clock: Callable[[], float] = time.perf_counter,
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """
        Args:
            busy: tells whether the queue has work.
            clock, rest: replaced by tests.
        """
        self._busy, self._clock, self._rest = busy, clock, rest
        self._turn = asyncio.Lock()
        self._threads, self._threads_lock = 0, threading.Lock()

    async def run(self, work: Generator[None, None, T]) -> T:
        """Run a generator, which yields after every piece, to its end."""
        while True:
            async with self._turn:
                began = self._clock()
                try:
                    next(work)
                except StopIteration as end:
                    result: T = end.value
                    return result
                await self._rest(REST * (self._clock() - began) if self._busy() else 0.0)

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[Callable[[float], float]]:
        """Do long work in a thread of its own, by the same rule: all such threads together leave as much as the loop.

        Yields:
            What tells the rest after a piece that took so many seconds.
        """

        def rest_seconds(took: float) -> float:
            return ((1 + REST) * self._threads - 1) * took if self._busy() else 0.0

        with self._threads_lock:
            self._threads += 1
        try:
            yield rest_seconds
        finally:
            with self._threads_lock:
                self._threads -= 1
