"""One run over many clips: the output folder with its manifest, its summary, and what works through the clips."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from hifigan_rt.engines.base import EngineInfo
from hifigan_rt.errors import HifiganError
from hifigan_rt.system.closing import Closing
from hifigan_rt.system.files import plain_path, sync_folders
from hifigan_rt.system.folder_lock import locked_folder
from hifigan_rt.system.temporary_names import remove_left_over
from hifigan_rt.tools.bulk.clip_files import ClipFiles
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, ClipRecord, ManifestWriter, read_manifest
from hifigan_rt.tools.bulk.output_folder import claimed_folder, refuse_existing, refuse_linked_folders
from hifigan_rt.tools.bulk.outputs import (
    Job,
    describe_pairs,
    refuse_overwritten_inputs,
    select_jobs,
    set_apart_outputs_alike,
)
from hifigan_rt.tools.bulk.resume import settings_digest
from hifigan_rt.tools.bulk.summary import RunSummary
from hifigan_rt.tools.datasets import InputFile, LeftOut


class ClipRunner(Closing):
    """What works through the clips of a run: the threads of this process, or the workers of a cluster."""

    files: ClipFiles
    """Where the clips lie."""
    engine: EngineInfo | None = None
    """What runs the model, once its settings are known; None where there is none."""
    notes: tuple[str, ...] = ()
    """What happened on the way and is worth knowing, one sentence each."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything that changes a result, JSON-able: a clip is done again when it changes."""

    @abstractmethod
    def run(
        self,
        jobs: Sequence[Job],
        digest: str,
        keep: Callable[[ClipRecord], None],
        report: Callable[[ClipRecord], None],
    ) -> None:
        """Work through `jobs`: one failing clip never stops the rest, a full disk does.

        When the caller's thread is interrupted, what has been computed is still written, kept and reported.

        Args:
            jobs: the clips.
            digest: of the settings, for the records.
            keep: called for each clip as soon as it is finished; what it raises ends the run.
            report: called in this thread after each clip; an interruption may take a call away.

        Raises:
            HifiganError: why the run ended before its last clip.
        """

    @property
    def caveat(self) -> str:
        """What the device says against its times; mostly empty."""
        return "" if self.engine is None else self.engine.caveat

    def close(self) -> None:
        """Free what it has; closing twice is allowed."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run, after all that was computed has been written.

    Attributes:
        summary: how far the run came.
    """

    def __init__(self, summary: RunSummary) -> None:
        super().__init__()
        self.summary = summary


def run_in_folder(
    runner: ClipRunner,
    jobs: Sequence[Job],
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    figures: Collection[str] = (),
    progress: Callable[[ClipRecord], None] = lambda _: None,
    left_out: LeftOut | None = None,
) -> RunSummary:
    """Work through `jobs`, with a manifest in `folder`.

    One failing clip never stops the rest; a full disk does.

    Args:
        runner: what works through the clips.
        jobs: from `plan_outputs`.
        folder: the output folder; made if it is missing.
        resume: leave out clips that the manifest says are finished.
        overwrite: replace outputs that are there.
        figures: fields that a record must have for its clip to count as finished.
        progress: called in this thread after each clip.
        left_out: what the input folders hold beside the clips; for the manifest and the summary.

    Raises:
        OutputError: outputs exist that may not be replaced, another run is at work in the folder, it cannot be written
            to, or a link stands where a folder or the manifest should.
        Interrupted: Ctrl-C; what was finished is in place and in the manifest.
    """
    left_out = left_out or LeftOut()
    folder = plain_path(folder)  # as the jobs have it
    if folder.is_dir():
        with locked_folder(folder):  # a run that keeps this one out may have all workers of a cluster as well
            pass
    settings = runner.settings()
    digest = settings_digest(settings)
    with claimed_folder(folder):
        folders = dict.fromkeys(job.output.parent for job in jobs)
        refuse_linked_folders(folder, folders)
        remove_left_over(folders)
        jobs = set_apart_outputs_alike(jobs, folder)
        path = folder / MANIFEST_NAME
        chosen = select_jobs(
            jobs, read_manifest(path), folder.name, digest, runner.files, resume=resume, overwrite=overwrite,
            figures=figures,
        )  # fmt: skip
        notes = (*describe_pairs(jobs), *chosen.notes)
        summary = RunSummary(
            len(jobs), chosen.finished, manifest=path, left_out=left_out, notes=notes, caveat=runner.caveat
        )
        with ManifestWriter(path) as manifest:
            manifest.start_run(digest, settings, left_out.counts, notes)
            try:
                work_through(runner, chosen.todo, digest, summary, manifest.append, progress)
            finally:
                # Once for all of them: after each file it would double what waiting for the disk takes.
                sync_folders(folders)
    return summary


def run_single(
    runner: ClipRunner, source: InputFile, output: Path, *, overwrite: bool = False, left_out: LeftOut | None = None
) -> RunSummary:
    """Work on one clip with an output file of its own, and no manifest.

    Raises:
        OutputError: the output exists and may not be replaced, or is the input.
        Interrupted: Ctrl-C.
    """
    job = Job(source, output, output.name)
    refuse_overwritten_inputs([job])
    refuse_existing(output, overwrite=overwrite)
    remove_left_over([output.parent])
    summary = RunSummary(1, left_out=left_out or LeftOut(), caveat=runner.caveat)
    work_through(runner, [job], "", summary, lambda _: None, lambda _: None)
    return summary


def work_through(
    runner: ClipRunner,
    jobs: Sequence[Job],
    digest: str,
    summary: RunSummary,
    keep: Callable[[ClipRecord], None],
    progress: Callable[[ClipRecord], None],
) -> None:
    """Have a runner work through `jobs`, and put into `summary` how far it came and why it ended.

    Raises:
        Interrupted: Ctrl-C.
    """

    def count_and_keep(record: ClipRecord) -> None:
        # Not where progress is reported: Ctrl-C can come between taking a report and counting it.
        summary.add(record)
        keep(record)

    started = time.perf_counter()
    try:
        runner.run(jobs, digest, count_and_keep, progress)
    except HifiganError as error:
        summary.stopped = str(error)
    except KeyboardInterrupt as error:
        raise Interrupted(summary) from error
    finally:
        summary.wall_seconds = time.perf_counter() - started
        summary.notes += runner.notes
