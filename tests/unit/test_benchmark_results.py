import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark_records import CAVEAT, case, guide_case, measurement, ratio, result
from hifigan_rt.errors import DatasetError, OutputError
from hifigan_rt.tools.benchmark.results import (
    BenchmarkResult,
    Case,
    Ceiling,
    Latency,
    Measurement,
    Ratio,
    median_others,
    read_json,
    write_json,
)


def test_latency_of_ten_calls_by_hand():
    """1 to 10 ms: the 90th percentile lies a tenth of the way from 9 to 10, the 99th 0.91 of it."""
    latency = measurement(seconds=[n / 1000 for n in range(1, 11)]).latency
    assert (latency.mean, latency.median, latency.min, latency.max, latency.calls) == pytest.approx(
        (5.5, 5.5, 1, 10, 10)
    )
    assert (latency.p90, latency.p99) == pytest.approx((9.1, 9.91))


def test_single_calls_count_before_a_summary():
    summary = Latency(7, 7, 7, 7, 7, 7, 3)
    assert measurement(seconds=(), latency_summary=summary).latency is summary
    assert measurement(seconds=(0.5,), latency_summary=summary).latency.mean == 500


def test_figures_are_those_of_the_guides_first_row():
    row = guide_case(1, 250, 2.643)
    figures = row.figures(row.measurements[0])
    assert figures.clips_per_second == pytest.approx(378.34, abs=0.02)
    assert figures.mel_frames_per_second == pytest.approx(94_585, abs=6)
    assert figures.x_real_time == pytest.approx(1098, abs=0.5)
    assert figures.rtf == pytest.approx(1 / 1098, rel=1e-3)
    assert figures.effective_gflops == pytest.approx(58_100, abs=50)


def test_a_batch_counts_all_its_clips():
    """Eight clips of 2.5 s in 0.2 s."""
    record = case(measurement(), batch=8)
    figures = record.figures(record.measurements[0])
    assert (figures.clips_per_second, figures.x_real_time, figures.mel_frames_per_second) == pytest.approx(
        (40, 100, 10_000)
    )
    assert figures.effective_gflops == pytest.approx(2 * 8 * 250 * 1e6 / 0.2 / 1e9)


@pytest.mark.parametrize("seconds", [(), (0.0,), (math.nan,)])
def test_without_a_time_there_are_no_figures(seconds):
    assert case().figures(measurement(seconds=seconds)) is None


def test_unknown_work_leaves_the_other_figures():
    figures = case(macs=None).figures(measurement())
    assert figures.effective_gflops is None
    assert figures.clips_per_second == pytest.approx(5)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"mel_len": 0}, {"audio_seconds": 0.0}, {"audio_seconds": math.nan}])
def test_an_empty_case_is_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        case(**wrong)


def test_disturbance_is_the_median_of_the_rounds_that_tell():
    assert median_others(case(others=(0.5, None, 0.1, 0.2))) == 0.2
    assert median_others(case(others=(None,))) is None


_numbers = st.floats(min_value=1e-9, max_value=1e9)
_texts = st.text(max_size=8)


@st.composite
def _results(draw):
    maybe = lambda values: draw(st.none() | values)  # noqa: E731
    ratios = st.builds(Ratio, _numbers, _numbers, _numbers, st.integers(0, 99), st.booleans())
    latencies = st.builds(Latency, *[_numbers] * 6, st.integers(0, 99))
    measurements = st.builds(
        Measurement, _texts, _texts, _texts, failed=st.none() | _texts, runtime=_texts, caveat=_texts,
        executed_threads=st.none() | st.integers(1, 99), snr_db=st.none() | _numbers,
        seconds=st.lists(_numbers, max_size=3).map(tuple), latency_summary=st.none() | latencies,
        ratio=st.none() | ratios,
    )  # fmt: skip
    cases = st.builds(
        Case, st.integers(1, 9), st.integers(1, 9999), st.none() | st.integers(1, 9), _numbers,
        st.none() | st.integers(0, 10**15), _texts, st.lists(st.none() | _numbers, max_size=3).map(tuple),
        st.lists(measurements, max_size=3).map(tuple),
    )  # fmt: skip
    ceilings = st.builds(Ceiling, _texts, _texts, st.integers(1, 9), _numbers, _numbers, _texts)
    machine = draw(st.dictionaries(_texts, _texts | st.none() | st.lists(_texts, max_size=2), max_size=3))
    return BenchmarkResult(
        *draw(st.tuples(*[_texts] * 5)), 22050, 256, machine, tuple(draw(st.lists(ceilings, max_size=2))),
        maybe(_texts), tuple(draw(st.lists(cases, max_size=3))), tuple(draw(st.lists(_texts, max_size=2))),
    )  # fmt: skip


@given(record=_results())
def test_json_gives_back_what_was_written(record, tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "r.json"
    write_json(record, path)
    assert read_json(path) == record


def test_what_is_not_finite_stands_as_null_and_comes_back_as_unknown(tmp_path):
    summary = Latency(1.0, math.nan, math.nan, math.nan, math.nan, math.nan, 0)
    entry = measurement(seconds=(), latency_summary=summary, snr_db=math.inf)
    write_json(result(case(entry)), tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)["cases"]
    back = read_json(tmp_path / "r.json").cases[0].measurements[0]
    assert back.snr_db is None
    assert back.latency.mean == 1
    assert math.isnan(back.latency.p90)


def test_a_numpy_float_is_written_too(tmp_path):
    write_json(result(case(measurement(seconds=tuple(np.float64([0.5]))))), tmp_path / "r.json")
    assert read_json(tmp_path / "r.json").cases[0].measurements[0].seconds == (0.5,)


def _set(content, path, value):
    for key in path[:-1]:
        content = content[key]
    if value is None:
        del content[path[-1]]
    else:
        content[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["format"], 1),
        (["format"], None),
        (["model"], None),
        (["model"], 5),
        (["cases"], {}),
        (["cases"], "no"),
        (["machine"], []),
        (["unheard"], 1),
        (["cases", 0, "batch"], 0),
        (["cases", 0, "batch"], True),
        (["cases", 0, "mel_len"], "250"),
        (["cases", 0, "audio_seconds"], 0),
        (["cases", 0, "measurements", 0, "seconds"], "123"),
        (["cases", 0, "measurements", 0, "seconds"], [[1]]),
        (["cases", 0, "measurements", 0, "seconds"], [10**400]),
        (["cases", 0, "measurements", 0, "ratio"], {"median": 1}),
        (["cases", 0, "measurements", 0, "caveat"], 0),
    ],
)
def test_another_content_is_named_with_the_way_out(tmp_path, path, value):
    write_json(result(case(measurement(ratio=ratio()))), tmp_path / "r.json")
    content = json.loads((tmp_path / "r.json").read_text())
    _set(content, path, value)
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"r\.json' is no result of 'hifigan bench' in format 2: give the JSON"):
        read_json(tmp_path / "r.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": 2}'])
def test_what_is_no_result_at_all(tmp_path, content):
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(DatasetError, match="is no result"):
        read_json(tmp_path / "r.json")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        read_json(tmp_path / "r.json")
    with pytest.raises(OutputError):
        write_json(result(), tmp_path / "no" / "r.json")


def test_a_result_has_the_caveats_of_all_figures():
    entry = measurement("ascend", caveat=CAVEAT)
    assert result(case(measurement()), case(entry, entry)).caveat == CAVEAT
    assert result(case(entry, replace(entry, caveat="old"))).caveat == f"{CAVEAT}; old"
    assert result(case(measurement())).caveat == ""
