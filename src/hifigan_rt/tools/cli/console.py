"""What a person sees: results on standard output, everything about them on standard error."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from hifigan_rt.errors import OutputError
from hifigan_rt.system.files import readable

if TYPE_CHECKING:
    from pathlib import Path

    from hifigan_rt.tools.bulk.manifest import ClipRecord
    from hifigan_rt.tools.bulk.summary import RunSummary
    from hifigan_rt.vocoder import Vocoder

_SHOWN_AT_ONCE = 20
"""Failures and warnings listed in full; the manifest has them all."""


class Console:
    """One per run of the program; `-v` and `-q` change what it shows."""

    def __init__(self) -> None:
        self.verbosity = 0
        """Above 0 with -v, below with -q."""

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
        """A line of the result, on standard output.

        Raises:
            OutputError: standard output is full or closed by its device.
        """
        try:
            click.echo(readable(text))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"standard output cannot be written: {error.strerror}") from error

    def result(self, values: Mapping[str, Any] | list[Any]) -> None:
        """Write JSON on standard output, for machines."""
        self.line(json.dumps(values, indent=2, ensure_ascii=True))

    def vocoder(self, vocoder: Vocoder) -> None:
        """What was loaded, and what runs it."""
        info = vocoder.engine_info
        threads = f"{info.threads} thread{'s' if info.threads != 1 else ''}"
        self.note(f"model {vocoder.name!r} on {info.name} {info.version}: {info.precision}, {threads}, {info.device}")
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
                click.echo(f"warning: {text} ({_clips(count)})", err=True)
        for name, reason in summary.failed[:_SHOWN_AT_ONCE]:
            # Most reasons name the file already.
            click.echo(f"failed: {reason if repr(name) in reason else f'{name!r}: {reason}'}", err=True)
        if len(summary.failed) > _SHOWN_AT_ONCE:
            more = len(summary.failed) - _SHOWN_AT_ONCE
            where = "" if summary.manifest is None else f", all are in {str(summary.manifest)!r}"
            click.echo(f"and {more} more failed{where}", err=True)
        if summary.stopped is not None:
            self.error(f"stopped after {summary.done + summary.skipped} of {summary.clips} clips: {summary.stopped}")

    def failures(self, failed: Sequence[tuple[str, str]], record: Path | None) -> None:
        """What could not be done, each with its name and reason; shown with -q too."""
        for name, reason in failed[:_SHOWN_AT_ONCE]:
            click.echo(f"failed: {reason if repr(name) in reason else f'{name!r}: {reason}'}", err=True)
        if len(failed) > _SHOWN_AT_ONCE:
            where = "" if record is None else f", all are in {str(record)!r}"
            click.echo(f"and {len(failed) - _SHOWN_AT_ONCE} more failed{where}", err=True)

    @contextmanager
    def progress(self, clips: int, forced: bool | None) -> Iterator[Callable[[ClipRecord], None]]:
        """A bar on standard error that tells audio seconds per second; on a terminal only, unless forced."""
        started, audio_seconds = time.perf_counter(), 0.0

        def speed(record: ClipRecord | None) -> str | None:
            if record is None:
                return None
            return f"{audio_seconds / (time.perf_counter() - started):.1f} s of audio per s"

        with self._bar("clips", clips, forced, speed) as advance:

            def count(record: ClipRecord) -> None:
                nonlocal audio_seconds
                audio_seconds += record.audio_seconds or 0.0
                advance(record)

            yield count

    @contextmanager
    def steps(self, label: str, count: int, forced: bool | None) -> Iterator[Callable[[], None]]:
        """A bar on standard error for one stage of several; shown as `progress` is."""
        with self._bar(label, count, forced, lambda _: None) as advance:
            yield lambda: advance(None)

    @contextmanager
    def _bar(
        self, label: str, length: int, forced: bool | None, show: Callable[[Any], str | None]
    ) -> Iterator[Callable[[Any], None]]:
        shown = sys.stderr.isatty() if forced is None else forced
        if not shown or self.verbosity < 0 or length == 0:
            yield lambda _: None
            return
        with click.progressbar(length=length, label=label, show_pos=True, item_show_func=show, file=sys.stderr) as bar:
            if forced:
                # click decides by the stream whether to draw, and has no public switch for it.
                bar._is_atty = True
            yield lambda item: bar.update(1, item)


def _summary_lines(summary: RunSummary) -> Iterator[str]:
    counts = [f"{_clips(summary.done)} done"]
    if summary.skipped:
        counts.append(f"{summary.skipped} finished before")
    if summary.failed:
        counts.append(f"{len(summary.failed)} failed")
    yield ", ".join(counts)
    if summary.x_real_time is not None:
        yield (
            f"{summary.audio_seconds:.2f} s of audio in {summary.wall_seconds:.2f} s; "
            f"{summary.compute_seconds:.2f} s of them computing: {summary.x_real_time:.2f} x real time"
        )
    yield from summary.left_out.note
    if summary.caveat:
        yield summary.caveat
    if summary.manifest is not None:
        yield f"results and {summary.manifest.name} are in {str(summary.manifest.parent)!r}"
    if summary.clipped_samples:
        yield f"clipped: {summary.clipped_samples} samples in {_clips(summary.clipped_clips)}"
    if summary.samples_dropped:
        yield f"after the last whole frame of the inputs, and so not in the outputs: {summary.samples_dropped} samples"


def _clips(count: int) -> str:
    return f"{count} clip{'s' if count != 1 else ''}"
