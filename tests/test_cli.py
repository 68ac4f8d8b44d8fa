"""The command `hifigan` as a user runs it: parsing, exit status, what is written and what is not."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from golden.tiny import TINY, tiny_mel, write_tiny
from hifigan_rt.bulk.manifest import MANIFEST_NAME, read_manifest
from hifigan_rt.cli.app import hifigan as app
from hifigan_rt.cli.console import Console
from hifigan_rt.vocoder import load

assert TINY.mel is not None
RATE = TINY.mel.sample_rate


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "model")
    return tmp_path


def clip(path: str | bytes, seconds: float = 0.25, seed: int = 0, rate: int = RATE, channels: int = 1) -> None:
    shape = (int(seconds * rate), channels) if channels > 1 else int(seconds * rate)
    audio = np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)
    Path(os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:  # noqa: PTH123 - names in bytes
        soundfile.write(file, audio, rate, "PCM_16", format="WAV")


def command(*arguments: str | bytes) -> list[str | bytes]:
    return [sys.executable, "-m", "hifigan_rt", *arguments]


def hifigan(*arguments: str | bytes, status: int = 0, **options) -> subprocess.CompletedProcess:
    options = {"capture_output": True, "timeout": 120, "text": True, "errors": "surrogateescape"} | options
    done = subprocess.run(command(*arguments), **options)
    assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def synth(*arguments: str | bytes, status: int = 0, **options) -> subprocess.CompletedProcess:
    return hifigan("synth", *arguments, "--model", "model", "--engine", "reference", status=status, **options)


def error_of(done: subprocess.CompletedProcess) -> str:
    lines = [line for line in done.stderr.splitlines() if line.startswith("hifigan: error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0].removeprefix("hifigan: error: ")


def records(folder: str = "out") -> dict:
    return dict(read_manifest(Path(folder, MANIFEST_NAME)).clips)


def parse(*arguments: str):
    return CliRunner().invoke(app, arguments, obj=Console())


# Help, parsing and the words of errors


@pytest.mark.parametrize(
    "name",
    [
        [],
        ["synth"],
        ["mel"],
        ["export"],
        ["export", "onnx"],
        ["export", "safetensors"],
        ["info"],
        ["models"],
        ["engines"],
    ],
)
def test_every_command_has_help_with_an_example(name):
    result = parse(*name, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"hifigan {' '.join(name)}".strip() in result.output


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom hifigan_rt.cli import main\nassert main(['--help']) == 0\n"
        "print([name for name in ('numpy', 'soundfile', 'onnx', 'onnxruntime', 'safetensors') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    seconds = []
    for _ in range(5):
        # Processor time: the wall's depends on what else the machine is doing.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        hifigan("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) <= 0.3


def test_version():
    import hifigan_rt

    assert hifigan("--version").stdout == f"hifigan-rt {hifigan_rt.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["snyth"], "there is no command 'snyth'; did you mean 'synth'?"),
        (["frobnicate"], "choose one of synth, mel, export, info, models, engines"),
        (["export", "onx", "x"], "did you mean 'onnx'?"),
        (["synth", "a.wav", "-o", "out", "--modle", "x"], "No such option"),
        (["synth", "a.wav", "-o", "out"], "Missing option '--model'"),
        (["synth", "--model", "x", "-o", "out"], "Missing argument"),
        (["synth", "a", "--model", "x", "-o", "out", "--threads", "0"], "0 is not in the range"),
        (["synth", "a", "--model", "x", "-o", "out", "--encoding", "mp3"], "'mp3' is not one of"),
        (["synth", "a", "--model", "x", "-o", "out", "--split", "test"], "'test' is not one of"),
        (["synth", "a", "--model", "x", "-o", "out", "--resume", "--overwrite"], "give one of them"),
        (["synth", "-", "a", "--model", "x", "-o", "-"], "must be the only input"),
        (["synth", "-", "--model", "x", "-o", "out"], "standard input gives its result no name"),
        (["synth", "a", "--model", "x", "-o", "b.wav", "--resume"], "--resume goes by the manifest"),
        (["synth", "a", "--model", "x", "-o", "-", "--json"], "both write to standard output"),
        (["synth", "a", "--model", "x", "-o", "b.wav", "--format", "flac"], "--format flac contradicts -o b.wav"),
        (["synth", "a", "--model", "x", "-o", "out", "--format", "flac", "--encoding", "float"], "no floats"),
        (["mel", "a", "-o", "out"], "give --model or --config"),
    ],
)
def test_wrong_command_lines_are_one_line_and_status_2(place, arguments, text):
    assert text in error_of(hifigan(*arguments, status=2))


@pytest.mark.parametrize("arguments", [[], ["export"]])
def test_without_arguments_the_help_is_shown(arguments):
    assert "Usage: hifigan" in hifigan(*arguments, status=2).stderr


def test_errors_are_one_line_and_v_shows_the_trace(place):
    done = hifigan("info", "ljspech-v1", status=1)
    assert "did you mean 'ljspeech-v1'?" in error_of(done)
    assert "Traceback" in hifigan("info", "ljspech-v1", "-v", status=1).stderr
    assert "Traceback" in hifigan("-v", "info", "ljspech-v1", status=1).stderr


def test_shell_completion_is_there():
    done = hifigan(
        env={**os.environ, "_HIFIGAN_COMPLETE": "bash_complete", "COMP_WORDS": "hifigan sy", "COMP_CWORD": "1"}
    )
    assert done.stdout.splitlines() == ["plain,synth"]


# info, models, engines, export, mel


def test_info(place):
    facts = json.loads(hifigan("info", "model", "--json").stdout)
    assert facts["cost"]["parameters"] == load("model", engine="reference").graph.parameter_count
    assert facts["hop_length_samples"] == 8
    assert facts["mel"]["sample_rate"] == RATE
    assert facts["format"] == "safetensors"
    assert set(facts["reach_of_one_frame"]) >= {"left_context_frames", "look_ahead_frames", "look_ahead_ms"}
    text = hifigan("info", "model").stdout
    assert "upsample rates            [4, 2]" in text


def test_models_and_engines():
    names = [model["name"] for model in json.loads(hifigan("models", "--json").stdout)]
    assert names == ["ljspeech-v1", "universal-v1"]
    facts = json.loads(hifigan("engines", "--json").stdout)
    reference = next(engine for engine in facts["engines"] if engine["name"] == "reference")
    assert reference["available"]
    assert not reference["automatic"]
    assert facts["isas"][0] == "generic"
    assert "reference: " in hifigan("engines").stdout


def test_export_both_formats(place):
    report = json.loads(hifigan("export", "onnx", "model", "-o", "g.onnx", "--json").stdout)
    assert report["snr_db"] >= 90
    hifigan("export", "safetensors", "model", "-o", "g.safetensors")
    clip("in/a.wav")
    for model in ("g.onnx", "g.safetensors"):
        hifigan("synth", "in", "--model", model, "-o", f"out-{model}", "--encoding", "float")
    one, other = (soundfile.read(f"out-{model}/a.wav")[0] for model in ("g.onnx", "g.safetensors"))
    assert len(one) == RATE // 4
    assert np.array_equal(one, other)


def test_export_protects_what_is_there(place):
    Path("g.safetensors").write_bytes(b"precious")
    assert "exists already: --overwrite" in error_of(
        hifigan("export", "safetensors", "model", "-o", "g.safetensors", status=1)
    )
    assert Path("g.safetensors").read_bytes() == b"precious"
    model = "model/generator.safetensors"
    same = hifigan("export", "safetensors", model, "-o", "model/../" + model, "--overwrite", status=1)
    assert "is the model itself" in error_of(same)
    assert "must end in .onnx" in error_of(hifigan("export", "onnx", "model", "-o", "g.bin", status=1))


def test_mel_then_synth_equals_synth(place):
    for i in range(3):
        clip(f"in/{i}.wav", seed=i)
    hifigan("mel", "in", "--model", "model", "-o", "mels")
    synth("in", "-o", "direct")
    synth("mels", "-o", "via")
    for i in range(3):
        assert np.load(f"mels/{i}.npy").shape == (10, RATE // 4 // 8)
        assert Path(f"direct/{i}.wav").read_bytes() == Path(f"via/{i}.wav").read_bytes()


def test_time_major_mels(place):
    mel = np.maximum(tiny_mel(40) - 4, -11.5).astype(np.float32)  # as loud as speech, not louder
    Path("in").mkdir()
    np.save("in/a.npy", mel.T)
    assert "--time-major" in synth("in", "-o", "out", status=1).stderr
    synth("in", "-o", "out2", "--time-major", "--encoding", "float")
    made = soundfile.read("out2/a.wav", dtype="float32")[0]
    assert np.array_equal(made, load("model", engine="reference")(mel))


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


def test_sample_rate_and_channels_need_leave(place):
    clip("in/fast.wav", rate=16000)
    clip("in/wide.wav", channels=2)
    done = synth("in", "-o", "out", status=1)
    assert "--resample" in done.stderr
    assert "--mono" in done.stderr
    synth("in", "-o", "out", "--resume", "--resample", "--mono")
    assert soundfile.info("out/fast.wav").frames == RATE // 4


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


# Interruption, full disks, rights


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_keeps_what_is_finished_and_resume_completes(place, number, status):
    for i in range(100):
        clip(f"in/{i:03}.wav", 2.0, seed=i)
    arguments = command("synth", "in", "-o", "out", "--model", "model", "--engine", "reference")
    running = subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    manifest = Path("out", MANIFEST_NAME)
    wait_for(lambda: manifest.exists() and manifest.read_bytes().count(b"\n") > 5)
    sent = time.monotonic()
    running.send_signal(number)
    _, text = running.communicate(timeout=60)
    assert time.monotonic() - sent < 5
    assert running.returncode == status, text
    assert "are finished, --resume goes on from there" in text
    assert "Traceback" not in text
    finished = records()
    assert 5 <= len(finished) < 100
    assert read_manifest(manifest).damaged_lines == 0
    assert sorted(os.listdir("out")) == sorted([*finished, MANIFEST_NAME])
    for name in finished:
        assert soundfile.info(f"out/{name}").frames == 16000
    summary = json.loads(synth("in", "-o", "out", "--resume", "--json").stdout)
    assert (summary["done"], summary["skipped"]) == (100 - len(finished), len(finished))


def test_a_file_size_limit_fails_its_clip_and_leaves_no_half_file(place):
    clip("in/a.wav", 0.1)
    clip("in/b.wav", 5.0)
    clip("in/c.wav", 0.1)
    limit = 20_000
    done = synth(
        "in", "-o", "out", status=1, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    assert "File too large" in done.stderr
    assert sorted(os.listdir("out")) == ["a.wav", "c.wav", MANIFEST_NAME]
    assert records()["b.wav"].status == "failed"


def test_a_full_standard_output_is_an_error(place):
    clip("a.wav")
    with Path("/dev/full").open("w") as full:
        for arguments in (["models"], ["synth", "a.wav", "-o", "-", "--model", "model", "--engine", "reference"]):
            done = hifigan(*arguments, status=1, capture_output=False, stdout=full, stderr=subprocess.PIPE)
            assert error_of(done) == "standard output cannot be written: No space left on device"


def test_a_closed_standard_output_is_silent(place):
    clip("a.wav", 20)
    for arguments in (["models"], ["synth", "a.wav", "-o", "-", "--model", "model", "--engine", "reference", "-q"]):
        reading, writing = os.pipe()
        os.close(reading)
        done = hifigan(*arguments, status=1, capture_output=False, stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        assert done.stderr == ""


def unprivileged() -> list[str]:
    """Root writes everywhere unless these capabilities are taken away."""
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def test_read_only_output_and_unreadable_input(place):
    clip("in/a.wav")
    clip("in/b.wav")
    Path("in/b.wav").chmod(0)
    Path("sealed").mkdir()
    Path("sealed").chmod(0o555)
    base = [*unprivileged(), *command("synth", "in", "--model", "model", "--engine", "reference", "-o")]
    for output in ("sealed", "sealed/deeper"):
        done = subprocess.run([*base, output], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "Permission denied" in error_of(done)
    done = subprocess.run([*base, "out"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "b.wav' cannot be read: Permission denied" in done.stderr
    assert records()["a.wav"].status == "ok"


def test_a_file_in_the_output_folders_place(place):
    clip("in/a.wav")
    Path("out").touch()
    assert "a file of that name is there" in error_of(synth("in", "-o", "out", status=1))


# Names and streams


@pytest.mark.parametrize("environment", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_names_that_are_not_utf8_survive(place, environment):
    clip(b"in/caf\xe9.wav")
    Path(os.fsdecode(b"in/bad\xff.wav")).write_bytes(b"nothing")
    done = synth("in", "-o", "out", status=1, env={**os.environ, **environment})
    assert b"caf\xe9.wav" in os.listdir(b"out")
    assert "bad\\udcff.wav" in done.stderr
    names = {os.fsencode(record.input).rsplit(b"/")[-1] for record in records().values()}
    assert names == {b"caf\xe9.wav", b"bad\xff.wav"}
    again = synth("in", "-o", "out", "--resume", "--json", status=1, env={**os.environ, **environment})
    assert json.loads(again.stdout)["skipped"] == 1


def test_standard_streams(place):
    clip("in/a.wav", 0.2)
    np.save("a.npy", load("model", engine="reference").mel(soundfile.read("in/a.wav", dtype="float32")[0]))
    synth("in", "-o", "out")
    expected = Path("out/a.wav").read_bytes()
    for source in ("in/a.wav", "a.npy"):
        done = synth("-", "-o", "-", input=Path(source).read_bytes(), text=False, errors=None)
        assert done.stdout == expected
        assert b"1 clip done" in done.stderr
    piped = hifigan(
        "mel", "-", "--model", "model", "-o", "-", input=Path("in/a.wav").read_bytes(), text=False, errors=None
    )
    assert piped.stdout == Path("a.npy").read_bytes()
    synth("-", "-o", "piped.wav", input=Path("in/a.wav").read_bytes(), text=False, errors=None)
    assert Path("piped.wav").read_bytes() == expected
    assert "standard input is empty" in error_of(synth("-", "-o", "-", status=1, input=""))
    assert "is not wav, flac" in synth("-", "-o", "-", status=1, input="no audio").stderr


def test_forced_progress_tells_the_speed(place):
    clip("in/a.wav")
    assert "s of audio per s" in synth("in", "-o", "out", "--progress").stderr
    assert "s of audio per s" not in synth("in", "-o", "out2").stderr


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_clips(place):
    for i in range(60):
        clip(f"in/{i:02}.wav", 3.0, seed=i)
    code = (
        "import resource, sys\nfrom hifigan_rt.cli import main\nstatus = main(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\nsys.exit(status)"
    )

    def peak_kb(pattern: str, output: str) -> int:
        arguments = ["synth", pattern, "-o", output, "--model", "model", "--engine", "reference", "-q"]
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split()[-1])

    few, many = peak_kb("in/0*.wav", "few"), peak_kb("in/*.wav", "many")
    assert len(records("many")) == 60
    # 50 clips more hold 9.6 MB as float32 audio alone; the allocator's own ups and downs are smaller than this.
    assert many - few < 4096, (few, many)
