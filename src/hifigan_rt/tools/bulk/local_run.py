"""A run on this machine: the pipeline, with the warnings and the errors of each clip."""

from __future__ import annotations

import contextlib
import errno
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from hifigan_rt.errors import (
    ClusterError,
    DatasetError,
    HifiganError,
    MelConventionWarning,
    OutputError,
    PaddedTailWarning,
    StoreError,
    error_text,
)
from hifigan_rt.system.files import file_sha256
from hifigan_rt.tools.bulk.clip_files import ClipFiles
from hifigan_rt.tools.bulk.manifest import ClipRecord
from hifigan_rt.tools.bulk.outputs import Job
from hifigan_rt.tools.bulk.pipeline import Pipeline, Stages
from hifigan_rt.tools.bulk.resume import FileIdentity
from hifigan_rt.tools.bulk.run import ClipRunner
from hifigan_rt.tools.bulk.work import Work

R = TypeVar("R")
C = TypeVar("C")

_HOPELESS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Errors after which no further clip can be written, so going on would only burn time."""

_COLLECTED = (MelConventionWarning, PaddedTailWarning)
"""Warnings that are about one clip."""


class _WarningCollector:
    """Keeps each thread's warnings about mels apart, so that they can be told per clip."""

    def __init__(self) -> None:
        self._local = threading.local()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        # Once for the whole run: warnings.catch_warnings changes the process, not the thread.
        with warnings.catch_warnings():
            for collected in _COLLECTED:
                warnings.simplefilter("always", collected)
            passed_on = warnings.showwarning

            def show(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
                texts = getattr(self._local, "texts", None)
                if issubclass(category, _COLLECTED) and texts is not None:
                    texts.append(str(message))
                else:
                    passed_on(message, category, *rest, **named)

            warnings.showwarning = show
            yield

    @contextlib.contextmanager
    def collecting(self) -> Iterator[list[str]]:
        texts: list[str] = []
        self._local.texts = texts
        try:
            yield texts
        finally:
            self._local.texts = None


@dataclass(frozen=True)
class _Staged(Generic[C]):
    """A value between two stages, with what the manifest will want to know."""

    value: C
    identity: FileIdentity
    warnings: tuple[str, ...]


class LocalRunner(ClipRunner, Generic[R, C]):
    """Threads of this process."""

    def __init__(self, work: Work[R, C], files: ClipFiles | None = None) -> None:
        """
        Args:
            work: what is done with each clip.
            files: where clips lie; None is in files of this machine.
        """
        self._work = work
        self.files = files or ClipFiles()
        self._collector = _WarningCollector()
        self._digest = ""
        self.engine = work.engine

    def settings(self) -> dict[str, Any]:
        return self._work.settings()

    def run(
        self,
        jobs: Iterable[Job],
        digest: str,
        keep: Callable[[ClipRecord], None],
        report: Callable[[ClipRecord], None],
    ) -> None:
        def finish(job: Job, record: ClipRecord | None, error: Exception | None) -> ClipRecord:
            if record is None:
                record = self._failure(job, error)
            self.files.release(job)
            reason: HifiganError | None = None
            if error is not None and _is_hopeless(error):
                # Of ours, so that the run ends with its summary.
                reason = error if isinstance(error, HifiganError) else OutputError(record.error or "")
            try:
                keep(record)
            except (OutputError, StoreError) as unrecorded:
                reason = reason or unrecorded
            if reason is not None:
                pipeline.stop(reason)
            return record

        self._digest = digest
        pipeline = Pipeline(Stages(self._read, self._compute, self._write), finish)
        self._work.stopped = pipeline.stopped
        with self._collector.installed():
            pipeline.run(jobs, report)

    def _read(self, job: Job) -> _Staged[R]:
        if job.source.problem is not None:
            raise DatasetError(job.source.problem)
        local = self.files.fetch(job)
        before = _version(local)
        with self._collector.collecting() as texts:
            data = self._work.read(local)
        identity = self.files.identify(job, local)
        if _version(local) != before:
            # What was read has no digest: --resume would believe the result to be that of the new contents.
            raise DatasetError(f"{str(local)!r} changed while it was read: run again when it is whole")
        return _Staged(data, identity, tuple(texts))

    def _compute(self, job: Job, read: _Staged[R]) -> _Staged[C]:  # noqa: ARG002 - the stages are called alike
        with self._collector.collecting() as texts:
            value = self._work.compute(read.value)
        return _Staged(value, read.identity, (*read.warnings, *(text for text in texts if text not in read.warnings)))

    def _write(self, job: Job, computed: _Staged[C], seconds: float) -> ClipRecord:
        target = self.files.target(job)
        with self._collector.collecting() as collected:
            facts = self._work.write(computed.value, target)
        size_bytes, sha256 = target.stat().st_size, file_sha256(target)
        delivered_ns = self.files.deliver(job, target)
        texts = (*computed.warnings, *(text for text in collected if text not in computed.warnings))
        return ClipRecord(
            input=self.files.name(job),
            output=job.name,
            status="ok",
            settings=self._digest,
            input_bytes=computed.identity.size_bytes,
            input_mtime_ns=computed.identity.mtime_ns,
            input_ctime_ns=computed.identity.ctime_ns,
            input_sha256=computed.identity.sha256,
            output_bytes=size_bytes,
            output_sha256=sha256,
            output_mtime_ns=delivered_ns,
            warnings=tuple(self.files.told(job, text) for text in texts),
            **{
                **vars(facts),
                "notes": tuple(self.files.told(job, text) for text in facts.notes),
                "compute_seconds": round(seconds + facts.compute_seconds, 6) if self._work.timed else None,
            },
        )

    def _failure(self, job: Job, error: Exception | None) -> ClipRecord:
        text = "" if error is None else error_text(error)
        return ClipRecord(self.files.name(job), job.name, "failed", self._digest, error=self.files.told(job, text))


def _version(path: Path) -> tuple[int, ...]:
    """What differs when a file is written to or exchanged; nothing where it is not there, which reading it says."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _is_hopeless(error: Exception) -> bool:
    if isinstance(error, (StoreError, ClusterError)):
        return True
    cause = error.__cause__ if isinstance(error, OutputError) else error
    return isinstance(cause, OSError) and cause.errno in _HOPELESS
