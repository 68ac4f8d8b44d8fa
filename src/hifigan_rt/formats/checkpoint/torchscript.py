"""Takes apart what torch.jit.save writes: a module tree with its tensors, and the text of each module's class.

Such an archive is a program. Its text is looked at and never run: a layer's stride or padding stands there as a number,
and nowhere else in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard, TypeVar

from hifigan_rt.errors import CheckpointError
from hifigan_rt.formats.checkpoint.limits import MAX_DEPTH, MAX_NODES, MAX_PICKLE_BYTES
from hifigan_rt.formats.checkpoint.opaque import PROGRAM_MODULE, OpaqueObject
from hifigan_rt.formats.checkpoint.pickle_machine import describe
from hifigan_rt.formats.checkpoint.tensors import LazyTensor

T = TypeVar("T")

_MAX_CODE = 1 << 20
"""Characters of code, counted for each module that has it."""

_CLASS = re.compile(r"^class (\w{1,200})\(\w{1,40}\):$", re.MULTILINE)


@dataclass(frozen=True)
class ModuleCode:
    """The text of the classes of a part of a program."""

    inner: Mapping[str, str] = field(repr=False)
    """Texts by the names of the modules within the part, as in `ups.0`; an empty name for the part itself."""
    outer: tuple[str, ...] = field(repr=False)
    """Those of the modules around it, the outermost first."""
    numbers: Mapping[str, float] = field(repr=False)
    """Attributes of the part's modules that are numbers, by names as in `ups.0.stride`."""
    constants: tuple[float | None, ...] = ()
    """Constants of the archive that the text names c0, c1 and so on; None for one that is no single number."""


class Program:
    """The modules of an archive as dictionaries of tensors and modules."""

    def __init__(
        self,
        root: object,
        read_entry: Callable[[str], bytes | None],
        read_constants: Callable[[], tuple[float | None, ...]],
    ) -> None:
        """Take apart the object of an archive's data.pkl.

        Args:
            root: that object.
            read_entry: gives an entry below `code/`, None if there is no such entry.
            read_constants: gives the archive's constants, None for one that is no single number.

        Raises:
            CheckpointError: it is no module, holds no tensors, or is over the limits.
        """
        self._read_entry = read_entry
        self._read_constants = read_constants
        self._files: dict[str, dict[str, str]] = {}
        self._bytes_left = MAX_PICKLE_BYTES
        self._nodes_left = MAX_NODES
        self._classes: dict[tuple[str, ...], str] = {}
        self._numbers: dict[tuple[str, ...], float] = {}
        if not _is_module(root):
            raise CheckpointError(f"is damaged: it is a TorchScript archive, and its object is {describe(root)}")
        self._n_tensors = 0
        self.tree = self._unfold(root, ())
        if not self._n_tensors:
            raise CheckpointError(
                "is a TorchScript archive whose modules hold no tensors: torch.jit.freeze and the like move them into "
                "the code, where they have no names. Give the archive as it was before, or the state dict"
            )

    def code_of(self, place: tuple[str, ...]) -> ModuleCode:
        """Collect the text of the classes in a part of the tree and around it.

        Args:
            place: the keys that lead to the part.

        Raises:
            CheckpointError: an entry is damaged, or they are too large.
        """
        inner = {name: self._text(kind) for name, kind in _within(place, self._classes).items()}
        outer = tuple(self._text(self._classes[place[:n]]) for n in range(len(place)))
        if sum(map(len, (*inner.values(), *outer))) > _MAX_CODE:
            raise CheckpointError(
                f"has more than {_MAX_CODE} characters of code in its modules: a generator has 60,000"
            )
        is_needed = any("CONSTANTS." in text for text in inner.values())
        constants = self._read_constants() if is_needed else ()
        return ModuleCode(inner, outer, _within(place, self._numbers), constants)

    def _unfold(self, module: OpaqueObject, path: tuple[str, ...]) -> dict[object, object]:
        if len(path) > MAX_DEPTH:
            raise CheckpointError(f"holds more than {MAX_DEPTH} modules within each other")
        self._classes[path] = module.name
        found: dict[object, object] = {}
        for name, value in module.attributes.items():
            self._nodes_left -= 1
            if self._nodes_left < 0:
                raise CheckpointError(f"holds more than {MAX_NODES} entries of modules")
            if isinstance(value, LazyTensor):
                found[name] = value
                self._n_tensors += 1
            elif isinstance(name, str) and isinstance(value, (int, float)):
                self._numbers[*path, name] = value
            elif isinstance(name, str) and _is_module(value):
                found[name] = self._unfold(value, (*path, name))
        return found

    def _text(self, name: str) -> str:
        """The text of a class by its full name; empty if the archive has none."""
        module, _, own = name.rpartition(".")
        file = f"{module.replace('.', '/')}.py"
        if file not in self._files:
            data = self._read_entry(file) or b""
            self._bytes_left -= len(data)
            if self._bytes_left < 0:
                raise CheckpointError(f"has more than {MAX_PICKLE_BYTES} bytes of code: at most so many are read")
            text = data.decode("utf-8", errors="replace")
            begins = list(_CLASS.finditer(text))
            ends = [*(match.start() for match in begins[1:]), len(text)]
            # There is one end too many where no class is found.
            self._files[file] = {match[1]: text[match.end() : end] for match, end in zip(begins, ends, strict=False)}
        return self._files[file].get(own, "")


def _within(place: tuple[str, ...], values: Mapping[tuple[str, ...], T]) -> dict[str, T]:
    """What lies below a place, by names from there."""
    return {".".join(path[len(place) :]): value for path, value in values.items() if path[: len(place)] == place}


def is_program_class(name: str) -> bool:
    """Tell whether a full name is that of a class of the archive itself."""
    return name.partition(".")[0] == PROGRAM_MODULE


def _is_module(value: object) -> TypeGuard[OpaqueObject]:
    return isinstance(value, OpaqueObject) and is_program_class(value.name)
