"""ONNX files of one tensor more than a good one has, wherever a tensor can be, and what reading them says."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from golden.tiny import TINY, tiny_generator
from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.formats.onnx_reading import inspect_onnx

GOOD = build_onnx(tiny_generator(), TINY.mel).SerializeToString()


def write(folder: Path, content: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        inspect_onnx(path)
    text = str(caught.value)
    assert text.startswith(f"ONNX file {str(path)!r}: ")
    return text.removeprefix(f"ONNX file {str(path)!r}: ")


def with_tensor(tensor: TensorProto, *, inside: str = "initializer") -> bytes:
    """The good model with one tensor more, at one of the places where a tensor can be."""
    model = onnx.load_from_string(GOOD)
    if inside == "initializer":
        model.graph.initializer.append(tensor)
        return model.SerializeToString()
    constant = helper.make_node("Constant", [], ["evil"], value=tensor)
    if inside == "constant":
        model.graph.node.append(constant)
    elif inside == "tensor list":
        model.graph.node.append(helper.make_node("Strange", [], ["evil"], domain="x", values=[tensor]))
    elif inside == "function":
        model.functions.append(helper.make_function("x", "f", [], ["evil"], [constant], [helper.make_opsetid("", 17)]))
    elif inside == "training":
        model.training_info.add().algorithm.initializer.append(tensor)
    else:
        value = helper.make_tensor_value_info("evil", TensorProto.FLOAT, [1])
        branch = helper.make_graph([], "branch", [], [value], [tensor])
        for _ in range(3):
            branch = helper.make_graph([helper.make_node("If", ["c"], ["evil"], then_branch=branch)], "b", [], [value])
        model.graph.node.append(helper.make_node("If", ["c"], ["evil"], then_branch=branch, else_branch=branch))
    return model.SerializeToString()


PLACES = ["initializer", "constant", "tensor list", "function", "training", "subgraph"]


def external(location: str, **entries: str) -> TensorProto:
    tensor = TensorProto(name="evil", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor
