"""Cuts an ONNX graph into stages at its random nodes, so that whoever runs it draws the random numbers.

A random node is left out, and its value becomes an input of the stage after the one that tells its shape. So a graph
with two random nodes has three stages: up to the shape of the first, up to that of the second, and the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hifigan_rt.errors import ModelFileError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_FLOAT = 1
"""Number of float32 in TensorProto.DataType."""
_NORMAL = ("RandomNormal", "RandomNormalLike")
_OTHER_RANDOM = ("RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
_RANDOM = (*_NORMAL, *_OTHER_RANDOM)


@dataclass(frozen=True)
class Noise:
    """A random node that was left out: its value is normally distributed."""

    value: str
    """Name of what it gave."""
    like: str
    """Name of a value of an earlier stage that has its shape; empty if `shape` is known."""
    shape: tuple[int, ...]
    mean: float
    scale: float
    data_type: int
    """Number in TensorProto.DataType."""


class TensorType(NamedTuple):
    """What a runtime is told of a value: it fuses nodes, and so rounds, as it does in the whole graph."""

    data_type: int
    """Number in TensorProto.DataType."""
    shape: Sequence[int | str | None]


@dataclass(frozen=True)
class Stage:
    """What can be computed once its noise is drawn."""

    noise: tuple[Noise, ...]
    """What is drawn before it."""
    inputs: tuple[str, ...]
    """Names of the values that it reads: inputs of the graph, noise, and outputs of stages before."""
    outputs: tuple[str, ...]
    """Names of the values that it gives."""
    model: ModelProto
    """The file's nodes and weights of this stage; its inputs have no types yet."""

    def serialise(self, types: Mapping[str, TensorType]) -> bytes:
        """Make an ONNX model of the stage.

        Args:
            types: of each value that it reads, by name.
        """
        from onnx import helper

        del self.model.graph.input[:]
        self.model.graph.input.extend(helper.make_tensor_value_info(name, *types[name]) for name in self.inputs)
        return bytes(self.model.SerializeToString())


def load_stages(path: Path, target: str) -> list[Stage]:
    """Read an ONNX file, and cut out what computes one of its values.

    Args:
        path: the file, which `inspect_onnx` has found sound.
        target: name of the value, the last stage's only output.

    Raises:
        ImportError: the package onnx is not installed.
        ModelFileError: the file cannot be read, or has random nodes that cannot be fed.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(path)
    except (DecodeError, OSError, onnx.checker.ValidationError) as error:  # the last for external data that are links
        raise ModelFileError(f"ONNX file {str(path)!r} cannot be read: {error}") from error
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    try:
        return cut_graph(model, target)
    except ModelFileError as error:
        raise ModelFileError(f"ONNX file {str(path)!r}: {error}") from error


def cut_graph(model: ModelProto, target: str) -> list[Stage]:
    """Cut what computes one value of a graph into stages.

    Args:
        model: whose nodes stand in the order in which they can be computed.
        target: name of the value.

    Raises:
        ModelFileError: a random node upstream is of a kind that cannot be fed, or nothing computes the value.
    """
    return _Cut(model, target).stages()


class _Cut:
    def __init__(self, model: ModelProto, target: str) -> None:
        self._model, self._target = model, target
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._fixed: dict[str, NodeProto | None] = dict.fromkeys(self._weights)
        """Values that are always the same, with the nodes that compute them: each stage has its own copy."""
        self._level: dict[str, int] = {}
        """The stage in which a value is there first."""
        self._nodes: dict[int, list[NodeProto]] = {}
        self._noise: dict[int, list[Noise]] = {}

    def stages(self) -> list[Stage]:
        for node in _upstream(self._model.graph, self._target):
            self._place(node)
        if self._target not in self._level:
            raise ModelFileError(f"no input of the file decides the value {self._target!r}")
        count = self._level[self._target] + 1
        return [self._stage(level, self._outputs(level)) for level in range(count)]

    def _place(self, node: NodeProto) -> None:
        if node.op_type in _OTHER_RANDOM or any(inner.op_type in _RANDOM for inner in _inner_nodes(node)):
            raise ModelFileError(f"node {node.name[:80]!r} ({node.op_type}) draws random numbers that cannot be fed")
        reads = list(_reads(node))
        if node.op_type in _NORMAL:
            noise = _noise_of(node)
            level = self._level.get(noise.like, 0) + 1 if noise.like else 0
            if noise.like in self._fixed:
                self._level[noise.like] = 0
            self._noise.setdefault(level, []).append(noise)
            self._level[noise.value] = level
        elif all(name in self._fixed for name in reads):
            self._fixed |= dict.fromkeys(node.output, node)
        else:
            level = max(self._level.get(name, 0) for name in reads)
            self._nodes.setdefault(level, []).append(node)
            self._level |= dict.fromkeys(filter(None, node.output), level)

    def _outputs(self, level: int) -> tuple[str, ...]:
        """Values of a stage that a later one needs, or whose shape it needs."""
        wanted = {self._target} | {noise.like for noises in self._noise.values() for noise in noises}
        for later, nodes in self._nodes.items():
            if later > level:
                wanted.update(name for node in nodes for name in _reads(node))
        made = {name for node in self._nodes.get(level, ()) for name in node.output}
        if level == 0:
            made |= self._fixed.keys() & {noise.like for noise in self._noise.get(1, ())}
        return tuple(sorted(wanted & made))

    def _stage(self, level: int, outputs: tuple[str, ...]) -> Stage:
        from onnx import ModelProto

        nodes = self._nodes.get(level, [])
        made = {name for node in nodes for name in node.output}
        read = {name for node in nodes for name in _reads(node)} - made
        constants, weights = self._needed_constants((read | set(outputs)) & self._fixed.keys())
        model = ModelProto(ir_version=self._model.ir_version, opset_import=self._model.opset_import)
        model.graph.name = f"stage_{level}"
        model.graph.node.extend([*constants, *nodes])
        model.graph.initializer.extend(self._weights[name] for name in weights)
        for name in outputs:
            model.graph.output.add(name=name)
        noise = tuple(self._noise.get(level, ()))
        return Stage(noise, tuple(sorted(read - self._fixed.keys())), outputs, model)

    def _needed_constants(self, names: Iterable[str]) -> tuple[list[NodeProto], list[str]]:
        """The nodes, in order, and the weights that constants are computed from."""
        nodes: list[NodeProto] = []
        weights: list[str] = []
        done: set[str] = set()

        def need(name: str) -> None:
            if name in done:
                return
            node = self._fixed[name]
            if node is None:
                done.add(name)
                weights.append(name)
                return
            for before in _reads(node):
                need(before)
            done.update(node.output)
            nodes.append(node)

        for name in sorted(names):
            need(name)
        return nodes, weights


def _upstream(graph: GraphProto, target: str) -> Sequence[NodeProto]:
    """The nodes that a value depends on, in order."""
    wanted = {target}
    found = []
    for node in reversed(graph.node):
        if not wanted.isdisjoint(node.output):
            found.append(node)
            wanted.update(_reads(node))
    return found[::-1]


def _inner_graphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _inner_nodes(node: NodeProto) -> Iterator[NodeProto]:
    """The nodes of a conditional's or a loop's graphs, however deep."""
    for graph in _inner_graphs(node):
        for inner in graph.node:
            yield inner
            yield from _inner_nodes(inner)


def _reads(node: NodeProto) -> Iterator[str]:
    """Names of the values that a node reads, those that its inner graphs take from outside included."""
    yield from filter(None, node.input)
    for graph in _inner_graphs(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        for inner in graph.node:
            yield from (name for name in _reads(inner) if name not in own)
            own.update(inner.output)
        yield from (value.name for value in graph.output if value.name not in own)


def _noise_of(node: NodeProto) -> Noise:
    numbers = {attribute.name: attribute for attribute in node.attribute}
    mean = numbers["mean"].f if "mean" in numbers else 0.0
    scale = numbers["scale"].f if "scale" in numbers else 1.0
    data_type = numbers["dtype"].i if "dtype" in numbers else _FLOAT
    like = node.input[0] if node.op_type == "RandomNormalLike" else ""
    shape = () if like else tuple(numbers["shape"].ints)
    return Noise(node.output[0], like, shape, mean, scale, data_type)
