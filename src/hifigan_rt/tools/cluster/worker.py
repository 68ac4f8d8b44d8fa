"""What a worker of a cluster does: the same as one machine, with a few clips at a time."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.errors import ClusterError, DatasetError
from hifigan_rt.system.temporary_names import remove_left_over
from hifigan_rt.tools.bulk.clip_files import ClipFiles
from hifigan_rt.tools.bulk.local_run import LocalRunner
from hifigan_rt.tools.bulk.manifest import ClipRecord
from hifigan_rt.tools.bulk.outputs import Job
from hifigan_rt.tools.cluster.recipe import WorkRecipe

_SEEN_WITHIN_SECONDS = 10
"""How long a file may take to be seen on another machine: network file systems look for new names every few seconds."""


@dataclass(frozen=True)
class ChunkEnd:
    """The last of what a chunk yields.

    Attributes:
        stopped: why the whole run must end, if it must.
    """

    stopped: Exception | None = None


class SharedFiles(ClipFiles):
    """Files on a file system that all machines of a cluster share."""

    def fetch(self, job: Job) -> Path:
        if not os.path.lexists(job.source.path):
            raise DatasetError(
                f"{str(job.source.path)!r} is not there for {socket.gethostname()}: it has been removed since the run "
                "began, or lies on no file system that this machine shares"
            )
        return job.source.path


@dataclass(frozen=True)
class FolderSign:
    """A file by which a worker knows that the output folder it sees is the driver's."""

    path: Path
    text: str

    def check(self) -> None:
        """Look for the sign.

        Raises:
            ClusterError: it is not there: what is written to that folder here would be lost.
        """
        end = time.monotonic() + _SEEN_WITHIN_SECONDS
        while not self._is_there():
            if time.monotonic() > end:
                raise ClusterError(
                    f"the output folder {str(self.path.parent)!r} is another one on {socket.gethostname()} than where "
                    "the run was started: give -o on a file system that all machines share, or the URL of an object "
                    "store"
                )
            time.sleep(0.1)

    def _is_there(self) -> bool:
        try:
            return self.path.read_text() == self.text
        except OSError:
            return False


class ClipWorker:
    """Work that is loaded once, for all chunks that come."""

    def __init__(self, recipe: WorkRecipe, files: ClipFiles) -> None:
        """
        Raises:
            HifiganError: whatever the recipe's work raises.
        """
        self.runner = LocalRunner(recipe.make_work(), files)
        """Tells what this machine computes by."""
        self._stopping = False
        self._seen: FolderSign | None = None
        self._cleared: set[Path] = set()

    def stop(self) -> None:
        """End the chunk in hand early: what has been read is still computed and written."""
        self._stopping = True

    def run(self, jobs: Sequence[Job], digest: str, sign: FolderSign | None) -> Iterator[ClipRecord | ChunkEnd]:
        """Work through a chunk.

        Yields:
            The record of each clip as soon as it is finished, then the end.

        Raises:
            ClusterError: the output folder is another one here.
        """
        if sign is not None and sign != self._seen:
            sign.check()
            self._seen = sign
            self._cleared.clear()
        if sign is not None:
            folders = {job.output.parent for job in jobs} - self._cleared
            remove_left_over(folders)  # of this host, which the driver cannot tell
            self._cleared |= folders
        finished: queue.SimpleQueue[ClipRecord | ChunkEnd] = queue.SimpleQueue()

        def work_through() -> None:
            stopped: Exception | None = None
            try:
                self.runner.run(self._until_stopped(jobs), digest, finished.put, lambda _: None)
            except Exception as error:  # noqa: BLE001 - raised by the driver
                stopped = error
            finished.put(ChunkEnd(stopped))

        threading.Thread(target=work_through, name="hifigan-chunk", daemon=True).start()
        while True:
            item = finished.get()
            yield item
            if isinstance(item, ChunkEnd):
                return

    def _until_stopped(self, jobs: Sequence[Job]) -> Iterator[Job]:
        for job in jobs:
            if self._stopping:
                return
            yield job
