"""`hifigan eval` on recordings that are not as they should be: each is named, and the others go on."""

import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli.evaluating import folders, model, noise, result, rows, write
from cli.running import RATE, clip, error_of, hifigan
from hifigan_rt.vocoder import Vocoder


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


def test_a_clip_of_one_sample_keeps_its_metrics_and_the_report(place):
    for folder in ("in", "made"):
        clip(f"{folder}/whole.wav", 0.5, rate=48000)
        write(f"{folder}/one.wav", np.full(1, 0.25), rate=48000)
    hifigan("eval", "--reference", "in", "--generated", "made", "--metrics", "snr,f0_rmse_cents", "-o", "out")
    one = rows("made")["one"].scores
    assert (one["snr"].value, one["f0_rmse_cents"].reason) == (math.inf, "no frame is voiced in both signals")
    assert Path("out/report.html").is_file()


@pytest.mark.parametrize("rate", [65537, 768000])
def test_a_rate_that_the_sound_of_the_page_cannot_have(place, rate):
    for seed, folder in enumerate(("in", "made")):
        clip(f"{folder}/a.wav", 0.1, seed=seed, rate=rate)
    hifigan("eval", "--reference", "in", "--generated", "made", "--metrics", "snr", "-o", "out")
    assert math.isfinite(rows("made")["a"].scores["snr"].value)
    assert f"sample_rate={rate} does not go into flac" in Path("out/report.html").read_text()


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
    assert [clip.notes for clip in result().clips if clip.name == "fast"] == [
        (f"resampled from {2 * RATE} to {RATE} Hz",)
    ]
    assert soundfile.info("out/audio/reference/fast.wav").samplerate == RATE


def test_rates_of_folders_that_differ(data):
    for index in range(3):
        clip(f"made/c{index}.wav", 0.5, seed=index, rate=2 * RATE)
    done = folders(status=1)
    assert f"the recording has {2 * RATE} Hz" in done.stderr
    folders("--resample", "--overwrite")
    # Without a model and its config nothing has a rate but the recordings.
    done = hifigan(
        "eval", "--reference", "in", "--generated", "made", "--metrics", "peak", "-o", "out", "--overwrite", status=1
    )
    assert f"the recording has {2 * RATE} Hz and the first clip {RATE} Hz: --resample converts it" in done.stderr


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
    assert "failed: 'made, c1': no file for clip 'c1' in 'made'\n" in done.stderr
    assert "note: made: 2 files belong to no clip" in done.stderr


def test_clipped_and_offset_audio_is_named(data):
    write("made/c0.wav", np.clip(noise() * 8, -1, 1))
    write("made/c1.wav", noise() - noise().mean() + 0.1)
    write("made/c2.wav", noise(), encoding="FLOAT")
    folders()
    notes = {name: " ".join(row.notes) for name, row in rows("made").items()}
    assert "samples at full scale, 3 or more of them in a row" in notes["c0"]
    assert "has a constant offset of +0.100" in notes["c1"]
    assert notes["c2"] == ""
    assert rows("made")["c0"].scores["clipped_samples"].value > 100


def test_samples_beyond_full_scale_are_measured_as_they_are(data):
    loud = soundfile.read("in/c0.wav")[0]
    loud[[10, 20]] = 1.4, -3.0
    write("in/c1.wav", 1.6 * noise() / 0.3, encoding="FLOAT")
    write("made/c0.wav", loud, encoding="FLOAT")
    write("made/c1.wav", np.clip(1.6 * noise() / 0.3, -1, 1), encoding="FLOAT")
    clip("made/c2.wav", 0.5, seed=2)
    metrics = ("--metrics", "snr,peak,clipped_samples", "--jobs", "1")
    done = hifigan("eval", "--reference", "in", "--generated", "made", *metrics, "-o", "out")
    first, second = (rows("made")[name] for name in ("c0", "c1"))
    recording = soundfile.read("in/c0.wav")[0]
    expected = 10 * np.log10(np.sum(recording**2) / ((1.4 - recording[10]) ** 2 + (3 + recording[20]) ** 2))
    assert first.scores["snr"].value == pytest.approx(expected, abs=1e-5)
    assert first.scores["peak"].value == pytest.approx(20 * np.log10(3))
    assert second.scores["snr"].value < 20, "a recording beyond full scale is not its clipped copy"
    text = "samples beyond full scale, up to {}: measured so, clipped in the sound of the report"
    assert first.notes == ("2 " + text.format("3.00"),)
    assert result().clips[1].notes[0].endswith(text.format("1.60"))
    assert f"made 'c0': 2 {text.format('3.00')}" in done.stderr


def test_a_model_beyond_full_scale_is_told_too(data, monkeypatch):
    generate = Vocoder.__call__
    monkeypatch.setattr(Vocoder, "__call__", lambda self, *given, **named: generate(self, *given, **named) + 2)
    model()
    found = rows("model")["c0"]
    assert found.scores["peak"].value > 20 * np.log10(1.5)
    assert "beyond full scale" in found.notes[0]


def test_unreadable_files_fail_alone(data):
    Path("in/bad.wav").write_bytes(b"RIFF????WAVEnonsense")
    done = model(status=1)
    assert "bad.wav" in done.stderr
    assert result().clips[0].problem is not None
    assert len([row for row in result().scores if row.failed is None]) == 3


def test_folders_that_are_none_are_told(data):
    Path("loop").symlink_to("loop")
    for name in ("loop", "x" * 300):
        with_none = ("--config", "model/config.json", "--metrics", "peak", "--jobs", "1", "-o", "out", "--overwrite")
        done = hifigan("eval", "--reference", "in", "--generated", name, *with_none, status=1)
        assert "is no folder: name one with a file for each clip" in error_of(done)
        done = hifigan("listen", "make", "--system", f"v={name}", "--mode", "mos", "-o", "test", status=1)
        assert "is no folder: name one with a file for each clip" in error_of(done)


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


def test_names_that_are_not_utf8_stand_in_every_result(data):
    clip(b"in/caf\xe9.wav")
    shutil.copytree("in", os.fsdecode(b"made\xff"))
    report = os.fsdecode(b"out\xff")
    chosen = ("--config", "model/config.json", "--metrics", "peak", "--jobs", "1")
    hifigan("eval", "--reference", "in", "--generated", os.fsdecode(b"made\xff"), *chosen, "-o", report)
    assert r"caf\udce9,made\udcff," in Path(report, "clips.csv").read_text(encoding="utf-8")
    assert r"caf\udce9" in Path(report, "report.html").read_text(encoding="utf-8")
    found = json.loads(Path(report, "report.json").read_bytes())
    assert b"caf\xe9" in [os.fsencode(entry["name"]) for entry in found["clips"]]
    title = os.fsdecode(b"T\xff")
    hifigan("listen", "make", report, "--mode", "mos", "--title", title, "-o", os.fsdecode(b"test\xff"))
    assert r"<title>T\udcff" in Path(os.fsdecode(b"test\xff"), "test.html").read_text(encoding="utf-8")
