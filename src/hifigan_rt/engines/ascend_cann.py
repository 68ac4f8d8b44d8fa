"""Runs ONNX files on an Ascend NPU through ONNX Runtime's CANN provider, where such a build is installed."""

from __future__ import annotations

from collections.abc import Sequence

from hifigan_rt.engines.base import EngineInfo
from hifigan_rt.engines.onnxruntime_session import SessionEngine, open_file
from hifigan_rt.errors import EngineError, EngineUnavailable
from hifigan_rt.model.kinds import OnnxFile

CANN_PROVIDER = "CANNExecutionProvider"

PRECISION_MODE = "must_keep_origin_dtype"
"""The provider's own default is force_fp16; the same as for our .om files is taken."""


def open_cann(model: OnnxFile, devices: Sequence[int]) -> SessionEngine:
    """Load an ONNX file. Every length is exact: the provider compiles the graph anew for each, which takes its time.

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

    options = {"device_id": str(devices[0]), "precision_mode": PRECISION_MODE}
    session, layout, precision = open_file(model, 1, CANN_PROVIDER, options)
    info = EngineInfo(
        "ascend", onnxruntime.__version__, f"{precision} ({PRECISION_MODE})", 1, f"npu:{devices[0]}", variant="cann"
    )
    return SessionEngine(session, info, layout)


def _available_providers() -> list[str]:
    try:
        import onnxruntime
    except ImportError:
        return []
    return list(onnxruntime.get_available_providers())
