"""The plan of engine `cuda`: which kernel computes which layers, in which launches, and where everything lies.

Nothing here depends on a mel, a batch or a card. Each result is one sum in one order, wherever its tile lies: so a plan
gives the same bits for whole signals, batches and streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hifigan_rt.engines.cuda_launches import CardPlan, PlannedBranch, PlannedLaunch, PlannedValue
from hifigan_rt.engines.cuda_rows import kept_rows, rows_of_values, shift_of
from hifigan_rt.engines.cuda_tiles import CONVOLUTIONS, ENTRIES, HOPPER_THREADS, UNITS, Tile
from hifigan_rt.engines.cuda_weights import ahead_bytes, columns_of, exponent_of, left_of, pack, taps_of
from hifigan_rt.errors import EngineError
from hifigan_rt.graph import MEL, NORMALIZATION, Generator, Layer

SHARED_BYTES = 99 << 10
"""Shared memory of a block, on cards of 8.6, 8.9 and 12.0."""
MAX_INPUTS = 16
MAX_BRANCHES = 4
_MIN_SLOPE = 0.001
"""Behind a smaller slope, the value before it would be lost."""

_PADDING = {"zeros": 0, "reflect": 1, "replicate": 2}
_FIRST_AGAIN = 3
_ENDINGS = {"none": 0, "tanh": 1, "clamp": 2}
_EXIT_ROWS = 256
_EXIT_CHANNELS = 16
"""Channels of the last layer's input that are in shared memory at a time."""


@dataclass(frozen=True)
class _Computation:
    """What a branch computes: a layer, and the one that follows at once."""

    layer: Layer
    second: Layer | None = None

    @property
    def last(self) -> Layer:
        return self.second or self.layer


def build_plan(
    generator: Generator, precision: str, gains: Mapping[str, float] | None = None, kernels: str = "general"
) -> CardPlan:
    """Plan a generator.

    Args:
        generator: without a flow.
        precision: "float32", two planes of float16, or "float16".
        gains: powers of two by which values are divided where they are stored, by the value's name; 1 if absent.
        kernels: "general", or "hopper" for those of compute capability 9.0 where there are any.

    Raises:
        EngineError: a layer needs what no kernel has.
    """
    return _Planner(generator, 2 if precision == "float32" else 1, gains or {}, kernels == "hopper").plan()


class _Planner:
    def __init__(self, generator: Generator, planes: int, gains: Mapping[str, float], is_hopper: bool) -> None:
        self._generator = generator
        self._is_hopper = is_hopper
        self._graph = generator.graph
        self._planes = planes
        self._gains = gains
        self._rows = rows_of_values(self._graph)
        self._blob = bytearray()
        self._ahead = 0
        self._conditioned: list[Layer] = []
        self._added_channels = 0
        self._readers: dict[str, list[Layer]] = {
            name: [] for name in (MEL, *(layer.name for layer in self._graph.layers))
        }
        for layer in self._graph.layers:
            for name in layer.inputs:
                self._readers[name].append(layer)
        first = next(i for i, layer in enumerate(self._graph.layers) if layer.kind == "conv_transpose")
        # Of one plane, all stages would make louder what the rounding loses.
        self._in_two_planes = {name for layer in self._graph.layers[: first + 1] for name in layer.inputs}

    def plan(self) -> CardPlan:
        graph = self._graph
        for layer in graph.layers:
            if len(layer.inputs) > MAX_INPUTS:
                raise EngineError(
                    f"engine 'cuda' takes the mean of at most {MAX_INPUTS} values, and layer {layer.name} reads "
                    f"{len(layer.inputs)}: use engine 'torch'"
                )
        steps = self._steps()
        names = [MEL, *(step.last.name for step in steps)]
        self._numbers = {name: number for number, name in enumerate(names)}
        self._values = [self._value(name) for name in names]
        launches = self._launches(steps)
        self._keep(steps)
        buffers = self._place(launches)
        state = 0
        for value in self._values:
            value.saved = state
            state += value.planes * value.chunks * value.kept * 16
        means = scales = -1
        if graph.config.input_normalization:
            means, scales = (self._add(generator_array(self._generator, name)) for name in NORMALIZATION)
        self._blob += bytes(self._ahead)
        return CardPlan(
            self._values,
            launches,
            bytes(self._blob),
            state,
            buffers,
            self._numbers[MEL],
            self._numbers[graph.layers[-1].name],
            _ENDINGS[graph.config.output],
            graph.num_mels,
            means,
            scales,
            self._conditioned,
            self._added_channels,
            [layer.name for layer in graph.layers],
        )

    def _steps(self) -> list[_Computation]:
        steps, done = [], set()
        for index, layer in enumerate(self._graph.layers):
            if layer.name in done:
                continue
            following = self._graph.layers[index + 1] if index + 1 < len(self._graph.layers) else None
            if following is not None and self._are_a_unit(layer, following):
                steps.append(_Computation(layer, following))
                done.add(following.name)
            else:
                steps.append(_Computation(layer))
        return steps

    def _are_a_unit(self, first: Layer, second: Layer) -> bool:
        channels = _rounded(first.in_channels)
        tile = UNITS[self._planes].get(channels)
        if tile is None or first.name == self._graph.layers[0].name:
            return False
        rows = tile.positions + first.span
        return (
            first.kind == second.kind == "conv"
            and first.in_channels == first.out_channels == second.out_channels
            and first.padding_mode == second.padding_mode == "zeros"
            and sum(first.padding) == first.span
            and first.residual is None
            and first.conditioning is second.conditioning is None
            and len(first.inputs) == 1
            and second.inputs == (first.name,)
            and second.residual == first.inputs[0]
            and second.dilation == 1
            and second.span <= first.span
            and self._readers[first.name] == [second]
            and all(layer.residual != first.name for layer in self._graph.layers)
            and self._planes * channels * 2 * rows <= SHARED_BYTES
            and 2 * second.kernel_size <= tile.positions
        )

    def _value(self, name: str) -> PlannedValue:
        rows = self._rows[name]
        channels = self._graph.num_mels if name == MEL else self._layer(name).out_channels
        planes = 2 if name in self._in_two_planes else self._planes
        value = PlannedValue(
            -(-channels // 8), planes, rows.rate, rows.lag, rows.surplus, gain=self._gains.get(name, 1.0)
        )
        slopes = {_slope(reader) if len(reader.inputs) == 1 else 1.0 for reader in self._readers[name]}
        if name != MEL and len(slopes) == 1 and (slope := slopes.pop()) >= _MIN_SLOPE:
            value.slope = float(np.float32(slope))
        return value

    def _layer(self, name: str) -> Layer:
        return next(layer for layer in self._graph.layers if layer.name == name)

    def _launches(self, steps: Sequence[_Computation]) -> list[PlannedLaunch]:
        """Layers that need nothing of each other share a launch; those with the most taps come first in it."""
        depth = {MEL: 0}
        together: dict[tuple[int, str], list[_Computation]] = {}
        made = {}
        for step in steps:
            launch = made[step.last.name] = self._launch(step)
            read = [*step.layer.inputs, *([step.last.residual] if step.last.residual else [])]
            depth[step.last.name] = 1 + max(depth[name] for name in read)
            together.setdefault((depth[step.last.name], launch.kernel), []).append(step)
        launches = []
        for key in sorted(together, key=lambda key: key[0]):
            sharing = sorted(together[key], key=lambda step: -step.layer.kernel_size)
            for start in range(0, len(sharing), MAX_BRANCHES):
                parts = [made[step.last.name] for step in sharing[start : start + MAX_BRANCHES]]
                launches.append(
                    replace(
                        parts[0],
                        shared_bytes=max(part.shared_bytes for part in parts),
                        positions=[part.positions[0] for part in parts],
                        branches=[part.branches[0] for part in parts],
                    )
                )
        return launches

    def _launch(self, step: _Computation) -> PlannedLaunch:
        layer, generator = step.layer, self._generator
        read = self._values[self._numbers[layer.inputs[0]]]
        out = self._values[self._numbers[step.last.name]]
        is_last = layer is self._graph.layers[-1]
        number = self._graph.layers.index(step.last)
        gain = max(self._values[self._numbers[name]].gain for name in layer.inputs)
        branch = PlannedBranch(
            [self._numbers[name] for name in layer.inputs],
            self._numbers[step.last.name],
            -1 if step.last.residual is None else self._numbers[step.last.residual],
            taps_of(layer),
            layer.dilation,
            left_of(layer),
            _PADDING[layer.padding_mode] if layer.kind == "conv" or layer.padding_mode == "zeros" else _FIRST_AGAIN,
            layer.stride,
            shift_of(layer),
            float(np.float32(_slope(layer))),
            1.0 / gain,
            gain,
            0,
            number,
        )
        if is_last:
            return self._exit(layer, branch, read)
        columns = columns_of(layer, generator.weights[f"{layer.name}.weight"])
        bias = generator.bias_of(layer).astype(np.float32)
        exponent = exponent_of(columns)
        branch.gain = gain * 2.0**-exponent
        planes = read.planes
        if step.second is not None:
            return self._unit(layer, step.second, branch, columns * np.float32(2.0**exponent), bias)
        ks = min(4, _rounded(layer.in_channels) // 16)
        tiles = CONVOLUTIONS[planes][ks]
        if planes != out.planes:
            ks, tiles = 4, ENTRIES
        width = next((width for width in tiles if -(-len(columns) // width) * width <= 1.25 * len(columns)), min(tiles))
        branch.columns = -(-len(columns) // width) * width
        tile = tiles[width]
        groups = -(-layer.in_channels // (16 * ks))
        shared = self._fit(branch, tile, planes * ks * 2 * 16, groups)
        branch.weights = self._add(pack(columns * np.float32(2.0**exponent), branch.columns, planes, 16 * ks))
        self._ahead = max(self._ahead, ahead_bytes(branch.columns, planes))
        branch.biases = self._add(_padded(bias, branch.columns + 8))
        if layer.conditioning is not None:
            branch.added = self._added_channels + 1
            self._conditioned.append(layer)
            self._added_channels += out.chunks * 8
        kernel = self._kernel(f"convolution_{planes}{out.planes}_k{ks}_n{width}", tile)
        return PlannedLaunch(*kernel, width, shared, [tile.positions], [branch])

    def _kernel(self, name: str, tile: Tile) -> tuple[str, int]:
        """The kernel's name and threads in the set that is planned for."""
        if self._is_hopper and name in HOPPER_THREADS:
            return f"hopper_{name}", HOPPER_THREADS[name]
        return name, tile.threads

    def _fit(self, branch: PlannedBranch, tile: Tile, bytes_per_row: int, groups: int) -> int:
        """Choose how many taps and groups of channels are in shared memory together; returns its bytes."""

        def needed(taps: int) -> int:
            return bytes_per_row * (tile.positions + (taps - 1) * branch.dilation)

        branch.taps_at_once = branch.taps
        if groups > 1 and 2 * needed(branch.taps) <= SHARED_BYTES:
            branch.places = 2
        while needed(branch.taps_at_once) * branch.places > SHARED_BYTES:
            branch.taps_at_once = -(-branch.taps_at_once // 2)
        return needed(branch.taps_at_once) * branch.places

    def _unit(
        self, first: Layer, second: Layer, branch: PlannedBranch, columns: np.ndarray, bias: np.ndarray
    ) -> PlannedLaunch:
        channels = branch.columns = _rounded(first.in_channels)
        tile = UNITS[self._planes][channels]
        ks = min(4, channels // 16)
        after = columns_of(second, self._generator.weights[f"{second.name}.weight"])
        exponent = exponent_of(after)
        between = self._gains.get(first.name, 1.0)
        branch.second_taps, branch.second_left = second.kernel_size, second.padding[0]
        branch.second_slope = float(np.float32(_slope(second)))
        branch.second_scale, branch.second_gain = 1.0 / between, between * 2.0**-exponent
        branch.taps_at_once = branch.taps
        branch.weights = self._add(
            np.concatenate(
                [
                    pack(columns, channels, self._planes, 16 * ks),
                    pack(after * np.float32(2.0**exponent), channels, self._planes, 16 * ks),
                ]
            )
        )
        self._ahead = max(self._ahead, ahead_bytes(channels, self._planes))
        after_bias = self._generator.bias_of(second).astype(np.float32)
        branch.biases = self._add(np.concatenate([_padded(bias, channels), _padded(after_bias, channels)]))
        shared = self._planes * channels * 2 * (tile.positions + first.span)
        results = tile.positions - (second.kernel_size - 1)
        kernel = self._kernel(f"unit_{self._planes}_c{channels}", tile)
        return PlannedLaunch(*kernel, 0, shared, [results], [branch])

    def _exit(self, layer: Layer, branch: PlannedBranch, read: PlannedValue) -> PlannedLaunch:
        branch.scale = branch.gain = 1.0

        def needed(taps: int) -> int:
            return 4 * _EXIT_CHANNELS * (_EXIT_ROWS + (taps - 1) * branch.dilation)

        branch.taps_at_once = branch.taps
        while needed(branch.taps_at_once) > SHARED_BYTES:
            branch.taps_at_once = -(-branch.taps_at_once // 2)
        weight = np.zeros((read.chunks * 8 + read.chunks * 8 % _EXIT_CHANNELS, layer.kernel_size), np.float32)
        weight[: layer.in_channels] = self._generator.weights[f"{layer.name}.weight"][0]
        branch.weights = self._add(weight.reshape(-1, _EXIT_CHANNELS, layer.kernel_size).swapaxes(1, 2))
        branch.biases = self._add(self._generator.bias_of(layer).astype(np.float32))
        return PlannedLaunch("leave", _EXIT_ROWS, 0, needed(branch.taps_at_once), [_EXIT_ROWS], [branch])

    def _keep(self, steps: Sequence[_Computation]) -> None:
        """Set the rows that the next pass reads again."""
        for step in steps:
            lag = self._rows[step.last.name].lag
            left = left_of(step.layer) + (step.second.padding[0] if step.second else 0)
            for name in step.layer.inputs:
                kept = kept_rows(self._rows[name], lag, step.layer.stride, shift_of(step.layer), left)
                value = self._values[self._numbers[name]]
                value.kept = max(value.kept, kept)
            if step.last.residual is not None:
                value = self._values[self._numbers[step.last.residual]]
                value.kept = max(value.kept, kept_rows(self._rows[step.last.residual], lag, 1, 0, 0))

    def _place(self, launches: Sequence[PlannedLaunch]) -> int:
        """Give each value a buffer that nothing else of its time has; returns how many there are."""
        last_read = {self._numbers[MEL]: -1}
        for index, launch in enumerate(launches):
            for branch in launch.branches:
                last_read[branch.output] = index
                for number in (*branch.inputs, *([branch.residual] if branch.residual >= 0 else [])):
                    last_read[number] = index
        free: list[int] = []
        count = 1  # the mel's is the first
        for index, launch in enumerate(launches):
            for branch in launch.branches:
                if not free:
                    free.append(count)
                    count += 1
                self._values[branch.output].buffer = free.pop()
            done = [number for number, last in last_read.items() if last == index]
            free += [self._values[number].buffer for number in done]
            launch.carried = [number for number in done if self._values[number].kept]
        return count

    def _add(self, array: np.ndarray) -> int:
        self._blob += bytes(-len(self._blob) % 256)
        place = len(self._blob)
        self._blob += array.tobytes()
        return place


def generator_array(generator: Generator, name: str) -> np.ndarray:
    """A parameter in float32."""
    return np.ascontiguousarray(generator.weights[name], np.float32)


def _padded(bias: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([bias, np.zeros(max(0, count - len(bias)), np.float32)])


def _slope(layer: Layer) -> float:
    return 1.0 if layer.activation is None else layer.activation.slope


def _rounded(channels: int) -> int:
    """Channels as the kernels have them: 16, 32 or a multiple of 64."""
    return next((count for count in (16, 32) if channels <= count), channels + -channels % 64)
