"""Chooses the generator in what a file holds, and says of a file without one what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hifigan_rt.errors import CheckpointError
from hifigan_rt.families.family import Family
from hifigan_rt.families.groups import Group, find_groups, find_neighbours, unwrapped
from hifigan_rt.families.other_networks import (
    describe_file,
    describe_head,
    list_names,
    network_neighbours,
)
from hifigan_rt.families.voices import find_flow, find_speaker_table, find_voice
from hifigan_rt.formats.checkpoint import (
    LazyTensor,
    PlacedTensor,
    Selection,
    describe,
    describe_keys,
    dictionaries_around,
    list_opaque,
    list_tensors,
    unsafe,
)
from hifigan_rt.graph import SPEAKER_TABLE

_USUAL_ADDRESSES = (".", "generator")
"""Where the original has its weights: nothing needs to be said of them."""

_MAX_NOTES = 10
"""Entries that are named when they are left out."""


def choose_generator(
    root: object, families: Sequence[Family], path: Path, weights_at: str | None, *, with_flow: bool = False
) -> Selection:
    """Choose the one generator in a file, or the one that is named.

    Args:
        root: what the file holds.
        families: those that are known.
        path: the file, for texts.
        weights_at: the way to the generator that is wanted, as `Group.address` gives it, or to what holds it alone.
        with_flow: whether the tensors of a voice's flow are wanted as well.

    Raises:
        CheckpointError: there is none, or several; or it is a part of another network.
    """
    placed = list_tensors(root)
    groups, partial = find_groups(placed, families)
    if not groups:
        opaque = list_opaque(root)
        if opaque and not placed:
            # A whole model, in most cases.
            raise unsafe(f"an object of {opaque[0]}")
        if not isinstance(root, dict):
            raise CheckpointError(f"holds {describe(root)}: a dictionary of weights is needed")
        raise CheckpointError(_describe_none(root, placed, partial, families, path))
    group = _one_of(groups, weights_at)
    if empty := [placed.name for placed in group.tensors.values() if placed.tensor.shape == (0,)]:
        raise CheckpointError(
            f"holds tensors without elements ({list_names(empty)}), as each part of a checkpoint of DeepSpeed's ZeRO-3 "
            "does: join the parts with zero_to_fp32.py, which DeepSpeed puts into its folder"
        )
    neighbours = find_neighbours(group, placed)
    voice = find_voice(group, neighbours)
    if voice is None:
        _check_neighbours(group, neighbours, chosen=weights_at is not None)
    way = dictionaries_around(root, group.place)
    notes = (*_note_address(group), *_note_left_out(group, way[0]))
    tensors = {name: placed.tensor for name, placed in group.tensors.items()}
    if voice is not None and (table := find_speaker_table(group, placed, neighbours)) is not None:
        tensors[SPEAKER_TABLE] = table.tensor
        voice = replace(voice, parts=tuple(part for part in voice.parts if part not in table.name.split(".")))
    flow = find_flow(group, placed) if with_flow and voice is not None else {}
    if flow and voice is not None:
        voice = replace(voice, parts=tuple(part for part in voice.parts if part != "flow"))
    return Selection(tensors, notes, way, _find_statistics(group, placed), group.place, voice, flow)


def _find_statistics(group: Group, placed: Sequence[PlacedTensor]) -> tuple[LazyTensor, LazyTensor] | None:
    """Find mean and scale of the mels, under the names that the family has for them, at the generator or around it."""
    pairs = () if group.family is None else group.family.statistics
    tensors = {tensor.name: tensor.tensor for tensor in placed} if pairs else {}
    way = [] if group.address == "." else group.address.split(".")
    for length in range(len(way), -1, -1):
        for names in pairs:
            mean, scale = (".".join((*way[:length], name)) for name in names)
            if mean in tensors and scale in tensors:
                return tensors[mean], tensors[scale]
    return None


def list_layers(families: Sequence[Family]) -> str:
    """The layers that a generator has, as the original names them, and whose other names are known."""
    *others, original = families
    names = ", ".join(dict.fromkeys(family.name for family in others))
    return f"{original.layers}, or the names that {names} have for them"


def _one_of(groups: Sequence[Group], weights_at: str | None) -> Group:
    wanted = list(groups)
    if weights_at is not None:
        address = weights_at.strip(".") or "."
        wanted = [group for group in groups if group.address == address] or [
            group for group in groups if group.address.startswith(f"{address}.")
        ]
        if not wanted:
            raise CheckpointError(f"holds no generator at {weights_at!r}: {_list_addresses(groups)}")
    first = wanted[0]
    # One state dict is often saved under two keys.
    if all(group.is_same(first) for group in wanted[1:]):
        return first
    raise CheckpointError(
        f"holds {len(wanted)} generators, and only you know which one is wanted: {_list_addresses(wanted)}; name one "
        f"with --weights-at {first.address} (in Python weights_at={first.address!r})"
    )


def _list_addresses(groups: Sequence[Group]) -> str:
    return f"its generators are at {list_names((repr(group.address) for group in groups), shown=10)}"


def _check_neighbours(group: Group, neighbours: set[str], *, chosen: bool) -> None:
    head = describe_head(group.home.rpartition(".")[2], neighbours)
    if head is not None:
        raise CheckpointError(f"holds at {group.address!r} what seems to be {head}: it is not computed")
    at = f"at {group.address!r}"
    network = network_neighbours(neighbours)
    place = None if group.family is None else group.family.takes_mels_at
    # "generator" is a dictionary in the original's files; as a prefix it is one module of a network, as any other.
    is_usual = group.home in _USUAL_ADDRESSES and not unwrapped(group.prefix)
    takes_mels = is_usual or (place is not None and place.search(group.home))
    if network and not chosen and not takes_mels:
        raise CheckpointError(
            f"holds a generator {at} that is part of another network, by {list_names(network)} beside it, and may take "
            f"something else than mels: if it does take mels, say --weights-at {group.address} (in Python "
            f"weights_at={group.address!r})"
        )


def _note_address(group: Group) -> tuple[str, ...]:
    if group.address in _USUAL_ADDRESSES:
        return ()
    place = ".".join(group.place)
    if not group.prefix:
        return (f"the weights are taken from {place}",)
    return (f"the weights are taken from {place or 'the top level'}, prefix {group.prefix!r}",)


def _note_left_out(group: Group, holder: dict[object, object]) -> tuple[str, ...]:
    """What lies among the weights and is none of them."""
    ways = {placed.path[len(group.place)] for placed in group.tensors.values()}
    notes = []
    for key, value in holder.items():
        if isinstance(value, LazyTensor):
            if not isinstance(key, str):
                notes.append(f"left out the tensor of entry {describe(key)}, whose name is no text")
        elif str(key).startswith(group.prefix) and key not in ways:
            notes.append(f"left out entry {describe(key)}, which is {describe(value)} and no tensor")
    if len(notes) > _MAX_NOTES:
        notes[_MAX_NOTES:] = [f"left out {len(notes) - _MAX_NOTES} more entries of that kind"]
    return tuple(notes)


def _describe_none(
    root: dict[object, object],
    placed: Sequence[PlacedTensor],
    partial: Group | None,
    families: Sequence[Family],
    path: Path,
) -> str:
    names = [*(tensor.name for tensor in placed), *(str(key) for key in root)]
    layers = list_layers(families)
    keys = f"its keys are {describe_keys(root)}"
    seems = describe_file(names)
    if seems is not None:
        return f"holds no generator: it seems to be {seems}; {keys}"
    if not placed:
        return f"holds no tensors: {keys}" if root else "holds nothing but an empty dictionary"
    text = f"holds no generator, which has {layers} behind one common prefix; it has {len(placed)} tensors, "
    if partial is not None:
        text += _describe_partial(partial, families)
    else:
        text += f"first {list_names(tensor.name for tensor in placed)}"
    return f"{text}; {keys}.\n{_rewriting(path)}"


def _describe_partial(group: Group, families: Sequence[Family]) -> str:
    # Of families that are equally near, the original is the last.
    family = min(reversed(families), key=lambda family: len(family.absent(group.tensors)))
    odd = [name for name in group.tensors if not any(pattern.match(name) for pattern in family.needed.values())]
    odd.sort(key=lambda name: name.partition(".")[0] in family.parts)
    return (
        f"of which those at {group.address!r} lack {', '.join(family.absent(group.tensors))} and hold names that do "
        f"not fit: {list_names(odd)}"
    )


def _rewriting(path: Path) -> str:
    yours, reading = "KEY, OLD and NEW", f"state = torch.load({str(path)!r}, map_location='cpu')['KEY']"
    if path.suffix.lower() == ".safetensors":  # which torch.load does not read
        yours, reading = "OLD and NEW", f"import safetensors.torch; state = safetensors.torch.load_file({str(path)!r})"
    return (
        "If it holds one all the same, under other names, these lines of PyTorch write a file that is read "
        f"({yours} are yours to fill in):\n"
        f"  {reading}\n"
        "  torch.save({'generator': {name.replace('OLD', 'NEW'): tensor for name, tensor in state.items()}}, "
        "'generator.pth')"
    )
