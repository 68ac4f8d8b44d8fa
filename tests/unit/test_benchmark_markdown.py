from dataclasses import replace
from pathlib import Path

import pytest

from benchmark_records import CAVEAT, case, guide_case, measurement, ratio, result
from hifigan_rt.tools.benchmark.ais_bench_summary import merge, read_summary
from hifigan_rt.tools.benchmark.device_peak import NOT_BELIEVABLE
from hifigan_rt.tools.benchmark.markdown import to_markdown
from hifigan_rt.tools.benchmark.results import Latency

GOLDEN = Path(__file__).parents[1] / "golden" / "benchmark.md"


def lines_with(text, *parts):
    return [line for line in text.splitlines() if all(part in line for part in parts)]


def guide_rows(text):
    """The first table's cells."""
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("| device"))
    rows = []
    for line in lines[start:]:
        if not line:
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_whole_report_is_as_worked_out_by_hand():
    """native: 200 ms for 2.5 s of audio and 250 million products; torch takes 400, and may use bfloat16."""
    torch = measurement(
        "torch bfloat16", (0.4, 0.4, 0.4), requested_precision="bfloat16", precision="bfloat16", executed_threads=1,
        snr_db=22.04, peak_memory_mib=1234.5, ratio=ratio(),
    )  # fmt: skip
    failed = measurement("openvino", (), failed="no such device |\n take another")
    earlier = result(case(measurement(seconds=(0.4, 0.4, 0.4))), date="2025-12-31", model="v2.pt")
    native = measurement(ratio=ratio(1.0), products=0.25e9, processor_seconds=(0.2, 0.4, 0.6))
    record = result(case(native, torch, failed, others=(0.02, 0.04, 0.9)), notes=("a note",))
    assert to_markdown(record, earlier) == GOLDEN.read_text()


def test_one_candidate_gives_exactly_the_guides_columns():
    rows = guide_rows(to_markdown(result(guide_case(1, 250, 2.643, snr_db=None), guide_case(8, 1000, 52.673))))
    assert rows[0] == ["device", "batch size", "mel_len", "data set", "accuracy", "fps"]
    assert rows[2] == ["Ascend 310P3", "1", "250", "samples/", "–", "378.36"]
    assert rows[3] == ["Ascend 310P3", "8", "1000", "samples/", "SNR 107.2 dB", "151.88"]


def test_the_accuracy_of_an_evaluation_takes_the_column():
    rows = guide_rows(to_markdown(result(case(measurement()), accuracy="PESQ 4.21")))
    assert rows[2][-2] == "PESQ 4.21"
    evaluated = {"accuracy": "PESQ 4.21", "accuracy_engine": "native", "accuracy_precision": "float32"}
    rows = guide_rows(
        to_markdown(result(case(measurement(), measurement("native bf", precision="bfloat16")), **evaluated))
    )
    assert [row[-2] for row in rows[2:]] == ["PESQ 4.21", "SNR 107.2 dB"]


def test_what_is_above_the_peak_is_said_at_the_top_and_in_its_row():
    text = to_markdown(result(guide_case(1, 250, 2.643), guide_case(8, 250, 11.714)))
    head = text[: text.index("| device")]
    assert f"150% of one chip's peak, {NOT_BELIEVABLE}" in head
    assert head.count(NOT_BELIEVABLE) == 1
    assert lines_with(text, "| 58.1 | 70 | 83% | below the device's peak |")
    assert lines_with(text, "| 104.8 | 70 | 150% | **above the device's peak: not believable** |")


def test_threads_are_told_of_those_that_have_some():
    """A device's speed is not that of the processor's threads, however many it was asked with."""
    npu = measurement("ascend", executed_threads=None, device="npu:0 (Ascend310P3)")
    text = to_markdown(result(case(npu)))
    assert "mel_len 250, threads not applicable" in text
    assert "2 threads" not in text[: text.index("## Ceilings")]
    text = to_markdown(result(case(npu, measurement("native"))))
    assert "mel_len 250, 2 threads" in text
    assert [row[1] for row in guide_rows(text)[2:]] == ["ascend", "native, 2 threads"]
    assert "mel_len 250, 2 threads" in to_markdown(result(case(replace(npu, failed="x", seconds=()))))


def test_every_row_with_a_caveat_says_so():
    text = to_markdown(result(case(measurement(), measurement("ascend", caveat=CAVEAT, device="Ascend310P3"))))
    rows = lines_with(text, "| ascend (")
    assert len(rows) == 2
    assert all(CAVEAT in row for row in rows)
    assert text.index(CAVEAT) < text.index("| device")
    assert "Against the device's peak" not in text


def test_a_candidate_with_a_caveat_alone_keeps_its_name_in_the_guides_table():
    rows = guide_rows(to_markdown(result(case(measurement("ascend", caveat=CAVEAT), threads=None))))
    assert rows[2][1] == f"ascend ({CAVEAT})"


def test_a_failure_and_a_comparison_show_the_caveat_too():
    broken = measurement("broken", (), failed="no", caveat=CAVEAT)
    record = result(case(measurement("ascend", caveat=CAVEAT), broken))
    text = to_markdown(record, record)
    assert lines_with(text, f"- broken ({CAVEAT}) failed: no")
    assert lines_with(text, f"| ascend ({CAVEAT}) |", "| 1.00 |")


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, "25%"),
        ({"processor_seconds": (0.1, 0.2, 0.9)}, "50%"),
        ({"executed_threads": 1}, "20%"),
        ({"executed_threads": 3}, "–"),
        ({"executed_threads": None}, "–"),
        ({"products": None}, "–"),
        ({"processor_seconds": ()}, "–"),
        ({"precision": "bfloat16"}, "–"),
    ],
)
def test_the_share_of_the_ceiling_is_of_the_same_threads_on_the_same_processor(changes, share):
    """0.25e9 products in 0.4 s: 0.625e9 per second, of 2.5e9 on each of two threads and 3.125e9 on one."""
    entry = measurement(**{"products": 0.25e9, "processor_seconds": (0.2, 0.4, 0.6)} | changes)
    (row,) = lines_with(to_markdown(result(case(entry))), "12.50")
    assert f"| 2.50 | {share} |" in row


def test_a_ratio_that_is_not_resolved_is_not_shown():
    text = to_markdown(result(case(measurement(), measurement("torch", ratio=ratio(2.5, 0.7, resolved=False)))))
    (row,) = lines_with(text, "| torch |")
    assert row.endswith("| not resolved [1.80, 3.20] |")
    assert "2.50 [" not in row


def test_another_precision_than_asked_is_visible():
    entry = measurement(requested_precision="float16", precision="bfloat16")
    assert lines_with(to_markdown(result(case(entry))), "bfloat16 (float16 asked)")


def test_unknown_figures_are_dashes():
    entry = measurement(
        seconds=(), latency_summary=Latency(200, *[float("nan")] * 5, 0), snr_db=None, load_seconds=None,
        first_seconds=None, peak_memory_mib=None, precision="", executed_threads=None,
    )  # fmt: skip
    (row,) = lines_with(to_markdown(result(case(entry, macs=None), ceilings=())), "| native | r 1 |")
    assert (
        row == "| native | r 1 | – | – | 200.0 | – | – | – | – | 12.50 | 0.0800 | 1,250 | – | – | – | – | – | – | 1 |"
    )


def test_without_figures_there_is_still_a_report():
    text = to_markdown(result(case(measurement(seconds=(), failed="no memory"))))
    assert "No candidate gave figures." in text
    assert "- native failed: no memory" in text
    assert "No candidate gave figures." in to_markdown(result())


def test_a_result_with_nothing_in_common():
    record = result(case(measurement()))
    text = to_markdown(record, replace(record, cases=()))
    assert "No candidate is in both results." in text
    assert "Only now: native (batch 1, mel_len 250, threads 2)." in text


def test_foreign_figures_stand_beside_ours(tmp_path):
    path = tmp_path / "bench.log"
    path.write_text(
        "[INFO] NPU_compute_time (ms): min = 2.0, max = 2.0, mean = 2.0, median = 2.0, percentile(99%) = 2.0\n"
    )
    text = to_markdown(merge(result(case(measurement())), read_summary(path, batch=1, mel_len=250)))
    assert guide_rows(text)[2][:2] == ["Ascend", "ais_bench"]
    assert guide_rows(text)[2][4:] == ["–", "–", "500.00"]
    assert lines_with(text, "peak not known")
    assert lines_with(text, "- bench.log: read from ais_bench")
