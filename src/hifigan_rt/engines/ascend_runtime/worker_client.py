"""Starts a worker on one Ascend device, talks to it, and notices when it dies or hangs."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.engines.ascend_runtime.failures import (
    INTERPRETER_VARIABLE,
    Situation,
    import_failure,
    missing_package,
    runtime_failure,
)
from hifigan_rt.engines.ascend_runtime.worker import HEAD, MAGIC
from hifigan_rt.errors import EngineError, EngineUnavailable

START_TIMEOUT_S = 120.0
"""For the interpreter, NumPy and the vendor's libraries on a slow, busy machine."""

_CLOSE_TIMEOUT_S = 10.0
_LOG_BYTES = 1 << 16
"""Of the vendor's messages this much of the end is kept for an error."""


@dataclass(frozen=True)
class RuntimeInfo:
    """What runs below."""

    backend: str
    version: str
    """Of aclruntime, and of ais_bench where it is used."""
    python: str
    caveat: str
    """What the modules say against their figures, for example that no device is involved; mostly empty."""


def ascend_python() -> str:
    """The interpreter that has aclruntime.

    Raises:
        EngineUnavailable: HIFIGAN_ASCEND_PYTHON names none.
    """
    named = os.environ.get(INTERPRETER_VARIABLE, "")
    if not named:
        return sys.executable
    found = shutil.which(named)
    if found is None:
        raise EngineUnavailable(
            f"{INTERPRETER_VARIABLE}={named!r} is no program that can be run: give the path of a Python interpreter"
        )
    return found


class Worker:
    """One process with one .om on one device; not for several threads at a time."""

    def __init__(self, situation: Situation, timeout_s: float) -> None:
        """
        Args:
            situation: interpreter, model and device.
            timeout_s: for loading the model and for each run.
        """
        self._situation = situation
        self._timeout_s = timeout_s
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        their_requests, self._requests = os.pipe()
        self._replies, their_replies = os.pipe()
        # Nothing is ever written to it: when it closes, the kernel tells the worker that this process is gone.
        their_lifeline, self._lifeline = os.pipe()
        theirs = (their_requests, their_replies, their_lifeline)
        script = Path(__file__).with_name("worker.py")
        try:
            # In a session of its own, so that Ctrl-C in a terminal reaches this process alone.
            self._process = subprocess.Popen(
                [situation.python, str(script), *map(str, theirs)],
                stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, pass_fds=theirs, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._close_descriptors()
            raise EngineUnavailable(
                f"the interpreter {situation.python!r} cannot be started ({error.strerror}): "
                f"check {INTERPRETER_VARIABLE}"
            ) from error
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        os.set_blocking(self._requests, False)

    def open(self, backend: str) -> RuntimeInfo:
        """Import the vendor's modules.

        Raises:
            EngineUnavailable: they are missing, or do not import.
        """
        reply, _ = self._exchange({"op": "import", "backend": backend}, b"", START_TIMEOUT_S, "importing aclruntime")
        if "error" in reply:
            log = self._read_log()
            if "is lower please update" in log + reply["text"] or reply["error"] not in ("ImportError", "OSError"):
                raise runtime_failure(reply["text"], log, self._situation)
            raise import_failure(reply["error"], reply["text"], self._situation)
        if reply["missing"]:
            raise missing_package(reply["missing"], self._situation.python)
        version = " ".join(filter(None, (reply["aclruntime"], reply.get("ais_bench") and f"({reply['ais_bench']})")))
        return RuntimeInfo(backend, version or "of unknown version", reply["python"], reply["caveat"])

    def load(self, wanted_output: str) -> dict[str, Any]:
        """Load the model onto the device.

        Returns:
            What the runtime tells: "inputs", each with name, shape and dtype, and "output", a name.

        Raises:
            EngineError, EngineUnavailable: the runtime refuses the model or the device.
        """
        situation = self._situation
        request = {
            "op": "load", "model": str(situation.model), "device": situation.device, "output": wanted_output,
        }  # fmt: skip
        reply, _ = self._asked(request, b"", f"loading {str(situation.model)!r}")
        return reply

    def run(self, mel: np.ndarray, *, dynamic: bool) -> tuple[np.ndarray, int]:
        """One inference.

        Args:
            mel: float32 in the layout of the model's input, at a gear.
            dynamic: the model has gears.

        Returns:
            The output, float32, and the nanoseconds of computing on the device.

        Raises:
            EngineError: the runtime failed; or the process ended or did not answer in time, and `alive` is False then.
        """
        reply, payload = self._asked(
            {"op": "run", "shape": list(mel.shape), "dynamic": dynamic},
            np.asarray(mel, np.float32).tobytes(),
            f"computing a mel {list(mel.shape)}",
        )
        return np.frombuffer(payload, np.float32).reshape(reply["shape"]), reply["compute_ns"]

    def close(self) -> None:
        """Free the device and end the process; closing twice is allowed."""
        if self.alive:
            with contextlib.suppress(EngineError):
                self._exchange({"op": "close"}, b"", _CLOSE_TIMEOUT_S, "closing")
        self._end()

    def kill(self) -> None:
        """End the process at once; the only method for other threads: a run that waits for it fails then."""
        # Once it was waited for, its number may be another process's.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def alive(self) -> bool:
        """Whether it can still be asked; one that died or hung is not, and needs a new worker in its place."""
        return self._requests >= 0

    @property
    def pid(self) -> int:
        """Of the worker's process."""
        return self._process.pid

    def _asked(self, request: dict[str, Any], payload: bytes, what: str) -> tuple[dict[str, Any], bytes]:
        reply, answer = self._exchange(request, payload, self._timeout_s, what)
        if "error" in reply:
            raise runtime_failure(reply["text"] or reply["error"], self._read_log(), self._situation)
        return reply, answer

    def _exchange(
        self, request: dict[str, Any], payload: bytes, timeout_s: float, what: str
    ) -> tuple[dict[str, Any], bytes]:
        deadline = time.monotonic() + timeout_s
        header = json.dumps(request).encode()
        try:
            self._send(HEAD.pack(MAGIC, len(header), len(payload)) + header, deadline)
            self._send(payload, deadline)
            _, header_bytes, payload_bytes = HEAD.unpack(self._receive(HEAD.size, deadline))
            reply: dict[str, Any] = json.loads(self._receive(header_bytes, deadline))
            return reply, self._receive(payload_bytes, deadline)
        except TimeoutError:
            self._end()
            raise EngineError(
                f"the Ascend worker on device {self._situation.device} did not answer within {timeout_s:g} s while "
                f"{what}, and was stopped: the device may hang ('npu-smi info'); --engine-option timeout=SECONDS "
                "allows more"
            ) from None
        except (EOFError, OSError):
            raise self._died(what) from None
        except BaseException:
            self._end()  # half an answer would be taken for the beginning of the next
            raise

    def _send(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while len(view):
            _, ready, _ = select.select([], [self._requests], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            view = view[os.write(self._requests, view) :]

    def _receive(self, size: int, deadline: float) -> bytes:
        data = bytearray(size)
        view = memoryview(data)
        while len(view):
            ready, _, _ = select.select([self._replies], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            count = os.readv(self._replies, [view])
            if count == 0:
                raise EOFError
            view = view[count:]
        return bytes(data)

    def _died(self, what: str) -> EngineError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSE_TIMEOUT_S)
        status, log = self._process.returncode, self._read_log()
        self._end()
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        last = f"; the last it printed: {lines[-1][:500]}" if lines else ""
        if status is not None and status < 0:
            ended = f"was ended by signal {-status} ({signal.strsignal(-status)})"
        else:
            ended = f"ended with status {status}"
        return EngineError(f"the Ascend worker on device {self._situation.device} {ended} while {what}{last}")

    def _end(self) -> None:
        self.kill()
        self._process.wait()
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        for name in ("_requests", "_replies", "_lifeline"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)
        self._log.close()

    def _read_log(self) -> str:
        if self._log.closed:
            return ""
        size = os.fstat(self._log.fileno()).st_size
        data = os.pread(self._log.fileno(), _LOG_BYTES, max(0, size - _LOG_BYTES))
        return data.decode("utf-8", "replace").replace("\0", "")
