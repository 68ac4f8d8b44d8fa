"""The steps of the Ascend chain, as a user types them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cli.running import hifigan
from golden.tiny import tiny_mel

OM = "generator_bs1.om"
"""What `export` makes, if nothing else is asked for."""


def mels(*lengths: int, folder: str = "mels") -> None:
    Path(folder).mkdir()
    for index, frames in enumerate(lengths):
        np.save(f"{folder}/{index}-{frames}.npy", tiny_mel(frames, seed=index))


def export(*arguments: str, status: int = 0):
    return hifigan("export", "om", "model", *arguments, status=status)


def synth(*arguments: str, model: str = OM, status: int = 0):
    words = ("--engine", "ascend", "--model", model, "--encoding", "float", "--quiet")
    return hifigan("synth", *arguments, *words, status=status)
