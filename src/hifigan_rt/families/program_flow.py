"""Follows the rows through the code of a TorchScript archive, and compares what is computed with the generator.

The text is parsed and never run.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hifigan_rt.errors import CheckpointError
from hifigan_rt.families.program_computations import Computations, ExpectedGenerator, first_missing

_MAX_STEPS = 200_000
"""Steps that are followed: a generator has about 1,000."""

_SAME = frozenset(("contiguous", "detach", "squeeze", "squeeze_", "to", "type_as", "unsqueeze", "dropout"))
"""Operations whose result is the first argument, in another shape or type."""
_SUMS = frozenset(("add", "add_"))
_QUOTIENTS = frozenset(("div", "div_", "true_divide"))
_COMPARISONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge", "__is__", "__isnot__"))


class _NotFollowed(Exception):
    """Code of a form that is not followed."""


class _Raised(Exception):
    """The code raises an error here."""


class _Rows:
    """Rows in memory: an operation in place gives them another value under every name that they have."""

    def __init__(self, node: int) -> None:
        self.node = node


@dataclass(frozen=True)
class _Module:
    path: str


@dataclass(frozen=True)
class _Parameter:
    path: str


class _Unknown:
    """A value that is nothing of the computation, such as a shape."""


def compare(
    texts: Mapping[str, str],
    layers: Mapping[str, str],
    constants: Sequence[float | None],
    numbers: Mapping[str, float],
    expected: ExpectedGenerator,
) -> None:
    """Compare what the code computes with a generator.

    Args:
        texts: of the generator's modules, by their names in the archive.
        layers: names of its convolutions in the archive, with the original's.
        constants: the archive's, None for one that is no single number.
        numbers: the modules' attributes that are numbers, by name.
        expected: the generator.

    Raises:
        CheckpointError: it computes something else, or is of a form that is not followed.
    """
    flow = _Flow(texts, layers, constants, numbers)
    try:
        results = {row.node for row in _rows_in(flow.call(_Module(""), "forward", None))}
    except (
        _NotFollowed,
        _Raised,
        SyntaxError,
        ValueError,
        LookupError,
        OverflowError,
        RecursionError,
        MemoryError,
    ) as e:
        raise CheckpointError(
            f"the archive's code is of a form that is not followed ({str(e)[:100]}), so that what it computes "
            "cannot be compared with the generator: give the state dict, with its config.json"
        ) from e
    missing = first_missing(flow.computations, expected, results)
    if missing is not None:
        raise CheckpointError(
            f"the archive's code computes something else than a HiFi-GAN generator: it has no {missing}"
        )


def _rows_in(value: object) -> list[_Rows]:
    if isinstance(value, list):
        return [row for item in value for row in _rows_in(item)]
    return [value] if isinstance(value, _Rows) else []


class _Flow:
    """The computations of a program, made by going through its text."""

    def __init__(
        self,
        texts: Mapping[str, str],
        layers: Mapping[str, str],
        constants: Sequence[float | None],
        numbers: Mapping[str, float],
    ) -> None:
        self.computations = Computations()
        self._texts = texts
        self._layers = layers
        self._constants = constants
        self._numbers = numbers
        self._functions: dict[str, dict[str, ast.FunctionDef]] = {}
        self._fields: dict[str, dict[str, object]] = {}
        self._steps = 0
        self._n_other = 0

    def call(self, module: _Module, method: str, arguments: Sequence[object] | None) -> object:
        """Go through a method; arguments None is the inputs of the whole."""
        function = self._methods(module.path).get(method)
        if function is None:
            raise _NotFollowed(f"{module.path or 'the generator'} has no method {method}")
        names = [argument.arg for argument in function.args.args]
        if arguments is None:
            arguments = [_Rows(self.computations.number("input", index)) for index in range(len(names) - 1)]
            self.computations.inputs = {row.node for row in _rows_in(arguments)}
        scope: dict[str, object] = dict(zip(names, [module, *arguments], strict=False))
        return self._run(function.body, scope)[1]

    def _methods(self, path: str) -> dict[str, ast.FunctionDef]:
        if path not in self._functions:
            text = self._texts.get(path, "")
            body = ast.parse(f"class Parsed:\n  pass\n{text}").body
            if len(body) != 1 or not isinstance(body[0], ast.ClassDef):
                raise _NotFollowed(f"the text of {path or 'the generator'} is no class")
            members = body[0].body
            self._functions[path] = {it.name: it for it in members if isinstance(it, ast.FunctionDef)}
            self._fields[path] = {
                it.target.id: it.value.value
                for it in members
                if isinstance(it, ast.AnnAssign)
                and isinstance(it.target, ast.Name)
                and isinstance(it.value, ast.Constant)
            }
        return self._functions[path]

    def _count(self, steps: int = 1) -> None:
        self._steps += steps
        if self._steps > _MAX_STEPS:
            raise _NotFollowed(f"more than {_MAX_STEPS} steps")

    def _run(self, body: Sequence[ast.stmt], scope: dict[str, object]) -> tuple[bool, object]:
        """Go through statements; tells whether they returned, and what."""
        for statement in body:
            self._count()
            if isinstance(statement, ast.Return):
                return True, None if statement.value is None else self._value(statement.value, scope)
            if isinstance(statement, ast.If):
                test = self._value(statement.test, scope)
                if not isinstance(test, bool):
                    if _raises(statement.body) == _raises(statement.orelse):
                        raise _NotFollowed("a condition that is not known")
                    test = _raises(statement.orelse)  # a check of a shape
                returned, value = self._run(statement.body if test else statement.orelse, scope)
                if returned:
                    return True, value
            elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                self._assign(statement.targets[0], self._value(statement.value, scope), scope)
            elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
                self._assign(statement.target, self._value(statement.value, scope), scope)
            elif isinstance(statement, ast.Expr):
                self._value(statement.value, scope)
            elif not isinstance(statement, ast.Pass):
                raise _NotFollowed(type(statement).__name__)
        return False, None

    def _assign(self, target: ast.expr, value: object, scope: dict[str, object]) -> None:
        if isinstance(target, ast.Name):
            scope[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, list):
            for one, item in zip(target.elts, value, strict=True):
                self._assign(one, item, scope)
        else:
            raise _NotFollowed(type(target).__name__)

    def _value(self, node: ast.expr, scope: Mapping[str, object]) -> object:
        self._count()
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self._value(node.operand, scope)
            return -value if isinstance(value, (int, float)) else _Unknown()
        if isinstance(node, ast.Name):
            return scope.get(node.id, _Unknown())
        if isinstance(node, (ast.List, ast.Tuple)):
            return [self._value(item, scope) for item in node.elts]
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "CONSTANTS":
                return self._constant(node.attr)
            return self._attribute(self._value(node.value, scope), node.attr)
        if isinstance(node, ast.Subscript):
            value, index = self._value(node.value, scope), self._value(node.slice, scope)
            if isinstance(value, list) and isinstance(index, int) and -len(value) <= index < len(value):
                return value[index]
            return _Unknown()
        if isinstance(node, ast.Call):
            return self._called(node, scope)
        raise _NotFollowed(type(node).__name__)

    def _constant(self, name: str) -> object:
        index = int(name[1:]) if name[1:].isdecimal() else -1
        value = self._constants[index] if 0 <= index < len(self._constants) else None
        return _Unknown() if value is None else value

    def _attribute(self, value: object, name: str) -> object:
        if not isinstance(value, _Module):
            return _Unknown()
        path = f"{value.path}.{name}" if value.path else name
        if path in self._texts:
            return _Module(path)
        if path in self._numbers:
            return self._numbers[path]
        self._methods(value.path)
        return self._fields[value.path].get(name, _Parameter(path))

    def _called(self, node: ast.Call, scope: Mapping[str, object]) -> object:
        function = node.func
        if isinstance(function, ast.Name) and function.id in ("getattr", "annotate", "unchecked_cast", "uninitialized"):
            last = node.args[-1]
            if function.id == "getattr" and isinstance(last, ast.Constant):
                return self._attribute(self._value(node.args[0], scope), str(last.value))
            return self._value(last, scope)
        arguments = [self._value(argument, scope) for argument in node.args]
        named = {keyword.arg or "": self._value(keyword.value, scope) for keyword in node.keywords}
        if not isinstance(function, ast.Attribute):
            return self._other(function.id if isinstance(function, ast.Name) else "?", [*arguments, *named.values()])
        owner = None if _is_operation(function) else self._value(function.value, scope)
        if isinstance(owner, _Module):
            if named:
                raise _NotFollowed("arguments by name")
            if owner.path in self._layers:
                return self._layer(self._layers[owner.path], arguments)
            return self.call(owner, function.attr, arguments)
        return self._operation(function.attr, arguments, named)

    def _layer(self, name: str, arguments: Sequence[object]) -> _Rows:
        rows = _rows_in(list(arguments))
        if len(rows) != 1 or any(isinstance(argument, (int, float, _Unknown)) for argument in arguments):
            raise _NotFollowed(f"{name} of {len(arguments)} arguments")
        return _Rows(self.computations.number("layer", name, rows[0].node))

    def _operation(self, name: str, arguments: list[object], named: Mapping[str, object]) -> object:
        steps = self.computations
        first = arguments[0] if arguments else None
        if "weight_norm" in name and isinstance(first, _Parameter):
            return first
        if name == "RaiseException":
            raise _Raised("an error that the code raises")
        if name in _COMPARISONS:
            return _compared(name, arguments)
        if name == "floordiv" and all(type(it) is int for it in arguments) and arguments[1:] not in ([], [0]):
            return arguments[0] // arguments[1]  # type: ignore[operator]
        if name in ("zeros", "zeros_like"):
            return _Rows(steps.sum(()))
        if name in ("stack", "append"):
            return self._listed(name, first, arguments)
        if isinstance(first, list) and name in ("sum", "mean"):
            found = steps.sum(self._nodes(first))
            return _Rows(steps.number("div", float(len(first)), found) if name == "mean" and len(first) > 1 else found)
        if not isinstance(first, _Rows):
            return self._other(name, [*arguments, *named.values()])
        if name in _SAME:
            return first
        node = self._made(name, first, arguments[1:], named)
        if node is None:
            return self._other(name, [*arguments, *named.values()])
        # The functions of torch.nn.functional have a last argument that tells it.
        if name.endswith("_") or (name in ("leaky_relu", "relu") and arguments[-1] is True):
            first.node = node
            return first
        return _Rows(node)

    def _made(self, name: str, rows: _Rows, rest: list[object], named: Mapping[str, object]) -> int | None:
        steps = self.computations
        scale = named.get("alpha", rest[1] if len(rest) > 1 else 1)
        if name in _SUMS and rest and isinstance(rest[0], _Rows) and scale == 1:
            nodes = [rows.node, rest[0].node]
            self._count(sum(len(steps.terms(node)) for node in nodes))
            return steps.sum(nodes)
        if name in _QUOTIENTS and rest and isinstance(rest[0], (int, float)) and not named:
            return rows.node if rest[0] == 1 else steps.number("div", float(rest[0]), rows.node)
        plain = name.removesuffix("_")
        if plain == "relu":
            return steps.number("leaky_relu", 0.0, rows.node)
        if plain == "leaky_relu":
            slope = named.get("negative_slope", rest[0] if rest else 0.01)
            return steps.number("leaky_relu", float(slope), rows.node) if isinstance(slope, (int, float)) else None
        if plain == "tanh":
            return steps.number("tanh", rows.node)
        if plain in ("clamp", "hardtanh"):
            return steps.number("clamp", rows.node)  # its limits were looked at
        return None

    def _listed(self, name: str, first: object, arguments: list[object]) -> object:
        if not isinstance(first, list):
            raise _NotFollowed(f"{name} of no list")
        if name == "append":
            first.extend(arguments[1:])
        return first

    def _nodes(self, values: Sequence[object]) -> list[int]:
        rows = _rows_in(list(values))
        if len(rows) != len(values):
            raise _NotFollowed("a sum of what are no rows")
        self._count(sum(len(self.computations.terms(row.node)) for row in rows))
        return [row.node for row in rows]

    def _other(self, name: str, arguments: Sequence[object]) -> object:
        """Another operation: of rows it gives rows that no generator has, of anything else something unknown."""
        if name in ("size", "dim", "len") or not _rows_in(list(arguments)):
            return _Unknown()
        self._n_other += 1
        return _Rows(self.computations.number("other", name, self._n_other))


def _is_operation(function: ast.Attribute) -> bool:
    """Whether a function is PyTorch's own: torch.NAME, ops.NAMESPACE.NAME."""
    owner: ast.expr = function.value
    while isinstance(owner, ast.Attribute):
        owner = owner.value
    return isinstance(owner, ast.Name) and owner.id in ("torch", "ops")


def _raises(body: Sequence[ast.stmt]) -> bool:
    """Whether statements raise an error for certain."""
    return any(
        isinstance(it, ast.Expr)
        and isinstance(it.value, ast.Call)
        and isinstance(it.value.func, ast.Attribute)
        and it.value.func.attr == "RaiseException"
        for it in body
    )


def _compared(name: str, arguments: Sequence[object]) -> object:
    if len(arguments) != 2:
        return _Unknown()
    first, second = arguments
    if name in ("__is__", "__isnot__"):
        if second is not None or isinstance(first, _Unknown):
            return _Unknown()
        return (first is None) == (name == "__is__")
    if type(first) is not int or type(second) is not int:
        return _Unknown()
    results: dict[str, Any] = {
        "eq": first == second, "ne": first != second, "lt": first < second, "le": first <= second,
        "gt": first > second, "ge": first >= second,
    }  # fmt: skip
    return results[name]
