"""Long clips: read, computed and written in pieces, with the results of the whole and in memory that does not grow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli.running import RATE, clip, hifigan, records
from hifigan_rt.errors import OutputError
from hifigan_rt.mel.files import write_mel_pieces
from hifigan_rt.tools.bulk import long_clips
from hifigan_rt.tools.bulk.pipeline import Pipeline

LENGTHS = {"a": 2.0003, "b": 0.9, "c": 3.77}


@pytest.fixture
def recordings(place):
    for seed, (name, seconds) in enumerate(LENGTHS.items()):
        clip(f"in/{name}.wav", seconds, seed)
        clip(f"stereo/{name}.wav", seconds, seed, rate=11025, channels=2)
    return place


def synth(*arguments: str, engine: str = "native", status: int = 0) -> None:
    hifigan("synth", *arguments, "--model", "model", "--engine", engine, status=status)


def results(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.suffix != ".jsonl"}


def facts(folder: str) -> dict[str, dict[str, object]]:
    dropped = ("compute_seconds", "settings")
    return {
        name: {key: value for key, value in vars(record).items() if key not in dropped}
        for name, record in records(folder).items()
    }


@pytest.mark.parametrize(
    "options",
    [
        ("in",),
        ("in", "--match-length", "--encoding", "pcm24", "--format", "flac"),
        ("stereo", "--resample", "--mono", "--mel-l1", "--encoding", "float"),
    ],
)
def test_pieces_give_the_files_and_facts_of_the_whole(recordings, monkeypatch, options):
    synth(*options, "-o", "whole")
    monkeypatch.setattr(long_clips, "LONG_FRAMES", 300)
    synth(*options, "-o", "pieces")
    assert results("pieces") == results("whole")
    for name, expected in facts("whole").items():
        made = facts("pieces")[name]
        if expected["mel_l1"] is not None:
            assert made["mel_l1"] == pytest.approx(expected["mel_l1"], abs=2e-6)
        assert {**made, "mel_l1": None} == {**expected, "mel_l1": None}
    assert all(record.compute_seconds > 0 for record in records("pieces").values())


def test_mels_in_pieces(recordings, monkeypatch):
    hifigan("mel", "in", "--model", "model", "-o", "whole")
    synth("whole", "-o", "audio")
    monkeypatch.setattr(long_clips, "LONG_FRAMES", 300)
    hifigan("mel", "in", "--model", "model", "-o", "pieces")
    assert results("pieces") == results("whole")
    synth("pieces", "-o", "audio-of-pieces")
    assert results("audio-of-pieces") == results("audio")


def test_an_engine_without_promise_gives_the_samples_to_rounding(recordings, monkeypatch):
    synth("in", "-o", "whole", "--encoding", "float", engine="reference")
    monkeypatch.setattr(long_clips, "LONG_FRAMES", 300)
    synth("in", "-o", "pieces", "--encoding", "float", engine="reference")
    for name in results("whole"):
        difference = soundfile.read(f"pieces/{name}")[0] - soundfile.read(f"whole/{name}")[0]
        assert np.abs(difference).max() < 1e-6


def test_a_damaged_long_clip_leaves_nothing_and_stops_nobody(recordings, monkeypatch):
    monkeypatch.setattr(long_clips, "LONG_FRAMES", 300)
    audio = np.zeros(4 * RATE, np.float32)
    audio[-5] = np.nan
    soundfile.write("in/bad.wav", audio, RATE, "FLOAT")
    synth("in", "-o", "out", status=1)
    made = records("out")
    assert (made["bad.wav"].status, made["a.wav"].status) == ("failed", "ok")
    assert f"holds NaN or infinity, the first at sample {4 * RATE - 5}" in made["bad.wav"].error
    assert not any(path.name.endswith(".part") or path.name == "bad.wav" for path in Path("out").iterdir())


def test_a_stopped_run_does_not_finish_a_long_clip(recordings, monkeypatch):
    monkeypatch.setattr(long_clips, "LONG_FRAMES", 300)
    monkeypatch.setattr(Pipeline, "_read_all", stopping(Pipeline._read_all))
    synth("in/c.wav", "-o", "out/c.wav", status=1)
    assert not Path("out/c.wav").exists()


def stopping(read_all):
    def read_and_stop(pipeline, jobs):
        pipeline.stopped.set()
        read_all(pipeline, jobs)

    return read_and_stop


def test_a_mel_in_pieces_has_the_bytes_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("hifigan_rt.mel.files._WRITTEN_AT_ONCE_FRAMES", 7)
    mel = np.arange(3 * 100, dtype=np.float32).reshape(3, 100)
    pieces = (mel[:, start : start + 30] for start in range(0, 100, 30))
    assert write_mel_pieces(tmp_path / "pieces.npy", 3, pieces) == 100
    np.save(tmp_path / "whole.npy", mel)
    assert (tmp_path / "pieces.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    with pytest.raises(OutputError):
        write_mel_pieces(tmp_path / "no-folder/a.npy", 3, [mel])


def test_memory_does_not_grow_with_the_length(place):
    """Ten minutes take no more than five, of which a whole recording would add 10 MB, its mel and audio 40 MB."""
    code = (
        "import sys; from hifigan_rt.tools.cli import main; "
        "from hifigan_rt.tools.benchmark.cpu_usage import peak_memory_mib; "
        "status = main(sys.argv[1:]); print(peak_memory_mib()); sys.exit(status)"
    )
    peaks = []
    for minutes in (5, 10):
        silence = np.zeros(60 * minutes * 48000, np.int16)
        soundfile.write(f"{minutes}.flac", silence, 48000)
        arguments = ("mel", f"{minutes}.flac", "--model", "model", "--resample", "-o", f"{minutes}.npy", "-q")
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout.split()[-1]))
    frames = [np.load(f"{minutes}.npy", mmap_mode="r").shape[1] for minutes in (5, 10)]
    assert frames[1] == 2 * frames[0]
    assert peaks[1] < peaks[0] + 8
