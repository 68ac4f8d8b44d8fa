"""A Piper voice of the quality `high`, made of one of the quality `medium`: text part and flow, and V1's decoder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

# Of Piper's training code for the quality `high`, which are V1's of the original HiFi-GAN.
CHANNELS = 512
UPSAMPLINGS = ((8, 16), (8, 16), (2, 4), (2, 4))
"""Rate and kernel."""
KERNELS = (3, 7, 11)
DILATIONS = (1, 3, 5)


class _Nodes:
    """Nodes in a row, with their random weights."""

    def __init__(self, latents: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.last = latents
        self._random = np.random.default_rng(0)

    def add(self, kind: str, inputs: list[str], **attributes: object) -> str:
        """Add a node, and make its output what the next one reads."""
        self.last = f"/dec/{len(self.nodes)}_output"
        self.nodes.append(helper.make_node(kind, inputs, [self.last], **attributes))
        return self.last

    def convolution(self, name: str, shape: tuple[int, ...], kind: str = "Conv", **attributes: object) -> str:
        """Add a convolution with random weights, small enough for the samples to stay within [-1, 1]."""
        inputs = shape[0] if kind == "ConvTranspose" else shape[1]
        values = self._random.standard_normal(shape, np.float32) / np.float32(2 * np.sqrt(inputs * shape[2]))
        names = [f"dec.{name}.weight"]
        self.weights.append(numpy_helper.from_array(values, names[0]))
        if name != "conv_post":
            names.append(f"dec.{name}.bias")
            outputs = shape[1] if kind == "ConvTranspose" else shape[0]
            self.weights.append(numpy_helper.from_array(np.zeros(outputs, np.float32), names[1]))
        return self.add(kind, [self.last, *names], kernel_shape=[shape[2]], **attributes)

    def residual_block(self, name: str, channels: int, kernel: int) -> str:
        """Add the pairs of convolutions of one kernel."""
        for index, dilation in enumerate(DILATIONS):
            before = self.last
            for layer, step in (("convs1", dilation), ("convs2", 1)):
                self.add("LeakyRelu", [self.last], alpha=0.1)
                pad = step * (kernel - 1) // 2
                shape = (channels, channels, kernel)
                self.convolution(f"{name}.{layer}.{index}", shape, dilations=[step], pads=[pad, pad])
            self.add("Add", [self.last, before])
        return self.last


def _decoder(latents: str, latent_channels: int) -> _Nodes:
    nodes, channels = _Nodes(latents), CHANNELS
    nodes.convolution("conv_pre", (channels, latent_channels, 7), pads=[3, 3])
    for stage, (rate, kernel) in enumerate(UPSAMPLINGS):
        nodes.add("LeakyRelu", [nodes.last], alpha=0.1)
        pad = (kernel - rate) // 2
        shape = (channels, channels // 2, kernel)
        start = nodes.convolution(f"ups.{stage}", shape, "ConvTranspose", strides=[rate], pads=[pad, pad])
        channels //= 2
        outputs = []
        for index, width in enumerate(KERNELS):
            nodes.last = start
            outputs.append(nodes.residual_block(f"resblocks.{len(KERNELS) * stage + index}", channels, width))
        nodes.add("Add", outputs[:2])
        nodes.add("Add", [nodes.last, outputs[2]])
        nodes.add("Div", [nodes.last, "/dec/number_of_blocks"])
    nodes.weights.append(numpy_helper.from_array(np.array(len(KERNELS), np.float32), "/dec/number_of_blocks"))
    nodes.add("LeakyRelu", [nodes.last], alpha=0.01)
    nodes.convolution("conv_post", (1, channels, 7), pads=[3, 3])
    return nodes


def write_high_voice(medium: Path, target: Path) -> None:
    """Write a voice whose decoder is V1's with random weights, and its settings.

    Args:
        medium: a voice's .onnx with its settings beside it.
        target: where the other goes.
    """
    model = onnx.load(medium)
    graph = model.graph
    first = next(node for node in graph.node if "dec.conv_pre.weight" in node.input)
    latents = first.input[0]
    below: set[str] = set()
    for node in graph.node:
        if latents in node.input or below.intersection(node.input):
            below.update(node.output)
    (tanh,) = (node for node in graph.node if node.op_type == "Tanh" and node.output[0] in below)
    channels = next(tensor.dims[1] for tensor in graph.initializer if tensor.name == "dec.conv_pre.weight")
    decoder = _decoder(latents, channels)
    behind = list(graph.node)[list(graph.node).index(tanh) :]
    before = [node for node in graph.node if not below.intersection(node.output)]
    tanh.input[0] = decoder.last
    kept = [tensor for tensor in graph.initializer if not tensor.name.startswith("dec.")]
    del graph.node[:], graph.initializer[:]
    graph.node.extend([*before, *decoder.nodes, *(node for node in behind if below.intersection(node.output))])
    graph.initializer.extend([*kept, *decoder.weights])
    onnx.save(model, target)
    shutil.copyfile(f"{medium}.json", f"{target}.json")
