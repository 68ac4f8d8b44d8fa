"""The original's checkpoints (jik876/hifi-gan): `g_*` files of its train.py, and bare state dicts of its generator."""

from __future__ import annotations

import re
from collections.abc import Collection

from hifigan_rt.errors import CheckpointError
from hifigan_rt.families.family import Family
from hifigan_rt.formats.checkpoint import describe, describe_keys, holds_tensors
from hifigan_rt.formats.config_json import parse_config

_TRAINING_KEYS = {"mpd", "msd", "optim_g", "optim_d"}
"""Keys of the original's do_* files (train.py)."""

_LAYERS = (
    re.compile(r"conv_pre\."),
    re.compile(r"ups\.\d{1,4}\."),
    re.compile(r"resblocks\.\d{1,4}\.(convs1|convs)\.\d{1,4}\."),
)


def _find_state(root: dict[object, object]) -> dict[object, object] | None:
    if "generator" in root:
        state = root["generator"]
        if isinstance(state, dict) and holds_tensors(state):
            return state
        found = describe_keys(state) if isinstance(state, dict) else describe(state)
        raise CheckpointError(f"holds no weights under its key 'generator', but {found}")
    if holds_tensors(root):
        return root
    if root.keys() & _TRAINING_KEYS:
        raise CheckpointError(
            f"is the discriminators and optimisers of a training run (a do_* file), with the keys "
            f"{describe_keys(root)}: the generator is in the g_* file beside it"
        )
    return None


def _recognises(names: Collection[str]) -> bool:
    return all(any(layer.match(name) for name in names) for layer in _LAYERS)


ORIGINAL = Family(
    name="jik876/hifi-gan",
    layers="conv_pre, ups.N, resblocks.N and conv_post",
    places="a key 'generator' or bare weights",
    find_state=_find_state,
    recognises=_recognises,
    rename=str,
    parse_config=parse_config,
)
