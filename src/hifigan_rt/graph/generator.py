"""A graph with its weights: what every engine runs and every exporter writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hifigan_rt.errors import CheckpointError, ExportError, WeightMismatch
from hifigan_rt.graph.graph import NORMALIZATION, SPEAKER_TABLE, Graph
from hifigan_rt.graph.layer import Layer


@dataclass(frozen=True, eq=False)  # arrays have no single truth
class Generator:
    """A graph with its weights: what every engine runs and every exporter writes. Equal to itself alone.

    `weights` maps the names of `Graph.weight_shapes` to C-contiguous float32 or float64 arrays of those shapes.
    """

    graph: Graph
    weights: Mapping[str, np.ndarray] = field(repr=False)

    def bias_of(self, layer: Layer) -> np.ndarray:
        """The layer's bias `[C_out]`; zeros if it has none."""
        weight = self.weights[f"{layer.name}.weight"]
        return self.weights.get(f"{layer.name}.bias", np.zeros(layer.out_channels, weight.dtype))

    def float32(self, name: str) -> np.ndarray:
        """A weight as exporters write it: rounded to float32, little-endian and C-contiguous.

        Raises:
            ExportError: it holds values that float32 has not.
        """
        with np.errstate(over="ignore"):
            rounded = np.ascontiguousarray(self.weights[name], "<f4")
        if not np.isfinite(rounded).all():
            raise ExportError(f"{name} holds values beyond float32 (3.4e38), the arithmetic of an exported model")
        return rounded

    def normalized(self, mel: np.ndarray) -> np.ndarray:
        """What the first layer takes of a mel `[..., M, T]`, in the mel's dtype: itself without normalization."""
        if not self.graph.config.input_normalization:
            return mel
        mean, scale = (self.weights[name].astype(mel.dtype)[:, None] for name in NORMALIZATION)
        normalized: np.ndarray = (mel - mean) / scale
        return normalized

    def conditioning_of(self, layer: Layer, conditioning: np.ndarray) -> np.ndarray:
        """What is added to every row of a conditioned layer's result, in the vector's dtype.

        Args:
            layer: one that has a conditioning.
            conditioning: `[..., G]`.

        Returns:
            `[..., C_out]`.
        """
        weight = self.weights[f"{layer.conditioning}.weight"][:, :, 0].astype(conditioning.dtype)
        added: np.ndarray = conditioning @ weight.T
        bias = self.weights.get(f"{layer.conditioning}.bias")
        return added if bias is None else added + bias.astype(conditioning.dtype)

    @property
    def speaker_table(self) -> np.ndarray | None:
        """Conditioning vectors of the speakers, float32 `[S, G]`; None if there is no table."""
        table = self.weights.get(SPEAKER_TABLE)
        return None if table is None else table.astype(np.float32)


def bind(graph: Graph, weights: Mapping[str, np.ndarray], hint: str = "") -> Generator:
    """Join a graph with its weights, checked completely.

    Args:
        graph: the architecture.
        weights: folded parameters by name; float16 widens to float32 exactly, float32 and float64 stay. The matrix of a
            linear layer is taken as the 1x1 convolution that it is.
        hint: a last line for the error, for example where the config came from.

    Raises:
        WeightMismatch: lists every missing, unexpected and misshapen parameter.
        CheckpointError: a parameter is not a float array or holds NaN or infinity, or a layer that all of a mel goes
            through is zero.
    """
    shapes = graph.weight_shapes()
    weights = {name: _as_convolution(array, shapes.get(name, ())) for name, array in weights.items()}
    missing = [name for name in shapes if name not in weights]
    unexpected = [name for name in weights if name not in shapes]
    misshapen = {
        name: (tuple(weights[name].shape), shape)
        for name, shape in shapes.items()
        if name in weights and tuple(weights[name].shape) != shape
    }
    if missing or unexpected or misshapen:
        raise WeightMismatch(missing, unexpected, misshapen, hint)
    generator = Generator(graph, {name: _as_parameter(name, weights[name]) for name in shapes})
    _refuse_zeros(generator)
    return generator


def _refuse_zeros(generator: Generator) -> None:
    """Refuse weights with which every mel gives the same audio: room was made for them, and nothing was put there."""
    layers = generator.graph.layers
    first, *others = (layer for layer in layers if layer.kind == "conv_transpose")
    for name in (*first.inputs, first.name, *(layer.name for layer in others), layers[-1].name):
        if not generator.weights[f"{name}.weight"].any():
            raise CheckpointError(
                f"{name}.weight is zero throughout, so that every mel gives the same audio: the checkpoint was saved "
                "before its weights were in it, or it is damaged; save it again"
            )


def _as_convolution(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return array[:, :, None] if array.ndim == 2 and shape[2:] == (1,) else array


def _as_parameter(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise CheckpointError(f"{name} has dtype {array.dtype}: float16, float32 or float64 is needed")
    if not np.isfinite(array).all():
        raise CheckpointError(
            f"{name} holds {int((~np.isfinite(array)).sum())} values that are NaN or infinite: "
            "the checkpoint is damaged or its training diverged"
        )
    if array.dtype.itemsize == 8 and np.abs(array).max(initial=0) > np.finfo(np.float32).max:
        raise CheckpointError(
            f"{name} holds values up to {np.abs(array).max():.6g} in size, and float32 none beyond 3.4e38: "
            "the checkpoint is damaged or its training diverged"
        )
    dtype = np.float64 if array.dtype.itemsize == 8 else np.float32
    return np.ascontiguousarray(array, dtype=dtype)
