"""The report of an evaluation as a file: what stands in it, and that nothing in a name gets out of its place."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

import evaluation_records
from hifigan_rt.errors import OutputError
from hifigan_rt.tools.evaluation.metrics.results import MetricResult
from hifigan_rt.tools.evaluation.numbers import decimals, number
from hifigan_rt.tools.evaluation.published import ROWS, band
from hifigan_rt.tools.evaluation.report import EMBEDDED_CLIPS, embedded_clips, write_report
from hifigan_rt.tools.evaluation.report.drawings import Axis, difference_axis, distributions
from hifigan_rt.tools.evaluation.report.page import render
from hifigan_rt.tools.evaluation.report.tables import clip_rows, difference_rows, first_columns, summary_rows
from hifigan_rt.tools.evaluation.sounds import encode_f0
from hifigan_rt.tools.evaluation.statistics import Interval, summarize
from report_files import result_of, tone, write_sound

HOSTILE = (
    "<script>document.title='taken'</script>",
    '"><img src=x onerror="document.title=1">',
    "</script><script>alert(1)</script><!--",
    "{{ 7 * 7 }} {% raw %} &amp; ' \\u2028\u2028",
    "n" * 300,
    "長い名前/..\\..\\%2e\x7f",
)
VOID = {"meta", "link", "input", "img", "br", "hr", "rect", "line", "path", "circle"}


class Page(HTMLParser):
    """Elements, and whether every one is closed where it should be."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.ids, self.scripts, self.texts = [], [], [], {}, []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag not in VOID:
            self.open.append((tag, attributes))

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "script":
            self.scripts[self.open[-1][1].get("id", "")] = data
        elif data.strip():
            self.texts.append(data.strip())


def written(result, folder, sound=True):
    if sound:
        write_sound(result, folder)
    return Page(write_report(result, folder).read_text(encoding="utf-8"))


def test_the_page_holds_all_that_was_found(tmp_path):
    page = written(evaluation_records.result(), tmp_path)
    shown = " ".join(page.texts)
    for text in ("float32", "bfloat16", "clips (3 clips)", "hifigan eval --model ljspeech-v1", "✓ kept", "costs 0.010"):
        assert text in shown
    assert "failed: no file for it in 'made'" in shown
    assert "metric 'pesq_wb' needs the package pesq" in shown
    assert "0.956 to 0.974" in shown  # published, of STOI
    assert len(page.ids) == len(set(page.ids))
    targets = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"}
    assert targets <= set(page.ids)


def test_nothing_comes_from_elsewhere(tmp_path):
    text = write_report(evaluation_records.result(), tmp_path).read_text()
    page = Page(text)
    assert "http://www.w3.org/2000/svg" in page.scripts[""]
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []
    loaded = [attributes for tag, attributes in page.tags if {"src", "href"} & attributes.keys() and tag != "a"]
    assert loaded == [{"rel": "icon", "href": "data:,"}]


def test_sound_goes_in_and_comes_out_again(tmp_path):
    page = written(result_of(["a", "b"], ["one", "two"]), tmp_path)
    tracks = json.loads(page.scripts["clip-1"])["tracks"]
    assert len(tracks) == 3
    for index, track in enumerate(tracks):
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(track["flac"])), dtype="float32")
        assert rate == 22050
        np.testing.assert_allclose(samples, tone(index), atol=1 / 65536)
        steps = np.frombuffer(base64.b64decode(track["f0"]), np.uint8)
        assert len(steps) == 101
        middle_hz = 50 * 2 ** ((np.median(steps) - 1) / 254 * math.log2(11))
        assert middle_hz == pytest.approx(200 + 50 * index, rel=0.01)


def test_f0_is_kept_to_half_a_step_of_sixteen_cents():
    f0_hz = np.array([0.0, 50.0, 123.4, 550.0, 40.0, 900.0])
    steps = np.frombuffer(encode_f0(f0_hz), np.uint8)
    assert steps.tolist()[0] == 0
    assert steps.tolist()[3:] == [255, 1, 255]
    back = 50 * 11 ** ((steps[1:4] - 1.0) / 254)
    assert np.abs(1200 * np.log2(back / f0_hz[1:4])).max() <= 8.2


def test_clips_beyond_twenty_lie_beside_the_page(tmp_path):
    names = [f"clip {index}" for index in range(25)]
    page = written(result_of(names), tmp_path)
    data = json.loads(page.scripts["data"])
    scripts = [clip["script"] for clip in data["clips"] if clip["script"]]
    assert len(scripts) == 5
    assert sum(key.startswith("clip-") for key in page.scripts) == EMBEDDED_CLIPS
    text = (tmp_path / scripts[0]).read_text()
    name, content = re.fullmatch(r'hifiganClip\("(\w+)",(.*)\);\n// sha256 \w{64}\n', text, re.DOTALL).groups()
    assert scripts[0] == f"clips/{name}.js"
    assert [sorted(track) for track in json.loads(content)["tracks"]] == [["f0", "flac"], ["f0", "flac"]]


def test_scripts_of_an_earlier_report_go_and_nothing_else(tmp_path):
    names = [f"clip {index}" for index in range(22)]
    written(result_of(names), tmp_path)
    earlier = set(tmp_path.glob("clips/*.js"))
    theirs = tmp_path / "clips" / "theirs.js"
    theirs.write_text("mine")
    again = result_of(names, sample_rate=16000)
    written(again, tmp_path)
    now = set(tmp_path.glob("clips/*.js"))
    assert now & earlier == set()
    assert theirs in now
    assert len(now) == 2  # equal sound is one script
    written(result_of(["a"]), tmp_path)
    assert set(tmp_path.glob("clips/*")) == {theirs}


def test_the_worst_clips_are_in_the_page():
    result = result_of([f"clip {index}" for index in range(40)])
    worst = dataclasses.replace(result.summaries[0].worst[0], clip="clip 37")
    summaries = (dataclasses.replace(result.summaries[0], worst=(worst,)), *result.summaries[1:])
    chosen = embedded_clips(dataclasses.replace(result, summaries=summaries))
    assert chosen == [*range(19), 37]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_are_only_names(tmp_path, name):
    result = result_of([name, "b"], [name, "other"], data_set=name, command=name, notes=(name,))
    page = written(result, tmp_path)
    plain = written(result_of(["a", "b"], ["one", "other"], notes=("note",)), tmp_path)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert json.loads(page.scripts["data"])["clips"][0]["name"] == name
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)


def test_sound_that_is_missing_or_broken_is_told_and_stops_nothing(tmp_path):
    result = result_of(["a", "b", "c"])
    write_sound(result, tmp_path)
    (tmp_path / "audio/ref/0.flac").unlink()
    (tmp_path / "audio/0/1.flac").write_bytes(b"no audio at all")
    page = written(result, tmp_path, sound=False)
    problems = [[track.get("problem") for track in json.loads(page.scripts[f"clip-{i}"])["tracks"]] for i in range(3)]
    assert "0.flac" in problems[0][0]
    assert "1.flac" in problems[1][1]
    assert problems[2] == [None, None]


def test_a_result_without_recordings_metrics_or_values(tmp_path):
    result = result_of(["a", "b"])
    bare = dataclasses.replace(result, clips=tuple(dataclasses.replace(clip, reference=None) for clip in result.clips))
    page = written(bare, tmp_path)
    assert json.loads(page.scripts["clip-0"])["tracks"][0] == {"problem": "there is no recording"}
    empty = [dataclasses.replace(row, scores={}) for row in result.scores]
    page = written(dataclasses.replace(result, metrics=(), summaries=(), scores=tuple(empty)), tmp_path)
    assert "No metric was computed." in page.texts
    undefined = {"stoi": MetricResult(math.nan, "too short"), "snr": MetricResult(math.nan, "")}
    rows = [dataclasses.replace(row, scores=undefined) for row in result.scores]
    written(dataclasses.replace(result, scores=tuple(rows), summaries=()), tmp_path)


def test_one_hundred_and_fifty_clips_stay_small(tmp_path):
    result = result_of([f"LJ{index:03}" for index in range(150)], ["one", "two"])
    page = write_report(result, tmp_path)  # without sound: what is left is the page itself
    assert page.stat().st_size < 600_000
    assert len(Page(page.read_text()).scripts) == EMBEDDED_CLIPS + 2


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path):
    result = result_of([f"clip {index}" for index in range(21)])
    page = write_report(result, tmp_path)
    before = page.read_bytes()
    for script in (tmp_path / "clips").iterdir():
        script.unlink()
    (tmp_path / "clips").rmdir()
    (tmp_path / "clips").write_text("a file in the way")
    with pytest.raises(OutputError, match="clips"):
        write_report(result, tmp_path)
    assert page.read_bytes() == before


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.97, "", "0.970"), (-0.0004, "", "0.000"), (-0.5, "dB", "−0.50"), (math.inf, "dB", "∞"),
        (-math.inf, "dB", "−∞"), (math.nan, "dB", "–"), (1234.5, "cents", "1,234.5"), (3.0, "samples", "3"),
    ],
)  # fmt: skip
def test_numbers(value, unit, text):
    metric = evaluation_records.metric("stoi", unit=unit)
    assert number(value, metric) == text
    assert number(abs(value), metric, signed=True).startswith("+") == (text.strip("−0.") != "" and text != "–")
    assert decimals(metric) >= 0


def test_the_tables_rows():
    result = evaluation_records.result()
    stoi, snr = summary_rows(result)
    assert stoi.published == "0.956 to 0.974"
    assert stoi.cells[0].mean == "0.970"
    assert snr.published == ""
    assert snr.cells[0].mean == "20.00"
    assert snr.cells[0].remark == "1 clip identical, 1 clip without a value"
    difference = difference_rows(result)[0].cells[0]
    assert difference.text == "−0.010"
    rows = clip_rows(result)
    assert [(row.clip, row.system) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert [cell.text for cell in rows[0].cells] == ["0.970", "identical"]
    assert rows[0].cells[1].sort == "Infinity"
    assert (rows[4].cells[1].text, rows[4].cells[1].sort) == ("–", "")
    assert rows[4].cells[1].reason == "the reference is digital silence"
    assert first_columns(result) == {"stoi", "snr"}


def test_the_page_tells_of_how_many_clips_and_what_silence_breaks():
    made = evaluation_records.result()
    kept = dataclasses.replace(made.limits[0], clips=1, of_clips=3, passed=False, silent=2)
    lost = dataclasses.replace(made.summaries[1], summary=summarize([math.inf, -math.inf, 3.0]))
    changed = dataclasses.replace(made, limits=(kept,), summaries=(made.summaries[0], lost, *made.summaries[2:]))
    assert "is 0.970 (1 of 3 clips); generated silence has no value (2 clips)</li>" in render(changed, {}, {})
    cell = summary_rows(changed)[1].cells[0]
    assert (cell.mean, cell.interval, cell.median) == ("−∞", "", "")
    assert cell.remark == "1 clip identical, 1 clip −∞"


def test_the_published_band_is_that_of_hifigan_v1():
    assert (band("pesq_wb").low, band("pesq_wb").high) == (3.147, 3.646)  # BigVGAN's 4.21 and V2's 2.4 are not in it
    assert band("mcd") is None
    assert {row.model for row in ROWS if row.in_band} <= {"HiFi-GAN V1", "HiFi-GAN", "HiFi-GAN UNIVERSAL_V1"}


@pytest.mark.parametrize(("low", "high"), [(0.93, 0.98), (-3.0, 600.0), (1e-6, 2e-6), (-0.1, 0.1), (9000, 123456)])
def test_an_axis_has_some_round_ticks(low, high):
    axis = Axis(low, high)
    places, texts = zip(*axis.ticks, strict=True)
    assert 3 <= len(texts) <= 7
    assert len(set(texts)) == len(texts)
    values = [float(text.replace("−", "-").replace(",", "")) for text in texts]
    assert all(low <= value <= high for value in values)
    assert places == pytest.approx([axis.position(value) for value in values])


def test_drawings_keep_inside_their_frame():
    axis = difference_axis([Interval(1.0, math.nan, math.nan, 1, "none"), Interval(-3.0, -4.0, -2.0, 5, "t")])
    assert axis.position(0) == axis.position(axis.high) - axis.position(0) + axis.position(axis.low)
    assert axis.place(math.nan) is None
    assert axis.place(1e9) == axis.position(axis.high)
    assert difference_axis([]).position(0) == 160
    drawn = distributions(evaluation_records.result())
    assert [entry.metric.key for entry in drawn] == ["stoi", "snr"]
    assert drawn[0].strips[0].dots.count("M") == 3
    assert drawn[1].strips[0].low is None  # one finite value has no interval
    assert "clips 1" in drawn[1].strips[0].label
    equal = distributions(result_of(["a"]))
    assert [entry.metric.key for entry in equal] == ["stoi"]
