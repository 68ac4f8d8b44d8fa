"""The record of an evaluation, to JSON and back."""

import dataclasses
import json
import math

import pytest

from evaluation_records import result
from hifigan_rt.errors import DatasetError
from hifigan_rt.tools.evaluation.metrics.results import MetricResult
from hifigan_rt.tools.evaluation.results import FORMAT, Clip, ClipScores, read_json, to_json, write_json


def test_a_result_survives_its_json(tmp_path):
    made = result()
    write_json(made, tmp_path / "report.json")
    again = read_json(tmp_path / "report.json")
    # NaN differs from itself: compared as JSON has them.
    assert to_json(again) == to_json(made)
    assert again.mel == made.mel
    assert again.systems == made.systems
    assert repr(again.comparisons) == repr(made.comparisons)
    first, undefined = again.scores[0].scores["snr"], again.scores[2].scores["snr"]
    assert first == MetricResult(math.inf, "identical")
    assert math.isnan(undefined.value)
    assert undefined.reason == "the reference is digital silence"


def test_json_has_no_number_that_json_does_not_know(tmp_path):
    write_json(result(), tmp_path / "report.json")

    def refuse(text):
        raise AssertionError(text)

    content = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    assert content["format"] == FORMAT
    assert content["accuracy"] == "STOI 0.970"
    assert content["scores"][0]["scores"]["snr"] == {"value": "Infinity", "reason": "identical"}
    assert content["scores"][2]["scores"]["snr"]["value"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": 3},
        {"sample_rate": 22050.5},
        {"sample_rate": True},
        {"metrics": {}},
        {"systems": [{"name": "a", "kind": "rumour"}]},
        {"systems": [{"name": "a", "kind": "model", "settings": {"mode": 1}}]},
        {"left_out": ["stoi"]},
        {"scores": [{"system": "a", "clip": "b", "scores": {"stoi": {"value": "high"}}}]},
        {"unknown": 1},
        {"mel": {"sample_rate": 0}},
        {"clips": None},
    ],
    ids=str,
)
def test_what_is_not_such_a_result_is_refused(tmp_path, change):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(to_json(result()) | change))
    with pytest.raises(DatasetError, match=r"is no result of 'hifigan eval' in format 2: give the JSON that -o wrote"):
        read_json(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"null", b"[" * 100_000])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="is no result"):
        read_json(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"evaluation report '.*absent\.json' cannot be read: No such file"):
        read_json(tmp_path / "absent.json")


def test_rows_are_found_by_system_and_metric():
    made = result()
    assert [row.clip for row in made.scores_of("bfloat16")] == ["a", "b", "sub/c"]
    assert made.summary_of("bfloat16", "stoi").summary.interval.mean == pytest.approx(0.96)
    assert made.summary_of("bfloat16", "pesq_wb") is None


def test_complete_means_every_clip_of_every_system():
    made = result()
    assert not made.complete
    scores = tuple(row for row in made.scores if row.failed is None)
    assert dataclasses.replace(made, scores=scores).complete
    assert not dataclasses.replace(made, scores=scores, clips=(Clip("a", problem="damaged"),)).complete
    assert ClipScores("a", "b").failed is None


def test_a_result_without_limits_passes():
    made = result()
    assert made.passed
    assert dataclasses.replace(made, limits=()).passed
    assert not dataclasses.replace(made, limits=(dataclasses.replace(made.limits[0], passed=False),)).passed


@pytest.mark.parametrize("field", ["systems", "clips", "scores"])
def test_scores_are_of_all_systems_and_clips(tmp_path, field):
    path = tmp_path / "report.json"
    content = to_json(result())
    path.write_text(json.dumps(content | {field: content[field][1:]}))
    with pytest.raises(DatasetError, match="has other scores than its own systems and clips: it was changed by hand"):
        read_json(path)
