"""The layers in order, with what follows from them: shapes, lengths, cost and reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hifigan_rt.config import GeneratorConfig
from hifigan_rt.errors import MelError
from hifigan_rt.graph.flow import HALVES
from hifigan_rt.graph.layer import MEL, Layer

MAX_FRAMES = 1 << 24
"""Frames of one mel that are accepted (54 hours at 22,050 Hz and a hop of 256)."""


def check_frames(frames: int) -> None:
    """Check a mel's length.

    Raises:
        MelError: it is no whole number, below 1 or absurd.
    """
    if isinstance(frames, bool) or not isinstance(frames, (int, np.integer)):
        raise MelError(f"a mel of {frames!r} frames: their number must be a whole one")
    if not 1 <= frames <= MAX_FRAMES:
        raise MelError(f"mel has T={frames} frames: it must have from 1 to {MAX_FRAMES}")


def check_mirrored(frames: int, least: int) -> None:
    """Check that a mel is as long as layers need that mirror it.

    Raises:
        MelError: it is shorter than `Graph.least_frames`.
    """
    if frames < least:
        raise MelError(
            f"mel has T={frames} frames: the layers of this generator mirror their input at its ends (padding_mode "
            f"'reflect'), which needs at least {least}"
        )


NORMALIZATION = ("mean", "scale")
"""Names of the weights `[M]` of the input's normalization."""
SPEAKER_TABLE = "emb_g.weight"
"""Name of the table `[S, G]` of conditioning vectors."""


@dataclass(frozen=True)
class ReceptiveField:
    """How far one mel frame reaches: frame f changes samples `f * hop + first_sample` to `f * hop + last_sample`.

    Seen from the audio, the samples of frame t depend on the mel frames `t - left_frames` to `t + right_frames`.
    """

    first_sample: int
    """Negative: a frame changes this many samples before its own first one, which is the look-ahead."""
    last_sample: int
    """The last sample that a frame changes, counted from its own first one."""
    left_frames: int
    """Context before a frame."""
    right_frames: int
    """Look-ahead after a frame."""


@dataclass(frozen=True)
class Graph:
    """A generator's layers in order, built from its config by `build_graph`."""

    config: GeneratorConfig
    layers: tuple[Layer, ...]

    @property
    def num_mels(self) -> int:
        """Bands or features that a frame of the input has."""
        return self.config.input_channels

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        return self.config.hop_length

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, weight norm folded."""
        config = self.config
        shapes: dict[str, tuple[int, ...]] = {}
        if config.input_normalization:
            shapes |= dict.fromkeys(NORMALIZATION, (self.num_mels,))
        for layer in self.layers:
            shapes[f"{layer.name}.weight"] = layer.weight_shape
            if layer.bias:
                shapes[f"{layer.name}.bias"] = (layer.out_channels,)
            if layer.conditioning is not None:
                shapes[f"{layer.conditioning}.weight"] = (layer.out_channels, config.conditioning_channels, 1)
                if layer.conditioning not in config.layers_without_bias:
                    shapes[f"{layer.conditioning}.bias"] = (layer.out_channels,)
        if config.num_speakers:
            shapes[SPEAKER_TABLE] = (config.num_speakers, config.conditioning_channels)
        return shapes

    def output_length(self, frames: int) -> int:
        """Samples N that T mel frames give: `T * hop_length` when every stage keeps `rate` rows for each of its own.

        Raises:
            MelError: frames is below `least_frames` or absurd.
        """
        check_frames(frames)
        check_mirrored(frames, self.least_frames)
        # Each layer's length is linear in its input's, with the stride as the factor.
        return (int(frames) - 1) * self.hop_length + self._samples_of_one_frame  # NumPy's numbers overflow

    @cached_property
    def least_frames(self) -> int:
        """Frames that a mel must have: 1, or what reflection needs, more rows than it adds on one side."""
        least = 1
        for layer, rows, rate in self._rows():
            if layer.padding_mode == "reflect":
                least = max(least, 1 - (rows - max(layer.padding) - 1) // rate)
        return least

    @cached_property
    def _samples_of_one_frame(self) -> int:
        *_, (last, rows, _) = self._rows()
        return last.output_length(rows)

    def _rows(self) -> Iterator[tuple[Layer, int, int]]:
        """Each layer with the rows that it reads of the first frame, and of each further one."""
        lengths, rates = dict.fromkeys((MEL, *HALVES), 1), dict.fromkeys((MEL, *HALVES), 1)
        for layer in self.layers:
            rows, rate = lengths[layer.inputs[0]], rates[layer.inputs[0]]
            yield layer, rows, rate
            lengths[layer.name], rates[layer.name] = layer.output_length(rows), rate * layer.stride

    @property
    def parameter_count(self) -> int:
        """Weights and biases, weight norm folded (V1: 13,926,017)."""
        return sum(int(np.prod(shape)) for shape in self.weight_shapes().values())

    @property
    def macs_per_frame(self) -> int:
        """Multiply-accumulates of direct convolution per mel frame, far from the ends (V1: 307,052,544)."""
        return sum(macs for _, macs in self.macs_of_layers())

    def macs_of_layers(self) -> Iterator[tuple[Layer, int]]:
        """Each layer with its multiply-accumulates per mel frame."""
        for layer, _, rate in self._rows():
            # A transposed convolution does its kernel once per input row, all others once per output row: as many.
            yield layer, rate * int(np.prod(layer.weight_shape))

    @cached_property
    def receptive_field(self) -> ReceptiveField:
        """The exact reach of one frame, by following an interval of rows through every layer."""
        reach = dict.fromkeys((MEL, *HALVES), (0, 0))
        for layer in self.layers:
            low = min(reach[name][0] for name in layer.inputs)
            high = max(reach[name][1] for name in layer.inputs)
            low, high = layer.reach(low, high)
            if layer.residual is not None:
                low, high = min(low, reach[layer.residual][0]), max(high, reach[layer.residual][1])
            reach[layer.name] = low, high
        first, last = reach[self.layers[-1].name]
        hop = self.hop_length
        # Frame f reaches the samples t*hop ... t*hop + hop - 1 of frame t if f*hop + first <= t*hop + hop - 1
        # and f*hop + last >= t*hop.
        return ReceptiveField(first, last, left_frames=last // hop, right_frames=(hop - 1 - first) // hop)

    @cached_property
    def last_reads(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the values that no later layer reads, by the name of the layer after which they can be freed."""
        last_reader: dict[str, str] = {}
        for layer in self.layers:
            last_reader.update(dict.fromkeys(layer.inputs, layer.name))
            if layer.residual is not None:
                last_reader[layer.residual] = layer.name
        freed: dict[str, list[str]] = {layer.name: [] for layer in self.layers}
        for name, reader in last_reader.items():
            freed[reader].append(name)
        return {name: tuple(values) for name, values in freed.items()}
