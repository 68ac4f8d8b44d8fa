"""Runs candidates in strict rotation, one inference each per round, and watches what else used the processors."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from measuring.candidates import Job, worker_environment
from measuring.cpu_usage import MachineCpu, machine_cpu, used_by_others

QUIET_BELOW = 0.06
"""A round is quiet when others used less than this share of all processors."""

SETTLE_SECONDS = 0.02
"""Between two candidates: the threads of the last one may still spin for work."""


class CandidateFailed(Exception):
    """A worker answered with an error, or died."""


class Turn(Protocol):
    """What a rotation needs of a candidate."""

    def run(self) -> tuple[float, float]:
        """One inference: its seconds, and the processor seconds that the process has used so far."""


class WorkerProcess:
    """A candidate in its own process."""

    def __init__(self, job: Job, log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "measuring.worker", json.dumps(job.to_json())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=Path(__file__).parents[1],
                env=worker_environment(job.threads),
                text=True,
            )
        self.pid = self._process.pid
        self.facts = self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else self._ended()
        if "error" in answer:
            self.close()
            raise CandidateFailed(answer["error"])
        return answer

    def _ended(self) -> dict[str, Any]:
        return {"error": f"its process ended with code {self._process.wait()}"}

    def ask(self, **request: str) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Raises:
            CandidateFailed: the worker answered with an error or is gone; it is closed then.
        """
        assert self._process.stdin is not None
        # A worker that is gone shows when its answer is read.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._read()

    def run(self) -> tuple[float, float]:
        answer = self.ask(do="run")
        return answer["seconds"], answer["cpu_seconds"]

    def save_output(self) -> Path:
        """Write the last output to a temporary .npy, which the caller removes."""
        with tempfile.NamedTemporaryFile(suffix=".npy", delete=False) as file:
            path = Path(file.name)
        self.ask(do="save", path=str(path))
        return path

    def close(self) -> None:
        """End the process; closing twice is allowed."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            # What was never sent cannot be flushed any more.
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()


@dataclass
class Rounds:
    """What the rotation saw: times by candidate, all of one length, and the share of others in each round."""

    seconds: dict[str, list[float]]
    others: list[float | None] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def quiet(self) -> list[int]:
        """Indices of the quiet rounds; all of them where the system does not tell."""
        return [index for index, share in enumerate(self.others) if share is None or share < QUIET_BELOW]


def rotate(
    turns: Mapping[str, Turn],
    wanted_quiet_rounds: int,
    max_seconds: float,
    *,
    min_rounds: int = 3,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    cpu: Callable[[], MachineCpu | None] = machine_cpu,
    settle: Callable[[], None] = lambda: time.sleep(SETTLE_SECONDS),
) -> Rounds:
    """Run whole rounds until enough were quiet or the time is up, but at least `min_rounds`.

    A candidate that fails is left out from then on, and its times are dropped: a ratio needs both in every round.
    """
    result = Rounds({name: [] for name in turns})
    own = dict.fromkeys(turns, 0.0)
    alive = dict(turns)
    start = clock()
    for number in range(-warm_up, sys.maxsize):
        enough = len(result.quiet()) >= wanted_quiet_rounds or clock() - start >= max_seconds
        if (number >= min_rounds and enough) or not alive:
            return result
        before, own_before = cpu(), sum(own[name] for name in alive)
        own_parent = time.process_time()
        for name in list(alive):
            settle()
            try:
                seconds, own[name] = alive[name].run()
            except CandidateFailed as error:
                result.failures[name] = str(error)
                own_before -= own[name]
                del alive[name], result.seconds[name]
                continue
            if number >= 0:
                result.seconds[name].append(seconds)
        if number >= 0:
            used = sum(own[name] for name in alive) - own_before + time.process_time() - own_parent
            result.others.append(used_by_others(before, cpu(), used))
    raise AssertionError("the loop has no other end")
