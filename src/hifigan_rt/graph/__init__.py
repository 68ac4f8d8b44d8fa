"""The HiFi-GAN generator as plain data: layers, shapes, lengths, cost and reach; no framework, no arithmetic.

Layers carry the names of the original's parameters (jik876/hifi-gan: models.py), so that errors match checkpoints.
The network is the list of its layers in order. One forward pass is

    values = {"mel": (mel - mean) / scale if the config has input_normalization, else mel}
    for layer in graph.layers:
        x = mean of values[name] over layer.inputs
        y = convolution(activation(x))
        y = y + 1x1 convolution of the conditioning vector, if layer.conditioning names one
        values[layer.name] = y + values[layer.residual] if the layer has a residual, else y
    audio = tanh(values of the last layer), or what config.output says
"""

from __future__ import annotations

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
