"""What `atc` and `aclruntime` need to know of an ONNX model: its ends, its operators, its shapes, its numbers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from cann_simulator.error_texts import AtcError
from cann_simulator.settings import generation

OPSETS = {6: (8, 13), 8: (11, 18)}
"""Lowest and highest opset that the parser knows, by generation."""
PARSED_OPERATORS = frozenset({
    "Abs", "Add", "Cast", "Clip", "Concat", "Constant", "Conv", "ConvTranspose", "Div", "Exp", "Expand",
    "Flatten", "Gather", "Gemm", "Identity", "LeakyRelu", "Log", "MatMul", "Mul", "Neg", "Pad", "Pow",
    "ReduceMean", "ReduceSum", "Relu", "Reshape", "Resize", "Shape", "Sigmoid", "Slice", "Softmax", "Split",
    "Sqrt", "Squeeze", "Sub", "Tanh", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
_LARGE_BYTES = 4096


def read_model(path: Path) -> tuple[onnx.ModelProto, bytes]:
    """Parse the file and refuse what the parser of ATC refuses."""
    content = path.read_bytes()
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # protobuf's own errors differ between its implementations
        raise AtcError("E10041", os.fspath(path)) from error
    if not model.HasField("graph"):
        raise AtcError("E16004")
    opsets = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(opsets) > 1:
        raise AtcError("E16005", len(opsets), "domain_version")
    if not model.graph.node:
        raise AtcError("E16001", "input" if not model.graph.input else "compute")
    lowest, highest = OPSETS[generation()]
    opset = opsets[0] if opsets else 1
    for node in model.graph.node:
        domain = node.domain or "ai.onnx"
        if domain != "ai.onnx" or node.op_type not in PARSED_OPERATORS or not lowest <= opset <= highest:
            optype = f"{domain}::{opset}::{node.op_type}"
            raise AtcError("E16002", optype) if generation() == 8 else AtcError("E19010", node.name, optype)
        _check_convolution(node)
    return model, content


def _check_convolution(node: onnx.NodeProto) -> None:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    automatic = attributes.get("auto_pad")
    if node.op_type == "ConvTranspose":
        if "kernel_shape" not in attributes:
            raise AtcError("E19999", f"[ParseParams] kernel_shape of {node.name} is missing")
        if generation() == 6 and automatic is not None and automatic.s in (b"SAME_UPPER", b"SAME_LOWER"):
            raise AtcError("E50058", automatic.s.decode())


def model_inputs(model: onnx.ModelProto) -> dict[str, list[int]]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return {entry.name: dims_of(entry) for entry in model.graph.input if entry.name not in constants}


def other_names(model: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer} | {node.name for node in model.graph.node}


def dims_of(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value if dim.HasField("dim_value") else -1 for dim in value.type.tensor_type.shape.dim]


def dtype_of(value: onnx.ValueInfoProto) -> str:
    return str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def infer_outputs(model: onnx.ModelProto, inputs: dict[str, list[int]]) -> list[list[int]]:
    """The dims of every output for given inputs, -1 where they stay open."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    for tensor in light.graph.initializer:
        if len(tensor.raw_data) > _LARGE_BYTES:
            tensor.ClearField("raw_data")  # shapes need only the dims of weights
    for value in light.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, inputs.get(value.name, []), strict=False):
            dim.Clear()
            if size != -1:
                dim.dim_value = size
    for value in light.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    light.graph.ClearField("value_info")
    inferred = onnx.shape_inference.infer_shapes(light, data_prop=True)
    return [dims_of(value) for value in inferred.graph.output]


def rounded_to_float16(content: bytes) -> bytes:
    """The model with every weight rounded to float16 and back, as force_fp16 stores them."""
    model = onnx.load_from_string(content)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            half = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    return model.SerializeToString()


def describe(values: Any, shapes: list[list[int]], names: list[str]) -> list[dict[str, Any]]:
    return [
        {"name": name, "dtype": dtype_of(value), "shape": dims}
        for value, dims, name in zip(values, shapes, names, strict=True)
    ]
