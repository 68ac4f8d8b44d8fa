"""A benchmark's result as CSV, one row per measurement, failed ones too."""

from __future__ import annotations

from typing import Any

from hifigan_rt.tools.benchmark.device_peak import achieved
from hifigan_rt.tools.benchmark.results import BenchmarkResult, Case, Measurement, median_others, share_of_ceiling
from hifigan_rt.tools.tables import comma_separated


def to_csv(result: BenchmarkResult) -> str:
    """Write a result as CSV.

    Returns:
        A header with units and a row per measurement, lines ended by a line feed; unrounded numbers, empty where there
        is none.
    """
    rows = [_row(result, case, entry) for case in result.cases for entry in case.measurements]
    return comma_separated(list(rows[0]), [list(row.values()) for row in rows]) if rows else ""


def _row(result: BenchmarkResult, case: Case, entry: Measurement) -> dict[str, Any]:
    figures, latency, ratio, reached = case.figures(entry), entry.latency, entry.ratio, achieved(case, entry)
    return {
        "date": result.date,
        "model": result.model,
        "weights": result.weights,
        "data_set": result.data_set,
        "batch": case.batch,
        "mel_len_frames": case.mel_len,
        "threads_asked": case.threads,
        "candidate": entry.candidate,
        "engine": entry.engine,
        "runtime": entry.runtime,
        "device": entry.device,
        "requested_precision": entry.requested_precision,
        "executed_precision": entry.precision,
        "executed_threads": entry.executed_threads,
        "source": entry.source,
        "caveat": entry.caveat,
        "failed": entry.failed,
        "accuracy": result.accuracy_of(entry),
        "snr_db": entry.snr_db,
        "fps_clips_per_s": figures and figures.clips_per_second,
        "mean_ms": latency and latency.mean,
        "median_ms": latency and latency.median,
        "p90_ms": latency and latency.p90,
        "p99_ms": latency and latency.p99,
        "min_ms": latency and latency.min,
        "max_ms": latency and latency.max,
        "calls": latency and latency.calls,
        "x_real_time": figures and figures.x_real_time,
        "rtf": figures and figures.rtf,
        "mel_frames_per_s": figures and figures.mel_frames_per_second,
        "effective_gflops": figures and figures.effective_gflops,
        "share_of_ceiling": share_of_ceiling(entry, result.ceilings),
        "of_device_peak": reached and reached.share,
        "device_peak_verdict": reached and reached.verdict,
        "audio_s_per_call": case.audio_seconds,
        "load_s": entry.load_seconds,
        "first_s": entry.first_seconds,
        "peak_memory_mib": entry.peak_memory_mib,
        "ratio_baseline": case.baseline,
        "ratio_median": ratio and ratio.median,
        "ratio_low": ratio and ratio.low,
        "ratio_high": ratio and ratio.high,
        "ratio_rounds": ratio and ratio.rounds,
        "ratio_resolved": ratio and ratio.resolved,
        "others_share_of_processors": median_others(case),
    }
