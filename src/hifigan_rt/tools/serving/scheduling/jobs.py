"""Jobs of clients, computed one block of frames at a time; those for whole mels. Streams are in `streams`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hifigan_rt.engines.streams import EngineStream, Outcome
from hifigan_rt.errors import HifiganError
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.tools.serving.errors import ServingError
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry


@dataclass(frozen=True)
class SharedState:
    """State that a queue shares with its jobs."""

    settings: ServerSettings
    telemetry: Telemetry
    clock: Callable[[], float] = time.monotonic
    lock: threading.Condition = field(default_factory=threading.Condition)
    """Lock of queue and jobs, notified when there may be a block to compute."""


NO_FRAMES = CheckedMel(np.empty((0, 0), np.float32))


class QueuedJob(ABC):
    """Job of one client on one model.

    The queue calls `take` and `give` under its lock and `compute` between them without it; so what clients call under
    the lock never waits for the engine.
    """

    live = False
    """Whether frames still come: a live stream has a limit of its own and does not fill the queue."""

    def __init__(
        self,
        shared: SharedState,
        lease: ModelLease,
        segment_frames: int,
        deadline: float | None = None,
        client: str = "",
    ) -> None:
        self.model = lease.name
        self.client = client
        self.seconds_per_frame = lease.audio_seconds(1)
        self.deadline = deadline
        self.waiting_since = self.served_at = shared.clock()
        self.busy_seconds = 0.0
        self.cancelled = False
        """Whether the client went; the queue ends the job after its present block."""
        self.over = False
        self.remaining_frames = 0
        """Frames still to be computed."""
        self.finished = False
        """Whether all of the job's audio is computed."""
        self._error: ServingError | None = None
        self._lease = lease
        self.engine, self._graph = lease.vocoder.engine, lease.vocoder.graph
        self._segment_frames = segment_frames
        self._shared, self._lock = shared, shared.lock
        self._stream: EngineStream | None = None
        self._block = NO_FRAMES
        self._voice: np.ndarray | None = None  # of the block's signal, as `Engine.stream` takes it
        self._at_once = False  # whether the block is a whole mel, which needs no stream
        self._last = False  # whether the block is its signal's last one
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def remaining_seconds(self) -> float:
        """Audio seconds still to be computed."""
        return self.remaining_frames * self.seconds_per_frame

    @property
    def computable_seconds(self) -> float:
        """Audio seconds that can be computed without waiting for the client."""
        return self.remaining_seconds

    def blocks_in(self, audio_seconds: float) -> float:
        """Tell about how many blocks give so much audio."""
        return max(1.0, audio_seconds / (self._segment_frames * self.seconds_per_frame))

    @abstractmethod
    def ready(self) -> bool:
        """Tell whether a block can be computed now."""

    @property
    @abstractmethod
    def block_frames(self) -> int:
        """Frames of the next block."""

    @property
    def joins_others(self) -> bool:
        """Whether the next block may be computed together with those of other jobs."""
        return True

    def begin(self) -> None:
        """Keep the model loaded until `end`; called when the queue has let the job in."""
        self._lease = self._lease.duplicate()

    @abstractmethod
    def take(self) -> int:
        """Set the next block aside; returns its frames."""

    @abstractmethod
    def give(self, audio: np.ndarray, now: float) -> None:
        """Take in the audio of the block, float32 `[n]`."""

    def end(self, error: ServingError | None) -> None:
        """Free the model and the engine's state, and tell the client; the queue's last call."""
        self.over, self._error = True, error
        self._block = NO_FRAMES
        self._close_stream()
        self._lease.release()
        self._tell()

    def close(self) -> None:
        """Stop computing; closing twice, or after the end, is allowed."""
        with self._lock:
            if not self.over:
                self.cancelled = True
                self._lock.notify_all()
        self._tell()

    def _tell(self) -> None:
        """Wake the coroutines that wait in `_until`; called after every change that they may wait for."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and no coroutine waits any more
                self._loop.call_soon_threadsafe(self._changed.set)

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait until the job is over, cancelled, or as a condition says that is asked under the lock."""
        while True:
            with self._lock:
                if self.over or self.cancelled or condition():
                    return
                self._loop = asyncio.get_running_loop()
                self._changed.clear()
            await self._changed.wait()

    def _opened(self) -> EngineStream:
        if self._stream is None:
            assert self._graph is not None  # noqa: S101 - checked where streams are made
            self._stream = self.engine.stream(self._segment_frames, self._graph, self._voice)
        return self._stream

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def compute(jobs: Sequence[QueuedJob]) -> list[Outcome]:
    """Compute the blocks that jobs have set aside. No other code of the server computes.

    Args:
        jobs: one that computes a whole mel at once, or streams of one engine.

    Returns:
        float32 `[n]` each, or what is wrong with one job alone.
    """
    if jobs[0]._at_once:
        return [_computed_at_once(job) for job in jobs]
    outcomes: list[Outcome] = [np.empty(0, np.float32)] * len(jobs)
    streams: dict[int, EngineStream] = {}
    for index, job in enumerate(jobs):
        try:
            streams[index] = job._opened()
        except HifiganError as error:  # no memory is left for one more
            outcomes[index] = error
    ending = [place for place, index in enumerate(streams) if jobs[index]._last]
    given = jobs[0].engine.advance(list(streams.values()), [jobs[index]._block for index in streams], ending)
    for index, outcome in zip(streams, given, strict=True):
        outcomes[index] = outcome if isinstance(outcome, HifiganError) else outcome.astype(np.float32, copy=False)
    return outcomes


def _computed_at_once(job: QueuedJob) -> np.ndarray:
    voice = None if job._voice is None else job._voice[None]
    audio: np.ndarray = job.engine.run(CheckedMel(job._block[None]), voice)[0]
    return audio.astype(np.float32, copy=False)


class WholeJob(QueuedJob):
    """Mels whose audio is given when all of it is there."""

    def __init__(
        self,
        shared: SharedState,
        lease: ModelLease,
        mels: Sequence[CheckedMel],
        deadline: float | None = None,
        client: str = "",
        conditioning: np.ndarray | None = None,
    ) -> None:
        own_segment = lease.vocoder.engine.offline_segment_frames
        super().__init__(shared, lease, own_segment or shared.settings.block_frames, deadline, client)
        # Where no stream gives the same bits, one more block at once costs less than the overlap; where streams are
        # joined and do, nothing is computed alone.
        joins = own_segment and lease.vocoder.engine.joined_streams > 1
        self._at_once_frames = self._segment_frames * (0 if joins else 1 if own_segment else 2)
        self._mels = deque(mels)
        self._voices = deque[np.ndarray]() if conditioning is None else deque(map(np.asarray, conditioning))
        """What each mel that is left is spoken as; empty if the model takes none."""
        self.remaining_frames = sum(mel.shape[1] for mel in mels)
        self._audios: list[np.ndarray] = []
        self._frames = self._samples = 0  # of the first of the mels left: computed

    @property
    def block_frames(self) -> int:
        frames: int = self._mels[0].shape[1]
        return min(self._segment_frames, frames - self._frames) if self.joins_others else frames

    def blocks_in(self, audio_seconds: float) -> float:
        return max(super().blocks_in(audio_seconds) if self._graph else 1.0, len(self._mels))

    async def result(self) -> list[np.ndarray]:
        """Wait for the audio, float32 `[N_i]` of each mel.

        Raises:
            ServingError: the engine failed, or the time is over.
        """
        await self._until(lambda: False)
        if self._error is not None:
            raise self._error
        return self._audios

    def ready(self) -> bool:
        return True

    @property
    def joins_others(self) -> bool:
        return self._graph is not None and self._mels[0].shape[1] > self._at_once_frames

    def take(self) -> int:
        mel, frames = self._mels[0], self.block_frames
        self._at_once = not self.joins_others
        self._voice = self._voices[0] if self._voices else None
        end = self._frames + frames
        self._block, self._last = CheckedMel(mel[:, self._frames : end]), end == mel.shape[1]
        return frames

    def give(self, audio: np.ndarray, now: float) -> None:  # noqa: ARG002 - only streams have listeners
        if self._at_once:
            self._audios.append(audio)
        else:
            if self._frames == 0:
                assert self._graph is not None  # noqa: S101 - else the mel is computed at once
                self._audios.append(np.empty(self._graph.output_length(self._mels[0].shape[1]), np.float32))
            self._audios[-1][self._samples : self._samples + len(audio)] = audio
        self._samples += len(audio)
        self._frames += self._block.shape[1]
        self.remaining_frames -= self._block.shape[1]
        if self._last:
            self._close_stream()
            self._mels.popleft()
            if self._voices:
                self._voices.popleft()
            self._frames = self._samples = 0
            self.finished = not self._mels

    def end(self, error: ServingError | None) -> None:
        if not self.finished:
            self._mels.clear()
            self._audios = []
        super().end(error)
