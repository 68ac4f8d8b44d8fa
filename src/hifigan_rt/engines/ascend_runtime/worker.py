"""Runs one .om on one device with the vendor's aclruntime or ais_bench, in an interpreter of its own.

Started by `worker_client.py` as a script: the vendor's wheels are tied to a Python minor and a CANN version, so this
file is Python 3.7 and imports nothing but NumPy, those wheels, and the module of messages whose path is its first
argument. Standard output and error are left to the vendor's messages and go to the client's log file.

Requests: {"op": "import"|"load"|"run"|"close", ...}.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import sys
import time
from typing import Any

import numpy as np

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
        outputs = session.get_outputs()
        names = [output.name for output in outputs]
        self.outputs = len(names)
        # The vendor calls an output "<node>:<number>:<name in the ONNX file>".
        suited = [i for i, name in enumerate(names) if name == wanted_output or name.endswith(":" + wanted_output)]
        self.output = suited[0] if suited else 0
        self.output_name = names[self.output]
        self.output_dtype = _dtype_name(outputs[self.output].datatype)

    def describe(self) -> dict[str, Any]:
        """What the runtime says about the model."""
        inputs = [
            {"name": tensor.name, "shape": [int(size) for size in tensor.shape], "dtype": _dtype_name(tensor.datatype)}
            for tensor in self.session.get_inputs()
        ]
        return {"inputs": inputs, "output": {"name": self.output_name, "dtype": self.output_dtype}}

    def run(self, mel: np.ndarray, shape_mode: str, output_bytes: int) -> tuple[np.ndarray, int]:
        """One inference: the output, and the nanoseconds that it took without the copies to the device and back.

        `shape_mode` is static, dymdims (gears) or dymshape (open lengths). In dymshape the runtime knows the size of
        no output, and makes room for `output_bytes` of each.
        """
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

    def run(self, mel: np.ndarray, shape_mode: str, output_bytes: int) -> tuple[np.ndarray, int]:
        session = self.session
        shape = self.mel.name + ":" + ",".join(map(str, mel.shape))
        if shape_mode == "dymdims":
            session.set_dynamic_dims(shape)
        elif shape_mode == "dymshape":
            session.set_dynamic_shape(shape)
            session.set_custom_outsize([output_bytes] * self.outputs)
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

    def run(self, mel: np.ndarray, shape_mode: str, output_bytes: int) -> tuple[np.ndarray, int]:
        session = self.session
        sizes = {"custom_sizes": output_bytes} if shape_mode == "dymshape" else {}
        try:
            results = session.infer([mel], shape_mode, **sizes)
        except RuntimeError as error:
            # The code of both generations says dym, its manual dyn.
            if shape_mode == "static" or "infer_mode" not in str(error):
                raise
            results = session.infer([mel], shape_mode.replace("dym", "dyn"), **sizes)
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
            output, compute_ns = self._runtime.run(mel, request["shape_mode"], request["output_bytes"])
            output = np.ascontiguousarray(output, dtype=np.float32)
            return {"shape": list(output.shape), "compute_ns": compute_ns}, output.tobytes()
        if self._runtime is not None:
            self._runtime.close()
            self._runtime = None
        return {}, b""

    def _import(self, backend: str) -> dict[str, Any]:
        """Import the vendor's modules, and say which they are; "missing" names what is not installed."""
        self._backend = backend
        about = {"missing": ""}
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
    """The version that is installed, else what the module says."""
    said = str(getattr(sys.modules[package], "__version__", ""))
    try:
        from importlib.metadata import version
    except ImportError:
        return said
    try:
        return version(package)
    except Exception:  # noqa: BLE001 - a module without metadata is no reason to fail
        return said


def main() -> None:
    """Answer requests with the messages that the module named by the first argument defines."""
    # The folder of this script holds modules of ours whose names the vendor's could have.
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - as short in any Python
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]  # noqa: PTH100
    spec = importlib.util.spec_from_file_location("worker_messages", sys.argv[1])
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018
    messages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(messages)
    worker = Worker()

    def answer(request: dict[str, Any], payload: bytearray) -> tuple[dict[str, Any], bytes]:
        reply = worker.answer(request, payload)
        # The log holds what was said since the last request that went well: it cannot grow without end.
        messages.flush_output()
        os.ftruncate(1, 0)
        os.lseek(1, 0, os.SEEK_SET)
        return reply

    messages.serve(answer)


if __name__ == "__main__":
    main()
