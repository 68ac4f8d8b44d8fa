"""Models for the tests of the server: a tiny real network, and an engine that only pretends to compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from hifigan_rt.config import MelConfig
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import Engine, EngineInfo, EngineOptions
from hifigan_rt.engines.streams import EngineStream
from hifigan_rt.graph import Graph
from hifigan_rt.model.kinds import Weights
from hifigan_rt.tools.serving.models import ModelPool
from hifigan_rt.tools.serving.telemetry import Telemetry
from hifigan_rt.vocoder import Vocoder
from native_generators import V1_LIKE, make_case

T = TypeVar("T")

INTERLUDE_SECONDS = 0.02
MEL = MelConfig(sample_rate=22050, n_fft=1024, hop_length=256, win_length=1024, num_mels=80, fmin=0.0, fmax=8000.0)
SECONDS_PER_FRAME = MEL.hop_length / MEL.sample_rate
TINY_MODEL = Weights("tiny", Path("none"), "none", make_case(V1_LIKE, 1).generator, MEL)


def tiny_vocoder(engine: str = "native") -> Vocoder:
    """V1's layers with an eighth of its channels, random weights."""
    return Vocoder(TINY_MODEL, create_engine(engine, TINY_MODEL, EngineOptions(threads=1)))


def tiny_pool(**others: Callable[[], Vocoder]) -> ModelPool:
    return ModelPool({"tiny": tiny_vocoder, **others}, Telemetry())


class Clock:
    """Time that passes when an engine pretends to compute, and when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class PretendedStream(EngineStream):
    def __init__(self, segment_frames: int, pretend: Callable[[np.ndarray], np.ndarray]) -> None:
        self._segment_frames, self._pretend = segment_frames, pretend
        self.closed = False

    @property
    def segment_frames(self) -> int:
        return self._segment_frames

    @property
    def frames(self) -> int:
        return 0

    @property
    def pending_samples(self) -> int:
        return 0

    @property
    def state_bytes(self) -> int:
        return 0

    def push(self, mel: np.ndarray) -> np.ndarray:
        assert not self.closed
        audio = self._pretend(mel)
        assert not self.closed
        return audio

    def finish(self) -> np.ndarray:
        return np.empty(0, np.float32)

    def reset(self) -> None:
        raise AssertionError("the server resets no stream")

    def close(self) -> None:
        self.closed = True


class PretendedEngine(Engine):
    """Each frame takes the same time, and each block some besides; a frame gives its band 0 `hop_length` times."""

    info = EngineInfo("pretended", "0", "float32", 1, "none")
    offline_segment_frames: int | None = 256

    def __init__(self, clock: Clock, x_real_time: float) -> None:
        super().__init__()
        self.clock, self.x_real_time = clock, x_real_time
        self.block_seconds = 0.0
        self.streams: list[PretendedStream] = []
        self.failure: Exception | None = None
        self.interrupts = False
        """Whether it lets interludes in, as engine native does."""
        self._interlude: Callable[[], None] | None = None

    def interruptible(self, compute: Callable[[], T], interlude: Callable[[], None]) -> T:
        former, self._interlude = self._interlude, interlude if self.interrupts else None
        try:
            return compute()
        finally:
            self._interlude = former

    def seconds(self, frames: int) -> float:
        """Tell what a block takes."""
        return self.block_seconds + frames * SECONDS_PER_FRAME / self.x_real_time

    def pretend(self, mel: np.ndarray) -> np.ndarray:
        if self.failure is not None:
            raise self.failure
        left, piece = self.seconds(mel.shape[1]), INTERLUDE_SECONDS
        while self._interlude is not None and left > piece:
            self.clock.now += piece
            left -= piece
            began = self.clock.now
            self._interlude()
            piece = max(INTERLUDE_SECONDS, (self.clock.now - began) / 4)
        self.clock.now += left
        return np.repeat(mel[0], MEL.hop_length)

    def stream(self, segment_frames: int, graph: Graph, conditioning: np.ndarray | None = None) -> EngineStream:
        self.streams.append(PretendedStream(segment_frames, self.pretend))
        return self.streams[-1]

    def _run(self, mel: np.ndarray, conditioning: np.ndarray | None = None) -> np.ndarray:
        return self.pretend(mel[0])[None]


def pretended_vocoder(clock: Clock, x_real_time: float) -> Vocoder:
    return Vocoder(TINY_MODEL, PretendedEngine(clock, x_real_time))
