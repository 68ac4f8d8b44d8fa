"""Values that the code of a TorchScript archive has to do with, while it is followed."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

COMPARISONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge", "__is__", "__isnot__"))


class NotFollowed(Exception):
    """Code of a form that is not followed."""


class Raised(Exception):
    """The code raises an error here."""


class ProgramRows:
    """Rows in memory: an operation in place gives them another value under every name that they have."""

    def __init__(self, node: int, *, may_share: bool = False) -> None:
        self.node = node
        self.may_share = may_share
        """Whether they may lie in the memory of others, as a slice does."""


@dataclass(frozen=True)
class Module:
    """A module, by its name in the archive."""

    path: str


@dataclass(frozen=True)
class ProgramParameter:
    """A tensor of a module; the product of weight norm is its `weight`."""

    path: str


class Unknown:
    """A value that is nothing of the computation, such as a shape."""


def rows_in(value: object) -> list[ProgramRows]:
    """The rows in a value: it, or those of its items."""
    if isinstance(value, list):
        return [row for item in value for row in rows_in(item)]
    return [value] if isinstance(value, ProgramRows) else []


def constant_of(node: ast.expr | None) -> object:
    """The value of a constant, or of a tuple of them as a list; something unknown of any other code."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Tuple):
        return [constant_of(item) for item in node.elts]
    return Unknown()


def is_operation(function: ast.Attribute) -> bool:
    """Whether a function is PyTorch's own: torch.NAME, ops.NAMESPACE.NAME."""
    owner: ast.expr = function.value
    while isinstance(owner, ast.Attribute):
        owner = owner.value
    return isinstance(owner, ast.Name) and owner.id in ("torch", "ops")


def raises(body: Sequence[ast.stmt]) -> bool:
    """Whether statements raise an error for certain."""
    return any(
        isinstance(it, ast.Expr)
        and isinstance(it.value, ast.Call)
        and isinstance(it.value.func, ast.Attribute)
        and it.value.func.attr == "RaiseException"
        for it in body
    )


def compared(name: str, arguments: Sequence[object]) -> object:
    """The result of a comparison; something unknown where a side is."""
    if len(arguments) != 2:
        return Unknown()
    first, second = arguments
    if name in ("__is__", "__isnot__"):
        if second is not None or isinstance(first, Unknown):
            return Unknown()
        return (first is None) == (name == "__is__")
    if type(first) is not int or type(second) is not int:
        return Unknown()
    results: dict[str, Any] = {
        "eq": first == second, "ne": first != second, "lt": first < second, "le": first <= second,
        "gt": first > second, "ge": first >= second,
    }  # fmt: skip
    return results[name]


def normed(arguments: Sequence[object], named: Sequence[object]) -> ProgramParameter | None:
    """The weight that weight norm makes of a layer's direction and magnitude; None if it is another computation."""
    direction, magnitude = (it.path if isinstance(it, ProgramParameter) else "" for it in (*arguments, None, None)[:2])
    # Weights are read with the norm over all axes but the first.
    if named or arguments[2:] not in ([], [0]):
        return None
    for v, g in (("weight_v", "weight_g"), ("parametrizations.weight.original1", "parametrizations.weight.original0")):
        layer = direction.removesuffix(v)
        if direction.endswith(f".{v}") and magnitude == layer + g:
            return ProgramParameter(f"{layer}weight")
    return None
