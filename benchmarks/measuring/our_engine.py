"""Any engine of hifigan_rt's registry as a candidate."""

from __future__ import annotations

import numpy as np

from hifigan_rt.engines import choose_engine, create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.benchmark.worker import Executed
from measuring.candidates import OURS, Job, plain_name


class OurEngine:
    """Loads the checkpoint as a user would, then calls the engine without the checks around it, as the peers are."""

    def __init__(self, job: Job) -> None:
        name = choose_engine(plain_name(job.candidate).removeprefix(OURS))
        self._engine = create_engine(name, resolve_model(job.checkpoint), EngineOptions(threads=job.threads))
        info = self._engine.info
        self.executed = Executed(f"{info.name} {info.version}", info.precision, info.threads, info.device)

    def run(self, mel: np.ndarray) -> np.ndarray:
        return self._engine.run(mel)


def load(job: Job) -> OurEngine:
    return OurEngine(job)
