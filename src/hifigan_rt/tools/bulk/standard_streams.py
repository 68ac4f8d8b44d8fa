"""Standard input as a file: what comes through a pipe is kept on disk, so that memory stays bounded."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO

from hifigan_rt.errors import DatasetError, OutputError
from hifigan_rt.tools.bulk.clip_files import ClipFiles
from hifigan_rt.tools.bulk.outputs import Job
from hifigan_rt.tools.datasets import InputFile

_BLOCK_BYTES = 1 << 20


class SpooledInput(ClipFiles):
    """Standard input, whose copy is gone when the user reads of it."""

    def name(self, job: Job) -> str:  # noqa: ARG002 - there is one
        return "standard input"

    def told(self, job: Job, text: str) -> str:
        return text.replace(repr(str(job.source.path)), repr(self.name(job)))


def spool_input(stream: BinaryIO, folder: Path) -> InputFile:
    """Copy a stream into a file of `folder`: a .npy mel if it starts like one, else a recording.

    Raises:
        DatasetError: the stream is empty or cannot be read.
        OutputError: there is no room for the copy.
    """
    try:
        head = stream.read(_BLOCK_BYTES)
    except OSError as error:
        raise DatasetError(f"standard input cannot be read: {error.strerror}") from error
    if not head:
        raise DatasetError("standard input is empty: pipe a recording or a .npy mel into it")
    # Ways out name it: "ffmpeg -i recording recording.wav converts it".
    path = folder / ("mel.npy" if head.startswith(b"\x93NUMPY") else "recording")
    try:
        with path.open("wb") as file:
            file.write(head)
            shutil.copyfileobj(stream, file, _BLOCK_BYTES)
    except OSError as error:
        raise OutputError(f"standard input cannot be kept in {str(folder)!r}: {error.strerror}") from error
    return InputFile(path, Path(path.name))
