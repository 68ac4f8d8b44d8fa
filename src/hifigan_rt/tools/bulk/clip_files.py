"""Files of clips, as the stages of a run see them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hifigan_rt.system.files import file_sha256
from hifigan_rt.system.machine import usable_cores
from hifigan_rt.tools.bulk.manifest import ClipRecord
from hifigan_rt.tools.bulk.output_folder import make_folder
from hifigan_rt.tools.bulk.outputs import Job
from hifigan_rt.tools.bulk.resume import FileIdentity, identify


class ClipFiles:
    """Files on file systems of this machine, which are read and written in place."""

    def name(self, job: Job) -> str:
        """Give the input's name in records and texts."""
        return str(job.source.path)

    def fetch(self, job: Job) -> Path:
        """Give the local file to read, in the stage that reads.

        Raises:
            DatasetError: the input is gone.
        """
        return job.source.path

    def identify(self, job: Job, local: Path) -> FileIdentity:  # noqa: ARG002 - others look elsewhere
        """Tell which version of the input has been read.

        Raises:
            OSError: it cannot be read.
        """
        return identify(local)

    def target(self, job: Job) -> Path:
        """Give the local file that the result is written to, whole or not at all.

        Raises:
            OutputError: its folder cannot be made.
        """
        make_folder(job.output.parent)
        return job.output

    def deliver(self, job: Job, local: Path) -> int | None:  # noqa: ARG002 - others bring it elsewhere
        """Bring what was written to its place.

        Returns:
            When it got there, in ns since 1970 by the clock of the place; None where that tells nothing.

        Raises:
            OutputError: it cannot be brought there.
        """
        return None

    def release(self, job: Job) -> None:
        """Remove what was kept for a clip, however it ended."""

    judged_at_once: int = usable_cores()
    """Threads that find out what is finished."""

    def result(self, job: Job) -> str:
        """Give the result's name in texts."""
        return str(job.output)

    def taken(self, job: Job) -> bool:
        """Tell whether something is at the result's place."""
        return os.path.lexists(job.output)

    def version(self, job: Job) -> tuple[int, int, int]:
        """Give the input's size in bytes, and its two times in ns as `FileIdentity` has them, without reading it.

        Raises:
            OSError: it is gone.
        """
        status = job.source.path.stat()
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def sha256(self, job: Job) -> str:
        """Read the input, and give the digest of its contents.

        Raises:
            OSError, DatasetError: it cannot be read.
        """
        return file_sha256(job.source.path)

    def holds(self, job: Job, record: ClipRecord) -> bool:
        """Tell whether a result that is there is what was written, by a record that has its digest.

        Raises:
            OSError, DatasetError: it cannot be read.
        """
        found = job.output.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != record.output_bytes:
            return False
        return file_sha256(job.output) == record.output_sha256

    def told(self, job: Job, text: str) -> str:  # noqa: ARG002 - others have names of their own
        """Make what is said about a clip speak of its input by its name, not by that of a local copy."""
        return text
