"""Which rows of each value are determined when, on engine `cuda`: the same numbers for whole signals and streams.

After F frames of a signal that goes on, `max(0, F * rate - lag)` rows of a value are determined; of a signal that ends
there, all `F * rate + surplus` of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from hifigan_rt.graph import MEL, Graph, Layer


@dataclass(frozen=True)
class ValueRows:
    """The rows of one value."""

    rate: int
    """Rows per frame."""
    lag: int
    """Rows that wait for frames to come."""
    surplus: int
    """Rows of a whole signal beyond `rate` for each frame; negative if there are fewer."""


def rows_of_values(graph: Graph) -> dict[str, ValueRows]:
    """The rows of every value of a graph without a flow, by its name."""
    rows = {MEL: ValueRows(1, 0, 0)}
    for layer in graph.layers:
        read = rows[layer.inputs[0]]
        waits = max(rows[name].lag for name in layer.inputs)
        left, right = layer.padding
        if layer.kind == "conv":
            lag, surplus = waits + layer.span - left, read.surplus + left + right - layer.span
        else:
            added = layer.kernel_size - layer.stride - left - right
            # Rows that are cut off behind the end are there as soon as more input is: `Layer.reach`.
            lag = max(waits * layer.stride + left, waits * layer.stride - added)
            surplus = read.surplus * layer.stride + added
        if layer.residual is not None:
            lag = max(lag, rows[layer.residual].lag)
        rows[layer.name] = ValueRows(read.rate * layer.stride, lag, surplus)
    return rows


def shift_of(layer: Layer) -> int:
    """Rows that a transposed convolution cuts off before its first one; 0 for a convolution."""
    return 0 if layer.kind == "conv" else layer.padding[0]


def kept_rows(read: ValueRows, lag: int, stride: int, shift: int, left: int) -> int:
    """Rows of a value that a layer reads again in the next pass.

    Args:
        read: the value.
        lag: of the layer's result.
        stride: result rows for each row of the value.
        shift: result rows before the first one.
        left: rows of the value that it reads before the one at its own place.
    """
    # The next pass begins with the result's row F * rate * stride - lag, which stands at the value's row
    # F * rate + (shift - lag) // stride.
    return max(0, -read.lag - (shift - lag) // stride + left)
