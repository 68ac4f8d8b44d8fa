"""The machine's limits, measured by the native module: multiply-adds in registers, and memory."""

from __future__ import annotations

import os
import statistics

from hifigan_rt._native import measure_memory, measure_multiply_adds
from hifigan_rt.engines.native import ISA_VARIABLE, SOFTWARE_TILES, choose_isa
from hifigan_rt.tools.benchmark.results import Ceiling

_SECONDS = 0.1
"""Length of a round: long beside the clock's step, short beside a burst of somebody else's work."""
_ROUNDS = 9
_MEMORY_BYTES = 256 << 20
"""Size of each buffer: beyond the last cache of today's processors, and there on any machine that runs a vocoder."""


def measure_ceilings(threads: int, rounds: int = _ROUNDS, seconds: float = _SECONDS) -> tuple[Ceiling, ...]:
    """Measure for about two seconds in all.

    The best round is the ceiling, since others can only take from it.
    """
    reads, copies = zip(*(measure_memory(threads, _MEMORY_BYTES, seconds) for _ in range(rounds)), strict=True)
    size = f"{_MEMORY_BYTES >> 20} MiB"
    return (
        measure_multiply_add_ceiling(threads, rounds, seconds),
        _ceiling("memory", f"read {size}", threads, [speed / 1e9 for speed in reads], "GB/s"),
        _ceiling(
            "memory", f"copy {size}, read and written counted", threads, [speed / 1e9 for speed in copies], "GB/s"
        ),
    )


def measure_multiply_add_ceiling(threads: int, rounds: int = _ROUNDS, seconds: float = _SECONDS) -> Ceiling:
    """Measure float32 multiply-adds, counted as two operations, with the instruction set that `native` would run."""
    # Tiles in software have no float32 of their own.
    isa = "generic" if os.environ.get(ISA_VARIABLE) == SOFTWARE_TILES else choose_isa()
    figures = [2e-9 * measure_multiply_adds(isa, threads, seconds) for _ in range(rounds)]
    method = f"multiply-adds in registers, {isa}, per second of processor time"
    return _ceiling("multiply-adds", method, threads, figures, "GFLOPS")


def _ceiling(name: str, method: str, threads: int, figures: list[float], unit: str) -> Ceiling:
    return Ceiling(name, method, threads, statistics.median(figures), max(figures), unit)
