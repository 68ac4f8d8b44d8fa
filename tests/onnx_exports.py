"""Exports of the tiny generator for the tests of the reader of ONNX files, read and run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from golden.tiny import TINY, tiny_generator
from hifigan_rt.engines.reference import generate
from hifigan_rt.families.onnx_generator import OnnxGenerator, find_generator
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.formats.onnx_reading import open_onnx
from hifigan_rt.graph import bind, build_graph


def export(**options) -> onnx.ModelProto:
    return build_onnx(tiny_generator(), TINY.mel, **options)


def read(model: onnx.ModelProto, folder: Path) -> OnnxGenerator:
    path = folder / "model.onnx"
    onnx.save(model, path)
    with open_onnx(path) as (_, nodes):
        return find_generator(nodes)


def audio_of(found: OnnxGenerator, mel: np.ndarray) -> np.ndarray:
    return generate(bind(build_graph(found.config), found.weights), mel)


def audio_of_file(model: onnx.ModelProto, mel: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    name = session.get_inputs()[0].name
    return session.run(None, {name: mel[None]})[0].reshape(-1)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"
