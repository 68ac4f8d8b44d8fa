"""Finds generators in what a file holds: groups of tensors whose names, behind one common prefix, are a family's.

The rule, whatever wrote the file: dictionaries, lists and names with dots are one tree. Wherever names behind a prefix
begin with a family's first layer, a group may begin. It has

- the tensors in the dictionary of that first layer whose names have the prefix, known or not, so that what the network
  has beyond a generator is noticed; and
- those in dictionaries within it, if these are named like layers.

What wrappers of PyTorch put before a name or into it is taken out of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hifigan_rt.errors import CheckpointError
from hifigan_rt.families.family import Family
from hifigan_rt.formats.checkpoint import PlacedTensor

_WRAPPERS = re.compile(r"(?:(?<=\.)|\A)(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Names that DistributedDataParallel, torch.compile, FSDP and activation checkpointing put before those of a module."""

_MAX_PREFIXES = 64
"""Prefixes that are looked at: a file of the deepest nesting known has four."""


@dataclass(frozen=True)
class Group:
    """Tensors behind one common prefix."""

    family: Family | None
    """The family that knows it; None for a part of a generator."""
    place: tuple[str, ...]
    """Keys from the file's top level to the dictionary that holds the first layer."""
    prefix: str
    """Common prefix of the names in that dictionary, with its dot; an empty text if there is none."""
    tensors: dict[str, PlacedTensor] = field(repr=False)
    """Tensors by their names behind the prefix."""
    neighbours: frozenset[str] = field(default=frozenset(), repr=False)
    """First components of what lies beside the group, on every level of the tree."""

    @property
    def address(self) -> str:
        """The way to it in one text, as a user names it; "." for the top level of the file."""
        return ".".join((*self.place, *self.prefix.split("."))).strip(".") or "."

    def is_same(self, other: Group) -> bool:
        """Tell whether both are views of the same numbers in the file."""

        def numbers(group: Group) -> list[object]:
            tensors = (placed.tensor for _, placed in sorted(group.tensors.items()))
            return [(tensor.storage, tensor.dtype, tensor.offset, tensor.shape, tensor.strides) for tensor in tensors]

        return self.tensors.keys() == other.tensors.keys() and numbers(self) == numbers(other)


def find_groups(tensors: Sequence[PlacedTensor], families: Sequence[Family]) -> tuple[list[Group], list[Group]]:
    """Find every generator among the tensors of a file, in its order.

    Returns:
        The generators, and the groups that only begin like one.

    Raises:
        CheckpointError: a name stands twice in a group.
    """
    named = [(placed, placed.name) for placed in tensors]
    begins = _beginnings(named, families)
    whole: dict[str, Group] = {}
    partial: dict[str, Group] = {}
    # The longest first: what belongs to a group is no part of the one around it.
    for prefix in sorted(begins, key=len, reverse=True):
        place = begins[prefix]
        claimed = {id(placed) for group in whole.values() for placed in group.tensors.values()}
        rest = [(placed, name) for placed, name in named if id(placed) not in claimed]
        group = _gather(prefix, place, rest, named, families)
        (partial if group.family is None else whole)[prefix] = group
    return [whole[prefix] for prefix in begins if prefix in whole], [partial[p] for p in begins if p in partial]


def _beginnings(named: Iterable[tuple[PlacedTensor, str]], families: Sequence[Family]) -> dict[str, tuple[str, ...]]:
    """The prefixes behind which a family's first layer stands, and the dictionary where it does."""
    begins: dict[str, tuple[str, ...]] = {}
    for placed, name in named:
        for at in (0, *(match.end() for match in re.finditer(r"\.", name))):
            if len(begins) < _MAX_PREFIXES and any(family.first_layer.match(name, at) for family in families):
                begins.setdefault(name[:at], _place(placed.path, at))
    return begins


def _place(path: tuple[str, ...], length: int) -> tuple[str, ...]:
    """The keys of a path that lie wholly within the first `length` characters of its name."""
    end = 0
    for index, key in enumerate(path):
        end += len(key) + 1
        if end > length:
            return path[:index]
    return path


def _gather(
    prefix: str,
    place: tuple[str, ...],
    rest: Iterable[tuple[PlacedTensor, str]],
    named: Iterable[tuple[PlacedTensor, str]],
    families: Sequence[Family],
) -> Group:
    parts = frozenset(part for family in families for part in family.parts)
    tensors: dict[str, PlacedTensor] = {}
    for placed, full in rest:
        if not placed.is_named or not full.startswith(prefix) or placed.path[: len(place)] != place:
            continue
        name = _WRAPPERS.sub("", full[len(prefix) :])
        if len(placed.path) > len(place) + 1 and name.partition(".")[0] not in parts:
            continue
        if name in tensors:
            raise CheckpointError(f"holds {full} twice, once as wrappers of PyTorch name it: a layer needs one")
        tensors[name] = placed
    family = next((family for family in families if family.recognises(tensors)), None)
    if family is not None and family.ignored is not None:
        tensors = {name: placed for name, placed in tensors.items() if not family.ignored.match(name)}
    members = {id(placed) for placed in tensors.values()}
    beside = (full for placed, full in named if id(placed) not in members)
    within = ".".join(place)
    inner = prefix[len(within) + 1 :] if within else prefix
    return Group(family, place, inner, tensors, frozenset(_neighbours(prefix, beside)))


def _neighbours(prefix: str, names: Iterable[str]) -> Iterable[str]:
    """The component in which each name leaves the prefix."""
    way = prefix.split(".")[:-1]
    for name in names:
        components = name.split(".")
        # The last component is the tensor's own name.
        for index, component in enumerate(components[:-1]):
            if index >= len(way) or component != way[index]:
                yield component
                break
