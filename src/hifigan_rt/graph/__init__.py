"""The HiFi-GAN generator as plain data: layers, shapes, lengths, cost and reach; no framework, no arithmetic.

Layers carry the names of the original's parameters (jik876/hifi-gan: models.py), so that errors match checkpoints.
The network is the list of its layers in order. One forward pass is

    values = {"mel": (mel - mean) / scale if the config has input_normalization, else mel}
    values |= {"mel.0": first half of the mel's channels, "mel.1": the other half} if the config has a flow
    for layer in graph.layers:
        x = mean of values[name] over layer.inputs, or all their channels if layer.is_joining
        y = convolution(activation(x))
        y = y + 1x1 convolution of the conditioning vector, if layer.conditioning names one
        y = tanh(first half of y's channels) * sigmoid(the other half) if layer.is_gated
        values[layer.name] = y + values[layer.residual] if the layer has a residual, else y
    audio = tanh(values of the last layer), or what config.output says
"""

from __future__ import annotations

from hifigan_rt.graph.flow import HALVES
from hifigan_rt.graph.generator import Generator, bind
from hifigan_rt.graph.graph import (
    MAX_FRAMES,
    NORMALIZATION,
    SPEAKER_TABLE,
    Graph,
    ReceptiveField,
    check_frames,
    check_mirrored,
)
from hifigan_rt.graph.layer import MEL, Activation, Layer, LayerKind, LeakyRelu, PaddingMode
from hifigan_rt.graph.layout import build_graph

__all__ = [
    "HALVES",
    "MAX_FRAMES",
    "MEL",
    "NORMALIZATION",
    "SPEAKER_TABLE",
    "Activation",
    "Generator",
    "Graph",
    "Layer",
    "LayerKind",
    "LeakyRelu",
    "PaddingMode",
    "ReceptiveField",
    "bind",
    "build_graph",
    "check_frames",
    "check_mirrored",
]
