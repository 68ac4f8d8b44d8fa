"""`hifigan bench` on .om files of the simulator."""

import json

import numpy as np
import pytest

from ascend_simulator.environment import CAVEAT
from engines.ascend_models import Place
from golden.tiny import write_tiny
from hifigan_rt.tools.cli import main


@pytest.fixture
def bench(place: Place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "tiny")

    def run(om, *arguments, status=0):
        options = ["--config", "tiny/config.json", "--loop", "3", "--no-ceilings", *arguments]
        assert main(["bench", "--model", str(om), *options]) == status
        return capsys.readouterr()

    return run


def test_an_om_file_is_measured_at_its_gears_and_marked_as_simulated(place, bench):
    shown = bench(place.om((250, 500)), "--reference", "tiny", "--json")
    result = json.loads(shown.out)
    assert [(case["batch"], case["mel_len"]) for case in result["cases"]] == [(1, 250), (1, 500)]
    for case in result["cases"]:
        (row,) = case["measurements"]
        assert row["failed"] is None
        assert row["engine"] == "ascend"
        assert row["precision"] == "float16 products, float32 sums (cube_fp16in_fp32out)"
        assert row["requested_precision"] == "", "it was settled when the file was converted"
        assert row["caveat"] == CAVEAT
        assert row["snr_db"] > 100
        assert row["executed_threads"] is None
        assert row["peak_memory_mib"] > 90, "the model is in a process that the engine starts"
    assert "ascend: times are the device's own, as ais_bench counts them" in result["notes"]
    assert "[1/2] batch 1, mel_len 250, threads not applicable: ascend " in shown.err


def test_coarse_times_are_said(place, bench):
    shown = bench(place.om((250,)), "--no-snr", "--engine-option", "backend=ais_bench", "--json")
    (note,) = [note for note in json.loads(shown.out)["notes"] if "times are" in note]
    assert note.endswith("0.06 ms after 15; backend=aclruntime measures in nanoseconds")


def test_what_would_be_padded_is_refused(place, bench):
    shown = bench(place.om((250, 500), batch=2), "--mel-len", "250,300", "--batch", "2", status=2)
    assert "was compiled for batch x mel_len of 2x250, 2x500: 2x300 would be measured with padding" in shown.err
    assert bench(place.om((250, 500), batch=2), "--batch", "1", status=2).out == ""


def test_the_tables_say_simulated(place, bench):
    shown = bench(place.om((250,)))
    assert CAVEAT in shown.out
    assert "no SNR: the model is one of Ascend .om files" in shown.err


@pytest.mark.parametrize("batch", [1, 2])
def test_what_ais_bench_leaves_is_read_as_json_and_as_text(place, bench, tmp_path, batch):
    om = place.om((250, 500), batch=batch)
    options = ("--model", om, "--loop", "4", "--batchsize", batch, "--dymDims", f"mel_spec:{batch},10,500")
    text = place.simulator.ais_bench(*options, "--output", "theirs").stdout
    (tmp_path / "captured.txt").write_text(text)
    (summary,) = (tmp_path / "theirs").rglob("*_summary.json")
    shown = bench(
        om, "--mel-len", "250", "--batch", str(batch), "--no-snr", "--json",
        "--ais-bench", str(summary), "--ais-bench", "captured.txt:mel_len=500",
    )  # fmt: skip
    ours, theirs = json.loads(shown.out)["cases"]
    assert (ours["mel_len"], theirs["batch"], theirs["mel_len"]) == (250, batch, 500)
    as_json, as_text = theirs["measurements"]
    assert len(as_json["seconds"]) == 4
    assert as_text["latency_summary"]["mean"] == pytest.approx(1000 * np.mean(as_json["seconds"]))
    for row in (as_json, as_text):
        assert row["source"] == "ais_bench"
        assert row["caveat"] == CAVEAT


def test_a_text_without_its_size_says_how_to_give_it(place, bench, tmp_path):
    om = place.om((250, 500))
    done = place.simulator.ais_bench("--model", om, "--dymDims", "mel_spec:1,10,250")
    (tmp_path / "captured.txt").write_text(done.stdout)
    shown = bench(om, "--ais-bench", "captured.txt", status=1)
    assert "does not tell mel_len: give it with --ais-bench FILE:mel_len=T:batch=B" in shown.err
    assert shown.out == ""
