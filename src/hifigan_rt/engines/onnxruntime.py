"""Runs a generator, or a foreign HiFi-GAN ONNX file, in ONNX Runtime."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from hifigan_rt.engines.base import Engine, EngineInfo, EngineOptions
from hifigan_rt.engines.mel_door import MelDoor, as_batch, door_of_export, door_of_file, join_parts
from hifigan_rt.errors import EngineError, EngineUnavailable
from hifigan_rt.export.onnx import build_onnx
from hifigan_rt.export.onnx_reading import OnnxInfo, inspect_onnx
from hifigan_rt.machine import usable_cores
from hifigan_rt.model import Model

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CPU_PROVIDER = "CPUExecutionProvider"

_SILENT = 4
"""ONNX Runtime's log level "fatal": what goes wrong is raised as an error and need not be printed as well."""


class OnnxRuntimeEngine(Engine):
    """One session, fed through the layout that its file has."""

    def __init__(self, session: InferenceSession, info: EngineInfo, door: MelDoor) -> None:
        super().__init__()
        self._session: InferenceSession | None = session
        self.info = info
        self._door = door

    def _run(self, mel: np.ndarray) -> np.ndarray:
        session = self._session
        if session is None:  # closed by another thread since `run` looked
            raise EngineError("engine 'onnxruntime' was closed while it ran: load the model again")
        self._door.check(mel)
        return join_parts([self._run_part(session, part) for part in self._door.parts(mel)])

    def _run_part(self, session: InferenceSession, mel: np.ndarray) -> np.ndarray:
        try:
            (output,) = session.run([self._door.output], {self._door.input: self._door.lay_out(mel)})
        except _onnxruntime_errors() as error:
            raise EngineError(
                f"ONNX Runtime failed on a mel [B, M, T] = {list(mel.shape)}: {_first_line(error)}"
            ) from error
        return as_batch(output, len(mel))

    def _close(self) -> None:
        self._session = None


def create(model: Model, options: EngineOptions) -> OnnxRuntimeEngine:
    """Load a model into ONNX Runtime.

    Raises:
        EngineError: the file is not a vocoder that can be fed, or an option is not offered.
        EngineUnavailable: the execution provider is not there.
        CheckpointError: the ONNX file is damaged or unsafe.
    """
    threads = usable_cores() if options.threads is None else options.threads
    if threads < 1:
        raise EngineError(f"threads={threads} must be at least 1")
    if model.generator is not None:
        door = door_of_export(model.name, model.generator.graph.num_mels, rank=3)
        precision = "float32"
        serialised = build_onnx(model.generator, model.mel).SerializeToString()
        session = _open_session(model.name, serialised, threads, options.execution_provider)
    elif model.onnx_path is not None:
        info = inspect_onnx(model.onnx_path)
        name = f"ONNX file {str(info.path)!r}"
        door = door_of_file(name, info.inputs, info.outputs, info.mel_axes)
        precision = info.precision
        session = _open_session(name, _as_source(info), threads, options.execution_provider)
    else:
        raise EngineError(f"{model.name} holds neither weights nor an ONNX file: nothing can be run")
    import onnxruntime

    provider = session.get_providers()[0]
    return OnnxRuntimeEngine(
        session, EngineInfo("onnxruntime", onnxruntime.__version__, precision, threads, provider), door
    )


def _as_source(info: OnnxInfo) -> str | bytes:
    """What a session is opened from: the path, which costs less memory and lets external data be found."""
    path = os.fspath(info.path)
    try:
        path.encode()
    except UnicodeEncodeError:
        if info.external_files:
            raise EngineError(
                f"ONNX file {path!r} has external data and a name that is not UTF-8: rename it or its folder"
            ) from None
        return info.path.read_bytes()
    return path


def _open_session(name: str, source: str | bytes, threads: int, provider: str | None) -> InferenceSession:
    import onnxruntime

    chosen = _choose_provider(provider, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _SILENT
    # A memory plan is kept for every length that ever came, and never dropped.
    options.enable_mem_pattern = False
    # Spinning between operators makes V2 and V3 a quarter faster; between runs it would only burn what others need.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        session = onnxruntime.InferenceSession(source, options, providers=list(dict.fromkeys([chosen, CPU_PROVIDER])))
    except _onnxruntime_errors() as error:
        raise EngineError(f"ONNX Runtime cannot load {name}: {_first_line(error)}") from error
    # A provider that fails to start is replaced by the CPU with no more than a warning.
    if chosen not in session.get_providers():
        raise EngineUnavailable(
            f"execution_provider={provider!r} is installed, and did not start here: its device or driver is missing; "
            f"ONNX Runtime runs {', '.join(session.get_providers())} instead"
        )
    return session


def _choose_provider(name: str | None, available: list[str]) -> str:
    if name is None:
        return CPU_PROVIDER
    # "cuda" and "CUDAExecutionProvider" both name it.
    for candidate in available:
        if name.lower() in (candidate.lower(), candidate.lower().removesuffix("executionprovider")):
            return candidate
    raise EngineUnavailable(
        f"execution_provider={name!r} is not in this build of ONNX Runtime: it has {', '.join(available)}; "
        "other packages, such as onnxruntime-gpu, bring others"
    )


def _onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Everything that ONNX Runtime raises: its own classes have no common base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*own, RuntimeError, ValueError)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:500] if str(error).strip() else type(error).__name__
