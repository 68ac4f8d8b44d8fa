"""A dispatcher whose engine pretends to compute, in time that pretends to pass."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import numpy as np

from hifigan_rt.tools.serving.dispatcher import Dispatcher
from hifigan_rt.tools.serving.errors import (
    ServingError,
)
from hifigan_rt.tools.serving.models import ModelLease, ModelPool
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry
from hifigan_rt.tools.serving.work import StreamWork, WholeWork, Work
from serving_models import SECONDS_PER_FRAME, Clock, PretendedEngine, pretended_vocoder

W = TypeVar("W", bound=Work)


class Simulation:
    """A dispatcher without its thread."""

    def __init__(self, x_real_time: float = 20.0, **limits: float) -> None:
        self.settings = ServerSettings(**limits)  # type: ignore[arg-type]
        self.clock = Clock()
        self.telemetry = Telemetry()
        self.vocoder = pretended_vocoder(self.clock, x_real_time)
        self.pool = ModelPool({"m": lambda: self.vocoder}, self.telemetry)
        self.lease: ModelLease = asyncio.run(self.pool.lease())
        self.dispatcher = Dispatcher(self.settings, self.telemetry, self.clock)
        self.ended: dict[Work, ServingError | None] = {}
        self.ended_at: dict[Work, float] = {}
        self.begun_at: dict[Work, float] = {}
        self.audio: dict[Work, list[np.ndarray]] = {}
        # The speed is learnt from a first block.
        self.whole(64)
        self.run_dry()
        self.engine.streams.clear()

    @property
    def engine(self) -> PretendedEngine:
        assert isinstance(self.vocoder.engine, PretendedEngine)
        return self.vocoder.engine

    def seconds(self, frames: int) -> float:
        """Of computing."""
        return frames * SECONDS_PER_FRAME / self.engine.x_real_time

    def whole(self, *frames: int, deadline: float | None = None) -> WholeWork:
        mels = [np.full((80, count), -1.0, np.float32) for count in frames]
        work = WholeWork(self.lease, mels, self.settings, self.clock(), deadline)
        work.on_done = lambda audios: self.audio.update({work: audios})
        return self._add(work)

    def stream(self, frames: int = 0, *, live: bool, segment: int = 32, deadline: float | None = None) -> StreamWork:
        work = StreamWork(self.lease, segment, self.settings, self.clock(), live=live, deadline=deadline)
        work.on_audio = lambda audio: self.audio.setdefault(work, []).append(audio)
        work.push(np.full((80, frames), -1.0, np.float32), self.clock())
        if not live:
            work.end()
        return self._add(work)

    def run_dry(self) -> None:
        while self.dispatcher.step():
            pass

    def run_until(self, end: float) -> None:
        while self.clock() < end and self.dispatcher.step():
            pass
        self.clock.now = max(self.clock(), end)

    def given(self, work: Work) -> int:
        return sum(map(len, self.audio.get(work, [])))

    def _add(self, work: W) -> W:
        self.begun_at[work] = self.clock()

        def end(error: ServingError | None) -> None:
            assert work not in self.ended
            self.ended[work] = error
            self.ended_at[work] = self.clock()

        work.on_end = end
        self.dispatcher.add(work)
        return work
