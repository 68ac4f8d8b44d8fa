"""Speakers and vectors on the command line: what is heard, what is recorded, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli.running import clip, error_of, hifigan
from golden.tiny import tiny_mel
from golden.tiny_speakers import ENGINE, LATENT, VECTORS_ALONE, write_speaking
from hifigan_rt import load
from hifigan_rt.tools.benchmark.benchmark_model import read_benchmark_model
from hifigan_rt.tools.benchmark.engine_worker import EngineCandidate, EngineJob
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME
from hifigan_rt.tools.evaluation.systems import SystemSpec, parse_system
from tolerances import NATIVE_SMALL_SNR_DB

VECTOR = np.linspace(-1, 1, 6).astype(np.float32)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_speaking(tmp_path / "voice")
    write_speaking(tmp_path / "vectors", VECTORS_ALONE)
    write_speaking(tmp_path / "latent", LATENT)
    np.save("v.npy", VECTOR)
    np.save("m.npy", tiny_mel(20))
    return tmp_path


def synth(*arguments: str, model: str = "voice", status: int = 0):
    return hifigan("synth", *arguments, "--model", model, "--engine", ENGINE, "--encoding", "float", status=status)


def heard(path: str) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def test_synth_speaks_as_the_one_named(place):
    with load("voice", engine=ENGINE) as voice:
        for options, given in (
            (["--speaker", "bob"], {"speaker": 2}),
            (["--speaker", "1"], {"speaker": 1}),
            (["--speaker", "225"], {"speaker": 3}),
            (["--conditioning", "v.npy"], {"conditioning": VECTOR}),
        ):
            synth("m.npy", "-o", "out.wav", "--overwrite", *options)
            np.testing.assert_array_equal(heard("out.wav"), voice(tiny_mel(20), **given))


def test_resume_makes_anew_what_another_speaker_is_to_say(place):
    def run(*options: str) -> tuple[int, int]:
        done = json.loads(synth("m.npy", "-o", "out", "--json", "--resume", *options).stdout)
        return done["done"], done["skipped"]

    assert run("--speaker", "bob") == (1, 0)
    assert run("--speaker", "2") == (0, 1)  # the same one
    assert run("--speaker", "anna") == (1, 0)
    assert run("--conditioning", "v.npy") == (1, 0)
    assert run("--conditioning", "v.npy") == (0, 1)
    np.save("v.npy", VECTOR + 1)
    assert run("--conditioning", "v.npy") == (1, 0)
    runs = [json.loads(line) for line in Path("out", MANIFEST_NAME).read_text().splitlines()]
    told = [line["values"].get("speaker") for line in runs if line["kind"] == "run"]
    assert told == [2, 2, 0, None, None, None]


def test_a_clip_that_is_computed_in_pieces(place, monkeypatch):
    from hifigan_rt.tools.bulk import long_clips

    monkeypatch.setattr(long_clips, "LONG_FRAMES", 30)
    np.save("long.npy", tiny_mel(100))
    synth("long.npy", "-o", "long.wav", "--speaker", "bob")
    with load("voice", engine=ENGINE) as voice:
        np.testing.assert_allclose(heard("long.wav"), voice(tiny_mel(100), speaker="bob"), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "no speaker is named, and voice needs one: give speaker=NUMBER from 0 to 3 or NAME"),
        (["--speaker", "ana"], "did you mean 'anna'?"),
        (["--speaker", "bob", "--conditioning", "v.npy"], "are both given"),
        (["--conditioning", "m.npy"], "conditioning has shape [10, 20], and voice takes a vector [6]"),
        (["--conditioning", "absent.npy"], "absent.npy"),
    ],
)
def test_what_is_wrong_is_told(place, options, told):
    assert told in error_of(synth("m.npy", "-o", "out.wav", *options, status=1))
    assert not Path("out.wav").exists()


def test_latents_are_taken_and_recordings_refused(place):
    np.save("z.npy", np.random.default_rng(0).standard_normal((10, 20)).astype(np.float32))
    synth("z.npy", "-o", "z.wav", "--speaker", "bob", model="latent")
    assert soundfile.info("z.wav").frames == 160
    clip("a.wav")
    told = synth("a.wav", "-o", "b.wav", "--speaker", "bob", model="latent", status=1).stderr
    assert "takes latents, which another network computes, and no mels" in told
    assert "takes latents" in hifigan("mel", "a.wav", "--model", "latent", "-o", "m2.npy", status=1).stderr


def test_eval_compares_speakers(place):
    clip("in/a.wav", 0.5)
    hifigan(
        "eval", "--model", "voice", "--speaker", "bob", "--dataset", "in", "--compare", "speaker=anna",
        "--metrics", "mel_l1", "--engine", ENGINE, "--jobs", "1", "-o", "report",
    )  # fmt: skip
    report = json.loads(Path("report/report.json").read_text())
    assert [system["settings"] for system in report["systems"]] == [{"speaker": "bob"}, {"speaker": "anna"}]
    told = hifigan("eval", "--model", "voice", "--dataset", "in", "-o", "other", status=1)
    assert "no speaker is named" in error_of(told)
    assert not Path("other").exists()
    hifigan("eval", "--generated", "in", "--speaker", "bob", "-o", "other", status=2)
    made = [soundfile.read(path)[0] for path in Path("report/audio").glob("*/a.wav")]
    assert len({audio.tobytes() for audio in made}) == 3  # with the recording


def test_a_system_speaks_as_the_first_one_unless_it_says_otherwise():
    first = SystemSpec("first", "voice", speaker="bob")
    for text, speaker, conditioning in (
        ("threads=1", "bob", None),
        ("speaker=anna", "anna", None),
        ("conditioning=v.npy", None, "v.npy"),
        ("model=other", None, None),
    ):
        system = parse_system(text, first)
        assert (system.speaker, system.conditioning) == (speaker, conditioning)


def test_bench_measures_whoever_speaks(place):
    with load("voice", engine=ENGINE) as voice:
        for named, given in (
            ({"speaker": "bob"}, {"speaker": 2}),
            ({"conditioning": VECTOR.tolist()}, {"conditioning": VECTOR}),
            ({}, {"speaker": 0}),
        ):
            job = EngineJob(ENGINE, "voice", None, "float32", 1, "unread.npy", **named)
            candidate = EngineCandidate(EngineJob(**json.loads(json.dumps(job.to_json()))))
            mels = np.stack([tiny_mel(20), tiny_mel(20, 1)])
            np.testing.assert_array_equal(candidate.run(mels), voice(mels, **given))
            model = read_benchmark_model("voice", None, speaker=named.get("speaker"), vector=given.get("conditioning"))
            assert model.reference.snr_db(model.reference.compute(mels), candidate.run(mels)) > NATIVE_SMALL_SNR_DB
    assert "did you mean 'bob'" in error_of(hifigan("bench", "--model", "voice", "--speaker", "bobb", status=1))


def test_info_tells_who_speaks(place):
    told = json.loads(hifigan("info", "voice", "--json").stdout)
    assert told["input"]["speakers"] == {"anna": 0, "bob": 2, "225": 3}
    assert (told["input"]["conditioning_channels"], told["input"]["num_speakers"]) == (6, 4)
    assert told["architecture"]["conditioned_layers"] == ["conv_pre", "ups.0"]
    text = hifigan("info", "voice").stdout
    assert "speakers                  anna (0), bob (2), 225 (3)" in text
    assert "kind                      latent" in hifigan("info", "latent").stdout
