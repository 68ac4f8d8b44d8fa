"""`hifigan eval` as a user runs it, on a network that takes a millisecond."""

import csv
import json
import math
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli.evaluating import QUICK, model, result, rows
from cli.running import RATE, clip, command, error_of, hifigan
from hifigan_rt.audio.signal_metrics import mel_l1
from hifigan_rt.tools.benchmark.accuracy import read_accuracy
from hifigan_rt.vocoder import load
from tolerances import EVALUATION_MEL_L1, INAUDIBLE_SNR_DB, SCORE_IDENTITY
from waiting import wait_for


def test_copy_synthesis_is_what_synth_makes(data):
    done = model()
    made = result()
    assert made.complete
    assert made.data_set == "in (3 clips)"
    assert [system.name for system in made.systems] == ["model"]
    assert made.systems[0].precision == "float32"
    assert made.sample_rate == RATE
    assert made.command.startswith("hifigan eval --model model --dataset in")
    hifigan("synth", "in", "--model", "model", "-o", "by-synth", "--encoding", "float")
    for index in range(3):
        expected = Path(f"by-synth/c{index}.wav").read_bytes()
        assert Path(f"out/audio/model/c{index}.wav").read_bytes() == expected
        recording, _ = soundfile.read(f"in/c{index}.wav")
        assert np.array_equal(soundfile.read(f"out/audio/reference/c{index}.wav")[0], recording)
    # The distance by another way: from the model's own mel settings, without workers or records.
    vocoder = load("model")
    recording, _ = soundfile.read("in/c0.wav", dtype="float32")
    generated, _ = soundfile.read("out/audio/model/c0.wav", dtype="float32")
    expected = mel_l1(vocoder.mel(recording[: len(generated)]), vocoder.mel(generated))
    assert rows("model")["c0"].scores["mel_l1"].value == pytest.approx(expected, rel=EVALUATION_MEL_L1)
    assert "mel L1, input band" in done.stdout
    assert "published" in done.stdout
    assert str(data) not in Path("out/report.json").read_text(), "nothing tells whose machine it was"


def test_all_files_are_there_and_agree(data):
    model("--compare", "reference", "--compare", "name=again,engine=reference")
    table = list(csv.DictReader(Path("out/clips.csv").read_text().splitlines()))
    assert len(table) == 9
    made = result()
    for line, row in zip(table, made.scores, strict=True):
        assert (line["clip"], line["system"]) == (row.clip, row.system)
        assert float(line["mel_l1"]) == row.scores["mel_l1"].value
        assert Path("out", line["audio"]).is_file()
    assert "<html" in Path("out/report.html").read_text()
    assert read_accuracy(Path("out/report.json")).text == made.accuracy
    for entry in made.summaries:
        values = [row.scores[entry.metric].value for row in made.scores_of(entry.system)]
        assert entry.summary.interval.mean == pytest.approx(np.mean(values))
        assert entry.summary.median == pytest.approx(np.median(values))
    worst = made.summary_of("model", "mel_l1").worst[0]
    assert worst.value == max(row.scores["mel_l1"].value for row in made.scores_of("model"))
    assert [entry.system for entry in made.comparisons] == ["reference", "again"]
    assert made.comparisons[0].snr_db > INAUDIBLE_SNR_DB, "float32 against float64"
    assert "no metric moved" in made.comparisons[0].sentence


def test_json_is_what_the_file_holds(data):
    done = model("--json", "-q")
    assert json.loads(done.stdout) == json.loads(Path("out/report.json").read_text())
    assert done.stderr == ""


def test_identical_audio_is_at_no_distance(data):
    done = hifigan(
        "eval", "--reference", "in", "--generated", "in", "--config", "model/config.json", "--metrics", "all",
        "--compare", "name=copy,folder=in", "-o", "out", "--max", "mel_l1=0", "--max", "mr_stft=0", "--max", "lsd=0",
        "--min", "snr=300",
    )  # fmt: skip
    made = result()
    for row in made.scores:
        for metric in made.metrics:
            value = row.scores[metric.key].value
            if metric.identity is not None and not math.isnan(value):
                assert value == pytest.approx(metric.identity, abs=SCORE_IDENTITY), metric.key
    assert made.passed
    assert "identical" in done.stdout
    assert "the audio is the same, sample by sample" in made.comparisons[0].sentence
    assert "note: metric 'distillmos' needs" in done.stderr or "distillmos" in [metric.key for metric in made.metrics]


def test_limits_decide_the_status(data):
    done = model("--max", "mel_l1=100", "--min", "mr_stft=0")
    assert "mel_l1 is" in done.stdout
    done = model("--overwrite", "--max", "mel_l1=0.001", status=1)
    assert "must be at most 0.001: too high" in done.stdout
    assert not result().passed
    # A metric that only a limit names is computed.
    done = model("--overwrite", "--max", "lsd=0", status=1)
    assert "lsd is" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--min", "stoi"], "'stoi' is not KEY=VALUE"),
        (["--min", "stoi=high"], "the limit must be a number"),
        (["--max", "lsd=3", "--max", "lsd=2"], "lsd is given as '3' and as '2': give one of them"),
        (["--max", "stoi=nan"], "the limit must be a number"),
        (["--metrics", "a,,b"], "names nothing at one place"),
        (["--generated", "in"], "give either --model, or --generated"),
        (["--resume", "--overwrite"], "give one of them"),
        (["--limit", "0"], "0 is not in the range"),
    ],
)
def test_wrong_command_lines(data, arguments, text):
    done = hifigan("eval", "--model", "model", "--dataset", "in", *arguments, "-o", "out", status=2)
    assert text in error_of(done)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--min", "stio=0.9"], "metric 'stio' is not known"),
        (["--metrics", "stio"], "did you mean 'stoi'"),
        (["--compare", "engine=nativ"], "did you mean 'native'"),
        (["--compare", "precision"], "model 'precision'"),
        (["--compare", "folder=absent"], "'absent' is no folder"),
        (["--mels", "absent"], "'absent' is no folder"),
        (["--dataset", "absent"], "neither a file nor a folder"),
        (["--split", "validation"], "needs the list validation.txt"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(data, arguments, text):
    names = ["--dataset", "in"] if "absent" not in arguments or "--mels" in arguments else []
    if "--dataset" not in arguments and not names:
        names = ["--dataset", "in"]
    done = hifigan("eval", "--model", "model", *names, *arguments, "-o", "out", status=1)
    assert text in error_of(done)


def test_without_recordings_only_the_others_are_measured(data):
    hifigan("mel", "in", "--model", "model", "-o", "mels")
    done = hifigan("eval", "--model", "model", "--mels", "mels", "-o", "out")
    made = result()
    assert {"peak", "clipped_samples"} <= {metric.key for metric in made.metrics}
    assert not any(metric.needs_reference for metric in made.metrics)
    assert made.left_out["stoi"] == "there are no recordings to compare with: give --dataset"
    assert made.clips[0].reference is None
    assert made.clips[0].problem is None
    assert "there are no recordings" in done.stderr
    done = hifigan("eval", "--model", "model", "-o", "other", status=1)
    assert error_of(done) == "nothing tells which clips 'model' is to make: give --dataset or --mels"


def test_predicted_mels_beside_those_of_the_recordings(data):
    hifigan("mel", "in", "--model", "model", "-o", "mels")
    mel = np.load("mels/c1.npy")
    np.save("mels/c1.npy", mel + 0.5)
    model("--compare", "name=predicted,mels=mels")
    first, second = rows("model"), rows("predicted")
    assert second["c0"].scores == first["c0"].scores
    assert second["c1"].scores["mel_l1"] != first["c1"].scores["mel_l1"]
    assert result().comparisons[0].identical == 2
    assert result().systems[1].mels == "mels"


# Going on


def test_an_evaluation_is_not_overwritten_unless_asked(data):
    model()
    before = Path("out/report.json").read_bytes()
    assert "holds an evaluation already: --resume keeps" in error_of(model(status=1))
    assert Path("out/report.json").read_bytes() == before
    model("--overwrite")


def test_resume_does_only_what_is_missing_and_gives_the_same(data):
    model("--compare", "reference")
    before = result()
    lines = Path("out/scores.jsonl").read_text().splitlines()
    assert len(lines) == 6
    Path("out/audio/model/c1.wav").unlink()
    Path("out/scores.jsonl").write_text("\n".join(lines[:4]) + '\n{"torn')
    os.utime("out/audio/model/c0.wav", ns=(1, 1))
    model("--compare", "reference", "--resume")
    assert Path("out/audio/model/c0.wav").stat().st_mtime_ns == 1, "not made again"
    assert Path("out/audio/model/c1.wav").is_file()
    after = result()
    assert after.scores == before.scores
    assert repr(after.summaries) == repr(before.summaries), "NaN differs from itself"
    assert len(Path("out/scores.jsonl").read_text().splitlines()) == 5 + 2


def test_resume_adds_metrics_and_notices_changed_recordings(data):
    model()
    hifigan("eval", "--model", "model", "--dataset", "in", "--metrics", "mel_l1,lsd", "--resume", "-o", "out")
    added = [json.loads(line) for line in Path("out/scores.jsonl").read_text().splitlines()][3:]
    assert [list(entry["measured"]["scores"]) for entry in added] == [["lsd"]] * 3
    assert {*rows("model")["c0"].scores} == {"mel_l1", "lsd"}, "those that were measured before and not asked for"
    before = rows("model")
    clip("in/c1.wav", 0.5, seed=99)
    model("--resume")
    after = rows("model")
    assert after["c0"].scores["mel_l1"] == before["c0"].scores["mel_l1"]
    assert after["c1"].scores["mel_l1"] != before["c1"].scores["mel_l1"]


def test_ctrl_c_keeps_what_is_finished(place):
    for index in range(40):
        clip(f"in/c{index:02}.wav", 2.0, seed=index)
    process = subprocess.Popen(
        command("eval", "--model", "model", "--dataset", "in", "--jobs", "1", "-o", "out", "--json"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    scores = Path("out/scores.jsonl")
    wait_for(lambda: process.poll() is not None or (scores.exists() and scores.read_text().count("\n") >= 2))
    assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert process.returncode == 130, errors
    assert json.loads(output) == {"interrupted": True, "complete": False}
    assert "Traceback" not in errors
    assert "--resume goes on from there" in errors
    assert "s of audio" not in errors
    kept = scores.read_text().count("\n")
    assert kept >= 2
    assert not Path("out/report.json").exists()
    hifigan("eval", "--model", "model", "--dataset", "in", "--limit", "3", *QUICK, "--resume", "-o", "out")
    assert result().complete


def test_progress_is_shown_when_asked(data):
    done = model("--progress")
    for stage in ("recordings", "model", "metrics"):
        assert stage in done.stderr
