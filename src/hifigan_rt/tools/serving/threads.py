"""Long work that requests wait for, in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def in_thread(threads: Executor, work: Callable[[threading.Event], T]) -> T:
    """Do long work in a thread; when the call is cancelled, it returns after the work has ended.

    Args:
        threads: whose thread does it.
        work: is given an event to look at, which is set when nobody waits for the result any more.
    """
    given_up = threading.Event()
    future = threads.submit(work, given_up)
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
