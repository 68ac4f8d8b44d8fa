"""Reads checkpoints without PyTorch and without running anything that they hold.

    bytes --detect--> torch_files or safetensors_file --Tree--> reader --weight_norm--> {name: array}

Both of PyTorch's serialisations are pickles; they are read by `pickle_machine`, which knows the few opcodes that
torch.save writes and resolves no name outside `torch_objects`. Tensors stay descriptions (`tensors.LazyTensor`) until
their values are needed, so that an optimiser's state beside the weights costs nothing.
"""

from __future__ import annotations

from hifigan_rt.formats.checkpoint.opaque import OpaqueObject
from hifigan_rt.formats.checkpoint.pickle_machine import describe, unsafe
from hifigan_rt.formats.checkpoint.reader import Checkpoint, Selection, describe_keys, read_state, read_tensors
from hifigan_rt.formats.checkpoint.tensors import LazyTensor
from hifigan_rt.formats.checkpoint.tree import PlacedTensor, dictionaries_around, list_opaque, list_tensors

__all__ = [
    "Checkpoint",
    "LazyTensor",
    "OpaqueObject",
    "PlacedTensor",
    "Selection",
    "describe",
    "describe_keys",
    "dictionaries_around",
    "list_opaque",
    "list_tensors",
    "read_state",
    "read_tensors",
    "unsafe",
]
