"""Models in ONNX Runtime, for every engine that runs on one of its providers."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hifigan_rt.engines.base import Engine, EngineInfo
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.input_layout import InputLayout, join_parts
from hifigan_rt.errors import EngineError, EngineUnavailable
from hifigan_rt.formats.onnx_reading import OnnxInfo
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.system.files import is_utf8

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CPU_PROVIDER = "CPUExecutionProvider"

_SILENT = 4
"""ONNX Runtime's log level "fatal": what goes wrong is raised as an error and need not be printed as well."""
_open: weakref.WeakSet[InferenceSession] = weakref.WeakSet()
_kept: list[InferenceSession] = []
"""The parent's sessions, in a forked process: freeing one would wait for ever for its threads, which are not there."""


class SessionEngine(Engine):
    """One session, fed through the layout that its file has."""

    def __init__(
        self, session: InferenceSession, info: EngineInfo, layout: InputLayout, conditioning: ConditioningRule
    ) -> None:
        super().__init__()
        self._session: InferenceSession | None = session
        self.info = info
        self._layout = layout
        self.fixed_size = layout.fixed_size
        self.conditioning = conditioning

    def _run(self, mel: CheckedMel, conditioning: np.ndarray | None = None) -> np.ndarray:
        session = self._session
        if session is None:  # closed by another thread since `run` looked
            raise self.closed_error()
        self._layout.check(mel)
        return join_parts([self._run_part(session, *part) for part in self._layout.parts(mel, conditioning)])

    def _run_part(self, session: InferenceSession, mel: np.ndarray, conditioning: np.ndarray | None) -> np.ndarray:
        try:
            (output,) = session.run([self._layout.output], self._layout.feeds(mel, conditioning))
        except onnxruntime_errors() as error:
            raise EngineError(
                f"ONNX Runtime failed on a mel [B, M, T] = {list(mel.shape)}: {first_line(error)}"
            ) from error
        return self._layout.read(output, mel)

    def turn_layout(self) -> bool:
        return self._layout.turn()

    def _close(self) -> None:
        self._session = None


def open_session(
    name: str,
    source: str | bytes,
    threads: int,
    provider: str,
    provider_options: Mapping[str, str] | None = None,
    *,
    fall_back: bool = True,
) -> InferenceSession:
    """Start a session on one of ONNX Runtime's providers, with the CPU for what that does not know.

    Args:
        name: of the model, for texts.
        source: a path, or the serialised model.
        threads: of the CPU.
        provider: its full name; `onnxruntime.get_available_providers` has it.
        provider_options: its own.
        fall_back: ONNX Runtime may try the CPU where the provider fails; False raises what the provider says.

    Raises:
        EngineError: the model cannot be loaded.
        EngineUnavailable: the provider did not start.
    """
    import onnxruntime

    chosen = (provider, dict(provider_options)) if provider_options else provider
    providers = [chosen] if provider == CPU_PROVIDER else [chosen, CPU_PROVIDER]
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
        # On the CPU it would try the same again, and print why on standard output, among results.
        words = {} if fall_back and provider != CPU_PROVIDER else {"enable_fallback": 0}
        session = onnxruntime.InferenceSession(source, options, providers=providers, **words)
    except onnxruntime_errors() as error:
        raise EngineError(f"ONNX Runtime cannot load {name}: {first_line(error)}") from error
    _open.add(session)
    # A provider that fails to start is replaced by the CPU with no more than a warning.
    if provider not in session.get_providers():
        short = provider.removesuffix("ExecutionProvider").lower()
        raise EngineUnavailable(
            f"execution_provider={short!r} is installed, and did not start here: its device or driver is missing; "
            f"ONNX Runtime runs {', '.join(session.get_providers())} instead"
        )
    return session


def as_source(info: OnnxInfo) -> str | bytes:
    """What a session is opened from: the path, which costs less memory and lets external data be found.

    Raises:
        EngineError: the runtime cannot find the file and its external data by that name.
    """
    path = os.fspath(info.path)
    if is_utf8(info.path):
        return path
    if info.external_files:
        raise EngineError(f"ONNX file {path!r} has external data and a name that is not UTF-8: rename it or its folder")
    return info.path.read_bytes()


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Everything that ONNX Runtime raises: its own classes have no common base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*own, RuntimeError, ValueError)


def first_line(error: Exception) -> str:
    """What such an error says, shortened to what tells."""
    return str(error).strip().splitlines()[0][:500] if str(error).strip() else type(error).__name__


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _kept.extend(_open))
