"""What `synth` and `mel` have in common: inputs, where the outputs go, and the run between them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hifigan_rt.tools.bulk.clip_files import ClipFiles
    from hifigan_rt.tools.bulk.run import ClipRunner
    from hifigan_rt.tools.bulk.summary import RunSummary
    from hifigan_rt.tools.cli.console import Console
    from hifigan_rt.tools.datasets import InputFile, LeftOut

    CheckInputs = Callable[[Sequence[InputFile]], None]

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
    on_ray: bool = False
    manifest: str | None = None
    """Local file of the manifest of results that go to a URL."""

    def check(self, suffix: str) -> None:
        """Refuse combinations that make no sense.

        Raises:
            click.UsageError: they make none.
        """
        self._check_urls(suffix)
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

    def _check_urls(self, suffix: str) -> None:
        from hifigan_rt.audio.suffixes import AUDIO_SUFFIXES
        from hifigan_rt.tools.cluster.object_store import split_url
        from hifigan_rt.tools.cluster.store_urls import is_url

        for url in filter(is_url, (*self.inputs, self.output)):
            store, key = split_url(url)
            if not self.on_ray:
                raise click.UsageError(
                    f"{store.shown(key)!r} is a URL, which 'hifigan synth --ray' takes: give --ray, or copy it"
                )
            if url is self.output and Path(key).suffix.lower() in {suffix, *AUDIO_SUFFIXES}:
                raise click.UsageError(f"-o {store.shown(key)!r} would be a single result: name a folder at a URL")
        if self.manifest is not None and not is_url(self.output):
            raise click.UsageError("--manifest is for results at a URL; a folder has its manifest.jsonl")

    def find(self, suffixes: Collection[str], left_out: LeftOut, exclude: Path | None = None) -> Sequence[InputFile]:
        """Find the inputs; see `find_inputs`."""
        from hifigan_rt.tools.datasets import find_inputs

        return find_inputs(
            self.inputs, suffixes, recursive=self.recursive, split=self.split, exclude=exclude, left_out=left_out
        )

    def is_folder(self, suffix: str) -> bool:
        """Whether -o names a folder: one that exists, a URL, or a name that does not end like a result."""
        from hifigan_rt.tools.cluster.store_urls import is_url

        if self.output == STREAM:
            return False
        if is_url(self.output):
            return True
        path = Path(self.output)
        return path.is_dir() or path.suffix.lower() != suffix


def run(
    console: Console,
    options: RunOptions,
    make_runner: Callable[[int, ClipFiles | None], AbstractContextManager[ClipRunner]],
    input_suffixes: Collection[str],
    suffix: str,
    check_inputs: CheckInputs = lambda _: None,
) -> int:
    """Find the inputs, load what `make_runner` loads, work through them, and report.

    What can be refused without a model is refused before it is loaded, also by `check_inputs`; `make_runner` gets the
    number of clips, and where they lie if that is not this machine's file systems alone.

    Returns:
        The exit status.

    Raises:
        KeyboardInterrupt: Ctrl-C; with --json the summary has been written.
    """
    try:
        return _run(console, options, make_runner, input_suffixes, suffix, check_inputs)
    except KeyboardInterrupt as error:
        if options.as_json:
            from hifigan_rt.tools.bulk.summary import RunSummary

            # One that comes before the first clip has none.
            summary = getattr(error, "summary", RunSummary(0))
            summary.interrupted = True
            console.result(summary.to_json())
        raise


def _run(
    console: Console,
    options: RunOptions,
    make_runner: Callable[[int, ClipFiles | None], AbstractContextManager[ClipRunner]],
    input_suffixes: Collection[str],
    suffix: str,
    check_inputs: CheckInputs,
) -> int:
    import tempfile

    from hifigan_rt.audio import AUDIO_SUFFIXES
    from hifigan_rt.system.files import plain_path
    from hifigan_rt.tools.bulk.run import run_single
    from hifigan_rt.tools.bulk.standard_streams import SpooledInput, deliver, spool_input
    from hifigan_rt.tools.datasets import LeftOut

    if options.is_folder(suffix):
        if Path(options.output).suffix.lower() in AUDIO_SUFFIXES and not Path(options.output).exists():
            raise click.UsageError(f"-o {options.output} names a file of another kind: give NAME{suffix}, or a folder")
        run_folder = _run_on_cluster if options.on_ray else _run_folder
        summary = run_folder(console, options, make_runner, input_suffixes, suffix, check_inputs)
        return _report(console, options, summary)
    left_out = LeftOut()
    with tempfile.TemporaryDirectory(prefix="hifigan-") as temporary:
        from_stream, to_stream = options.inputs == (STREAM,), options.output == STREAM
        if from_stream:
            source = spool_input(sys.stdin.buffer, Path(temporary))
        else:
            source = _only_input(options, input_suffixes, left_out)
        check_inputs([source])
        output = Path(temporary) / f"standard-output{suffix}" if to_stream else plain_path(options.output)
        with make_runner(1, None) as runner, console.waiting(options.inputs[0]):
            if from_stream:
                runner.files = SpooledInput()
            summary = run_single(runner, source, output, overwrite=options.overwrite, left_out=left_out)
        if to_stream and summary.complete:
            deliver(output, sys.stdout.buffer)
        return _report(console, options, summary)


def _only_input(options: RunOptions, input_suffixes: Collection[str], left_out: LeftOut) -> InputFile:
    from hifigan_rt.errors import DatasetError

    found = options.find(input_suffixes, left_out)
    if len(found) > 1:
        raise DatasetError(
            f"-o {options.output} takes one result, and {len(found)} inputs were found: name a folder, or one input"
        )
    return found[0]


def _run_folder(
    console: Console,
    options: RunOptions,
    make_runner: Callable[[int, ClipFiles | None], AbstractContextManager[ClipRunner]],
    input_suffixes: Collection[str],
    suffix: str,
    check_inputs: CheckInputs,
) -> RunSummary:
    from hifigan_rt.system.files import plain_path
    from hifigan_rt.tools.bulk.outputs import plan_outputs
    from hifigan_rt.tools.bulk.run import run_in_folder
    from hifigan_rt.tools.datasets import LeftOut

    left_out = LeftOut()
    folder = plain_path(options.output)
    inputs = options.find(input_suffixes, left_out, exclude=folder)
    check_inputs(inputs)
    jobs = plan_outputs(inputs, folder, suffix)
    with make_runner(len(jobs), None) as runner, console.progress(len(jobs), options.progress) as progress:
        return run_in_folder(
            runner, jobs, folder, resume=options.resume, overwrite=options.overwrite, progress=progress,
            left_out=left_out,
        )  # fmt: skip


def _run_on_cluster(
    console: Console,
    options: RunOptions,
    make_runner: Callable[[int, ClipFiles | None], AbstractContextManager[ClipRunner]],
    input_suffixes: Collection[str],
    suffix: str,
    check_inputs: CheckInputs,
) -> RunSummary:
    """Inputs and results may be at URLs here."""
    from hifigan_rt.system.files import plain_path
    from hifigan_rt.tools.bulk.outputs import plan_outputs
    from hifigan_rt.tools.bulk.run import run_in_folder
    from hifigan_rt.tools.cluster.object_files import ObjectFiles
    from hifigan_rt.tools.cluster.object_inputs import StoreFolder, find_inputs_anywhere
    from hifigan_rt.tools.cluster.object_store import split_url
    from hifigan_rt.tools.cluster.store_run import claimed_store, plan_objects, run_in_store
    from hifigan_rt.tools.cluster.store_urls import is_url
    from hifigan_rt.tools.datasets import LeftOut

    left_out = LeftOut()
    place = StoreFolder(*split_url(options.output)) if is_url(options.output) else None
    folder = plain_path(options.output)
    found = find_inputs_anywhere(
        options.inputs, input_suffixes, recursive=options.recursive, split=options.split, exclude=place or folder,
        left_out=left_out,
    )  # fmt: skip
    check_inputs(found.files)
    files = ObjectFiles(found.places, place, infos=found.infos)
    if place is None:
        jobs = plan_outputs(found.files, folder, suffix)
        with make_runner(len(jobs), files) as runner, console.progress(len(jobs), options.progress) as progress:
            return run_in_folder(
                runner, jobs, folder, resume=options.resume, overwrite=options.overwrite, progress=progress,
                left_out=left_out,
            )  # fmt: skip
    jobs = plan_objects(found, place, suffix)
    manifest = None if options.manifest is None else plain_path(options.manifest)
    with (
        claimed_store(place, manifest, waiting=console.note) as held,
        make_runner(len(jobs), files) as runner,
        console.progress(len(jobs), options.progress) as progress,
    ):
        return run_in_store(
            runner, jobs, held, resume=options.resume, overwrite=options.overwrite, progress=progress,
            left_out=left_out,
        )  # fmt: skip


def _report(console: Console, options: RunOptions, summary: RunSummary) -> int:
    if options.as_json:
        console.result(summary.to_json())
    else:
        console.summary(summary, to_stderr=options.output == STREAM)
    return 0 if summary.complete else 1
