"""Streams behind the engines' door, and the one for engines that keep no state: windows that overlap."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from hifigan_rt.errors import EngineError
from hifigan_rt.graph import Graph
from hifigan_rt.mel.check import CheckedMel

STREAM_SEGMENT_FRAMES = 16
"""Streams are computed in short segments: a segment is latency."""

MAX_SEGMENT_FRAMES = 4096


def check_segment(segment_frames: int) -> None:
    """Check a segment length.

    Raises:
        EngineError: it is not from 1 to 4096.
    """
    if not 1 <= segment_frames <= MAX_SEGMENT_FRAMES:
        raise EngineError(f"segment_frames={segment_frames} must be from 1 to {MAX_SEGMENT_FRAMES}")


class EngineStream(ABC):
    """One signal, a few frames at a time. Not for several threads at once."""

    @property
    @abstractmethod
    def segment_frames(self) -> int:
        """Frames that are computed together; the first segment starts at the first frame."""

    @property
    @abstractmethod
    def state_bytes(self) -> int:
        """Memory that this stream has for itself, beside the loaded model."""

    @abstractmethod
    def push(self, mel: CheckedMel) -> np.ndarray:
        """Take frames in.

        Args:
            mel: float32 `[M, F]`, F may be 0.

        Returns:
            float32 `[n]`: all samples that became determined with the segments that these frames completed; n may be 0.

        Raises:
            EngineError: the stream is closed or finished, or the engine failed.
        """

    @abstractmethod
    def finish(self) -> np.ndarray:
        """End the signal: float32 `[n]`, the samples that are left. Only `reset` and `close` may follow."""

    @abstractmethod
    def reset(self) -> None:
        """Forget the signal, whatever became of it, and wait for the first frame of another one."""

    @abstractmethod
    def close(self) -> None:
        """Free the stream's memory; closing twice is allowed."""


class OverlapStream(EngineStream):
    """Runs each segment with the frames before it that reach into its samples, and throws away all that they disturb.

    What is kept of a window is exactly what no missing frame can change, on either side: samples are neither faded nor
    mixed. A window of V1 holds 26 frames more than its segment.
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
        check_segment(segment_frames)
        self._run = run
        self._graph = graph
        self._segment_frames = segment_frames
        self._least_frames = least_frames
        field = graph.receptive_field
        reach = -(-(field.last_sample - field.first_sample) // graph.hop_length) + 1
        capacity = max(reach, least_frames) + segment_frames
        self._kept: np.ndarray | None = np.empty((graph.num_mels, capacity), np.float32)
        self._finished = False
        self._frames = 0  # taken in
        self._first = 0  # of the frames that are kept
        self._samples = 0  # emitted

    @property
    def segment_frames(self) -> int:
        return self._segment_frames

    @property
    def state_bytes(self) -> int:
        return self._open().nbytes

    def push(self, mel: CheckedMel) -> np.ndarray:
        kept = self._open()
        if self._finished:
            raise EngineError("the stream is finished: reset it, or open a new one")
        parts, taken = [], 0
        while taken < mel.shape[1]:
            count = min(self._segment_frames - self._frames % self._segment_frames, mel.shape[1] - taken)
            at = self._frames - self._first
            kept[:, at : at + count] = mel[:, taken : taken + count]
            self._frames += count
            taken += count
            if self._frames % self._segment_frames == 0:
                determined = self._frames * self._graph.hop_length + self._graph.receptive_field.first_sample
                parts.append(self._emit(kept, determined))
                self._forget(kept)
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def finish(self) -> np.ndarray:
        kept = self._open()
        if self._finished:
            raise EngineError("the stream is finished: reset it, or open a new one")
        self._finished = True
        return self._emit(kept, self._graph.output_length(self._frames)) if self._frames else np.empty(0, np.float32)

    def reset(self) -> None:
        self._open()
        self._finished = False
        self._frames = self._first = self._samples = 0

    def close(self) -> None:
        self._kept = None

    def _emit(self, kept: np.ndarray, end: int) -> np.ndarray:
        """The samples up to `end`."""
        if end <= self._samples:
            return np.empty(0, np.float32)
        window = np.ascontiguousarray(kept[:, : self._frames - self._first])
        start = self._first * self._graph.hop_length
        audio = self._run(CheckedMel(window[None]))[0, self._samples - start : end - start]
        self._samples = end
        return audio

    def _forget(self, kept: np.ndarray) -> None:
        """Drop the frames that reach no sample to come."""
        # The last frame that is dropped, f, reaches the sample f * hop + last_sample.
        first = (self._samples - 1 - self._graph.receptive_field.last_sample) // self._graph.hop_length + 1
        first = max(self._first, min(first, self._frames - self._least_frames))
        length = self._frames - first
        kept[:, :length] = kept[:, first - self._first : self._frames - self._first].copy()
        self._first = first

    def _open(self) -> np.ndarray:
        if self._kept is None:
            raise EngineError("the stream is closed: open a new one")
        return self._kept
