"""The families of checkpoints: each a module that tells its files by their tensors, and brings them to one form.

The original is jik876/hifi-gan: its parameter names are those of `hifigan_rt.graph`. Relatives have the same network
under other names, in other containers, with other configs; a family is a row of `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from hifigan_rt.errors import CheckpointError
from hifigan_rt.families.choice import choose_generator, list_layers
from hifigan_rt.families.coqui import COQUI
from hifigan_rt.families.family import Family
from hifigan_rt.families.original import NESTED, ORIGINAL
from hifigan_rt.families.parallel_wavegan import PARALLEL_WAVEGAN, PARALLEL_WAVEGAN_CAUSAL
from hifigan_rt.families.speechbrain import SPEECHBRAIN
from hifigan_rt.families.transformers import TRANSFORMERS
from hifigan_rt.formats.checkpoint import Checkpoint, read_state

FAMILIES: tuple[Family, ...] = (
    TRANSFORMERS, SPEECHBRAIN, PARALLEL_WAVEGAN_CAUSAL, PARALLEL_WAVEGAN, NESTED, COQUI, ORIGINAL,
)  # fmt: skip
"""All that are read, in the order in which they are asked."""


def read_checkpoint(path: Path, weights_at: str | None = None) -> Checkpoint:
    """Read the generator's tensors of a checkpoint of any family, wherever they are in it, under the file's own names.

    Args:
        path: the file.
        weights_at: the way to the generator, as in `state_dict.ema`, for a file with several.

    Raises:
        CheckpointError: not a checkpoint, without a generator or with several, damaged, or over the limits.
        UnsafeCheckpoint: it asks for something outside the allow-list.
    """
    return read_state(path, lambda root: choose_generator(root, FAMILIES, path, weights_at))


def recognise(names: Collection[str]) -> Family:
    """Tell the family by the names of its tensors; no config is needed.

    Raises:
        CheckpointError: it is none that is known.
    """
    for family in FAMILIES:
        if family.recognises(names):
            return family
    raise CheckpointError(
        f"these are not the weights of a HiFi-GAN generator, which has {list_layers(FAMILIES)}; there are "
        f"{len(names)} tensors, first {', '.join(list(names)[:5]) or 'nothing'}"
    )
