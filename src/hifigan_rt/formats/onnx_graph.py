"""Writes the generator as an ONNX graph, node by node, from the neutral graph and its weights; no PyTorch.

Only operators that every runtime and the Ascend compiler have: Conv, ConvTranspose, LeakyRelu, Add, Div, Tanh and one
Squeeze. What the original has not brings Sub (a mean), Clip or Identity (another output), Pad (ends that are no zeros),
Reshape and Gather (a conditioning vector, a table of speakers). Weights, biases and the nodes that use them carry the
names of the original's parameters and modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from hifigan_rt.config import MelConfig, ModelConfig, PartialMelConfig
from hifigan_rt.errors import ExportError
from hifigan_rt.formats.onnx_metadata import (
    AUDIO_OUTPUT_NAME,
    CONDITIONING_INPUT_NAME,
    PRODUCER_NAME,
    SPEAKER_INPUT_NAME,
    build_metadata,
    input_name,
)
from hifigan_rt.graph import MEL, NORMALIZATION, SPEAKER_TABLE, Generator, Layer
from hifigan_rt.system.versions import how_to_get, own_version

if TYPE_CHECKING:
    import onnx

LOWEST_OPSET, HIGHEST_OPSET = 11, 17
"""The opsets that the tests cover. 11 reads widest on the Ascend toolchain; later ones add no operator we need."""

DEFAULT_OPSET = 17

_OPERATORS = {"conv": "Conv", "conv_transpose": "ConvTranspose"}

_PAD_MODES = {"reflect": "reflect", "replicate": "edge"}

_OUTPUTS: Mapping[str, tuple[str, tuple[tuple[str, float], ...]]] = {
    "tanh": ("Tanh", ()),
    "clamp": ("Clip", (("clamp.lowest", -1.0), ("clamp.highest", 1.0))),
    "none": ("Identity", ()),
}
"""Operator, and its further inputs, by `GeneratorConfig.output`."""

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
    speakers: Mapping[str, int] | None = None,
    has_table: bool = True,
) -> onnx.ModelProto:
    """Build the ONNX model of a generator, with dynamic batch and length.

    Args:
        generator: graph and weights; float64 weights are rounded to float32.
        mel: the mel settings for the metadata, None if unknown.
        opset: from 11 to 17.
        rank: 3 takes `mel_spec` (`latent`) float32 `[B, M, T]`; 4 takes `[B, M, 1, T]` and computes with 2-D
            convolutions of kernel (1, k), as NPU toolchains like it.
        keep_channel: give `wavs` as `[B, 1, N]` (`[B, 1, 1, N]` at rank 4) instead of `[B, N]`.
        source: where the weights came from, for the metadata.
        speakers: their names, with their rows in the table, for the metadata.
        has_table: a generator with a table of speakers takes `speaker`, int64 `[B]`; False leaves the table out and
            takes `conditioning`, float32 `[B, G]`, as a generator without table does.

    Raises:
        ExportError: opset or rank is not offered, the generator has a flow, the weights do not fit into float32 or a
            protobuf, or the package onnx is missing.
        ConfigError: the mel settings do not fit the generator.
    """
    if not LOWEST_OPSET <= opset <= HIGHEST_OPSET:
        raise ExportError(f"opset={opset} is not offered: choose one from {LOWEST_OPSET} to {HIGHEST_OPSET}")
    if rank not in (3, 4):
        raise ExportError(f"rank={rank} is not offered: 3 takes mels as [B, M, T], 4 as [B, M, 1, T]")
    if generator.graph.config.flow is not None:
        raise ExportError(f"{source!r} has the flow of a voice in front of its decoder: the decoder alone is exported")
    size = sum(4 * array.size for array in generator.weights.values())
    if size > _MAX_WEIGHT_BYTES:
        raise ExportError(f"the weights take {size} bytes in float32: one ONNX file holds at most {_MAX_WEIGHT_BYTES}")
    network = generator.graph.config
    config = ModelConfig(network, mel, speakers=speakers or {})
    try:
        from onnx import TensorProto, helper
    except ImportError as error:
        raise ExportError(f"ONNX export needs the package onnx: {how_to_get('onnx')}") from error
    one = [1] if rank == 4 else []
    channel = [1, *one] if keep_channel else []
    mel_shape: list[str | int | None] = ["batch", generator.graph.num_mels, *one, "frames"]
    audio_shape: list[str | int | None] = ["batch", *channel, "samples"]
    inputs = [helper.make_tensor_value_info(input_name(network), TensorProto.FLOAT, mel_shape)]
    if network.num_speakers and has_table:
        inputs.append(helper.make_tensor_value_info(SPEAKER_INPUT_NAME, TensorProto.INT64, ["batch"]))
    elif network.conditioning_channels:
        vector_shape: list[str | int | None] = ["batch", network.conditioning_channels]
        inputs.append(helper.make_tensor_value_info(CONDITIONING_INPUT_NAME, TensorProto.FLOAT, vector_shape))
    opset_id = helper.make_opsetid("", opset)
    model = helper.make_model(
        helper.make_graph(
            [],
            "hifigan",
            inputs,
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
        self._inputs = [value.name for value in graph.input]
        self._generator = generator
        self._opset = opset
        self._leading = rank - 3  # dimensions of size 1 before time, in every kernel and tensor

    def add_generator(self, *, keep_channel: bool) -> None:
        graph = self._generator.graph
        means = [layer.inputs for layer in graph.layers if len(layer.inputs) > 1]
        previous = {name: earlier for inputs in means for earlier, name in pairwise(inputs)}
        values, sums = {MEL: self._normalized(self._inputs[0])}, dict[str, str]()
        vector = self._vector()
        for layer in graph.layers:
            x = values[layer.inputs[-1]]
            if layer.inputs in means:
                x = self._mean(sums[layer.inputs[-1]], len(layer.inputs), f"stages.{means.index(layer.inputs)}")
            if layer.activation is not None:
                x = self._node("LeakyRelu", [x], f"{layer.name}.leaky_relu", alpha=layer.activation.slope)
            x = self._conv(self._with_ends(x, layer), layer)
            if layer.conditioning is not None:
                added = self._pointwise(vector, layer.conditioning)
                x = self._node("Add", [x, added], f"{layer.name}.{layer.conditioning}.add")
            block = layer.name.rsplit(".", 2)[0]
            if layer.residual is not None:
                unit = layer.name.rpartition(".")[2]
                x = self._node("Add", [x, values[layer.residual]], f"{block}.add.{unit}")
            if layer.name in previous:
                # Right behind the summand, so that a runtime need not keep all of them.
                total = sums.get(previous[layer.name], values[previous[layer.name]])
                sums[layer.name] = self._node("Add", [total, x], f"{block}.sum")
            values[layer.name] = x
        operator, bounds = _OUTPUTS[graph.config.output]
        for name, bound in bounds:
            self._initializer(name, np.array(bound, dtype="<f4"))
        inputs = [x, *(name for name, _ in bounds)]
        if keep_channel:
            self._node(operator, inputs, graph.config.output, output=AUDIO_OUTPUT_NAME)
            return
        if operator != "Identity":
            x = self._node(operator, inputs, graph.config.output)
        axes = [1, 2][: 1 + self._leading]
        if self._opset < _SQUEEZE_AXES_BECAME_INPUT:
            self._node("Squeeze", [x], "squeeze", output=AUDIO_OUTPUT_NAME, axes=axes)
        else:
            self._initializer("squeeze.axes", np.array(axes, dtype="<i8"))
            self._node("Squeeze", [x, "squeeze.axes"], "squeeze", output=AUDIO_OUTPUT_NAME)

    def _normalized(self, x: str) -> str:
        if not self._generator.graph.config.input_normalization:
            return x
        mean, scale = NORMALIZATION
        for name in NORMALIZATION:
            self._initializer(name, self._generator.float32(name).reshape(-1, *[1] * (self._leading + 1)))
        return self._node("Div", [self._node("Sub", [x, mean], "input.sub"), scale], "input.div")

    def _vector(self) -> str:
        """The conditioning vector as `[B, G, 1]` (`[B, G, 1, 1]` at rank 4); empty if nothing takes one."""
        if len(self._inputs) == 1:
            return ""
        x = self._inputs[1]
        if x == SPEAKER_INPUT_NAME:
            self._initializer(SPEAKER_TABLE, self._generator.float32(SPEAKER_TABLE))
            x = self._node("Gather", [SPEAKER_TABLE, x], "speaker.vector", axis=0)
        # 0 keeps the batch as it is.
        shape = [0, self._generator.graph.config.conditioning_channels, *[1] * (self._leading + 1)]
        self._initializer("conditioning.shape", np.array(shape, dtype="<i8"))
        return self._node("Reshape", [x, "conditioning.shape"], "conditioning.reshape")

    def _pointwise(self, x: str, name: str) -> str:
        """A 1x1 convolution."""
        return self._node("Conv", self._with_parameters(x, name), name, kernel_shape=[1] * (self._leading + 1))

    def _mean(self, total: str, count: int, name: str) -> str:
        # The original sums first and divides then; multiplying by a rounded 1/3 would not be the same number.
        self._initializer(f"{name}.num_kernels", np.array(count, dtype="<f4"))
        return self._node("Div", [total, f"{name}.num_kernels"], f"{name}.mean")

    def _with_ends(self, x: str, layer: Layer) -> str:
        """The layer's input with its ends, where they are no zeros, which are a convolution's own."""
        rows = (1, 0) if layer.kind == "conv_transpose" else layer.padding
        if layer.padding_mode == "zeros" or rows == (0, 0):
            return x
        before, after = ([0] * (self._leading + 2) + [count] for count in rows)
        name = f"{layer.name}.pad"
        self._initializer(f"{name}.rows", np.array([*before, *after], dtype="<i8"))
        return self._node("Pad", [x, f"{name}.rows"], name, mode=_PAD_MODES[layer.padding_mode])

    def _conv(self, x: str, layer: Layer) -> str:
        ones, zeros = [1] * self._leading, [0] * self._leading
        left, right = layer.padding
        if layer.padding_mode != "zeros":
            left, right = (0, 0) if layer.kind == "conv" else (left + layer.stride, right)
        attributes: dict[str, Any] = {
            # Optional in ONNX; the Ascend parser insists on it.
            "kernel_shape": [*ones, layer.kernel_size],
            "pads": [*zeros, left, *zeros, right],
            "dilations": [*ones, layer.dilation],
            "strides": [*ones, layer.stride],
            "group": 1,
        }
        return self._node(_OPERATORS[layer.kind], self._with_parameters(x, layer.name), layer.name, **attributes)

    def _with_parameters(self, x: str, name: str) -> list[str]:
        """The inputs of a convolution: a value, the weight and the bias, if there is one."""
        weight, bias = f"{name}.weight", f"{name}.bias"
        *channels, taps = self._generator.weights[weight].shape
        self._initializer(weight, self._generator.float32(weight).reshape(*channels, *[1] * self._leading, taps))
        if bias not in self._generator.weights:
            return [x, weight]
        self._initializer(bias, self._generator.float32(bias))
        return [x, weight, bias]

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
