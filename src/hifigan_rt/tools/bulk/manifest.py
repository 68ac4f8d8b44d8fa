"""The manifest of an output folder: one line of JSON per finished or failed clip, so that a run can be resumed.

Each run appends: a line `{"kind": "run", ...}` with the settings, then `{"kind": "clip", ...}` lines. The last line
about an output counts. A line is written at once and in whole; one that an interruption tore is passed over.

Names are stored as Python's file-system strings, in pure ASCII: a byte that is not UTF-8 appears as the escape \\udcXX
and `os.fsencode(json.loads(line)["input"])` gives the exact bytes of the name back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hifigan_rt.tools.bulk.json_lines import JsonLinesWriter, read_objects

MANIFEST_NAME = "manifest.jsonl"

_TITLE = "manifest"


@dataclass(frozen=True)
class ClipRecord:
    """What the manifest says about one clip; None where a value does not apply."""

    input: str
    """Absolute path."""
    output: str
    """Path below the manifest's folder, with `/`."""
    status: Literal["ok", "failed"]
    settings: str
    """Digest of the settings that it was made with; the run's line spells them out."""
    error: str | None = None
    input_bytes: int | None = None
    input_mtime_ns: int | None = None
    input_ctime_ns: int | None = None
    input_sha256: str | None = None
    output_bytes: int | None = None
    output_sha256: str | None = None
    """Digest of the file that was written, by which `--resume` knows it."""
    output_mtime_ns: int | None = None
    """When it got to its place, where that is none of this machine's file systems."""
    input_samples: int | None = None
    """Length of the recording as the model takes it: mono, at the model's sample rate."""
    frames: int | None = None
    output_samples: int | None = None
    samples_dropped: int | None = None
    """Input samples after the last whole frame: they have no counterpart in the output."""
    clipped_samples: int | None = None
    audio_seconds: float | None = None
    compute_seconds: float | None = None
    mel_l1: float | None = None
    """Mean absolute difference of the log-mels of input and output, if it was asked for."""
    inexact_tail_frames: int | None = None
    """Frames at the end whose samples differ, because the engine had to pad the mel."""
    warnings: tuple[str, ...] = ()
    """Mels that look like another convention than the model's, or had to be padded."""
    notes: tuple[str, ...] = ()
    """What is odd about an input that could be read nevertheless."""
    conversions: tuple[str, ...] = ()
    """What the recording went through before its mel, as it was allowed: resampled, averaged to one channel."""


_FIELDS = {field.name for field in dataclasses.fields(ClipRecord)}


class ManifestWriter(JsonLinesWriter):
    """Appends to a manifest.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _TITLE)

    def start_run(
        self,
        digest: str,
        settings: Mapping[str, Any],
        left_out: Mapping[str, int] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Record the settings of the run whose clips follow, the number of files of each kind left out, and notes."""
        told = {"left_out": dict(left_out or {}), "notes": list(notes)}
        told = {name: value for name, value in told.items() if value}
        self.append_object({"kind": "run", "settings": digest, "values": dict(settings), **told})

    def append(self, record: ClipRecord) -> None:
        """Record one clip."""
        fields = {name: value for name, value in dataclasses.asdict(record).items() if value not in (None, ())}
        self.append_object({"kind": "clip", **fields})


@dataclass(frozen=True)
class ManifestContents:
    """What earlier runs left."""

    clips: Mapping[str, ClipRecord]
    """Records by output; the last line about each counts."""
    runs: int
    damaged_lines: int
    """Lines passed over, because they were torn or are not ours."""


def read_manifest(path: Path) -> ManifestContents:
    """Read a manifest; a missing one is empty.

    Raises:
        OutputError: it exists and cannot be read.
    """
    clips: dict[str, ClipRecord] = {}
    runs = damaged = 0
    for values in read_objects(path, _TITLE):
        if values is None:
            damaged += 1
        elif values.get("kind") == "run":
            runs += 1
        elif (record := _parse_record(values)) is not None:
            clips[record.output] = record
        else:
            damaged += 1
    return ManifestContents(clips, runs, damaged)


def _parse_record(values: Mapping[str, Any]) -> ClipRecord | None:
    known = {name: value for name, value in values.items() if name in _FIELDS}
    texts = [known.get(name) for name in ("input", "output", "settings")]
    if not all(isinstance(text, str) for text in texts) or known.get("status") not in ("ok", "failed"):
        return None
    for name in ("warnings", "notes", "conversions"):
        listed = known.get(name)
        known[name] = tuple(listed) if isinstance(listed, list) else ()
    return ClipRecord(**known)
