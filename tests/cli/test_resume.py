"""What --resume believes, what one run does not take from another, and what links may not do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli.evaluating import model as evaluate
from cli.evaluating import result as evaluated
from cli.running import RATE, clip, command, error_of, hifigan, records, synth
from hifigan_rt.system.folder_lock import LOCK_NAME, locked_folder
from hifigan_rt.system.temporary_names import temporary_prefix
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME
from hifigan_rt.tools.evaluation.sounds import is_script
from listening_tests import write_folders
from waiting import wait_for

NAMES = tuple("abcdefgh")


@pytest.fixture
def made(place):
    """The place with a finished run of eight clips."""
    for seed, name in enumerate(NAMES):
        clip(f"in/{name}.wav", seed=seed)
    synth("in", "-o", "out")
    return {name: Path(f"out/{name}.wav").read_bytes() for name in NAMES}


def spoil(name: str, change) -> None:
    """Change an output in a way that neither its size nor its times tell, where `change` keeps the size."""
    path = Path(f"out/{name}.wav")
    times = path.stat()
    change(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def resumed(*arguments: str, status: int = 0) -> dict:
    return json.loads(synth("in", "-o", "out", "--resume", "--json", *arguments, status=status).stdout)


def test_outputs_are_believed_by_their_contents_alone(made):
    spoil("a", lambda path: path.write_bytes(bytes(len(made["a"]))))
    spoil("b", lambda path: path.write_bytes(made["b"][:-1]))
    spoil("c", lambda path: path.write_bytes(made["c"][:-1] + b"\x55"))
    spoil("d", lambda path: shutil.copy("out/e.wav", path))
    spoil("f", lambda path: path.write_bytes(made["f"][:100] + bytes(200) + made["f"][300:]))
    Path("elsewhere.wav").write_bytes(made["g"])
    Path("out/g.wav").unlink()
    Path("out/g.wav").symlink_to("../elsewhere.wav")
    summary = resumed()
    assert (summary["done"], summary["skipped"]) == (6, 2)
    assert summary["notes"] == [
        "made again: 6, the first is 'out/a.wav': it is not what was written (edited, exchanged or damaged)"
    ]
    assert {name: Path(f"out/{name}.wav").read_bytes() for name in NAMES} == made
    assert not Path("out/g.wav").is_symlink()
    assert Path("elsewhere.wav").read_bytes() == made["g"]
    assert resumed()["skipped"] == len(NAMES)


def test_lines_of_earlier_versions_prove_nothing(made):
    manifest = Path("out", MANIFEST_NAME)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        if line.get("output") in ("a.wav", "b.wav"):
            del line["output_sha256"]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = synth("in", "-o", "out", "--resume")
    assert "2 clips done, 6 finished before" in done.stdout
    assert "made again: 2, the first is 'out/a.wav': its line in manifest.jsonl has no output_sha256" in done.stdout


def test_a_distance_that_is_asked_for_later_is_computed(made):
    assert (resumed("--mel-l1")["done"], resumed("--mel-l1")["skipped"]) == (len(NAMES), len(NAMES))
    told = {name: record.mel_l1 for name, record in records().items()}
    synth("in", "-o", "anew", "--mel-l1")
    assert told == {name: record.mel_l1 for name, record in records("anew").items()}
    assert None not in told.values()
    assert resumed()["skipped"] == len(NAMES)
    assert {name: Path(f"out/{name}.wav").read_bytes() for name in NAMES} == made


def test_a_config_decides_what_weights_leave_open(made):
    path = Path("model/config.json")
    config = json.loads(path.read_text())
    config["resblock_dilation_sizes"][0][1] = 5
    path.write_text(json.dumps(config))
    assert resumed()["done"] == len(NAMES)


def test_kill_9_leaves_nothing_in_the_way(place):
    for index in range(12):
        clip(f"in/{index:02}.wav", 2.0, seed=index)
    with subprocess.Popen(command("synth", "in", "-o", "out", "--model", "model", "--engine", "reference")) as process:
        manifest = Path("out", MANIFEST_NAME)
        wait_for(lambda: manifest.exists() and manifest.read_bytes().count(b"\n") > 2)
        process.send_signal(signal.SIGSTOP)
        done = synth("in", "-o", "out", "--resume", status=1)
        assert f"another run is at work in '{place}/out': process {process.pid} on host " in error_of(done)
        process.send_signal(signal.SIGKILL)
    prefix = temporary_prefix().replace(f"-{os.getpid()}-", f"-{process.pid}-")
    Path("out", f"{prefix}half.part").touch()
    summary = resumed()
    assert summary["complete"]
    assert summary["skipped"] >= 2
    assert set(os.listdir("out")) == {*records(), MANIFEST_NAME}


@pytest.mark.parametrize(
    "arguments",
    [
        ("synth", "in", "--model", "model", "--overwrite"),
        ("mel", "in", "--model", "model", "--resume"),
        ("eval", "--model", "model", "--dataset", "in", "--overwrite"),
        ("bench", "--model", "model", "--overwrite"),
        ("listen", "make", "--system", "glowing=glowing", "--mode", "mos", "--overwrite"),
    ],
)
def test_one_run_at_a_time_in_a_folder(place, arguments):
    clip("in/a.wav")
    write_folders(place)
    Path("out").mkdir()
    with locked_folder(Path("out")):
        assert f"another run is at work in '{place}/out'".replace(
            f"{place}/", "" if arguments[0] not in ("synth", "mel") else f"{place}/"
        ) in error_of(hifigan(*arguments, "-o", "out", status=1))
        assert os.listdir("out") == [LOCK_NAME]


# Links, FIFOs and devices


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo"])
@pytest.mark.parametrize("arguments", [(), ("--resume",), ("--overwrite",)])
def test_the_manifest_is_a_file(place, kind, arguments):
    clip("in/a.wav")
    Path("out").mkdir()
    Path("precious").write_text("precious")
    if kind == "fifo":
        os.mkfifo(Path("out", MANIFEST_NAME))
    else:
        Path("out", MANIFEST_NAME).symlink_to("../precious" if kind == "link" else "../new")
    said = error_of(synth("in", "-o", "out", *arguments, status=1))
    assert ("is a FIFO" if kind == "fifo" else "is a link to '../") in said
    assert Path("precious").read_text() == "precious"
    assert os.listdir("out") == [MANIFEST_NAME]
    assert not Path("new").exists()


def test_no_folder_below_the_output_folder_may_be_a_link(place):
    clip("in/a.wav")
    clip("in/sub/deep/b.wav")
    Path("elsewhere").mkdir()
    Path("real").mkdir()
    Path("out").symlink_to("real")
    Path("real/sub").symlink_to("../elsewhere")
    said = error_of(synth("in", "-o", "out", "--recursive", status=1))
    assert f"'{place}/out/sub' is a link to '../elsewhere', and no results are written through links" in said
    assert os.listdir("elsewhere") == []
    Path("real/sub").unlink()
    synth("in", "-o", "out", "--recursive")
    assert Path("real/sub/deep/b.wav").exists()


@pytest.mark.parametrize("name", ["audio", "audio/model", "audio/reference", "clips", "scores.jsonl"])
def test_the_folder_of_an_evaluation_has_no_links(data, name):
    link = Path("out", name)
    link.parent.mkdir(parents=True)
    Path("elsewhere").mkdir()
    link.symlink_to(data / "elsewhere")
    assert "is a link to" in error_of(evaluate(status=1))
    assert os.listdir("elsewhere") == []


def test_results_replace_files_alone(place):
    clip("in/a.wav")
    os.mkfifo("fifo.wav")
    Path("precious").write_text("precious")
    for name in ("dangling", "link"):
        Path(f"{name}.wav").symlink_to("precious" if name == "link" else "nowhere")
        assert "exists already" in error_of(synth("in/a.wav", "-o", f"{name}.wav", status=1))
        synth("in/a.wav", "-o", f"{name}.wav", "--overwrite")
        assert not Path(f"{name}.wav").is_symlink()
    assert Path("precious").read_text() == "precious"
    assert not Path("nowhere").exists()
    assert "is a FIFO, and only files are replaced" in error_of(
        synth("in/a.wav", "-o", "fifo.wav", "--overwrite", status=1)
    )
    for target in ("/dev/null", "fifo.wav"):
        done = hifigan("export", "safetensors", "model", "-o", target, "--overwrite", status=1)
        assert "and only files are replaced" in error_of(done)
    assert Path("fifo.wav").is_fifo()
    Path("out").mkdir()
    os.mkfifo("out/a.wav")
    assert "is a FIFO" in synth("in", "-o", "out", "--overwrite", status=1).stderr


# Names that differ in their suffix alone


def test_a_recording_and_its_mel_side_by_side(place):
    for name in "ab":
        clip(f"in/{name}.wav")
    hifigan("mel", "in", "--model", "model", "-o", "mels", "-q")
    for name in "ab":
        shutil.copy(f"mels/{name}.npy", f"in/{name}.npy")
    done = synth("in", "-o", "out")
    note = (
        "'a.npy' and 'a.wav' differ in their suffix alone (2 such pairs): the former's result is named 'a.npy.wav'; to "
        "take one kind alone, name it, as in '*.wav'"
    )
    assert note in done.stdout
    assert json.loads(Path("out", MANIFEST_NAME).read_text().splitlines()[0])["notes"] == [note]
    assert set(records()) == {"a.wav", "b.wav", "a.npy.wav", "b.npy.wav"}
    assert {Path(record.input).name for record in records().values()} == {"a.wav", "b.wav", "a.npy", "b.npy"}
    assert Path("out/a.wav").read_bytes() == Path("out/a.npy.wav").read_bytes()
    assert resumed()["skipped"] == 4


def test_a_result_of_another_input_is_not_replaced_in_silence(place):
    clip("in/a.wav")
    soundfile.write("in/a.flac", soundfile.read("in/a.wav")[0], RATE)
    Path("in/a.wav").unlink()
    synth("in", "-o", "out")
    clip("in/a.wav", seed=1)
    told = f"made again: 1, the first is 'out/a.wav': it was made of '{place}/in/a.flac'"
    for arguments in (("--encoding", "pcm24"), ()):
        shutil.copytree("out", "copy", dirs_exist_ok=True)
        assert told in resumed(*arguments)["notes"]
        shutil.rmtree("out")
        shutil.copytree("copy", "out")
    assert resumed()["done"] == 2
    assert not any("made again" in note for note in resumed()["notes"])


# Work that an evaluation believes


def test_an_evaluation_makes_again_what_is_not_what_it_wrote(data):
    for index in range(3, 21):
        clip(f"in/c{index}.wav", 0.1, seed=index)
    shutil.copy("in/c0.wav", "in/c0.wave")
    done = evaluate()
    assert [entry.name for entry in evaluated().clips][:2] == ["c0", "c0.wave"]
    assert "'c0.wave' and 'c0.wav' differ in their suffix alone" in done.stderr
    scripts = sorted(Path("out/clips").iterdir())
    before = [path.read_bytes() for path in scripts]
    assert len(scripts) == 2
    scripts[0].write_bytes(bytes(len(before[0])))
    scripts[1].write_bytes(before[1].replace(b"A", b"B", 1))
    assert [is_script(path) for path in scripts] == [False, False]
    audio = Path("out/audio/model/c1.wav")
    content = audio.read_bytes()
    audio.write_bytes(bytes(len(content)))
    done = evaluate("--resume")
    assert "made again: 1, the first is 'model/c1.wav': it is not what was written" in done.stderr
    assert audio.read_bytes() == content
    assert [path.read_bytes() for path in scripts] == before


def test_long_names_keep_their_suffix_apart(place):
    """A pair whose longer name no file system takes fails alone."""
    long = "x" * 250
    clip(f"in/{long}.wav")
    np.save(f"in/{long}.npy", np.full((10, 40), -5, np.float32))
    done = synth("in", "-o", "out", status=1)
    assert "1 clip done, 1 failed" in done.stdout
    with wave.open(f"out/{long}.wav") as file:
        assert file.getnframes() > 0
