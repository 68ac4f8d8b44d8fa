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

_WRAPPER = r"(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)"
"""Names that DistributedDataParallel, torch.compile, FSDP and activation checkpointing put before those of a module."""

_WRAPPERS = re.compile(rf"(?:(?<=\.)|\A){_WRAPPER}\.")
_LAST_WRAPPERS = re.compile(rf"(?:\.{_WRAPPER})+\Z")

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

    @property
    def address(self) -> str:
        """The way to it in one text, as a user names it; "." for the top level of the file."""
        return ".".join((*self.place, *self.prefix.split("."))).strip(".") or "."

    @property
    def home(self) -> str:
        """Its address as it was before it was wrapped alone."""
        return _LAST_WRAPPERS.sub("", self.address)

    def is_same(self, other: Group) -> bool:
        """Tell whether both are views of the same numbers in the file."""

        def numbers(group: Group) -> list[object]:
            tensors = (placed.tensor for _, placed in sorted(group.tensors.items()))
            return [(tensor.storage, tensor.dtype, tensor.offset, tensor.shape, tensor.strides) for tensor in tensors]

        return self.tensors.keys() == other.tensors.keys() and numbers(self) == numbers(other)


def find_groups(tensors: Sequence[PlacedTensor], families: Sequence[Family]) -> tuple[list[Group], Group | None]:
    """Find every generator among the tensors of a file, in its order.

    Returns:
        The generators, and the largest group that only begins like one.

    Raises:
        CheckpointError: a name stands twice in a group.
    """
    named = [(placed, placed.name) for placed in tensors]
    begins = _beginnings(named, families)
    whole: dict[str, Group] = {}
    partial: Group | None = None
    # The longest first: what belongs to a group is no part of the one around it.
    for prefix in sorted(begins, key=len, reverse=True):
        group = _gather(prefix, begins[prefix], named, families)
        if group.family is not None:
            whole[prefix] = group
            members = {id(placed) for placed in group.tensors.values()}
            named = [(placed, name) for placed, name in named if id(placed) not in members]
        elif partial is None or len(group.tensors) > len(partial.tensors):
            partial = group
    return [whole[prefix] for prefix in begins if prefix in whole], partial


def unwrapped(name: str) -> str:
    """A name without what wrappers of PyTorch put into it."""
    return _WRAPPERS.sub("", name)


def find_neighbours(group: Group, tensors: Iterable[PlacedTensor]) -> set[str]:
    """Collect what lies beside a group, on every level of the tree: the components in which names leave its prefix."""
    way = [component for component in ".".join((*group.place, group.prefix)).split(".") if component]
    members = {id(placed) for placed in group.tensors.values()}
    found = set()
    for placed in tensors:
        if id(placed) in members:
            continue
        # The last component is the tensor's own name.
        for index, component in enumerate(placed.name.split(".")[:-1]):
            if way[index : index + 1] != [component]:
                found.add(component)
                break
    return found


def _beginnings(named: Iterable[tuple[PlacedTensor, str]], families: Sequence[Family]) -> dict[str, tuple[str, ...]]:
    """The prefixes behind which a family's first layer stands, and the dictionary where it does."""
    begins: dict[str, tuple[str, ...]] = {}
    for placed, name in named:
        for family in families:
            for match in family.first_layer.finditer(name):
                at = match.start()
                if len(begins) < _MAX_PREFIXES and name[max(0, at - 1) : at] in ("", "."):
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
    named: Iterable[tuple[PlacedTensor, str]],
    families: Sequence[Family],
) -> Group:
    parts = frozenset(part for family in families for part in family.parts)
    tensors: dict[str, PlacedTensor] = {}
    for placed, full in named:
        if not placed.is_named or not full.startswith(prefix) or placed.path[: len(place)] != place:
            continue
        name = unwrapped(full[len(prefix) :])
        if len(placed.path) > len(place) + 1 and name.partition(".")[0] not in parts:
            continue
        if name in tensors:
            raise CheckpointError(f"holds {full} twice, once as wrappers of PyTorch name it: a layer needs one")
        tensors[name] = placed
    family = next((family for family in families if family.recognises(tensors)), None)
    if family is not None and family.ignored is not None:
        tensors = {name: placed for name, placed in tensors.items() if not family.ignored.match(name)}
    within = ".".join(place)
    return Group(family, place, prefix[len(within) + 1 :] if within else prefix, tensors)
