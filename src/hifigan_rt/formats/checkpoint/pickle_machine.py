"""A pickle interpreter for what torch.save writes, and nothing else.

Python's own unpickler with a restricted `find_class` would leave it the choice of what to call, to allocate and to
recurse into. This machine makes no object of any class: it builds containers, numbers and texts, and hands names, calls
and persistent ids to `torch_objects`. Every length is checked against the bytes at hand before it
is used, every step is counted, nothing recurses.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np

from hifigan_rt.errors import CheckpointError, UnsafeCheckpoint
from hifigan_rt.formats.checkpoint.limits import MAX_INTEGER_BYTES, MAX_OPCODES
from hifigan_rt.formats.checkpoint.opaque import OpaqueClass, OpaqueObject, Unfinished
from hifigan_rt.formats.checkpoint.pickle_input import PickleInput


class Objects(Protocol):
    """What the machine asks of its owner."""

    def find_global(self, module: str, name: str) -> object:
        """Resolve a name or raise UnsafeCheckpoint."""

    def call(self, function: object, arguments: object) -> object:
        """Apply one of the objects that `find_global` gave."""

    def make(self, kind: OpaqueClass) -> OpaqueObject:
        """Stand in for an object of a class that is not known."""

    def persistent_load(self, key: object) -> object:
        """Resolve a persistent id."""


_OBJ = 0x6F
_EXTENSIONS = {0x82: ("EXT1", 1), 0x83: ("EXT2", 2), 0x84: ("EXT4", 4)}
_INST = 0x69
_STOP = 0x2E

_KEY_TYPES = (str, int, float, bool, type(None), bytes)
_MAX_KEY_ITEMS = 16
"""Items of a tuple that is a key, none of them a tuple: each use of a long one would hash all of it again."""


def unsafe(what: str) -> UnsafeCheckpoint:
    """The refusal, with the name of what the file asked for."""
    return UnsafeCheckpoint(f"asks for {what}, which is not on the allow-list of tensor rebuilders; nothing was run")


def describe(value: object) -> str:
    """A short text for a value out of a file: never its whole repr, which the file could make endless."""
    if isinstance(value, (str, bytes)):
        return repr(value) if len(value) <= 80 else f"{value[:77]!r}..."
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, np.generic):
        return f"{value!r}"
    return str(getattr(value, "NOUN", f"a {type(value).__name__}"))


class PickleMachine:
    """Runs the pickles in a part of a file, one after another.

    Args:
        pickle: the bytes.
        objects: resolves names, calls and persistent ids.
    """

    def __init__(self, pickle: PickleInput, objects: Objects) -> None:
        self._input = pickle
        self._objects = objects
        self._steps = 0

    @property
    def position(self) -> int:
        """Where the next pickle starts, in bytes from the first."""
        return self._input.position

    def load(self) -> object:
        """Run one pickle, up to its STOP.

        Raises:
            CheckpointError: truncated, damaged, over a limit, or with an opcode that torch.save does not write.
            UnsafeCheckpoint: it asks for something that is not on the allow-list.
        """
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        while True:
            opcode = self._input.take(1)[0]
            self._steps += 1
            if self._steps > MAX_OPCODES:
                raise CheckpointError(
                    f"has a pickle of more than {MAX_OPCODES} steps: a HiFi-GAN checkpoint takes 8000"
                )
            if opcode == _STOP:
                value = self._pop()
                if self._stack or self._marks:
                    raise CheckpointError(
                        f"is damaged: its pickle stops at byte {self.position} with objects left over"
                    )
                return value
            handler = _HANDLERS.get(opcode)
            if handler is None:
                raise self._refuse(opcode)
            handler(self)

    def _refuse(self, opcode: int) -> CheckpointError:
        if opcode == _OBJ:
            return unsafe("an object made by the opcode OBJ")
        if opcode in _EXTENSIONS:
            name, width = _EXTENSIONS[opcode]
            return unsafe(f"the extension code {int.from_bytes(self._input.take(width), 'little')} (opcode {name})")
        if opcode == _INST:
            return unsafe(f"{self._input.line()}.{self._input.line()} (opcode INST)")
        return CheckpointError(
            f"is damaged, or not written by torch.save with pickle protocol 2 to 5: opcode 0x{opcode:02x} "
            f"at byte {self.position - 1} of its pickle"
        )

    def _pop(self) -> Any:
        if not self._stack:
            raise CheckpointError(f"is damaged: its pickle takes from an empty stack at byte {self.position}")
        return self._stack.pop()

    def _top(self, kind: type[Any], what: str) -> Any:
        top = self._stack[-1] if self._stack else None
        if type(top) is OpaqueObject:
            # Items of what is a list or a set are of no use.
            return top.entries if kind is dict else []
        if type(top) is not kind:
            raise CheckpointError(f"is damaged: its pickle adds {what} at byte {self.position} to something else")
        return top

    def _pop_mark(self) -> list[Any]:
        if not self._marks:
            raise CheckpointError(f"is damaged: its pickle has no mark to return to at byte {self.position}")
        items = self._stack
        self._stack = self._marks.pop()
        return items

    # One method per opcode from here on; the names are those of Python's pickletools.

    def _proto(self) -> None:
        version = self._input.unsigned(1)
        if not 2 <= version <= 5:
            raise CheckpointError(f"is damaged, or written with pickle protocol {version}: 2 to 5 are read")

    def _frame(self) -> None:
        length = self._input.unsigned(8)
        # The frame tells nothing that the opcodes do not; only the claim is checked.
        self._input.check_left(length)

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _integer(self, width: int) -> None:
        if width > MAX_INTEGER_BYTES:
            raise CheckpointError(f"holds an integer of {width} bytes: at most {MAX_INTEGER_BYTES}")
        self._stack.append(int.from_bytes(self._input.take(width), "little", signed=True))

    def _binfloat(self) -> None:
        self._stack.append(struct.unpack(">d", self._input.take(8))[0])

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise unsafe(f"the global {describe(module)}.{describe(name)}, whose names are no texts")
        self._stack.append(self._objects.find_global(module, name))

    def _global(self) -> None:
        module, name = self._input.line(), self._input.line()
        self._stack.append(self._objects.find_global(module, name))

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        self._stack.append(self._objects.call(function, arguments))

    def _build(self) -> None:
        state = self._pop()
        target = self._stack[-1] if self._stack else None
        if isinstance(target, Unfinished):
            self._stack[-1] = target.finish(state)
            return
        if type(target) is OpaqueObject:
            target.take_state(state)
            return
        # Of dictionaries only OrderedDict has one (a module's _metadata: versions of its layers); it is of no use here.
        target = self._top(dict, "a state")
        if type(state) is not dict:
            raise CheckpointError(
                f"is damaged: its pickle sets the state of a {type(target).__name__} to {describe(state)}"
            )

    def _newobj(self, opcode: str = "NEWOBJ") -> None:
        _, kind = self._pop(), self._pop()
        if type(kind) is not OpaqueClass or kind.is_function:
            raise unsafe(f"an object made by the opcode {opcode}")
        self._stack.append(self._objects.make(kind))

    def _newobj_ex(self) -> None:
        self._pop()
        self._newobj("NEWOBJ_EX")

    def _frozenset(self) -> None:
        self._pop_mark()
        self._stack.append(OpaqueObject("builtins.frozenset"))

    def _binpersid(self) -> None:
        self._stack.append(self._objects.persistent_load(self._pop()))

    def _append(self) -> None:
        value = self._pop()
        self._top(list, "an item").append(value)

    def _appends(self) -> None:
        items = self._pop_mark()
        self._top(list, "items").extend(items)

    def _setitem(self) -> None:
        value, key = self._pop(), self._pop()
        self._set(self._top(dict, "an entry"), key, value)

    def _setitems(self) -> None:
        items = self._pop_mark()
        if len(items) % 2:
            raise CheckpointError(f"is damaged: its pickle has a key without a value at byte {self.position}")
        target = self._top(dict, "entries")
        for i in range(0, len(items), 2):
            self._set(target, items[i], items[i + 1])

    def _set(self, target: dict[Any, Any], key: object, value: object) -> None:
        items = key if type(key) is tuple and len(key) <= _MAX_KEY_ITEMS else (key,)
        if not all(map(_can_be_key, items)):
            raise CheckpointError(f"has {describe(key)} as the key of a dictionary")
        target[key] = value

    def _tuple_of(self, length: int) -> None:
        items = [self._pop() for _ in range(length)]
        self._stack.append(tuple(reversed(items)))

    def _tuple(self) -> None:
        items = self._pop_mark()
        self._stack.append(tuple(items))

    def _memoize(self, index: int) -> None:
        if not self._stack:
            raise CheckpointError(f"is damaged: its pickle remembers nothing at byte {self.position}")
        self._memo[index] = self._stack[-1]

    def _recall(self, index: int) -> None:
        if index not in self._memo:
            raise CheckpointError(f"is damaged: its pickle recalls object {index}, which it never remembered")
        value = self._memo[index]
        if isinstance(value, Unfinished) and value.result is not None:
            value = value.result
        self._stack.append(value)


def _can_be_key(key: object) -> bool:
    if type(key) is int:
        # Larger integers can be chosen so that all their hashes collide.
        return key.bit_length() <= 63
    return type(key) in _KEY_TYPES or isinstance(key, (OpaqueObject, OpaqueClass, np.generic))


def _constant(value: object) -> Callable[[PickleMachine], None]:
    return lambda machine: machine._stack.append(value)


def _string(width: int, kind: Literal["bytes", "text"]) -> Callable[[PickleMachine], None]:
    return lambda machine: machine._stack.append(machine._input.string(width, kind))


_HANDLERS: dict[int, Callable[[PickleMachine], None]] = {
    0x80: PickleMachine._proto,
    0x95: PickleMachine._frame,
    0x28: PickleMachine._mark,
    0x4E: _constant(None),
    0x88: _constant(True),  # noqa: FBT003
    0x89: _constant(False),  # noqa: FBT003
    0x4A: lambda machine: machine._integer(4),
    0x4B: lambda machine: machine._stack.append(machine._input.unsigned(1)),
    0x4D: lambda machine: machine._stack.append(machine._input.unsigned(2)),
    0x8A: lambda machine: machine._integer(machine._input.unsigned(1)),
    0x8B: lambda machine: machine._integer(machine._input.unsigned(4)),
    0x47: PickleMachine._binfloat,
    0x8C: _string(1, "text"),
    0x58: _string(4, "text"),
    0x8D: _string(8, "text"),
    # Python 2 wrote its texts so, and PyTorch reads them as UTF-8 too.
    0x55: _string(1, "text"),
    0x54: _string(4, "text"),
    0x43: _string(1, "bytes"),
    0x42: _string(4, "bytes"),
    0x8E: _string(8, "bytes"),
    0x96: _string(8, "bytes"),
    0x8F: lambda machine: machine._stack.append(OpaqueObject("builtins.set")),
    0x90: PickleMachine._appends,
    0x91: PickleMachine._frozenset,
    0x81: PickleMachine._newobj,
    0x92: PickleMachine._newobj_ex,
    0x5D: lambda machine: machine._stack.append([]),
    0x7D: lambda machine: machine._stack.append({}),
    0x29: _constant(()),
    0x61: PickleMachine._append,
    0x65: PickleMachine._appends,
    0x73: PickleMachine._setitem,
    0x75: PickleMachine._setitems,
    0x74: PickleMachine._tuple,
    0x85: lambda machine: machine._tuple_of(1),
    0x86: lambda machine: machine._tuple_of(2),
    0x87: lambda machine: machine._tuple_of(3),
    0x71: lambda machine: machine._memoize(machine._input.unsigned(1)),
    0x72: lambda machine: machine._memoize(machine._input.unsigned(4)),
    0x94: lambda machine: machine._memoize(len(machine._memo)),
    0x68: lambda machine: machine._recall(machine._input.unsigned(1)),
    0x6A: lambda machine: machine._recall(machine._input.unsigned(4)),
    0x63: PickleMachine._global,
    0x93: PickleMachine._stack_global,
    0x52: PickleMachine._reduce,
    0x62: PickleMachine._build,
    0x51: PickleMachine._binpersid,
}
