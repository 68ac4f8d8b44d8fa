"""Follows the rows through the code of a TorchScript archive, its layers' too, and compares that with the generator.

The text is parsed and never run.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from hifigan_rt.errors import CheckpointError
from hifigan_rt.families.program_computations import Computations, ExpectedGenerator, first_missing
from hifigan_rt.families.program_layers import (
    CONVOLUTIONS,
    CalledConvolution,
    convolution_called,
    no_plain_convolution,
)
from hifigan_rt.families.program_values import (
    COMPARISONS,
    Module,
    NotFollowed,
    ProgramParameter,
    ProgramRows,
    Raised,
    Unknown,
    compared,
    constant_of,
    is_operation,
    normed,
    raises,
    rows_in,
)
from hifigan_rt.formats.checkpoint.torchscript import ModuleCode

_MAX_STEPS = 200_000
"""Steps that are followed: a generator has about 2,000."""

_SAME = frozenset(("contiguous", "detach", "squeeze", "squeeze_", "to", "type_as", "unsqueeze", "dropout"))
"""Operations whose result is the first argument, in another shape or type."""
_SAME_WEIGHT = frozenset(("contiguous", "detach", "to", "type_as"))
_SUMS = frozenset(("add", "add_"))
_QUOTIENTS = frozenset(("div", "div_", "true_divide"))


@dataclass(frozen=True)
class Followed:
    """What a program computes."""

    computations: Computations
    results: frozenset[int]
    """The numbers of what it returns."""
    convolutions: Mapping[str, CalledConvolution]
    """The calls, by the original's names of the layers."""


def follow(code: ModuleCode, texts: Mapping[str, str], layers: Mapping[str, str], biased: Container[str]) -> Followed:
    """Go through the code of a generator.

    Args:
        code: of its modules.
        texts: their classes, with plain calls.
        layers: names of its convolutions in the archive, with the original's.
        biased: those of the original's that have a bias in the archive.

    Raises:
        CheckpointError: a layer is no plain convolution, or the code is of a form that is not followed.
    """
    flow = _Flow(code, texts, layers, biased)
    try:
        results = frozenset(row.node for row in rows_in(flow.call(Module(""), "forward", None)))
    except (
        NotFollowed,
        Raised,
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
    return Followed(flow.computations, results, flow.convolutions)


def compare(followed: Followed, expected: ExpectedGenerator) -> None:
    """Compare what the code computes with a generator.

    Raises:
        CheckpointError: it computes something else.
    """
    missing = first_missing(followed.computations, expected, followed.results)
    if missing is not None:
        raise CheckpointError(
            f"the archive's code computes something else than a HiFi-GAN generator: it has no {missing}"
        )


class _Flow:
    """The computations of a program, made by going through its text."""

    def __init__(
        self,
        code: ModuleCode,
        texts: Mapping[str, str],
        layers: Mapping[str, str],
        biased: Container[str],
    ) -> None:
        self.computations = Computations()
        self.convolutions: dict[str, CalledConvolution] = {}
        self._texts = texts
        self._layers = layers
        self._biased = biased
        self._constants = code.constants
        self._numbers = code.numbers
        self._layer_path: str | None = None
        self._functions: dict[str, dict[str, ast.FunctionDef]] = {}
        self._fields: dict[str, dict[str, object]] = {}
        self._steps = 0
        self._n_other = 0

    def call(self, module: Module, method: str, arguments: Sequence[object] | None) -> object:
        """Go through a method; arguments None is the inputs of the whole."""
        function = self._methods(module.path).get(method)
        if function is None:
            raise NotFollowed(f"{module.path or 'the generator'} has no method {method}")
        names = [argument.arg for argument in function.args.args]
        if arguments is None:
            arguments = [ProgramRows(self.computations.number("input", index)) for index in range(len(names) - 1)]
            self.computations.inputs = {row.node for row in rows_in(arguments)}
        scope: dict[str, object] = dict(zip(names, [module, *arguments], strict=False))
        return self._run(function.body, scope)[1]

    def _methods(self, path: str) -> dict[str, ast.FunctionDef]:
        if path not in self._functions:
            text = self._texts.get(path, "")
            body = ast.parse(f"class Parsed:\n  pass\n{text}").body
            if len(body) != 1 or not isinstance(body[0], ast.ClassDef):
                raise NotFollowed(f"the text of {path or 'the generator'} is no class")
            members = body[0].body
            self._functions[path] = {it.name: it for it in members if isinstance(it, ast.FunctionDef)}
            self._fields[path] = {
                it.target.id: constant_of(it.value)
                for it in members
                if isinstance(it, ast.AnnAssign) and isinstance(it.target, ast.Name) and it.value is not None
            }
        return self._functions[path]

    def _count(self, steps: int = 1) -> None:
        self._steps += steps
        if self._steps > _MAX_STEPS:
            raise NotFollowed(f"more than {_MAX_STEPS} steps")

    def _run(self, body: Sequence[ast.stmt], scope: dict[str, object]) -> tuple[bool, object]:
        """Go through statements; tells whether they returned, and what."""
        for statement in body:
            self._count()
            if isinstance(statement, ast.Return):
                return True, None if statement.value is None else self._value(statement.value, scope)
            if isinstance(statement, ast.If):
                test = self._value(statement.test, scope)
                if not isinstance(test, bool):
                    if raises(statement.body) == raises(statement.orelse):
                        raise NotFollowed("a condition that is not known")
                    test = raises(statement.orelse)  # a check of a shape
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
                raise NotFollowed(type(statement).__name__)
        return False, None

    def _assign(self, target: ast.expr, value: object, scope: dict[str, object]) -> None:
        if isinstance(target, ast.Name):
            scope[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, list):
            for one, item in zip(target.elts, value, strict=True):
                self._assign(one, item, scope)
        else:
            raise NotFollowed(type(target).__name__)

    def _value(self, node: ast.expr, scope: Mapping[str, object]) -> object:
        self._count()
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self._value(node.operand, scope)
            return -value if isinstance(value, (int, float)) else Unknown()
        if isinstance(node, ast.Name):
            return scope.get(node.id, Unknown())
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
            return Unknown()
        if isinstance(node, ast.Call):
            return self._called(node, scope)
        raise NotFollowed(type(node).__name__)

    def _constant(self, name: str) -> object:
        index = int(name[1:]) if name[1:].isdecimal() else -1
        value = self._constants[index] if 0 <= index < len(self._constants) else None
        return Unknown() if value is None else value

    def _attribute(self, value: object, name: str) -> object:
        if not isinstance(value, Module):
            return Unknown()
        path = f"{value.path}.{name}" if value.path else name
        if path in self._texts:
            return Module(path)
        if path in self._numbers:
            return self._numbers[path]
        self._methods(value.path)
        return self._fields[value.path].get(name, ProgramParameter(path))

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
        owner = None if is_operation(function) else self._value(function.value, scope)
        if isinstance(owner, Module):
            if named:
                raise NotFollowed("arguments by name")
            if owner.path in self._layers and owner.path != self._layer_path:
                return self._layer(owner, function.attr, arguments)
            if function.attr == "__weight_getter":
                return self._weight(owner, function.attr)
            return self.call(owner, function.attr, arguments)
        return self._operation(function.attr, arguments, named)

    def _layer(self, module: Module, method: str, arguments: Sequence[object]) -> ProgramRows:
        """What a layer gives, whose own code must be the convolution of its input alone."""
        name = self._layers[module.path]
        rows = rows_in(list(arguments))
        if len(rows) != 1:
            raise NotFollowed(f"{name} of {len(arguments)} arguments")
        expected = self.computations.number("layer", name, rows[0].node)
        around, self._layer_path = self._layer_path, module.path
        result = self.call(module, method, arguments)
        self._layer_path = around
        if not isinstance(result, ProgramRows) or result.node != expected or name not in self.convolutions:
            raise no_plain_convolution(module.path, "it does something before or behind it, or calls several")
        return ProgramRows(expected)

    def _weight(self, module: Module, getter: str) -> object:
        """The weight of a layer with a parametrization; where it is scripted, the code raises an error in its place."""
        try:
            return self.call(module, getter, ())
        except Raised:
            pass
        path = f"{module.path}.parametrizations.weight"
        if f"{path}.1" in self._texts:
            raise NotFollowed(f"{module.path} has several parametrizations")
        halves = [ProgramParameter(f"{path}.original{n}") for n in range(2)]
        return self.call(Module(f"{path}.0"), "forward", halves)

    def _convolution(self, operation: str, rows: ProgramRows, arguments: Sequence[object]) -> ProgramRows:
        path = self._layer_path or ""
        name = self._layers[path]
        found = convolution_called(path, operation, arguments, self._fields[path], name in self._biased)
        if self.convolutions.setdefault(name, found) != found:
            raise no_plain_convolution(path, "it calls several")
        return ProgramRows(self.computations.number("layer", name, rows.node))

    def _operation(self, name: str, arguments: list[object], named: Mapping[str, object]) -> object:
        steps = self.computations
        first = arguments[0] if arguments else None
        if "weight_norm" in name:
            weight = normed(arguments, list(named.values())) or Unknown()
            return [weight, Unknown()] if name == "_weight_norm_interface" else weight
        if name in CONVOLUTIONS and self._layer_path is not None and isinstance(first, ProgramRows) and not named:
            return self._convolution(name, first, arguments)
        if name == "RaiseException":
            raise Raised("an error that the code raises")
        if name in COMPARISONS:
            return compared(name, arguments)
        if name == "floordiv" and all(type(it) is int for it in arguments) and arguments[1:] not in ([], [0]):
            return arguments[0] // arguments[1]  # type: ignore[operator]
        if name in ("zeros", "zeros_like"):
            return ProgramRows(steps.sum(()))
        if name in ("stack", "append"):
            return self._listed(name, first, arguments)
        if isinstance(first, list) and name in ("sum", "mean"):
            found = steps.sum(self._nodes(first))
            return ProgramRows(
                steps.number("div", float(len(first)), found) if name == "mean" and len(first) > 1 else found
            )
        if isinstance(first, ProgramParameter) and name in _SAME_WEIGHT:
            return first
        if isinstance(first, ProgramParameter) and name.endswith("_"):
            raise NotFollowed(f"torch.{name} of {first.path}")
        if not isinstance(first, ProgramRows):
            return self._other(name, [*arguments, *named.values()])
        if name in _SAME:
            return first
        node = self._made(name, first, arguments[1:], named)
        result = self._other(name, [*arguments, *named.values()]) if node is None else ProgramRows(node)
        # The functions of torch.nn.functional have a last argument that tells it.
        in_place = name.endswith("_") or (name in ("leaky_relu", "relu") and arguments[-1] is True)
        if not in_place or not isinstance(result, ProgramRows):
            return result
        if first.may_share:
            raise NotFollowed(f"torch.{name} in place, of what may be a part of other rows")
        first.node = result.node
        return first

    def _made(self, name: str, rows: ProgramRows, rest: list[object], named: Mapping[str, object]) -> int | None:
        steps = self.computations
        scale = named.get("alpha", rest[1] if len(rest) > 1 else 1)
        if name in _SUMS and rest and isinstance(rest[0], ProgramRows) and scale == 1:
            nodes = [rows.node, rest[0].node]
            self._count(sum(len(steps.terms(node)) for node in nodes))
            return steps.sum(nodes)
        if name in _SUMS and rest and isinstance(rest[0], (int, float)) and rest[0] == 0:
            return rows.node  # Python's own sum() begins with 0
        if name in _QUOTIENTS and rest and isinstance(rest[0], (int, float)) and not named:
            return rows.node if rest[0] == 1 else steps.number("div", float(rest[0]), rows.node)
        plain = name.removesuffix("_")
        if plain == "relu":
            return steps.number("leaky_relu", 0.0, rows.node)
        if plain == "leaky_relu":
            slope = named.get("negative_slope", rest[0] if rest else 0.01)
            if not isinstance(slope, (int, float)):
                raise CheckpointError(
                    "the archive's code calls torch.leaky_relu with a slope that stands as no number in the archive"
                )
            return steps.number("leaky_relu", float(slope), rows.node)
        if plain == "tanh":
            return steps.number("tanh", rows.node)
        if plain in ("clamp", "hardtanh"):
            return steps.number("clamp", rows.node)  # its limits were looked at
        return None

    def _listed(self, name: str, first: object, arguments: list[object]) -> object:
        if not isinstance(first, list):
            raise NotFollowed(f"{name} of no list")
        if name == "append":
            first.extend(arguments[1:])
        return first

    def _nodes(self, values: Sequence[object]) -> list[int]:
        rows = rows_in(list(values))
        if len(rows) != len(values):
            raise NotFollowed("a sum of what are no rows")
        self._count(sum(len(self.computations.terms(row.node)) for row in rows))
        return [row.node for row in rows]

    def _other(self, name: str, arguments: Sequence[object]) -> object:
        """Another operation: of rows it gives rows that no generator has, of anything else something unknown."""
        if name in ("size", "dim", "len") or not rows_in(list(arguments)):
            return Unknown()
        self._n_other += 1
        return ProgramRows(self.computations.number("other", name, self._n_other), may_share=True)
