"""`hifigan synth --ray` with inputs and results at URLs, on a real cluster: the same bytes as on one machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.running import hifigan
from hifigan_rt.tools.bulk.manifest import read_manifest

pytestmark = [pytest.mark.ray, pytest.mark.object_store]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def synth(*arguments: str, status: int = 0):
    return hifigan("synth", *arguments, "--recursive", "--model", "model", "--json", status=status)


def test_from_and_to_a_bucket(place, connected, bucket):
    bucket.fill(place / "in", "in")
    here = json.loads(synth("in", "-o", "here", status=1).stdout)
    there = json.loads(
        synth(bucket.url("in"), "-o", bucket.url("out"), "--ray", "--manifest", "m.jsonl", status=1).stdout
    )
    for name in ("clips", "done", "skipped", "complete", "audio_seconds", "samples_dropped"):
        assert there[name] == here[name], name
    assert there["manifest"] == f"{bucket.root}/out/manifest.jsonl"
    (failure,) = there["failed"]
    assert failure["input"] == f"{bucket.root}/in/sub1/c5.wav"
    assert failure["error"] == here["failed"][0]["error"].replace(str(place), bucket.root)
    made = {key.removeprefix("out/"): bucket.get(key) for key in bucket.names() if key.startswith("out/")}
    assert made.pop("manifest.jsonl") == Path("m.jsonl").read_bytes()
    assert made.pop(".hifigan-run.json")
    assert made == {str(path.relative_to("here")): path.read_bytes() for path in Path("here").rglob("*.wav")}
    assert b"secret" not in Path("m.jsonl").read_bytes()
    ours, theirs = (read_manifest(path).clips for path in (Path("here/manifest.jsonl"), Path("m.jsonl")))
    assert {name: line.output_sha256 for name, line in ours.items()} == {
        name: line.output_sha256 for name, line in theirs.items()
    }
    # The copy in the bucket is enough; what is gone is made again.
    Path("m.jsonl").unlink()
    bucket.delete("out/sub0/c2.wav")
    again = json.loads(
        synth(bucket.url("in"), "-o", bucket.url("out"), "--ray", "--resume", "--manifest", "m.jsonl", status=1).stdout
    )
    assert (again["skipped"], again["done"], len(again["failed"])) == (4, 1, 1)
    assert bucket.get("out/sub0/c2.wav") == made["sub0/c2.wav"]


def test_from_a_bucket_to_a_folder(place, connected, bucket):
    bucket.fill(place / "in", "in")
    synth("in", "-o", "here", status=1)
    synth(bucket.url("in/sub0/*.wav"), "-o", "out", "--ray")
    for name in ("c0", "c2", "c4"):
        assert Path(f"out/{name}.wav").read_bytes() == Path(f"here/sub0/{name}.wav").read_bytes()
    again = json.loads(synth(bucket.url("in/sub0/*.wav"), "-o", "out", "--ray", "--resume").stdout)
    assert (again["skipped"], again["done"]) == (3, 0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("URL/in", "-o", "out"), "'s3://BUCKET/in' is a URL, which 'hifigan synth --ray' takes"),
        (("in", "-o", "URL/out"), "'s3://BUCKET/out' is a URL, which 'hifigan synth --ray' takes"),
        (("in", "-o", "URL/out.wav", "--ray"), "would be a single result: name a folder at a URL"),
        (("in", "-o", "s3://key:secret@BUCKET/out.mp3", "--ray"), "-o 's3://BUCKET/out.mp3' would be a single result"),
        (("in", "-o", "out", "--ray", "--manifest", "m.jsonl"), "--manifest is for results at a URL"),
    ],
)
def test_what_makes_no_sense(place, bucket, arguments, told):
    def full(argument):
        return (
            bucket.url(argument.removeprefix("URL/"))
            if argument.startswith("URL/")
            else argument.replace("BUCKET", bucket.name)
        )

    error = synth(*map(full, arguments), status=2).stderr
    assert told.replace("BUCKET", bucket.name) in " ".join(error.split())
    assert "secret" not in error


def test_mel_takes_no_urls(place, bucket):
    error = hifigan("mel", bucket.url("in"), "--config", "v1", "-o", "out", status=2).stderr
    assert "is a URL" in error


def test_wrong_credentials_are_told_before_a_model_is_loaded(place, connected, bucket, monkeypatch):
    from moto import settings

    bucket.fill(place / "in", "in")
    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
    for arguments in ((bucket.url("in"), "-o", "out"), ("in", "-o", bucket.url("out"))):
        error = synth(*arguments, "--ray", "--engine", "onnxruntime", status=1).stderr
        assert f"the store '{bucket.root}' cannot" in error
        assert "credentials come from the URL, from AWS_ACCESS_KEY_ID" in error
        assert "secret" not in error
    monkeypatch.undo()
    assert not any(key.startswith("out/") for key in bucket.names())
