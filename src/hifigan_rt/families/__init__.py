"""The families of checkpoints: each a module that tells its files by their tensors, and brings them to one form.

The original is jik876/hifi-gan: its parameter names are those of `hifigan_rt.graph`. Relatives have the same network
under other names, in other containers, with other configs; a family is a row of `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from hifigan_rt.errors import CheckpointError
from hifigan_rt.families.family import Family
from hifigan_rt.families.original import ORIGINAL
from hifigan_rt.formats.checkpoint import WRAPPER_PREFIX, Checkpoint, describe_keys, read_state

FAMILIES: tuple[Family, ...] = (ORIGINAL,)
"""All that are read, in the order in which they are asked; the original is the last, since it takes any tensors."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the generator's tensors of a checkpoint of any family, under the file's own names.

    Raises:
        CheckpointError: not a checkpoint, not one of a generator, damaged, or over the limits.
        UnsafeCheckpoint: it asks for something outside the allow-list.
    """
    return read_state(path, _find_state)


def recognise(names: Collection[str]) -> Family:
    """Tell the family by the names of its tensors; no config is needed.

    Raises:
        CheckpointError: it is none that is known.
    """
    for family in FAMILIES:
        if family.recognises(names):
            return family
    layers = ", or ".join(family.layers for family in FAMILIES)
    raise CheckpointError(
        f"these are not the weights of a HiFi-GAN generator, which has {layers}; the file holds {len(names)} tensors, "
        f"first {', '.join(list(names)[:5]) or 'nothing'}"
    )


def _find_state(root: dict[object, object]) -> dict[object, object]:
    states = []
    for family in FAMILIES:
        state = family.find_state(root)
        if state is None:
            continue
        if family.recognises([str(name).removeprefix(WRAPPER_PREFIX) for name in state]):
            return state
        states.append(state)
    if states:
        return states[0]
    places = ", or ".join(family.places for family in FAMILIES)
    raise CheckpointError(f"holds no generator: {places} are needed, its keys are {describe_keys(root)}")
