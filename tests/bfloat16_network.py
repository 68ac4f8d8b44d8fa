"""The generator in NumPy with every operand rounded as precisions bfloat16 and bfloat16x3 say, and sums in float64."""

from __future__ import annotations

import numpy as np

from hifigan_rt.engines.reference import _OUTPUTS, activate, convolve, convolve_transposed, mean
from hifigan_rt.graph import MEL, Generator, Graph, Layer, LeakyRelu

SLICES = {"bfloat16": 1, "bfloat16x3": 2}
LEAST_SLOPE_TAKEN_BACK = 1e-3


def rounded(x: np.ndarray) -> np.ndarray:
    """float32 to bfloat16, half away from zero."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)


def sliced(x: np.ndarray, count: int) -> list[np.ndarray]:
    """Slices of an array, each the rounded rest that those before it leave."""
    rest, slices = x.astype(np.float32), []
    for _ in range(count):
        slices.append(rounded(rest))
        rest = rest - slices[-1]
    return slices


def stored(x: np.ndarray, count: int) -> np.ndarray:
    """What slices keep of an array, float64."""
    return np.sum([part.astype(np.float64) for part in sliced(x, count)], axis=0)


def undone(x: np.ndarray, slope: float) -> np.ndarray:
    return np.where(x < 0, x / slope, x)


def held_slope(graph: Graph, layer: Layer) -> float | None:
    """The slope of the activation that rows of a stage hold; None if they hold the values before it.

    Args:
        graph: all layers.
        layer: one that begins a residual unit of the stage, or reads its upsampling.
    """
    stage = layer.name.split(".")[1] if layer.name.startswith("resblocks") else ""
    count = len(graph.config.resblock_kernel_sizes)
    first = [
        other
        for other in graph.layers
        if other.name.startswith("resblocks.")
        and int(other.name.split(".")[1]) // count == int(stage) // count
        and ".convs2." not in other.name
    ]
    slopes = {None if other.activation is None else other.activation.slope for other in first}
    if len(slopes) > 1:
        return None
    (slope,) = slopes
    return slope if slope is None or slope >= LEAST_SLOPE_TAKEN_BACK else None


def generate_in(precision: str, generator: Generator, mel: np.ndarray, vector: np.ndarray | None = None) -> np.ndarray:
    """Run one mel `[M, T]`; returns float64 `[N]`."""
    graph = generator.graph
    values = {MEL: generator.normalized(np.asarray(mel, np.float64))}
    finer = True
    for layer in graph.layers:
        slices = SLICES[precision] + finer
        weight, bias = generator.weights[f"{layer.name}.weight"], generator.bias_of(layer).astype(np.float64)
        x = mean([values[name] for name in layer.inputs])
        call = convolve if layer.kind == "conv" else convolve_transposed
        residual = None if layer.residual is None else values[layer.residual]
        if layer is graph.layers[-1]:
            y = call(activate(x, layer.activation), weight.astype(np.float64), bias, layer)
        else:
            slope = held_slope(graph, layer) if residual is not None or layer.name.startswith("resblocks") else None
            begins = layer.name.startswith("resblocks") and ".convs2." not in layer.name
            if begins and slope is None and layer.activation is not None:
                x = stored(x, slices)  # the rows hold the values, which pass the activation when they are read
            x = activate(x, layer.activation)
            inputs, weights = sliced(x, slices), sliced(weight, slices)
            y = np.zeros(())
            for i, part in enumerate(inputs):
                for j, factor in enumerate(weights):
                    if i + j < slices:
                        y = y + call(part.astype(np.float64), factor.astype(np.float64), np.zeros_like(bias), layer)
            y = y + bias[:, None]
            if layer.conditioning is not None:
                y = y + generator.conditioning_of(layer, np.asarray(vector, np.float64))[:, None]
            if residual is not None:
                if slope is None:
                    y = y + stored(residual, slices)
                else:
                    y = y + undone(stored(activate(residual, LeakyRelu(slope)), slices), slope)
        values[layer.name] = y
        finer = finer and layer.kind == "conv"
    audio: np.ndarray = _OUTPUTS[graph.config.output](values[graph.layers[-1].name])[0]
    return audio
