"""Files of clips, as the stages of a run see them."""

from __future__ import annotations

from pathlib import Path

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

    def told(self, job: Job, text: str) -> str:  # noqa: ARG002 - others have names of their own
        """Make what is said about a clip speak of its input by its name, not by that of a local copy."""
        return text
