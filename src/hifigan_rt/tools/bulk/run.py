"""One run over many clips: the pipeline with its manifest, its summary, and the rules for errors."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from hifigan_rt.errors import DatasetError, HifiganError, MelConventionWarning, OutputError, PaddedTailWarning
from hifigan_rt.system.files import file_sha256, plain_path, refuse_special, sync_folders
from hifigan_rt.system.temporary_names import remove_left_over
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, ClipRecord, ManifestWriter
from hifigan_rt.tools.bulk.output_folder import claimed_folder, make_folder, refuse_linked_folders
from hifigan_rt.tools.bulk.outputs import (
    Job,
    describe_pairs,
    refuse_overwritten_inputs,
    select_jobs,
    set_apart_outputs_alike,
)
from hifigan_rt.tools.bulk.pipeline import Pipeline, Stages
from hifigan_rt.tools.bulk.resume import FileIdentity, identify, settings_digest
from hifigan_rt.tools.bulk.summary import RunSummary
from hifigan_rt.tools.datasets import InputFile, LeftOut

R = TypeVar("R")
C = TypeVar("C")

_HOPELESS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Errors after which no further clip can be written, so going on would only burn time."""


_COLLECTED = (MelConventionWarning, PaddedTailWarning)
"""Warnings that are about one clip."""


@dataclass(frozen=True)
class ClipFacts:
    """What is known about a finished clip; the fields are those of `ClipRecord`."""

    input_samples: int | None = None
    frames: int | None = None
    output_samples: int | None = None
    samples_dropped: int | None = None
    clipped_samples: int | None = None
    audio_seconds: float | None = None
    mel_l1: float | None = None
    inexact_tail_frames: int | None = None
    notes: tuple[str, ...] = ()
    compute_seconds: float = 0.0
    """Time that the engine took while the clip was written, of long ones."""


class Work(ABC, Generic[R, C]):
    """What a run does with each clip, in three stages that run in three threads."""

    caveat = ""
    """What the device says against the times of `compute`; mostly empty."""
    stopped = threading.Event()
    """Set when the run ends early; what takes long looks at it."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that changes a result, JSON-able: a clip is done again when it changes."""

    @abstractmethod
    def read(self, source: Path) -> R:
        """Read and prepare one input."""

    @abstractmethod
    def compute(self, data: R) -> C:
        """The engine's part."""

    @abstractmethod
    def write(self, data: C, output: Path) -> ClipFacts:
        """Encode and write one output, whole or not at all."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run, after all that was computed has been written.

    Attributes:
        summary: how far the run came.
    """

    def __init__(self, summary: RunSummary) -> None:
        super().__init__()
        self.summary = summary


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


class _Run(Generic[R, C]):
    def __init__(self, work: Work[R, C], manifest: ManifestWriter | None, digest: str, summary: RunSummary) -> None:
        self._work = work
        self._manifest = manifest
        self._digest = digest
        self._summary = summary
        self._collector = _WarningCollector()

    def run(self, jobs: Sequence[Job], progress: Callable[[ClipRecord], None]) -> None:
        def finish(job: Job, record: ClipRecord | None, error: Exception | None) -> ClipRecord:
            if record is None:
                record = self._failure(job, error)
            if error is not None and _is_hopeless(error):
                pipeline.stop(error)
            if self._manifest is not None:
                try:
                    self._manifest.append(record)
                except OutputError as unrecorded:
                    pipeline.stop(error or unrecorded)
            return record

        def report(record: ClipRecord) -> None:
            self._summary.add(record)
            progress(record)

        pipeline = Pipeline(Stages(self._read, self._compute, self._write), finish)
        self._work.stopped = pipeline.stopped
        try:
            with self._collector.installed():
                pipeline.run(jobs, report)
        except HifiganError as error:
            self._summary.stopped = str(error)
        except KeyboardInterrupt as error:
            raise Interrupted(self._summary) from error
        finally:
            self._summary.wall_seconds = pipeline.wall_seconds

    def _read(self, job: Job) -> _Staged[R]:
        if job.source.problem is not None:
            raise DatasetError(job.source.problem)
        with self._collector.collecting() as texts:
            data = self._work.read(job.source.path)
        return _Staged(data, identify(job.source.path), tuple(texts))

    def _compute(self, job: Job, read: _Staged[R]) -> _Staged[C]:  # noqa: ARG002 - the stages are called alike
        with self._collector.collecting() as texts:
            value = self._work.compute(read.value)
        return _Staged(value, read.identity, (*read.warnings, *(text for text in texts if text not in read.warnings)))

    def _write(self, job: Job, computed: _Staged[C], seconds: float) -> ClipRecord:
        make_folder(job.output.parent)
        with self._collector.collecting() as texts:
            facts = self._work.write(computed.value, job.output)
        return ClipRecord(
            input=str(job.source.path),
            output=job.name,
            status="ok",
            settings=self._digest,
            input_bytes=computed.identity.size_bytes,
            input_mtime_ns=computed.identity.mtime_ns,
            input_ctime_ns=computed.identity.ctime_ns,
            input_sha256=computed.identity.sha256,
            output_bytes=job.output.stat().st_size,
            output_sha256=None if self._manifest is None else file_sha256(job.output),
            warnings=(*computed.warnings, *(text for text in texts if text not in computed.warnings)),
            **{**vars(facts), "compute_seconds": round(seconds + facts.compute_seconds, 6)},
        )

    def _failure(self, job: Job, error: Exception | None) -> ClipRecord:
        # An error of ours is written for users; of any other the type is half of what it says.
        text = str(error) if isinstance(error, HifiganError) else f"{type(error).__name__}: {error}"
        return ClipRecord(str(job.source.path), job.name, "failed", self._digest, error=text)


def run_in_folder(
    work: Work[R, C],
    jobs: Sequence[Job],
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[ClipRecord], None] = lambda _: None,
    left_out: LeftOut | None = None,
) -> RunSummary:
    """Work through `jobs`, with a manifest in `folder`.

    One failing clip never stops the rest; a full disk does.

    Args:
        work: what is done with each clip.
        jobs: from `plan_outputs`.
        folder: the output folder; made if it is missing.
        resume: leave out clips that the manifest says are finished.
        overwrite: replace outputs that are there.
        progress: called in this thread after each clip.
        left_out: what the input folders hold beside the clips; for the manifest and the summary.

    Raises:
        OutputError: outputs exist that may not be replaced, another run is at work in the folder, it cannot be written
            to, or a link stands where a folder or the manifest should.
        Interrupted: Ctrl-C; what was finished is in place and in the manifest.
    """
    settings = work.settings()
    digest = settings_digest(settings)
    left_out = left_out or LeftOut()
    folder = plain_path(folder)  # as the jobs have it
    with claimed_folder(folder):
        folders = dict.fromkeys(job.output.parent for job in jobs)
        refuse_linked_folders(folder, folders)
        remove_left_over(folders)
        jobs = set_apart_outputs_alike(jobs, folder)
        chosen = select_jobs(jobs, folder, digest, resume=resume, overwrite=overwrite)
        path, notes = folder / MANIFEST_NAME, (*describe_pairs(jobs), *chosen.notes)
        summary = RunSummary(
            len(jobs), chosen.finished, manifest=path, left_out=left_out, notes=notes, caveat=work.caveat
        )
        with ManifestWriter(path) as manifest:
            manifest.start_run(digest, settings, left_out.counts, notes)
            try:
                _Run(work, manifest, digest, summary).run(chosen.todo, progress)
            finally:
                # Once for all of them: after each file it would double what waiting for the disk takes.
                sync_folders(folders)
    return summary


def run_single(
    work: Work[R, C], source: InputFile, output: Path, *, overwrite: bool = False, left_out: LeftOut | None = None
) -> RunSummary:
    """Work on one clip with an output file of its own, and no manifest.

    Raises:
        OutputError: the output exists and may not be replaced, or is the input.
        Interrupted: Ctrl-C.
    """
    job = Job(source, output, output.name)
    refuse_overwritten_inputs([job])
    refuse_special(output)
    if os.path.lexists(output) and not overwrite:
        raise OutputError(f"output {str(output)!r} exists already: --overwrite replaces it")
    summary = RunSummary(1, left_out=left_out or LeftOut(), caveat=work.caveat)
    _Run(work, None, "", summary).run([job], lambda _: None)
    return summary


def _is_hopeless(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, OutputError) else error
    return isinstance(cause, OSError) and cause.errno in _HOPELESS
