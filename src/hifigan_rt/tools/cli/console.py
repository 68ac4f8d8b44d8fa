"""What a person sees: results on standard output, everything about them on standard error."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from hifigan_rt.errors import OutputError
from hifigan_rt.system.files import readable
from hifigan_rt.tools.cli.minutes import EveryMinute, StageLines, duration
from hifigan_rt.tools.tables import counted

if TYPE_CHECKING:
    from pathlib import Path

    from hifigan_rt.tools.bulk.manifest import ClipRecord
    from hifigan_rt.tools.bulk.summary import RunSummary
    from hifigan_rt.vocoder import Vocoder

_SHOWN_AT_ONCE = 20
"""Failures and warnings listed in full; the manifest has them all."""

_WIDEST_BAR, _LEAST_BAR = 36, 8
_REMARK_COLUMNS = 25
_BESIDE_BAR_COLUMNS = 21
"""Brackets, spaces, a time to come of a day and more, and the last column, which some terminals wrap after."""


def terminal_columns() -> int:
    """Width of the terminal that standard error leads to; `shutil` asks standard output's, which may be a file."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or shutil.get_terminal_size().columns
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns


@contextmanager
def standard_output() -> Iterator[None]:
    """Context in which standard output is written.

    Raises:
        BrokenPipeError: nobody reads it any more.
        OutputError: it is full or closed by its device.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


class Console:
    """One per run of the program; `-v` and `-q` change what it shows."""

    def __init__(self) -> None:
        self.verbosity = 0
        """Above 0 with -v, below with -q."""
        self._told: set[tuple[str, str]] = set()  # failures
        self._stage_told: StageLines | None = None  # in lines, not by a bar

    def note(self, text: str) -> None:
        """Something worth knowing."""
        if self.verbosity >= 0:
            click.echo(readable(text), err=True)

    def error(self, text: str) -> None:
        """Why the program failed; shown with -q too."""
        click.echo(readable(f"hifigan: error: {text}"), err=True)

    def trace(self, error: BaseException) -> None:
        """Where an error came from, with -v."""
        if self.verbosity > 0:
            click.echo("".join(traceback.format_exception(error)).rstrip(), err=True)

    def line(self, text: str) -> None:
        """A line of the result, on standard output; raises as `standard_output` does."""
        with standard_output():
            click.echo(readable(text))

    def result(self, values: Mapping[str, Any] | list[Any]) -> None:
        """Write JSON on standard output, for machines."""
        self.line(json.dumps(values, indent=2, ensure_ascii=True))

    def no_result(self) -> None:
        """Tell machines that an interruption came before there was any."""
        self.result({"interrupted": True, "complete": False})

    def vocoder(self, vocoder: Vocoder) -> None:
        """What was loaded, and what runs it."""
        info = vocoder.engine_info
        threads = counted(info.threads, "thread")
        self.note(f"model {vocoder.name!r} on {info.name} {info.version}: {info.precision}, {threads}, {info.device}")
        asked = vocoder.engine.options.threads
        if asked not in (None, info.threads):
            self.note(f"note: --threads {asked} was asked for, and engine {info.name!r} takes {threads}")
        self.notes(vocoder.notes)

    def notes(self, texts: Sequence[str]) -> None:
        """What was assumed while loading a model."""
        for text in texts:
            self.note(f"note: {text}")

    def summary(self, summary: RunSummary, to_stderr: bool = False) -> None:
        """What a run over many clips has come to; failures also with -q."""
        if self.verbosity >= 0:
            for line in _summary_lines(summary):
                (self.note if to_stderr else self.line)(line)
            for text, count in list(summary.warnings.values())[:_SHOWN_AT_ONCE]:
                click.echo(f"warning: {text} ({counted(count, 'clip')})", err=True)
        self.failures(summary.failed, summary.manifest)
        if summary.stopped is not None:
            self.error(f"stopped after {summary.done + summary.skipped} of {summary.clips} clips: {summary.stopped}")

    def failures(self, failed: Sequence[tuple[str, str]], record: Path | str | None) -> None:
        """What could not be done, each with its name and reason, but those told before; shown with -q too.

        Args:
            failed: names and reasons.
            record: the file that has all of them.
        """
        for name, reason in failed:
            self.failure(name, reason)
        if len(failed) > _SHOWN_AT_ONCE:
            where = "" if record is None else f", all are in {str(record)!r}"
            click.echo(f"and {len(failed) - _SHOWN_AT_ONCE} more failed{where}", err=True)

    def failure(self, name: str, reason: str) -> None:
        """What could not be done, once, and no more than the first ones; shown with -q too."""
        if (name, reason) in self._told or len(self._told) >= _SHOWN_AT_ONCE:
            return
        self._told.add((name, reason))
        # Most reasons name the file already.
        click.echo(f"failed: {reason if repr(name) in reason else f'{name!r}: {reason}'}", err=True)

    def failure_now(self, name: str, reason: str) -> None:
        """What could not be done in the present stage, unless a bar is shown, which the line would tear."""
        if self._stage_told is not None:
            self._stage_told.failed += 1
            self.failure(name, reason)

    def every_minute(self, say: Callable[[float], str]) -> AbstractContextManager[None]:
        """Context in which a line is shown each minute; `say` makes it of the seconds that have passed."""
        return EveryMinute(lambda seconds: self.note(say(seconds))) if self.verbosity >= 0 else nullcontext()

    @contextmanager
    def foreign_output(self) -> Iterator[None]:
        """Context in which a library prints to standard output as it likes: shown with -v, among the notes."""
        with open(os.devnull, "w") as nowhere, redirect_stdout(sys.stderr if self.verbosity > 0 else nowhere):  # noqa: PTH123
            yield

    def waiting(self, what: str) -> AbstractContextManager[None]:
        """Context of work that tells nothing of itself; each minute it is said to go on."""
        return self.every_minute(lambda seconds: f"{what}: still at work after {duration(seconds)}")

    @contextmanager
    def progress(self, clips: int, forced: bool | None) -> Iterator[Callable[[ClipRecord], None]]:
        """Progress over clips, as `steps` shows it, with the audio seconds per second."""
        started, audio_seconds = time.perf_counter(), 0.0

        def speed() -> str | None:
            passed = time.perf_counter() - started
            return f"{audio_seconds / passed:.1f} s of audio per s" if audio_seconds else None

        with self.steps("clips", clips, forced, speed) as advance:

            def count(record: ClipRecord) -> None:
                nonlocal audio_seconds
                audio_seconds += record.audio_seconds or 0.0
                if record.status == "failed":
                    self.failure_now(record.input, record.error or "unknown")
                advance()

            yield count

    @contextmanager
    def steps(
        self, label: str, count: int, forced: bool | None, remark: Callable[[], str | None] = lambda: None
    ) -> Iterator[Callable[[], None]]:
        """Progress of one stage of several on standard error.

        On a terminal it is a bar. Elsewhere it is a line a minute, and `failure_now` tells failures as they come.

        Args:
            label: what is counted.
            count: steps of the stage.
            forced: whether there is a bar, wherever standard error leads; without one there is no line either.
            remark: what is shown beside the count.

        Yields:
            The function to call after each step.
        """
        shown = sys.stderr.isatty() if forced is None else forced
        if shown and self.verbosity >= 0 and count:
            # A line longer than the terminal takes two, and every step would leave one behind.
            room = terminal_columns() - _BESIDE_BAR_COLUMNS - len(f"{label}{count}/{count}")
            remarks = room >= _LEAST_BAR + _REMARK_COLUMNS
            width = min(_WIDEST_BAR, max(1, room - _REMARK_COLUMNS * remarks))
            bar: click._termui_impl.ProgressBar[None]
            with click.progressbar(
                length=count, label=label, show_pos=True, width=width, file=sys.stderr,
                item_show_func=lambda _: remark() if remarks else None,
            ) as bar:  # fmt: skip
                if forced:
                    # click decides by the stream whether to draw, and has no public switch for it.
                    bar._is_atty = True
                yield lambda: bar.update(1)
            return
        lines = self._stage_told = StageLines(label, count)
        silent = forced is False or not count
        try:
            with nullcontext() if silent else self.every_minute(lambda seconds: lines.line(seconds, remark())):
                yield lines.step
        finally:
            self._stage_told = None


def _summary_lines(summary: RunSummary) -> Iterator[str]:
    counts = [f"{counted(summary.done, 'clip')} done"]
    if summary.skipped:
        counts.append(f"{summary.skipped} finished before")
    if summary.failed:
        counts.append(f"{len(summary.failed)} failed")
    yield ", ".join(counts)
    if summary.audio_seconds:  # not of clips that were measured
        speed = summary.x_real_time
        yield f"{summary.audio_seconds:.2f} s of audio in {summary.wall_seconds:.2f} s" + (
            "" if speed is None else f"; {summary.compute_seconds:.2f} s of them computing: {speed:.2f} x real time"
        )
    yield from summary.left_out.note
    yield from summary.notes
    if summary.caveat:
        yield summary.caveat
    if summary.manifest is not None:
        folder, _, name = str(summary.manifest).replace(os.sep, "/").rpartition("/")
        yield f"results and {name} are in {folder!r}"
    for text, count in summary.conversions.items():
        yield f"{text}: {counted(count, 'clip')}"
    if summary.clipped_samples:
        yield f"clipped: {summary.clipped_samples} samples in {counted(summary.clipped_clips, 'clip')}"
    if summary.samples_dropped:
        yield f"after the last whole frame of the inputs, and so not in the outputs: {summary.samples_dropped} samples"
