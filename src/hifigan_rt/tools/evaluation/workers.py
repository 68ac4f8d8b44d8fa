"""Worker processes that measure clips side by side; one that dies takes one clip with it, not the run."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType

from hifigan_rt.system.child_python import describe_ending, python_command
from hifigan_rt.tools import records
from hifigan_rt.tools.evaluation.measuring import Measured, Task, encode

_MODULE = "hifigan_rt.tools.evaluation.measuring"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""There is a process per core already."""


class WorkerPool:
    """Processes that are started when they get their first task, and again when they died.

    Args:
        count: of processes, at most.
        limit_seconds: after so long without an answer a process is ended, and its task has failed.
    """

    def __init__(self, count: int, limit_seconds: float) -> None:
        self._count = count
        self._limit_seconds = limit_seconds
        self._processes: list[subprocess.Popen[str] | None] = [None] * count
        self._threads: list[threading.Thread] = []
        self._guard = threading.Lock()
        self._closed = False

    def measure(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Measured]]:
        """Measure all, and give each task's index with what came out, in the order in which they are finished."""
        waiting: queue.SimpleQueue[tuple[int, Task]] = queue.SimpleQueue()
        finished: queue.SimpleQueue[tuple[int, Measured]] = queue.SimpleQueue()
        for entry in enumerate(tasks):
            waiting.put(entry)
        for slot in range(min(self._count, len(tasks))):
            thread = threading.Thread(target=self._serve, args=(slot, waiting, finished), daemon=True)
            self._threads.append(thread)
            thread.start()
        for _ in tasks:
            yield finished.get()

    def _serve(
        self, slot: int, waiting: queue.SimpleQueue[tuple[int, Task]], finished: queue.SimpleQueue[tuple[int, Measured]]
    ) -> None:
        while not self._closed:
            try:
                index, task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                measured = self._ask(slot, task)
            except Exception as error:  # noqa: BLE001 - whoever waits for this answer would wait for ever
                self._end(slot)
                measured = Measured({}, failed=f"it could not be measured: {type(error).__name__}: {error}")
            finished.put((index, measured))

    def _ask(self, slot: int, task: Task) -> Measured:
        process = self._process(slot)
        if process is None:
            return Measured({}, failed="interrupted")
        late = threading.Event()

        def give_up() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(self._limit_seconds, give_up)
        timer.daemon = True
        timer.start()
        # A process that is gone shows when its answer is read.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(encode(task)) + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        line = process.stdout.readline()  # type: ignore[union-attr]
        timer.cancel()
        if line.endswith("\n"):
            measured: Measured = records.decoded(Measured, json.loads(line))
            return measured
        self._end(slot)
        if late.is_set():
            return Measured({}, failed=f"it was not measured within {self._limit_seconds:g} s, and was given up")
        return Measured({}, failed=f"while it was measured {describe_ending(process.returncode)}")

    def _process(self, slot: int) -> subprocess.Popen[str] | None:
        with self._guard:
            if self._closed:
                return None
            process = self._processes[slot]
            if process is None:
                process = self._processes[slot] = subprocess.Popen(
                    python_command(_MODULE), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                    env=os.environ | _ONE_THREAD, text=True,
                    # Its own group: Ctrl-C reaches the parent alone, which ends the worker with all that it started.
                    start_new_session=True,
                )  # fmt: skip
            return process

    def _end(self, slot: int) -> None:
        with self._guard:
            process, self._processes[slot] = self._processes[slot], None
        if process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            # One that died by itself keeps its own status.
            process.wait(timeout=1)
        _kill(process)
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]

    def close(self) -> None:
        """End all processes, whatever they do; closing twice is allowed."""
        with self._guard:
            self._closed = True
            running = [process for process in self._processes if process is not None]
        for process in running:
            _kill(process)
        for thread in self._threads:
            thread.join()
        for slot in range(self._count):
            self._end(slot)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process with all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
