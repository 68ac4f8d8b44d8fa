"""`hifigan bench` as a user runs it, on a network that takes a millisecond."""

import csv
import json
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from cli.running import clip, command, hifigan
from golden.tiny import tiny_mel
from hifigan_rt.errors import OutputError
from hifigan_rt.tools.benchmark.results import read_json
from hifigan_rt.tools.cli import main
from waiting import wait_for

QUICK = ("--loop", "3", "--mel-len", "20", "--no-ceilings")


def bench(*arguments, status=0, **options):
    return hifigan("bench", "--model", "model", *arguments, status=status, **options)


def test_candidates_in_every_case_and_all_files(place):
    done = bench(
        "--engines", "native,reference,native", "--batch", "1,2", "--mel-len", "20", "--threads", "1", "--loop", "3",
        "-o", "out/results",
    )  # fmt: skip
    result = read_json(Path("out/results/bench.json"))
    assert [(case.batch, case.mel_len, case.threads) for case in result.cases] == [
        (1, 20, 1), (2, 20, 1),
    ]  # fmt: skip
    for case in result.cases:
        assert [row.candidate for row in case.measurements] == ["native", "reference", "native#2"]
        assert case.baseline == "native"
        assert case.audio_seconds == case.batch * case.mel_len * 8 / 8000
        for row in case.measurements:
            assert row.failed is None
            assert len(row.seconds) == 3
            assert row.load_seconds > 0
            assert row.first_seconds > 0
            assert row.peak_memory_mib > 10
            assert row.snr_db > 100
            assert row.executed_threads == 1
    assert [row.precision for row in result.cases[0].measurements] == ["float32", "float64", "float32"]
    assert {ceiling.name for ceiling in result.ceilings} == {"multiply-adds", "memory"}
    assert len(list(csv.reader(Path("out/results/bench.csv").read_text().splitlines()))) == 1 + 2 * 3
    assert Path("out/results/bench.md").read_text().startswith("# Benchmark of model\n")
    assert "# Benchmark of model\n" in done.stdout
    assert done.stderr.count("] batch ") == 2, "one line for each case"
    assert str(place) not in Path("out/results/bench.json").read_text(), "nothing tells whose machine it was"


def test_json_is_what_the_file_holds(place):
    grid = ("--batch", "1,2", "--mel-len", "20,30", "--threads", "1", "--loop", "1", "--no-ceilings")
    done = bench("--engines", "native", *grid, "--json", "-q", "-o", "out")
    assert json.loads(done.stdout)["cases"] == json.loads(Path("out/bench.json").read_text())["cases"]
    cells = [(case.batch, case.mel_len) for case in read_json(Path("out/bench.json")).cases]
    assert cells == [(1, 20), (1, 30), (2, 20), (2, 30)]
    assert done.stderr == ""


def test_a_candidate_that_cannot_run_leaves_the_others(place):
    done = bench("--engines", "native:precision=float16,native", *QUICK, "-o", "out", status=1)
    failed, native = read_json(Path("out/bench.json")).cases[0].measurements
    offered = "it has float32, bfloat16, bfloat16x3"
    assert failed.failed == f"precision='float16' is not offered by engine 'native': {offered}"
    assert native.ratio.median == 1.0, "the first that has figures is the baseline"
    assert "native:precision=float16 failed" in done.stdout


def test_no_file_of_an_earlier_result_stays(place, monkeypatch):
    bench("--engines", "native", *QUICK, "-o", "out")
    assert Path("out/speed-by-accuracy.svg").exists()
    before = Path("out/bench.md").read_bytes()
    bench("--engines", "native", "--model", "nothing", *QUICK, "-o", "out", "--overwrite", status=1)
    assert Path("out/bench.md").read_bytes() == before, "a run that fails before its first case replaces nothing"
    bench("--engines", "native", "--no-snr", *QUICK, "-o", "out", "--overwrite")
    assert sorted(path.name for path in Path("out").iterdir() if path.suffix in (".svg", ".png")) == [
        "latency.png", "latency.svg", "speed-by-mel-len.png", "speed-by-mel-len.svg",
    ]  # fmt: skip
    monkeypatch.setattr("hifigan_rt.tools.benchmark.output.find_spec", lambda _: None)
    bench("--engines", "native", *QUICK, "-o", "out", "--overwrite")
    assert {path.name for path in Path("out").glob("[!.]*")} == {"bench.csv", "bench.json", "bench.md"}
    Path("out/latency.png").write_bytes(b"somebody else's")
    for path in Path("out").glob("bench.*"):
        path.unlink()
    done = bench("--engines", "native", *QUICK, "-o", "out", status=1)
    assert "'out' holds latency.png already: name another folder" in done.stderr


def test_recordings_and_mels_are_taken_and_repeated(place):
    clip("clips/a.wav", seconds=0.1)
    np.save("mel.npy", tiny_mel(7))
    done = bench("--engines", "native", *QUICK, "--input", "mel.npy", "-o", "out")
    assert "the data have 7 frames: they are repeated for mel_len 20" in done.stderr
    assert read_json(Path("out/bench.json")).data_set == "mel.npy (1 clip, 7 frames)"
    bench("--engines", "native", *QUICK, "--input", "clips", "-o", "out", "--overwrite")
    assert read_json(Path("out/bench.json")).data_set == "clips (1 clip, 100 frames)"


def test_an_earlier_result_and_figures_of_another_machine_join_the_tables(place):
    bench("--engines", "native", *QUICK, "-o", "before")
    Path("summary.json").write_text(json.dumps({"NPU_compute_time": {"mean": 2.0, "count": 10}, "throughput": 500.0}))
    Path("eval.json").write_text(json.dumps({"accuracy": "PESQ 3.9"}))
    done = bench(
        "--engines", "native", *QUICK, "--from", "before/bench.json", "--eval", "eval.json",
        "--ais-bench", "summary.json:mel_len=20:batch=1:device=Ascend 310P3",
    )  # fmt: skip
    assert "Against the result of " in done.stdout
    assert "| Ascend 310P3 | " in done.stdout
    assert "PESQ 3.9" in done.stdout


def test_a_converted_model_takes_its_truth_from_the_checkpoint(place):
    hifigan("export", "openvino", "model", "-o", "tiny.xml")
    done = bench("--model", "tiny.xml", "--engines", "openvino", *QUICK, "-o", "out")
    assert "no SNR: the model is one of OpenVINO IR" in done.stderr
    bench("--model", "tiny.xml", "--reference", "model", "--engines", "all", *QUICK, "-o", "out", "--overwrite")
    rows = read_json(Path("out/bench.json")).cases[0].measurements
    assert "native" not in [row.engine for row in rows], "it does not run IR"
    assert all(row.snr_db > 100 for row in rows)


def test_an_onnx_file_that_is_a_generator_has_its_own_truth(place):
    hifigan("export", "onnx", "model", "-o", "tiny.onnx")
    bench("--model", "tiny.onnx", "--engines", "native,onnxruntime", *QUICK, "-o", "out")
    rows = read_json(Path("out/bench.json")).cases[0].measurements
    assert sorted(row.engine for row in rows) == ["native", "onnxruntime"]
    assert all(row.snr_db > 100 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--engines", "natve"], 1, "did you mean 'native'?"),
        (["--engines", "native,"], 2, "names nothing at one place"),
        (["--engines", "native:mode"], 1, "'mode' is not KEY=VALUE"),
        (["--engines", "native:mode=x"], 1, "has no setting 'mode'"),
        (["--engines", "all:mode=x"], 1, "settings belong to one engine"),
        (["--engines", "all", "--precision", "int3"], 1, "precision 'int3' is not known: choose float32"),
        (["--engines", "native", "--precision", "float23"], 1, "did you mean 'float32'?"),
        (["--engines", "native:precision=flaot32"], 1, "did you mean 'float32'?"),
        (["--engines", "native", "--device", "GPU"], 1, "take no device"),
        (["--engines", "native", "--engine-option", "a=b"], 1, "none of native has such a setting"),
        (["--batch", "0"], 2, "'0' is no whole number from 1"),
        (["--mel-len", "0"], 2, "'0' is no whole number from 1"),
        (["--mel-at", "mel"], 2, "--mel-at is for mels in the files of --input"),
        (["--mel-len", "1e3"], 2, "'1e3' is no whole number"),
        (["--threads", "1,,2"], 2, "'' is no whole number"),
        (["--loop", "0"], 2, "--loop"),
        (["--input", "nowhere"], 1, "neither a file nor a folder"),
        (["--from", "nowhere.json"], 1, "cannot be read"),
        (["--ais-bench", "nowhere.json"], 1, "cannot be read"),
        (["--ais-bench", "x.json:batch=none"], 2, "no whole number"),
        (["--eval", "nowhere.json"], 1, "cannot be read"),
        (["--reference", "nowhere"], 1, "neither a file"),
        (["-o", "model/config.json/x"], 1, "cannot be made"),
        (["-o", "full"], 1, "holds bench.json already"),
    ],
)
def test_wrong_inputs_are_refused_before_anything_is_measured(place, capsys, arguments, status, text):
    Path("full").mkdir()
    Path("full/bench.json").write_text("{}")
    assert main(["bench", "--model", "model", *arguments]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("hifigan: error: ")
    assert text in shown.err


def test_a_full_disk_is_told(place):
    with Path("/dev/full").open("w") as full:
        done = bench("--engines", "native", *QUICK, status=1, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert "standard output cannot be written" in done.stderr


def test_a_full_disk_loses_nothing_that_was_measured(place, monkeypatch):
    def full(*_):
        raise OutputError("'out/bench.json' could not be written: No space left on device")

    # Not its caller's name, which modules that are imported meanwhile would keep.
    monkeypatch.setattr("hifigan_rt.tools.benchmark.results.records.write_json", full)
    done = bench("--engines", "native", *QUICK, "-o", "out", status=1)
    assert done.stderr.count("'out/bench.json' could not be written: No space left on device") == 1
    assert "| native | native " in done.stdout
    told = json.loads(bench("--engines", "native", *QUICK, "-o", "out", "--json", status=1).stdout)
    assert (len(told["cases"]), told["interrupted"]) == (1, False), "no case is missing"


def test_a_case_that_cannot_be_run_leaves_those_before_it(place, monkeypatch):
    save = np.save

    def full(file, array):
        if array.shape[-1] == 40:
            raise OSError(28, "No space left on device")
        save(file, array)

    monkeypatch.setattr(np, "save", full)
    twice = ("--engines", "native", "--mel-len", "20,40", "--loop", "3", "--no-ceilings", "--json")
    done = bench(*twice, status=1)
    assert "No space left on device; TMPDIR names another" in done.stderr
    told = json.loads(done.stdout)
    assert ([case["mel_len"] for case in told["cases"]], told["interrupted"]) == ([20], True)
    monkeypatch.setattr(np, "save", save)

    def out_of_memory(_, __, frames):
        if frames == 40:
            raise MemoryError
        return tiny_mel(20)[None]

    monkeypatch.setattr("hifigan_rt.tools.benchmark.run.crops", out_of_memory)
    done = bench(*twice, status=1)
    assert "out of memory" in done.stderr
    assert len(json.loads(done.stdout)["cases"]) == 1


def workers_of(pid):
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if path.exists() and path.read_text().rpartition(")")[2].split()[1] == str(pid)
    ]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_ends_all_workers_and_keeps_what_was_measured(place, number, status):
    process = subprocess.Popen(
        command("bench", "--model", "model", "--engines", "native,reference", "--mel-len", "20,200", "--loop", "100000",
                "--max-seconds", "2", "--no-ceilings", "-o", "out", "--json"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # As if a shell had not started it in the background, which makes it ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        # The first case is written when it is finished; the second has two workers.
        wait_for(lambda: Path("out/bench.json").exists() and len(workers_of(process.pid)) == 2)
        workers = workers_of(process.pid)
        time.sleep(0.3)
        process.send_signal(number)
        output, errors = process.communicate()
    finally:
        process.kill()
    assert process.returncode == status
    assert json.loads(output) == json.loads(Path("out/bench.json").read_text())
    assert json.loads(output)["interrupted"] is True
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    result = read_json(Path("out/bench.json"))
    assert len(result.cases) == 2
    assert any(note.startswith("interrupted in the case of batch 1, mel_len 200") for note in result.notes)
    lengths = {len(row.seconds) for row in result.cases[1].measurements}
    assert len(lengths) == 1, "rounds that all finished"
    assert Path("out/bench.md").exists()


def test_an_interruption_before_the_first_case_is_json_too(place, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hifigan_rt.tools.benchmark.run.measure_ceilings", interrupted)
    told = json.loads(bench("--json", status=130).stdout)
    assert (told["interrupted"], told["cases"]) == (True, [])
    monkeypatch.setattr("hifigan_rt.tools.benchmark.benchmark_model.read_benchmark_model", interrupted)
    assert json.loads(bench("--json", status=130).stdout) == {"interrupted": True, "complete": False}


def test_modules_in_the_working_folder_are_not_imported(place):
    Path("json.py").write_text("raise SystemExit('the wrong json')")
    Path("numpy.py").write_text("raise SystemExit('the wrong numpy')")
    script = str(Path(sys.executable).with_name("hifigan"))
    done = subprocess.run(
        [script, "bench", "--model", "model", "--engines", "native", *QUICK], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_a_terminal_gets_a_table_that_changes_in_place(place):
    parent, child = pty.openpty()
    arguments = command("bench", "--model", "model", "--engines", "native,native", *QUICK)
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=child, env=os.environ | {"COLUMNS": "60"})
    os.close(child)
    seen = b""
    while True:
        try:
            part = os.read(parent, 4096)
        except OSError:
            break
        if not part:
            break
        seen += part
    os.close(parent)
    assert process.wait() == 0
    text = seen.decode()
    assert "[1/1] batch 1, mel_len 20" in text
    assert "\x1b[3A" in text, "drawn over what was there"
    assert all(len(line.replace("\x1b[2K", "").lstrip("\r")) < 70 for line in text.split("\r\n"))
    last = re.split(r"\x1b\[\dA", text)[-1]
    assert "3 rounds" in last
    assert textwrap.dedent(last).count("native") == 3
