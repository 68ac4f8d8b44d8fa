"""Streams: jobs whose audio is given while it is computed."""

from __future__ import annotations

from collections import deque
from typing import Self

import numpy as np

from hifigan_rt.graph import MAX_FRAMES
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.system.closing import Closing
from hifigan_rt.tools.serving.errors import BadRequest, MelInvalid, ServingError
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.scheduling.jobs import NO_FRAMES, QueuedJob, SharedState


class StreamJob(QueuedJob, Closing):
    """Frames whose audio is given as it is computed: of a streamed response, or of a live stream.

    For the client it is an asynchronous iterator of float32 `[n]`, n above 0, which must be closed. Audio that is not
    taken is kept up to the settings' `max_unread_seconds`; then this stream's computing waits.
    """

    def __init__(
        self,
        shared: SharedState,
        lease: ModelLease,
        segment_frames: int,
        *,
        live: bool,
        client: str = "",
        conditioning: np.ndarray | None = None,
    ) -> None:
        """Begin without frames.

        Args:
            shared, lease, segment_frames, client: of the job.
            live: whether frames still come.
            conditioning: what the model takes beside the mel, as `Engine.stream` does.

        Raises:
            BadRequest: the model's layers are not known, so that it cannot stream.
        """
        super().__init__(shared, lease, segment_frames, client=client)
        if self._graph is None:
            raise BadRequest(f"model {lease.name!r} cannot stream: its layers are not known; ask for the whole audio")
        settings = shared.settings
        self._voice = conditioning
        self.live = live
        self.total_frames = 0
        """Frames pushed so far."""
        self._max_unread = int(settings.max_unread_seconds * lease.sample_rate)
        self._max_pending = int(settings.max_pending_seconds * lease.sample_rate / lease.hop_length)
        self._sample_rate = lease.sample_rate
        self._pending: deque[tuple[CheckedMel, float]] = deque()  # frames, and when they came
        self.complete = False
        """Whether no more frames will come."""
        self._audio: deque[np.ndarray] = deque()  # computed and not taken
        self._unread = 0  # samples of it
        self._plays_until: float | None = None
        self._block_came = 0.0

    # What the client calls.

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> np.ndarray:
        """Give the next samples, as soon as they are computed.

        Raises:
            ServingError: the stream failed; samples that were computed before came first.
        """
        audio = self.read()
        if audio is None:
            await self._until(lambda: bool(self._audio))
            audio = self.read()
        if audio is not None:
            return audio
        if self._error is not None and not self.cancelled:
            raise self._error
        raise StopAsyncIteration

    def read(self) -> np.ndarray | None:
        """Take the next samples if there are any."""
        with self._lock:
            if not self._audio:
                return None
            audio = self._audio.popleft()
            if self._unread >= self._max_unread:
                self._lock.notify_all()
            self._unread -= len(audio)
            return audio

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
        if mel.ndim == 2 and mel.shape == (self._lease.num_mels, 0):
            return
        checked = self._lease.check_mel(mel)
        if self.total_frames + checked.shape[1] > MAX_FRAMES:
            raise MelInvalid(f"the stream would have more than {MAX_FRAMES} frames: finish it and open another")
        await self._until(self.has_room)
        self._check_open()
        self.put(checked)

    def put(self, mel: CheckedMel) -> None:
        """Take in checked frames `[M, F]`, without asking for room."""
        with self._lock:
            now = self._shared.clock()
            if not self.ready():
                self.waiting_since = now
            self._pending.append((mel, now))
            self.remaining_frames += mel.shape[1]
            self.total_frames += mel.shape[1]
            if self.ready():
                self._lock.notify_all()

    def finish(self) -> None:
        """Say that no more frames come: the iterator ends with the last sample. Finishing twice is allowed."""
        with self._lock:
            self.complete = True
            self._lock.notify_all()

    def close(self) -> None:
        """Stop computing, and drop what was not taken; closing twice, or after the end, is allowed."""
        with self._lock:
            self._audio.clear()
        super().close()

    def has_room(self) -> bool:
        """Tell whether more frames may be pushed."""
        return self.remaining_frames < self._max_pending

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self.complete or self.over or self.cancelled:
            raise BadRequest("the stream is finished: open another one for more frames")

    # What the queue calls.

    @property
    def computable_seconds(self) -> float:
        room = (self._max_unread - self._unread) / self._sample_rate
        return min(self.remaining_seconds, room) if self.ready() else 0.0

    @property
    def block_frames(self) -> int:
        return min(self._segment_frames, self.remaining_frames)

    def ready(self) -> bool:
        enough = self.complete or self.remaining_frames >= self._segment_frames
        return enough and not self.finished and self._unread < self._max_unread

    def runs_short(self, now: float, lead_seconds: float) -> bool:
        """Tell whether a listener waits for the first sample, or has less than so many seconds left to hear."""
        return self._plays_until is None or self._plays_until - now < lead_seconds

    def take(self) -> int:
        parts: list[np.ndarray] = []
        count = left = self.block_frames
        while left:
            mel, self._block_came = self._pending.popleft()
            parts.append(mel[:, :left])
            if mel.shape[1] > left:
                self._pending.appendleft((CheckedMel(mel[:, left:]), self._block_came))
            left -= parts[-1].shape[1]
        self.remaining_frames -= count
        self._last = self.complete and not self.remaining_frames
        empty = np.empty((self._lease.num_mels or 0, 0), np.float32)
        self._block = CheckedMel(parts[0] if len(parts) == 1 else np.concatenate([empty, *parts], axis=1))
        return count

    def give(self, audio: np.ndarray, now: float) -> None:
        self._block, self.waiting_since, self.finished = NO_FRAMES, now, self._last
        if len(audio):
            if self._plays_until is None:
                self._shared.telemetry.first_audio(self.model, now - self._block_came)
            self._plays_until = max(self._plays_until or now, now) + len(audio) / self._sample_rate
            self._unread += len(audio)
            self._audio.append(audio)
        self._tell()

    def end(self, error: ServingError | None) -> None:
        self._pending.clear()
        self.remaining_frames = 0
        super().end(error)
