"""Audio files of an evaluation: each is decoded once for all that is measured of it, and digested once in a process."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from hifigan_rt.audio import DEFAULT_MAX_SECONDS, read_audio
from hifigan_rt.audio.decoding import MIN_SAMPLE_RATE_HZ
from hifigan_rt.errors import AudioError
from hifigan_rt.system.files import file_sha256
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, ClipRecord, read_manifest
from hifigan_rt.tools.evaluation.metrics import Signal

_LEAST_BYTES_PER_SECOND = 4 * MIN_SAMPLE_RATE_HZ
"""Least size of a second of the float WAV that is evaluated."""


class SignalFiles:
    """The signals of one clip, by path; a file that cannot be read is tried once too."""

    def __init__(self) -> None:
        self._known: dict[str, Signal | AudioError] = {}

    def read(self, path: str) -> Signal:
        """Decode a file, or hand out what it was decoded to.

        Raises:
            AudioError: it cannot be read.
        """
        if path not in self._known:
            try:
                recording = read_audio(path, _limit_seconds(path))
                self._known[path] = Signal(recording.samples, recording.sample_rate)
            except AudioError as error:
                self._known[path] = error
        known = self._known[path]
        if isinstance(known, AudioError):
            raise known
        return known


def _limit_seconds(path: str) -> float:
    """Longest audio that a file of this size is evaluated with: the user's own limit held when it was prepared."""
    with contextlib.suppress(OSError):  # told by whoever reads it
        return max(DEFAULT_MAX_SECONDS, Path(path).stat().st_size / _LEAST_BYTES_PER_SECOND)
    return DEFAULT_MAX_SECONDS


class EvaluatedAudio:
    """Audio in the folder of an evaluation, held against the manifests that it was written with."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._manifests: dict[PurePosixPath, Mapping[str, ClipRecord]] = {}

    def unless_changed(self, path: str | None, why: str | None) -> tuple[str | None, str | None]:
        """Give a path below the folder and why there is none as they are, unless the file has changed since."""
        if path is None or not self._has_changed(PurePosixPath(path)):
            return path, why
        return None, f"{path!r} is not the audio that was evaluated, it has changed since: run 'hifigan eval --resume'"

    def _has_changed(self, path: PurePosixPath) -> bool:
        """Whether a digest is known, and is another; a file that cannot be read is left to whoever reads it."""
        # audio/SYSTEM/NAME
        system = PurePosixPath(*path.parts[:2])
        if system not in self._manifests:
            self._manifests[system] = read_manifest(self._folder / system / MANIFEST_NAME).clips
        record = self._manifests[system].get(PurePosixPath(*path.parts[2:]).as_posix())
        if record is None or record.output_sha256 is None:
            return False
        try:
            return digest_of(self._folder / path) != record.output_sha256
        except OSError:
            return False


def digest_of(path: Path) -> str:
    """sha256 of a file, taken anew only if its size or time has changed.

    Raises:
        OSError: the file cannot be read.
    """
    version = _version(path)
    if version not in _digests:
        _digests[version] = file_sha256(path)
    return _digests[version]


def remember_digest(path: Path, sha256: str) -> None:
    """Take the digest that a file was just found to have, so that it is not read again."""
    with contextlib.suppress(OSError):  # has gone meanwhile
        _digests[_version(path)] = sha256


_digests: dict[tuple[Path, int, int], str] = {}


def _version(path: Path) -> tuple[Path, int, int]:
    status = path.stat()
    return path.absolute(), status.st_size, status.st_mtime_ns
