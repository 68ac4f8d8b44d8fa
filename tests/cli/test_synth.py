"""What synth makes of recordings and mels, and what it must not destroy."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli.running import RATE, clip, error_of, hifigan, records, synth
from golden.tiny import write_tiny
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME

# synth: lengths, encodings, what is recorded


def test_lengths_encodings_and_the_manifest(place):
    clip("in/a.wav", 0.2503)  # 2002 samples: 250 frames and 2 samples
    done = synth("in", "-o", "out", "--json", "--mel-l1")
    summary = json.loads(done.stdout)
    assert (summary["clips"], summary["done"], summary["complete"]) == (1, 1, True)
    record = records()["a.wav"]
    assert (record.input_samples, record.frames, record.output_samples, record.samples_dropped) == (2002, 250, 2000, 2)
    assert record.audio_seconds == 0.25
    assert record.mel_l1 is not None
    assert soundfile.info("out/a.wav").subtype == "PCM_16"
    synth("in", "-o", "matched", "--match-length", "--encoding", "pcm24", "--format", "flac")
    matched = soundfile.info("matched/a.flac")
    assert (matched.frames, matched.subtype) == (2002, "PCM_24")
    assert np.all(soundfile.read("matched/a.flac")[0][-2:] == 0)
    synth("in", "-o", "one.wav", "--encoding", "float")
    assert soundfile.info("one.wav").subtype == "FLOAT"
    assert not Path(MANIFEST_NAME).exists()


def test_mels_of_another_convention_are_converted(place):
    mel = np.random.default_rng(0).uniform(-11, 1, (10, 60)).astype(np.float32)
    np.save("m.npy", mel)
    np.save("log10.npy", mel / np.log(10))
    np.save("standardised.npy", (mel / np.log(10) + 2) / 0.5)
    np.save("stats.npy", np.stack([np.full(10, -2.0), np.full(10, 0.5)]))
    synth("m.npy", "-o", "m.wav")
    synth("log10.npy", "-o", "a.wav", "--mel-convention", "log10")
    synth("standardised.npy", "-o", "b.wav", "--mel-convention", "log10", "--mel-stats", "stats.npy")
    for name in ("a.wav", "b.wav"):
        np.testing.assert_allclose(soundfile.read(name)[0], soundfile.read("m.wav")[0], atol=1e-3)
    assert "--mel-stats" in synth("m.npy", "-o", "c.wav", "--mel-convention", "standardised", status=1).stderr
    assert "is not known: ln, log10" in synth("m.npy", "-o", "c.wav", "--mel-convention", "log2", status=1).stderr
    assert "--mel-convention" in synth("m.npy", "-o", "c.wav", "--mel-stats", "stats.npy", status=2).stderr


def test_sample_rate_and_channels_need_leave(place):
    clip("in/fast.wav", rate=16000)
    clip("in/wide.wav", channels=2)
    done = synth("in", "-o", "out", status=1)
    assert "--resample" in done.stderr
    assert "--mono" in done.stderr
    told = synth("in", "-o", "out", "--resume", "--resample", "--mono").stdout.splitlines()
    assert soundfile.info("out/fast.wav").frames == RATE // 4
    changes = {"fast.wav": f"resampled from 16000 to {RATE} Hz", "wide.wav": "averaged from 2 channels to one"}
    assert {name: record.conversions for name, record in records().items()} == {
        name: (change,) for name, change in changes.items()
    }
    assert {f"{change}: 1 clip" for change in changes.values()} <= set(told)


def test_one_bad_file_never_stops_the_rest(place):
    for i in range(4):
        clip(f"in/{i}.wav", seed=i)
    Path("in/1.wav").write_bytes(b"RIFF")
    Path("in/2.wav").write_bytes(b"")
    np.save("in/nan.npy", np.full((10, 20), np.nan, np.float32))
    done = synth("in", "no-such.wav", "-o", "out", "--json", status=1)
    summary = json.loads(done.stdout)
    assert summary["done"] == 2
    assert sorted(Path(entry["input"]).name for entry in summary["failed"]) == [
        "1.wav",
        "2.wav",
        "nan.npy",
        "no-such.wav",
    ]
    assert all(entry["error"] for entry in summary["failed"])
    assert {name: record.status for name, record in records().items()} == {
        "0.wav": "ok",
        "1.wav": "failed",
        "2.wav": "failed",
        "3.wav": "ok",
        "nan.wav": "failed",
        "no-such.wav": "failed",
    }
    text = synth("in", "-o", "out", "--resume", "-q", status=1)
    assert text.stdout == ""
    assert text.stderr.count("failed: ") == 3


def test_ljspeech_folder(place):
    for i in range(4):
        clip(f"LJ/wavs/LJ{i}.wav", seed=i)
    Path("LJ/training.txt").write_text("LJ0|a|a\nLJ1|a|a\n")
    Path("LJ/validation.txt").write_text("LJ3||\nLJ9|a|a\n")
    done = synth("LJ", "--split", "validation", "-o", "out", status=1)
    assert "validation.txt line 2" in done.stderr
    assert sorted(records()) == ["LJ3.wav", "LJ9.wav"]
    synth("LJ", "--split", "training", "-o", "out")
    assert "did you mean" not in error_of(synth("no-folder", "-o", "out", status=1))


def recording(name: str, container: str, codec: str) -> None:
    with Path(name).open("wb") as file:
        soundfile.write(file, 0.1 * np.sin(np.arange(2000) / 9), RATE, codec, format=container)


def test_a_folder_gives_every_format_that_is_read_and_tells_the_rest(place):
    Path("in/sub").mkdir(parents=True)
    formats = {
        "a.WAVE": ("WAV", "PCM_16"), "b.opus": ("OGG", "OPUS"), "c.Oga": ("OGG", "VORBIS"), "d.Mp3": ("MP3", None),
        "e.rf64": ("RF64", "PCM_16"), "f.bwf": ("WAV", "PCM_24"), "g.FLAC": ("FLAC", "PCM_16"),
    }  # fmt: skip
    for name, (container, codec) in formats.items():
        recording(f"in/{name}", container, codec)
    for name in ("x.m4a", "y.m4a", "a.txt", "a.TextGrid", "a.lab", "list.csv", ".DS_Store", "Thumbs.db"):
        Path("in", name).touch()
    counts = {".m4a": 2, ".csv": 1, ".lab": 1, ".textgrid": 1, ".txt": 1, "folders": 1}
    done = synth("in", "-o", "out")
    assert (done.stdout + done.stderr).count("left out") == 1
    assert "left out: 2 x .m4a, 1 " in done.stdout
    assert len(records()) == len(formats)
    run = json.loads(Path("out", MANIFEST_NAME).read_text().splitlines()[0])
    assert run["left_out"] == counts
    assert json.loads(synth("in", "-o", "out", "--resume", "--json").stdout)["left_out"] == counts
    assert "left out" not in synth("in/a.WAVE", "-o", "one.wav").stdout
    assert "left out: " in hifigan("mel", "in", "--model", "model", "-o", "mels").stdout
    # A folder that an earlier run wrote holds its manifest, which is nobody's data.
    assert "left out" not in synth("mels", "-o", "again").stdout


def test_a_list_with_a_wrong_line_makes_the_rest_again_and_again(place):
    """What a line names outside takes no part in the check for outputs that are there."""
    clip("LJ/wavs/A1.wav")
    clip("v/a.wav")
    Path("LJ/metadata.csv").write_text("../v/a|x\nA1|x\n")
    for _ in range(2):
        done = synth("LJ", "-o", "out", "--resume", status=1)
        assert "metadata.csv line 1: clip name '../v/a' leads out of wavs/" in done.stderr
    assert sorted(records()) == ["A1.wav", "metadata csv line 1.wav"]
    for record in records().values():
        assert ".." not in record.input + record.output
    Path("out/A1.wav").unlink()
    assert "1 clip done" in synth("LJ", "-o", "out", status=1).stdout, "and nothing exists already"


def test_warnings_about_conventions_are_shown_once(place):
    Path("in").mkdir()
    for i in range(3):
        np.save(f"in/{i}.npy", np.random.default_rng(i).uniform(-90, 20, (10, 300)).astype(np.float32))
    done = synth("in", "-o", "out")
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "(3 clips)" in warnings[0]
    assert all(record.warnings for record in records().values())


# What must not be destroyed


@pytest.mark.parametrize("output", ["in", "./in/", "sub/../in", "link"])
def test_the_input_folder_is_refused_as_output(place, output):
    clip("in/a.wav")
    Path("sub").mkdir()
    Path("link").symlink_to("in")
    before = Path("in/a.wav").read_bytes()
    assert "is the input folder" in error_of(synth("in", "-o", output, status=1))
    assert "would overwrite the input" in error_of(synth("in/a.wav", "-o", output, "--overwrite", status=1))
    assert "would overwrite the input" in error_of(synth("in/a.wav", "-o", f"{output}/a.wav", "--overwrite", status=1))
    assert os.listdir("in") == ["a.wav"]
    assert Path("in/a.wav").read_bytes() == before


def test_existing_outputs_need_leave(place):
    clip("in/a.wav")
    Path("out").mkdir()
    Path("out/a.wav").write_bytes(b"precious")
    Path("b.wav").write_bytes(b"precious")
    for arguments in (["-o", "out"], ["-o", "out", "--resume"], ["-o", "b.wav"]):
        assert "--overwrite" in error_of(synth("in", *arguments, status=1))
    assert Path("out/a.wav").read_bytes() == Path("b.wav").read_bytes() == b"precious"
    synth("in", "-o", "out", "--overwrite")
    assert soundfile.info("out/a.wav").frames == RATE // 4


def test_resume_notices_what_changed(place):
    for i in range(3):
        clip(f"in/{i}.wav", seed=i)

    def done(*arguments: str) -> int:
        return json.loads(synth("in", "-o", "out", "--resume", "--json", *arguments).stdout)["done"]

    assert done() == 3
    assert done() == 0
    clip("in/1.wav", seed=9)
    assert done() == 1
    os.utime("in/2.wav", ns=(1, 1))
    assert done() == 0
    assert done("--encoding", "pcm24") == 3
    assert done("--encoding", "pcm24", "--match-length") == 3
    write_tiny(Path("model"), seed=5)
    assert done("--encoding", "pcm24", "--match-length") == 3
    Path("out/0.wav").unlink()
    assert done("--encoding", "pcm24", "--match-length") == 1
    clip("in/new.wav")
    assert done("--encoding", "pcm24", "--match-length") == 1


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("a.wav", ("--time-major",), "no input is one of the mel files that --time-major would be for: leave it out"),
        ("a.wav", ("--mel-at", "mel"), "--mel-at would be for"),
        (
            "a.wav",
            ("--mel-convention", "log10", "--mel-stats", "s.npy"),
            "--mel-convention and --mel-stats would be for",
        ),
    ],
)
def test_options_that_no_input_can_use(place, name, arguments, told):
    clip("in/a.wav")
    np.save("in/a.npy", np.full((10, 40), -5, np.float32))
    for inputs, output in ((f"in/{name}", "out"), (f"in/*{Path(name).suffix}", "out"), (f"in/{name}", "one.wav")):
        assert told in error_of(synth(inputs, "-o", output, *arguments, status=1))
        assert not Path(output).exists()
    piped = synth("-", "-o", "-", *arguments, status=1, input=Path("in", name).read_bytes(), text=False, errors=None)
    assert told in piped.stderr.decode()


def test_a_folder_of_both_kinds_takes_the_options_of_both(place):
    clip("in/a.wav", channels=2)
    np.save("in/b.npy", np.full((40, 10), -5, np.float32))
    synth("in", "-o", "out", "--mono", "--time-major")
    assert set(records()) == {"a.wav", "b.wav"}
