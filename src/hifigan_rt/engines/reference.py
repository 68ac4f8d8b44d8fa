"""The reference: the generator in plain NumPy float64, written to be read.

Every other engine is compared with this one. It is itself judged by golden outputs of the original network
(tests/golden/), to 1e-12. Arrays here are `[C, T]`, one item at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hifigan_rt.engines.base import Engine, EngineInfo, EngineOptions
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.graph import HALVES, MEL, Activation, Generator, Layer, PaddingMode
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.kinds import Weights


def activate(x: np.ndarray, activation: Activation) -> np.ndarray:
    """Apply an activation to every element."""
    if activation is None:
        return x
    return np.where(x > 0, x, activation.slope * x)


_NUMPY_MODES: Mapping[PaddingMode, Any] = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}

_OUTPUTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "clamp": lambda x: np.clip(x, -1, 1),
    "none": lambda x: x,
}


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, layer: Layer) -> np.ndarray:
    """Correlate `[C_in, T]` with `[C_out, C_in, K]`: one matrix product per tap, shifted by the dilation."""
    padded = np.pad(x, ((0, 0), layer.padding), _NUMPY_MODES[layer.padding_mode])
    length = layer.output_length(x.shape[1])
    y = np.repeat(bias[:, None], length, axis=1)
    for tap in range(layer.kernel_size):
        start = tap * layer.dilation
        y += weight[:, :, tap] @ padded[:, start : start + length]
    return y


def convolve_transposed(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, layer: Layer) -> np.ndarray:
    """Spread `[C_in, T]` by the stride: input row t adds its tap j to output row t * stride + j - left padding."""
    kept = layer.output_length(x.shape[1])
    left, _ = layer.padding
    if layer.padding_mode == "replicate":
        x, left = np.concatenate([x[:, :1], x], axis=1), left + layer.stride
    length = x.shape[1]
    whole = np.zeros((layer.out_channels, (length - 1) * layer.stride + layer.kernel_size))
    for tap in range(layer.kernel_size):
        whole[:, tap : tap + (length - 1) * layer.stride + 1 : layer.stride] += weight[:, :, tap].T @ x
    y: np.ndarray = whole[:, left : left + kept] + bias[:, None]
    return y


def mean(values: Sequence[np.ndarray]) -> np.ndarray:
    """The mean, summed in order; a single value as it is."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total if len(values) == 1 else total / len(values)


def gate(x: np.ndarray) -> np.ndarray:
    """Multiply tanh of the first half of the channels `[2 C, T]` by the sigmoid of the other; returns `[C, T]`."""
    first, second = np.split(x, 2)
    gated: np.ndarray = np.tanh(first) * (0.5 + 0.5 * np.tanh(0.5 * second))
    return gated


def generate(generator: Generator, mel: np.ndarray, conditioning: np.ndarray | None = None) -> np.ndarray:
    """Run one mel `[M, T]`, with its vector `[G]` if layers take one, through the network; returns float64 `[N]`.

    Raises:
        MelError: the mel is shorter than the layers take.
    """
    graph = generator.graph
    graph.output_length(mel.shape[1])
    values = {MEL: generator.normalized(np.asarray(mel, dtype=np.float64))}
    if graph.config.flow is not None:
        values = dict(zip(HALVES, np.split(values[MEL], 2), strict=True))
    for layer in graph.layers:
        weight = generator.weights[f"{layer.name}.weight"].astype(np.float64)
        bias = generator.bias_of(layer).astype(np.float64)
        read = [values[name] for name in layer.inputs]
        x = activate(np.concatenate(read) if layer.is_joining else mean(read), layer.activation)
        y = (convolve if layer.kind == "conv" else convolve_transposed)(x, weight, bias, layer)
        if layer.conditioning is not None:
            y = y + generator.conditioning_of(layer, np.asarray(conditioning, dtype=np.float64))[:, None]
        if layer.is_gated:
            y = gate(y)
        values[layer.name] = y if layer.residual is None else y + values[layer.residual]
        for name in graph.last_reads[layer.name]:
            del values[name]
    audio: np.ndarray = _OUTPUTS[graph.config.output](values[graph.layers[-1].name])[0]
    return audio


class ReferenceEngine(Engine):
    """`generate` as an engine: computed in float64, returned as float32."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self._generator = generator
        self.conditioning = ConditioningRule.of_generator(generator)
        self.info = EngineInfo("reference", np.__version__, "float64", 1, "cpu")

    def _run(self, mel: CheckedMel, conditioning: np.ndarray | None = None) -> np.ndarray:
        vectors = [None] * len(mel) if conditioning is None else list(conditioning)
        with np.errstate(over="ignore", invalid="ignore"):  # Engine.run tells of what comes of it
            audios = [generate(self._generator, item, vector) for item, vector in zip(mel, vectors, strict=True)]
        return np.stack(audios).astype(np.float32)


def create(model: Weights, options: EngineOptions) -> ReferenceEngine:  # noqa: ARG001 - it has no options
    """Load a model into the reference engine."""
    return ReferenceEngine(model.generator)
