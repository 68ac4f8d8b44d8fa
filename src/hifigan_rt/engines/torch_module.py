"""The generator as a PyTorch module, built from the neutral graph.

Its convolutions are 2-D, over images one row high: channels last, that is the fastest form that PyTorch has on a CPU
(docs/torch.md).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import leaky_relu

from hifigan_rt.graph import MEL, Generator, Layer


def _convolution(generator: Generator, layer: Layer) -> nn.Module:
    """A layer over `[B, C, 1, T]`, with kernel (1, K)."""
    sizes = (layer.in_channels, layer.out_channels, (1, layer.kernel_size))
    module: nn.Conv2d | nn.ConvTranspose2d
    left, _ = layer.padding
    if layer.kind == "conv":
        module = nn.Conv2d(*sizes, padding=(0, left), dilation=(1, layer.dilation))
    else:
        module = nn.ConvTranspose2d(*sizes, stride=(1, layer.stride), padding=(0, left))
    weight = torch.tensor(generator.weights[f"{layer.name}.weight"])
    module.load_state_dict({"weight": weight[:, :, None], "bias": torch.tensor(generator.bias_of(layer))})
    return module


class TorchGenerator(nn.Module):
    """`[B, M, 1, T]` to `[B, N]`."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self._graph = generator.graph
        self.convolutions = nn.ModuleList(_convolution(generator, layer) for layer in generator.graph.layers)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        graph = self._graph
        values = {MEL: mel}
        for layer, convolution in zip(graph.layers, self.convolutions, strict=True):
            x = values[layer.inputs[0]]
            for name in layer.inputs[1:]:
                x = x + values[name]
            if len(layer.inputs) > 1:
                x = x / len(layer.inputs)
            if layer.activation is not None:
                x = leaky_relu(x, layer.activation.slope)
            y = convolution(x)
            values[layer.name] = y if layer.residual is None else y + values[layer.residual]
            for name in graph.last_reads[layer.name]:
                del values[name]
        audio: torch.Tensor = torch.tanh(values[graph.layers[-1].name])
        return audio[:, 0, 0]
