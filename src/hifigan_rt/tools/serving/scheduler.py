"""The door to the processor for everything in the server: whole requests, streamed responses, live streams.

Work is cut into blocks of frames, and one thread computes one block at a time on all cores; between blocks it decides
anew whose is next (`ordering`). Blocks are not batched: on the native engine a batch of eight gains 3 to 5 % per item
(docs/figures.md), and would make the first of them wait for the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from hifigan_rt.graph import MAX_FRAMES
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.tools.serving.dispatcher import Dispatcher
from hifigan_rt.tools.serving.errors import BadRequest, MelInvalid, ServingError
from hifigan_rt.tools.serving.models import ModelLease
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry
from hifigan_rt.tools.serving.work import StreamWork, WholeWork

_SECONDS_BETWEEN_LOOKS = 0.02


class Scheduler:
    """Shares the processor out. Its methods belong to an event loop; the computing is done by a thread of its own."""

    def __init__(self, settings: ServerSettings, telemetry: Telemetry) -> None:
        """Start the thread."""
        self._settings = settings
        self._telemetry = telemetry
        self._dispatcher = Dispatcher(settings, telemetry)
        self._dispatcher.start()

    def deadline_in(self, seconds: float) -> float:
        """The deadline so many seconds from now, as the other methods take it."""
        return time.monotonic() + seconds

    def admit(self, lease: ModelLease, frames: int) -> None:
        """Refuse at once what could not be computed soon. `synthesize` and `stream_request` ask this themselves.

        Args:
            lease: the model.
            frames: of all mels of the request; 0 asks whether anything at all is let in.

        Raises:
            QueueFull: with the seconds after which another try is worth while.
            ShuttingDown: the server takes no new work.
        """
        try:
            self._dispatcher.check_room(lease.name, lease.audio_seconds(frames))
        except ServingError as error:
            self._telemetry.rejected(error.code)
            raise

    async def synthesize(
        self, lease: ModelLease, mels: Sequence[CheckedMel], *, deadline: float | None = None
    ) -> list[np.ndarray]:
        """Compute whole mels; cancelling the call stops the computing.

        Args:
            lease: the model; it may be released as soon as the call has ended, however it ended.
            mels: float32 `[M, T_i]`, from `lease.check_mel`.
            deadline: from `deadline_in`; None waits as long as it takes.

        Returns:
            float32 `[N_i]` each: bit for bit what the vocoder gives, on engine native.

        Raises:
            QueueFull, ShuttingDown: at once, see `admit`.
            DeadlineExceeded: not finished in time; what was computed is lost.
            EngineFailed: the engine failed.
        """
        if not mels:
            raise BadRequest("the request holds no mel")
        self.admit(lease, sum(mel.shape[1] for mel in mels))
        loop = asyncio.get_running_loop()
        result: asyncio.Future[list[np.ndarray]] = loop.create_future()
        work = WholeWork(lease, mels, self._settings, time.monotonic(), deadline)
        work.on_done = lambda audios: _post(loop, _resolve, result, audios)
        work.on_end = lambda error: _post(loop, _reject, result, error)
        self._telemetry.batch(lease.name, len(mels))
        self._dispatcher.add(work)
        try:
            audios = await result
        except asyncio.CancelledError:
            self._dispatcher.cancel(work)
            raise
        self._telemetry.computed(lease.name, work.busy_seconds)
        return audios

    def stream_request(self, lease: ModelLease, mel: CheckedMel, *, deadline: float | None = None) -> AudioStream:
        """Begin to compute a mel whose audio leaves while it is computed.

        Args:
            lease: the model; it may be released at once.
            mel: float32 `[M, T]`, from `lease.check_mel`.
            deadline: from `deadline_in`, for the last sample.

        Returns:
            An asynchronous iterator of float32 `[n]`; must be closed.

        Raises:
            QueueFull, ShuttingDown: at once, see `admit`.
            BadRequest: the model cannot stream.
        """
        self.admit(lease, mel.shape[1])
        now = time.monotonic()
        segment_frames = self._settings.streamed_segment_frames
        work = StreamWork(lease, segment_frames, self._settings, now, live=False, deadline=deadline)
        work.push(mel, now)
        work.end()
        self._telemetry.batch(lease.name, 1)
        return AudioStream(self._dispatcher, self._telemetry, work)

    def open_stream(self, lease: ModelLease, *, segment_frames: int | None = None) -> LiveStream:
        """Open a stream whose frames come little by little.

        Args:
            lease: the model; it may be released at once.
            segment_frames: frames that are computed together; the settings' `live_segment_frames` by default.

        Raises:
            TooManyRequests: as many are open as may be, or as the processor can keep fed.
            ShuttingDown: the server takes no new work.
            BadRequest: the model cannot stream, or not in such segments.
        """
        frames = self._settings.live_segment_frames if segment_frames is None else segment_frames
        if not 1 <= frames <= self._settings.max_live_segment_frames:
            raise BadRequest(f"segment_frames={frames} must be from 1 to {self._settings.max_live_segment_frames}")
        try:
            self._dispatcher.check_room_for_stream()
        except ServingError as error:
            self._telemetry.rejected(error.code)
            raise
        work = StreamWork(lease, frames, self._settings, time.monotonic(), live=True)
        return LiveStream(self._dispatcher, self._telemetry, work)

    async def close(self, grace_seconds: float | None = None) -> None:
        """Take no new work, finish what has begun, then end; closing twice is allowed.

        Args:
            grace_seconds: what is not finished by then ends with ShuttingDown; None is the settings'.
        """
        self._dispatcher.drain()
        end = time.monotonic() + (self._settings.grace_seconds if grace_seconds is None else grace_seconds)
        while not self._dispatcher.idle and time.monotonic() < end:
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        await asyncio.to_thread(self._dispatcher.stop)


class AudioStream:
    """Audio that is being computed: an asynchronous iterator of float32 `[n]`, n above 0.

    Audio that is not taken is kept up to the settings' `max_unread_seconds`; then this stream's computing waits.
    """

    def __init__(self, dispatcher: Dispatcher, telemetry: Telemetry, work: StreamWork) -> None:
        """Hand a work to the dispatcher; see `Scheduler`."""
        self._dispatcher = dispatcher
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._audios: deque[np.ndarray] = deque()
        self._news = asyncio.Event()
        self._ended = False
        self._error: ServingError | None = None
        name = work.lease.name
        work.on_audio = lambda audio: _post(self._loop, self._take, audio)
        work.on_first_audio = lambda seconds: telemetry.first_audio(name, seconds)
        work.on_end = lambda error: _post(self._loop, self._end, error)
        dispatcher.add(work)

    def __aiter__(self) -> AudioStream:
        return self

    async def __anext__(self) -> np.ndarray:
        """The next samples, as soon as they are computed.

        Raises:
            ServingError: the stream failed; samples that were computed before came first.
        """
        while not self._audios:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        audio = self._audios.popleft()
        with self._dispatcher.lock:
            self._work.read(len(audio))
            self._dispatcher.lock.notify_all()
        return audio

    def close(self) -> None:
        """Stop computing and drop what was not taken; closing twice, or after the end, is allowed."""
        if not self._ended:
            self._ended = True
            self._dispatcher.cancel(self._work)
        self._audios.clear()
        self._news.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, audio: np.ndarray) -> None:
        if not self._ended:
            self._audios.append(audio)
            self._news.set()

    def _end(self, error: ServingError | None) -> None:
        if not self._ended:
            self._ended, self._error = True, error
        self._news.set()


class LiveStream(AudioStream):
    """A stream whose frames come little by little: `push` them, `finish`, and read the audio as it comes."""

    def __init__(self, dispatcher: Dispatcher, telemetry: Telemetry, work: StreamWork) -> None:
        super().__init__(dispatcher, telemetry, work)
        self._finished = False
        self._room = asyncio.Event()

    @property
    def pending_frames(self) -> int:
        """Pushed and not computed yet."""
        return self._work.remaining_frames

    async def push(self, mel: np.ndarray) -> None:
        """Take frames in; waits while too many wait to be computed.

        Args:
            mel: float `[M, F]`, F may be 0.

        Raises:
            MelInvalid: these are no frames of the model's; the stream goes on as if they had not come.
            BadRequest: the stream is finished or closed.
            ServingError: the stream has failed.
        """
        self._check_open()
        lease = self._work.lease
        if mel.ndim == 2 and mel.shape == (lease.num_mels, 0):
            return
        checked = lease.check_mel(mel)
        if self._work.total_frames + checked.shape[1] > MAX_FRAMES:
            raise MelInvalid(f"the stream would have more than {MAX_FRAMES} frames: finish it and open another")
        while not self._has_room():
            await self._room.wait()
            self._check_open()
        with self._dispatcher.lock:
            self._work.push(checked, time.monotonic())
            self._dispatcher.lock.notify_all()

    def finish(self) -> None:
        """Say that no more frames come: the iterator ends with the last sample. Finishing twice is allowed."""
        self._finished = True
        with self._dispatcher.lock:
            self._work.end()
            self._dispatcher.lock.notify_all()

    def close(self) -> None:
        super().close()
        self._room.set()

    def _has_room(self) -> bool:
        with self._dispatcher.lock:
            if self._work.has_room:
                return True
            self._room.clear()
            self._work.on_room = lambda: _post(self._loop, self._room.set)
            return False

    def _end(self, error: ServingError | None) -> None:
        super()._end(error)
        self._room.set()

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._finished or self._ended:
            raise BadRequest("the stream is finished: open another one for more frames")


def _post(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: Any) -> None:
    # A closed loop has nobody left to hear it.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *arguments)


def _resolve(result: asyncio.Future[list[np.ndarray]], audios: list[np.ndarray]) -> None:
    if not result.done():
        result.set_result(audios)


def _reject(result: asyncio.Future[list[np.ndarray]], error: ServingError | None) -> None:
    if not result.done() and error is not None:
        result.set_exception(error)
