"""Small results of a benchmark, made by hand so that every figure can be worked out on paper."""

from __future__ import annotations

from dataclasses import replace

from hifigan_rt.tools.benchmark.results import BenchmarkResult, Case, Ceiling, Measurement, Ratio

CAVEAT = "made up; not a device"
"""What a device may say against its figures."""

MACS_PER_FRAME = 307_050_000
"""Of V1, from its layers."""


def measurement(candidate="native", seconds=(0.1, 0.2, 0.3), **changes):
    """Mean and median 200 ms, minimum 100 ms, unless told otherwise."""
    facts = {
        "engine": candidate.split()[0],
        "requested_precision": "float32",
        "runtime": "r 1",
        "device": "cpu",
        "precision": "float32",
        "executed_threads": 2,
        "load_seconds": 0.25,
        "first_seconds": 0.5,
        "peak_memory_mib": 300.0,
        "snr_db": 107.25,
    }
    return Measurement(candidate, seconds=tuple(seconds), **(facts | changes))


def case(*measurements, batch=1, mel_len=250, threads=2, baseline="native", **changes):
    """Of a model with 25,000 Hz and 250 samples per frame: 100 frames are one second."""
    facts = {"audio_seconds": batch * mel_len / 100, "macs": batch * mel_len * 1_000_000}
    return Case(batch, mel_len, threads, baseline=baseline, measurements=measurements, **(facts | changes))


def result(*cases, **changes):
    record = BenchmarkResult(
        date="2026-01-02 03:04:05 +0000",
        command="hifigan bench v1.pt --mel-len 250",
        model="v1.pt",
        weights="random",
        data_set="samples/",
        sample_rate=25000,
        hop_length=250,
        machine={"cpu": "Test CPU", "usable_cores": 2, "isas": ["generic", "avx2"], "packages": {"numpy": "2.0"}},
        ceilings=(
            Ceiling("multiply-adds", "avx2", 2, 9.0, 10.0, "GFLOPS"),
            Ceiling("multiply-adds", "avx2", 1, 4.5, 6.25, "GFLOPS"),
        ),
        cases=cases,
    )
    return replace(record, **changes)


def ratio(median=2.0, half_width=0.04, resolved=True):
    return Ratio(median, median - half_width, median + half_width, 9, resolved)


def guide_case(batch, mel_len, mean_ms, device="Ascend 310P3", **changes):
    """A row of the original guide's table, as if measured."""
    entry = measurement(
        "ascend", (mean_ms / 1000,), device=device, precision="float16", executed_threads=None, **changes
    )
    return Case(batch, mel_len, None, batch * mel_len * 256 / 22050, batch * mel_len * MACS_PER_FRAME, "ascend",
                measurements=(entry,))  # fmt: skip
