"""The networks of `golden.features` by PyTorch's own layers, written from the config alone; no code of the package."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn import functional

from hifigan_rt.config import GeneratorConfig
from hifigan_rt.graph import Generator

_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate"}


def compute(generator: Generator, mels: np.ndarray, vectors: np.ndarray | None) -> np.ndarray:
    """float64 `[B, N]` of mels `[B, M, T]` and vectors `[B, G]`."""
    weights = {name: torch.from_numpy(array.astype(np.float64)) for name, array in generator.weights.items()}
    given = None if vectors is None else torch.from_numpy(vectors.astype(np.float64))
    network = _Network(generator.graph.config, weights, given)
    return network.forward(torch.from_numpy(np.asarray(mels, np.float64))).numpy()


class _Network:
    def __init__(
        self, config: GeneratorConfig, weights: Mapping[str, torch.Tensor], vectors: torch.Tensor | None
    ) -> None:
        self.config, self.weights, self.vectors = config, weights, vectors

    def conv(self, name: str, x: torch.Tensor, dilation: int = 1) -> torch.Tensor:
        weight = self.weights[f"{name}.weight"]
        reach = (weight.shape[2] - 1) * dilation
        ends = (reach, 0) if self.config.causal else (reach // 2, reach // 2)
        x = functional.pad(x, ends, mode=_MODES[self.config.padding_mode])
        return functional.conv1d(x, weight, self.weights.get(f"{name}.bias"), dilation=dilation)

    def upsample(self, i: int, x: torch.Tensor) -> torch.Tensor:
        config = self.config
        weight, bias = self.weights[f"ups.{i}.weight"], self.weights.get(f"ups.{i}.bias")
        rate, kernel = config.upsample_rates[i], config.upsample_kernel_sizes[i]
        rows = x.shape[2]
        if config.causal:
            x = functional.pad(x, (1, 0), mode="replicate")
            return functional.conv_transpose1d(x, weight, bias, rate)[:, :, rate : rate + rows * rate]
        if config.upsample_paddings is None:
            return functional.conv_transpose1d(x, weight, bias, rate, padding=(kernel - rate) // 2)
        left, right = config.upsample_paddings[i]
        whole = functional.conv_transpose1d(x, weight, bias, rate)
        return whole[:, :, left : whole.shape[2] - right]

    def add_vector(self, layer: str, name: str, x: torch.Tensor) -> torch.Tensor:
        if layer not in self.config.conditioned_layers or self.vectors is None:
            return x
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        return x + functional.conv1d(self.vectors[:, :, None], weight, bias)

    def block(self, name: str, j: int, x: torch.Tensor) -> torch.Tensor:
        slope = self.config.leaky_relu_slope
        for m, dilation in enumerate(self.config.resblock_dilation_sizes[j]):
            if self.config.resblock == "1":
                y = self.conv(f"{name}.convs1.{m}", functional.leaky_relu(x, slope), dilation)
                x = x + self.conv(f"{name}.convs2.{m}", functional.leaky_relu(y, slope))
            else:
                x = x + self.conv(f"{name}.convs.{m}", functional.leaky_relu(x, slope), dilation)
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        config = self.config
        if config.input_normalization:
            x = (x - self.weights["mean"][:, None]) / self.weights["scale"][:, None]
        if config.pre_linear:
            linear = functional.linear(x.transpose(1, 2), self.weights["lin_pre.weight"][:, :, 0])
            x = (linear + self.weights["lin_pre.bias"]).transpose(1, 2)
        x = self.add_vector("conv_pre", "cond", self.conv("conv_pre", x))
        blocks = len(config.resblock_kernel_sizes)
        for i in range(len(config.upsample_rates)):
            x = self.upsample(i, functional.leaky_relu(x, config.leaky_relu_slope))
            x = self.add_vector(f"ups.{i}", f"conds.{i}", x)
            x = sum(self.block(f"resblocks.{i * blocks + j}", j, x) for j in range(blocks)) / blocks
        x = self.conv("conv_post", functional.leaky_relu(x, config.final_slope))[:, 0]
        return {"tanh": torch.tanh, "clamp": lambda y: y.clamp(-1, 1), "none": lambda y: y}[config.output](x)
