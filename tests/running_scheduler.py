"""A scheduler at work, for scenarios that are coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.models import ModelPool
from hifigan_rt.tools.serving.scheduling.scheduler import Scheduler
from hifigan_rt.tools.serving.scheduling.streams import StreamJob
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry
from serving_models import tiny_pool


class Server:
    """A pool, a scheduler, and a lease on the tiny model."""

    def __init__(self, pool: ModelPool, scheduler: Scheduler, lease: ModelLease, telemetry: Telemetry) -> None:
        self.pool, self.scheduler, self.lease, self.telemetry = pool, scheduler, lease, telemetry


@asynccontextmanager
async def serving(pool: ModelPool | None = None, **limits: Any) -> AsyncIterator[Server]:
    pool = pool or tiny_pool()
    telemetry = Telemetry()
    # What a machine can compute in time is not for a test to know.
    scheduler = Scheduler(ServerSettings(**{"max_queue_wait_seconds": 1e6} | limits), telemetry)
    try:
        with await pool.lease("tiny") as lease:
            yield Server(pool, scheduler, lease, telemetry)
    finally:
        await scheduler.close()
        await pool.close()


async def collect(stream: StreamJob) -> np.ndarray:
    return np.concatenate([np.empty(0, np.float32), *[audio async for audio in stream]])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)
