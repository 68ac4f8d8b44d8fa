"""Runs one .om on one device with the vendor's aclruntime or ais_bench, in an interpreter of its own.

Started by `worker_client.py` as a script: the vendor's wheels are tied to a Python minor and a CANN version, so this
file is Python 3.7 and imports nothing but NumPy and those wheels. It answers requests on two pipes, and a third tells
whether the client lives; their descriptors are its arguments. Standard output and error are left to the vendor's
messages and go to the client's log file.

A message is b"HRT1", the length of a JSON header (u32), the length of the payload (u64), the header and the payload,
little-endian. Requests: {"op": "import"|"load"|"run"|"close", ...}; each gets one reply, {"error": ..., "text": ...} if
it failed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.util
import json
import os
import platform
import select
import struct
import sys
import time
from typing import Any

import numpy as np

MAGIC = b"HRT1"
HEAD = struct.Struct("<4sIQ")

DTYPES = {
    0: "float32", 1: "float16", 2: "int8", 3: "int32", 4: "uint8", 6: "int16", 7: "uint16", 8: "uint32", 9: "int64",
    10: "uint64", 11: "float64", 12: "bool",
}  # fmt: skip
"""aclruntime's numbers of types."""


class Runtime:
    """What both of the vendor's interfaces have in common: names, types, and how a gear is written."""

    def __init__(self, session: Any, wanted_output: str) -> None:
        self.session: Any = session
        self.mel = session.get_inputs()[0]
        self.dtype = np.dtype(_dtype_name(self.mel.datatype))
        names = [output.name for output in session.get_outputs()]
        # The vendor calls an output "<node>:<number>:<name in the ONNX file>".
        suited = [i for i, name in enumerate(names) if name == wanted_output or name.endswith(":" + wanted_output)]
        self.output = suited[0] if suited else 0
        self.output_name = names[self.output]

    def describe(self) -> dict[str, Any]:
        """What the runtime says about the model."""
        inputs = [
            {"name": tensor.name, "shape": [int(size) for size in tensor.shape], "dtype": _dtype_name(tensor.datatype)}
            for tensor in self.session.get_inputs()
        ]
        return {"inputs": inputs, "output": self.output_name}

    def run(self, mel: np.ndarray, dynamic: bool) -> tuple[np.ndarray, int]:
        """One inference: the output, and the nanoseconds that it took without the copies to the device and back."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the device back; what it is called differs by generation."""
        session, self.session = self.session, None
        _call_first(session, ["free_resource"])
        with contextlib.suppress(TypeError):  # static in one generation, of the object in another, never both
            _call_first(session, ["finalize"])
        del session
        gc.collect()


class AclRuntime(Runtime):
    """aclruntime, the pybind module itself."""

    def __init__(self, model: str, device: int, wanted_output: str) -> None:
        self._aclruntime = importlib.import_module("aclruntime")
        self._device = device
        options = self._aclruntime.session_options()
        super().__init__(self._aclruntime.InferenceSession(model, device, options), wanted_output)

    def run(self, mel: np.ndarray, dynamic: bool) -> tuple[np.ndarray, int]:
        session = self.session
        if dynamic:
            session.set_dynamic_dims(self.mel.name + ":" + ",".join(map(str, mel.shape)))
        else:
            session.set_staticbatch()
        feed = self._aclruntime.Tensor(mel)
        feed.to_device(self._device)
        started = time.perf_counter_ns()
        results = session.run([self.output_name], [feed])
        compute_ns = time.perf_counter_ns() - started
        results[0].to_host()
        # The runtime keeps the times of all runs until it is told otherwise.
        _call_first(session, ["reset_sumaryinfo", "reset_summaryinfo"])
        return np.array(results[0]), compute_ns


class AisBench(Runtime):
    """ais_bench.infer.interface, which does the copies in the same call."""

    def __init__(self, model: str, device: int, wanted_output: str) -> None:
        interface = importlib.import_module("ais_bench.infer.interface")
        super().__init__(interface.InferSession(device, model), wanted_output)

    def run(self, mel: np.ndarray, dynamic: bool) -> tuple[np.ndarray, int]:
        session = self.session
        try:
            results = session.infer([mel], "dymdims" if dynamic else "static")
        except RuntimeError as error:
            # The code of both generations says dym, its manual dyn.
            if not dynamic or "infer_mode" not in str(error):
                raise
            results = session.infer([mel], "dyndims")
        summary = _call_first(session, ["summary", "sumary"])
        compute_ns = _last_ns(summary.exec_time_list)
        _call_first(session, ["reset_summaryinfo", "reset_sumaryinfo"])
        return np.asarray(results[self.output]), compute_ns


class Worker:
    """Answers requests, one after another."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._backend = ""

    def answer(self, request: dict[str, Any], payload: bytearray) -> tuple[dict[str, Any], bytes]:
        """Do what a request asks for."""
        if request["op"] == "import":
            return self._import(request["backend"]), b""
        if request["op"] == "load":
            kind = AisBench if self._backend == "ais_bench" else AclRuntime
            self._runtime = kind(request["model"], request["device"], request["output"])
            return self._runtime.describe(), b""
        if request["op"] == "run" and self._runtime is not None:
            mel = np.frombuffer(payload, np.float32).reshape(request["shape"])
            mel = np.ascontiguousarray(mel, dtype=self._runtime.dtype)
            output, compute_ns = self._runtime.run(mel, request["dynamic"])
            output = np.ascontiguousarray(output, dtype=np.float32)
            return {"shape": list(output.shape), "compute_ns": compute_ns}, output.tobytes()
        if self._runtime is not None:
            self._runtime.close()
            self._runtime = None
        return {}, b""

    def _import(self, backend: str) -> dict[str, Any]:
        """Import the vendor's modules, and say which they are; "missing" names what is not installed."""
        self._backend = backend
        about: dict[str, Any] = {
            "python": platform.python_version(), "executable": sys.executable, "numpy": np.__version__, "missing": "",
        }  # fmt: skip
        if importlib.util.find_spec("aclruntime") is None:
            return dict(about, missing="aclruntime")
        about["caveat"] = str(getattr(importlib.import_module("aclruntime"), "CAVEAT", ""))
        about["aclruntime"] = _version("aclruntime")
        if backend == "ais_bench":
            if importlib.util.find_spec("ais_bench") is None:
                return dict(about, missing="ais_bench")
            # A tool for language models on PyPI has the same name and no ais_bench.infer.
            if importlib.util.find_spec("ais_bench.infer") is None:
                return dict(about, missing="ais_bench.infer")
            importlib.import_module("ais_bench.infer.interface")
            about["ais_bench"] = _version("ais_bench")
        return about


def read_message(descriptor: int) -> tuple[dict[str, Any], bytearray]:
    """Wait for a request.

    Raises:
        EOFError: the client is gone.
    """
    magic, header_bytes, payload_bytes = HEAD.unpack(_read_exactly(descriptor, HEAD.size))
    if magic != MAGIC:
        raise EOFError
    header = json.loads(_read_exactly(descriptor, header_bytes).decode("utf-8"))
    return header, _read_exactly(descriptor, payload_bytes)


def write_message(descriptor: int, header: dict[str, Any], payload: bytes) -> None:
    """Send a reply, whole."""
    encoded = json.dumps(header).encode("utf-8")
    for part in (HEAD.pack(MAGIC, len(encoded), len(payload)) + encoded, payload):
        view = memoryview(part)
        while len(view):
            view = view[os.write(descriptor, view) :]


def serve(requests: int, replies: int) -> None:
    """Answer until the client closes its pipe."""
    worker = Worker()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            request, payload = read_message(requests)
            answer: tuple[dict[str, Any], bytes]
            try:
                answer = worker.answer(request, payload)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the client tells its user
                answer = {"error": type(error).__name__, "text": str(error)}, b""
            _flush()
            if "error" not in answer[0]:
                # The log holds what was said since the last request that went well: it cannot grow without end.
                os.ftruncate(1, 0)
                os.lseek(1, 0, os.SEEK_SET)
            write_message(replies, *answer)


def _die_with_client(lifeline: int) -> None:
    """End this process when the client dies, even while the vendor's code runs and holds Python's lock.

    The kernel sends SIGIO when the other end of this pipe, on which nothing is ever written, is closed; and SIGIO
    terminates a process that does not handle it.
    """
    import fcntl  # not on Windows, where the client's half of this package must still be importable

    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):
        sys.exit("the client was gone before the worker had started")


def _read_exactly(descriptor: int, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while len(view):
        count = os.readv(descriptor, [view])
        if count == 0:
            raise EOFError
        view = view[count:]
    return data


def _dtype_name(datatype: Any) -> str:
    try:
        return DTYPES[int(datatype)]
    except (TypeError, ValueError, KeyError):
        return str(datatype).rsplit(".", 1)[-1]


def _call_first(thing: Any, names: list[str]) -> Any:
    """Call the first of these methods that this generation has."""
    for name in names:
        with contextlib.suppress(AttributeError):
            return getattr(thing, name)()
    return None


def _last_ns(times: Any) -> int:
    """The last time in ms: a number in the older generation, (start, end) in the newer."""
    last = times[-1]
    milliseconds = last[1] - last[0] if isinstance(last, (tuple, list)) else last
    return int(milliseconds * 1e6)


def _version(package: str) -> str:
    """As installed, else as the module says."""
    said = str(getattr(sys.modules[package], "__version__", ""))
    try:
        from importlib.metadata import version
    except ImportError:
        return said
    try:
        return version(package)
    except Exception:  # noqa: BLE001 - a module without metadata is no reason to fail
        return said


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)


def main() -> None:
    """Serve on the descriptors given as arguments."""
    # The folder of this script holds modules of ours whose names the vendor's could have.
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - as short in any Python
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]  # noqa: PTH100
    requests, replies, lifeline = (int(argument) for argument in sys.argv[1:4])
    for descriptor in (requests, replies, lifeline):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - not for processes that the vendor's code starts
    _die_with_client(lifeline)
    serve(requests, replies)


if __name__ == "__main__":
    main()
