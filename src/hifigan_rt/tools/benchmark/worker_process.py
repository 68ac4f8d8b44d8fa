"""The parent's side of a worker: starts a process that holds one candidate, asks it, and ends it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from hifigan_rt.system.child_python import describe_ending, python_command
from hifigan_rt.tools.benchmark.rotation import CandidateFailed

DEFAULT_TIMEOUT_SECONDS = 600.0
"""For loading, and for one inference; compiling a large model for a large batch takes minutes."""


def worker_environment(threads: int) -> dict[str, str]:
    """The environment of a worker: OpenMP runtimes read their thread count there, before any import."""
    return os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


class WorkerProcess:
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
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                python_command(module),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=worker_environment(threads),
                text=True,
                # Its own group: Ctrl-C reaches the parent alone, which ends the worker with all that it started.
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._closed = False
        self._timeout_seconds = timeout_seconds
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        try:
            assert self._process.stdin is not None  # noqa: S101 - asked for above
            assert self._process.stdout is not None  # noqa: S101
            self._input = self._process.stdin
            reader = threading.Thread(target=_forward, args=(self._process.stdout, self._answers), daemon=True)
            reader.start()
            self._send(job)
            self.facts = self._read()
        except BaseException:
            # Interrupted while it loads: nobody else knows of the process yet.
            self.close()
            raise

    def _send(self, content: Mapping[str, Any]) -> None:
        # A worker that is gone shows when its answer is read.
        with contextlib.suppress(BrokenPipeError):
            self._input.write(json.dumps(content) + "\n")
            self._input.flush()

    def _read(self) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=self._timeout_seconds)
        except queue.Empty:
            answer = {"error": f"it gave no answer within {self._timeout_seconds:g} s and was ended"}
        else:
            answer = json.loads(line) if line else {"error": describe_ending(self._process.wait())}
        if "error" in answer:
            self.close()
            raise CandidateFailed(answer["error"])
        return answer

    def ask(self, **request: str) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Raises:
            CandidateFailed: the worker answered with an error, is gone or hangs; it is closed then.
        """
        self._send(request)
        return self._read()

    def run(self) -> tuple[float, float]:
        answer = self.ask(do="run")
        return answer["seconds"], answer["cpu_seconds"]

    def save_output(self) -> Path:
        """Write the last output to a temporary .npy, which the caller removes."""
        with tempfile.NamedTemporaryFile(suffix=".npy", delete=False) as file:
            path = Path(file.name)
        try:
            self.ask(do="save", path=str(path))
        except BaseException:
            path.unlink()
            raise
        return path

    def close(self) -> None:
        """End the process and what it started; closing twice is allowed."""
        if not self._closed:
            self._closed = True
            # The group, even where its leader is gone: compilers that it started may be left.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            # What was never sent cannot be flushed any more.
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()


def _forward(stream: IO[str], answers: queue.SimpleQueue[str]) -> None:
    """Hand over every line; an empty one is the end. In a thread, since a pipe cannot be waited for with a limit."""
    with contextlib.suppress(ValueError):  # closed meanwhile
        for line in stream:
            answers.put(line)
    answers.put("")
