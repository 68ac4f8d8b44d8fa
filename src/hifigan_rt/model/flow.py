"""Puts the flow of a voice in front of its decoder, out of a checkpoint that holds both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hifigan_rt.config import GeneratorConfig
from hifigan_rt.errors import CheckpointError, ConfigError
from hifigan_rt.families.flow import UnknownFlow, couplings_of_state, fold_flow
from hifigan_rt.formats.checkpoint.reader import Checkpoint


def add_flow(config: GeneratorConfig, checkpoint: Checkpoint, weights: dict[str, np.ndarray]) -> GeneratorConfig:
    """Put the flow of a voice in front of its decoder.

    Args:
        config: the decoder's.
        checkpoint: holds the flow's parameters.
        weights: the decoder's, by the original's names; the flow's are put beside them.

    Returns:
        The config of both.

    Raises:
        CheckpointError: there is no flow, or another than VITS has.
    """
    if checkpoint.voice is None:
        raise CheckpointError("it holds a vocoder alone: no flow of a voice lies beside it")
    try:
        couplings, order = couplings_of_state(checkpoint.flow, is_conditioned=config.conditioning_channels > 0)
        flow, tensors = fold_flow(couplings)
        changed = replace(config, flow=flow)
    except (UnknownFlow, ConfigError) as error:
        raise CheckpointError(f"the flow of its voice is another than VITS has: {error}") from error
    weights |= tensors
    weights["conv_pre.weight"] = weights["conv_pre.weight"][:, np.argsort(order)]
    return changed
