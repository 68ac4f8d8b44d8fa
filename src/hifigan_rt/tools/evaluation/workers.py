"""Worker processes that measure clips side by side; one that dies takes one clip with it, not the run."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any

from hifigan_rt.errors import error_text
from hifigan_rt.system.closing import Closing
from hifigan_rt.system.worker_messages import serve
from hifigan_rt.system.worker_process import WorkerEnded, WorkerLate, WorkerProcess, python_command
from hifigan_rt.tools import records
from hifigan_rt.tools.evaluation.measuring import ClipTask, Measured, encode, measure_clip

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""There is a process per core already."""


class MeasuringPool(Closing):
    """Processes that are started when they get their first clip, and again when they died."""

    def __init__(self, count: int, limit_seconds: float) -> None:
        """
        Args:
            count: of processes, at most.
            limit_seconds: after so long for each system without an answer a process is ended, and its clip has failed.
        """
        self._limit_seconds = limit_seconds
        self._executor = ThreadPoolExecutor(count)
        self._of_thread = threading.local()
        self._guard = threading.Lock()
        self._workers: list[WorkerProcess] = []
        self._closed = False

    def measure(self, clips: Sequence[ClipTask]) -> Iterator[tuple[int, tuple[Measured, ...]]]:
        """Measure all, and give each clip's index with what came out, in the order in which they are finished."""
        futures: dict[Future[tuple[Measured, ...]], int] = {
            self._executor.submit(self._measure, clip): index for index, clip in enumerate(clips)
        }
        for future in as_completed(futures):
            yield futures.pop(future), future.result()

    def _measure(self, clip: ClipTask) -> tuple[Measured, ...]:
        try:
            timeout_s = self._limit_seconds * len(clip.tasks)
            reply, _ = self._worker().ask(encode(clip), timeout_s=timeout_s)
            return tuple(records.decoded(Measured, entry) for entry in reply["measured"])
        except WorkerLate:
            failed = f"it was not measured within {self._limit_seconds:g} s, and was given up"
        except WorkerEnded as error:
            failed = f"while it was measured {error}"
        except Exception as error:  # noqa: BLE001 - one clip never stops the rest
            failed = f"it could not be measured: {error_text(error)}"
            return tuple(Measured({}, failed=failed) for _ in clip.tasks)
        if len(clip.tasks) == 1:
            return (Measured({}, failed=failed),)
        # One system's audio ended the process: the others' shall not be lost.
        return tuple(measured for task in clip.tasks for measured in self._measure(ClipTask((task,))))

    def _worker(self) -> WorkerProcess:
        """The calling thread's own."""
        worker: WorkerProcess | None = getattr(self._of_thread, "worker", None)
        if worker is None or not worker.alive:
            with self._guard:
                if self._closed:
                    raise InterruptedError
                worker = WorkerProcess(python_command(__name__), environment=os.environ | _ONE_THREAD)
                self._workers.append(worker)
            self._of_thread.worker = worker
        return worker

    def close(self) -> None:
        """End all processes, whatever they do; closing twice is allowed."""
        with self._guard:
            self._closed = True
        for worker in self._workers:
            worker.kill()
        self._executor.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()


def main() -> None:
    """A worker: measure clips until the parent has no more."""
    serve(_answer)


def _answer(request: dict[str, Any], _: bytearray) -> tuple[dict[str, Any], bytes]:
    clip: ClipTask = records.decoded(ClipTask, request)
    return {"measured": [encode(measured) for measured in measure_clip(clip)]}, b""
