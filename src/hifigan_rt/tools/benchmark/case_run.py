"""One case of a benchmark: candidates in workers of their own, run in rotation on one mel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.system.closing import Closing
from hifigan_rt.tools.benchmark.candidate_process import DEFAULT_TIMEOUT_SECONDS, CandidateProcess
from hifigan_rt.tools.benchmark.rotation import CandidateFailed, Rounds, rotate


@dataclass(frozen=True)
class CandidateJob:
    """How a worker gets a candidate."""

    module: str
    """Name of a module whose `main` calls `hifigan_rt.tools.benchmark.worker.serve`."""
    content: Mapping[str, Any]
    """What `serve` gives to the module's own function, as JSON has it."""
    unavailable: str | None = None
    """Why no worker can be started, the way out included; None if one can."""


class CaseRun(Closing):
    """The candidates of one case and what they told, also after an interruption."""

    def __init__(self, threads: int, log: Path, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> None:
        """
        Args:
            threads: of each worker.
            log: gets all that the workers print.
            timeout_seconds: for loading a candidate, and for one inference.
        """
        self._threads, self._log, self._timeout_seconds = threads, log, timeout_seconds
        self._workers: dict[str, CandidateProcess] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        """What each loaded candidate told: see `worker.py`; at the end with `peak_memory_mib` and `snr_db`."""
        self.failures: dict[str, str] = {}
        """Why a candidate has no figures."""
        self.rounds = Rounds({})

    def load(self, name: str, job: CandidateJob) -> None:
        """Start a candidate's worker, or note why that failed."""
        if job.unavailable is not None:
            self.failures[name] = job.unavailable
            return
        try:
            worker = CandidateProcess(job.module, job.content, self._threads, self._log, self._timeout_seconds)
        except CandidateFailed as error:
            self.failures[name] = str(error)
        else:
            self._workers[name] = worker
            self.facts[name] = dict(worker.facts)

    def rotate(self, wanted_quiet_rounds: int, max_seconds: float, **limits: Any) -> None:
        """Run what was loaded; see `rotation.rotate`."""
        rotate(self._workers, wanted_quiet_rounds, max_seconds, rounds=self.rounds, **limits)
        self.failures |= self.rounds.failures

    def finish(self, snr_db: Callable[[np.ndarray], float | None] | None) -> None:
        """Ask for what is known only when all rounds are over.

        Args:
            snr_db: compares an output `[B, N]` with the reference; None leaves the SNR unknown.
        """
        for name in self.rounds.seconds:
            worker = self._workers[name]
            try:
                memory = worker.peak_memory_mib()
                snr = None if snr_db is None else snr_db(worker.output())
            except CandidateFailed as error:
                self.failures[name] = str(error)
            else:
                self.facts[name] |= {"peak_memory_mib": memory, "snr_db": snr}

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.close()
