"""Writes the generator as an ONNX graph, node by node, from the neutral graph and its weights; no PyTorch.

Only operators that every runtime and the Ascend compiler have: Conv, ConvTranspose, LeakyRelu, Add, Div, Tanh and one
Squeeze. Weights, biases and the nodes that use them carry the names of the original's parameters and modules.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from hifigan_rt.config import MelConfig, ModelConfig, PartialMelConfig
from hifigan_rt.errors import ExportError
from hifigan_rt.formats.onnx_metadata import AUDIO_OUTPUT_NAME, MEL_INPUT_NAME, PRODUCER_NAME, build_metadata
from hifigan_rt.graph import MEL, Generator, Layer, LeakyRelu
from hifigan_rt.system.versions import own_version

if TYPE_CHECKING:
    import onnx

LOWEST_OPSET, HIGHEST_OPSET = 11, 17
"""The opsets that the tests cover. 11 reads widest on the Ascend toolchain; later ones add no operator we need."""

DEFAULT_OPSET = 17

_OPERATORS = {"conv": "Conv", "conv_transpose": "ConvTranspose"}

_SQUEEZE_AXES_BECAME_INPUT = 13
_MAX_WEIGHT_BYTES = (1 << 31) - (1 << 20)
"""A protobuf message ends at 2 GiB; the last MiB is for everything that is not weights."""


def build_onnx(
    generator: Generator,
    mel: MelConfig | PartialMelConfig | None,
    *,
    opset: int = DEFAULT_OPSET,
    rank: int = 3,
    keep_channel: bool = False,
    source: str = "",
) -> onnx.ModelProto:
    """Build the ONNX model of a generator, with dynamic batch and length.

    Args:
        generator: graph and weights; float64 weights are rounded to float32.
        mel: the mel settings for the metadata, None if unknown.
        opset: from 11 to 17.
        rank: 3 takes `mel_spec` float32 `[B, M, T]`; 4 takes `[B, M, 1, T]` and computes with 2-D convolutions of
            kernel (1, k), as NPU toolchains like it.
        keep_channel: give `wavs` as `[B, 1, N]` (`[B, 1, 1, N]` at rank 4) instead of `[B, N]`.
        source: where the weights came from, for the metadata.

    Raises:
        ExportError: opset or rank is not offered, the weights do not fit into float32 or a protobuf, or the package
            onnx is missing.
        ConfigError: the mel settings do not fit the generator.
    """
    if not LOWEST_OPSET <= opset <= HIGHEST_OPSET:
        raise ExportError(f"opset={opset} is not offered: choose one from {LOWEST_OPSET} to {HIGHEST_OPSET}")
    if rank not in (3, 4):
        raise ExportError(f"rank={rank} is not offered: 3 takes mels as [B, M, T], 4 as [B, M, 1, T]")
    size = sum(4 * array.size for array in generator.weights.values())
    if size > _MAX_WEIGHT_BYTES:
        raise ExportError(f"the weights take {size} bytes in float32: one ONNX file holds at most {_MAX_WEIGHT_BYTES}")
    config = ModelConfig(generator.graph.config, mel)
    if beyond := config.generator.unusual_features.values():
        raise ExportError(f"a generator with {' and '.join(beyond)} is not exported yet")
    try:
        from onnx import TensorProto, helper
    except ImportError as error:
        raise ExportError(
            "ONNX export needs the package onnx: pip install 'hifigan-rt[onnx]' (from a clone: pip install '.[onnx]')"
        ) from error
    one = [1] if rank == 4 else []
    channel = [1, *one] if keep_channel else []
    mel_shape: list[str | int | None] = ["batch", generator.graph.num_mels, *one, "frames"]
    audio_shape: list[str | int | None] = ["batch", *channel, "samples"]
    opset_id = helper.make_opsetid("", opset)
    model = helper.make_model(
        helper.make_graph(
            [],
            "hifigan",
            [helper.make_tensor_value_info(MEL_INPUT_NAME, TensorProto.FLOAT, mel_shape)],
            [helper.make_tensor_value_info(AUDIO_OUTPUT_NAME, TensorProto.FLOAT, audio_shape)],
        ),
        opset_imports=[opset_id],
        # The lowest that the opset needs, so that runtimes of its age read the file: 6 for opset 11, 8 for 17.
        ir_version=helper.find_min_ir_version_for([opset_id]),
        producer_name=PRODUCER_NAME,
        producer_version=own_version(),
    )
    helper.set_model_props(model, build_metadata(config, source))
    # Filled in place: make_graph and make_model copy what they are given, and the weights are large.
    _GraphBuilder(model.graph, generator, opset, rank).add_generator(keep_channel=keep_channel)
    return model


class _GraphBuilder:
    """Adds nodes and initializers to a graph; every method takes and returns names of values."""

    def __init__(self, graph: onnx.GraphProto, generator: Generator, opset: int, rank: int) -> None:
        self._graph = graph
        self._generator = generator
        self._opset = opset
        self._leading = rank - 3  # dimensions of size 1 before time, in every kernel and tensor

    def add_generator(self, *, keep_channel: bool) -> None:
        graph = self._generator.graph
        means = [layer.inputs for layer in graph.layers if len(layer.inputs) > 1]
        previous = {name: earlier for inputs in means for earlier, name in pairwise(inputs)}
        values, sums = {MEL: MEL_INPUT_NAME}, dict[str, str]()
        for layer in graph.layers:
            x = values[layer.inputs[-1]]
            if layer.inputs in means:
                x = self._mean(sums[layer.inputs[-1]], len(layer.inputs), f"stages.{means.index(layer.inputs)}")
            if layer.activation is not None:
                x = self._activate(x, layer.activation, f"{layer.name}.leaky_relu")
            x = self._conv(x, layer)
            block = layer.name.rsplit(".", 2)[0]
            if layer.residual is not None:
                unit = layer.name.rpartition(".")[2]
                x = self._node("Add", [x, values[layer.residual]], f"{block}.add.{unit}")
            if layer.name in previous:
                # Right behind the summand, so that a runtime need not keep all of them.
                total = sums.get(previous[layer.name], values[previous[layer.name]])
                sums[layer.name] = self._node("Add", [total, x], f"{block}.sum")
            values[layer.name] = x
        if keep_channel:
            self._node("Tanh", [x], "tanh", output=AUDIO_OUTPUT_NAME)
            return
        x = self._node("Tanh", [x], "tanh")
        axes = [1, 2][: 1 + self._leading]
        if self._opset < _SQUEEZE_AXES_BECAME_INPUT:
            self._node("Squeeze", [x], "squeeze", output=AUDIO_OUTPUT_NAME, axes=axes)
        else:
            self._initializer("squeeze.axes", np.array(axes, dtype="<i8"))
            self._node("Squeeze", [x, "squeeze.axes"], "squeeze", output=AUDIO_OUTPUT_NAME)

    def _mean(self, total: str, count: int, name: str) -> str:
        # The original sums first and divides then; multiplying by a rounded 1/3 would not be the same number.
        self._initializer(f"{name}.num_kernels", np.array(count, dtype="<f4"))
        return self._node("Div", [total, f"{name}.num_kernels"], f"{name}.mean")

    def _activate(self, x: str, activation: LeakyRelu, name: str) -> str:
        return self._node("LeakyRelu", [x], name, alpha=activation.slope)

    def _conv(self, x: str, layer: Layer) -> str:
        ones, zeros = [1] * self._leading, [0] * self._leading
        weight, bias = f"{layer.name}.weight", f"{layer.name}.bias"
        inputs = [x, weight]
        first, second, taps = layer.weight_shape
        self._initializer(weight, self._float32(weight).reshape(first, second, *ones, taps))
        if layer.bias:
            self._initializer(bias, self._float32(bias))
            inputs.append(bias)
        left, right = layer.padding
        attributes: dict[str, Any] = {
            # Optional in ONNX; the Ascend parser insists on it.
            "kernel_shape": [*ones, layer.kernel_size],
            "pads": [*zeros, left, *zeros, right],
            "dilations": [*ones, layer.dilation],
            "strides": [*ones, layer.stride],
            "group": 1,
        }
        return self._node(_OPERATORS[layer.kind], inputs, layer.name, **attributes)

    def _float32(self, name: str) -> np.ndarray:
        with np.errstate(over="ignore"):
            array = self._generator.weights[name].astype("<f4")
        if not np.isfinite(array).all():
            raise ExportError(f"{name} holds values beyond float32 (3.4e38), the arithmetic of an exported model")
        return array

    def _initializer(self, name: str, array: np.ndarray) -> None:
        from onnx import helper

        tensor = self._graph.initializer.add()
        tensor.name = name
        tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor.dims.extend(array.shape)
        tensor.raw_data = array.tobytes()  # little-endian, as every array here is

    def _node(self, op_type: str, inputs: list[str], name: str, *, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        self._graph.node.append(helper.make_node(op_type, inputs, [output or name], name=name, **attributes))
        return output or name
