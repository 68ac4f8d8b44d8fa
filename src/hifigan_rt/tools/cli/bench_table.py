"""What a person sees of a running benchmark, on standard error: a table that changes in place, or a line per case."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence

import click

from hifigan_rt.tools.benchmark.intervals import paired_ratio
from hifigan_rt.tools.benchmark.results import Case
from hifigan_rt.tools.benchmark.rotation import Rounds
from hifigan_rt.tools.benchmark.run import BenchmarkPlan, Cell, Watcher
from hifigan_rt.tools.benchmark.table_text import threads_text
from hifigan_rt.tools.cli.console import terminal_columns

_SECONDS_BETWEEN = 0.2
"""Drawing takes time of the processor that is being measured; it happens between two rounds."""


def watcher_for(plan: BenchmarkPlan) -> Watcher:
    """A table on a terminal, lines elsewhere."""
    return LiveTable(plan) if sys.stderr.isatty() else CaseLines(plan)


class CaseLines(Watcher):
    """One line for each case that is finished."""

    def __init__(self, plan: BenchmarkPlan) -> None:
        self._plan = plan
        self._done = 0

    def case_done(self, case: Case) -> None:
        self._done += 1
        texts = []
        for row in case.measurements:
            figures, latency = case.figures(row), row.latency
            if figures is None or latency is None:
                texts.append(f"{row.candidate} failed: {' '.join((row.failed or '').split())}")
            else:
                texts.append(f"{row.candidate} {latency.mean:.2f} ms, {figures.x_real_time:.2f} x real time")
        click.echo(f"{_title(self._done, self._plan, case)}: {'; '.join(texts)}", err=True)


class LiveTable(Watcher):
    """The running case, redrawn in place."""

    def __init__(self, plan: BenchmarkPlan) -> None:
        self._plan = plan
        self._number = 0
        self._states: dict[str, str] = {}
        self._height = 0
        self._drawn = 0.0
        self._ratios: dict[str, str] = {}

    def case_started(self, cell: Cell, names: Sequence[str]) -> None:
        self._number += 1
        self._title = f"[{self._number}/{len(self._plan.cells)}] {cell}"
        self._cell = cell
        self._states = dict.fromkeys(names, "waiting")
        self._height = 0
        self._ratios = {}
        self._states[names[0]] = "loading"
        self._draw(f"{self._title}: loading", {})

    def loaded(self, name: str, failed: str | None) -> None:
        self._states[name] = "ready" if failed is None else f"failed: {' '.join(failed.split())}"
        waiting = [other for other, state in self._states.items() if state == "waiting"]
        if waiting:
            self._states[waiting[0]] = "loading"
        self._draw(f"{self._title}: loading", {})

    def round_done(self, count: int, rounds: Rounds) -> None:
        for name, reason in rounds.failures.items():
            self._states[name] = f"failed: {' '.join(reason.split())}"
        now = time.monotonic()
        if count and now - self._drawn >= _SECONDS_BETWEEN:
            self._draw(f"{self._title}: round {count} of {self._plan.loop}", rounds.seconds)

    def case_done(self, case: Case) -> None:
        seconds = {row.candidate: list(row.seconds) for row in case.measurements if row.seconds}
        self._ratios = {row.candidate: str(row.ratio) for row in case.measurements if row.ratio is not None}
        for row in case.measurements:
            if row.failed is not None:
                self._states[row.candidate] = f"failed: {' '.join(row.failed.split())}"
        self._draw(f"{_title(self._number, self._plan, case)}: {len(case.others)} rounds", seconds)

    def _draw(self, title: str, seconds: dict[str, list[float]]) -> None:
        """Replace what was drawn last; a line longer than the terminal would take two and spoil the count."""
        width = terminal_columns() - 1
        lines = [title, *self._rows(seconds)]
        up = f"\x1b[{self._height}A" if self._height else ""
        click.echo(up + "".join(f"\r\x1b[2K{line[:width]}\n" for line in lines), err=True, nl=False, color=True)
        self._height = len(lines)
        self._drawn = time.monotonic()

    def _rows(self, seconds: dict[str, list[float]]) -> list[str]:
        room = max(len("candidate"), *map(len, self._states))
        measured = {name: times for name, times in seconds.items() if times}
        baseline = next(iter(measured), "")
        rows = (
            [f"  {'candidate':<{room}}  {'median ms':>10}  {'x real time':>11}  time / {baseline}"] if measured else []
        )
        for name, state in self._states.items():
            times = measured.get(name)
            # While it runs, the interval of the rounds alone.
            ratio = "1" if times is None or name == baseline else str(paired_ratio(times, measured[baseline]))
            text = state if times is None else self._figures(times, self._ratios.get(name, ratio))
            rows.append(f"  {name:<{room}}  {text}")
        return rows

    def _figures(self, times: Sequence[float], ratio: str) -> str:
        median = statistics.median(times)
        model = self._plan.model
        audio_seconds = self._cell.batch * self._cell.frames * model.hop_length / model.sample_rate
        return f"{1000 * median:>10.2f}  {audio_seconds / median:>11.2f}  {ratio}"


def _title(number: int, plan: BenchmarkPlan, case: Case) -> str:
    """Name a finished case, whose devices may have no threads of ours."""
    cell = f"batch {case.batch}, mel_len {case.mel_len}, {threads_text(case.shown_threads)}"
    return f"[{number}/{len(plan.cells)}] {cell}"
