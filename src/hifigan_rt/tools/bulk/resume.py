"""Decides which clips an earlier run has finished: same input, same settings, and the output that was written then.

Outputs are believed by their contents alone. Size and time are not enough: after a power cut a file may be zeros of the
right length, and a copy or an editor can keep the time. Reading is cheap beside making: the results of LJSpeech (13,100
clips, 3.8 GB) take 4 s of one core from memory, or what the disk needs to give them. A line without a digest, as
earlier versions wrote them, proves nothing, and its clip is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hifigan_rt.errors import DatasetError
from hifigan_rt.system.files import file_sha256
from hifigan_rt.tools.bulk.manifest import ClipRecord

if TYPE_CHECKING:
    from hifigan_rt.tools.bulk.clip_files import ClipFiles
    from hifigan_rt.tools.bulk.outputs import Job


@dataclass(frozen=True)
class FileIdentity:
    """What tells one version of a file from another."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    """Time of the last change by the system's own account, which no copy and no `touch` can set."""
    sha256: str


def identify(path: Path) -> FileIdentity:
    """Read a file's identity.

    Raises:
        OSError: it cannot be read.
    """
    # Size and time before the contents: a change while hashing is then noticed by the next run.
    status = path.stat()
    return FileIdentity(status.st_size, status.st_mtime_ns, status.st_ctime_ns, file_sha256(path))


def settings_digest(settings: Mapping[str, Any]) -> str:
    """A short digest of everything that changes a result; the order of the keys does not matter."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


Verdict = Literal["finished", "open", "changed", "unproven", "of another", "unlisted"]
"""Finding about a clip: "changed" is an output that is not what was written, "unproven" one without a digest, "of
another" one that was made of another input, and "unlisted" one that no run is known to have made."""


def judge(record: ClipRecord | None, job: Job, files: ClipFiles, digest: str, figures: Collection[str] = ()) -> Verdict:
    """Hold what `record` says against the files as they are now, and `digest` of the settings.

    A clip is open as well if its record lacks one of the fields `figures`, which nobody asked for then.

    Of the input equal name, size and times are believed; otherwise the contents decide, so that a copied or touched
    data set is not done again.
    """
    if record is None:
        return "unlisted" if job.source.problem is None and files.taken(job) else "open"
    if record.status != "ok":
        return "open"
    try:
        renamed = record.input != files.name(job)
        if (record.settings != digest and not renamed) or not files.taken(job):
            return "open"
        if not _is_same_input(record, job, files):
            return "of another" if renamed else "open"
        if record.settings != digest:
            return "open"
    except (OSError, DatasetError):
        return "open"
    if record.output_sha256 is None:
        return "unproven"
    try:
        if not files.holds(job, record):
            return "changed"
    except (OSError, DatasetError):
        return "changed"
    return "open" if any(getattr(record, name) is None for name in figures) else "finished"


def _is_same_input(record: ClipRecord, job: Job, files: ClipFiles) -> bool:
    size_bytes, *times = files.version(job)
    if size_bytes != record.input_bytes:
        return False
    if record.input == files.name(job) and times == [record.input_mtime_ns, record.input_ctime_ns]:
        return True
    return files.sha256(job) == record.input_sha256
