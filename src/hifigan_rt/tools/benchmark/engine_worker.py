"""The worker process of `hifigan bench`, for any engine; `hifigan_rt.tools.benchmark.worker` says how it is asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from hifigan_rt.engines import REGISTRY, choose_engine, create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.native import NativeEngine
from hifigan_rt.engines.speakers import SpeakerChoice
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.benchmark.candidates import NO_PROCESSOR
from hifigan_rt.tools.benchmark.voice import VoiceOfRun
from hifigan_rt.tools.benchmark.worker import Executed, Load, serve

MODULE = __name__


@dataclass(frozen=True)
class EngineJob:
    """What a worker is to load; goes to it as JSON."""

    engine: str
    model: str
    config: str | None
    precision: str
    threads: int
    mel: str
    """A .npy of float32 `[B, M, T]`."""
    device: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    weights_at: str | None = None
    speaker: str | None = None
    conditioning: list[float] | None = None
    """Vector in the place of a speaker."""
    family: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class EngineCandidate:
    """Loads the model as a user would, then calls the engine without the checks around it: pure inference."""

    def __init__(self, job: EngineJob) -> None:
        model = resolve_model(job.model, job.config, job.weights_at, job.family)
        name = choose_engine(job.engine, type(model), device=job.device)
        options = EngineOptions(threads=job.threads, precision=job.precision, device=job.device, settings=job.settings)
        self._engine = create_engine(name, model, options)
        choice = SpeakerChoice(model.name, self._engine.conditioning, model.speakers)
        self._voice = VoiceOfRun(choice, job.speaker, job.conditioning)
        info = self._engine.info
        products = self._engine.products_per_frame if isinstance(self._engine, NativeEngine) else None
        self.executed = Executed(
            f"{info.name} {info.version}",
            info.precision,
            None if NO_PROCESSOR.match(info.device) else info.threads,
            info.device,
            info.caveat,
            products,
        )

    def run(self, mel: np.ndarray) -> np.ndarray:
        return self._engine.run(CheckedMel(mel), self._voice.conditioning(len(mel)))

    @property
    def compute_seconds(self) -> float | None:
        return self._engine.compute_seconds


def _prepare(content: dict[str, Any]) -> Load:
    job = EngineJob(**content)
    return Load(lambda: EngineCandidate(job), job.mel, job.threads, REGISTRY[job.engine].packages)


def main() -> None:
    serve(_prepare)
