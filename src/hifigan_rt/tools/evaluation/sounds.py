"""The sound of clips as the report's page takes it: FLAC in base64 and the F0 contour, in a script per clip.

A page opened from disk may not read files (browsers forbid `fetch` there), but it may run scripts that lie beside it.
Scripts are written while the metrics are computed, from the same samples and pitch tracks; the report makes those that
are missing, or do not hold what was written: each ends with its own digest.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.audio import write_audio
from hifigan_rt.errors import AudioError, OutputError
from hifigan_rt.system.files import atomic_writer
from hifigan_rt.system.versions import own_version
from hifigan_rt.tools.evaluation.metrics import Signal
from hifigan_rt.tools.evaluation.metrics.pitch import F0_CEIL_HZ, F0_FLOOR_HZ, PitchTrack, track
from hifigan_rt.tools.evaluation.signal_files import SignalFiles, digest_of

CLIPS_FOLDER = "clips"

F0_FRAME_SECONDS = 0.01
"""Every second frame of the tracker: finer than a pixel of a five-second picture."""

_CROPPED_SECONDS = 0.1
"""A track that lacks no more of the end is drawn as that of the whole signal: metrics crop a pair to one length."""

_F0_STEPS = 254
_OURS = re.compile(r"[0-9a-f]{16}\.js")
_SCRIPT = re.compile(rb'(hifiganClip\("(\w+)",(.*)\);\n)// sha256 ([0-9a-f]{64})\n', re.DOTALL)


@dataclass(frozen=True)
class SoundTrack:
    """One signal of a clip: the recording or a system's audio."""

    audio: str | None
    """Path of the file; None if there is none."""
    absent: str
    """Why there is none, if so."""


def clip_tracks(folder: Path, signals: Sequence[tuple[str | None, str | None]]) -> tuple[SoundTrack, ...]:
    """The tracks of a clip.

    Args:
        folder: the evaluation's.
        signals: of the recording, then of each system: the path below the folder, or None and why there is none.
    """
    absent = ("there is no recording", *["there is no audio"] * (len(signals) - 1))
    return tuple(
        SoundTrack(None if path is None else str(folder / path), why or default)
        for (path, why), default in zip(signals, absent, strict=True)
    )


def script_path(folder: Path, tracks: Sequence[SoundTrack]) -> Path:
    """The script of a clip, named after what its files hold, so that older pages keep what they mean.

    Args:
        folder: the evaluation's.
        tracks: as `clip_tracks` gave them.
    """
    held = [own_version(), *(_held(entry) for entry in tracks)]
    return folder / CLIPS_FOLDER / f"{hashlib.sha256(json.dumps(held).encode()).hexdigest()[:16]}.js"


def sound_of(tracks: Sequence[SoundTrack], signals: SignalFiles) -> dict[str, Any]:
    """Everything to hear and draw of one clip: per track its FLAC and F0, or why there is none.

    The FLAC has 16 bits, which ears do not tell from the floats that were measured but for what clips; see `overshoot`.

    Args:
        tracks: as `clip_tracks` gave them.
        signals: gives the samples, and the pitch tracks that the metrics took.
    """
    return {"tracks": [_sound(entry, signals) for entry in tracks]}


def write_script(content: dict[str, Any], path: Path) -> None:
    """Write what `sound_of` gave as a script.

    Raises:
        OutputError: it could not be written.
    """
    text = json.dumps(content, separators=(",", ":"))
    call = f'hifiganClip("{path.stem}",{text});\n'.encode()
    with atomic_writer(path) as file:
        file.write(call + f"// sha256 {hashlib.sha256(call).hexdigest()}\n".encode())


def read_script(path: Path) -> dict[str, Any] | None:
    """What `write_script` wrote; None if there is no such file, or it holds something else."""
    text = _written_content(path)
    content: dict[str, Any] | None = None if text is None else json.loads(text)
    return content


def is_script(path: Path) -> bool:
    """Whether a file is as `write_script` wrote it, under the name that it got."""
    return _written_content(path) is not None


def _written_content(path: Path) -> bytes | None:
    try:
        found = None if path.is_symlink() else _SCRIPT.fullmatch(path.read_bytes())
    except OSError:
        return None
    if found is None or found[2] != path.stem.encode() or hashlib.sha256(found[1]).hexdigest() != found[4].decode():
        return None
    return found[3]


def remove_scripts(folder: Path, *, but: set[Path]) -> None:
    """Delete the scripts of a folder but those that a page uses, and the place of scripts if it is empty."""
    for path in (folder / CLIPS_FOLDER).glob("*.js"):
        if _OURS.fullmatch(path.name) and path not in but:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # missing, or not empty
        (folder / CLIPS_FOLDER).rmdir()


def encode_f0(f0_hz: np.ndarray) -> bytes:
    """F0 on a logarithmic scale in single bytes: 0 unvoiced, 1 to 255 from `F0_FLOOR_HZ` to `F0_CEIL_HZ` (16 cents)."""
    octaves = np.log2(np.maximum(f0_hz, F0_FLOOR_HZ) / F0_FLOOR_HZ) / np.log2(F0_CEIL_HZ / F0_FLOOR_HZ)
    return np.where(f0_hz > 0, 1 + np.rint(octaves.clip(0, 1) * _F0_STEPS), 0).astype(np.uint8).tobytes()


def _held(entry: SoundTrack) -> str:
    if entry.audio is None:
        return entry.absent
    try:
        return digest_of(Path(entry.audio))
    except OSError as error:
        return f"{error.strerror}"


def _sound(entry: SoundTrack, signals: SignalFiles) -> dict[str, str]:
    if entry.audio is None:
        return {"problem": entry.absent}
    flac = io.BytesIO()
    try:
        signal = signals.read(entry.audio)
        write_audio(flac, signal.given, signal.sample_rate, "pcm16", "flac")
    except (AudioError, OutputError) as error:
        return {"problem": str(error)}
    return {"flac": _text(flac.getvalue()), "f0": _text(encode_f0(_pitch(signal).f0_hz[::2]))}


def _pitch(signal: Signal) -> PitchTrack:
    """The track that a metric took, unless it ends too early."""
    for beginning in signal.beginnings():
        lacking_s = (len(signal) - len(beginning)) / signal.sample_rate
        if beginning.is_analysed(PitchTrack) and lacking_s <= _CROPPED_SECONDS:
            return track(beginning)
    return track(signal)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
