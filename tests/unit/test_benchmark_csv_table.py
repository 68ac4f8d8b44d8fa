import csv
import io
import math

import pytest

from benchmark_records import CAVEAT, case, guide_case, measurement, ratio, result
from hifigan_rt.tools.benchmark.csv_table import to_csv
from hifigan_rt.tools.benchmark.results import Latency


def rows_of(record):
    return list(csv.DictReader(io.StringIO(to_csv(record))))


def test_a_measurement_comes_back_with_its_units():
    (row,) = rows_of(result(case(measurement(ratio=ratio()), others=(0.25,)), accuracy="PESQ 4.2"))
    expected = {
        "model": "v1.pt", "batch": "1", "mel_len_frames": "250", "threads_asked": "2", "candidate": "native",
        "executed_precision": "float32", "executed_threads": "2", "source": "measured", "caveat": "", "failed": "",
        "accuracy": "PESQ 4.2", "snr_db": "107.25", "calls": "3", "audio_s_per_call": "2.5", "load_s": "0.25",
        "first_s": "0.5", "peak_memory_mib": "300.0", "ratio_median": "2.0", "ratio_low": "1.96", "ratio_high": "2.04",
        "ratio_resolved": "True", "ratio_baseline": "native", "others_share_of_processors": "0.25",
        "of_device_peak": "",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    figures = {"fps_clips_per_s": 5, "mean_ms": 200, "median_ms": 200, "min_ms": 100, "max_ms": 300, "p90_ms": 280,
               "p99_ms": 298, "x_real_time": 12.5, "rtf": 0.08, "mel_frames_per_s": 1250,
               "effective_gflops": 2.5}  # fmt: skip
    assert {name: float(row[name]) for name in figures} == pytest.approx(figures)


def test_names_of_any_kind_survive():
    names = ['a,b"c"', "zwei\nZeilen", "模型 | é"]
    rows = rows_of(result(*(case(measurement(name)) for name in names), data_set=names[0]))
    assert [row["candidate"] for row in rows] == names
    assert rows[2]["data_set"] == names[0]


def test_a_failure_keeps_its_row_and_its_reason():
    (row,) = rows_of(result(case(measurement(seconds=(), failed="out of memory"))))
    assert (row["failed"], row["fps_clips_per_s"], row["mean_ms"]) == ("out of memory", "", "")


def test_a_caveat_is_shown_and_an_incredible_figure_too():
    doubtful, real = guide_case(8, 250, 11.714, caveat=CAVEAT), guide_case(8, 250, 11.714)
    first, second = rows_of(result(doubtful, real))
    assert (first["caveat"], first["device_peak_verdict"]) == (CAVEAT, "")
    assert second["device_peak_verdict"] == "above the device's peak: not believable"
    assert float(second["of_device_peak"]) == pytest.approx(1.5, abs=0.005)


def test_what_a_summary_does_not_tell_stays_empty():
    (row,) = rows_of(result(case(measurement(seconds=(), latency_summary=Latency(2.0, *[math.nan] * 5, 0)))))
    assert (row["mean_ms"], row["p90_ms"], row["fps_clips_per_s"]) == ("2.0", "", "500.0")


def test_without_cases_there_is_no_table():
    assert to_csv(result()) == ""
