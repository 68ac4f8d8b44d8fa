"""The mels that candidates are measured on: a user's recordings or mel files, else a sample that is made here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifigan_rt.audio import AUDIO_SUFFIXES, prepare, read_audio
from hifigan_rt.config import MelConfig
from hifigan_rt.errors import ConfigError, DatasetError
from hifigan_rt.mel.analysis import LOG_MEL_RANGE, compute_mel
from hifigan_rt.mel.files import read_mel_file
from hifigan_rt.tools.bulk.synthesis import MEL_SUFFIXES
from hifigan_rt.tools.datasets import LeftOut, find_inputs
from hifigan_rt.tools.tables import counted

SAMPLE_NAME = "built-in sample (made from a seed)"
LATENTS_NAME = "normal distribution (from a seed)"
_SEED = 0
_MOST_SAMPLE_FRAMES = 1 << 16


@dataclass(frozen=True)
class MelData:
    """One long mel and where it comes from."""

    mel: np.ndarray
    """float32 `[M, T]`."""
    name: str
    notes: tuple[str, ...] = ()
    """What folders hold beside the clips, and what is odd about recordings."""


def sample_mel(num_mels: int, frames: int) -> np.ndarray:
    """Make a log-mel `[M, T]` with the look of speech: syllables with formants, hisses, pauses.

    Always the same for the same arguments; a shorter one is the beginning of a longer one. The arithmetic of an engine
    does not depend on the values, but silence and noise alone would hide what a real mel shows: clipping, denormals.
    """
    rng = np.random.default_rng(_SEED)
    height = (np.arange(num_mels) / max(1, num_mels - 1))[:, None]
    parts: list[np.ndarray] = []
    made = 0
    while made < frames:
        length = int(rng.integers(6, 22))
        kind = rng.choice(3, p=(0.6, 0.2, 0.2))
        time = np.linspace(0, 1, length)[None]
        formants = rng.uniform((0.05, 0.25, 0.5), (0.2, 0.5, 0.8)) + rng.uniform(-0.08, 0.08, 3)
        glide, pitch, noise = rng.uniform(-0.1, 0.1), rng.uniform(12, 30), rng.standard_normal((num_mels, length))
        if kind == 0:
            bumps = sum(3.0 * np.exp(-(((height - place - glide * time) / 0.06) ** 2)) for place in formants)
            ripple = 0.8 * np.cos(2 * np.pi * pitch * height) * np.exp(-4 * height)
            level = -6.0 - 4.0 * height + bumps + ripple + 2.0 * np.sin(np.pi * time)
        elif kind == 1:
            level = -9.5 + 5.5 * height + 1.5 * np.sin(np.pi * time)
        else:
            level = np.full((num_mels, length), -10.8)
        parts.append(np.clip(level + 0.3 * noise, *LOG_MEL_RANGE).astype(np.float32))
        made += length
    return np.ascontiguousarray(np.concatenate(parts, axis=1)[:, :frames])


def sample_data(num_mels: int, frames: int, *, latents: bool = False) -> MelData:
    """The built-in sample, or latents of a normal distribution; beyond 65536 frames it is repeated like other data."""
    frames = min(frames, _MOST_SAMPLE_FRAMES)
    if latents:
        return MelData(np.random.default_rng(_SEED).standard_normal((num_mels, frames), np.float32), LATENTS_NAME)
    return MelData(sample_mel(num_mels, frames), SAMPLE_NAME)


def input_data(
    names: Sequence[str],
    config: MelConfig | None,
    num_mels: int,
    frames: int,
    mel_at: str | None = None,
    *,
    latents: bool = False,
) -> MelData:
    """Read recordings and mel files, in the order of their names, one behind the other, until `frames` are there.

    Recordings are resampled and mixed down as needed. Each one's own mel is computed, so that no frame spans two.

    Raises:
        DatasetError: nothing was found, or something named is not there.
        AudioError, MelError: a file cannot be read.
        ConfigError: there are recordings, and the mel settings are not known.
    """
    left_out = LeftOut()
    inputs = find_inputs(names, AUDIO_SUFFIXES | MEL_SUFFIXES, left_out=left_out)
    for entry in inputs:
        if entry.problem is not None:
            raise DatasetError(entry.problem)
    mels: list[np.ndarray] = []
    notes = list(left_out.note)
    for entry in inputs:
        if entry.path.suffix.lower() in MEL_SUFFIXES:
            mel: np.ndarray = read_mel_file(entry.path, num_mels, mel_at=mel_at)
        elif latents:
            raise ConfigError(f"the model takes latents, and {str(entry.path)!r} holds none: give files of latents")
        elif config is None:
            raise ConfigError(
                f"the mel of {str(entry.path)!r} cannot be computed, since the model's mel settings are not known: "
                "give its config.json with --config, or mel files as --input"
            )
        else:
            recording = read_audio(entry.path)
            if recording.note is not None:
                notes.append(f"{entry.path.name!r}: {recording.note}")
            mel = compute_mel(prepare(recording, config.sample_rate, resample_allowed=True, mono_allowed=True), config)
        mels.append(mel)
        if sum(entry.shape[1] for entry in mels) >= frames:
            break
    mel = np.concatenate(mels, axis=1)
    # Only last names: the rest says something about a person's machine, not about the result.
    named = ", ".join(dict.fromkeys(Path(name).name or name for name in names))
    clips = counted(len(mels), "clip")
    return MelData(mel, f"{named} ({clips}, {mel.shape[1]} frames)", tuple(notes))


def crops(mel: np.ndarray, batch: int, frames: int) -> np.ndarray:
    """A batch `[B, M, frames]` of different crops; the mel is repeated where it is too short.

    The crops start evenly spread, so that they overlap as little as the data allow.
    """
    total = mel.shape[1]
    columns = np.arange(frames)[None] + (np.arange(batch) * total // batch)[:, None]
    return np.ascontiguousarray(mel[:, columns % total].transpose(1, 0, 2), dtype=np.float32)
