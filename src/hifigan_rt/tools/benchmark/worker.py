"""The worker's side: holds one candidate, and is asked by `candidate_process`.

The first request is the job; its reply comes when the candidate is loaded and has run once. Later requests:
{"do": "run"}, {"do": "output"}, whose reply carries a .npy, and {"do": "memory"}. A reply with "failed" is the last.
"""

from __future__ import annotations

import importlib
import io
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from hifigan_rt.errors import error_text
from hifigan_rt.system import worker_messages
from hifigan_rt.tools.benchmark.cpu_usage import cpu_seconds, peak_memory_mib, started_processes


@dataclass(frozen=True)
class Executed:
    """What is really running, read back from the runtime."""

    runtime: str
    precision: str
    threads: int | None
    """None where a device computes that has no threads of ours."""
    device: str = "cpu"
    caveat: str = ""
    """What the device says against its figures; mostly empty."""
    products_per_frame: float | None = None
    """Multiply-adds that are really done per frame of a mel; None where the runtime does not tell."""


class LoadedCandidate(Protocol):
    """One loaded runtime."""

    executed: Executed

    def run(self, mel: np.ndarray) -> np.ndarray:
        """Float32 `[B, M, T]` to `[B, N]`."""


@dataclass(frozen=True)
class Load:
    """How a worker gets its candidate and its mel."""

    make: Callable[[], LoadedCandidate]
    mel: str
    """A .npy of float32 `[B, M, T]`."""
    threads: int
    packages: Sequence[str] = ()
    """Imported before loading is timed, so that the time to import is told apart."""


def serve(prepare: Callable[[dict[str, Any]], Load]) -> None:
    """Take the job, load what it names, and answer until the parent has no more requests.

    Args:
        prepare: makes of a job, as JSON has it, how to load its candidate.
    """
    worker_messages.serve(_Answers(prepare))


class _Answers:
    """A candidate, the mel that it runs, and its last output."""

    def __init__(self, prepare: Callable[[dict[str, Any]], Load]) -> None:
        self._prepare = prepare
        self._candidate: LoadedCandidate | None = None
        self._mel = self._audio = np.empty(0)
        self._device_processes: tuple[int, ...] = ()
        """Those that drive a device for the candidate; they are its own."""

    def __call__(self, request: dict[str, Any], _: bytearray) -> tuple[dict[str, Any], bytes]:
        try:
            if self._candidate is None:
                return self._load(self._prepare(request)), b""
            if request["do"] == "output":
                return {}, self._output()
            if request["do"] == "memory":
                return {"peak_memory_mib": peak_memory_mib(self._device_processes)}, b""
            return self._run(self._candidate), b""
        # Whatever a runtime raises is a fact of the table, told by the parent; the trace is for whoever looks.
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            return {"failed": error_text(error).strip()[:400]}, b""

    def _load(self, load: Load) -> dict[str, Any]:
        _pin(load.threads)
        start = time.perf_counter()
        for package in load.packages:
            importlib.import_module(package)
        imported = time.perf_counter()
        candidate = load.make()
        loaded = time.perf_counter()
        self._mel = np.load(load.mel)
        first = self._run(candidate)
        self._candidate = candidate
        if first["device_clock"]:
            self._device_processes = started_processes()
        return {
            "executed": asdict(candidate.executed),
            "import_seconds": imported - start,
            "load_seconds": loaded - imported,
            "first_seconds": first["seconds"],
            "cpu_seconds": cpu_seconds(self._device_processes),
            "device_clock": first["device_clock"],
        }

    def _run(self, candidate: LoadedCandidate) -> dict[str, Any]:
        start = time.perf_counter()
        self._audio = candidate.run(self._mel)
        seconds = time.perf_counter() - start
        # As ais_bench counts: the device's own time, without what the host does around it.
        compute_seconds = getattr(candidate, "compute_seconds", None)
        return {
            "seconds": seconds if compute_seconds is None else compute_seconds,
            "cpu_seconds": cpu_seconds(self._device_processes),
            "device_clock": compute_seconds is not None,
        }

    def _output(self) -> bytes:
        file = io.BytesIO()
        np.save(file, self._audio)
        return file.getvalue()


def _pin(threads: int) -> None:
    """Keep a one-thread candidate on one core; a migration costs it its caches."""
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
