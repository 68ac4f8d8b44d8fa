"""Intermediate code (PTX) of the kernels as C++, so that what the compiler made of them runs on the imitated card.

Only the kernels' own instructions are known, any other is an error; NVIDIA's "PTX ISA" 8.8 says what each does.
Not as on a card: approximations are exact, a multiplication and an addition are never joined, and what the assembler
makes of it is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_TYPES = {"rd": "std::uint64_t", "rs": "std::uint16_t", "fd": "double", "r": "std::uint32_t", "f": "float", "p": "bool"}
"""Of registers, by the letters of their names."""
_NUMBERS = {
    "b16": "std::uint16_t", "u16": "std::uint16_t", "s16": "std::int16_t",
    "b32": "std::uint32_t", "u32": "std::uint32_t", "s32": "std::int32_t",
    "b64": "std::uint64_t", "u64": "std::uint64_t", "s64": "std::int64_t",
    "f32": "float", "f64": "double", "pred": "bool",
}  # fmt: skip
_SPECIAL = {
    "%tid.x": "std::uint32_t(thread_index())",
    "%ctaid.x": "std::uint32_t(block_x())",
    "%ctaid.y": "std::uint32_t(block_y())",
}
_LOCAL = r"\.align \d+ \.b8 __local_depot\d+\[(\d+)\]"
_COMPARISONS = {"eq": "==", "ne": "!=", "neu": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_SIGNS = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^"}


def translate(code: str) -> str:
    """Give C++ that registers each kernel under its name, for fake_driver.cpp."""
    return "\n".join(_lines(code))


def _lines(code: str) -> Iterator[str]:
    yield '#include "intermediate_code.h"'
    yield "using namespace hifigan::cuda;"
    for text in code.split(".visible .entry ")[1:]:
        entry = re.fullmatch(r"(\w+)\((.*?)\n\)(.*?)\n\{\n(.*)\n\}\s*(?://.*)?\s*", text, re.DOTALL)
        assert entry, text[:200]
        name, parameters, bounds, body = entry.groups()
        (size,) = re.findall(r"\.param \.align \d+ \.b8 \w+\[(\d+)\]", parameters)
        threads = re.search(r"\.maxntid (\d+)", bounds)
        assert threads, bounds
        yield f"static UNOPTIMIZED void {name}(const Parameter& parameter) {{"
        yield from _body(name, body)
        yield "}"
        yield f'static const Translated translated_{name}("{name}", {threads[1]}, {size}, {name});'


def _body(kernel: str, body: str) -> Iterator[str]:
    products: list[list[list[str]]] = []
    for statement in _statements(body):
        operation, _, rest = statement.partition(" ")
        if operation.startswith("mma."):
            operands = _operands(rest)
            needed = {name for group in operands[1:] for name in group}
            if any(needed.intersection(made) for made, *_ in products):
                yield from _multiply(products)
                products = []
            products.append(operands)
            continue
        yield from _multiply(products)
        products = []
        if statement in "{}":
            yield statement
        elif operation == ".reg":
            yield _declared(rest)
        elif operation == ".local":
            yield f"Local local({re.fullmatch(_LOCAL, rest)[1]});"  # type: ignore[index]
        elif statement.endswith(":"):
            yield f"{_label(statement[:-1])}:;"
        else:
            condition = ""
            if operation.startswith("@"):
                condition = f"if ({operation[1:].replace('%', '')}) "
                operation, _, rest = rest.partition(" ")
            yield f"{condition}{{ {_instruction(operation, _operands(rest), kernel)}; }}"


def _statements(body: str) -> Iterator[str]:
    for line in body.splitlines():
        text = re.sub(r"\s+", " ", line.partition("//")[0]).strip()
        if not text or text.startswith(".pragma"):
            continue
        assert text in "{}" or text[-1] in ";:", text
        yield text.rstrip(";").strip()


def _operands(text: str) -> list[list[str]]:
    """Operands, each as a list: more than one name where braces hold them."""
    found = re.findall(r"\{([^}]*)\}|(\[[^\]]*\])|([^,\s]+)", text)
    return [[name.strip() for name in (braces or address or plain).split(",")] for braces, address, plain in found]


def _declared(text: str) -> str:
    kind, _, names = text.partition(" ")
    counted = re.fullmatch(r"%(\w+)<(\d+)>", names.strip())
    listed = [f"{counted[1]}{i}" for i in range(int(counted[2]))] if counted else re.split(r",\s*", names)
    return f"{_NUMBERS[kind[1:]]} {', '.join(listed).replace('%', '')};"


def _label(text: str) -> str:
    return text.replace("$", "label")


def _type_of(name: str) -> str:
    """The C++ type of a register; of a number, none."""
    if name in ("l", "h"):
        return "std::uint16_t"
    if name == "p":
        return "bool"
    if name == "%SPL":
        return "std::uint64_t"
    known = re.fullmatch(r"%([a-z]+)\d+", name)
    return _TYPES[known[1]] if known else ""


def _value(name: str, kind: str) -> str:
    """A register or number as a value of a C++ type: registers hold bits."""
    if name in _SPECIAL:
        return _SPECIAL[name]
    if name.startswith("0f"):
        return f"std::bit_cast<float>(0x{name[2:]}u)"
    own = _type_of(name)
    plain = name.replace("%", "")
    if not own:
        return f"{kind}({plain}ll)" if re.fullmatch(r"-?\d+", name) else _fail(name)
    return plain if own == kind else f"bits<{kind}>({plain})"


def _fail(what: object) -> str:
    raise ValueError(f"intermediate code has {what!r}, which tests/intermediate_code.py does not know")


def _address(operand: str) -> str:
    """An address, given as [register+offset] or [symbol+offset]; memory of all kinds but global begins at 0 here."""
    base, _, offset = operand.strip("[]").partition("+")
    start = f"std::uint64_t({_value(base, _type_of(base))})" if base.startswith("%") else "std::uint64_t(0)"
    return f"{start} + std::uint64_t({offset or 0}ll)"


def _assign(name: str, expression: str, kind: str) -> str:
    own = _type_of(name)
    plain = name.replace("%", "")
    return f"{plain} = {expression}" if own == kind else f"{plain} = bits<{own}>({kind}({expression}))"


def _instruction(operation: str, operands: list[list[str]], kernel: str) -> str:
    name, *modifiers = operation.split(".")
    if name in ("ld", "st", "atom"):
        return _memory(operation, operands)
    special = {
        "bra": lambda: f"goto {_label(operands[0][0])}",
        "ret": lambda: "return",
        "bar": lambda: "warp_barrier()" if modifiers[0] == "warp" else "block_barrier()",
        "cp": lambda: _copy(operation, operands),
        "ldmatrix": lambda: _rows(operands),
        "fence": lambda: _known(operation, "fence.proxy.async.shared::cta", "show_to_products()"),
        "wgmma": lambda: _wide_product(operation, operands),
        "movmatrix": lambda: _assign(
            operands[0][0], f"turned_halves({_value(operands[1][0], 'std::uint32_t')})", "std::uint32_t"
        ),
    }
    if name in special:
        return special[name]()
    if name == "mov" and len(operands[0]) > 1:
        whole = _value(operands[1][0], "std::uint32_t")
        lower, upper = operands[0]
        return f"{lower} = std::uint16_t({whole}); {upper} = std::uint16_t({whole} >> 16)"
    target, *sources = [group[0] for group in operands]
    if name == "mov" and re.search(f"({kernel}_param_0|block_memoryE|__local_depot\\d+)$", sources[0]):
        return _assign(target, "0", "std::uint64_t")
    expression, kind = _computed(name, modifiers, sources)
    return _assign(target, expression, kind)


def _computed(name: str, modifiers: list[str], sources: list[str]) -> tuple[str, str]:
    """An expression and its C++ type."""
    kind = _NUMBERS.get(modifiers[-1], "")
    given = [_value(source, kind) for source in sources] if kind else []
    plain: dict[str, Callable[[], str]] = {
        "mov": lambda: given[0],
        "cvta": lambda: given[0],
        "neg": lambda: f"-{given[0]}",
        "not": lambda: f"!{given[0]}" if kind == "bool" else f"~{given[0]}",
        "abs": lambda: f"std::fabs({given[0]})",
        "max": lambda: (
            _extreme("max", kind, given) if "NaN" not in modifiers else f"larger_or_none({', '.join(given)})"
        ),
        "min": lambda: _extreme("min", kind, given),
        "fma": lambda: f"std::fmaf({', '.join(given)})",
        "div": lambda: f"{given[0]} / {given[1]}" if kind == "float" else f"quotient({given[0]}, {given[1]})",
        "rem": lambda: f"rest({given[0]}, {given[1]})",
        "rcp": lambda: f"1.0f / {given[0]}",
        "ex2": lambda: f"std::exp2({given[0]})",
        "prmt": lambda: f"chosen_bytes({', '.join(given)})",
        "mad": lambda: f"wrapped({given[0]}) * wrapped({given[1]}) + wrapped({given[2]})",
    }
    if name == "mul" and modifiers[0] == "wide":
        return f"std::int64_t({given[0]}) * std::int64_t({given[1]})", "std::int64_t"
    if name in _SIGNS:
        sign = _SIGNS[name]
        if kind in ("float", "bool"):
            return f"{given[0]} {sign} {given[1]}", kind
        return f"wrapped({given[0]}) {sign} wrapped({given[1]})", kind
    if name in ("shl", "shr"):
        return (
            f"shifted_{'left' if name == 'shl' else 'right'}({given[0]}, {_value(sources[1], 'std::uint32_t')})",
            kind,
        )
    if name == "setp":
        return f"{given[0]} {_COMPARISONS[modifiers[0]]} {given[1]}", "bool"
    if name == "selp":
        return f"{sources[2].replace('%', '')} ? {given[0]} : {given[1]}", kind
    if name == "cvt":
        return _converted(modifiers, sources)
    if name == "bfi":
        return f"inserted({', '.join(given)})", kind
    return plain.get(name, lambda: _fail(name))(), kind


def _extreme(name: str, kind: str, given: list[str]) -> str:
    return f"std::f{name}({', '.join(given)})" if kind == "float" else f"std::{name}<{kind}>({', '.join(given)})"


def _converted(modifiers: list[str], sources: list[str]) -> tuple[str, str]:
    if modifiers == ["rn", "f16x2", "f32"]:  # the first is the upper half
        return f"to_halves({_value(sources[1], 'float')}, {_value(sources[0], 'float')})", "std::uint32_t"
    if modifiers == ["f32", "f16"]:
        return f"float_of({_value(sources[0], 'std::uint16_t')})", "float"
    to, source = (_NUMBERS[modifier] for modifier in modifiers[-2:])
    return f"{to}({_value(sources[0], source)})", to


def _memory(operation: str, operands: list[list[str]]) -> str:
    name, *modifiers = operation.split(".")
    kind = _NUMBERS[modifiers[-1]]
    if name == "atom":
        if operation != "atom.global.max.s32":
            _fail(operation)
        source = _value(operands[2][0], kind)
        return _assign(operands[0][0], f"raised<{kind}>({_address(operands[1][0])}, {source})", kind)
    space = modifiers[0] if modifiers[0] in ("param", "shared", "local") else "global"
    arguments = {"param": "parameter, ", "local": "local, "}.get(space, "")
    registers, address = operands if name == "ld" else reversed(operands)
    count = len(registers)
    array = f"std::array<{kind}, {count}>"
    if name == "st":
        values = ", ".join(_value(register, kind) for register in registers)
        return f"{space}_store({arguments}{_address(address[0])}, {array}{{{values}}})"
    loaded = f"const auto loaded = {space}_load<{array}>({arguments}{_address(address[0])})"
    return "; ".join([loaded, *(_widened(register, f"loaded[{i}]", kind) for i, register in enumerate(registers))])


def _widened(register: str, expression: str, kind: str) -> str:
    """A register may be wider than what is loaded into it."""
    own = _type_of(register)
    if kind in ("float", "double") or own in ("float", "double"):
        return _assign(register, expression, kind)
    return f"{register.replace('%', '')} = {own}({expression})"


def _copy(operation: str, operands: list[list[str]]) -> str:
    if operation == "cp.async.commit_group":
        return "commit_copies()"
    if operation == "cp.async.wait_group":
        return f"wait_copies<{operands[0][0]}>()"
    if operation != "cp.async.cg.shared.global" or operands[2] != ["16"]:
        _fail((operation, operands))
    bytes_ = _value(operands[3][0], "std::uint32_t")
    return f"copied(std::uint32_t({_address(operands[0][0])}), {_address(operands[1][0])}, {bytes_})"


def _known(operation: str, known: str, meaning: str) -> str:
    return meaning if operation == known else _fail(operation)


def _wide_product(operation: str, operands: list[list[str]]) -> str:
    name = operation.removeprefix("wgmma.")
    if name == "wait_group.sync.aligned":
        return f"wait_products<{operands[0][0]}>()"
    if name in ("fence.sync.aligned", "commit_group.sync.aligned"):
        return "start_products()" if name.startswith("fence") else "commit_products()"
    if not re.fullmatch(r"mma_async\.sync\.aligned\.m64n\d+k16\.f32\.f16\.f16", name) or operands[4:] != [
        ["1"],
        ["1"],
        ["0"],
    ]:
        _fail((operation, operands[2:]))
    sums, weights = (", ".join(f"&{register.replace('%', '')}" for register in group) for group in operands[:2])
    return f"begin({{{{{sums}}}, {{{weights}}}, {operands[2][0].replace('%', '')}, {operands[3][0]}}})"


def _rows(operands: list[list[str]]) -> str:
    names = [name.replace("%", "") for name in operands[0]]
    taken = "; ".join(f"{name} = rows[{i}]" for i, name in enumerate(names))
    return f"Word rows[4]; load_rows(std::uint32_t({_address(operands[1][0])}), rows); {taken}"


def _multiply(products: list[list[list[str]]]) -> Iterator[str]:
    """Products that follow each other and need nothing of each other: the lanes wait once for all of them."""
    if not products:
        return
    given = ", ".join(
        "{" + ", ".join("{" + ", ".join(name.replace("%", "") for name in group) + "}" for group in (a, b, c)) + "}"
        for _, a, b, c in products
    )
    taken = "; ".join(
        f"{name.replace('%', '')} = all[{i}].d[{k}]" for i, (d, *_) in enumerate(products) for k, name in enumerate(d)
    )
    yield f"{{ Product all[{len(products)}] = {{{given}}}; multiply(all); {taken}; }}"
