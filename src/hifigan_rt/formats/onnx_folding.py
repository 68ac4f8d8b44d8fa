"""Computes what exporters leave uncomputed among the constants of an ONNX file: weight norm, shapes, paddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Protocol

import numpy as np

from hifigan_rt.errors import ModelFileError


class Attributes(Protocol):
    """The attributes of a node, by name."""

    def integers(self, name: str) -> tuple[int, ...] | None: ...
    def integer(self, name: str, default: int) -> int: ...
    def tensor(self, name: str) -> np.ndarray | None: ...


class ConstantsTooLarge(ModelFileError):
    """Constants that grow beyond all that a file of this size can need.

    Nobody may run such a file either: a runtime computes them as it loads, in as much memory as they ask for.
    """


_Operator = Callable[[Sequence[np.ndarray], Attributes], np.ndarray]


class Folding:
    """The computation of one constant, within a number of bytes."""

    def __init__(self, budget: int) -> None:
        self._bytes_left = budget

    def compute(self, op_type: str, inputs: Sequence[np.ndarray | None], attributes: Attributes) -> np.ndarray:
        """Apply an operator: floats in float64, integers as int64.

        Raises:
            ModelFileError: the inputs do not fit the operator.
        ConstantsTooLarge: the results together would take too much memory.
        """
        arrays = [
            array.astype(np.float64) if array.dtype.kind == "f" else array for array in inputs if array is not None
        ]
        try:
            self._spend(_size_of_result(op_type, arrays))
            with np.errstate(all="ignore"):
                if op_type in _PLAIN:
                    result = np.asarray(_PLAIN[op_type](*arrays))
                else:
                    result = np.asarray(_OPERATORS[op_type](arrays, attributes))
        except (ValueError, TypeError, IndexError, ZeroDivisionError, OverflowError) as error:
            raise ModelFileError(f"a constant cannot be computed: {op_type} fails with {error}") from error
        return result.astype(np.float64 if result.dtype.kind == "f" else np.int64, copy=False)

    def _spend(self, elements: int) -> None:
        self._bytes_left -= 8 * elements
        if self._bytes_left < 0:
            raise ConstantsTooLarge(
                "computes its constants in more memory than they take: no exporter writes that, so no engine runs it"
            )


def _size_of_result(op_type: str, arrays: Sequence[np.ndarray]) -> int:
    """Elements of a result, or more."""
    if op_type in ("ConstantOfShape", "Expand"):
        sizes = [int(size) for size in arrays[-1].reshape(-1)]
        before = arrays[0].shape if op_type == "Expand" else ()
        return math.prod(max(pair) for pair in zip_longest(reversed(sizes), reversed(before), fillvalue=1))
    if op_type in ("Concat", "Gather"):
        return sum(array.size for array in arrays) if op_type == "Concat" else arrays[0].size * max(arrays[1].size, 1)
    if len(arrays) == 2 and op_type in _PLAIN:
        return math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    return max((array.size for array in arrays), default=1)


def _axes(arrays: Sequence[np.ndarray], attributes: Attributes) -> tuple[int, ...] | None:
    """Axes, which are an attribute in older operator sets and an input in newer ones."""
    if len(arrays) > 1:
        return tuple(int(axis) for axis in arrays[1].reshape(-1))
    return attributes.integers("axes")


def _reduce(function: Callable[[np.ndarray, tuple[int, ...] | None, bool], np.ndarray]) -> _Operator:
    def reduce(arrays: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
        axes = _axes(arrays, attributes) or None
        if axes is None and attributes.integer("noop_with_empty_axes", 0) == 1:
            axes = ()
        return function(arrays[0], axes, attributes.integer("keepdims", 1) == 1)

    return reduce


def _divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    quotient: np.ndarray = x / y
    return quotient if x.dtype.kind == "f" else np.trunc(quotient).astype(np.int64)


def _cast(arrays: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    to = attributes.integer("to", 1)
    if to not in (1, 6, 7, 10, 11, 16):
        raise ValueError(f"type {to}")
    return arrays[0].astype(np.int64 if to in (6, 7) else np.float64)


def _reshape(arrays: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    x, shape = arrays[0], [int(size) for size in arrays[1].reshape(-1)]
    if attributes.integer("allowzero", 0) == 0:
        shape = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return x.reshape(shape)


def _slice(arrays: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    x = arrays[0]
    starts, ends = (
        arrays[index].reshape(-1) if len(arrays) > index else np.array(attributes.integers(name) or ())
        for index, name in ((1, "starts"), (2, "ends"))
    )
    axes = arrays[3].reshape(-1) if len(arrays) > 3 else attributes.integers("axes") or range(len(starts))
    steps = arrays[4].reshape(-1) if len(arrays) > 4 else [1] * len(starts)
    cut = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Backwards to the beginning is written as a very low end, which Python reads from the other side.
        last = None if step < 0 and end < -x.shape[axis] else int(end)
        cut[axis] = slice(int(start), last, int(step))
    return x[tuple(cut)]


def _constant_of_shape(arrays: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    value = attributes.tensor("value")
    shape = [int(size) for size in arrays[0].reshape(-1)]
    return np.zeros(shape) if value is None else np.full(shape, value.reshape(-1)[0])


def _shape(arrays: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    # Both ends may be beyond the dimensions, and are cut off there, as Python does.
    x = arrays[0]
    return np.array(x.shape[attributes.integer("start", 0) : attributes.integer("end", x.ndim)], np.int64)


_PLAIN: Mapping[str, Callable[..., np.ndarray]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _divide,
    "Pow": np.power,
    "Sqrt": np.sqrt,
    "Abs": np.abs,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Identity": np.asarray,
    "Expand": lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(map(int, shape.reshape(-1))))),
}
"""Operators without attributes."""

_OPERATORS: Mapping[str, _Operator] = {
    "Cast": _cast,
    "ReduceSum": _reduce(lambda x, axes, keep: x.sum(axis=axes, keepdims=keep)),
    "ReduceSumSquare": _reduce(lambda x, axes, keep: (x * x).sum(axis=axes, keepdims=keep)),
    "ReduceL2": _reduce(lambda x, axes, keep: np.sqrt((x * x).sum(axis=axes, keepdims=keep))),
    "Reshape": _reshape,
    "Unsqueeze": lambda arrays, attributes: np.expand_dims(arrays[0], _axes(arrays, attributes) or ()),
    "Squeeze": lambda arrays, attributes: np.squeeze(arrays[0], _axes(arrays, attributes)),
    "Transpose": lambda arrays, attributes: np.transpose(arrays[0], attributes.integers("perm")),
    "Concat": lambda arrays, attributes: np.concatenate(list(arrays), attributes.integer("axis", 0)),
    "Slice": _slice,
    "ConstantOfShape": _constant_of_shape,
    "Gather": lambda arrays, attributes: np.take(arrays[0], arrays[1], axis=attributes.integer("axis", 0)),
    "Shape": _shape,
}

FOLDED = frozenset(_PLAIN) | frozenset(_OPERATORS) | {"Constant"}
"""Operators that are computed where all that they read is constant."""
