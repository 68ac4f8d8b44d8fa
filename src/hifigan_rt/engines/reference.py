"""The truth: the generator in plain NumPy float64, written to be read.

Every other engine is compared with this one. It is itself judged by golden outputs of the original network
(tests/golden/), to 1e-12. Arrays here are `[C, T]`, one item at a time.
"""

from __future__ import annotations

import numpy as np

from hifigan_rt.engines.base import Engine, EngineInfo, EngineOptions
from hifigan_rt.errors import EngineError
from hifigan_rt.graph import (
    FINAL_LEAKY_RELU_SLOPE,
    LEAKY_RELU_SLOPE,
    Conv,
    ConvTranspose,
    Generator,
    Resblock,
)
from hifigan_rt.model.resolve import Model


def leaky_relu(x: np.ndarray, slope: float) -> np.ndarray:
    """x where positive, slope * x elsewhere."""
    return np.where(x > 0, x, slope * x)


def conv1d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, layer: Conv) -> np.ndarray:
    """Correlate `[C_in, T]` with `[C_out, C_in, K]`: one matrix product per tap, shifted by the dilation."""
    padded = np.pad(x, ((0, 0), (layer.padding, layer.padding)))
    length = layer.output_length(x.shape[1])
    y = np.repeat(bias[:, None], length, axis=1)
    for tap in range(layer.kernel_size):
        start = tap * layer.dilation
        y += weight[:, :, tap] @ padded[:, start : start + length]
    return y


def conv_transpose1d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, layer: ConvTranspose) -> np.ndarray:
    """Spread `[C_in, T]` by the stride: input row t adds its tap j to output row t * stride + j - padding."""
    length = x.shape[1]
    whole = np.zeros((layer.out_channels, (length - 1) * layer.stride + layer.kernel_size))
    for tap in range(layer.kernel_size):
        whole[:, tap : tap + (length - 1) * layer.stride + 1 : layer.stride] += weight[:, :, tap].T @ x
    y: np.ndarray = whole[:, layer.padding : layer.padding + layer.output_length(length)] + bias[:, None]
    return y


def generate(generator: Generator, mel: np.ndarray) -> np.ndarray:
    """Run one mel `[M, T]` through the network; returns float64 `[N]`."""
    graph = generator.graph
    weights = {name: array.astype(np.float64) for name, array in generator.weights.items()}

    def conv(x: np.ndarray, layer: Conv) -> np.ndarray:
        return conv1d(x, weights[f"{layer.name}.weight"], generator.bias_of(layer).astype(np.float64), layer)

    def run_resblock(x: np.ndarray, resblock: Resblock) -> np.ndarray:
        for unit in resblock.units:
            y = x
            for layer in unit:
                y = conv(leaky_relu(y, LEAKY_RELU_SLOPE), layer)
            x = y + x
        return x

    x = conv(np.asarray(mel, dtype=np.float64), graph.conv_pre)
    for stage in graph.stages:
        up = stage.upsample
        x = leaky_relu(x, LEAKY_RELU_SLOPE)
        x = conv_transpose1d(x, weights[f"{up.name}.weight"], generator.bias_of(up).astype(np.float64), up)
        total = run_resblock(x, stage.resblocks[0])
        for resblock in stage.resblocks[1:]:
            total = total + run_resblock(x, resblock)
        x = total / len(stage.resblocks)
    x = leaky_relu(x, FINAL_LEAKY_RELU_SLOPE)
    audio: np.ndarray = np.tanh(conv(x, graph.conv_post))[0]
    return audio


class ReferenceEngine(Engine):
    """`generate` behind the engines' door: computed in float64, returned as float32."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self._generator = generator
        self.info = EngineInfo("reference", np.__version__, "float64", 1, "cpu")

    def _run(self, mel: np.ndarray) -> np.ndarray:
        return np.stack([generate(self._generator, item) for item in mel]).astype(np.float32)


def create(model: Model, options: EngineOptions) -> ReferenceEngine:  # noqa: ARG001 - it has no options
    """Load a model into the reference engine."""
    if model.generator is None:
        raise EngineError(
            f"engine 'reference' runs weights, and {model.name} is an ONNX file: name the checkpoint, "
            "or use engine 'onnxruntime'"
        )
    return ReferenceEngine(model.generator)
