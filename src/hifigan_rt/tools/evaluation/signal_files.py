"""Audio files of an evaluation: each is decoded once for all that is measured of it, and digested once in a process."""

from __future__ import annotations

import functools
from pathlib import Path

from hifigan_rt.audio import read_audio
from hifigan_rt.errors import AudioError
from hifigan_rt.system.files import file_sha256
from hifigan_rt.tools.evaluation.metrics import Signal


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
                recording = read_audio(path)
                self._known[path] = Signal(recording.samples, recording.sample_rate)
            except AudioError as error:
                self._known[path] = error
        known = self._known[path]
        if isinstance(known, AudioError):
            raise known
        return known


def digest_of(path: Path) -> str:
    """sha256 of a file, taken anew only if its size or time has changed.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    return _digest(path.absolute(), status.st_size, status.st_mtime_ns)


@functools.cache
def _digest(path: Path, _size: int, _mtime_ns: int) -> str:
    return file_sha256(path)
