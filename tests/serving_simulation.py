"""A queue whose engine pretends to compute, in time that pretends to pass."""

from __future__ import annotations

import asyncio
import math
from typing import TypeVar

import numpy as np

from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.tools.serving.errors import ServingError
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.models import ModelPool
from hifigan_rt.tools.serving.scheduling.jobs import QueuedJob, SharedState, WholeJob
from hifigan_rt.tools.serving.scheduling.order import Arrival
from hifigan_rt.tools.serving.scheduling.queue import JobQueue
from hifigan_rt.tools.serving.scheduling.streams import StreamJob
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry
from serving_models import SECONDS_PER_FRAME, Clock, PretendedEngine, pretended_vocoder

J = TypeVar("J", bound=QueuedJob)

NO_LIMITS = {
    "max_queued_requests": 10**6,
    "max_queued_audio_seconds": 1e9,
    "max_queue_wait_seconds": 1e9,
    "max_live_streams": 10**6,
    "max_urgent_share": 1e9,
}


class Simulation:
    """A queue without its thread, which lets everything in but what is beyond the limits that a test gives."""

    def __init__(
        self, x_real_time: float = 20.0, *, interrupts: bool = False, block_seconds: float = 0.0, **limits: float
    ) -> None:
        self.settings = ServerSettings(**NO_LIMITS | limits)  # type: ignore[arg-type]
        self.clock = Clock()
        self.telemetry = Telemetry()
        self.vocoder = pretended_vocoder(self.clock, x_real_time)
        self.pool = ModelPool({"m": lambda: self.vocoder}, self.telemetry)
        self.lease: ModelLease = asyncio.run(self.pool.lease())
        self.shared = SharedState(self.settings, self.telemetry, self.clock)
        self.queue = JobQueue(self.shared)
        self.ended: dict[QueuedJob, ServingError | None] = {}
        self.ended_at: dict[QueuedJob, float] = {}
        self.begun_at: dict[QueuedJob, float] = {}
        self.heard: dict[QueuedJob, int] = {}
        # The speed is learnt from a first block.
        self.whole(64)
        self.run_dry()
        self.engine.streams.clear()
        self.engine.interrupts, self.engine.block_seconds = interrupts, block_seconds

    @property
    def engine(self) -> PretendedEngine:
        assert isinstance(self.vocoder.engine, PretendedEngine)
        return self.vocoder.engine

    def seconds(self, frames: int) -> float:
        """Of computing."""
        blocks = math.ceil(frames / 256)
        return (blocks - 1) * self.engine.block_seconds + self.engine.seconds(frames)

    def check_room(self, audio_seconds: float, client: str = "", *, streamed: bool = False) -> None:
        self.queue.check_room(arrival(client, audio_seconds, streamed=streamed))

    def whole(self, *frames: int, deadline: float | None = None, client: str = "") -> WholeJob:
        return self._add(WholeJob(self.shared, self.lease, [mel_of(count) for count in frames], deadline, client))

    def stream(self, frames: int = 0, *, live: bool, segment: int = 32, client: str = "") -> StreamJob:
        job = StreamJob(self.shared, self.lease, segment, live=live, client=client)
        job.put(mel_of(frames))
        if not live:
            job.finish()
        return self._add(job)

    def run_dry(self) -> None:
        while self.queue.step():
            pass

    def run_until(self, end: float) -> None:
        while self.clock() < end and self.queue.step():
            pass
        self.clock.now = max(self.clock(), end)

    def read(self, job: StreamJob, most: int = 10**9) -> None:
        """Take pieces of a stream's audio until it is `most` samples."""
        while most > 0 and (audio := job.read()) is not None:
            self.heard[job] = self.heard.get(job, 0) + len(audio)
            most -= len(audio)

    def given(self, job: QueuedJob) -> int:
        """Samples that a stream, or a whole job at its end, has given."""
        if isinstance(job, StreamJob):
            return self.heard.get(job, 0) + job._unread
        assert isinstance(job, WholeJob)
        return sum(map(len, job._audios))

    def _add(self, job: J) -> J:
        end_job = job.end

        def end(error: ServingError | None) -> None:
            assert job not in self.ended
            self.ended[job] = error
            self.ended_at[job] = self.clock()
            end_job(error)

        job.end = end  # type: ignore[method-assign]
        self.queue.add(job)
        self.begun_at[job] = self.clock()
        return job


def arrival(client: str, audio_seconds: float, *, streamed: bool = False) -> Arrival:
    """A request for so much audio."""
    segment_seconds = (32 if streamed else 256) * SECONDS_PER_FRAME
    return Arrival(client, "m", audio_seconds, max(1.0, audio_seconds / segment_seconds), streamed)


def mel_of(frames: int) -> CheckedMel:
    """A mel that takes no memory, however long it is."""
    return CheckedMel(np.broadcast_to(np.float32(-1), (80, frames)))
