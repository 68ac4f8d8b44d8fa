"""The machine's float32 ceiling, measured: multiply-adds in registers, or a large matrix product without a compiler."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from measuring.candidates import worker_environment

_SOURCE = Path(__file__).with_name("ceiling.cpp")
_SECONDS, _ROUNDS = 0.1, 9
_SGEMM = """
import sys, time, numpy as np
n = 2048
a, b = (np.random.default_rng(seed).random((n, n), np.float32) for seed in (1, 2))
for _ in range(int(sys.argv[1]) + 1):
    start = time.perf_counter(); a @ b; print(2 * n**3 / (time.perf_counter() - start) / 1e9)
"""


@dataclass(frozen=True)
class Ceiling:
    """Float32 GFLOPS of so many threads together, a multiply-add counted as two."""

    method: str
    threads: int
    median_gflops: float
    best_gflops: float

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def measure_ceiling(threads: int) -> Ceiling:
    """Measure for about a second; the best round is the ceiling, since others can only take from it."""
    compiler = next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)
    if compiler is None:
        # A lower bound: the package's BLAS reaches half of the peak on some processors.
        command, method = [sys.executable, "-c", _SGEMM, str(_ROUNDS)], "numpy sgemm, 2048 x 2048 (a lower bound)"
        return _figures(command, method, threads, skip=1)
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "ceiling"
        flags = ["-O2", "-march=native", "-std=c++17", "-ffp-contract=fast", "-pthread"]
        subprocess.run([compiler, *flags, str(_SOURCE), "-o", str(program)], check=True)
        command = [str(program), str(threads), str(_SECONDS), str(_ROUNDS)]
        return _figures(
            command, "multiply-adds in registers, -march=native, per second of processor time", threads, skip=0
        )


def _figures(command: list[str], method: str, threads: int, skip: int) -> Ceiling:
    environment = worker_environment(threads) | {"OPENBLAS_NUM_THREADS": str(threads)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    figures = [float(line) for line in done.stdout.split()][skip:]
    return Ceiling(method, threads, statistics.median(figures), max(figures))
