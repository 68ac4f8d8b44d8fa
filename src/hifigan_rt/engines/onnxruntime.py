"""Runs a generator, or a foreign HiFi-GAN ONNX file, in ONNX Runtime."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from hifigan_rt.engines.base import Engine, EngineInfo, EngineOptions
from hifigan_rt.errors import EngineError, EngineUnavailable
from hifigan_rt.export.mel_layout import MelAxis
from hifigan_rt.export.onnx import build_onnx
from hifigan_rt.export.onnx_metadata import AUDIO_OUTPUT_NAME, MEL_INPUT_NAME
from hifigan_rt.export.onnx_reading import OnnxInfo, inspect_onnx
from hifigan_rt.export.onnx_scan import OnnxValue
from hifigan_rt.machine import usable_cores
from hifigan_rt.model import Model

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CPU_PROVIDER = "CPUExecutionProvider"

_FLOAT_DTYPES = {"float32": np.float32, "float16": np.float16, "float64": np.float64}

_SILENT = 4
"""ONNX Runtime's log level "fatal": what goes wrong is raised as an error and need not be printed as well."""


class OnnxRuntimeEngine(Engine):
    """One session, fed through the layout that its file has."""

    def __init__(self, session: InferenceSession, info: EngineInfo, door: _Door) -> None:
        super().__init__()
        self._session: InferenceSession | None = session
        self.info = info
        self._door = door

    def _run(self, mel: np.ndarray) -> np.ndarray:
        session = self._session
        if session is None:  # closed by another thread since `run` looked
            raise EngineError("engine 'onnxruntime' was closed while it ran: load the model again")
        self._door.check(mel)
        size = self._door.batch or len(mel)
        audio = [self._run_part(session, mel[start : start + size]) for start in range(0, len(mel), size)]
        return audio[0] if len(audio) == 1 else np.concatenate(audio)

    def _run_part(self, session: InferenceSession, mel: np.ndarray) -> np.ndarray:
        try:
            (output,) = session.run([self._door.output], {self._door.input: self._door.lay_out(mel)})
        except _onnxruntime_errors() as error:
            raise EngineError(
                f"ONNX Runtime failed on a mel [B, M, T] = {list(mel.shape)}: {_first_line(error)}"
            ) from error
        return _as_batch(output, len(mel))

    def _close(self) -> None:
        self._session = None


class _Door:
    """How mels go into a graph: names, order of dimensions, dtype, and what is fixed."""

    def __init__(self, source: str, mel: OnnxValue, output: OnnxValue, axes: tuple[MelAxis, ...]) -> None:
        fixed = dict(zip(axes, mel.shape or (), strict=True))
        self.input, self.output = mel.name, output.name
        self._source = source
        self._axes = axes
        self._dtype = _FLOAT_DTYPES[mel.dtype]
        self._num_mels, self._frames = fixed["M"], fixed["T"]
        # A graph without a batch dimension, at either end, runs one mel at a time.
        one_by_one = "B" not in axes or (output.shape is not None and len(output.shape) == 1)
        self.batch = 1 if one_by_one else fixed.get("B")

    def check(self, mel: np.ndarray) -> None:
        batch, bands, frames = mel.shape
        if self._num_mels not in (None, bands):
            raise EngineError(f"{self._source} takes mels of {self._num_mels} bands, this one has {bands}")
        if self._frames not in (None, frames):
            raise EngineError(
                f"{self._source} was exported for mels of exactly {self._frames} frames, this one has {frames}: "
                "export the model with a dynamic length"
            )
        if self.batch is not None and batch % self.batch:
            raise EngineError(
                f"{self._source} was exported for batches of exactly {self.batch} mels, this one has {batch}: "
                "export the model with a dynamic batch"
            )

    def lay_out(self, mel: np.ndarray) -> np.ndarray:
        """Bring a batch `[B, M, T]` into the graph's order."""
        if "B" not in self._axes:
            mel = mel[0]
        present = ["M", "T"] if mel.ndim == 2 else ["B", "M", "T"]
        ordered = mel.transpose([present.index(axis) for axis in self._axes if axis != "1"])
        if "1" in self._axes:
            ordered = np.expand_dims(ordered, self._axes.index("1"))
        return np.ascontiguousarray(ordered, dtype=self._dtype)


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
        door = _Door(
            model.name,
            OnnxValue(MEL_INPUT_NAME, "float32", (None, model.generator.graph.num_mels, None)),
            OnnxValue(AUDIO_OUTPUT_NAME, "float32", (None, None)),
            ("B", "M", "T"),
        )
        precision = "float32"
        serialised = build_onnx(model.generator, model.mel).SerializeToString()
        session = _open_session(model.name, serialised, threads, options.execution_provider)
    elif model.onnx_path is not None:
        info = inspect_onnx(model.onnx_path)
        door = _open_door(info)
        precision = info.precision
        session = _open_session(f"ONNX file {str(info.path)!r}", _as_source(info), threads, options.execution_provider)
    else:
        raise EngineError(f"{model.name} holds neither weights nor an ONNX file: nothing can be run")
    import onnxruntime

    provider = session.get_providers()[0]
    return OnnxRuntimeEngine(
        session, EngineInfo("onnxruntime", onnxruntime.__version__, precision, threads, provider), door
    )


def _open_door(info: OnnxInfo) -> _Door:
    """Check that a foreign graph is a vocoder: one mel in, one waveform out.

    Raises:
        EngineError: it is not.
    """
    name = f"ONNX file {str(info.path)!r}"
    if len(info.inputs) != 1:
        raise EngineError(f"{name} has {len(info.inputs)} inputs ({_listed(info.inputs)}): one mel input is needed")
    if len(info.outputs) != 1:
        raise EngineError(f"{name} has {len(info.outputs)} outputs ({_listed(info.outputs)}): one waveform is needed")
    mel, output = info.inputs[0], info.outputs[0]
    if mel.dtype not in _FLOAT_DTYPES:
        raise EngineError(f"{name} takes {mel}: a mel is float32, float16 or float64")
    if output.dtype not in _FLOAT_DTYPES:
        raise EngineError(
            f"{name} gives {output}: a waveform is float32, float16 or float64; integer samples may have wrapped "
            "around where the signal clips, so export the model without its conversion to integers"
        )
    if info.mel_axes is None:
        raise EngineError(
            f"{name} takes {mel}, which is no mel that is known: [B, M, T], [B, T, M], [B, M, 1, T], [B, 1, M, T], "
            "[M, T] or [T, M] are"
        )
    return _Door(name, mel, output, info.mel_axes)


def _listed(values: tuple[OnnxValue, ...]) -> str:
    return "; ".join(str(value) for value in values[:8]) or "none"


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


def _as_batch(output: Any, batch: int) -> np.ndarray:
    """Bring the output, of whatever rank, to float32 `[B, N]`."""
    array = np.asarray(output)
    if sum(size != 1 for size in array.shape[1:]) <= 1 and array.ndim > 1 and array.shape[0] == batch:
        flat = array.reshape(batch, -1)
    elif batch == 1 and sum(size != 1 for size in array.shape) <= 1:
        flat = array.reshape(1, -1)
    else:
        raise EngineError(
            f"the model gave an output of shape {list(array.shape)} for {batch} mel(s): one waveform [N] per mel is "
            "needed; is it a vocoder?"
        )
    return np.ascontiguousarray(flat, dtype=np.float32)


def _onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Everything that ONNX Runtime raises: its own classes have no common base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*own, RuntimeError, ValueError)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:500] if str(error).strip() else type(error).__name__
