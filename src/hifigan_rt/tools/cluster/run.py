"""A run over clips by the workers of a cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hifigan_rt.errors import ClusterError, OutputError
from hifigan_rt.system.temporary_names import TEMPORARY_SUFFIX, temporary_prefix
from hifigan_rt.tools.bulk.clip_files import ClipFiles
from hifigan_rt.tools.bulk.manifest import ClipRecord
from hifigan_rt.tools.bulk.outputs import Job
from hifigan_rt.tools.bulk.run import ClipRunner
from hifigan_rt.tools.cluster.actors import WorkerPool, WorkerSize
from hifigan_rt.tools.cluster.handing_out import ClipQueue
from hifigan_rt.tools.cluster.recipe import WorkRecipe
from hifigan_rt.tools.cluster.worker import FolderSign, SharedFiles
from hifigan_rt.tools.tables import counted

_OTHERS_WITHIN_SECONDS = 30.0
"""How long the first worker waits for the others before the run begins."""

_TOLD_AFTER_SECONDS = 10.0

_POLL_SECONDS = 1.0


class ClusterRunner(ClipRunner):
    """Workers of a cluster. They compute, write and send back records; this process hands out and keeps the records."""

    def __init__(
        self,
        ray: Any,
        recipe: WorkRecipe,
        size: WorkerSize,
        clips: int,
        *,
        files: ClipFiles | None = None,
        folder: Path | None = None,
        note: Callable[[str], None] = lambda _: None,
        worker_within_seconds: float = 600.0,
    ) -> None:
        """
        Args:
            ray: the module, of `connection.connected`.
            recipe: the work.
            size: what each worker takes of its machine.
            clips: how many there are at most, and so workers.
            files: where clips lie; None is on a file system that all machines share.
            folder: the output folder on it; None if results go elsewhere.
            note: told of what takes long.
            worker_within_seconds: how long the run waits while no machine has room for a worker.
        """
        self.files = files or SharedFiles()
        self._ray = ray
        self._clips = clips
        self._folder = folder
        self._note = note
        self._within_seconds = worker_within_seconds
        self._size = size
        self._settings: dict[str, Any] | None = None
        self._pool = WorkerPool(ray, ray.put((recipe, self.files)), size)

    def settings(self) -> dict[str, Any]:
        """Start the workers, and ask them.

        Raises:
            ClusterError: no machine has room for one, they compute differently, or a machine lacks the package.
            HifiganError: whatever the recipe's work raises, such as EngineUnavailable.
        """
        if self._settings is not None:
            return self._settings
        wait = _Wait(self._pool, self._size, self._note, self._within_seconds)
        first = None
        while first is None or (
            len(self._pool.ready) < min(self._clips, self._pool.room)
            and time.monotonic() - first < _OTHERS_WITHIN_SECONDS
        ):
            self._pool.ask(self._clips)
            wait.check()
            for worker in self._pool.answered(_POLL_SECONDS):
                self._pool.advance(worker)
            if first is None and self._pool.ready:
                first = time.monotonic()
        self._settings = self._pool.agreed()
        engines = [worker.engine for worker in self._pool.ready]
        self.engine = next((engine for engine in engines if engine is not None and engine.caveat), engines[0])
        hosts = {worker.place.host for worker in self._pool.ready if worker.place is not None}
        workers = counted(len(self._pool.ready), "worker")
        self._note(f"{workers} on {counted(len(hosts), 'host')}, {self._size} each")
        return self._settings

    def run(
        self,
        jobs: Sequence[Job],
        digest: str,
        keep: Callable[[ClipRecord], None],
        report: Callable[[ClipRecord], None],
    ) -> None:
        settings = self.settings()

        def finished(record: ClipRecord) -> None:
            keep(record)
            report(record)

        wait = _Wait(self._pool, self._size, self._note, self._within_seconds)
        with contextlib.nullcontext() if self._folder is None else signed_folder(self._folder) as sign:
            clips = ClipQueue(self._ray, self._pool, jobs, digest, sign, self.files, finished)
            try:
                while not clips.done:
                    self._pool.ask(clips.open)
                    clips.hand_out()
                    wait.check()
                    clips.take_in(_POLL_SECONDS, settings)
            except BaseException:
                clips.wind_up()
                raise
            finally:
                self.notes = clips.notes()

    def close(self) -> None:
        """End the workers."""
        self._pool.close()


@contextlib.contextmanager
def signed_folder(folder: Path) -> Iterator[FolderSign]:
    """Keep a file in a folder for a block, by which workers know that they see the same folder.

    Raises:
        OutputError: the folder cannot be written to.
    """
    path = folder / f"{temporary_prefix()}run{TEMPORARY_SUFFIX}"
    sign = FolderSign(path, f"{time.time_ns()}")
    try:
        path.write_text(sign.text)
        yield sign
    except OSError as error:
        raise OutputError(f"folder {str(folder)!r} cannot be written to: {error.strerror}") from error
    finally:
        path.unlink(missing_ok=True)


class _Wait:
    """Watches that there are workers, and says so when there are none."""

    def __init__(self, pool: WorkerPool, size: WorkerSize, note: Callable[[str], None], within_seconds: float) -> None:
        self._pool, self._size, self._note, self._within_seconds = pool, size, note, within_seconds
        self._since: float | None = None
        self._told = False

    def check(self) -> None:
        """Look once.

        Raises:
            ClusterError: there has been no worker for too long.
            HifiganError: why no machine may have one.
        """
        if self._pool.ready:
            self._since = None
            return
        self._pool.check_usable()
        now = time.monotonic()
        self._since = self._since or now
        lacking = f"each worker takes {self._size}, and the cluster has {self._pool.describe()}, in use or not"
        if now - self._since > self._within_seconds:
            raise ClusterError(
                f"no machine of the cluster has had room for a worker for {self._within_seconds:.0f} s: {lacking}; "
                "give a smaller --threads, or wait for others to finish"
            )
        if not self._told and now - self._since > _TOLD_AFTER_SECONDS:
            self._told = True
            self._note(f"waiting for room for a worker: {lacking}")
