"""What the dispatcher computes: requests and streams, advanced one block of frames at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hifigan_rt.engines.streams import EngineStream
from hifigan_rt.graph import Graph
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.tools.serving.errors import BadRequest, ServingError
from hifigan_rt.tools.serving.models import ModelLease
from hifigan_rt.tools.serving.settings import ServerSettings


class Work(ABC):
    """One client's work on one model.

    `take` and `give` are called under the dispatcher's lock, `compute` between them without it; so what clients call
    under the lock never waits for the engine.
    """

    counts_as_queued = True
    """Whether it fills the queue; live streams have a limit of their own."""

    def __init__(self, lease: ModelLease, now: float, deadline: float | None) -> None:
        self.lease = lease.another()
        self.model = lease.name
        self.seconds_per_frame = lease.audio_seconds(1)
        self.deadline = deadline
        self.cancelled = False
        self.waiting_since = now
        self.served_at = now
        self.busy_seconds = 0.0
        self.on_end: Callable[[ServingError | None], None] = lambda _: None
        """Called once, by the dispatcher."""

    @property
    @abstractmethod
    def remaining_frames(self) -> int:
        """Still to be computed."""

    @property
    def remaining_seconds(self) -> float:
        """Audio seconds still to be computed."""
        return self.remaining_frames * self.seconds_per_frame

    @property
    def claimed_seconds(self) -> float:
        """Audio seconds that count for its rank: all that is left, or a stream's next block only, so that streams take
        turns."""
        return self.remaining_seconds

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether all of its audio is computed."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether a block can be computed now."""

    def urgency(self, now: float, lead_seconds: float) -> int:  # noqa: ARG002 - whole requests are never urgent
        """0 for streams that would fall silent, 1 for those that have not begun, 2 for what can wait."""
        return 2

    @abstractmethod
    def take(self) -> int:
        """Set the next block aside; returns its frames."""

    @abstractmethod
    def compute(self) -> None:
        """Compute the block that was set aside."""

    @abstractmethod
    def give(self, now: float) -> None:
        """Hand out what was computed."""

    @abstractmethod
    def free(self) -> None:
        """Drop frames, audio and the engine's state; the last call."""


class WholeWork(Work):
    """Mels whose audio is given at once, when all of it is there."""

    def __init__(
        self,
        lease: ModelLease,
        mels: Sequence[CheckedMel],
        settings: ServerSettings,
        now: float,
        deadline: float | None = None,
    ) -> None:
        super().__init__(lease, now, deadline)
        self.on_done: Callable[[list[np.ndarray]], None] = lambda _: None
        self._engine, self._graph = self.lease.vocoder.engine, self.lease.vocoder.graph
        self._block_frames = self._engine.offline_segment_frames or settings.block_frames
        # Where no stream gives the same bits, one more block at once costs less than the overlap.
        self._at_once_frames = self._block_frames * (1 if self._engine.offline_segment_frames else 2)
        self._mels = deque(mels)
        self._remaining: int = sum(mel.shape[1] for mel in mels)
        self._audios: list[np.ndarray] = []
        self._stream: EngineStream | None = None
        self._frames = self._samples = 0  # of the first of the mels left: computed
        self._block = 0

    @property
    def remaining_frames(self) -> int:
        return self._remaining

    @property
    def finished(self) -> bool:
        return not self._mels

    def ready(self) -> bool:
        return True

    def take(self) -> int:
        frames: int = self._mels[0].shape[1]
        at_once = self._graph is None or frames <= self._at_once_frames
        self._block = frames if at_once else min(self._block_frames, frames - self._frames)
        return self._block

    def compute(self) -> None:
        mel = self._mels[0]
        frames = mel.shape[1]
        if self._graph is None or self._block == frames:
            self._audios.append(self._engine.run(CheckedMel(mel[None]))[0].astype(np.float32, copy=False))
            return
        if self._stream is None:
            self._stream = self._engine.stream(self._block_frames, self._graph)
            self._audios.append(np.empty(self._graph.output_length(frames), np.float32))
        end = self._frames + self._block
        self._keep(self._stream.push(CheckedMel(mel[:, self._frames : end])))
        if end == frames:
            self._keep(self._stream.finish())

    def give(self, now: float) -> None:  # noqa: ARG002 - only streams have listeners
        self._frames += self._block
        self._remaining -= self._block
        if self._frames == self._mels[0].shape[1]:
            self._close_stream()
            self._mels.popleft()
            self._frames = self._samples = 0
        if not self._mels:
            self.on_done(self._audios)

    def free(self) -> None:
        self._close_stream()
        self._mels.clear()
        self._audios = []

    def _keep(self, audio: np.ndarray) -> None:
        self._audios[-1][self._samples : self._samples + len(audio)] = audio
        self._samples += len(audio)

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


@dataclass
class _Frames:
    """Frames that wait, and when each push of them came."""

    pushes: deque[tuple[np.ndarray, float]] = field(default_factory=deque)
    count: int = 0

    def put(self, mel: np.ndarray, now: float) -> None:
        if mel.shape[1]:
            self.pushes.append((mel, now))
            self.count += mel.shape[1]

    def take(self, count: int) -> tuple[np.ndarray | None, float]:
        """So many frames `[M, count]`, None for none, and when the last of them came."""
        parts, left, came = [], count, 0.0
        while left:
            mel, came = self.pushes.popleft()
            parts.append(mel[:, :left])
            if mel.shape[1] > left:
                self.pushes.appendleft((mel[:, left:], came))
            left -= parts[-1].shape[1]
        self.count -= count
        if not parts:
            return None, came
        return (parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)), came


class StreamWork(Work):
    """Frames whose audio is given as it is computed: a streamed response, or a live stream whose frames still come."""

    def __init__(
        self,
        lease: ModelLease,
        segment_frames: int,
        settings: ServerSettings,
        now: float,
        *,
        live: bool,
        deadline: float | None = None,
    ) -> None:
        """Begin without frames.

        Raises:
            BadRequest: the model's layers are not known, so that it cannot stream.
        """
        graph = _known_graph(lease)
        super().__init__(lease, now, deadline)
        self.counts_as_queued = not live
        self.on_audio: Callable[[np.ndarray], None] = lambda _: None
        self.on_first_audio: Callable[[float], None] = lambda _: None
        """Called with the seconds since the frames came that determine it."""
        self.on_room: Callable[[], None] | None = None
        """Called once, when more frames may be pushed; set by a client that waits for that."""
        self.total_frames = 0
        """Pushed so far."""
        self._live = live
        self._segment_frames = segment_frames
        self._max_unread = int(settings.max_unread_seconds * lease.sample_rate)
        self._max_pending = int(settings.max_pending_seconds * lease.sample_rate / lease.hop_length)
        self._sample_rate = lease.sample_rate
        self._graph = graph
        self._frames = _Frames()
        self._ended = self._finished = False
        self._unread = 0  # samples
        self._plays_until: float | None = None
        self._stream: EngineStream | None = None
        self._block: np.ndarray | None = None
        self._block_came = 0.0
        self._is_last = False
        self._audio = np.empty(0, np.float32)

    @property
    def remaining_frames(self) -> int:
        return self._frames.count

    @property
    def claimed_seconds(self) -> float:
        return min(self._segment_frames, self._frames.count) * self.seconds_per_frame

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def has_room(self) -> bool:
        """Whether more frames may be pushed."""
        return self._frames.count < self._max_pending

    def push(self, mel: CheckedMel, now: float) -> None:
        """Take frames `[M, F]`."""
        if not self.ready():
            self.waiting_since = now
        self._frames.put(mel, now)
        self.total_frames += mel.shape[1]

    def end(self) -> None:
        """No more frames will come."""
        self._ended = True

    def read(self, samples: int) -> None:
        """The client has taken so many samples."""
        self._unread -= samples

    def ready(self) -> bool:
        enough = self._ended or self._frames.count >= self._segment_frames
        return enough and not self._finished and self._unread < self._max_unread

    def urgency(self, now: float, lead_seconds: float) -> int:
        if self._plays_until is None:
            return 0 if self._live else 1
        return 0 if self._plays_until - now < lead_seconds else 2

    def take(self) -> int:
        count = min(self._segment_frames, self._frames.count)
        self._block, self._block_came = self._frames.take(count)
        self._is_last = self._ended and self._frames.count == 0
        return count

    def compute(self) -> None:
        if self._stream is None:
            self._stream = self.lease.vocoder.engine.stream(self._segment_frames, self._graph)
        parts = [] if self._block is None else [self._stream.push(CheckedMel(self._block))]
        if self._is_last:
            parts.append(self._stream.finish())
        self._audio = np.concatenate(parts).astype(np.float32, copy=False)

    def give(self, now: float) -> None:
        audio, self._audio, self._block = self._audio, np.empty(0, np.float32), None
        self.waiting_since = now
        if len(audio):
            if self._plays_until is None:
                self.on_first_audio(now - self._block_came)
            self._plays_until = max(self._plays_until or now, now) + len(audio) / self._sample_rate
            self._unread += len(audio)
            self.on_audio(audio)
        if self._is_last:
            self._finished = True
        if self.on_room is not None and self.has_room:
            told, self.on_room = self.on_room, None
            told()

    def free(self) -> None:
        self._frames = _Frames()
        self._block = None
        self.on_room = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _known_graph(lease: ModelLease) -> Graph:
    graph = lease.vocoder.graph
    if graph is None:
        raise BadRequest(f"model {lease.name!r} cannot stream: its layers are not known; ask for the whole audio")
    return graph
