"""Interruptions, full disks, missing rights, odd names and streams."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli.running import clip, command, error_of, hifigan, records, synth
from hifigan_rt.system.temporary_names import temporary_prefix
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, read_manifest
from hifigan_rt.vocoder import load
from waiting import wait_for

# Interruption, full disks, rights


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_interruption_keeps_what_is_finished_and_resume_completes(place, number, status):
    for i in range(100):
        clip(f"in/{i:03}.wav", 2.0, seed=i)
    arguments = command("synth", "in", "-o", "out", "--model", "model", "--engine", "reference", "--json")
    running = subprocess.Popen(
        arguments, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # nohup in front of the tests ignores it
    )  # fmt: skip
    manifest = Path("out", MANIFEST_NAME)
    wait_for(lambda: manifest.exists() and manifest.read_bytes().count(b"\n") > 5)
    running.send_signal(number)
    output, text = running.communicate()
    assert running.returncode == status, text
    told = json.loads(output)
    assert (told["interrupted"], told["complete"], told["clips"]) == (True, False, 100)
    assert told["done"] == len(records())
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


def test_a_single_result_takes_away_what_a_killed_run_left(place):
    clip("a.wav", 0.1)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = Path(temporary_prefix().replace(str(os.getpid()), str(gone.pid)) + "x.part")
    left.touch()
    synth("a.wav", "-o", "b.wav")
    assert not left.exists()
    assert Path("b.wav").exists()


@pytest.mark.parametrize(("output", "text"), [("", "-o is empty"), ("out.mp3", "names a file of another kind")])
def test_outputs_that_were_hardly_meant(place, output, text):
    clip("a.wav", 0.1)
    assert text in synth("a.wav", "-o", output, status=2).stderr
    assert not Path("out.mp3").exists()
    assert not Path(MANIFEST_NAME).exists()


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


def test_standard_streams_that_the_caller_closed(place):
    clip("a.wav")
    for closed, arguments, told in (
        ((0,), ("-", "-o", "b.wav"), "standard input is empty"),
        ((1,), ("a.wav", "-o", "-"), "standard output cannot be written: Bad file descriptor"),
        ((0, 1, 2), ("a.wav", "-o", "b.wav"), None),  # its summary goes to standard output
    ):
        done = hifigan(
            "synth", *arguments, "--model", "model", "--engine", "reference",
            status=1, preexec_fn=lambda closed=closed: [os.close(number) for number in closed],
        )  # fmt: skip
        assert done.stdout == ""
        assert done.stderr == "" if told is None else told in error_of(done)
    assert soundfile.info("b.wav").frames > 0


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
        done = subprocess.run([*base, output], capture_output=True, text=True)
        assert done.returncode == 1
        assert "Permission denied" in error_of(done)
    done = subprocess.run([*base, "out"], capture_output=True, text=True)
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


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"no audio", "audio file 'standard input' is a text ('no audio'), not wav, flac"),
        (b"\x93NUMPY\x01\x00", "mel file 'standard input' is damaged"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "audio file 'standard input' cannot be decoded"),
        (
            b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom",
            "audio file 'standard input' is an MPEG-4 recording (AAC or ALAC), not wav, flac, ogg or mp3: "
            "ffmpeg -i recording recording.wav converts it",
        ),
    ],
)
def test_errors_name_standard_input_and_not_its_copy(place, content, text):
    told = synth("-", "-o", "-", status=1, input=content, text=False, errors=None).stderr.decode()
    assert f"failed: {text}" in told
    assert "standard-input" not in told
    report = synth("-", "-o", "a.wav", "--json", status=1, input=content, text=False, errors=None).stdout
    assert json.loads(report)["failed"][0]["input"] == "standard input"


def test_an_interruption_before_the_first_clip_is_json_too(place, monkeypatch):
    clip("a.wav")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hifigan_rt.vocoder.load", interrupted)
    done = synth("a.wav", "-o", "out", "--json", status=130)
    assert (json.loads(done.stdout)["interrupted"], json.loads(done.stdout)["done"]) == (True, 0)


def test_an_interruption_that_an_import_made_an_error_of_is_one(place, monkeypatch):
    clip("a.wav")

    def imported(*_, **__):
        interruption = KeyboardInterrupt()
        raise ImportError("initialization failed") from interruption  # as modules of pybind11 do

    monkeypatch.setattr("hifigan_rt.vocoder.load", imported)
    assert synth("a.wav", "-o", "out", status=130).stderr.endswith("hifigan: error: interrupted\n")


def test_a_recording_whose_length_is_wrong_is_told_everywhere(place):
    clip("in/a.wav")
    content = Path("in/a.wav").read_bytes()
    synth("in", "-o", "out")
    Path("in/a.wav").write_bytes(content[:40] + (1000).to_bytes(4, "little") + content[44:])
    note = f"its header states 1000 bytes of samples and {len(content) - 44} follow"
    done = synth("in", "-o", "told")
    assert note in done.stderr
    assert note in records("told")["a.wav"].notes[0]
    assert Path("told/a.wav").read_bytes() == Path("out/a.wav").read_bytes()
    assert note in hifigan("mel", "in", "--model", "model", "-o", "mels").stderr
    assert note in records("mels")["a.npy"].notes[0]
    evaluated = hifigan("eval", "--model", "model", "--dataset", "in", "--metrics", "mel_l1", "-o", "evaluated")
    assert f"recording 'a': {note}" in evaluated.stderr
    assert note in Path("evaluated/report.html").read_text(encoding="utf-8")


def test_forced_progress_tells_the_speed(place):
    clip("in/a.wav")
    assert "s of audio per s" in synth("in", "-o", "out", "--progress").stderr
    assert "s of audio per s" not in synth("in", "-o", "out2").stderr


def test_memory_does_not_grow_with_the_number_of_clips(place):
    for i in range(60):
        clip(f"in/{i:02}.wav", 3.0, seed=i)
    code = (
        "import sys\nfrom hifigan_rt.tools.cli import main\n"
        "from hifigan_rt.tools.benchmark.cpu_usage import peak_memory_mib\n"
        "status = main(sys.argv[1:])\nprint(peak_memory_mib())\nsys.exit(status)"
    )

    def peak_mib(pattern: str, output: str) -> float:
        arguments = ["synth", pattern, "-o", output, "--model", "model", "--engine", "reference", "-q"]
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return float(done.stdout.split()[-1])

    few, many = peak_mib("in/0*.wav", "few"), peak_mib("in/*.wav", "many")
    assert len(records("many")) == 60
    # 50 clips more hold 9.6 MB as float32 audio alone; the allocator's own ups and downs are smaller than this.
    assert many - few < 4, (few, many)
