"""What a checkpoint holds beside data: objects of classes that are not known here, kept as names and left out.

Training programs put their settings, paths and dates beside the weights. None of that is needed, and nothing of it is
made: an object is its class's name, with the entries and attributes that the file gives it. Three rules tell what may
be left out so:

- names of the standard library that are listed here, since they only hold values;
- classes of anybody's own, which are told by their spelling: a class begins with a capital (PEP 8); functions may be
  named, as settings do, but not called;
- all else is what a harmless file never asks for: it is refused by name.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from typing import Any

_HARMLESS = {
    "argparse": {"Namespace"},
    "array": {"_array_reconstructor", "array"},
    "builtins": {
        "bool", "dict", "float", "frozenset", "int", "list", "long", "object", "range", "set", "slice", "str", "tuple",
        "type", "unicode", "xrange", "Ellipsis", "NotImplemented",
    },
    "collections": {"ChainMap", "UserDict", "UserList", "UserString", "deque"},
    "copyreg": {"_reconstructor", "__newobj__", "__newobj_ex__"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "enum": {"Enum", "Flag", "IntEnum", "IntFlag", "StrEnum"},
    "fractions": {"Fraction"},
    "functools": {"partial"},
    "ipaddress": {"IPv4Address", "IPv6Address"},
    "logging": {"Logger", "getLogger"},
    "numpy.random.bit_generator": {"__pyx_unpickle_SeedSequence"},
    "numpy.random._pickle": {"__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"},
    "pathlib": {"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"},
    "random": {"Random"},
    "re": {"_compile", "compile"},
    "torch.serialization": {"_get_layout"},
    "types": {"SimpleNamespace"},
    "typing": {"Any", "Dict", "List", "Optional", "Tuple", "Union"},
    "uuid": {"SafeUUID", "UUID"},
    "zoneinfo": {"ZoneInfo", "ZoneInfo._unpickle"},
}  # fmt: skip
"""Names that only make values, or are no more than mentioned."""

_OTHER_SPELLINGS = {"__builtin__": "builtins", "copy_reg": "copyreg", "pathlib._local": "pathlib"}
"""Modules by the names that Python 2 and single versions of Python 3 give them."""

_CLOSED = frozenset(sys.stdlib_module_names) | {"asyncore", "commands", "distutils", "exceptions", "imp", "nt"}
"""Modules whose other names are never left out: those that run programs are among them."""

PROGRAM_MODULE = "__torch__"
"""The module within which a TorchScript archive names its own classes."""

_CLASS = re.compile(r"(?:[A-Za-z_]\w*\.)*_*[A-Z]\w*", re.ASCII)
_FUNCTION = re.compile(r"_*[a-z]\w*", re.ASCII)
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_MAX_NAME = 200


@dataclass(frozen=True, slots=True, eq=False)
class OpaqueClass:
    """A class or function by its name; calling a class gives an `OpaqueObject` and runs nothing."""

    name: str
    is_function: bool = False
    """Whether it may only be mentioned."""

    @property
    def NOUN(self) -> str:  # noqa: N802 - as the classes of this package have it
        """The class, for texts."""
        return f"the {'function' if self.is_function else 'class'} {self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class OpaqueObject:
    """An object that was not made."""

    name: str
    """Its class."""
    entries: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What it holds as a dictionary."""
    attributes: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def NOUN(self) -> str:  # noqa: N802 - as the classes of this package have it
        """The object, for texts."""
        return f"an object of {self.name}"

    @property
    def is_value(self) -> bool:
        """Whether its class only holds values; one of anybody's own may be a whole model."""
        module, _, name = self.name.rpartition(".")
        return name in _HARMLESS.get(module, ()) or self.name.startswith("numpy.")

    def take_state(self, state: object) -> None:
        """Keep the attributes that a pickle sets: a dictionary, or a pair with that of the slots."""
        for part in state if type(state) is tuple else (state,):
            if type(part) is dict:
                self.attributes.update(part)


class Unfinished:
    """An object that a pickle makes in two steps, after the first of them."""

    NOUN = "an unfinished object of NumPy"

    def __init__(self) -> None:
        self.result: object | None = None
        """The object, once it is finished."""

    def finish(self, state: object) -> object:
        """Make the object from its state, and keep it as `result`."""
        raise NotImplementedError


def find_opaque(module: str, name: str) -> OpaqueClass | None:
    """Resolve a name that is no data, if the rules of this module let it be left out."""
    module = _OTHER_SPELLINGS.get(module, module)
    full = f"{module}.{name}"
    if name in _HARMLESS.get(module, ()):
        return OpaqueClass(full)
    if len(full) > _MAX_NAME or module.partition(".")[0] in _CLOSED or not _MODULE.fullmatch(module):
        return None
    if module.partition(".")[0] == PROGRAM_MODULE:
        # Nothing else is named there, however a class is spelt.
        return OpaqueClass(full) if name.isidentifier() else None
    if _FUNCTION.fullmatch(name):
        return OpaqueClass(full, is_function=True)
    # Of PyTorch's own module the classes are kinds of storages and dtypes.
    return OpaqueClass(full) if _CLASS.fullmatch(name) and module != "torch" else None
