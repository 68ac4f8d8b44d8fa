"""The one budget of memory that everything shares that requests become: bodies, samples, mels, audio, answers.

- What a request states, by its headers or in its body's own header, is counted in one step before it is made. Until
  there is room it waits as long as the queue lets anybody wait; then it gets 503 with Retry-After.
- Who holds much does not wait: two that wait for each other's memory would wait for ever. Beyond a 64th of the budget,
  more is given at once or not at all.
- What could never fit is refused with 413, with both numbers, whatever else is going on.
- Large requests leave a quarter of the budget to small ones.
- A client has it all but a sixteenth while nobody else waits. While another client waits, three quarters are shared
  equally among those who hold or wait: what would take a client beyond its share waits too. A client's only request
  is as large as it likes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import Protocol

from hifigan_rt.system.machine import give_back_memory, memory_limit, resident_memory
from hifigan_rt.tools.serving.errors import PayloadTooLarge, QueueFull
from hifigan_rt.tools.serving.scheduling.clients import count, has_room, reserve_of
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry

logger = logging.getLogger(__name__)

MAX_DEFAULT_BYTES = 10**9
"""Largest budget unless the operator gives one: it holds an hour of audio, from its recording to its answer."""

_MIN_DEFAULT_BYTES = 64 << 20
_SMALL_SHARE = 1 / 64
_LARGE_SHARE = 3 / 4
_GIVEN_BACK_FROM_BYTES = 16 << 20
"""Released bytes from which the C library is asked to return memory to the system."""
_GIVE_BACK_AFTER_SECONDS = 0.5


class Holder(Protocol):
    """Whatever memory is counted for: the record of a request."""

    client: str
    held_bytes: int


@dataclass(eq=False)
class _Waiting:
    holder: Holder
    wanted_bytes: int
    granted: asyncio.Future[None]


class MemoryBudget:
    """Counts the bytes that requests take, and lets nobody take more than there are.

    `reserve` belongs to the event loop; the other methods may be called from any thread.
    """

    def __init__(self, settings: ServerSettings, telemetry: Telemetry) -> None:
        self._settings, self._telemetry = settings, telemetry
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._held_of: Counter[str] = Counter()  # bytes of each client that holds any
        self._waiting_of: Counter[str] = Counter()  # requests of each client that waits
        self._released_bytes = 0  # since memory was given back
        self._giving_back: asyncio.TimerHandle | None = None
        self.held_bytes = 0
        """Bytes that all holders together have."""
        self.total_bytes = settings.memory_budget_bytes or MAX_DEFAULT_BYTES
        """Bytes that they may have."""
        self._show()

    @property
    def most_bytes(self) -> int:
        """Bytes that one request can ever have."""
        return int(self.total_bytes * _LARGE_SHARE)

    @property
    def small_bytes(self) -> int:
        """Bytes up to which a request is small."""
        return int(self.total_bytes * _SMALL_SHARE)

    def fit_to_machine(self) -> None:
        """Take half of what the models leave of this process's memory, at most 1 GB, unless the operator said how much.

        To be called when a model was loaded.
        """
        if self._settings.memory_budget_bytes is None:
            limit = memory_limit()
            left = MAX_DEFAULT_BYTES if limit is None else max(0, limit - resident_memory() + self.held_bytes) // 2
            self.total_bytes = max(_MIN_DEFAULT_BYTES, min(MAX_DEFAULT_BYTES, left))
            self._show()

    async def reserve(self, holder: Holder, wanted_bytes: int) -> None:
        """Let a holder have so many bytes in all, before it makes what they are for.

        Raises:
            PayloadTooLarge: more than one request can ever have.
            QueueFull: there is no room, and was none in the time that the queue lets anybody wait.
        """
        self._check_possible(wanted_bytes)
        with self._lock:
            if self._give(holder, wanted_bytes):
                return
            if holder.held_bytes > self.small_bytes:
                raise self._full(holder)
            waiting = _Waiting(holder, wanted_bytes, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            count(self._waiting_of, holder.client, 1)
        try:
            async with asyncio.timeout(self._settings.max_queue_wait_seconds):
                await waiting.granted
        except TimeoutError as error:
            raise self._full(holder) from error
        finally:
            with self._lock:
                if waiting in self._waiting and self._remove(waiting):
                    self._give_to_waiting()  # others were held to their shares for this client

    def grow(self, holder: Holder, wanted_bytes: int) -> None:
        """Let a holder have so many bytes in all, at once or not at all; fewer than it has are given back.

        Raises:
            PayloadTooLarge: more than one request can ever have.
            QueueFull: there is no room now.
        """
        self._check_possible(wanted_bytes)
        with self._lock:
            if not self._give(holder, wanted_bytes):
                raise self._full(holder)

    def release(self, holder: Holder) -> None:
        """Take back all that a holder has; called on the event loop."""
        with self._lock:
            self._released_bytes += holder.held_bytes
            self._give(holder, 0)
            due = self._released_bytes >= _GIVEN_BACK_FROM_BYTES and self._giving_back is None
        if due:
            loop = asyncio.get_running_loop()
            self._giving_back = loop.call_later(_GIVE_BACK_AFTER_SECONDS, self._give_back, loop)

    def close(self) -> None:
        """Give nothing back to the system any more."""
        if self._giving_back is not None:
            self._giving_back.cancel()

    def _give_back(self, loop: asyncio.AbstractEventLoop) -> None:
        self._giving_back = None
        self._released_bytes = 0
        loop.run_in_executor(None, give_back_memory)

    def _give(self, holder: Holder, wanted_bytes: int) -> bool:
        more = wanted_bytes - holder.held_bytes
        if more > 0 and not self._has_room(holder, wanted_bytes):
            return False
        holder.held_bytes = wanted_bytes
        self.held_bytes += more
        count(self._held_of, holder.client, more)
        if more < 0:
            self._give_to_waiting()
        self._show()
        return True

    def _has_room(self, holder: Holder, wanted_bytes: int) -> bool:
        held_bytes = self.held_bytes - holder.held_bytes + wanted_bytes
        most = self.total_bytes if wanted_bytes <= self.small_bytes else self.most_bytes
        others_bytes = self._held_of[holder.client] - holder.held_bytes
        if not others_bytes:
            return held_bytes <= most
        clients, reserve = 1, reserve_of(self.total_bytes)
        if len(self._waiting_of) > (holder.client in self._waiting_of):
            clients = len({holder.client} | self._held_of.keys() | self._waiting_of.keys())
            reserve = most - self.most_bytes
        return has_room(others_bytes + wanted_bytes, held_bytes, clients, most, reserve)

    def _give_to_waiting(self) -> None:
        given = True
        while given:  # again, since others are held to their shares only as long as somebody waits
            given = False
            for waiting in list(self._waiting):
                if not waiting.granted.done() and self._give(waiting.holder, waiting.wanted_bytes):
                    self._remove(waiting)
                    waiting.granted.get_loop().call_soon_threadsafe(_grant, waiting.granted)
                    given = True

    def _remove(self, waiting: _Waiting) -> bool:
        """Let a request wait no more; whether its client has no other that does."""
        self._waiting.remove(waiting)
        count(self._waiting_of, waiting.holder.client, -1)
        return waiting.holder.client not in self._waiting_of

    def _check_possible(self, wanted_bytes: int) -> None:
        if wanted_bytes > self.most_bytes:
            raise PayloadTooLarge(
                f"the request would take {_mb(wanted_bytes)} MB of memory, and one may take {_mb(self.most_bytes)} MB: "
                "send less at once; the server's --memory-budget is the limit"
            )

    def _full(self, holder: Holder) -> QueueFull:
        self._telemetry.rejected(QueueFull.code)
        return QueueFull(
            f"requests hold {_mb(self.held_bytes)} MB of the server's {_mb(self.total_bytes)} MB, "
            f"{_mb(self._held_of[holder.client])} MB of them yours, and there is no room for this one: try again later",
            self._settings.retry_after_seconds,
        )

    def _show(self) -> None:
        self._telemetry.memory(self.total_bytes, self.held_bytes)


def _grant(granted: asyncio.Future[None]) -> None:
    if not granted.done():
        granted.set_result(None)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f}"
