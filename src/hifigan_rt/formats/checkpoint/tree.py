"""Looks through what a file holds: its tensors with the way to each, and the plain values beside them.

A file chooses its own shape, so each look is bounded: depth, length of names, visits. Nothing is read from storages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hifigan_rt.formats.checkpoint.limits import MAX_DEPTH
from hifigan_rt.formats.checkpoint.opaque import OpaqueObject
from hifigan_rt.formats.checkpoint.pickle_machine import describe
from hifigan_rt.formats.checkpoint.tensors import LazyTensor, named_tensor

_MAX_NAME = 400
"""Characters of a tensor's name with the way to it; longer ones are no generator's."""

_MAX_VISITS = 2
"""Times that one container is looked into: a file may show one dictionary under two keys, or under millions."""

_MAX_PLAIN_VALUES = 1 << 14
"""Values in one plain one, counted as often as they are reached; a config has about fifty."""


@dataclass(frozen=True, slots=True)
class PlacedTensor:
    """A tensor and the way to it."""

    path: tuple[str, ...]
    """Keys and indices from the file's top level to the tensor."""
    tensor: LazyTensor
    is_named: bool
    """Whether its own key is a text, as that of a parameter is."""

    @property
    def name(self) -> str:
        """All keys with dots between, as one name."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Unread:
    """A tensor or an array that stands where a setting may be meant: as a value of no field's type it is refused."""

    shape: tuple[int, ...]

    def __repr__(self) -> str:
        return f"tensor of shape {list(self.shape)}"


def list_tensors(root: object) -> list[PlacedTensor]:
    """Find every tensor in dictionaries, lists and tuples, in the file's order."""
    return list(_TensorSearch().tensors(root, (), 0, is_named=False))


class _TensorSearch:
    def __init__(self) -> None:
        self._visits: dict[int, int] = {}

    def tensors(self, value: object, path: tuple[str, ...], length: int, *, is_named: bool) -> Iterator[PlacedTensor]:
        if isinstance(value, LazyTensor):
            yield PlacedTensor(path, value, is_named)
            return
        if is_named and (tensor := named_tensor(value)) is not None:
            yield PlacedTensor(path, tensor, is_named)
            return
        items = _items(value)
        visits = self._visits.get(id(value), 0)
        if items is None or visits >= _MAX_VISITS or len(path) >= MAX_DEPTH:
            return
        self._visits[id(value)] = visits + 1
        for key, item in items:
            text = key_text(key)
            if length + len(text) < _MAX_NAME:
                yield from self.tensors(item, (*path, text), length + len(text) + 1, is_named=isinstance(key, str))


def _items(value: object) -> Iterator[tuple[object, object]] | None:
    if isinstance(value, dict):
        return iter(value.items())
    if isinstance(value, OpaqueObject):
        # A class of its own for a dictionary is one all the same.
        return iter(value.entries.items())
    if isinstance(value, (list, tuple)):
        return iter(enumerate(value))
    return None


def list_opaque(root: object) -> list[str]:
    """List the classes of objects that were not made, of those near the top level; no mere values, such as a path."""
    near = [root, *(item for _, item in _items(root) or ())]
    values = near + [item for value in near for _, item in _items(value) or ()]
    return list(dict.fromkeys(value.name for value in values if isinstance(value, OpaqueObject) and not value.is_value))


def key_text(key: object) -> str:
    """Write a key of a dictionary as a part of a name."""
    return key if isinstance(key, str) else describe(key)


def dictionaries_around(root: object, path: tuple[str, ...]) -> tuple[dict[object, object], ...]:
    """Collect the dictionary that a path leads to and those around it, or beside it in a list, the nearest first."""
    found: list[dict[object, object]] = []
    value = root
    for key in path:
        items = dict(_items(value) or ())
        if not isinstance(value, (list, tuple)):
            found.insert(0, items)
        else:
            found[:0] = [item for index, item in items.items() if isinstance(item, dict) and key_text(index) != key]
        value = next((item for name, item in items.items() if key_text(name) == key), None)
    return tuple(found) if isinstance(value, (list, tuple)) else (dict(_items(value) or ()), *found)


def plain_values(mapping: dict[object, object]) -> dict[str, object]:
    """Pick what is plain in a dictionary: numbers, texts, None, and dictionaries and lists of such.

    Tensors of this dictionary and of those that hold nothing else, which are parameters, are left out; where a setting
    may be meant, an `Unread` stands for each. All else is left out, with every list that holds such; tuples become
    lists and numbers of NumPy become Python's, as JSON would give them. An object that was not made is the dictionary
    of its attributes and entries, one of OmegaConf what it stands for.
    """
    return _PlainCopies().mapping({key: item for key, item in mapping.items() if type(item) is not LazyTensor}, 0)[0]


def _wrapped(value: OpaqueObject) -> str | None:
    """The attribute in which an object of OmegaConf, a DictConfig, ListConfig or node, has what it stands for."""
    names = ("_content", "_val") if value.name.startswith("omegaconf.") else ()
    return next((name for name in names if name in value.attributes), None)


class _PlainCopies:
    """Copies plain values, each container once; as what they hold is counted wherever they are reached."""

    _NOTHING = (None, 0)

    def __init__(self) -> None:
        self._done: dict[int, tuple[object, int]] = {}
        """The copy and the number of objects in it, by identity; `_NOTHING` while it is being made."""

    def mapping(self, value: dict[object, object], depth: int) -> tuple[dict[str, object], int]:
        copies = {key: self._copy(item, depth + 1) for key, item in value.items() if isinstance(key, str)}
        if all(type(copy) is Unread for copy, count in copies.values() if count):
            return {}, 1
        picked = {key: copy for key, (copy, count) in copies.items() if count}
        return picked, 1 + sum(count for _, count in copies.values())

    def _copy(self, value: object, depth: int) -> tuple[object, int]:
        if isinstance(value, np.generic):
            return value.item(), 1
        if value is None or isinstance(value, (bool, int, float, str)):
            return value, 1
        if isinstance(value, LazyTensor):
            return Unread(value.shape), 1
        if id(value) not in self._done:
            self._done[id(value)] = self._NOTHING
            self._done[id(value)] = self._copy_container(value, depth) if depth <= MAX_DEPTH else self._NOTHING
        return self._done[id(value)]

    def _copy_container(self, value: object, depth: int) -> tuple[object, int]:
        copy: object
        if isinstance(value, dict):
            copy, count = self.mapping(value, depth)
        elif isinstance(value, OpaqueObject) and (wrapped := _wrapped(value)):
            return self._copy(value.attributes[wrapped], depth + 1)
        elif isinstance(value, OpaqueObject) and (value.entries or value.attributes):
            # Settings come as such: argparse's Namespace has them as attributes, the original's AttrDict as entries.
            copy, count = self.mapping({**value.attributes, **value.entries}, depth)
        elif isinstance(value, (list, tuple)):
            copies = [self._copy(item, depth + 1) for item in value]
            if not all(count for _, count in copies):
                return self._NOTHING
            copy, count = [item for item, _ in copies], 1 + sum(count for _, count in copies)
        else:
            return self._NOTHING
        return (copy, count) if count <= _MAX_PLAIN_VALUES else self._NOTHING
