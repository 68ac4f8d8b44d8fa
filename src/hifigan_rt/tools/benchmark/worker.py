"""The worker's side: holds one candidate, and is asked through its standard input.

The first line is the job. Each request and each answer is one line of JSON. Requests: {"do": "run"}, {"do": "save",
"path": PATH}, and {"do": "memory"}. The first answer comes without a request, when the candidate is loaded and has run
once; an answer with "error" is the last.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

from hifigan_rt.errors import HifiganError
from hifigan_rt.tools.benchmark.cpu_usage import peak_memory_mib


@dataclass(frozen=True)
class Executed:
    """What is really running, read back from the runtime."""

    runtime: str
    precision: str
    threads: int
    device: str = "cpu"
    caveat: str = ""
    """What the device says against its figures; mostly empty."""


class Candidate(Protocol):
    """One loaded runtime."""

    executed: Executed

    def run(self, mel: np.ndarray) -> np.ndarray:
        """Float32 `[B, M, T]` to `[B, N]`."""


@dataclass(frozen=True)
class Load:
    """How a worker gets its candidate and its mel."""

    make: Callable[[], Candidate]
    mel: str
    """A .npy of float32 `[B, M, T]`."""
    threads: int
    packages: Sequence[str] = ()
    """Imported before loading is timed, so that the time to import is told apart."""


def serve(prepare: Callable[[dict[str, Any]], Load]) -> None:
    """Take the job, load what it names, and answer until standard input ends."""
    channel = _own_channel()

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=channel, flush=True)

    try:
        load = prepare(json.loads(sys.stdin.readline()))
        _pin(load.threads)
        worker = _Worker(load)
        answer(worker.answer)
        for line in sys.stdin:
            answer(worker.handle(json.loads(line)))
    # Whatever a runtime raises is a fact of the table, told by the parent; the trace is for whoever looks.
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        text = str(error).strip()[:400]
        answer({"error": text if isinstance(error, HifiganError) else f"{type(error).__name__}: {text}"})


def _own_channel() -> TextIO:
    """Standard output for answers alone: what a runtime prints goes to standard error from now on."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return channel


def _pin(threads: int) -> None:
    """Keep a one-thread candidate on one core; a migration costs it its caches."""
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


class _Worker:
    """A loaded candidate, the mel that it runs, and its last output."""

    def __init__(self, load: Load) -> None:
        start = time.perf_counter()
        for package in load.packages:
            importlib.import_module(package)
        imported = time.perf_counter()
        self._candidate = load.make()
        loaded = time.perf_counter()
        self._mel = np.load(load.mel)
        self._audio = np.empty(0)
        first = self._run()
        self.answer = {
            "executed": asdict(self._candidate.executed),
            "import_seconds": imported - start,
            "load_seconds": loaded - imported,
            "first_seconds": first["seconds"],
            "cpu_seconds": first["cpu_seconds"],
            "device_clock": first["device_clock"],
        }

    def _run(self) -> dict[str, Any]:
        start = time.perf_counter()
        self._audio = self._candidate.run(self._mel)
        seconds = time.perf_counter() - start
        # As ais_bench counts: the device's own time, without what the host does around it.
        compute_seconds = getattr(self._candidate, "compute_seconds", None)
        return {
            "seconds": seconds if compute_seconds is None else compute_seconds,
            "cpu_seconds": time.process_time(),
            "device_clock": compute_seconds is not None,
        }

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        actions: dict[str, Callable[[], dict[str, Any]]] = {
            "run": self._run,
            "save": lambda: self._save(Path(request["path"])),
            "memory": lambda: {"peak_memory_mib": peak_memory_mib()},
        }
        return actions[request["do"]]()

    def _save(self, path: Path) -> dict[str, Any]:
        np.save(path, self._audio)
        return {}
