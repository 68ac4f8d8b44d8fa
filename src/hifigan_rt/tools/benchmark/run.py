"""A benchmark from plan to result: case by case, every candidate in its own process, in strict rotation."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.engines import REGISTRY
from hifigan_rt.tools.benchmark.benchmark_model import BenchmarkModel
from hifigan_rt.tools.benchmark.candidate_process import DEFAULT_TIMEOUT_SECONDS, CandidateProcess
from hifigan_rt.tools.benchmark.candidates import CandidateOptions
from hifigan_rt.tools.benchmark.ceiling import measure_ceilings
from hifigan_rt.tools.benchmark.engine_worker import MODULE, EngineJob
from hifigan_rt.tools.benchmark.intervals import LEAST_ROUNDS, between_processes, paired_ratio
from hifigan_rt.tools.benchmark.machine_record import machine_record
from hifigan_rt.tools.benchmark.mels import MelData, crops
from hifigan_rt.tools.benchmark.results import BenchmarkResult, Case, Ceiling, Measurement, Ratio
from hifigan_rt.tools.benchmark.rotation import CandidateFailed, Rounds, chosen_rounds, rotate

LEAST_ROUNDS_OF_A_CASE = 3
"""Are run however long they take."""


@dataclass(frozen=True)
class Cell:
    """What a case is asked for."""

    batch: int
    frames: int
    threads: int

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"batch {self.batch}, mel_len {self.frames}, {threads}"


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
    accuracy: str | None = None
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
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M:%S %z"))

    def run(self, watcher: Watcher, after_case: Callable[[], None] = lambda: None) -> None:
        """Measure the ceilings and every case; `after_case` is called when `result` has another one.

        Raises:
            KeyboardInterrupt: interrupted; no worker is left, and `result` has what was measured.
        """
        if self.plan.ceilings:
            for threads in dict.fromkeys(cell.threads for cell in self.plan.cells):
                self.ceilings += measure_ceilings(threads)
        for cell in self.plan.cells:
            run = _CaseRun(self.plan, cell, watcher)
            try:
                run.measure()
            except KeyboardInterrupt:
                self.notes.append(f"interrupted in the case of {cell}, after {run.rounds.count} rounds")
                raise
            finally:
                run.close()
                self.notes += run.notes
                if run.started:
                    self.cases.append(run.case())
            watcher.case_done(self.cases[-1])
            after_case()

    def result(self) -> BenchmarkResult:
        """Everything measured so far."""
        model, plan = self.plan.model, self.plan
        notes = [*plan.notes, *self.notes]
        if model.reference is not None and any(model.reference.is_partial(cell.frames) for cell in plan.cells):
            notes.append(model.reference.describe())
        return BenchmarkResult(
            date=self.date, command=plan.command, model=model.name, weights=model.weights,
            data_set=plan.data.name, sample_rate=model.sample_rate, hop_length=model.hop_length,
            machine=machine_record(), ceilings=tuple(self.ceilings), accuracy=plan.accuracy,
            cases=tuple(self.cases), notes=tuple(dict.fromkeys(notes)),
        )  # fmt: skip


class _CaseRun:
    """The workers of one case and what they told."""

    def __init__(self, plan: BenchmarkPlan, cell: Cell, watcher: Watcher) -> None:
        self._plan, self._cell, self._watcher = plan, cell, watcher
        self._workers: dict[str, CandidateProcess] = {}
        self._rows = {
            candidate.name: Measurement(
                candidate.name,
                candidate.engine,
                "" if REGISTRY[candidate.engine].precision_of_file else candidate.precision,
            )
            for candidate in plan.candidates
        }
        self.rounds = Rounds({})
        self.notes: list[str] = []
        self.started = False

    def measure(self) -> None:
        """Load, rotate, and ask for memory and accuracy."""
        plan, cell = self._plan, self._cell
        mel = crops(plan.data.mel, cell.batch, cell.frames)
        expected = None if plan.model.reference is None else plan.model.reference.compute(mel)
        self.started = True
        self._watcher.case_started(cell, list(self._rows))
        with tempfile.TemporaryDirectory(prefix="hifigan-bench-") as folder:
            mel_path = Path(folder) / "mel.npy"
            np.save(mel_path, mel)
            for candidate in plan.candidates:
                self._load(candidate, mel_path, Path(folder) / "workers.log")
            rotate(
                self._workers, plan.loop, plan.max_seconds, min_rounds=min(LEAST_ROUNDS_OF_A_CASE, plan.loop),
                warm_up=plan.warmup, most_rounds=plan.loop, rounds=self.rounds,
                after_round=lambda count: self._watcher.round_done(count, self.rounds),
            )  # fmt: skip
            for name in self.rounds.seconds:
                self._ask(name, expected)

    def _load(self, candidate: CandidateOptions, mel_path: Path, log: Path) -> None:
        model, name = self._plan.model, candidate.name
        job = EngineJob(
            candidate.engine, model.argument, model.config, candidate.precision, self._cell.threads,
            str(mel_path), candidate.device, dict(candidate.settings),
        )  # fmt: skip
        reason = candidate.unavailable
        if reason is None:
            try:
                worker = CandidateProcess(MODULE, job.to_json(), self._cell.threads, log, self._plan.timeout_seconds)
            except CandidateFailed as error:
                reason = str(error)
            else:
                self._workers[name] = worker
                self._rows[name] = replace(self._rows[name], **_told(worker.facts))
                if worker.facts["device_clock"]:
                    self.notes.append(f"{name}: times are the device's own, as ais_bench counts them")
        if reason is not None:
            self._fail(name, reason)
        self._watcher.loaded(name, reason)

    def _ask(self, name: str, expected: Any) -> None:
        """What is known only when all rounds are over."""
        worker, reference = self._workers[name], self._plan.model.reference
        try:
            memory = worker.peak_memory_mib()
            snr = None if reference is None else reference.snr_db(expected, worker.output())
        except CandidateFailed as error:
            self._fail(name, str(error))
        else:
            self._rows[name] = replace(self._rows[name], peak_memory_mib=memory, snr_db=snr)

    def _fail(self, name: str, reason: str) -> None:
        self._rows[name] = replace(self._rows[name], failed=reason)

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.close()

    def case(self) -> Case:
        """What was measured, with the ratios; after an interruption, of the rounds that all finished."""
        model, cell = self._plan.model, self._cell
        for name, reason in self.rounds.failures.items():
            self._fail(name, reason)
        whole = self.rounds.count
        seconds = {
            name: tuple(times[:whole])
            for name, times in self.rounds.seconds.items()
            if whole and self._rows[name].failed is None
        }
        # The first that has figures, so that the ratios do not hang on one that failed.
        baseline = next((name for name in self._rows if name in seconds), next(iter(self._rows)))
        others = tuple(self.rounds.others[:whole])
        rows = [
            row
            if row.failed is not None
            else replace(row, failed="interrupted before its first round")
            if name not in seconds
            else replace(row, seconds=seconds[name], ratio=_ratio(seconds[name], seconds[baseline], others))
            for name, row in self._rows.items()
        ]
        return Case(
            cell.batch, cell.frames, cell.threads,
            audio_seconds=cell.batch * cell.frames * model.hop_length / model.sample_rate,
            macs=None if model.macs_per_frame is None else model.macs_per_frame * cell.batch * cell.frames,
            baseline=baseline, others=others, measurements=tuple(rows),
        )  # fmt: skip


def _told(facts: Mapping[str, Any]) -> dict[str, Any]:
    executed = facts["executed"]
    return {
        "runtime": executed["runtime"], "device": executed["device"], "precision": executed["precision"],
        "executed_threads": executed["threads"], "caveat": executed["caveat"],
        "load_seconds": facts["load_seconds"], "first_seconds": facts["first_seconds"],
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
