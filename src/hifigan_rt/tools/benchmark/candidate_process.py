"""The parent's side of a worker: starts a process that holds one candidate, asks it, and ends it."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.system.worker_process import WorkerFailed, WorkerProcess, python_command
from hifigan_rt.tools.benchmark.rotation import CandidateFailed

DEFAULT_TIMEOUT_SECONDS = 600.0
"""Limit for loading, and for one inference; compiling a large model for a large batch takes minutes."""


def worker_environment(threads: int) -> dict[str, str]:
    """The environment of a worker: OpenMP runtimes read their thread count there, before any import."""
    return os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


class CandidateProcess:
    """A candidate in its own process: the `main` of `module`, which calls `hifigan_rt.tools.benchmark.worker.serve`."""

    def __init__(
        self,
        module: str,
        job: Mapping[str, Any],
        threads: int,
        log: Path,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        """Start it and wait until the candidate is loaded and has run once.

        Raises:
            CandidateFailed: it could not be loaded, or not in time; nothing is left running.
        """
        with log.open("ab") as messages:
            self._worker = WorkerProcess(python_command(module), log=messages, environment=worker_environment(threads))
        self.pid = self._worker.pid
        self._timeout_seconds = timeout_seconds
        try:
            self.facts = self._ask(job)[0]
            """What the worker told when the candidate had run once."""
        except BaseException:
            # Interrupted while it loads: nobody else knows of the process yet.
            self.close()
            raise

    def run(self) -> tuple[float, float]:
        """One inference; see `rotation.Turn`.

        Raises:
            CandidateFailed: the candidate failed, is gone or hangs; its process is ended then.
        """
        reply, _ = self._ask({"do": "run"})
        return reply["seconds"], reply["cpu_seconds"]

    def output(self) -> np.ndarray:
        """The last output; raises as `run` does."""
        audio: np.ndarray = np.load(io.BytesIO(self._ask({"do": "output"})[1]))
        return audio

    def peak_memory_mib(self) -> float | None:
        """The most memory that the process held, None where the system does not tell; raises as `run` does."""
        memory: float | None = self._ask({"do": "memory"})[0]["peak_memory_mib"]
        return memory

    def close(self) -> None:
        """End the process and what it started; closing twice is allowed."""
        self._worker.close()

    def _ask(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytearray]:
        try:
            reply, payload = self._worker.ask(request, timeout_s=self._timeout_seconds)
        except WorkerFailed as error:
            self.close()
            raise CandidateFailed(str(error)) from error
        if "failed" in reply:
            self.close()
            raise CandidateFailed(reply["failed"])
        return reply, payload
