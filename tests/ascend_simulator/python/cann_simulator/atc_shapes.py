"""--input_shape and --dynamic_dims: how ATC reads them, and each way in which it refuses them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cann_simulator.error_texts import AtcError
from cann_simulator.settings import generation

FEWEST_GEARS, MOST_GEARS = 2, 100
MOST_DIMENSIONS = 4
_SAMPLE = '"input_name1:n1,c1,h1,w1;input_name2:n2,c2,h2,w2"'


@dataclass(frozen=True)
class Shapes:
    """What is to be compiled."""

    inputs: dict[str, list[int]]
    """-1 in dynamic positions, in the order of the model's inputs."""
    gears: list[list[int]]
    """Values for the -1, in their order over all inputs; empty for a static or a truly dynamic model."""
    kind: str = "static"
    """static, dims, batch or shape."""

    @property
    def dims_of_gears(self) -> list[list[int]]:
        """The flattened dims of all inputs, per gear: what the runtime compares."""
        flat = [size for dims in self.inputs.values() for size in dims]
        result = []
        for gear in self.gears:
            values = iter(gear)
            result.append([next(values) if size == -1 else size for size in flat])
        return result

    @property
    def largest(self) -> dict[str, list[int]]:
        """The inputs at their largest gear; open dims stay open without gears."""
        values = iter(max(self.gears, key=math.prod, default=[]))
        return {name: [next(values, -1) if size == -1 else size for size in dims] for name, dims in self.inputs.items()}


def read_shapes(options: dict[str, str], model_inputs: dict[str, list[int]], others: set[str]) -> Shapes:
    """Check the shapes against the model.

    Args:
        options: as parsed.
        model_inputs: name to dims, -1 where the ONNX model leaves them open.
        others: names of nodes and constants that are no inputs.
    """
    text = options.get("input_shape", "")
    if not text:
        return _without_input_shape(model_inputs)
    given = {name: _dims(shape, text) for name, shape in _pairs(text)}
    for name in given:
        if name in others:
            raise AtcError("E10017", name, "input_shape")
        if name not in model_inputs:
            raise AtcError("E10016", name, "input_shape")
    inputs = {name: given.get(name, dims) for name, dims in model_inputs.items()}
    kind, gears = _gears(options, inputs, text)
    _check_against_model(inputs, model_inputs)
    return Shapes(inputs, gears, kind)


def _without_input_shape(model_inputs: dict[str, list[int]]) -> Shapes:
    if not any(-1 in dims for dims in model_inputs.values()):
        return Shapes(model_inputs, [])
    if generation() == 6:
        raise AtcError("E10001", "-1", "Inputs", "maybe you should set input_shape to specify its shape")
    reason = "The shapes of inputs contain -1 in the model. You may need to set input shape to specify its shape."
    raise AtcError("E10001", "NULL", "--input_shape", reason)


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = []
    for part in filter(None, text.split(";")):
        name, colon, shape = part.rpartition(":")  # names of ONNX values may hold colons
        if not colon or not name:
            raise AtcError("E10002", text, "the name and the shape are split by ':'", _SAMPLE)
        pairs.append((name, shape))
    return pairs


def _dims(shape: str, text: str) -> list[int]:
    dims = []
    for part in shape.split(","):
        if "~" in part and generation() == 8:
            dims.append(-1)
            continue
        try:
            size = int(part)
        except ValueError:
            raise AtcError("E10002", text, "the shape has to be integers", _SAMPLE) from None
        if size < -1 or size == 0:
            raise AtcError("E10011", text, part)
        dims.append(size)
    return dims


def _gears(options: dict[str, str], inputs: dict[str, list[int]], text: str) -> tuple[str, list[list[int]]]:
    flat = [size for dims in inputs.values() for size in dims]
    unknown = flat.count(-1)
    for name, kind in (("dynamic_dims", "dims"), ("dynamic_batch_size", "batch")):
        if options.get(name) and "~" in text:
            raise AtcError("E10040")
        if options.get(name) and kind == "dims":
            return kind, _dynamic_dims(options[name], inputs, unknown)
        if options.get(name):
            return kind, _dynamic_batch(options[name], inputs)
    if not unknown:
        return "static", []
    if generation() == 6:
        raise AtcError("E10011", text, "-1")
    return "shape", []


def _dynamic_dims(text: str, inputs: dict[str, list[int]], unknown: int) -> list[list[int]]:
    if generation() == 6:
        for dims in inputs.values():
            if not 1 <= len(dims) <= MOST_DIMENSIONS:
                reason = "Dim num must within [1, 4] when set dynamic_dims"
                raise AtcError("E10001", len(dims), "--input_shape's dim", reason)
    if not unknown:
        reason = "at least one dim should be -1 when set dynamic_dims"
        raise AtcError("E10001", 0, "--input_shape's dynamic dim num", reason)
    parts = text.removesuffix(";").split(";")
    gears = []
    for part in parts:
        values = part.split(",")
        if len(values) != unknown:
            raise AtcError("E10003", text, "dynamic_dims", _width_reason())
        for value in values:
            if not (value.isascii() and value.isdigit()):  # a space and a sign are refused too
                raise AtcError("E10001", value, *_digits_reason())
        gears.append([int(value) for value in values])
    _check_gears(gears)
    return gears


def _width_reason() -> str:
    if generation() == 6:
        return "Each gear setting needs to be consistent with the number of -1 in the inputshape"
    return "Each setting needs to be consistent with the number of -1 in the input shape."


def _digits_reason() -> tuple[str, str]:
    if generation() == 6:
        return "--dynamic_dims's parameter", "must be positive integer"
    return "--dynamic_dims", "Dynamic dims must be a positive integer."


def _dynamic_batch(text: str, inputs: dict[str, list[int]]) -> list[list[int]]:
    for name, dims in inputs.items():
        if -1 in dims[1:]:
            raise AtcError("E10018", dims[1 + dims[1:].index(-1)], name)
    count = sum(dims.count(-1) for dims in inputs.values())
    if not count:
        raise AtcError("E10040")
    gears = []
    for value in text.split(","):
        if not value.isdigit():
            raise AtcError("E10001", value, "--dynamic_batch_size", _digits_reason()[1])
        gears.append([int(value)] * count)
    _check_gears(gears)
    return gears


def _check_gears(gears: list[list[int]]) -> None:
    # The old tool prints its limits off by one.
    off = 1 if generation() == 6 else 0
    if len(gears) < FEWEST_GEARS:
        raise AtcError("E10035", len(gears), FEWEST_GEARS - off)
    if len(gears) > MOST_GEARS:
        raise AtcError("E10036", len(gears), MOST_GEARS + off)
    if len({tuple(gear) for gear in gears}) < len(gears):
        raise AtcError("E10039")
    for gear in gears:
        for size in gear:
            if size <= 0:
                raise AtcError("E10038", size)


def _check_against_model(inputs: dict[str, list[int]], model_inputs: dict[str, list[int]]) -> None:
    for name, dims in inputs.items():
        expected = model_inputs[name]
        if len(dims) != len(expected):
            if generation() == 8:
                raise AtcError("E10049", len(dims), len(expected))
            raise AtcError("E19999", f"the shape of input {name} has {len(dims)} dims, the model {len(expected)}")
        for size, fixed in zip(dims, expected, strict=True):
            if fixed != -1 and size != fixed:
                raise AtcError("E19999", f"[InferShape] input {name}: dim {size} does not match {fixed} of the model")
