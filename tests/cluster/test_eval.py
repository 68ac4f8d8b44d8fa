"""`hifigan eval --ray` on a real cluster: the same report as on one machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.running import hifigan

pytestmark = pytest.mark.ray

OWN = ("date", "command")


def report(folder: str) -> dict:
    found = json.loads(Path(folder, "report.json").read_text())
    return {key: value for key, value in found.items() if key not in OWN}


def evaluated(folder: str, *arguments: str, model: tuple[str, ...] = ("--model", "model"), status: int = 1):
    metrics = ("--metrics", "stoi,mel_l1,lsd,si_sdr")
    return hifigan(
        "eval", "--dataset", "in", "--recursive", *model, *metrics, "-o", folder, *arguments, status=status
    )  # fmt: skip


def test_scores_are_those_of_one_machine(place, connected):
    evaluated("here")
    evaluated("there", "--ray")
    here, there = report("here"), report("there")
    assert there == here
    assert len([row for row in there["scores"] if not row["failed"]]) == 5
    made = {path.relative_to("here"): path.read_bytes() for path in Path("here/audio").rglob("*.wav")}
    assert len(made) == 10
    assert {path.relative_to("there"): path.read_bytes() for path in Path("there/audio").rglob("*.wav")} == made
    # What the machines measured is known to this one.
    Path("there/report.json").unlink()
    evaluated("there", "--resume")
    assert report("there") == here


def test_a_machine_with_other_versions_is_told(place, connected, monkeypatch):
    from hifigan_rt.tools.evaluation import on_cluster

    monkeypatch.setattr(on_cluster, "own_version", lambda: "0.0.1")
    made = ("--generated", "in", "--config", "v1", "--resample")
    error = evaluated("out", "--ray", model=made).stderr
    assert "metrics would be computed by hifigan_rt" in error
    assert "and by 0.0.1 where the evaluation was started" in error


def test_a_url_is_told(place):
    error = hifigan("eval", "--dataset", "s3://bucket/in", "--model", "model", "-o", "out", "--ray", status=2).stderr
    assert "'s3://bucket/in' is a URL" in " ".join(error.split())
