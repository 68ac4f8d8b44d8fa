"""What `synth` and `mel` have in common: inputs, where the outputs go, and the run between them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from hifigan_rt.tools.bulk.clip_files import ClipFiles
    from hifigan_rt.tools.bulk.run import ClipRunner
    from hifigan_rt.tools.bulk.summary import RunSummary
    from hifigan_rt.tools.cli.console import Console
    from hifigan_rt.tools.cluster.object_inputs import FoundInputs, StoreFolder
    from hifigan_rt.tools.datasets import InputFile, LeftOut

STREAM = "-"


@dataclass(frozen=True)
class RunOptions:
    """How the files of a run are found and treated, as the options say."""

    suffix: str
    """Suffix of results, with its dot."""
    inputs: tuple[str, ...]
    output: str
    recursive: bool
    split: str | None
    resume: bool
    overwrite: bool
    progress: bool | None
    as_json: bool
    mel_l1: bool = False
    """Whether each line of the manifest is to have that distance."""
    on_ray: bool = False
    manifest: str | None = None
    """Local file of the manifest of results that go to a URL."""

    @classmethod
    def checked(cls, values: Mapping[str, Any], suffix: str) -> Self:
        """Take what a command's values say of the run, and refuse combinations that make no sense.

        Raises:
            click.UsageError: they make none.
        """
        names = {field.name for field in fields(cls)}
        options = cls(suffix, **{name: value for name, value in values.items() if name in names})
        options._check()
        return options

    def _check(self) -> None:
        self._check_urls()
        if self.resume and self.overwrite:
            raise click.UsageError("--resume keeps what is finished and --overwrite does not: give one of them")
        if STREAM in self.inputs and len(self.inputs) > 1:
            raise click.UsageError("'-' is standard input, and must be the only input")
        if STREAM in self.inputs and self.is_folder:
            raise click.UsageError(f"standard input gives its result no name: give -o - or -o NAME{self.suffix}")
        if STREAM in self.inputs and self.split is not None:
            raise click.UsageError(f"--split {self.split} needs an LJSpeech folder, and '-' is standard input")
        if self.resume and not self.is_folder:
            raise click.UsageError("--resume goes by the manifest of an output folder, and -o names none")
        if self.output == STREAM and self.as_json:
            raise click.UsageError("--json and -o - both write to standard output: give one of them")

    def _check_urls(self) -> None:
        from hifigan_rt.audio.suffixes import AUDIO_SUFFIXES
        from hifigan_rt.tools.cluster.object_store import split_url
        from hifigan_rt.tools.cluster.store_urls import is_url

        for url in filter(is_url, (*self.inputs, self.output)):
            store, key = split_url(url)
            if not self.on_ray:
                raise click.UsageError(
                    f"{store.shown(key)!r} is a URL, which 'hifigan synth --ray' takes: give --ray, or copy it"
                )
            if url is self.output and Path(key).suffix.lower() in {self.suffix, *AUDIO_SUFFIXES}:
                raise click.UsageError(f"-o {store.shown(key)!r} would be a single result: name a folder at a URL")
        if self.manifest is not None and not is_url(self.output):
            raise click.UsageError("--manifest is for results at a URL; a folder has its manifest.jsonl")

    def find(
        self, suffixes: Collection[str], left_out: LeftOut, exclude: Path | StoreFolder | None = None
    ) -> FoundInputs:
        """Find the inputs; see `find_inputs`. On a cluster some may be at URLs."""
        from hifigan_rt.tools.cluster.object_inputs import FoundInputs, find_inputs_anywhere
        from hifigan_rt.tools.datasets import find_inputs

        manner: dict[str, Any] = {
            "recursive": self.recursive, "split": self.split, "exclude": exclude, "left_out": left_out,
        }  # fmt: skip
        if self.on_ray:
            return find_inputs_anywhere(self.inputs, suffixes, **manner)
        return FoundInputs(find_inputs(self.inputs, suffixes, **manner))

    @property
    def is_folder(self) -> bool:
        """Whether -o names a folder: one that exists, a URL, or a name that does not end like a result."""
        from hifigan_rt.tools.cluster.store_urls import is_url

        if self.output == STREAM:
            return False
        if is_url(self.output):
            return True
        path = Path(self.output)
        return path.is_dir() or path.suffix.lower() != self.suffix


@dataclass(frozen=True)
class ClipWork:
    """What a command does with its clips."""

    input_suffixes: Collection[str]
    make_runner: Callable[[int, ClipFiles | None], AbstractContextManager[ClipRunner]]
    """Gets the number of clips, and where they lie if that is not this machine's file systems alone."""
    check_inputs: Callable[[Sequence[InputFile]], None] = lambda _: None
    """Refuses what can be refused without a model, before that is loaded."""


def run(console: Console, options: RunOptions, work: ClipWork) -> int:
    """Find the inputs, load what is needed, work through them, and report.

    Returns:
        The exit status.

    Raises:
        KeyboardInterrupt: Ctrl-C; with --json the summary has been written.
    """
    try:
        return _run(console, options, work)
    except KeyboardInterrupt as error:
        if options.as_json:
            from hifigan_rt.tools.bulk.summary import RunSummary

            # One that comes before the first clip has none.
            summary = getattr(error, "summary", RunSummary(0))
            summary.interrupted = True
            console.result(summary.to_json())
        raise


def _run(console: Console, options: RunOptions, work: ClipWork) -> int:
    import shutil
    import tempfile

    from hifigan_rt.audio import AUDIO_SUFFIXES
    from hifigan_rt.system.files import plain_path
    from hifigan_rt.tools.bulk.run import run_single
    from hifigan_rt.tools.bulk.standard_streams import SpooledInput, spool_input
    from hifigan_rt.tools.cli.console import standard_output
    from hifigan_rt.tools.datasets import LeftOut

    if options.is_folder:
        if Path(options.output).suffix.lower() in AUDIO_SUFFIXES and not Path(options.output).exists():
            raise click.UsageError(
                f"-o {options.output} names a file of another kind: give NAME{options.suffix}, or a folder"
            )
        return _report(console, options, _run_folder(console, options, work))
    left_out = LeftOut()
    with tempfile.TemporaryDirectory(prefix="hifigan-") as temporary:
        from_stream, to_stream = options.inputs == (STREAM,), options.output == STREAM
        if from_stream:
            source = spool_input(sys.stdin.buffer, Path(temporary))
        else:
            source = _only_input(options, work.input_suffixes, left_out)
        work.check_inputs([source])
        output = Path(temporary) / f"standard-output{options.suffix}" if to_stream else plain_path(options.output)
        with work.make_runner(1, None) as runner, console.waiting(options.inputs[0]):
            if from_stream:
                runner.files = SpooledInput()
            summary = run_single(runner, source, output, overwrite=options.overwrite, left_out=left_out)
        if to_stream and summary.complete:
            with output.open("rb") as file, standard_output():
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
        return _report(console, options, summary)


def _only_input(options: RunOptions, input_suffixes: Collection[str], left_out: LeftOut) -> InputFile:
    from hifigan_rt.errors import DatasetError

    found = options.find(input_suffixes, left_out).files
    if len(found) > 1:
        raise DatasetError(
            f"-o {options.output} takes one result, and {len(found)} inputs were found: name a folder, or one input"
        )
    return found[0]


def _run_folder(console: Console, options: RunOptions, work: ClipWork) -> RunSummary:
    from hifigan_rt.system.files import plain_path
    from hifigan_rt.tools.bulk.outputs import plan_outputs
    from hifigan_rt.tools.bulk.run import run_in_folder
    from hifigan_rt.tools.cluster.object_files import ObjectFiles
    from hifigan_rt.tools.cluster.object_inputs import StoreFolder
    from hifigan_rt.tools.cluster.object_store import split_url
    from hifigan_rt.tools.cluster.store_run import claimed_store, plan_objects, run_in_store
    from hifigan_rt.tools.cluster.store_urls import is_url
    from hifigan_rt.tools.datasets import LeftOut

    left_out = LeftOut()
    place = StoreFolder(*split_url(options.output)) if is_url(options.output) else None
    folder = plain_path(options.output)
    found = options.find(work.input_suffixes, left_out, exclude=place or folder)
    work.check_inputs(found.files)
    files = ObjectFiles(found.places, place, infos=found.infos) if options.on_ray else None
    if place is None:
        jobs = plan_outputs(found.files, folder, options.suffix)
    else:
        jobs = plan_objects(found, place, options.suffix)
    manifest = None if options.manifest is None else plain_path(options.manifest)
    with (
        nullcontext() if place is None else claimed_store(place, manifest, waiting=console.note) as held,
        work.make_runner(len(jobs), files) as runner,
        console.progress(len(jobs), options.progress) as progress,
    ):
        manner: dict[str, Any] = {
            "resume": options.resume, "overwrite": options.overwrite, "progress": progress, "left_out": left_out,
            "figures": ("mel_l1",) if options.mel_l1 else (),
        }  # fmt: skip
        if held is None:
            return run_in_folder(runner, jobs, folder, **manner)
        return run_in_store(runner, jobs, held, **manner)


def _report(console: Console, options: RunOptions, summary: RunSummary) -> int:
    if options.as_json:
        console.result(summary.to_json())
    else:
        console.summary(summary, to_stderr=options.output == STREAM)
    return 0 if summary.complete else 1
