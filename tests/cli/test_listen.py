"""`hifigan listen` from make to score, as a user runs it."""

from __future__ import annotations

import csv
import importlib.util
import json
import signal
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import evaluation_records
from cli.running import command, error_of, hifigan, parse
from hifigan_rt.tools.evaluation.listening_results import from_json
from hifigan_rt.tools.evaluation.results import read_json, write_json
from hifigan_rt.tools.listening.definition import read_key
from listening_tests import record_of, voiced, write_folders

SYSTEMS = ("--system", "glowing=glowing", "--system", "droning=droning", "--reference", "ref")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path)
    return tmp_path


def answer(key, listener, quality, rng):
    """A simulated listener: the systems' quality, a bias and noise of one's own, on the scale of the test."""
    scale = {"mos": (1, 5, 1), "mushra": (0, 100, 20), "abx": (0, 1, 0)}[key.definition.mode]
    bias = rng.normal(0, 0.3 * scale[2])

    def rate(_, stimulus):
        entry = key.stimuli[stimulus]
        if key.definition.mode == "abx":
            return int(rng.random() < 0.8)
        if key.definition.mode == "mushra" and entry.role == "reference":
            return 100
        return int(np.clip(round(quality[entry.system] + bias + rng.normal(0, 0.4 * scale[2])), *scale[:2]))

    Path("answers").mkdir(exist_ok=True)
    Path("answers", f"{listener}.json").write_text(json.dumps(record_of(key, listener, rate)))


QUALITY = {
    "mos": {"reference": 4.6, "glowing": 4.0, "droning": 2.5},
    "mushra": {"glowing": 75, "droning": 45, "anchor 3.5 kHz": 20, "anchor 7 kHz": 50},
    "abx": {},
}


@pytest.mark.parametrize("mode", ["mos", "mushra", "abx"])
def test_thirty_listeners_end_to_end(place, mode):
    told = hifigan("listen", "make", *SYSTEMS, "--mode", mode, "-o", "test").stdout
    assert "keep it, it tells which system is which" in told
    key = read_key(place / "test" / "key.json")
    rng = np.random.default_rng(5)
    for index in range(30):
        answer(key, f"L{index}", QUALITY[mode], rng)
    done = hifigan("listen", "score", "answers", "--key", "test/key.json", "--json", "--csv", "answers.csv")
    result = json.loads(done.stdout)
    assert result["listeners"] == 30
    assert result["rejected"] == result["screened"] == []
    trials = len(list(csv.DictReader(Path("answers.csv").read_text().splitlines())))
    if mode == "abx":
        assert [(row["first"], row["second"], row["resolved"]) for row in result["abx"]] == [
            ("reference", "glowing", True), ("reference", "droning", True)
        ]  # fmt: skip
        assert trials == sum(row["trials"] for row in result["abx"])
        return
    means = {row["system"]: row["interval"]["mean"] for row in result["ratings"]}
    assert means["reference"] > means["glowing"] > means["droning"]
    assert all(test["resolved"] for test in result["tests"])
    assert trials == sum(row["ratings"] for row in result["ratings"])


def test_files_that_do_not_count_are_named_and_change_the_status(place):
    hifigan("listen", "make", *SYSTEMS, "--mode", "mos", "-o", "test", "-q")
    key = read_key(place / "test" / "key.json")
    rng = np.random.default_rng(0)
    for listener in ("L1", "L2", "L3"):
        answer(key, listener, QUALITY["mos"], rng)
    clean = hifigan("listen", "score", "answers", "--key", "test/key.json").stdout
    whole = record_of(key, "L4")
    for name, record in {
        "short": whole | {"trials": whole["trials"][:-1]},
        "other": whole | {"test_id": "0000000000"},
        "copy": json.loads(Path("answers/L1.json").read_text()),
    }.items():
        Path(f"answers/{name}.json").write_text(json.dumps(record))
    Path("answers/broken.json").write_text("{")
    done = hifigan("listen", "score", "answers", "--key", "test/key.json", status=1)
    assert done.stdout == clean
    for text in (
        "short.json",
        "incomplete: 5 of 6",
        "other.json",
        "another test",
        "the same answers",
        "broken.json",
        "no JSON",
    ):
        assert text in done.stderr
    assert "4 of 7 files could not be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_different_answers_under_one_code_count_for_nobody_and_are_told(place):
    hifigan("listen", "make", *SYSTEMS, "--mode", "mos", "-o", "test", "-q")
    key = read_key(place / "test" / "key.json")
    for listener in ("L1", "L2"):
        answer(key, listener, QUALITY["mos"], np.random.default_rng(0))
    forged = record_of(key, "L1", lambda *_: 1, started="2020-01-01T00:00:00Z", finished="2020-01-01T01:00:00Z")
    Path("answers/0.json").write_text(json.dumps(forged))
    done = hifigan("listen", "score", "answers", "--key", "test/key.json", "--csv", "answers.csv", status=1)
    assert "not counted: L1: 2 different results came under this code: none counts" in done.stdout
    assert "1 listener," in done.stdout
    assert "take the others out" in done.stderr
    assert "2 of 3 files could not be used" in done.stderr
    assert {row["listener"] for row in csv.DictReader(Path("answers.csv").read_text().splitlines())} == {"L2"}
    done = hifigan("listen", "score", "answers", "--key", "test/key.json", "--json", status=1)
    assert [entry["name"] for entry in json.loads(done.stdout)["contested"]] == ["L1"]


def test_a_table_replaces_neither_key_nor_answers_nor_the_report(place):
    hifigan("listen", "make", *SYSTEMS, "--mode", "mos", "-o", "test", "-q")
    answer(read_key(place / "test" / "key.json"), "L1", QUALITY["mos"], np.random.default_rng(0))
    Path("report").mkdir()
    Path("report/clips.csv").write_text("a table of the report")
    Path("answers/receipts.jsonl").write_text("")
    Path("link.csv").symlink_to("test/key.json")
    (listener,) = (str(path) for path in Path("answers").glob("*.json"))
    for name in ("test/key.json", "link.csv", listener, "answers/receipts.jsonl", "report/clips.csv"):
        before = Path(name).read_bytes()
        done = hifigan(
            "listen", "score", "answers", "--key", "test/key.json", "--csv", name, "--report", "report", status=1
        )
        assert f"--csv {name!r} would replace" in error_of(done)
        assert Path(name).read_bytes() == before
    for _ in range(2):  # a table of an earlier call is replaced
        hifigan("listen", "score", "answers", "--key", "test/key.json", "--csv", "ratings.csv")


def test_nothing_to_score(place):
    hifigan("listen", "make", *SYSTEMS, "--mode", "mos", "-o", "test", "-q")
    Path("empty").mkdir()
    assert "holds no .json file" in error_of(hifigan("listen", "score", "empty", "--key", "test/key.json", status=1))
    absent = hifigan("listen", "score", "absent.json", "--key", "test/key.json", status=1)
    assert "no listener's answers can be used: absent.json: it is no file" in error_of(absent)
    assert "cannot be read" in error_of(hifigan("listen", "score", "x", "--key", "nowhere.json", status=1))
    Path("x.json").write_text("[]")
    assert "is no result of 'hifigan listen make'" in error_of(
        hifigan("listen", "score", "x.json", "--key", "x.json", status=1)
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--mode", "mos", "-o", "t"], "give either REPORT, a folder of 'hifigan eval', or --system"),
        (["report", "--system", "a=b", "--mode", "mos", "-o", "t"], "give either REPORT"),
        (["report", "--reference", "b", "--mode", "mos", "-o", "t"], "--reference goes with --system"),
        (
            ["--system", "a=b", "--system", "a=c", "--mode", "mos", "-o", "t"],
            "a is given as 'b' and as 'c': give one of them",
        ),
        (["--system", "folder", "--mode", "mos", "-o", "t"], "'folder' is not KEY=VALUE"),
        (["--system", "a=b", "--mode", "rank", "-o", "t"], "'rank' is not one of"),
        (["--system", "a=b", "-o", "t"], "Missing option '--mode'"),
    ],
)
def test_wrong_command_lines(arguments, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert text in error_of(hifigan("listen", "make", *arguments, status=2))


@pytest.mark.parametrize("name", [["listen"], ["listen", "make"], ["listen", "serve"], ["listen", "score"]])
def test_help_has_an_example(name):
    result = parse(*name, "--help")
    assert result.exit_code == 0
    assert f"hifigan {' '.join(name)}" in result.output
    assert "Example" in result.output


def test_a_test_is_not_replaced_unasked(place):
    arguments = ("listen", "make", *SYSTEMS, "--mode", "mos", "-o", "test")
    hifigan(*arguments)
    key = Path("test/key.json").read_bytes()
    assert "holds test.html and key.json already" in error_of(hifigan(*arguments, status=1))
    assert Path("test/key.json").read_bytes() == key
    hifigan(*arguments, "--overwrite")
    assert Path("test/key.json").read_bytes() != key


def report_with_audio(place) -> None:
    import soundfile

    result = evaluation_records.result()
    for index, clip in enumerate(result.clips):
        for path in (clip.reference, *(row.audio for row in result.scores if row.clip == clip.name and row.audio)):
            file = place / "report" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, voiced(index, 0.6), result.sample_rate)
    write_json(result, place / "report" / "report.json")


def test_from_a_report_and_back_into_it(place):
    report_with_audio(place)
    told = json.loads(hifigan("listen", "make", "report", "--mode", "mos", "-o", "test", "--json").stdout)
    assert told["systems"] == ["reference", "float32", "bfloat16"]
    assert told["clips"] == 2  # the third was not evaluated for one system
    assert any("clip 'sub/c' is left out: bfloat16: no file for it in 'made'" in note for note in told["notes"])
    key = read_key(place / "test" / "key.json")
    for index in range(3):
        answer(key, f"L{index}", {"reference": 4, "float32": 4, "bfloat16": 3}, np.random.default_rng(index))
    done = hifigan("listen", "score", "answers", "--key", "test/key.json", "--report", "report")
    assert "report.json" in done.stderr
    listening = read_json(place / "report" / "report.json").listening
    assert listening["mos"]["listeners"] == 3
    page = (place / "report" / "report.html").read_text()
    assert 'id="listening"' in page
    assert f"{from_json(listening['mos']).ratings[0].interval.mean:.2f}" in page
    assert "Traceback" not in done.stderr
    hifigan("listen", "score", "answers", "--key", "test/key.json", "--report", "nowhere", status=1)


def test_serve_until_interrupted(place):
    hifigan("listen", "make", *SYSTEMS, "--mode", "mos", "-o", "test", "-q")
    arguments = command("listen", "serve", "test/test.html", "--results", "answers", "--port", "0")
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        url = process.stderr.readline().split()[4].rstrip(";")
        with urllib.request.urlopen(url, timeout=20) as answered:  # noqa: S310 - our own
            assert answered.read() == Path("test/test.html").read_bytes()
        process.send_signal(signal.SIGINT)
        assert "ended" in process.stderr.read()
    assert process.returncode == 0


def test_serve_refuses_other_files(place):
    text = error_of(hifigan("listen", "serve", "ref/clip0.wav", "--results", "answers", status=1))
    assert "is no page of a listening test" in text


def test_without_scipy_nothing_starts(place, monkeypatch):
    """It was an internal error after the recordings had been read."""
    hifigan("listen", "make", *SYSTEMS, "--mode", "mos", "-o", "test")
    answer(read_key(place / "test" / "key.json"), "L1", QUALITY["mos"], np.random.default_rng(0))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "scipy" else find(name, *rest))
    for arguments in (
        ("make", *SYSTEMS, "--mode", "mos", "-o", "another"),
        ("score", "answers", "--key", "test/key.json"),
    ):
        assert "needs the package scipy: pip install 'hifigan-rt[eval]'" in error_of(
            hifigan("listen", *arguments, status=1)
        )
    assert not (place / "another").exists()
