"""The families of checkpoints: each a module that tells its files by their tensors, and brings them to one form.

The original is jik876/hifi-gan: its parameter names are those of `hifigan_rt.graph`. Relatives have the same network
under other names, in other containers, with other configs; a family is a row of `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from hifigan_rt.errors import CheckpointError, ConfigError
from hifigan_rt.families.choice import choose_generator, list_layers
from hifigan_rt.families.coqui import COQUI
from hifigan_rt.families.family import Family
from hifigan_rt.families.original import NESTED, ORIGINAL
from hifigan_rt.families.parallel_wavegan import PARALLEL_WAVEGAN, PARALLEL_WAVEGAN_CAUSAL, imply_kept_rows
from hifigan_rt.families.speechbrain import SPEECHBRAIN
from hifigan_rt.families.transformers import TRANSFORMERS
from hifigan_rt.formats.checkpoint import Checkpoint, read_state

FAMILIES: tuple[Family, ...] = (
    TRANSFORMERS, SPEECHBRAIN, PARALLEL_WAVEGAN_CAUSAL, PARALLEL_WAVEGAN, NESTED, COQUI, ORIGINAL,
)  # fmt: skip
"""All that are read, in the order in which they are asked."""

READINGS: tuple[Family, ...] = (
    replace(ORIGINAL, key=PARALLEL_WAVEGAN.key, name="ParallelWaveGAN, renamed as the original", imply=imply_kept_rows),
)
"""Other readings of names that `FAMILIES` knows, for `--family`: weights that were renamed stay their project's."""


def read_checkpoint(path: Path, weights_at: str | None = None, *, with_flow: bool = False) -> Checkpoint:
    """Read the generator's tensors of a checkpoint of any family, wherever they are in it, under the file's own names.

    Args:
        path: the file.
        weights_at: the way to the generator, as in `state_dict.ema`, for a file with several.
        with_flow: whether the flow of a voice is wanted as well.

    Raises:
        CheckpointError: not a checkpoint, without a generator or with several, damaged, or over the limits.
        UnsafeCheckpoint: it asks for something outside the allow-list.
    """
    return read_state(path, lambda root: choose_generator(root, FAMILIES, path, weights_at, with_flow=with_flow))


def recognise(names: Collection[str], wanted: str | None = None) -> Family:
    """Tell the family by the names of its tensors; no config is needed.

    Args:
        names: of the tensors.
        wanted: key of the family whose reading is wanted, where the names leave several; None is the usual one.

    Raises:
        ConfigError: there is no family of such a key, or it does not read such names.
        CheckpointError: it is none that is known.
    """
    readings = [family for family in (*FAMILIES, *READINGS) if family.recognises(names)]
    found = next((family for family in readings if wanted in (None, family.key)), None)
    if found is not None:
        return found
    keys = dict.fromkeys(family.key for family in (*FAMILIES, *READINGS))
    if wanted not in (None, *keys):
        raise ConfigError(f"family={wanted!r} is not known: {', '.join(keys)} are")
    if readings:
        theirs = ", ".join(dict.fromkeys(family.key for family in readings))
        raise ConfigError(f"family={wanted!r} has other names for its tensors: these can be read as {theirs}")
    raise CheckpointError(
        f"these are not the weights of a HiFi-GAN generator, which has {list_layers(FAMILIES)}; there are "
        f"{len(names)} tensors, first {', '.join(list(names)[:5]) or 'nothing'}"
    )
