"""Decides where each result goes, and refuses what would destroy something."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.errors import OutputError
from hifigan_rt.system.files import plain_path
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, read_manifest
from hifigan_rt.tools.bulk.resume import is_finished
from hifigan_rt.tools.datasets import InputFile


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
        relative = item.relative.with_suffix("")
        relative = relative.with_name(relative.name + suffix)
        jobs.append(Job(item, folder / relative, relative.as_posix()))
    refuse_overwritten_inputs(jobs)
    return jobs


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


def select_jobs(
    jobs: Sequence[Job], folder: Path, digest: str, *, resume: bool, overwrite: bool
) -> tuple[list[Job], int]:
    """Leave out what is finished (`resume`), and protect files that no run of ours is known to have made.

    Returns:
        The jobs to do, and the number of those that are finished.

    Raises:
        OutputError: outputs exist and neither option allows to touch them.
    """
    if overwrite:
        return list(jobs), 0
    manifest = read_manifest(folder / MANIFEST_NAME)
    if resume and manifest.runs:
        todo = [
            job for job in jobs if not is_finished(manifest.clips.get(job.name), job.source.path, job.output, digest)
        ]
        return todo, len(jobs) - len(todo)
    # An input with a problem gets no output, and its name may be that of no file.
    existing = [job.output for job in jobs if job.source.problem is None and os.path.lexists(job.output)]
    if existing:
        missing = f"no {MANIFEST_NAME} there tells where from; " if resume else "--resume keeps what is finished, "
        raise OutputError(
            f"{len(existing)} of {len(jobs)} outputs exist already, the first is {str(existing[0])!r}: "
            f"{missing}--overwrite replaces them"
        )
    return list(jobs), 0


def make_folder(folder: Path) -> None:
    """Create a folder and those above it.

    Raises:
        OutputError: it cannot be created, or a file stands in its way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file of that name is there" if isinstance(error, FileExistsError) else error.strerror
        raise OutputError(f"output folder {str(folder)!r} cannot be made: {reason}") from error


def _file_key(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def refuse_outputs_alike(jobs: Sequence[Job], folder: Path) -> None:
    """Check that no two outputs are one file to a file system that ignores case, as those of macOS and Windows do.

    Raises:
        OutputError: two are.
    """
    taken: dict[str, Job] = {}
    for job in jobs:
        first = taken.setdefault(unicodedata.normalize("NFC", job.name).casefold(), job)
        if first.name != job.name and _ignores_case(folder):
            raise OutputError(
                f"the outputs {first.name!r} and {job.name!r} would be one file in {str(folder)!r}, where neither case "
                "nor the form of accents tells names apart: make them in two runs, into two folders"
            )


def _ignores_case(folder: Path) -> bool:
    with tempfile.NamedTemporaryFile(prefix=".Probe-\u00c9-", dir=folder) as file:
        path = Path(file.name)
        others = (path.name.swapcase(), unicodedata.normalize("NFD", path.name))
        return any((folder / other).exists() for other in others)
