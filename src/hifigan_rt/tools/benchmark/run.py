"""A benchmark from plan to result: case by case, every candidate in its own process, in strict rotation."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.engines import REGISTRY
from hifigan_rt.errors import OutputError
from hifigan_rt.tools.benchmark.accuracy import Accuracy
from hifigan_rt.tools.benchmark.benchmark_model import BenchmarkModel
from hifigan_rt.tools.benchmark.candidate_process import DEFAULT_TIMEOUT_SECONDS
from hifigan_rt.tools.benchmark.candidates import CandidateOptions
from hifigan_rt.tools.benchmark.case_run import CandidateJob, CaseRun
from hifigan_rt.tools.benchmark.ceiling import measure_ceilings
from hifigan_rt.tools.benchmark.engine_worker import MODULE, EngineJob
from hifigan_rt.tools.benchmark.intervals import LEAST_ROUNDS, between_processes, paired_ratio
from hifigan_rt.tools.benchmark.machine_record import machine_record
from hifigan_rt.tools.benchmark.mels import MelData, crops
from hifigan_rt.tools.benchmark.results import BenchmarkResult, Case, Ceiling, Measurement, Ratio
from hifigan_rt.tools.benchmark.rotation import Rounds, chosen_rounds
from hifigan_rt.tools.tables import counted

LEAST_ROUNDS_OF_A_CASE = 3
"""Number of rounds that are run however long they take."""


_COARSE = (
    ": milliseconds in float32 since the model was loaded, in steps of 0.004 ms after one minute and 0.06 ms after 15; "
    "backend=aclruntime measures in nanoseconds"
)


@dataclass(frozen=True)
class Cell:
    """What a case is asked for."""

    batch: int
    frames: int
    threads: int

    def __str__(self) -> str:
        return f"batch {self.batch}, mel_len {self.frames}, {counted(self.threads, 'thread')}"


@dataclass(frozen=True)
class BenchmarkPlan:
    """Everything that a benchmark is to measure, and how."""

    model: BenchmarkModel
    candidates: Sequence[CandidateOptions]
    cells: Sequence[Cell]
    data: MelData
    command: str
    loop: int = 100
    """Rounds that count."""
    warmup: int = 1
    max_seconds: float = 120.0
    """Limit for the rounds of one case."""
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    accuracy: Accuracy | None = None
    ceilings: bool = True
    notes: tuple[str, ...] = ()


class Watcher:
    """Is told how a benchmark goes on; does nothing with it."""

    def case_started(self, cell: Cell, names: Sequence[str]) -> None:
        """Candidates will be loaded, in this order."""

    def loaded(self, name: str, failed: str | None) -> None:
        """One candidate is loaded and has run once, or could not be loaded."""

    def round_done(self, count: int, rounds: Rounds) -> None:
        """A round is over; `count` of them count so far."""

    def case_done(self, case: Case) -> None:
        """A case is finished."""


@dataclass
class Benchmark:
    """A running benchmark; `result` is what is known so far, also after an interruption."""

    plan: BenchmarkPlan
    cases: list[Case] = field(default_factory=list)
    ceilings: list[Ceiling] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M:%S %z"))

    def run(self, watcher: Watcher, after_case: Callable[[], None] = lambda: None) -> None:
        """Measure the ceilings and every case; `after_case` is called when `result` has another one.

        Whatever ends it early, no worker is left, and `result` has what was measured.

        Raises:
            KeyboardInterrupt: interrupted.
            OutputError: the folder for temporary files is full, or `after_case` says so of another.
        """
        finished = 0
        try:
            if self.plan.ceilings:
                for threads in dict.fromkeys(cell.threads for cell in self.plan.cells):
                    self.ceilings += measure_ceilings(threads)
            for cell in self.plan.cells:
                with _temporary_folder() as folder:
                    self._run_case(cell, folder, watcher)
                watcher.case_done(self.cases[-1])
                finished += 1
                after_case()
        except BaseException as error:
            self.interrupted = isinstance(error, KeyboardInterrupt) or finished < len(self.plan.cells)
            raise

    def result(self) -> BenchmarkResult:
        """Everything measured so far."""
        model, plan, evaluated = self.plan.model, self.plan, self.plan.accuracy
        notes = [*plan.notes, *self.notes]
        if model.reference is not None and any(model.reference.is_partial(cell.frames) for cell in plan.cells):
            notes.append(model.reference.describe())
        return BenchmarkResult(
            date=self.date, command=plan.command, model=model.name, weights=model.weights,
            data_set=plan.data.name, sample_rate=model.sample_rate, hop_length=model.hop_length,
            machine=machine_record(), ceilings=tuple(self.ceilings),
            accuracy=None if evaluated is None else evaluated.text,
            accuracy_engine="" if evaluated is None else evaluated.engine,
            accuracy_precision="" if evaluated is None else evaluated.precision,
            cases=tuple(self.cases), notes=tuple(dict.fromkeys(notes)), interrupted=self.interrupted,
        )  # fmt: skip

    def _run_case(self, cell: Cell, folder: Path, watcher: Watcher) -> None:
        run: CaseRun | None = None
        try:
            mel = crops(self.plan.data.mel, cell.batch, cell.frames)
            reference = self.plan.model.reference
            expected = [] if reference is None else reference.compute(mel)
            with _naming_temporary_files():
                np.save(folder / "mel.npy", mel)
            run = CaseRun(cell.threads, folder / "workers.log", self.plan.timeout_seconds)
            self._measure(cell, run, folder / "mel.npy", watcher)
            run.finish(None if reference is None else partial(reference.snr_db, expected))
        except KeyboardInterrupt:
            self.notes.append(f"interrupted in the case of {cell}, after {run.rounds.count if run else 0} rounds")
            raise
        finally:
            if run is not None:
                run.close()
                self.cases.append(_case(self.plan, cell, run))

    def _measure(self, cell: Cell, run: CaseRun, mel_path: Path, watcher: Watcher) -> None:
        plan, model = self.plan, self.plan.model
        watcher.case_started(cell, [candidate.name for candidate in plan.candidates])
        for candidate in plan.candidates:
            job = EngineJob(
                candidate.engine, model.argument, model.config, candidate.precision, cell.threads,
                str(mel_path), candidate.device, dict(candidate.settings), model.weights_at, model.speaker,
                None if model.vector is None else list(model.vector), model.family,
            )  # fmt: skip
            run.load(candidate.name, CandidateJob(MODULE, job.to_json(), candidate.unavailable))
            if run.facts.get(candidate.name, {}).get("device_clock"):
                coarse = candidate.settings.get("backend") == "ais_bench"
                self.notes.append(
                    f"{candidate.name}: times are the device's own, as ais_bench counts them{_COARSE if coarse else ''}"
                )
            watcher.loaded(candidate.name, run.failures.get(candidate.name))
        run.rotate(
            plan.loop, plan.max_seconds, min_rounds=min(LEAST_ROUNDS_OF_A_CASE, plan.loop), warm_up=plan.warmup,
            most_rounds=plan.loop, after_round=lambda count: watcher.round_done(count, run.rounds),
        )  # fmt: skip


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        with _naming_temporary_files():
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hifigan-bench-"))
        yield Path(folder)


@contextlib.contextmanager
def _naming_temporary_files() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = repr(tempfile.tempdir) if tempfile.tempdir else "of this system"
        raise OutputError(
            f"the folder for temporary files {place} cannot be written to, where mels lie for the candidates: "
            f"{error.strerror or error}; TMPDIR names another"
        ) from error


def _case(plan: BenchmarkPlan, cell: Cell, run: CaseRun) -> Case:
    """What was measured, with the ratios; after an interruption, of the rounds that all finished."""
    whole, failures = run.rounds.count, run.failures | run.rounds.failures
    seconds = {
        name: tuple(times[:whole]) for name, times in run.rounds.seconds.items() if whole and name not in failures
    }
    names = [candidate.name for candidate in plan.candidates]
    # The first that has figures, so that the ratios do not hang on one that failed.
    baseline = next((name for name in names if name in seconds), names[0])
    others = tuple(run.rounds.others[:whole])
    rows = []
    for candidate in plan.candidates:
        name = candidate.name
        asked = "" if REGISTRY[candidate.engine].precision_of_file else candidate.precision
        row = Measurement(name, candidate.engine, asked, failures.get(name), **_told(run.facts.get(name)))
        if name in seconds:
            row = replace(
                row, seconds=seconds[name], processor_seconds=tuple(run.rounds.processor_seconds[name][:whole]),
                products=_products(run.facts[name], cell), ratio=_ratio(seconds[name], seconds[baseline], others),
            )  # fmt: skip
        elif row.failed is None:
            row = replace(row, failed="interrupted before its first round")
        rows.append(row)
    model = plan.model
    return Case(
        cell.batch, cell.frames, cell.threads,
        audio_seconds=cell.batch * cell.frames * model.hop_length / model.sample_rate,
        macs=None if model.macs_per_frame is None else model.macs_per_frame * cell.batch * cell.frames,
        baseline=baseline, others=others, measurements=tuple(rows),
    )  # fmt: skip


def _products(facts: Mapping[str, Any], cell: Cell) -> float | None:
    per_frame: float | None = facts["executed"]["products_per_frame"]
    return None if per_frame is None else per_frame * cell.frames * cell.batch


def _told(facts: Mapping[str, Any] | None) -> dict[str, Any]:
    if facts is None:
        return {}
    executed = facts["executed"]
    return {
        "runtime": executed["runtime"], "device": executed["device"], "precision": executed["precision"],
        "executed_threads": executed["threads"], "caveat": executed["caveat"],
        "load_seconds": facts["load_seconds"], "first_seconds": facts["first_seconds"],
        "peak_memory_mib": facts.get("peak_memory_mib"), "snr_db": facts.get("snr_db"),
    }  # fmt: skip


def _ratio(seconds: Sequence[float], baseline: Sequence[float], others: Sequence[float | None]) -> Ratio:
    """Over the quiet rounds where they are enough to resolve anything, else over all."""
    used, _ = chosen_rounds(others, LEAST_ROUNDS)
    ratio = paired_ratio([seconds[index] for index in used], [baseline[index] for index in used])
    if seconds is baseline:
        return ratio
    shares = [share for index in used if (share := others[index]) is not None]
    return between_processes(ratio, statistics.median(shares) if shares else None)


def cells(batches: Sequence[int], mel_lens: Sequence[int], threads: Sequence[int]) -> list[Cell]:
    """Every combination, each once, in the order given."""
    return list(dict.fromkeys(Cell(b, m, t) for t, b, m in itertools.product(threads, batches, mel_lens)))
