"""Small foreign vocoders as ONNX files: other names, layouts and ranks around one generator."""

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, save

from golden.tiny import TINY, tiny_generator
from hifigan_rt.engines.reference import generate
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.model.kinds import Model, Weights

Dims = list[int | str | None]


def foreign(
    mel: Dims,
    before: list[tuple[str, dict]],
    after: list[tuple[str, dict]],
    audio: Dims,
    *,
    mel_type: int = TensorProto.FLOAT,
    audio_type: int = TensorProto.FLOAT,
    opset: int = 11,
) -> ModelProto:
    """Put operators before and after the tiny generator, and rename what it calls its ends.

    Opset 11 has the axes of Squeeze and Unsqueeze as attributes, which keeps the lists short.
    """
    inner = build_onnx(tiny_generator(), None, opset=opset).graph
    nodes, value = [], "some.input"
    for index, (op_type, attributes) in enumerate(before):
        output = "mel_spec" if index == len(before) - 1 else f"before.{index}"
        nodes.append(helper.make_node(op_type, [value], [output], **attributes))
        value = output
    nodes += inner.node
    value = "wavs"
    for index, (op_type, attributes) in enumerate(after):
        output = "some.output" if index == len(after) - 1 else f"after.{index}"
        nodes.append(helper.make_node(op_type, [value], [output], **attributes))
        value = output
    if not before:
        for node in nodes:
            node.input[:] = ["some.input" if name == "mel_spec" else name for name in node.input]
    if not after:
        for node in nodes:
            node.output[:] = ["some.output" if name == "wavs" else name for name in node.output]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("some.input", mel_type, mel)],
        [helper.make_tensor_value_info("some.output", audio_type, audio)],
        inner.initializer,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)


def unsqueeze(*axes: int) -> tuple[str, dict]:
    return "Unsqueeze", {"axes": list(axes)}


def squeeze(*axes: int) -> tuple[str, dict]:
    return "Squeeze", {"axes": list(axes)}


def transpose(*perm: int) -> tuple[str, dict]:
    return "Transpose", {"perm": list(perm)}


def cast(to: int) -> tuple[str, dict]:
    return "Cast", {"to": to}


def write(model: ModelProto, path: Path) -> Path:
    save(model, path)
    return path


def batch_of_mels(batch: int, frames: int) -> np.ndarray:
    return np.random.default_rng(frames).uniform(-11.5, 0.5, (batch, 10, frames)).astype(np.float32)


def own_model() -> Model:
    return Weights("tiny", Path("tiny.safetensors"), "test", tiny_generator(), TINY.mel)


def truth(mels: np.ndarray) -> np.ndarray:
    """Of the tiny generator, float64 `[B, N]`."""
    return np.stack([generate(tiny_generator(), mel) for mel in mels])
