"""`hifigan eval` as a user runs it, on a network that takes a millisecond."""

import csv
import json
import math
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli.running import RATE, clip, command, error_of, hifigan
from hifigan_rt.benchmark.accuracy import read_accuracy
from hifigan_rt.evaluation.results import read_json
from hifigan_rt.signal_metrics import mel_l1
from hifigan_rt.vocoder import load
from tolerances import EVALUATION_MEL_L1, INAUDIBLE_SNR_DB, SCORE_IDENTITY

QUICK = ("--metrics", "mel_l1,mr_stft,peak,clipped_samples", "--jobs", "1")


def evaluate(*arguments, status=0, **options):
    return hifigan("eval", *arguments, *QUICK, "-o", "out", status=status, **options)


def model(*arguments, status=0):
    return evaluate("--model", "model", "--dataset", "in", *arguments, status=status)


def folders(*arguments, status=0):
    return evaluate(
        "--reference", "in", "--generated", "made", "--config", "model/config.json", *arguments, status=status
    )


def result():
    return read_json(Path("out/report.json"))


def rows(system):
    return {row.clip: row for row in result().scores_of(system)}


def write(path, samples, rate=RATE, encoding="PCM_16"):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, encoding)


def noise(seconds=0.5, seed=0):
    return np.random.default_rng(seed).uniform(-0.3, 0.3, int(seconds * RATE))


@pytest.fixture
def data(place):
    for index in range(3):
        clip(f"in/c{index}.wav", 0.5, seed=index)
    return place


def test_copy_synthesis_is_what_synth_makes(data):
    done = model()
    made = result()
    assert made.complete
    assert made.data_set == "in (3 clips)"
    assert [system.name for system in made.systems] == ["model"]
    assert made.systems[0].precision == "float32"
    assert made.sample_rate == RATE
    assert made.command.startswith("hifigan eval --model model --dataset in")
    hifigan("synth", "in", "--model", "model", "-o", "by-synth", "--format", "flac", "--encoding", "pcm24")
    for index in range(3):
        expected = Path(f"by-synth/c{index}.flac").read_bytes()
        assert Path(f"out/audio/model/c{index}.flac").read_bytes() == expected
        recording, _ = soundfile.read(f"in/c{index}.wav")
        assert np.array_equal(soundfile.read(f"out/audio/reference/c{index}.flac")[0], recording)
    # The distance by another way: from the model's own mel settings, without workers or records.
    vocoder = load("model")
    recording, _ = soundfile.read("in/c0.wav", dtype="float32")
    generated, _ = soundfile.read("out/audio/model/c0.flac", dtype="float32")
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
    assert read_accuracy(Path("out/report.json")) == made.accuracy
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
        (["--max", "lsd=3", "--max", "lsd=2"], "'lsd' has a limit already: give one"),
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


# Bad input


def test_lengths_that_differ_are_cropped_and_told(data):
    for index in range(3):
        samples, _ = soundfile.read(f"in/c{index}.wav")
        write(f"made/c{index}.wav", samples[: len(samples) - 100 * 10 ** (index - 1)] if index else samples)
    done = folders()
    found = rows("made")
    assert found["c0"].notes == ()
    assert "cropped to 3900 samples: the reference signal has 100 more (12.5 ms) at its end" in found["c1"].notes
    assert found["c2"].scores["mel_l1"].value == 0, "what is there is the same"
    assert "made: 1 clip differs in length from the recording by more than 0.1 s, the first is 'c2'" in done.stderr


def test_silence_has_reasons_instead_of_values(data):
    write("in/c1.wav", np.zeros(RATE // 2))
    done = hifigan("eval", "--model", "model", "--dataset", "in", "--metrics", "all", "-o", "out")
    made = result()
    assert made.complete, "silence is a result, not a failure"
    assert made.clips[1].notes == ("digital silence",)
    silent = rows("model")["c1"].scores
    assert math.isnan(silent["snr"].value)
    assert "silence" in silent["snr"].reason
    assert made.summary_of("model", "snr").summary.undefined == 1
    assert "recording 'c1': digital silence" in done.stderr


def test_clips_of_50_ms(data):
    write("in/short.wav", noise(0.05))
    done = hifigan("eval", "--model", "model", "--dataset", "in", "--metrics", "all", "-o", "out")
    short = rows("model")["short"]
    assert short.failed is None
    undefined = {key: score.reason for key, score in short.scores.items() if math.isnan(score.value)}
    assert all(undefined.values()), "each says why"
    assert "stoi" in undefined
    assert not math.isnan(short.scores["mel_l1"].value)
    assert "no stoi:" in done.stderr


def test_a_clip_too_short_for_one_frame_fails_alone(data):
    write("in/tiny.wav", noise(0.0005))
    done = model(status=1)
    assert "tiny" in done.stderr
    assert rows("model")["tiny"].failed is not None
    assert rows("model")["c0"].failed is None
    assert not result().complete


def test_another_sample_rate_needs_leave(data):
    clip("in/fast.wav", 0.5, rate=2 * RATE)
    done = model(status=1)
    assert "--resample converts it" in done.stderr
    assert "the recording cannot be used" in rows("model")["fast"].failed
    model("--resample", "--resume")
    assert result().complete
    assert soundfile.info("out/audio/reference/fast.flac").samplerate == RATE


def test_rates_of_folders_that_differ(data):
    for index in range(3):
        clip(f"made/c{index}.wav", 0.5, seed=index, rate=2 * RATE)
    done = folders(status=1)
    assert f"the recording has {2 * RATE} Hz" in done.stderr
    folders("--resample", "--overwrite")


def test_stereo_needs_leave(data):
    clip("in/c1.wav", 0.5, channels=2)
    done = model(status=1)
    assert "2 channels" in done.stderr
    model("--mono", "--resume")
    assert result().complete


def test_missing_and_extra_files(data):
    for name in ("c0", "c2", "other", "another"):
        clip(f"made/{name}.wav", 0.5)
    done = folders("--compare", "model=model", status=1)
    made = result()
    assert rows("made")["c1"].failed == "no file for clip 'c1' in 'made'"
    assert made.systems[0].notes == ("2 files belong to no clip: another, other",)
    assert made.summary_of("made", "mel_l1").summary.interval.count == 2
    assert made.comparisons[0].clips == 2
    assert "failed: 'made, c1': no file for clip" in done.stderr or "no file for clip 'c1'" in done.stderr
    assert "note: made: 2 files belong to no clip" in done.stderr


def test_clipped_and_offset_audio_is_named(data):
    write("made/c0.wav", np.clip(noise() * 8, -1, 1))
    write("made/c1.wav", noise() - noise().mean() + 0.1)
    write("made/c2.wav", 1.5 * noise() / 0.3, encoding="FLOAT")
    folders()
    notes = {name: " ".join(row.notes) for name, row in rows("made").items()}
    assert "samples at full scale, 3 or more of them in a row" in notes["c0"]
    assert "has a constant offset of +0.100" in notes["c1"]
    assert "clipped" in notes["c2"]
    assert rows("made")["c0"].scores["clipped_samples"].value > 100


def test_unreadable_files_fail_alone(data):
    Path("in/bad.wav").write_bytes(b"RIFF????WAVEnonsense")
    done = model(status=1)
    assert "bad.wav" in done.stderr
    assert result().clips[0].problem is not None
    assert len([row for row in result().scores if row.failed is None]) == 3


def test_models_of_different_rates_are_not_compared(data):
    config = json.loads(Path("model/config.json").read_text()) | {"sampling_rate": 2 * RATE}
    Path("other.json").write_text(json.dumps(config))
    done = model("--compare", "model=model,config=other.json", status=1)
    assert f"makes {2 * RATE} Hz and model {RATE} Hz" in error_of(done)


def test_results_never_go_into_an_input_folder(data):
    Path("link").symlink_to("in")
    Path("made").mkdir()
    for folder, arguments in (
        ("link", ("--model", "model", "--dataset", "in")),
        ("made/../made", ("--reference", "in", "--generated", "made")),
    ):  # fmt: skip
        done = hifigan("eval", *arguments, "-o", folder, status=1)
        assert "is an input folder: name another one" in error_of(done)
    assert sorted(path.name for path in Path("in").iterdir()) == ["c0.wav", "c1.wav", "c2.wav"]


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
    Path("out/audio/model/c1.flac").unlink()
    Path("out/scores.jsonl").write_text("\n".join(lines[:4]) + '\n{"torn')
    os.utime("out/audio/model/c0.flac", ns=(1, 1))
    model("--compare", "reference", "--resume")
    assert Path("out/audio/model/c0.flac").stat().st_mtime_ns == 1, "not made again"
    assert Path("out/audio/model/c1.flac").is_file()
    after = result()
    assert after.scores == before.scores
    assert after.summaries == before.summaries
    assert len(Path("out/scores.jsonl").read_text().splitlines()) == 5 + 2


def test_resume_adds_metrics_and_notices_changed_recordings(data):
    model()
    hifigan("eval", "--model", "model", "--dataset", "in", "--metrics", "mel_l1,lsd", "--resume", "-o", "out")
    added = [json.loads(line) for line in Path("out/scores.jsonl").read_text().splitlines()][3:]
    assert [list(entry["measured"]["scores"]) for entry in added] == [["lsd"]] * 3
    before = rows("model")
    clip("in/c1.wav", 0.5, seed=99)
    model("--resume")
    after = rows("model")
    assert after["c0"].scores["mel_l1"] == before["c0"].scores["mel_l1"]
    assert after["c1"].scores["mel_l1"] != before["c1"].scores["mel_l1"]


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(place):
    for index in range(40):
        clip(f"in/c{index:02}.wav", 2.0, seed=index)
    process = subprocess.Popen(
        command("eval", "--model", "model", "--dataset", "in", "--jobs", "1", "-o", "out"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    scores = Path("out/scores.jsonl")
    deadline = time.monotonic() + 120
    while not (scores.exists() and scores.read_text().count("\n") >= 2):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "--resume goes on from there" in errors
    kept = scores.read_text().count("\n")
    assert kept >= 2
    assert not Path("out/report.json").exists()
    hifigan("eval", "--model", "model", "--dataset", "in", "--limit", "3", *QUICK, "--resume", "-o", "out")
    assert result().complete


def test_progress_is_shown_when_asked(data):
    done = model("--progress")
    for stage in ("recordings", "model", "metrics"):
        assert stage in done.stderr
