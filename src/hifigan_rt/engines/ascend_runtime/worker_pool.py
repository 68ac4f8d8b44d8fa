"""One worker per Ascend device, all fed from one queue."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hifigan_rt.engines.ascend_runtime.failures import DeviceContext
from hifigan_rt.engines.ascend_runtime.worker_client import DeviceWorker, RuntimeInfo
from hifigan_rt.errors import EngineError

_CLOSE_TIMEOUT_S = 3.0
"""How long a run may go on after close() before its process is ended."""


@dataclass(frozen=True)
class Run:
    """What one inference gave."""

    output: np.ndarray
    """float32, of the model's shape at that gear."""
    compute_ns: int
    """Time on the device, without the copies to it and back."""
    device: int


@dataclass(frozen=True)
class _Job:
    mel: np.ndarray
    output_bytes: int
    done: Future[Run]


@dataclass(frozen=True)
class PoolRequest:
    """What every worker of a pool is started with."""

    context: DeviceContext
    """Its device is replaced by each of the pool's."""
    backend: str
    """aclruntime or ais_bench."""
    caveat: str
    """What the .om says against itself; the runtime must say the same."""
    shape_mode: str
    """How the runtime is told a shape: static, dymdims (the .om has gears) or dymshape (open lengths)."""
    wanted_output: str
    timeout_s: float


class DevicePool:
    """Devices that take the next mel as soon as they are free. A worker that dies fails its mel and is replaced."""

    def __init__(self, request: PoolRequest, devices: Sequence[int]) -> None:
        """
        Raises:
            EngineError, EngineUnavailable: a worker could not be started, or its runtime refuses model or device.
        """
        self._request = request
        self._process = os.getpid()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._serving = len(devices)
        self._workers: dict[int, DeviceWorker] = {}
        # Futures, not an executor: its threads would be waited for at the interpreter's end, whatever hangs.
        started: list[Future[tuple[RuntimeInfo, dict[str, Any]]]] = [Future() for _ in devices]
        self._threads = [
            threading.Thread(target=self._serve, args=pair, name=f"hifigan-npu-{pair[0]}", daemon=True)
            for pair in zip(devices, started, strict=True)
        ]
        for thread in self._threads:
            thread.start()
        try:
            loaded = [future.result() for future in started]
        except BaseException:
            self.close()
            raise
        self.runtime, self.model = loaded[0]
        """What runs below, and what it tells of the model: "inputs" and "output", each with name, dtype and so on."""

    def submit(self, mel: np.ndarray, output_bytes: int = 0) -> Future[Run]:
        """Have a batch of mels computed.

        Args:
            mel: float32 in the layout of the model's input, at a length that it takes.
            output_bytes: room for the output, which the runtime of a model of open lengths does not know.

        Raises:
            EngineError: the pool is closed, or another process's.
        """
        if self._process != os.getpid():
            raise EngineError(
                "an .om cannot be used in a process that was forked after it was loaded: load it there, or start the "
                "process with multiprocessing's method 'spawn'"
            )
        job = _Job(mel, output_bytes, Future())
        with self._lock:
            if self._closed:
                raise _closed()
            self._jobs.put(job)
        return job.done

    def close(self) -> None:
        """Let what runs come to its end, for a while, and free the devices; closing twice is allowed."""
        if self._process != os.getpid():
            return  # they are the process's that this one was forked from, and its workers at work
        with self._lock:
            first, self._closed = not self._closed, True
            if first:
                for _ in self._threads:
                    self._jobs.put(None)
        deadline = time.monotonic() + _CLOSE_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for worker in list(self._workers.values()):
            worker.kill()
        for thread in self._threads:
            thread.join()

    def _serve(self, device: int, started: Future[tuple[RuntimeInfo, dict[str, Any]]]) -> None:
        try:
            started.set_result(self._start(device))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            started.set_exception(error)
            return
        while (job := self._jobs.get()) is not None:
            try:
                self._revive(device)
            except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
                if self._leave(job):
                    return
                job.done.set_exception(error)
                continue
            try:
                output, compute_ns = self._workers[device].run(
                    job.mel, shape_mode=self._request.shape_mode, output_bytes=job.output_bytes
                )
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                job.done.set_exception(error)
            else:
                job.done.set_result(Run(output, compute_ns, device))
            del job
        self._workers[device].close()

    def _revive(self, device: int) -> None:
        if not self._workers[device].alive:
            if self._closed:
                raise _closed()
            self._start(device)

    def _leave(self, job: _Job) -> bool:
        """Give up a device that no worker starts on, and its job to the others; False for the last device."""
        with self._lock:
            if self._serving == 1 or self._closed:
                return False
            self._serving -= 1
            self._jobs.put(job)
            return True

    def _start(self, device: int) -> tuple[RuntimeInfo, dict[str, Any]]:
        request = self._request
        worker = DeviceWorker(replace(request.context, device=device), request.timeout_s)
        self._workers[device] = worker
        try:
            runtime = worker.open(request.backend)
            self._check_caveats(runtime)
            return runtime, worker.load(request.wanted_output)
        except BaseException:
            worker.close()
            raise

    def _check_caveats(self, runtime: RuntimeInfo) -> None:
        """A model of a stand-in for the vendor's tools runs on that stand-in alone, and no other model does."""
        model, python = str(self._request.context.model), self._request.context.python
        if runtime.caveat and runtime.caveat != self._request.caveat:
            raise EngineError(
                f"the aclruntime of {python!r} says {runtime.caveat!r} of itself, and {model!r} was not made for it: "
                "take that aclruntime off PYTHONPATH, or convert with the atc that belongs to it"
            )
        if self._request.caveat != runtime.caveat:
            raise EngineError(
                f"{model!r} says {self._request.caveat!r} of itself and runs on no Ascend chip: convert the model "
                "again with the vendor's atc ('hifigan export om')"
            )


def _closed() -> EngineError:
    return EngineError("engine 'ascend' was closed while it ran: load the model again")
