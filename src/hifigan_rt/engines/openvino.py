"""Runs a generator, a foreign HiFi-GAN ONNX file or an OpenVINO IR in OpenVINO."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hifigan_rt.engines.base import Engine, EngineInfo, EngineOptions
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.input_layout import InputLayout, join_parts, layout_of_export, layout_of_file
from hifigan_rt.engines.openvino_shapes import CompiledShapes
from hifigan_rt.errors import EngineError, EngineUnavailable, PrecisionUnavailable
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.formats.onnx_reading import inspect_onnx
from hifigan_rt.formats.openvino_package import import_openvino, openvino_core, reason_of
from hifigan_rt.formats.openvino_reading import inspect_openvino
from hifigan_rt.graph import Graph
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.kinds import OnnxFile, OpenVinoFile, Weights
from hifigan_rt.system.files import is_utf8

if TYPE_CHECKING:
    import openvino

_Readable = Weights | OnnxFile | OpenVinoFile

CPU = "CPU"

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_FLOATS = {hint: name for name, hint in _HINTS.items()}
_QUANTISED = ("i8", "u8", "i4", "u4")

_WEIGHTED = ("convolution", "deconvolution", "fullyconnected", "matmul", "gemm", "fully_connected")
"""Types of layers in a runtime graph, of CPUs and GPUs, whose precision decides the result's."""

_process: int | None = None
"""The process that loaded the first model."""


class OpenVinoEngine(Engine):
    """One model on one device, fed through the layout that it has."""

    def __init__(
        self, shapes: CompiledShapes, info: EngineInfo, layout: InputLayout, conditioning: ConditioningRule
    ) -> None:
        super().__init__()
        self.conditioning = conditioning
        self._shapes: CompiledShapes | None = shapes
        self.info = info
        self._layout = layout
        self.fixed_size = layout.fixed_size

    def _run(self, mel: CheckedMel, conditioning: np.ndarray | None = None) -> np.ndarray:
        return self._run_until(mel, conditioning, threading.Event())

    def _run_many(self, mels: Sequence[CheckedMel], conditioning: np.ndarray | None = None) -> list[np.ndarray]:
        """See `Engine.run_many`; with hint=throughput several at once."""
        shapes = self._shapes
        if shapes is None or shapes.concurrency == 1 or len(mels) < 2:
            return super()._run_many(mels, conditioning)
        stopped = threading.Event()
        with ThreadPoolExecutor(min(shapes.concurrency, len(mels))) as pool:
            try:
                given = [None] * len(mels) if conditioning is None else conditioning[:, None]
                return list(pool.map(lambda mel, beside: self._run_until(mel[None], beside, stopped)[0], mels, given))
            except BaseException:
                # Leaving the pool waits for its threads; after Ctrl-C they are not to finish what they began.
                stopped.set()
                raise

    def _run_until(self, mel: np.ndarray, conditioning: np.ndarray | None, stopped: threading.Event) -> np.ndarray:
        shapes = self._shapes
        if shapes is None:  # closed by another thread since `run` looked
            raise self.closed_error()
        _refuse_fork()
        self._layout.check(mel)
        parts = self._layout.parts(mel, conditioning)
        return join_parts([self._run_part(shapes, *part, stopped) for part in parts])

    def _run_part(
        self, shapes: CompiledShapes, mel: np.ndarray, conditioning: np.ndarray | None, stopped: threading.Event
    ) -> np.ndarray:
        try:
            output = shapes.run(self._layout.feeds(mel, conditioning), stopped)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"OpenVINO failed on a mel [B, M, T] = {list(mel.shape)}: {reason_of(error)}") from error
        return self._layout.read(output, mel)

    def turn_layout(self) -> bool:
        return self._layout.turn()

    def _close(self) -> None:
        self._shapes = None


def create(model: _Readable, options: EngineOptions) -> OpenVinoEngine:
    """Load a model into OpenVINO.

    Raises:
        EngineError: the file is not a vocoder that can be fed, or an option is not offered.
        EngineUnavailable: the device is not there.
        PrecisionUnavailable: the device executes another precision than the one asked for.
        ModelFileError: the file is damaged or unsafe.
    """
    global _process
    if model.graph is not None:
        refuse_single_channels(model.name, model.graph)
    openvino = import_openvino()
    _refuse_fork()
    _process = os.getpid()
    threads = options.thread_count
    device = _choose_device(options.device)
    hint = options.settings.get("hint", "latency")
    name, layout, graph = _read(model, options)
    try:
        shapes = CompiledShapes(graph, device, _properties(device, hint, options.precision, threads))
        executed = _executed_precision(shapes.compiled)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot load {name} on {device}: {reason_of(error)}") from error
    if executed in _HINTS and executed != options.precision:
        full_name = openvino_core().get_property(device, "FULL_DEVICE_NAME")
        # A file's own casts can make float32 the one that is not executed.
        choice = " or ".join(name for name in dict.fromkeys((executed, "float32")) if name != options.precision)
        raise PrecisionUnavailable(
            f"precision={options.precision!r} is not executed by OpenVINO's device {device} ({full_name}): it would "
            f"compute in {executed} in its place; ask for {choice}"
        )
    used = int(shapes.compiled.get_property("INFERENCE_NUM_THREADS")) if device == CPU else threads
    version = openvino.get_version().partition("-")[0]
    variant = f"{hint}, {options.settings.get('graph', '2d')} graph" if isinstance(model, Weights) else hint
    info = EngineInfo("openvino", version, executed, used, device, variant)
    conditioning = (
        ConditioningRule.of_generator(model.generator)
        if isinstance(model, Weights)
        else layout.conditioning_rule(None if model.graph is None else model.graph.config)
    )
    return OpenVinoEngine(shapes, info, layout, conditioning)


def _refuse_fork() -> None:
    """Refuse a forked process, which would wait for ever for its parent's threads; also to load a model, which gets
    the threads of one that the parent has freed.

    Raises:
        EngineError: it was forked after a model was loaded.
    """
    if _process not in (None, os.getpid()):
        raise EngineError(
            "OpenVINO does not work in a process that was forked from one that had loaded a model into it: start it "
            "with multiprocessing's method 'spawn', or load models only after the fork"
        )


def refuse_single_channels(name: str, graph: Graph) -> None:
    """Refuse networks that OpenVINO computes wrongly.

    With one channel in a stage, OpenVINO 2026.4 gives -6 to 62 dB for mels of up to some ten frames.

    Raises:
        EngineError: the network is one of them.
    """
    for layer in graph.layers[:-1]:
        if layer.out_channels == 1:
            raise EngineError(
                f"layer {layer.name} of {name} has one channel, and OpenVINO computes such networks wrongly: use "
                "engine native or onnxruntime"
            )


def _refuse_wrapping_operators(name: str, operators: Collection[str]) -> None:
    """Refuse ONNX files that were quantised to operators which OpenVINO computes wrongly.

    Where the result of one does not fit into 8 bits, OpenVINO 2026.4 gives its low bits in place of the nearest bound:
    11 dB of the audio that ONNX Runtime gives. ONNX's own QLinearConv is right.

    Raises:
        EngineError: the file has such operators.
    """
    wrong = sorted(operator for operator in operators if operator.startswith("com.microsoft.QLinear"))
    if wrong:
        raise EngineError(
            f"{name} has operators that OpenVINO computes wrongly: {', '.join(wrong)}; use engine onnxruntime, or "
            "quantise with quant_format=QuantFormat.QDQ"
        )


def _choose_device(name: str | None) -> str:
    # Asking for all devices loads the plugins of all of them.
    if name is None or name.upper() == CPU:
        return CPU
    devices: list[str] = openvino_core().available_devices
    for device in devices:
        if name.upper() in (device.upper(), device.upper().removesuffix(".0")):
            return device
    raise EngineUnavailable(
        f"device={name!r} is not there for OpenVINO: it has {', '.join(devices)}; AUTO, MULTI and HETERO are not "
        "offered, since they do not tell beforehand what is executed where"
    )


def _properties(device: str, hint: str, precision: str, threads: int) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "PERFORMANCE_HINT": hint.upper(),
        # Without it processors with bfloat16 compute in bfloat16.
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
    }
    if device == CPU:
        properties |= {
            "INFERENCE_NUM_THREADS": threads,
            # Two processes that pin one thread each pin both to the first core.
            "ENABLE_CPU_PINNING": False,
            # By default kernels are kept for every length that ever came: 35 MB each.
            "CPU_RUNTIME_CACHE_CAPACITY": 0,
        }
    return properties


def _read(model: _Readable, options: EngineOptions) -> tuple[str, InputLayout, openvino.Model]:
    """The model's name for texts, how it is fed, and its graph."""
    core = openvino_core()
    if isinstance(model, Weights):
        rank = 3 if options.settings.get("graph") == "1d" else 4
        serialised = build_onnx(model.generator, None, rank=rank, has_table=False).SerializeToString()
        return model.name, layout_of_export(model.name, model.graph.config, rank), core.read_model(serialised)
    if "graph" in options.settings:
        raise EngineError(
            f"graph={options.settings['graph']!r} is for checkpoints: {model.name} is a converted file, and has the "
            "graph that it has"
        )
    if isinstance(model, OnnxFile):
        name = f"ONNX file {str(model.path)!r}"
        onnx = inspect_onnx(model.path)
        _refuse_wrapping_operators(name, onnx.operators)
        layout = layout_of_file(name, onnx, model.graph)
        return name, layout, _read_files(core, name, model.path, None, bool(onnx.external_files))
    name = f"OpenVINO IR {str(model.path)!r}"
    ir = inspect_openvino(model.path, verify=False)  # as the model was resolved
    layout = layout_of_file(name, ir, model.graph)
    weights = ir.weights_path if ir.weights_path.exists() else None
    return name, layout, _read_files(core, name, ir.path, weights, in_parts=False)


def _read_files(core: Any, name: str, path: Path, weights: Path | None, in_parts: bool) -> openvino.Model:
    sources: tuple[Any, ...] = (os.fspath(path),)
    if not is_utf8(path):
        if in_parts:
            raise EngineError(f"{name} has external data and a name that is not UTF-8: rename it or its folder")
        sources = (path.read_bytes(), b"" if weights is None else weights.read_bytes())
    try:
        return core.read_model(*sources)
    except (RuntimeError, ValueError) as error:
        way_out = ""
        if "outside the base directory" in str(error):  # as in a cache of Hugging Face
            way_out = ": it follows no links to data: copy model and data themselves into one folder (cp -L)"
        raise EngineError(f"OpenVINO cannot load {name}: {reason_of(error)}{way_out}") from error


def _executed_precision(compiled: openvino.CompiledModel) -> str:
    """The precision of most layers that have weights, as the device tells it of the graph that it runs."""
    weighted: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for operation in compiled.get_runtime_model().get_ordered_ops():
        facts = operation.get_rt_info()
        kind, stated, kernel = (
            facts[key].astype(str).lower() for key in ("layerType", "runtimePrecision", "primitiveType")
        )
        # Weights in float16 make the stated precision f16, even where the kernel, say brgconv_avx512_f32, widens them.
        word = kernel.rpartition("_")[2]
        precision = word if word in _FLOATS or word in _QUANTISED else stated
        (weighted if kind in _WEIGHTED else others)[precision] += 1
    most = (weighted or others).most_common(1)[0][0]
    return "int8" if most in _QUANTISED else _FLOATS.get(most, most)
