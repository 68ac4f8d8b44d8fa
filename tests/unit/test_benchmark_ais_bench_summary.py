import json
import math

import pytest

from benchmark_records import CAVEAT, case, guide_case, measurement, result
from hifigan_rt.errors import DatasetError
from hifigan_rt.tools.benchmark.ais_bench_summary import merge, read_summary

ARGUMENTS = ["/x/ais_bench/__main__.py", "--model", "v1_bs1.om", "--loop", "3", "--dymDims", "mel_spec:1,80,1,250",
             "--batchsize", "1", "--output", "out"]  # fmt: skip
PERCENTILE = "percentile(99%)"


def of_2024(**changes):
    """As the tool of 2024 leaves it: three calls with a mean of 2.643 ms, the first row of the original guide."""
    times = [2.6, 2.643, 2.686]
    compute = {"min": 2.6, "max": 2.686, "mean": 2.643, "median": 2.643, PERCENTILE: 2.68514, "count": 3}
    content = {
        "filesinfo": {},
        "args": ARGUMENTS,
        "NPU_compute_time": compute,
        "H2D_latency": compute,
        "D2H_latency": compute,
        "npu_compute_time_list": times,
        "throughput": 1000 / 2.643,
        "pid": 4711,
    }
    return {key: value for key, value in (content | changes).items() if value is not None}


def saved(tmp_path, content, name="2026_01_02-03_04_05_summary.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


TEXT_2024 = """\
[INFO] acl init success
[INFO] load model v1_bs1.om success
[INFO] warm up 1 done
Inference array Processing: 100%|██████| 1/1 [00:00<00:00, 3.1it/s]
[INFO] -----------------Performance Summary------------------
[INFO] NPU_compute_time (ms): min = 2.6, max = 2.686, mean = 2.643, median = 2.643, percentile(99%) = 2.68514
[INFO] throughput 1000*batchsize.mean(1)/NPU_compute_time.mean(2.643): 378.3579265985622
[INFO] ------------------------------------------------------
"""
TEXT_2022 = TEXT_2024.replace("batchsize.mean(1)", "batchsize(1)")
TEXT_EARLY_2022 = TEXT_2024.replace(
    "throughput 1000*batchsize.mean(1)/NPU_compute_time.mean(2.643)", "throughput (1000*batchsize/NPU_compute_time)"
).replace("[INFO] NPU", "[INFO] H2D_latency (ms): min = 1.0, max = 1.0, mean = 1.0, median = 1.0\n[INFO] NPU")


ROW_2026 = "│ NPU_compute_time (ms) │ 2.6000 │ 2.6860 │ 2.6430 │   2.6430 │ 2.6851 │"
TEXT_2026 = f"""\
[INFO] -----------------Performance Summary------------------
╒═══════════════════════╤════════╤════════╤════════╤══════════╤════════╕
│ Metric                │    min │    max │   mean │   median │    P99 │
╞═══════════════════════╪════════╪════════╪════════╪══════════╪════════╡
│ H2D_latency (ms)      │ 9.0000 │ 9.0000 │ 9.0000 │   9.0000 │ 9.0000 │
├───────────────────────┼────────┼────────┼────────┼──────────┼────────┤
{ROW_2026}
╘═══════════════════════╧════════╧════════╧════════╧══════════╧════════╛
[INFO] Throughput 1000*batchsize.mean(2)/NPU_compute_time.mean(2.643): 756.7158531971245
"""
"""The form that ais_bench/src/ais_bench/infer/summary.py prints (Yanguan619/aclruntime, commit 3eab4a91)."""


@pytest.mark.parametrize("text", [TEXT_2026, TEXT_2026.replace("│", "|")], ids=["fancy", "plain"])
def test_the_table_of_2026_is_read_by_its_headings(tmp_path, text):
    figures = read_summary(saved(tmp_path, text), mel_len=250, device="Ascend 310P3")
    latency = figures.measurement.latency
    assert (figures.batch, figures.mel_len) == (2, 250)
    assert (latency.min, latency.max, latency.mean, latency.median, latency.p99) == (2.6, 2.686, 2.643, 2.643, 2.6851)
    assert len(figures.notes) == 1
    swapped = text.replace("mean │   median", "median │   mean").replace("mean |   median", "median |   mean")
    swapped = swapped.replace("2.6430 │   2.6430", "2.5 │   2.643").replace("2.6430 |   2.6430", "2.5 |   2.643")
    assert read_summary(saved(tmp_path, swapped), mel_len=250).measurement.latency.median == 2.5


@pytest.mark.parametrize(
    ("text", "count"),
    [(TEXT_2026 + TEXT_2026, 2), (TEXT_2026 + TEXT_2024, 2), (TEXT_2026.replace(ROW_2026, ""), 0),
     (TEXT_2026.replace("│ Metric ", "│ Name "), 0), (TEXT_2026.replace(ROW_2026, ROW_2026[:40]), 0)],
)  # fmt: skip
def test_tables_that_are_none_or_several(tmp_path, text, count):
    with pytest.raises(DatasetError, match=rf"holds {count} lines 'NPU_compute_time \(ms\)'"):
        read_summary(saved(tmp_path, text), mel_len=250)


def test_the_json_of_2024_keeps_every_call(tmp_path):
    figures = read_summary(saved(tmp_path, of_2024()), device="Ascend 310P3")
    assert (figures.batch, figures.mel_len) == (1, 250)
    entry = figures.measurement
    assert entry.seconds == pytest.approx((0.0026, 0.002643, 0.002686))
    assert entry.latency_summary is None
    assert (entry.source, entry.engine, entry.device, entry.caveat) == ("ais_bench", "ascend", "Ascend 310P3", "")
    assert entry.candidate == "ais_bench Ascend 310P3"
    assert len(figures.notes) == 1


def test_the_json_of_2022_has_the_summary_alone(tmp_path):
    compute = {"min": 2.6, "max": 2.686, "mean": 2.643, "median": 2.642, PERCENTILE: 2.68514}
    content = of_2024(NPU_compute_time=compute, npu_compute_time_list=None, pid=None)
    latency = read_summary(saved(tmp_path, content, "sumary.json")).measurement.latency
    assert (latency.mean, latency.median, latency.p99, latency.min, latency.max) == (2.643, 2.642, 2.68514, 2.6, 2.686)
    assert math.isnan(latency.p90)


@pytest.mark.parametrize("text", [TEXT_2024, TEXT_2022, TEXT_EARLY_2022])
def test_the_text_of_every_generation(tmp_path, text):
    figures = read_summary(saved(tmp_path, text, "bench.log"), mel_len=250, batch=1)
    latency = figures.measurement.latency
    assert (latency.mean, latency.median, latency.p99, latency.min, latency.max) == (2.643, 2.643, 2.68514, 2.6, 2.686)
    assert len(figures.notes) == 1


@pytest.mark.parametrize(
    ("counted", "batch"), [("batchsize.mean(8)", 8), ("batchsize(8.0)", 8), ("batchsize.mean(2.5)", None)]
)
def test_a_text_without_a_command_line_tells_the_batch_it_counted_with(tmp_path, counted, batch):
    text = TEXT_2024.replace("batchsize.mean(1)", counted).replace("): 378.3579265985622", "): 3026.86")
    path = saved(tmp_path, text, "bench.log")
    if batch is None:
        with pytest.raises(DatasetError, match="does not tell batch"):
            read_summary(path, mel_len=250)
    else:
        assert read_summary(path, mel_len=250).batch == batch
    assert read_summary(path, mel_len=250, batch=4).batch == 4, "--batchsize may have been forgotten"


@pytest.mark.parametrize(
    "command",
    [
        '$ python3 -m ais_bench --model v1_bs8.om --loop 20 --batchsize 8 --dymDims "mel_spec:8,80,500"\n',
        '$ msit benchmark -om v1_bs8.om --loop 20 --batch-size 8 -dd "mel_spec:8,80,500"\n',
    ],
)
def test_the_command_line_in_a_captured_text_tells_the_size(tmp_path, command):
    text = command + TEXT_2024.replace("): 378.3579265985622", "): 3026.86")
    figures = read_summary(saved(tmp_path, text, "bench.log"))
    assert (figures.batch, figures.mel_len) == (8, 500)
    assert len(figures.notes) == 1


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        (["--dymDims", "mel_spec:8,80,500"], (8, 500)),
        (["--dymDims=mel_spec:8,80,1,500"], (8, 500)),
        (["--dymShape", "x:2,80,17"], (2, 17)),
        ({"--dymDims": "mel_spec:8,80,500"}, (8, 500)),
        (["/x/bin/msit", "benchmark", "-om", "x.om", "--dym-dims", "mel_spec:8,80,500"], (8, 500)),
        (["/x/bin/msit", "benchmark", "-om", "x.om", "-dd", "mel_spec:4,80,1,250", "-d", "1"], (4, 250)),
        (["/x/bin/msit", "benchmark", "-om", "x.om", "-ds=x:2,80,17", "--batch-size", "2"], (2, 17)),
    ],
)
def test_the_size_as_the_arguments_tell_it(tmp_path, arguments, size):
    figures = read_summary(saved(tmp_path, of_2024(args=arguments, throughput=None)))
    assert (figures.batch, figures.mel_len) == size


def test_a_static_model_tells_its_batch_only(tmp_path):
    path = saved(tmp_path, of_2024(args=["--model", "v1.om", "--batchsize", "4"], throughput=None))
    with pytest.raises(DatasetError, match="does not tell mel_len: give it with --ais-bench FILE:mel_len=T:batch=B"):
        read_summary(path)
    assert read_summary(path, mel_len=700).batch == 4


@pytest.mark.parametrize("size", ["\u00b2", "9" * 5000, "0", "x"])
def test_a_size_that_is_none_is_not_told(tmp_path, size):
    for arguments in (["--batchsize", size], ["--dymDims", f"mel_spec:{size},80,250x"]):
        with pytest.raises(DatasetError, match="does not tell batch"):
            read_summary(saved(tmp_path, of_2024(args=arguments, throughput=None)), mel_len=250)


def test_what_was_given_may_not_contradict_the_file(tmp_path):
    path = saved(tmp_path, of_2024())
    assert read_summary(path, mel_len=250, batch=1).mel_len == 250
    with pytest.raises(DatasetError, match=r"mel_len=500 was given, but .* was taken with 250"):
        read_summary(path, mel_len=500)
    with pytest.raises(DatasetError, match=r"batch=8 was given, but .* was taken with 1"):
        read_summary(path, batch=8)


def test_a_forgotten_batchsize_is_noticed(tmp_path):
    """ais_bench counts one clip per call then, whatever the gear holds."""
    path = saved(tmp_path, of_2024(args=["--dymDims", "mel_spec:8,80,250"]))
    assert "was --batchsize forgotten?" in read_summary(path).notes[-1]


def test_threads_that_overlap_keep_the_tools_own_mean(tmp_path):
    """Two calls of 4 ms that overlap by 2: together 6 ms, so 3 ms each, and the calls themselves took 4."""
    content = of_2024(
        NPU_compute_time={"mean": 3.0, "count": 2}, npu_compute_time_list=[[0, 4], [2, 6]], throughput=1000 / 3
    )
    figures = read_summary(saved(tmp_path, content))
    assert figures.measurement.seconds == ()
    assert (figures.measurement.latency.mean, figures.measurement.latency.p90) == (3, 4)
    assert "overlapped" in figures.notes[1]


def test_the_text_of_several_threads_has_a_mean_only(tmp_path):
    text = TEXT_2024.replace("min = 2.6, max = 2.686, ", "").replace(", median = 2.643, percentile(99%) = 2.68514", "")
    figures = read_summary(saved(tmp_path, text, "bench.log"), batch=1, mel_len=250)
    assert figures.measurement.latency.mean == 2.643
    assert math.isnan(figures.measurement.latency.median)
    assert "overlapped" in figures.notes[1]


def test_a_caveat_is_kept(tmp_path):
    assert read_summary(saved(tmp_path, of_2024(caveat=CAVEAT))).measurement.caveat == CAVEAT


def test_a_caveat_in_a_text(tmp_path):
    path = saved(tmp_path, f"[INFO] caveat: {CAVEAT}\n{TEXT_2024}", "bench.log")
    assert read_summary(path, batch=1, mel_len=250).measurement.caveat == CAVEAT


def _whole():
    return json.dumps(of_2024())


@pytest.mark.parametrize(
    "content",
    [
        *[_whole()[: len(_whole()) * part // 7] for part in range(1, 7)],
        "{}",
        '{"NPU_compute_time": []}',
        '{"NPU_compute_time": {"mean": null}}',
        '{"NPU_compute_time": {"mean": "fast"}}',
        '{"NPU_compute_time": {"median": 1}}',
        '{"NPU_compute_time": {"mean": 0}}',
        '{"NPU_compute_time": {"mean": NaN}}',
        '{"NPU_compute_time": {"mean": -1}}',
        json.dumps(of_2024(npu_compute_time_list=[1, 0])),
        json.dumps(of_2024(npu_compute_time_list=[[1]])),
        json.dumps(of_2024(npu_compute_time_list=5)),
        json.dumps(of_2024(args=7)),
        '{"format": 1, "cases": []}',
        '{"a":' * 100_000,
        "",
        "[INFO] load model failed",
        TEXT_2024 + TEXT_2024,
        TEXT_2024.replace("mean = 2.643", "mean = "),
        TEXT_2024.replace("mean = 2.643", "mean = 0.0"),
        TEXT_2024.replace("mean = 2.643", "mean = ..--e"),
        TEXT_2024[: TEXT_2024.index("mean = ")],
    ],
)
def test_damaged_and_foreign_files_are_refused(tmp_path, content):
    with pytest.raises(DatasetError, match="summary"):
        read_summary(saved(tmp_path, content), batch=1, mel_len=250)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00bench", bytes(range(256))])
def test_bytes_that_are_no_text(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DatasetError, match="holds 0 lines"):
        read_summary(tmp_path / "x", batch=1, mel_len=250)


def test_a_missing_file(tmp_path):
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        read_summary(tmp_path / "x")


@pytest.mark.parametrize("sizes", [{"batch": 0, "mel_len": 5}, {"batch": 1, "mel_len": -1}])
def test_impossible_sizes(tmp_path, sizes):
    with pytest.raises(DatasetError, match="it is one at least"):
        read_summary(saved(tmp_path, of_2024(args=[])), **sizes)


def test_figures_join_the_case_of_their_size(tmp_path):
    figures = read_summary(saved(tmp_path, of_2024()))
    merged = merge(result(case(measurement()), case(measurement(), mel_len=500)), figures)
    assert [[entry.candidate for entry in one.measurements] for one in merged.cases] == [
        ["native", "ais_bench"],
        ["native"],
    ]
    assert merged.notes == figures.notes


def test_the_same_twice_gets_a_number(tmp_path):
    figures = read_summary(saved(tmp_path, of_2024()))
    merged = merge(merge(merge(result(case()), figures), figures), figures)
    names = [entry.candidate for entry in merged.cases[0].measurements]
    assert names == ["ais_bench", "ais_bench#2", "ais_bench#3"]


def test_a_new_case_has_the_frames_work_and_audio(tmp_path):
    """fps and TFLOPS come out as in the guide's row, from a case of another size."""
    figures = read_summary(saved(tmp_path, of_2024()), device="Ascend 310P3")
    merged = merge(result(guide_case(8, 1000, 52.673), sample_rate=22050, hop_length=256), figures)
    new = merged.cases[1]
    assert (new.batch, new.mel_len, new.threads, new.baseline) == (1, 250, None, "ais_bench Ascend 310P3")
    found = new.figures(new.measurements[0])
    assert found.clips_per_second == pytest.approx(378.36, abs=0.005)
    assert found.x_real_time == pytest.approx(1098, abs=0.5)
    assert found.effective_gflops == pytest.approx(58_100, abs=50)


def test_cases_with_several_threads_are_left_alone(tmp_path):
    figures = read_summary(saved(tmp_path, of_2024()))
    record = result(case(measurement(), threads=1), case(measurement(), threads=2))
    merged = merge(merge(record, figures), figures)
    assert [one.threads for one in merged.cases] == [1, 2, None]
    assert [len(one.measurements) for one in merged.cases] == [1, 1, 2]


def test_a_result_without_cases_has_no_work_to_take(tmp_path):
    merged = merge(result(), read_summary(saved(tmp_path, of_2024())))
    assert merged.cases[0].macs is None
