"""The tiny generator as nodes of checkpoints, under any names, and what lies beside it."""

from __future__ import annotations

import re

import numpy as np

from checkpoint_files import Tensor
from golden.tiny import tiny_weights


def state(seed=0, *, prefix="", rename=str):
    """Weights of the tiny generator as nodes of a file, each in a storage of its own."""
    return {
        prefix + rename(name): Tensor(array, f"{seed}{prefix}{name}") for name, array in tiny_weights(seed=seed).items()
    }


def other(*names):
    return {name: Tensor(np.ones(3, np.float32), f"other {name}") for name in names}


def nested(name):
    """NVIDIA's name: the tiny generator has two blocks in each stage."""
    match = re.match(r"resblocks\.(\d)\.", name)
    return name if match is None else f"resblocks.{int(match[1]) // 2}.{int(match[1]) % 2}.{name[match.end() :]}"


def as_tree(flat):
    root = {}
    for name, value in flat.items():
        holder = root
        *keys, last = name.split(".")
        for key in keys:
            holder = holder.setdefault(key, {})
        holder[last] = value
    return root
