"""The generator as a PyTorch module, built from the neutral graph.

Its convolutions are 2-D, over images one row high: channels last, that is the fastest form that PyTorch has on a CPU
(docs/torch.md).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import leaky_relu

from hifigan_rt.graph import FINAL_LEAKY_RELU_SLOPE, LEAKY_RELU_SLOPE, Conv, Generator, Layer, Resblock, Stage


def _convolution(generator: Generator, layer: Layer) -> nn.Module:
    """A layer over `[B, C, 1, T]`, with kernel (1, K)."""
    sizes = (layer.in_channels, layer.out_channels, (1, layer.kernel_size))
    module: nn.Conv2d | nn.ConvTranspose2d
    if isinstance(layer, Conv):
        module = nn.Conv2d(*sizes, padding=(0, layer.padding), dilation=(1, layer.dilation))
    else:
        module = nn.ConvTranspose2d(*sizes, stride=(1, layer.stride), padding=(0, layer.padding))
    weight = torch.tensor(generator.weights[f"{layer.name}.weight"])
    module.load_state_dict({"weight": weight[:, :, None], "bias": torch.tensor(generator.bias_of(layer))})
    return module


class _ResblockModule(nn.Module):
    def __init__(self, generator: Generator, resblock: Resblock) -> None:
        super().__init__()
        self.units = nn.ModuleList(
            nn.ModuleList(_convolution(generator, layer) for layer in unit) for unit in resblock.units
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for unit in self.units:
            y = x
            for convolution in unit:
                y = convolution(leaky_relu(y, LEAKY_RELU_SLOPE))
            x = y + x
        return x


class _StageModule(nn.Module):
    def __init__(self, generator: Generator, stage: Stage) -> None:
        super().__init__()
        self.upsample = _convolution(generator, stage.upsample)
        self.resblocks = nn.ModuleList(_ResblockModule(generator, resblock) for resblock in stage.resblocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.upsample(leaky_relu(x, LEAKY_RELU_SLOPE))
        total: torch.Tensor = self.resblocks[0](x)
        for resblock in self.resblocks[1:]:
            total = total + resblock(x)
        return total / len(self.resblocks)


class TorchGenerator(nn.Module):
    """`[B, M, 1, T]` to `[B, N]`."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.conv_pre = _convolution(generator, generator.graph.conv_pre)
        self.stages = nn.ModuleList(_StageModule(generator, stage) for stage in generator.graph.stages)
        self.conv_post = _convolution(generator, generator.graph.conv_post)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        x = self.conv_pre(mel)
        for stage in self.stages:
            x = stage(x)
        audio: torch.Tensor = torch.tanh(self.conv_post(leaky_relu(x, FINAL_LEAKY_RELU_SLOPE)))
        return audio[:, 0, 0]
