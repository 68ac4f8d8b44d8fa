"""What `synth` and `mel` have in common: inputs, where the outputs go, and the run between them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hifigan_rt.tools.bulk.run import ClipRunner
    from hifigan_rt.tools.bulk.summary import RunSummary
    from hifigan_rt.tools.cli.console import Console

STREAM = "-"


@dataclass(frozen=True)
class RunOptions:
    """How the files of a run are found and treated, as the options say."""

    inputs: tuple[str, ...]
    output: str
    recursive: bool
    split: str | None
    resume: bool
    overwrite: bool
    progress: bool | None
    as_json: bool

    def check(self, suffix: str) -> None:
        """Refuse combinations that make no sense.

        Raises:
            click.UsageError: they make none.
        """
        if self.resume and self.overwrite:
            raise click.UsageError("--resume keeps what is finished and --overwrite does not: give one of them")
        if STREAM in self.inputs and len(self.inputs) > 1:
            raise click.UsageError("'-' is standard input, and must be the only input")
        if STREAM in self.inputs and self.is_folder(suffix):
            raise click.UsageError(f"standard input gives its result no name: give -o - or -o NAME{suffix}")
        if self.resume and not self.is_folder(suffix):
            raise click.UsageError("--resume goes by the manifest of an output folder, and -o names none")
        if self.output == STREAM and self.as_json:
            raise click.UsageError("--json and -o - both write to standard output: give one of them")

    def is_folder(self, suffix: str) -> bool:
        """Whether -o names a folder: one that exists, or a name that does not end like a result."""
        if self.output == STREAM:
            return False
        path = Path(self.output)
        return path.is_dir() or path.suffix.lower() != suffix


def run(
    console: Console,
    options: RunOptions,
    make_runner: Callable[[int], AbstractContextManager[ClipRunner]],
    input_suffixes: Collection[str],
    suffix: str,
) -> int:
    """Find the inputs, load what `make_runner` loads, work through them, and report.

    What can be refused without a model is refused before it is loaded; `make_runner` gets the number of clips.

    Returns:
        The exit status.
    """
    import tempfile

    from hifigan_rt.errors import DatasetError
    from hifigan_rt.system.files import plain_path
    from hifigan_rt.tools.bulk.run import run_single
    from hifigan_rt.tools.bulk.standard_streams import deliver, spool_input
    from hifigan_rt.tools.datasets import LeftOut, find_inputs

    if options.is_folder(suffix):
        return _report(console, options, _run_folder(console, options, make_runner, input_suffixes, suffix))
    left_out = LeftOut()
    with tempfile.TemporaryDirectory(prefix="hifigan-") as temporary:
        if options.inputs == (STREAM,):
            source = spool_input(sys.stdin.buffer, Path(temporary))
        else:
            found = find_inputs(
                options.inputs, input_suffixes, recursive=options.recursive, split=options.split, left_out=left_out
            )
            if len(found) > 1:
                raise DatasetError(f"-o {options.output} takes one result, and {len(found)} inputs were found")
            source = found[0]
        if options.output != STREAM:
            output = plain_path(options.output)
            with make_runner(1) as runner, console.waiting(options.inputs[0]):
                summary = run_single(runner, source, output, overwrite=options.overwrite, left_out=left_out)
            return _report(console, options, summary)
        output = Path(temporary) / f"standard-output{suffix}"
        with make_runner(1) as runner, console.waiting(options.inputs[0]):
            summary = run_single(runner, source, output, left_out=left_out)
        if summary.complete:
            deliver(output, sys.stdout.buffer)
        return _report(console, options, summary)


def _run_folder(
    console: Console,
    options: RunOptions,
    make_runner: Callable[[int], AbstractContextManager[ClipRunner]],
    input_suffixes: Collection[str],
    suffix: str,
) -> RunSummary:
    from hifigan_rt.system.files import plain_path
    from hifigan_rt.tools.bulk.outputs import plan_outputs
    from hifigan_rt.tools.bulk.run import run_in_folder
    from hifigan_rt.tools.datasets import LeftOut, find_inputs

    left_out = LeftOut()
    folder = plain_path(options.output)
    inputs = find_inputs(
        options.inputs, input_suffixes, recursive=options.recursive, split=options.split, exclude=folder,
        left_out=left_out,
    )  # fmt: skip
    jobs = plan_outputs(inputs, folder, suffix)
    with make_runner(len(jobs)) as runner, console.progress(len(jobs), options.progress) as progress:
        return run_in_folder(
            runner, jobs, folder, resume=options.resume, overwrite=options.overwrite, progress=progress,
            left_out=left_out,
        )  # fmt: skip


def _report(console: Console, options: RunOptions, summary: RunSummary) -> int:
    if options.as_json:
        console.result(summary.to_json())
    else:
        console.summary(summary, to_stderr=options.output == STREAM)
    return 0 if summary.complete else 1
