"""Streams of the engines, and the one for engines that keep no state: windows that overlap."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

import numpy as np

from hifigan_rt.errors import (
    EngineError,
    HifiganError,
    SamplesNotFinite,
    StreamBroken,
    StreamBusy,
    StreamClosed,
    StreamFinished,
)
from hifigan_rt.graph import Graph
from hifigan_rt.mel.check import CheckedMel

STREAM_SEGMENT_FRAMES = 16
"""Streams are computed in short segments: a segment is latency."""

MAX_SEGMENT_FRAMES = 4096


Outcome: TypeAlias = np.ndarray | HifiganError
"""Audio, or what is wrong with one of several that were computed together."""


def audio_of(outcome: Outcome) -> np.ndarray:
    """Give the audio, or raise what is wrong."""
    if isinstance(outcome, HifiganError):
        raise outcome
    return outcome


def check_finite(audio: np.ndarray) -> np.ndarray:
    """Give the audio.

    Raises:
        SamplesNotFinite: it holds NaN or infinity.
    """
    # Either passes NaN on, and both are faster than isfinite.
    if audio.size and not (np.isfinite(audio.min()) and np.isfinite(audio.max())):
        raise SamplesNotFinite
    return audio


def with_ends(streams: Sequence[EngineStream], outcomes: Sequence[Outcome], ending: Collection[int]) -> list[Outcome]:
    """End some of the streams, one after the other, and put what that gives behind what their frames gave."""
    ended = list(outcomes)
    for index in ending:
        try:
            ended[index] = np.concatenate([audio_of(ended[index]), streams[index].finish()])
        except HifiganError as error:
            ended[index] = error
    return ended


def check_segment(segment_frames: int) -> int:
    """Check a segment length; give it as a number of Python's, since samples counted with NumPy's overflow.

    Raises:
        EngineError: it is no whole number from 1 to 4096.
    """
    if isinstance(segment_frames, bool) or not isinstance(segment_frames, (int, np.integer)):
        raise EngineError(f"segment_frames={segment_frames!r} must be a whole number")
    if not 1 <= segment_frames <= MAX_SEGMENT_FRAMES:
        raise EngineError(f"segment_frames={segment_frames} must be from 1 to {MAX_SEGMENT_FRAMES}")
    return int(segment_frames)


class EngineStream(Protocol):
    """One signal, a few frames at a time: open, finished, broken or closed, and in use by at most one thread.

    `push` and `finish` raise StreamFinished, StreamBroken, StreamClosed or StreamBusy; `reset` the last two.
    """

    @property
    def segment_frames(self) -> int:
        """Frames that are computed together; the first segment starts at the first frame."""

    @property
    def state_bytes(self) -> int:
        """Memory that this stream has for itself, beside the loaded model.

        Raises:
            StreamClosed: it has none any more.
        """

    @property
    def frames(self) -> int:
        """Frames taken in."""

    @property
    def pending_samples(self) -> int:
        """Samples that `finish` would give now; 0 if the stream is not open."""

    def push(self, mel: CheckedMel) -> np.ndarray:
        """Take frames in.

        Args:
            mel: float32 `[M, F]`, checked by the caller; F may be 0, and the array a slice of a longer mel.

        Returns:
            float32 `[n]`: all samples that became determined with the segments that these frames completed; n may be 0.

        Raises:
            EngineError: the stream cannot take frames, see above, or the engine failed.
        """

    def finish(self) -> np.ndarray:
        """End the signal: float32 `[n]`, the samples that are left. Only `reset` and `close` may follow."""

    def reset(self) -> None:
        """Forget the signal, whatever became of it, and wait for the first frame of another one."""

    def close(self) -> None:
        """Free the stream's memory; closing twice is allowed, and closing while another thread computes."""


class SignalState(Enum):
    """What became of a stream's signal."""

    OPEN = 1
    FINISHED = 2
    BROKEN = 3


class StreamTurn:
    """A stream's signal, in use by one thread at a time."""

    def __init__(self) -> None:
        self.state = SignalState.OPEN
        self._use = threading.Lock()

    def take(self, *, anew: bool = False) -> None:
        """Take the stream for this thread until `give`, `anew` also if its signal has ended.

        Raises:
            StreamBusy, StreamFinished, StreamBroken: it cannot be had.
        """
        if not self._use.acquire(blocking=False):
            raise StreamBusy
        if self.state is SignalState.OPEN or anew:
            return
        self.give()
        raise StreamFinished if self.state is SignalState.FINISHED else StreamBroken

    def give(self) -> None:
        """Let other threads take it."""
        self._use.release()

    @contextmanager
    def taken(self, *, anew: bool = False) -> Iterator[None]:
        """The stream for the length of a block, as by `take`."""
        self.take(anew=anew)
        try:
            yield
        finally:
            self.give()

    @property
    def is_free(self) -> bool:
        """Whether no thread uses it."""
        return not self._use.locked()


@dataclass(frozen=True)
class StreamWindow:
    """Frames of a stream that are computed for the samples that none beside them can change."""

    mel: CheckedMel
    """`[M, T]`, a part of a larger array."""
    is_start: bool
    """Whether it begins with the signal, so that its first samples are wanted as well: before them is silence. Before
    and behind other windows there may be anything."""


_Steps: TypeAlias = Generator[StreamWindow | None, np.ndarray, np.ndarray]
"""What a stream does with frames: it claims the stream and yields None, then yields each window that is to be computed
and is sent its audio `[N]`, and ends with the samples."""

_Submit: TypeAlias = Callable[[Sequence[StreamWindow]], Callable[[], list[np.ndarray]]]


def push_together(
    streams: Sequence[OverlapStream], mels: Sequence[CheckedMel], submit: _Submit, at_once: int
) -> list[Outcome]:
    """Push frames into several streams and compute the windows of many of them together.

    Args:
        streams: different ones.
        mels: float32 `[M, F_i]`, for each stream its frames.
        submit: takes windows and begins to compute them; what it returns waits for the audio, `[N_i]` each.
        at_once: windows that are submitted together; the next ones are prepared meanwhile.

    Returns:
        What each push would give, or the error that it would raise since the stream cannot take frames.

    Raises:
        EngineError: the engine failed; those that have taken frames are broken.
    """
    before = [stream.frames for stream in streams]
    try:
        return _compute([stream._pushing(mel) for stream, mel in zip(streams, mels, strict=True)], submit, at_once)
    except BaseException:
        # The audio of those that went through is lost as well.
        for stream, frames in zip(streams, before, strict=True):
            if stream.frames != frames:
                stream._turn.state = SignalState.BROKEN
        raise


def _compute(steps: Sequence[_Steps], submit: _Submit, at_once: int = 1) -> list[Outcome]:
    results: list[Outcome] = [np.empty(0, np.float32)] * len(steps)
    claimed: list[int] = []
    submitted: deque[tuple[list[int], Callable[[], list[np.ndarray]]]] = deque()

    def resume(indices: Sequence[int], audios: Sequence[np.ndarray | None]) -> None:
        """Let streams go on to their next windows, and submit those."""
        windows: dict[int, StreamWindow] = {}
        for index, audio in zip(indices, audios, strict=True):
            try:
                windows[index] = steps[index].send(audio)  # type: ignore[arg-type, assignment]
            except StopIteration as end:
                results[index] = end.value
        if windows:
            submitted.append((list(windows), submit(list(windows.values()))))

    try:
        for index, step in enumerate(steps):
            try:
                next(step)
                claimed.append(index)
            except EngineError as error:
                results[index] = error
        for start in range(0, len(claimed), at_once):
            indices = claimed[start : start + at_once]
            resume(indices, [None] * len(indices))
            if len(submitted) > 1:
                first, collect = submitted.popleft()
                resume(first, collect())
        while submitted:
            first, collect = submitted.popleft()
            resume(first, collect())
    finally:
        for step in steps:
            step.close()
    return results


class OverlapStream:
    """Runs each segment with the frames before it that reach into its samples, and throws away all that they disturb.

    What is kept of a window is exactly what no missing frame can change, on either side: samples are neither faded nor
    mixed. A window of V1 holds 26 frames more than its segment. An `EngineStream` for engines that keep no state.
    """

    def __init__(
        self, run: Callable[[CheckedMel], np.ndarray], graph: Graph, segment_frames: int, least_frames: int = 1
    ) -> None:
        """Start a stream.

        Args:
            run: `[1, M, T]` to `[1, N]`; whatever dtype it gives is the stream's.
            graph: tells the reach of a frame.
            segment_frames: frames that are computed together.
            least_frames: windows have so many frames as soon as the signal has, for engines that pad shorter ones.
        """
        self._segment_frames = check_segment(segment_frames)
        self._run = run
        self._graph = graph
        self._least_frames = least_frames
        field = graph.receptive_field
        reach = -(-(field.last_sample - field.first_sample) // graph.hop_length) + 1
        capacity = max(reach, least_frames) + self._segment_frames
        self._kept: np.ndarray | None = np.empty((graph.num_mels, capacity), np.float32)
        self._turn = StreamTurn()
        self._frames = 0  # taken in
        self._first = 0  # of the frames that are kept
        self._samples = 0  # emitted

    @property
    def segment_frames(self) -> int:
        return self._segment_frames

    @property
    def state_bytes(self) -> int:
        return self._memory().nbytes

    @property
    def frames(self) -> int:
        return self._frames

    @property
    def pending_samples(self) -> int:
        if self._kept is None or self._turn.state is not SignalState.OPEN or self._frames < self._graph.least_frames:
            return 0
        return self._graph.output_length(self._frames) - self._samples

    def push(self, mel: CheckedMel) -> np.ndarray:
        return audio_of(_compute([self._pushing(mel)], self._submit_alone)[0])

    def finish(self) -> np.ndarray:
        return audio_of(_compute([self._finishing()], self._submit_alone)[0])

    def reset(self) -> None:
        with self._used(anew=True):
            self._turn.state = SignalState.OPEN
            self._frames = self._first = self._samples = 0

    def close(self) -> None:
        self._kept = None

    @contextmanager
    def _used(self, *, anew: bool = False) -> Iterator[np.ndarray]:
        """The frames kept, for one thread at a time."""
        kept = self._memory()
        with self._turn.taken(anew=anew):
            yield kept

    @contextmanager
    def _computing(self, then: SignalState) -> Iterator[None]:
        # A computation that is interrupted has taken some of the frames in, and nobody knows which.
        self._turn.state = SignalState.BROKEN
        yield
        self._turn.state = then

    def _memory(self) -> np.ndarray:
        if self._kept is None:
            raise StreamClosed
        return self._kept

    def _pushing(self, mel: CheckedMel) -> _Steps:
        with self._used() as kept:
            yield None
            with self._computing(SignalState.OPEN):
                parts, taken = [], 0
                while taken < mel.shape[1]:
                    count = min(self._segment_frames - self._frames % self._segment_frames, mel.shape[1] - taken)
                    at = self._frames - self._first
                    kept[:, at : at + count] = mel[:, taken : taken + count]
                    self._frames += count
                    taken += count
                    if self._frames % self._segment_frames == 0:
                        determined = self._frames * self._graph.hop_length + self._graph.receptive_field.first_sample
                        parts.append((yield from self._emitting(kept, determined)))
                        self._forget(kept)
                return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def _finishing(self) -> _Steps:
        with self._used() as kept:
            yield None
            # A stream that is too short to end is not broken by that: more frames may come.
            end = self._graph.output_length(self._frames) if self._frames else 0
            with self._computing(SignalState.FINISHED):
                return (yield from self._emitting(kept, end))

    def _emitting(self, kept: np.ndarray, end: int) -> _Steps:
        """The samples up to `end`."""
        if end <= self._samples:
            return np.empty(0, np.float32)
        audio = yield StreamWindow(CheckedMel(kept[:, : self._frames - self._first]), is_start=self._first == 0)
        start = self._first * self._graph.hop_length
        emitted = check_finite(audio[self._samples - start : end - start])
        self._samples = end
        return emitted

    def _submit_alone(self, windows: Sequence[StreamWindow]) -> Callable[[], list[np.ndarray]]:
        audios = [self._run(CheckedMel(np.ascontiguousarray(window.mel)[None]))[0] for window in windows]
        return lambda: audios

    def _forget(self, kept: np.ndarray) -> None:
        """Drop the frames that reach no sample to come."""
        # The last frame that is dropped, f, reaches the sample f * hop + last_sample.
        first = (self._samples - 1 - self._graph.receptive_field.last_sample) // self._graph.hop_length + 1
        first = max(self._first, min(first, self._frames - self._least_frames))
        length = self._frames - first
        kept[:, :length] = kept[:, first - self._first : self._frames - self._first].copy()
        self._first = first
