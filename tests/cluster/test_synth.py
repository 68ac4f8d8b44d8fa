"""`hifigan synth --ray` on a real cluster gives what one machine gives: files, manifest, summary, exit status."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cli.running import hifigan, records

pytestmark = pytest.mark.ray

MADE_HERE = ("input_ctime_ns", "compute_seconds")


def synth(*arguments: str, status: int = 0):
    return hifigan("synth", "in", "--recursive", "--model", "model", "--json", *arguments, status=status)


def lines(folder: str) -> dict:
    return {
        name: {key: value for key, value in vars(record).items() if key not in MADE_HERE}
        for name, record in records(folder).items()
    }


def test_everything_is_as_on_one_machine(place, connected):
    options = ("--match-length", "--mel-l1", "--format", "flac")
    here = json.loads(synth("-o", "here", *options, status=1).stdout)
    there = json.loads(synth("-o", "there", *options, "--ray", status=1).stdout)
    for name in ("clips", "done", "skipped", "failed", "complete", "audio_seconds", "samples_dropped", "warnings"):
        assert there[name] == here[name], name
    assert (there["done"], len(there["failed"])) == (5, 1)
    assert lines("there") == lines("here")
    for name in records("here"):
        made = Path("here", name)
        assert not made.exists() or made.read_bytes() == Path("there", name).read_bytes()
    assert {path.name for path in Path("there").iterdir()} == {"sub0", "sub1", "manifest.jsonl"}
    # What either made is finished for the other.
    Path("there/sub0/c0.flac").unlink()
    again = json.loads(synth("-o", "there", *options, "--resume", status=1).stdout)
    assert (again["skipped"], again["done"]) == (4, 1)
    model = Path("model/generator.safetensors")
    model.touch()
    again = json.loads(synth("-o", "here", *options, "--resume", "--ray", status=1).stdout)
    assert (again["skipped"], again["done"], len(again["failed"])) == (5, 0, 1)


def test_a_node_that_is_killed(place, cluster, connected, monkeypatch):
    """What it had in its hands is made by the others; no clip is lost, and none has two lines."""
    from hifigan_rt.tools.bulk.manifest import ManifestWriter

    node = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    original, seen = ManifestWriter.append, []

    def append(self, record):
        original(self, record)
        seen.append(record.output)
        if len(seen) == 2:
            cluster.remove_node(node, allow_graceful=False)

    monkeypatch.setattr(ManifestWriter, "append", append)
    summary = json.loads(synth("-o", "out", "--ray", status=1).stdout)
    assert (summary["done"], len(summary["failed"])) == (5, 1)
    assert len(seen) == len(set(seen)) == 6
    assert len(Path("out/manifest.jsonl").read_text().splitlines()) == 7
    monkeypatch.undo()
    os.chdir(place)
    synth("-o", "here", status=1)
    for path in Path("here").rglob("*.wav"):
        assert Path("out", path.relative_to("here")).read_bytes() == path.read_bytes()
    assert sum(path.is_file() for path in Path("out").rglob("*")) == 6
