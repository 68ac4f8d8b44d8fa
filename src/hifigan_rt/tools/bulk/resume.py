"""Decides which clips an earlier run has finished: same input, same settings, output still there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hifigan_rt.system.files import file_sha256
from hifigan_rt.tools.bulk.manifest import ClipRecord


@dataclass(frozen=True)
class FileIdentity:
    """What tells one version of a file from another."""

    size_bytes: int
    mtime_ns: int
    sha256: str


def identify(path: Path) -> FileIdentity:
    """Read a file's identity.

    Raises:
        OSError: it cannot be read.
    """
    # Size and time before the contents: a change while hashing is then noticed by the next run.
    status = path.stat()
    return FileIdentity(status.st_size, status.st_mtime_ns, file_sha256(path))


def settings_digest(settings: Mapping[str, Any]) -> str:
    """A short digest of everything that changes a result; the order of the keys does not matter."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def is_finished(record: ClipRecord | None, source: Path, output: Path, digest: str) -> bool:
    """Whether `record` says that `output` was made from `source` as it is now, with the settings of `digest`.

    Equal path, size and time are believed; otherwise the contents decide, so that a copied or touched data set is not
    done again.
    """
    if record is None or record.status != "ok" or record.settings != digest:
        return False
    try:
        if output.stat().st_size != record.output_bytes:
            return False
        status = source.stat()
        if status.st_size != record.input_bytes:
            return False
        if record.input == str(source) and status.st_mtime_ns == record.input_mtime_ns:
            return True
        return identify(source).sha256 == record.input_sha256
    except OSError:
        return False
