"""The sound of clips as the page takes it: FLAC in base64 and the F0 contour, in the page or in a script of its own.

A page opened from disk may not read files (browsers forbid `fetch` there), but it may run scripts that lie beside it.
So clips that are not in the page are scripts that hand over the same payload.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.audio import read_audio, resample, to_mono, write_audio
from hifigan_rt.errors import AudioError
from hifigan_rt.system.files import atomic_writer
from hifigan_rt.tools.evaluation.metrics.correlation import SAMPLE_RATE as PITCH_SAMPLE_RATE
from hifigan_rt.tools.evaluation.metrics.pitch import F0_CEIL_HZ, F0_FLOOR_HZ, track_pitch
from hifigan_rt.tools.evaluation.results import EvaluationResult

EMBEDDED_CLIPS = 20
"""In the page itself; at six seconds and two signals each, about 9 MB."""

CLIPS_FOLDER = "clips"

F0_FRAME_SECONDS = 0.01
"""Every second frame of the tracker: finer than a pixel of a five-second picture."""

_OURS = re.compile(r"[0-9a-f]{16}\.js")
_F0_STEPS = 254


def payload(result: EvaluationResult, index: int, folder: Path) -> dict[str, Any]:
    """Everything to hear and draw of one clip: per signal, recording first, its FLAC and F0, or why there is none.

    The FLAC has 16 bits, which ears do not tell from the 24 that were measured, and half of the bytes.
    """
    clip = result.clips[index]
    rows = {row.system: row for row in result.scores if row.clip == clip.name}
    tracks = [_track(folder, clip.reference, clip.problem or "there is no recording")]
    for system in result.systems:
        row = rows.get(system.name)
        absent = (row.failed if row else None) or "there is no audio"
        tracks.append(_track(folder, row.audio if row else None, absent))
    return {"tracks": tracks}


def embedded_clips(result: EvaluationResult, count: int = EMBEDDED_CLIPS) -> list[int]:
    """Indices of the clips that go into the page: the worst of each metric first, then in the order of the data set."""
    by_name = {clip.name: index for index, clip in enumerate(result.clips)}
    ranks = max((len(entry.worst) for entry in result.summaries), default=0)
    worst = (entry.worst[rank].clip for rank in range(ranks) for entry in result.summaries if rank < len(entry.worst))
    wanted = dict.fromkeys([by_name[name] for name in worst if name in by_name][: count // 2])
    wanted |= dict.fromkeys(range(len(result.clips)))
    return sorted(list(wanted)[:count])


def write_script(content: dict[str, Any], folder: Path) -> str:
    """Write a payload as a script, under a name that its content makes, so that older pages keep what they mean.

    Returns:
        Its path relative to the report's folder.
    """
    text = json.dumps(content, separators=(",", ":"))
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    with atomic_writer(folder / CLIPS_FOLDER / f"{name}.js") as file:
        file.write(f'hifiganClip("{name}",{text});\n'.encode())
    return f"{CLIPS_FOLDER}/{name}.js"


def remove_unused(folder: Path, used: set[str]) -> None:
    """Delete scripts of earlier reports in this folder; nothing else is touched."""
    for path in (folder / CLIPS_FOLDER).glob("*.js"):
        if _OURS.fullmatch(path.name) and f"{CLIPS_FOLDER}/{path.name}" not in used:
            path.unlink(missing_ok=True)


def encode_f0(f0_hz: np.ndarray) -> bytes:
    """F0 on a logarithmic scale in single bytes: 0 unvoiced, 1 to 255 from `F0_FLOOR_HZ` to `F0_CEIL_HZ` (16 cents)."""
    octaves = np.log2(np.maximum(f0_hz, F0_FLOOR_HZ) / F0_FLOOR_HZ) / np.log2(F0_CEIL_HZ / F0_FLOOR_HZ)
    return np.where(f0_hz > 0, 1 + np.rint(octaves.clip(0, 1) * _F0_STEPS), 0).astype(np.uint8).tobytes()


def _track(folder: Path, relative: str | None, absent: str) -> dict[str, str]:
    if relative is None:
        return {"problem": absent}
    try:
        recording = read_audio(folder / relative)
    except AudioError as error:
        return {"problem": str(error)}
    samples = to_mono(recording.samples)
    flac = io.BytesIO()
    write_audio(flac, samples, recording.sample_rate, "pcm16", "flac")
    f0_hz = track_pitch(resample(samples, recording.sample_rate, PITCH_SAMPLE_RATE).astype(np.float64)).f0_hz
    return {"flac": _text(flac.getvalue()), "f0": _text(encode_f0(f0_hz[::2]))}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
