"""Runs ONNX files on an Ascend NPU through ONNX Runtime's CANN provider, where such a build is installed.

Rule: what plays is this file, compiled now. The provider compiles for each new shape, writes the .om into the current
folder (`dump_om_model`, on by default), and loads without a question whatever lies there under that name, which is made
of the graph's name, the file's path and the shape: weights, precision and chip are not in it
(microsoft/onnxruntime core/providers/cann/cann_execution_provider.cc, Compile and GetSubGraph, and GenerateId there).
So the dump is turned off, and the graph gets a name of its own for each load, from a path of its own.
"""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hifigan_rt.engines.ascend_runtime.chips import soc_of_device
from hifigan_rt.engines.ascend_runtime.gears import needed_overlap, plan_windows
from hifigan_rt.engines.ascend_runtime.precision import FLOAT16_PRODUCTS, KEEP_ORIGIN, default_mode, describe_mode
from hifigan_rt.engines.base import EngineInfo
from hifigan_rt.engines.input_layout import InputLayout, layout_of_file
from hifigan_rt.engines.onnxruntime_session import SessionEngine, open_session
from hifigan_rt.errors import EngineError, EngineUnavailable, SlowEngineWarning
from hifigan_rt.formats.onnx_reading import OnnxInfo, inspect_onnx
from hifigan_rt.graph import Graph
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.kinds import OnnxFile
from hifigan_rt.system.callers import warn_caller

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CANN_PROVIDER = "CANNExecutionProvider"

GEARS = (250, 500, 1000, 2000)
"""Lengths in frames that cover mels longer than the first, so that few are compiled; every sample is exact."""

MOST_SHAPES = 8
"""Number of shapes after which a warning says that each stays on the device."""

_V2_NAMES = {KEEP_ORIGIN: "origin", FLOAT16_PRODUCTS: FLOAT16_PRODUCTS}
"""Modes as builds of 2026 name them, in precision_mode_v2 (microsoft/onnxruntime pull request 27970)."""

_UNKNOWN_OPTION = re.compile(r"[Uu]nknown provider option|\b(precision_mode|precision_mode_v2|dump_om_model)\b")
_DEVICE_TROUBLE = re.compile(
    r"CANN (failure|error)|\bacl[a-z]*[A-Z]\w+|Invalid device ID|libascend|CANNExecutionProvider"
)


class CannEngine(SessionEngine):
    """One session whose every new shape is compiled, and kept on the device until the engine is closed."""

    def __init__(self, session: InferenceSession, info: EngineInfo, layout: InputLayout, graph: Graph | None) -> None:
        super().__init__(session, info, layout, layout.conditioning_rule(None if graph is None else graph.config))
        # A file of fixed length, or whose layers are not known, is run as it is.
        usable = graph is not None and layout.frames is None and needed_overlap(graph) < GEARS[0]
        self._graph = graph if usable else None
        self._shapes: set[tuple[int, ...]] = set()

    def _run(self, mel: CheckedMel, conditioning: np.ndarray | None = None) -> np.ndarray:
        frames = mel.shape[2]
        if self._graph is None or self.unproven_source is not None or frames <= GEARS[0]:
            return super()._run(mel, conditioning)
        parts = []
        for window in plan_windows(frames, GEARS, self._graph).windows:
            part = mel[:, :, window.start_frame : window.start_frame + window.gear]
            audio = super()._run(CheckedMel(part), conditioning)
            parts.append(window.cut(audio, self._graph.hop_length))
        return np.concatenate(parts, axis=1)

    def _run_part(self, session: InferenceSession, mel: np.ndarray, conditioning: np.ndarray | None) -> np.ndarray:
        self._shapes.add(mel.shape)
        if len(self._shapes) == MOST_SHAPES + 1:
            warn_caller(
                f"backend=cann has compiled {MOST_SHAPES} shapes of mels and goes on: each new one takes its time, and "
                "device memory until the engine is closed; 'hifigan export om' makes a file that takes all lengths",
                SlowEngineWarning,
            )
        return super()._run_part(session, mel, conditioning)


def open_cann(model: OnnxFile, devices: Sequence[int]) -> CannEngine:
    """Load an ONNX file. Every length is exact; each shape is compiled when it first comes, which takes its time.

    Raises:
        EngineError: several devices, or a file that cannot be fed.
        EngineUnavailable: this ONNX Runtime has no CANN provider, or it did not start.
    """
    if len(devices) != 1:
        raise EngineError(f"backend=cann runs on one device, and {len(devices)} are named: name one")
    available = _available_providers()
    if CANN_PROVIDER not in available:
        raise EngineUnavailable(
            "backend=cann needs an ONNX Runtime with the CANN provider (package onnxruntime-cann, in place of "
            f"onnxruntime); this one has {', '.join(available) or 'not been installed'}. "
            "On the CPU --engine onnxruntime runs the file; 'hifigan export om' makes an .om of the model"
        )
    import onnxruntime

    info = inspect_onnx(model.path)
    name = f"ONNX file {str(info.path)!r}"
    layout = layout_of_file(name, info, model.graph)
    chip = soc_of_device(devices[0])
    mode = default_mode(chip)
    with tempfile.TemporaryDirectory(prefix="hifigan-cann-") as folder:
        session = _open(name, _private_copy(info, Path(folder)), devices[0], mode)
    label = describe_mode(mode, chip, input_dtype=info.inputs[0].dtype)
    precision = label if info.precision == "float32" else f"{info.precision} weights, {label}"
    device = f"npu:{devices[0]} ({chip})" if chip else f"npu:{devices[0]}"
    return CannEngine(
        session,
        EngineInfo("ascend", onnxruntime.__version__, precision, 1, device, variant="cann"),
        layout,
        model.graph,
    )


def option_sets(device: int, mode: str) -> tuple[Mapping[str, str], ...]:
    """The provider's options, for one generation of its builds after another; an unknown one is an error there."""
    no_dump = {"device_id": str(device), "dump_om_model": "0"}
    return (
        no_dump | {"precision_mode": mode},
        no_dump | {"precision_mode_v2": _V2_NAMES[mode]},
        # Before pull request 20075 (2024) the dump could not be turned off.
        {"device_id": str(device), "precision_mode": mode},
    )


def _open(name: str, path: Path, device: int, mode: str) -> InferenceSession:
    for options in option_sets(device, mode):
        try:
            return open_session(name, str(path), 1, CANN_PROVIDER, options, fall_back=False)
        except EngineError as error:
            if _UNKNOWN_OPTION.search(str(error)):
                refused = error
                continue
            if _DEVICE_TROUBLE.search(str(error)):
                raise EngineUnavailable(
                    f"execution_provider='cann' is installed, and did not start here: its device or driver is missing, "
                    f"or in use ({error})"
                ) from error
            raise
    raise EngineUnavailable(f"this build of the CANN provider takes none of the options that are known: {refused}")


def _private_copy(info: OnnxInfo, folder: Path) -> Path:
    """The file under a path of its own, with a name of its own for its graph, and its external data beside it."""
    name = f"hifigan_{secrets.token_hex(16)}".encode()
    # A field of a message that comes again is merged with the first: 7 is ModelProto.graph, 2 GraphProto.name.
    graph = b"\x12" + bytes([len(name)]) + name
    path = folder / f"{secrets.token_hex(8)}.onnx"
    path.write_bytes(info.path.read_bytes() + b"\x3a" + bytes([len(graph)]) + graph)
    for file in info.external_files:
        target = folder / file.relative_to(info.path.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    return path


def _available_providers() -> list[str]:
    try:
        import onnxruntime
    except ImportError:
        return []
    return list(onnxruntime.get_available_providers())
