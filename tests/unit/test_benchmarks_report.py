import pytest

from hifigan_rt.config import PRESETS
from hifigan_rt.graph import build_graph
from measuring.layers import figures, products_per_row, work_of_layers
from measuring.report import case_markdown, summarise


def facts(seconds):
    return {
        "executed": {"runtime": "r 1", "precision": "float32", "threads": 1},
        "import_seconds": 0.1,
        "load_seconds": 0.2,
        "first_seconds": 0.3,
        "peak_memory_mib": 100.0,
        "snr_db": 107.0,
        "seconds": seconds,
    }


def case(others):
    return {
        "model": "v1",
        "weights": "real",
        "frames": 100,
        "batch": 1,
        "threads": 1,
        "baseline": "ours",
        "others": others,
        "audio_seconds": 2.0,
        "macs": 5_000_000_000,
        "candidates": {
            "ours": facts([0.5, 9.0, 0.5, 0.5]),
            "peer": facts([1.0, 9.0, 1.0, 1.0]),
            "broken": {"failed": "OutOfMemory: no"},
        },
    }


def test_only_quiet_rounds_count():
    record = case([0.0, 0.9, 0.01, 0.05])
    summarise(record)
    assert record["rounds_used"] == {"kind": "quiet", "count": 3, "of": 4}
    summary = record["candidates"]["peer"]["summary"]
    assert summary["median_ms"] == 1000
    assert summary["x_real_time"] == 2
    assert summary["effective_gflops"] == 10
    assert summary["ratio_to_baseline"] == {
        "median": 2.0,
        "low": 2.0,
        "high": 2.0,
        "rounds": 3,
        "resolved": False,
        "text": "not resolved [2.00, 2.00]",
    }


def test_with_too_few_quiet_rounds_all_count_and_the_table_says_so():
    record = case([0.0, 0.9, 0.9, 0.05])
    summarise(record)
    assert record["rounds_used"]["kind"] == "all"
    assert "Figures from all rounds: 4 of 4; others used 48% of the processors" in case_markdown(record)


def test_the_table_lists_the_fastest_first_and_the_failures_last():
    record = case([0.0] * 4)
    summarise(record)
    lines = case_markdown(record).splitlines()
    order = [line.split()[1] for line in lines if line.startswith("| ")]
    assert order == ["candidate", "ours", "peer"]
    assert lines[-1] == "- broken: OutOfMemory: no"


def test_a_failed_baseline_leaves_times_without_ratios():
    record = case([0.0] * 4)
    record["candidates"]["ours"] = {"failed": "Crash: no"}
    summarise(record)
    assert record["candidates"]["peer"]["summary"]["ratio_to_baseline"] is None
    assert "| peer | 1000.0 |" in case_markdown(record)


@pytest.mark.parametrize("name", ["v1", "v2", "v3"])
def test_the_layers_work_is_the_graphs(name):
    graph = build_graph(PRESETS[name].generator)
    assert sum(macs for _, _, macs in work_of_layers(graph, 7)) == 7 * graph.macs_per_frame
    stages = [stage for _, stage, _ in work_of_layers(graph, 1)]
    assert list(dict.fromkeys(stages)) == [
        "conv_pre",
        *(f"stage {i + 1}" for i in range(len(graph.config.upsample_rates))),
        "conv_post",
    ]


def test_products_of_tiled_algorithms():
    """The FFT of 8 samples by hand: 2 + 3 * 3 + 2 products for 8 rows of kernel 3."""
    assert products_per_row("direct", 11) == 11
    assert products_per_row("fft8", 3) == 13 / 8
    assert products_per_row("strassen", 3) is None


def test_figures_of_layers_count_what_was_executed():
    graph = build_graph(PRESETS["v2"].generator)
    rows = figures(graph, 10, {"conv_pre": 0.5, "ups.0": 0.25}, {"conv_pre": "direct", "ups.0": "direct"})
    assert [row.layer for row in rows] == ["conv_pre", "ups.0"]
    assert all(row.executed_macs == row.direct_macs for row in rows)
    assert rows[0].direct_macs == 10 * 80 * 128 * 7
    assert rows[0].to_json()["effective_gflops"] == 2 * rows[0].direct_macs / 0.5 / 1e9
