"""Picks the mel of a file that holds several arrays.

By default it is the array named "mel", else the only one. A name given by the user is that of an array: its key, or its
keys with dots between where containers hold it, as in outputs.mel_postnet; indices of lists and tuples count as keys.
A file that is one array without a name has nothing to choose from, and is taken as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hifigan_rt.errors import MelError
from hifigan_rt.formats.checkpoint import OpaqueObject

MEL_KEY = "mel"

_LISTED = 8
"""Names that an error lists."""


def pick_array(tree: object, name: str | None) -> np.ndarray:
    """Pick the mel in what `read_tensors` gave.

    Args:
        tree: an array, or containers of arrays and other things.
        name: of the array, or None.

    Raises:
        MelError: the array is not there, or no name was given and it could be one of several.
    """
    if isinstance(tree, np.ndarray):
        return tree
    top = dict(_items(tree))
    if name is None and isinstance(top.get(MEL_KEY), np.ndarray):
        return np.asarray(top[MEL_KEY])
    found = list(_arrays(tree, ""))
    if name is None:
        # What lies deeper is something else beside what lies at the top.
        found = [(key, value) for key, value in _items(tree) if isinstance(value, np.ndarray)] or found
    opaque = tree if isinstance(tree, OpaqueObject) else top.get(MEL_KEY, next(iter(top.values()), None))
    if isinstance(opaque, OpaqueObject) and (not found or (name is None and MEL_KEY in top)):
        raise MelError(f"holds {opaque.NOUN} and no array of numbers: np.save('mel.npy', mel.astype('float32'))")
    index = pick_name([key for key, _ in found], name)
    return found[index][1]


def pick_name(names: Sequence[str], name: str | None) -> int:
    """Pick the mel among the names of all arrays, and tell its index.

    Raises:
        MelError: the name is not there or there twice, or no name was given and it could be one of several.
    """
    wanted = MEL_KEY if name is None else name
    if names.count(wanted) == 1:
        return names.index(wanted)
    if name is None and len(names) == 1:
        return 0
    if not names:
        raise MelError("holds no array")
    listed = ", ".join(sorted(names)[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    held = f"holds {len(names)} array{'s' if len(names) > 1 else ''} ({listed})"
    if name is None:
        raise MelError(f"{held}: one is needed, or one named {MEL_KEY!r}; --mel-at NAME takes one (mel_at= in Python)")
    raise MelError(f"{held}, and {'none' if name not in names else 'several'} at {name!r}, which --mel-at names")


def _items(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((str(index), item) for index, item in enumerate(value))


def _arrays(value: object, above: str) -> Iterator[tuple[str, np.ndarray]]:
    for key, item in _items(value):
        if isinstance(item, np.ndarray):
            yield f"{above}{key}", item
        else:
            yield from _arrays(item, f"{above}{key}.")
