"""Access to the engine for everything in the server: whole requests, streamed responses, live streams."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np

from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.tools.serving.errors import BadRequest
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.scheduling.jobs import SharedState, WholeJob
from hifigan_rt.tools.serving.scheduling.order import Arrival
from hifigan_rt.tools.serving.scheduling.queue import JobQueue
from hifigan_rt.tools.serving.scheduling.streams import StreamJob
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry


class Scheduler:
    """Queue and the one thread that computes its blocks. Its methods belong to an event loop."""

    def __init__(self, settings: ServerSettings, telemetry: Telemetry) -> None:
        """Start the thread."""
        self._settings = settings
        self._telemetry = telemetry
        self._shared = SharedState(settings, telemetry)
        self._queue = JobQueue(self._shared)
        self._thread = threading.Thread(target=self._queue.run, name="hifigan-scheduler", daemon=True)
        self._thread.start()

    def check_room(self, lease: ModelLease, least_frames: int = 0, *, client: str = "", streamed: bool = False) -> None:
        """Refuse a request before more is done for it; the methods that compute decide when its length is known.

        Args:
            lease: the model.
            least_frames: number of frames that the request has at least.
            client: whose request it is; here as in the other methods, see `hifigan_rt.tools.serving.clients`.
            streamed: whether the audio is sent while it is computed.

        Raises:
            QueueFull: with the seconds after which another try is worth while.
            ShuttingDown: the server takes no new work.
        """
        whole_frames = lease.vocoder.engine.offline_segment_frames or self._settings.block_frames
        segment_frames = self._settings.streamed_segment_frames if streamed else whole_frames
        blocks = max(1.0, least_frames / segment_frames)
        self._queue.check_room(Arrival(client, lease.name, lease.audio_seconds(least_frames), blocks, streamed))

    async def synthesize(
        self,
        lease: ModelLease,
        mels: Sequence[CheckedMel],
        conditioning: np.ndarray | None = None,
        *,
        client: str = "",
        deadline: float | None = None,
    ) -> list[np.ndarray]:
        """Compute whole mels; cancelling the call stops the computing.

        Args:
            lease: the model; it may be released as soon as the call has ended, however it ended.
            mels: `[M, T_i]` each.
            conditioning: what the model takes beside them, of `ModelLease.conditioning`.
            client: whose request it is.
            deadline: time on the monotonic clock; None waits as long as it takes.

        Returns:
            float32 `[N_i]` each: bit for bit what the vocoder gives, on engine native.

        Raises:
            QueueFull, ShuttingDown: at once, see `check_room`.
            DeadlineExceeded: not finished in time; what was computed is lost.
            EngineFailed: the engine failed.
        """
        if not mels:
            raise BadRequest("the request holds no mel")
        job = WholeJob(self._shared, lease, mels, deadline, client, conditioning)
        self._queue.add(job)
        self._telemetry.batch(lease.name, len(mels))
        try:
            audios = await job.result()
        finally:
            job.close()
        self._telemetry.computed(lease.name, job.busy_seconds)
        return audios

    def stream_request(
        self,
        lease: ModelLease,
        mel: CheckedMel,
        conditioning: np.ndarray | None = None,
        *,
        client: str = "",
        goes_on: bool = False,
    ) -> StreamJob:
        """Begin to compute a mel whose audio leaves while it is computed.

        Args:
            lease: the model; it may be released at once.
            mel: `[M, T]`.
            conditioning: what the model takes beside it, of `ModelLease.conditioning`.
            client: whose request it is.
            goes_on: whether it is the next part of an answer that has begun, which has no limit of its own.

        Returns:
            An asynchronous iterator of float32 `[n]`; must be closed.

        Raises:
            QueueFull, ShuttingDown: at once, see `check_room`.
            BadRequest: the model cannot stream.
        """
        frames = self._settings.streamed_segment_frames
        job = StreamJob(self._shared, lease, frames, live=False, client=client, conditioning=_one(conditioning))
        job.put(mel)
        job.finish()
        self._queue.add(job, goes_on=goes_on)
        self._telemetry.batch(lease.name, 1)
        return job

    def open_stream(
        self,
        lease: ModelLease,
        conditioning: np.ndarray | None = None,
        *,
        client: str = "",
        segment_frames: int | None = None,
    ) -> StreamJob:
        """Open a stream whose frames come little by little.

        Args:
            lease: the model; it may be released at once.
            conditioning: what the model takes beside the mel, of `ModelLease.conditioning`.
            client: whose stream it is.
            segment_frames: frames that are computed together; the settings' `live_segment_frames` by default.

        Raises:
            TooManyRequests: as many are open as may be, or as the processor can keep fed.
            ShuttingDown: the server takes no new work.
            BadRequest: the model cannot stream, or not in such segments.
        """
        frames = self._settings.live_segment_frames if segment_frames is None else segment_frames
        if not 1 <= frames <= self._settings.max_live_segment_frames:
            raise BadRequest(f"segment_frames={frames} must be from 1 to {self._settings.max_live_segment_frames}")
        job = StreamJob(self._shared, lease, frames, live=True, client=client, conditioning=_one(conditioning))
        self._queue.add(job)
        return job

    @property
    def idle(self) -> bool:
        """Whether no work is left."""
        return self._queue.idle

    async def close(self) -> None:
        """Take no new work, and end what is not finished with ShuttingDown; closing twice is allowed."""
        self._queue.stop()
        await asyncio.to_thread(self._thread.join)
        self._queue.end_all()


def _one(conditioning: np.ndarray | None) -> np.ndarray | None:
    return None if conditioning is None else np.asarray(conditioning[0])
