"""`hifigan eval` reads and digests each model once, and decodes, digests and tracks each clip's audio once."""

import contextlib
import importlib
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from golden.tiny import TINY, write_tiny
from hifigan_rt.audio import decoding
from hifigan_rt.formats.checkpoint import reader
from hifigan_rt.tools.evaluation import report, workers
from hifigan_rt.tools.evaluation.metrics import pitch
from hifigan_rt.tools.evaluation.output import write_results
from hifigan_rt.tools.evaluation.run import Plan, evaluate
from hifigan_rt.tools.evaluation.sounds import read_script
from hifigan_rt.tools.evaluation.systems import distinct, model_system, parse_system

RATE = TINY.mel.sample_rate
CLIPS = ("c0", "c1")

COUNTING = """
import hashlib, os
from pathlib import Path
from hifigan_rt.audio import decoding
from hifigan_rt.tools.evaluation import report, workers
from hifigan_rt.tools.evaluation.metrics import pitch

def note(what):
    with open(os.environ["HIFIGAN_COUNTS"], "a") as file:
        file.write(what + "\\n")

def counted(what, function, tell):
    def count(*arguments, **options):
        note(f"{what} {tell(arguments)}")
        return function(*arguments, **options)
    return count

def below(path):
    return Path(path).absolute().relative_to(Path(os.environ["HIFIGAN_COUNTS"]).parent)

decode = counted("decode", decoding._opened, lambda arguments: below(arguments[0].name))
digest = counted("digest", hashlib.file_digest, lambda arguments: below(arguments[0].name))
track = counted("track", pitch.track_pitch, lambda arguments: "")

def main():
    decoding._opened, hashlib.file_digest, pitch.track_pitch = decode, digest, track
    workers.main()
"""


@contextlib.contextmanager
def silent(label, steps):
    yield lambda: None


@pytest.fixture
def counts(tmp_path, monkeypatch):
    """What this process and its workers do from now on."""
    (tmp_path / "counting.py").write_text(COUNTING)
    monkeypatch.setenv("HIFIGAN_COUNTS", str(tmp_path / "counts"))
    monkeypatch.syspath_prepend(str(tmp_path))
    counting = importlib.import_module("counting")
    true = workers.python_command
    monkeypatch.setattr(workers, "python_command", lambda _: true("counting"))
    monkeypatch.setattr(decoding, "_opened", counting.decode)
    monkeypatch.setattr("hashlib.file_digest", counting.digest)
    monkeypatch.setattr(pitch, "track_pitch", counting.track)
    read = counting.counted("read a checkpoint", reader._read_tree, lambda _: "")
    monkeypatch.setattr(reader, "_read_tree", read)
    monkeypatch.delitem(sys.modules, "counting")

    def counted():
        found = Counter((tmp_path / "counts").read_text().splitlines())
        (tmp_path / "counts").unlink()
        return found

    return counted


def test_everything_is_done_once(tmp_path, monkeypatch, counts):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "embedded_clips", lambda _: [0])
    model = write_tiny(tmp_path / "model").relative_to(tmp_path)
    Path("in").mkdir()
    for index, clip in enumerate(CLIPS):
        noise = np.random.default_rng(index).uniform(-0.3, 0.3, RATE // 2 + 3)
        soundfile.write(f"in/{clip}.wav", noise, RATE, "PCM_16")
    first = model_system("model", engine="native")
    systems = distinct([first, parse_system("reference", first)])
    plan = Plan(systems, ("in",), metrics=("mel_l1", "f0_rmse_cents", "vuv_f1", "mcd", "peak"), jobs=1)

    write_results(evaluate(plan, Path("out"), progress=silent), Path("out"))
    audio = [f"out/audio/{folder}/{clip}.wav" for folder in ("reference", "model", "reference-2") for clip in CLIPS]
    expected = {"read a checkpoint ": 1, f"digest {model}": 1, "track ": len(audio)}
    expected |= {f"{what} {path}": 1 for what in ("decode", "digest") for path in audio}
    # Recordings are read when they are prepared, and for the mel of each system.
    expected |= {f"{what} in/{clip}.wav": 1 + len(systems) for what in ("decode", "digest") for clip in CLIPS}
    assert counts() == expected

    (script,) = Path("out/clips").iterdir()
    assert read_script(script) is not None

    # Nothing is measured again; only the sound inside the page is made anew, since no script holds it.
    write_results(evaluate(plan, Path("out"), progress=silent, resume=True), Path("out"))
    inside = [path for path in audio if "c0" in path]
    expected = {"read a checkpoint ": 1, f"digest {model}": 1, "track ": len(inside)}
    # An output is believed by its digest alone, which the scores go by as well.
    expected |= {f"digest {path}": 1 for path in audio}
    assert counts() == expected | {f"decode {path}": 1 for path in inside}
    assert [*Path("out/clips").iterdir()] == [script]
