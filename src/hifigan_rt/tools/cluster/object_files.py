"""Inputs and results of a run that lie in object stores: copied to the worker that needs them, and put back whole."""

from __future__ import annotations

import shutil
import socket
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hifigan_rt.errors import DatasetError, OutputError
from hifigan_rt.system.files import file_sha256
from hifigan_rt.system.temporary_names import TEMPORARY_SUFFIX, remove_left_over, temporary_prefix
from hifigan_rt.tools.bulk.manifest import ClipRecord
from hifigan_rt.tools.bulk.outputs import Job
from hifigan_rt.tools.bulk.resume import FileIdentity
from hifigan_rt.tools.cluster.object_inputs import StoreFolder
from hifigan_rt.tools.cluster.object_store import ObjectInfo, ObjectStore
from hifigan_rt.tools.cluster.retrying import RETRY_PAUSES_S, retried
from hifigan_rt.tools.cluster.worker import SharedFiles

PROBE_NAME = ".hifigan-probe"

_MOST_NAME_CHARACTERS = 60
"""Length of the end of an object's name that its copy keeps: 240 bytes at most, where file systems allow 255."""


@dataclass(frozen=True)
class _Copies:
    """What is kept of one clip."""

    folder: Path
    source: Path
    info: ObjectInfo | None
    """None for an input on a file system of this machine."""


class ObjectFiles(SharedFiles):
    """Files of which some lie in stores. Picklable: copies are made in the process that reads and writes them."""

    judged_at_once = 16
    """Each waits for the network alone."""

    def __init__(
        self,
        inputs: Sequence[StoreFolder],
        output: StoreFolder | None = None,
        pauses_s: Sequence[float] = RETRY_PAUSES_S,
        infos: Mapping[Path, ObjectInfo] | None = None,
    ) -> None:
        """
        Args:
            inputs: places that were named; asking about them is allowed as long as a store works.
            output: where results go; None for a folder of mounted file systems.
            pauses_s: between attempts, see `retried`.
            infos: what stores told of inputs, by path; for `--resume`, and so for the driver alone.
        """
        self._inputs = tuple(inputs)
        self._output = output
        self._pauses_s = tuple(pauses_s)
        self._places = {str(Path(place.store.root)): place for place in inputs}
        self._workplace: Path | None = None
        self._kept: dict[str, _Copies] = {}
        self._infos = infos or {}
        self._stored: dict[str, ObjectInfo] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectFiles, (self._inputs, self._output, self._pauses_s)

    def name(self, job: Job) -> str:
        found = self._found(job.source.path)
        return super().name(job) if found is None else found[0].store.shown(found[1])

    def fetch(self, job: Job) -> Path:
        found = self._found(job.source.path)
        if found is None and self._output is None:
            return super().fetch(job)
        try:
            return self._copied(job, found)
        except OSError as error:
            above = Path(tempfile.gettempdir())
            raise OutputError(
                f"{self.name(job)!r} cannot be worked on in {str(above)!r} of {socket.gethostname()}, where copies of "
                f"clips lie: {error.strerror or error}; TMPDIR names another folder"
            ) from error

    def _copied(self, job: Job, found: tuple[StoreFolder, str] | None) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self._made_workplace()))
        self._kept[job.name] = _Copies(folder, job.source.path, None)
        if found is None:
            return super().fetch(job)
        place, key = found
        local = folder / f"input-{job.source.path.name[-_MOST_NAME_CHARACTERS:]}"
        info = retried(
            lambda: place.store.get(key, local), lambda: place.store.info(place.key), DatasetError, self._pauses_s
        )
        self._kept[job.name] = _Copies(folder, local, info)
        return local

    def identify(self, job: Job, local: Path) -> FileIdentity:
        kept = self._kept.get(job.name)
        if kept is None or kept.info is None:
            return super().identify(job, local)
        info = kept.info
        return FileIdentity(info.size_bytes, info.mtime_ns, info.mtime_ns, file_sha256(local))

    def target(self, job: Job) -> Path:
        if self._output is None:
            return super().target(job)
        return self._kept[job.name].folder / f"output{job.output.suffix}"

    def deliver(self, job: Job, local: Path) -> int | None:
        output = self._output
        if output is None:
            return super().deliver(job, local)
        key = output.key_of(job.name)
        stored = retried(
            lambda: output.store.put(key, local), lambda: check_writable(output), OutputError, self._pauses_s
        )
        return stored.mtime_ns

    def release(self, job: Job) -> None:
        kept = self._kept.pop(job.name, None)
        if kept is not None:
            shutil.rmtree(kept.folder, ignore_errors=True)

    def told(self, job: Job, text: str) -> str:
        kept = self._kept.get(job.name)
        if kept is None:
            return text
        written = str(kept.folder / f"output{job.output.suffix}")
        for local, shown in ((str(kept.source), self.name(job)), (written, self.result(job))):
            # Most texts have it as `repr` gives it.
            text = text.replace(repr(local), repr(shown)).replace(local, shown)
        return text

    def result(self, job: Job) -> str:
        output = self._output
        return super().result(job) if output is None else output.store.shown(output.key_of(job.name))

    def taken(self, job: Job) -> bool:
        return super().taken(job) if self._output is None else self._output.key_of(job.name) in self._results()

    def version(self, job: Job) -> tuple[int, int, int]:
        info = self._infos.get(job.source.path)
        return super().version(job) if info is None else (info.size_bytes, info.mtime_ns, info.mtime_ns)

    def sha256(self, job: Job) -> str:
        found = self._found(job.source.path)
        return super().sha256(job) if found is None else _digest(found[0].store, found[1])

    def holds(self, job: Job, record: ClipRecord) -> bool:
        """Tell whether a result is what was written.

        An object is believed by its size and time: it is there as a whole or not at all, and the time is the store's.
        Only if the time is another, as in a copied bucket, the contents decide.
        """
        output = self._output
        if output is None:
            return super().holds(job, record)
        key = output.key_of(job.name)
        there = self._results().get(key)
        if there is None or there.size_bytes != record.output_bytes:
            return False
        return there.mtime_ns == record.output_mtime_ns or _digest(output.store, key) == record.output_sha256

    def _results(self) -> dict[str, ObjectInfo]:
        """What was at the results' place when it was first asked for."""
        if self._stored is None:
            assert self._output is not None  # noqa: S101 - by those who ask
            self._stored, _ = self._output.store.list(self._output.key, recursive=True)
        return self._stored

    def _found(self, path: Path) -> tuple[StoreFolder, str] | None:
        """The place and the key of an object; None for a file of this machine."""
        if path.is_absolute():
            return None
        for root, place in self._places.items():
            if path.is_relative_to(root):
                return place, path.relative_to(root).as_posix()
        return None

    def _made_workplace(self) -> Path:
        if self._workplace is None:
            above = Path(tempfile.gettempdir())
            remove_left_over([above])
            self._workplace = Path(tempfile.mkdtemp(TEMPORARY_SUFFIX, temporary_prefix(), above))
            weakref.finalize(self, shutil.rmtree, self._workplace, ignore_errors=True)
        return self._workplace


def _digest(store: ObjectStore, key: str) -> str:
    with tempfile.TemporaryDirectory(prefix="hifigan-") as folder:
        store.get(key, Path(folder) / "object")
        return file_sha256(Path(folder) / "object")


def check_writable(place: StoreFolder) -> None:
    """Check that objects can be put into a place, with an empty one, which stays: few may delete what they may write.

    Raises:
        StoreError, OutputError: they cannot.
    """
    place.store.put(place.key_of(PROBE_NAME), b"")
