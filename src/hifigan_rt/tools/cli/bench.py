"""`hifigan bench`: engines against each other, on this machine."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hifigan_rt.errors import HifiganError, OutputError
from hifigan_rt.tools.cli import completion
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.minutes import StageLines
from hifigan_rt.tools.cli.options import (
    checkpoint_options,
    json_option,
    mel_at_option,
    model_option,
    output_option,
    parse_names,
    parse_settings,
    speaker_given,
    speaker_options,
    verbosity_options,
)
from hifigan_rt.tools.cli.strict import StrictCommand, recorded_command

if TYPE_CHECKING:
    from hifigan_rt.tools.benchmark.accuracy import Accuracy
    from hifigan_rt.tools.benchmark.ais_bench_summary import ForeignFigures
    from hifigan_rt.tools.benchmark.benchmark_model import BenchmarkModel
    from hifigan_rt.tools.benchmark.candidates import CandidateOptions
    from hifigan_rt.tools.benchmark.results import BenchmarkResult
    from hifigan_rt.tools.benchmark.run import Benchmark, BenchmarkPlan, Cell

MEL_LENS = (250, 500, 750, 1000)
"""The lengths of the original guide's table."""
_MOST = 1 << 20
"""Largest number in a list; a typing error beyond it would only fill the memory."""


def _numbers(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...]:
    """N,N,..., none given as an empty tuple."""
    parts = [] if value is None else [part.strip() for part in value.split(",")]
    for part in parts:
        if not re.fullmatch(r"\d{1,9}", part) or not 1 <= int(part) <= _MOST:
            raise click.BadParameter(f"{part!r} is no whole number from 1 to {_MOST}")
    return tuple(map(int, parts))


@click.command(cls=StrictCommand)
@model_option
@click.option(
    "--engines", shell_complete=completion.engine_list, default="all", show_default=True, callback=parse_names,
    metavar="NAME,...",
    help="Each with settings of its own, as in torch:mode=compiled; a name may come twice. all: every engine that can "
    "run the model here, but the reference.",
)  # fmt: skip
@click.option(
    "--precision", "precisions", shell_complete=completion.precision_list, default="float32", show_default=True,
    callback=parse_names, metavar="NAME,...", help="Arithmetic, for each engine.",
)  # fmt: skip
@click.option("--batch", "batches", callback=_numbers, metavar="N,...", help="Clips per call [default: 1].")
@click.option(
    "--mel-len", "mel_lens", callback=_numbers, metavar="T,...",
    help="Frames of each clip [default: 250,500,750,1000].",
)  # fmt: skip
@click.option("--threads", callback=_numbers, metavar="N,...", help="[default: the physical cores that may be used].")
@click.option("--loop", type=click.IntRange(min=1), default=100, show_default=True, help="Rounds that count.")
@click.option("--warmup", type=click.IntRange(min=0), default=1, show_default=True, help="Rounds before them.")
@click.option(
    "--max-seconds", type=click.FloatRange(min=0, min_open=True), default=120.0, show_default=True,
    help="For the rounds of one case; three are run in any event.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=600.0, show_default=True,
    help="Seconds for loading, and for one inference.",
)  # fmt: skip
@click.option(
    "--input", "inputs", shell_complete=completion.files, multiple=True, metavar="PATH",
    help="A folder or file of recordings or mels; may be given again [default: a built-in sample].",
)  # fmt: skip
@mel_at_option
@click.option(
    "--reference",
    shell_complete=completion.models,
    metavar="NAME|PATH",
    help="The checkpoint of a converted model, for its SNR.",
)
@click.option("--snr/--no-snr", default=True, help="Compare with the float64 reference [default: yes].")
@click.option("--ceilings/--no-ceilings", default=True, help="Measure the machine's limits [default: yes].")
@click.option("--device", metavar="NAME", help="The runtime's own name: cuda:0, GPU, or 0,1 for two NPUs.")
@click.option(
    "--engine-option", "settings", shell_complete=completion.settings, metavar="KEY=VALUE", multiple=True,
    callback=parse_settings, help="For every engine that knows it ('hifigan engines'); may be given again.",
)  # fmt: skip
@output_option("FOLDER", "Gets bench.json, bench.csv, bench.md and pictures.")
@click.option("--overwrite", is_flag=True, help="Replace the results in FOLDER.")
@click.option(
    "--from", "earlier", type=click.Path(path_type=Path), metavar="FILE",
    help="An earlier bench.json to compare with.",
)  # fmt: skip
@click.option(
    "--ais-bench", "summaries", shell_complete=completion.files, multiple=True, metavar="FILE",
    help="A summary of ais_bench to put into the tables; FILE:mel_len=T:batch=N:device=NAME says what it does not.",
)  # fmt: skip
@click.option(
    "--eval", "evaluation", type=click.Path(path_type=Path), metavar="FILE",
    help="A report of 'hifigan eval', for the column of accuracy.",
)  # fmt: skip
@checkpoint_options
@speaker_options
@click.option("--progress/--no-progress", default=None, help="What is going on, on standard error [default: yes].")
@json_option
@verbosity_options
@click.pass_context
def bench(ctx: click.Context, /, **values: Any) -> int:
    """Measure engines against each other on this machine.

    Each candidate runs in a process of its own, one inference at a time, in strict rotation, so that what disturbs
    the machine disturbs all of them alike; ratios to the first candidate carry their 95 % interval.

    \b
    Examples:
      hifigan bench --model ljspeech-v1
      hifigan bench --model ljspeech-v1 --engines native,native --mel-len 250 --loop 100
      hifigan bench --model g_02500000 --engines native,openvino --precision float32,bfloat16 -o results/
    """
    from hifigan_rt.tools.benchmark.accuracy import read_accuracy
    from hifigan_rt.tools.benchmark.output import prepared_folder
    from hifigan_rt.tools.benchmark.results import read_json
    from hifigan_rt.tools.benchmark.run import Benchmark

    console: Console = ctx.obj
    # What can be refused quickly is refused before a model is read.
    earlier = None if values["earlier"] is None else read_json(values["earlier"])
    accuracy = None if values["evaluation"] is None else read_accuracy(values["evaluation"])
    foreign = [_read_summary(text) for text in values["summaries"]]
    folder = None if values["output"] is None else Path(values["output"])
    with contextlib.nullcontext() if folder is None else prepared_folder(folder, overwrite=values["overwrite"]):
        report: _Report | None = None
        try:
            plan = _plan(values, recorded_command(ctx), accuracy)
            console.notes(plan.notes)
            benchmark = Benchmark(plan)
            report = _Report(
                console, benchmark, folder, earlier, foreign, values["as_json"], values["overwrite"]
            )  # fmt: skip
            _measure(console, benchmark, report, values["progress"])
        except KeyboardInterrupt:
            if report is not None:
                report.interrupted()
            elif values["as_json"]:
                console.no_result()
            raise
        except (HifiganError, MemoryError):
            # A full disk, for example, or the largest case: what took hours is not lost for it.
            if report is not None:
                report.interrupted(keep=False)
            raise
        report.finish()
    return _status(benchmark)


def _status(benchmark: Benchmark) -> int:
    """0 if something was measured, and everything that was named."""
    rows = [row for case in benchmark.cases for row in case.measurements]
    named = {candidate.name for candidate in benchmark.plan.candidates if candidate.named}
    succeeded = any(row.failed is None for row in rows)
    return 0 if succeeded and not any(row.failed is not None and row.candidate in named for row in rows) else 1


def _plan(values: dict[str, Any], command: str, accuracy: Accuracy | None) -> BenchmarkPlan:
    from hifigan_rt.tools.benchmark.benchmark_model import read_benchmark_model
    from hifigan_rt.tools.benchmark.candidates import check_names, plan_candidates
    from hifigan_rt.tools.benchmark.mels import input_data, sample_data
    from hifigan_rt.tools.benchmark.run import BenchmarkPlan

    check_names(values["engines"])
    if values["mel_at"] is not None and not values["inputs"]:
        raise click.UsageError("--mel-at is for mels in the files of --input, and none is named")
    speaker, vector = speaker_given(values)
    model = read_benchmark_model(
        values["model"],
        values["config"],
        reference=values["reference"],
        with_snr=values["snr"],
        weights_at=values["weights_at"],
        family=values["family"],
        speaker=speaker,
        vector=vector,
    )
    candidates = plan_candidates(
        values["engines"], values["precisions"], model.kind, device=values["device"], settings=values["settings"]
    )
    threads, notes = _threads(values["threads"], candidates)
    cells = _cells(values, model, threads)
    longest = max(cell.frames for cell in cells)
    frames = longest * max(cell.batch for cell in cells)
    data = (
        input_data(values["inputs"], model.mel, model.num_mels, frames, values["mel_at"], latents=model.takes_latents)
        if values["inputs"]
        else sample_data(model.num_mels, frames, latents=model.takes_latents)
    )
    notes = [*model.notes, *data.notes, *notes]
    if accuracy is not None:
        notes.append(accuracy.note(values["model"]))
    if data.mel.shape[1] < longest:
        notes.append(f"the data have {data.mel.shape[1]} frames: they are repeated for mel_len {longest}")
    return BenchmarkPlan(
        model, candidates, cells, data, command, loop=values["loop"], warmup=values["warmup"],
        max_seconds=values["max_seconds"], timeout_seconds=values["timeout"], accuracy=accuracy,
        ceilings=values["ceilings"], notes=tuple(notes),
    )  # fmt: skip


def _threads(asked: tuple[int, ...], candidates: Sequence[CandidateOptions]) -> tuple[tuple[int, ...], list[str]]:
    """The numbers of threads to measure with, and what is said of candidates that those do not change."""
    from hifigan_rt.system.machine import usable_cores

    tried = [candidate for candidate in candidates if candidate.unavailable is None]
    without = [candidate.name for candidate in tried if not candidate.uses_threads]
    if not asked or not without:
        return asked or (usable_cores(),), []
    text = f"--threads changes nothing for {', '.join(without)}, which does not compute on the processor"
    if len(without) < len(tried):
        return asked, [f"{text}, and is measured beside the others in each case"]
    return (usable_cores(),), [f"{text}: each case is measured once"]


def _cells(values: dict[str, Any], model: BenchmarkModel, threads: tuple[int, ...]) -> list[Cell]:
    from hifigan_rt.tools.benchmark.run import Cell, cells

    if not model.sizes:
        other = next((batch for batch in values["batches"] if model.batch not in (None, batch)), None)
        if other is not None:
            raise click.UsageError(
                f"{model.name} was compiled for batch {model.batch}: {other} would be measured with padding"
            )
        return cells(values["batches"] or (model.batch or 1,), values["mel_lens"] or MEL_LENS, threads)
    batches = values["batches"] or sorted({batch for batch, _ in model.sizes})
    mel_lens = values["mel_lens"] or sorted({frames for _, frames in model.sizes})
    asked = [Cell(batch, frames, count) for count in threads for batch in batches for frames in mel_lens]
    refused = [cell for cell in asked if (cell.batch, cell.frames) not in model.sizes]
    if refused and (values["batches"] or values["mel_lens"]):
        has = ", ".join(f"{batch}x{frames}" for batch, frames in model.sizes)
        raise click.UsageError(
            f"{model.name} was compiled for batch x mel_len of {has}: {refused[0].batch}x{refused[0].frames} would "
            "be measured with padding"
        )
    return [cell for cell in asked if cell not in refused]


def _read_summary(text: str) -> ForeignFigures:
    from hifigan_rt.tools.benchmark.ais_bench_summary import read_summary

    path, *parts = re.split(r":(mel_len|batch|device)=", text)
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    for key in ("mel_len", "batch"):
        if key in told and not re.fullmatch(r"[1-9]\d{0,8}", told[key]):
            raise click.UsageError(f"--ais-bench {text!r}: {key}={told[key]!r} is no whole number from 1 on")
    numbers: dict[str, Any] = {key: int(value) for key, value in told.items() if key != "device"}
    return read_summary(Path(path), **numbers, device=told.get("device", "Ascend"))


def _measure(console: Console, benchmark: Benchmark, report: _Report, progress: bool | None) -> None:
    from hifigan_rt.tools.benchmark.run import Watcher
    from hifigan_rt.tools.cli.bench_table import watcher_for

    shown = console.verbosity >= 0 if progress is None else progress
    lines = StageLines("cases", len(benchmark.plan.cells))

    def save() -> None:
        lines.done = len(benchmark.cases)
        report.save()

    # A table that changes in place tells all that, and a line would tear it.
    in_place = not shown or sys.stderr.isatty()
    with nullcontext() if in_place else console.every_minute(lines.line):
        benchmark.run(watcher_for(benchmark.plan) if shown else Watcher(), after_case=save)


@dataclass
class _Report:
    """Where the result goes: to files after every case, to standard output at the end."""

    console: Console
    benchmark: Benchmark
    folder: Path | None
    earlier: BenchmarkResult | None
    foreign: Sequence[ForeignFigures]
    as_json: bool
    overwrite: bool

    def _result(self) -> BenchmarkResult:
        from hifigan_rt.tools.benchmark.output import with_foreign

        return with_foreign(self.benchmark.result(), self.foreign)

    def save(self) -> None:
        """Keep what is known, in case that the rest never comes."""
        from hifigan_rt.tools.benchmark.output import JSON_NAME, remove_tables
        from hifigan_rt.tools.benchmark.results import write_json

        if self.folder is None:
            return
        write_json(self._result(), self.folder / JSON_NAME)
        if self.overwrite:
            remove_tables(self.folder)
            self.overwrite = False

    def interrupted(self, *, keep: bool = True) -> None:
        """Keep what was measured so far; show it where that cannot be, or `keep` is False."""
        from hifigan_rt.tools.benchmark.markdown import to_markdown
        from hifigan_rt.tools.benchmark.output import write_results
        from hifigan_rt.tools.benchmark.results import to_json

        if self.as_json:
            self.console.result(to_json(self._result()))
        if not self.benchmark.cases:
            return
        if self.folder is not None and keep:
            try:
                self.save()
                write_results(self._result(), self.folder, self.earlier)
            except OutputError as error:
                self.console.note(f"note: {error}")
            else:
                self.console.note(f"what was measured so far is in {str(self.folder)!r}")
                return
        if not self.as_json:
            self.console.line(to_markdown(self._result(), self.earlier).rstrip())

    def finish(self) -> None:
        """Write everything."""
        from hifigan_rt.tools.benchmark.markdown import to_markdown
        from hifigan_rt.tools.benchmark.output import no_pictures, write_results
        from hifigan_rt.tools.benchmark.results import to_json

        result = self._result()
        if self.as_json:
            self.console.result(to_json(result))
        else:
            self.console.line(to_markdown(result, self.earlier).rstrip())
        if self.folder is not None:
            names = [path.name for path in write_results(result, self.folder, self.earlier)]
            self.console.note(f"in {str(self.folder)!r}: {', '.join(names)}")
            reason = no_pictures()
            if reason is not None:
                self.console.note(f"note: {reason}")
