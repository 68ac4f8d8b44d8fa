"""The process that holds one candidate: `python -m measuring.worker JOB`, asked through its standard input.

Each request and each answer is one line of JSON. Requests: {"do": "run"}, {"do": "save", "path": PATH}, and
{"do": "memory"}. The first answer comes without a request, when the candidate is loaded and has run once; an answer
with "error" is the last.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from measuring.candidates import Candidate, Job, entries, load_candidate, plain_name
from measuring.cpu_usage import peak_memory_mib


def _own_channel() -> TextIO:
    """Standard output for answers alone: what a runtime prints goes to standard error from now on."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return channel


def _pin(threads: int) -> None:
    """Keep a one-thread candidate on one core; a migration costs it its caches."""
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


class Worker:
    """A loaded candidate, the mel that it runs, and its last output."""

    def __init__(self, job: Job) -> None:
        start = time.perf_counter()
        for package in entries()[plain_name(job.candidate)].packages:
            importlib.import_module(package)
        imported = time.perf_counter()
        self._candidate: Candidate = load_candidate(job)
        loaded = time.perf_counter()
        self._mel = np.load(job.mel)
        self._audio = np.empty(0)
        first = self._run()
        self.answer = {
            "executed": asdict(self._candidate.executed),
            "import_seconds": imported - start,
            "load_seconds": loaded - imported,
            "first_seconds": first["seconds"],
            "cpu_seconds": time.process_time(),
        }

    def _run(self) -> dict[str, Any]:
        start = time.perf_counter()
        self._audio = self._candidate.run(self._mel)
        return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time()}

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


def main() -> None:
    channel = _own_channel()

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=channel, flush=True)

    try:
        job = Job(**json.loads(sys.argv[1]))
        _pin(job.threads)
        worker = Worker(job)
        answer(worker.answer)
        for line in sys.stdin:
            answer(worker.handle(json.loads(line)))
    # Whatever a runtime raises is a fact of the table, told by the parent; the trace is for whoever looks.
    except Exception as error:  # noqa: BLE001
        import traceback

        traceback.print_exc()
        answer({"error": f"{type(error).__name__}: {str(error).strip()[:400]}"})


if __name__ == "__main__":
    main()
