"""The steps of the Ascend chain, as a user types them."""

from __future__ import annotations

import os
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


_EXPORTED: dict[tuple, dict[str, tuple[bytes, int]]] = {}


def exported(*arguments: str) -> None:
    """What `export` leaves in the folder, for tests of what follows: made once for one setting of the simulator."""
    key = arguments, tuple(sorted(item for item in os.environ.items() if item[0].startswith("SIM_")))
    if key not in _EXPORTED:
        before = set(Path().iterdir())
        export(*arguments)
        made = set(Path().iterdir()) - before
        _EXPORTED[key] = {path.name: (path.read_bytes(), path.stat().st_mode) for path in made}
    for name, (content, mode) in _EXPORTED[key].items():
        Path(name).write_bytes(content)
        Path(name).chmod(mode)


def synth(*arguments: str, model: str = OM, status: int = 0):
    words = ("--engine", "ascend", "--model", model, "--encoding", "float", "--quiet")
    return hifigan("synth", *arguments, *words, status=status)
