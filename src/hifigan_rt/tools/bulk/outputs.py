"""Decides where each result goes, and refuses what would destroy something."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hifigan_rt.errors import OutputError
from hifigan_rt.system.files import plain_path
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, ClipRecord, ManifestContents
from hifigan_rt.tools.bulk.resume import Verdict, judge
from hifigan_rt.tools.datasets import InputFile

if TYPE_CHECKING:
    from hifigan_rt.tools.bulk.clip_files import ClipFiles


@dataclass(frozen=True)
class Job:
    """One input with its output."""

    source: InputFile
    output: Path
    """Absolute."""
    name: str
    """The output below its folder, with `/`: its key in the manifest."""


def plan_outputs(inputs: Sequence[InputFile], folder: Path, suffix: str) -> list[Job]:
    """Name the output of every input: its place below the named folder, with another suffix.

    Raises:
        OutputError: the output folder is an input folder, or an output would overwrite an input.
    """
    folder = plain_path(folder)
    real_folder = os.path.realpath(folder)
    for named in {item.folder for item in inputs if item.folder is not None}:
        if os.path.realpath(named) == real_folder:
            raise OutputError(
                f"the output folder {str(folder)!r} is the input folder {str(named)!r}: name another one, "
                "so that no recording can be overwritten"
            )
    jobs = []
    for item in inputs:
        name = output_name(item, suffix)
        jobs.append(Job(item, folder / name, name))
    refuse_overwritten_inputs(jobs)
    return jobs


def output_name(item: InputFile, suffix: str) -> str:
    """Name the output of an input below the output folder, with `/`."""
    relative = item.relative.with_suffix("")
    return relative.with_name(relative.name + suffix).as_posix()


def refuse_overwritten_inputs(jobs: Sequence[Job]) -> None:
    """Check that no output is one of the inputs, by any path, link or spelling.

    Raises:
        OutputError: one is.
    """
    sources = {key: job.source.path for job in jobs if (key := _file_key(job.source.path)) is not None}
    for job in jobs:
        key = _file_key(job.output)
        if key in sources:
            raise OutputError(
                f"the output {str(job.output)!r} would overwrite the input {str(sources[key])!r}: "
                "name another output folder"
            )


@dataclass(frozen=True)
class JobSelection:
    """What a run has to do."""

    todo: tuple[Job, ...]
    finished: int = 0
    """Number of jobs that an earlier run has done."""
    notes: tuple[str, ...] = ()
    """What is made again although an earlier run did it, one sentence each."""


def select_jobs(
    jobs: Sequence[Job],
    manifest: ManifestContents,
    folder: str,
    digest: str,
    files: ClipFiles,
    *,
    resume: bool,
    overwrite: bool,
    figures: Collection[str] = (),
) -> JobSelection:
    """Leave out what is finished (`resume`), and protect files that no run of ours is known to have made.

    Args:
        jobs: all.
        manifest: what earlier runs left.
        folder: name of the output folder, for notes.
        digest: of the settings.
        files: where clips lie.
        resume, overwrite: as the options say.
        figures: see `judge`.

    Raises:
        OutputError: outputs exist and neither option allows to touch them.
    """
    if overwrite:
        return JobSelection(tuple(jobs))
    if resume and manifest.runs:
        return _unfinished(jobs, manifest.clips, folder, digest, files, figures)
    # An input with a problem gets no output, and its name may be that of no file.
    existing = [job for job in jobs if job.source.problem is None and files.taken(job)]
    if existing:
        missing = f"no {MANIFEST_NAME} there tells where from; " if resume else "--resume keeps what is finished, "
        raise OutputError(
            f"{len(existing)} of {len(jobs)} outputs exist already, the first is {files.result(existing[0])!r}: "
            f"{missing}--overwrite replaces them"
        )
    return JobSelection(tuple(jobs))


def _unfinished(
    jobs: Sequence[Job],
    records: Mapping[str, ClipRecord],
    folder: str,
    digest: str,
    files: ClipFiles,
    figures: Collection[str],
) -> JobSelection:
    def verdict(job: Job) -> Verdict:
        return judge(records.get(job.name), job, files, digest, figures)

    pool = ThreadPoolExecutor(files.judged_at_once)
    try:
        verdicts = list(pool.map(verdict, jobs))
    finally:
        pool.shutdown(cancel_futures=True)
    reasons: dict[Verdict, str] = {
        "changed": "it is not what was written (edited, exchanged or damaged)",
        "unproven": f"its line in {MANIFEST_NAME} has no output_sha256, as in earlier versions",
        "of another": "it was made of {input!r}",
        "unlisted": f"{MANIFEST_NAME} has no line about it: its run was killed, or no run made it",
    }
    notes = []
    for found, reason in reasons.items():
        names = [job.name for job, told in zip(jobs, verdicts, strict=True) if told == found]
        if names:
            known = records.get(names[0])
            why = reason.format(input=None if known is None else known.input)
            notes.append(f"made again: {len(names)}, the first is {f'{folder}/{names[0]}'!r}: {why}")
    todo = tuple(job for job, told in zip(jobs, verdicts, strict=True) if told != "finished")
    return JobSelection(todo, len(jobs) - len(todo), tuple(notes))


def _file_key(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def set_apart_outputs_alike(jobs: Sequence[Job], folder: Path) -> list[Job]:
    """Find outputs that are one file to a file system that ignores case, as those of macOS and Windows do.

    Returns:
        The jobs; of two such outputs the second has a problem, and is not written.
    """
    taken: dict[str, Job] = {}
    kept = []
    for job in jobs:
        first = taken.setdefault(unicodedata.normalize("NFC", job.name).casefold(), job)
        if first.name != job.name and job.source.problem is None and _ignores_case(folder):
            problem = (
                f"the outputs {first.name!r} and {job.name!r} would be one file in {str(folder)!r}, where neither case "
                f"nor the form of accents tells names apart: make {job.name!r} in another run, into another folder"
            )
            kept.append(replace(job, source=replace(job.source, problem=problem)))
        else:
            kept.append(job)
    return kept


def describe_pairs(jobs: Sequence[Job]) -> tuple[str, ...]:
    """Sentence about inputs whose names differ in their suffix alone, if there are any."""
    pairs = [job for job in jobs if job.source.beside is not None]
    if not pairs:
        return ()
    source = pairs[0].source
    assert source.beside is not None  # noqa: S101 - by what `pairs` are
    count = f" ({len(pairs)} such pairs)" if len(pairs) > 1 else ""
    return (
        f"{source.path.name!r} and {source.beside.name!r} differ in their suffix alone{count}: the former's result is "
        f"named {pairs[0].name!r}; to take one kind alone, name it, as in '*{source.beside.suffix}'",
    )


def _ignores_case(folder: Path) -> bool:
    with tempfile.NamedTemporaryFile(prefix=".Probe-\u00c9-", dir=folder) as file:
        path = Path(file.name)
        others = (path.name.swapcase(), unicodedata.normalize("NFD", path.name))
        return any((folder / other).exists() for other in others)
