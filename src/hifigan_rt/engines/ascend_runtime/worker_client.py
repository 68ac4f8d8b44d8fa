"""Starts a worker on one Ascend device, talks to it, and notices when it dies or hangs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.engines.ascend_runtime.failures import (
    INTERPRETER_VARIABLE,
    DeviceContext,
    import_failure,
    missing_package,
    named_causes,
    runtime_failure,
)
from hifigan_rt.errors import EngineError, EngineUnavailable
from hifigan_rt.system import worker_messages
from hifigan_rt.system.worker_process import WorkerEnded, WorkerLate, WorkerProcess, WorkerRaised

START_TIMEOUT_S = 120.0
"""Limit for starting the interpreter, NumPy and the vendor's libraries on a slow, busy machine."""

_CLOSE_TIMEOUT_S = 10.0
_LOG_BYTES = 1 << 16
"""The end of the vendor's messages that an error may quote."""


@dataclass(frozen=True)
class RuntimeInfo:
    """What runs below."""

    backend: str
    version: str
    """Versions of aclruntime, and of ais_bench where it is used."""
    caveat: str
    """What the modules say against their figures, for example that no device is involved; mostly empty."""


def ascend_python() -> str:
    """The interpreter that has aclruntime.

    Raises:
        EngineUnavailable: HIFIGAN_ASCEND_PYTHON names none, or must.
    """
    named = os.environ.get(INTERPRETER_VARIABLE, "")
    if not named and getattr(sys, "frozen", False):
        raise EngineUnavailable(
            "engine 'ascend' needs a Python interpreter that has aclruntime, and this is a frozen program: name one "
            f"with {INTERPRETER_VARIABLE}"
        )
    if not named:
        return sys.executable
    found = shutil.which(named)
    if found is None:
        raise EngineUnavailable(
            f"{INTERPRETER_VARIABLE}={named!r} is no program that can be run: give the path of a Python interpreter"
        )
    return found


class DeviceWorker:
    """One process with one .om on one device; not for several threads at a time."""

    def __init__(self, context: DeviceContext, timeout_s: float) -> None:
        """
        Args:
            context: interpreter, model and device.
            timeout_s: for loading the model and for each run.

        Raises:
            EngineUnavailable: the interpreter cannot be started.
        """
        self._context = context
        self._timeout_s = timeout_s
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        script = Path(__file__).with_name("worker.py")
        # In a frozen program __file__ names what was compiled.
        messages = Path(worker_messages.__file__).with_suffix(".py")
        try:
            self._process = WorkerProcess([context.python, str(script), str(messages)], log=self._log.fileno())
        except OSError as error:
            self._log.close()
            raise EngineUnavailable(
                f"the interpreter {context.python!r} cannot be started ({error.strerror}): check {INTERPRETER_VARIABLE}"
            ) from error
        self.pid = self._process.pid
        """Number of the worker's process."""

    def open(self, backend: str) -> RuntimeInfo:
        """Import the vendor's modules.

        Raises:
            EngineUnavailable: they are missing, or do not import.
        """
        request = {"op": "import", "backend": backend}
        try:
            reply, _ = self._ask(request, b"", START_TIMEOUT_S, "importing aclruntime")
        except WorkerRaised as error:
            log = self._read_log()
            if "is lower please update" in log + error.text or error.kind not in ("ImportError", "OSError"):
                raise runtime_failure(error.text, log, self._context) from None
            raise import_failure(error.kind, error.text, self._context) from None
        if reply["missing"]:
            raise missing_package(reply["missing"], self._context.python)
        version = " ".join(filter(None, (reply["aclruntime"], reply.get("ais_bench") and f"({reply['ais_bench']})")))
        return RuntimeInfo(backend, version or "of unknown version", reply["caveat"])

    def load(self, wanted_output: str) -> dict[str, Any]:
        """Load the model onto the device.

        Returns:
            What the runtime tells: "inputs", each with name, shape and dtype, and "output", with name and dtype.

        Raises:
            EngineError, EngineUnavailable: the runtime refuses the model or the device.
        """
        context = self._context
        request = {"op": "load", "model": str(context.model), "device": context.device, "output": wanted_output}
        reply, _ = self._work(request, b"", f"loading {str(context.model)!r}")
        return reply

    def run(self, mel: np.ndarray, *, shape_mode: str, output_bytes: int) -> tuple[np.ndarray, int]:
        """One inference.

        Args:
            mel: float32 in the layout of the model's input, at a length that it takes.
            shape_mode: static, dymdims for a model with gears, dymshape for open lengths: the names of ais_bench.
            output_bytes: room for the output in dymshape, where the runtime does not know it.

        Returns:
            The output, float32, and the nanoseconds of computing on the device.

        Raises:
            EngineError: the runtime failed; or the process ended or did not answer in time, and `alive` is False then.
        """
        reply, payload = self._work(
            {"op": "run", "shape": list(mel.shape), "shape_mode": shape_mode, "output_bytes": output_bytes},
            np.asarray(mel, np.float32).tobytes(),
            f"computing a mel {list(mel.shape)}",
        )
        return np.frombuffer(payload, np.float32).reshape(reply["shape"]), reply["compute_ns"]

    def close(self) -> None:
        """Free the device and end the process; closing twice is allowed."""
        if self.alive:
            with contextlib.suppress(EngineError, WorkerRaised):
                self._ask({"op": "close"}, b"", _CLOSE_TIMEOUT_S, "closing")
        self._process.close()
        self._log.close()

    def kill(self) -> None:
        """End the process at once; the only method for other threads: a run that waits for it fails then."""
        self._process.kill()

    @property
    def alive(self) -> bool:
        """Whether it can still be asked; one that died or hung is not, and needs a new worker in its place."""
        return self._process.alive

    def _work(self, request: dict[str, Any], payload: bytes, what: str) -> tuple[dict[str, Any], bytearray]:
        try:
            return self._ask(request, payload, self._timeout_s, what)
        except WorkerRaised as error:
            raise runtime_failure(error.text or error.kind, self._read_log(), self._context) from None

    def _ask(
        self, request: dict[str, Any], payload: bytes, timeout_s: float, what: str
    ) -> tuple[dict[str, Any], bytearray]:
        try:
            return self._process.ask(request, payload, timeout_s=timeout_s)
        except WorkerLate:
            raise EngineError(
                f"the Ascend worker on device {self._context.device} did not answer within {timeout_s:g} s while "
                f"{what}, and was stopped: the device may hang ('npu-smi info'); --engine-option timeout=SECONDS "
                "allows more"
            ) from None
        except WorkerEnded as error:
            raise self._died(error.status, what) from None
        finally:
            if not self.alive:
                self._log.close()

    def _died(self, status: int, what: str) -> EngineError:
        log = self._read_log()
        if "No module named 'numpy'" in log:  # which the worker itself is written with
            return missing_package("numpy", self._context.python)
        causes = named_causes(log)
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        last = f"; the last it printed: {lines[-1][:500]}" if lines else ""
        if causes:
            last = f"; it named: {' | '.join(causes[:4])[:500]}"
        if status < 0:
            ended = f"was ended by signal {-status} ({signal.strsignal(-status)})"
        else:
            ended = f"ended with status {status}"
        return EngineError(f"the Ascend worker on device {self._context.device} {ended} while {what}{last}")

    def _read_log(self) -> str:
        if self._log.closed:
            return ""
        size = os.fstat(self._log.fileno()).st_size
        data = os.pread(self._log.fileno(), _LOG_BYTES, max(0, size - _LOG_BYTES))
        return data.decode("utf-8", "replace").replace("\0", "")
