"""Answers of a listening test that are incomplete, doubled, changed, of another test, or something else."""

from __future__ import annotations

import contextlib
import datetime
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hifigan_rt.errors import EvaluationError
from hifigan_rt.tools.listening.reading import read_all
from hifigan_rt.tools.listening.submissions import MAX_BYTES, most_bytes, parse
from listening_tests import key_of, record_of

MOS = key_of("mos", ("v1", "v3"), 3)
MUSHRA = key_of("mushra", ("reference", "v1"), 2)
ABX = key_of("abx", ("v1", "v3"), 3)


def refused(record, key=MOS) -> str:
    content = record if isinstance(record, bytes) else json.dumps(record).encode()
    with pytest.raises(EvaluationError) as caught:
        parse(content, key.definition)
    text = str(caught.value)
    assert len(text) < 400
    assert "\n" not in text
    return text


def first_trial(key=MOS, **changes):
    record = record_of(key, "L1")
    record["trials"][0] |= changes
    return record


def stimulus(key=MOS):
    return record_of(key, "L1")["trials"][0]["order"][0]


@pytest.mark.parametrize("key", [MOS, MUSHRA, ABX], ids=["mos", "mushra", "abx"])
def test_what_the_page_writes_is_taken(key):
    assert len(parse(json.dumps(record_of(key, "L1")).encode(), key.definition).answers) == len(
        record_of(key, "L1")["trials"]
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kind": "other"}, "it is no result of a listening test"),
        ({"format": 2}, "it has format 2, and 1 is read here"),
        ({"test_id": "9999999999"}, "it answers another test: '9999999999' instead of '0123456789'"),
        ({"test_id": ["0123456789"]}, "it answers another test: a list of 1"),
        ({"page_sha256": "0" * 64}, "made with another page than this test's"),
        ({"mode": "abx"}, "made with another page than this test's"),
        ({"listener": "../../etc/passwd"}, "listener '../../etc/passwd' is no listener's code"),
        ({"listener": 7}, "listener 7 is no listener's code"),
        ({"listener": "L2"}, "is not listener 'L2''s: the code or the seed was changed"),
        ({"seed": 1}, "seed 1 is not listener 'L1''s"),
        ({"seed": None}, "seed None is not"),
        ({"output": []}, "output a list of 0 is neither"),
        ({"finished": "2020-01-01T00:00:00Z"}, "was finished at 2020-01-01T00:00:00Z and begun later"),
        ({"finished": "soon"}, "'soon' is no date and time"),
        ({"finished": "2026-01-02T03:24:05"}, "is no date and time of a known zone"),
        ({"started": 5}, "5 is no date and time"),
        ({"more": 1}, "its fields are not those that the page writes: 'more' is new"),
        ({"trials": {}}, "its trials are no list but a dict of 0"),
        ({"trials": []}, "it is incomplete: 0 of 6 trials were answered"),
    ],
)
def test_changed_records(changes, text):
    assert text in refused(record_of(MOS, "L1") | changes)


@pytest.mark.parametrize("value", [0, 6, -1, 3.5, "3", None, True, [3], 10**400, 1e308])
def test_ratings_out_of_range_or_kind(value):
    assert "is not a whole number from 1 to 5" in refused(first_trial(ratings={stimulus(): value}))


@pytest.mark.parametrize("value", [-1, 101])
def test_mushra_ratings_out_of_range(value):
    ratings = record_of(MUSHRA, "L1")["trials"][0]["ratings"] | {stimulus(MUSHRA): value}
    assert "is not a whole number from 0 to 100" in refused(first_trial(MUSHRA, ratings=ratings), MUSHRA)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"order": ["nowhere"]}, "trial 1: stimulus 'nowhere' is not of this test"),
        ({"order": []}, "trial 1: its stimuli are not those that this listener got here"),
        ({"order": "v1_000"}, "trial 1: stimulus 'v1_000' is not of this test"),
        ({"order": [7]}, "trial 1: stimulus a list of 1 is not of this test"),
        ({"x": "v1000"}, "its stimuli are not those"),
        ({"ratings": []}, "its ratings are a list of 0"),
        ({"ratings": {}}, "its ratings are not of its stimuli"),
        ({"ratings": {"nowhere": 3}}, "its ratings are not of its stimuli"),
        ({"answer": "v1000"}, "answer 'v1000' is given, and only ABX has one"),
        ({"seconds": -1}, "seconds -1 is no time"),
        ({"seconds": "4"}, "seconds '4' is no time"),
        ({"seconds": 1e300}, "seconds 1e+300 is no time"),
        ({"heard_seconds": {}}, "heard_seconds are not of its recordings"),
        ({"heard_seconds": 3}, "heard_seconds are not of its recordings"),
        ({"more": 1}, "trial 1: its fields are not those that the page writes"),
    ],
)
def test_changed_trials(changes, text):
    assert text in refused(first_trial(**changes))


def test_not_heard():
    assert "was heard for 0.5 s of at least 2 s" in refused(first_trial(heard_seconds={stimulus(): 0.5}))
    heard = {"A": 1, "B": 1, "X": 0.2}
    assert "'X' was heard for 0.2 s of at least 1 s" in refused(first_trial(ABX, heard_seconds=heard), ABX)


@pytest.mark.parametrize("answer", ["", "nowhere", None, 1, ["v1000"]])
def test_abx_answers(answer):
    assert "is neither A nor B" in refused(first_trial(ABX, answer=answer), ABX)


def test_abx_whose_x_was_turned():
    record = record_of(ABX, "L1")
    for trial in record["trials"]:
        trial["x"] = next(stimulus for stimulus in trial["order"] if stimulus != trial["x"])
    assert "its stimuli are not those that this listener got here" in refused(record, ABX)


def test_too_few_and_too_many_trials():
    record = record_of(MOS, "L1")
    assert "incomplete: 5 of 6" in refused(record | {"trials": record["trials"][:-1]})
    assert "it has 7 trials, and the test has 6" in refused(record | {"trials": [*record["trials"], {}]})
    assert "not those that this listener got" in refused(record | {"trials": record["trials"][::-1]})


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "no JSON"),
        (b"not json", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no result of a listening test"),
        (b"null", "no result of a listening test"),
        (b'{"kind": "hifigan-listening", "format": NaN}', "NaN is no number"),
        (b'{"kind": "hifigan-listening", "format": 1' + b"0" * 5000 + b"}", "no JSON"),
        (b'{"kind": "a", "kind": "hifigan-listening"}', "a field occurs twice"),
        (b" " * (MAX_BYTES + 1), "larger than"),
    ],
)
def test_other_files(content, text):
    assert text in refused(content)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from(
        ["listener", "seed", "output", "started", "finished", "trials", "order", "ratings", "heard_seconds"]
    ),
)
def test_anything_in_any_field_is_refused_or_harmless(value, name):
    record = record_of(MUSHRA, "L1")
    (record if name in record else record["trials"][0])[name] = value
    with contextlib.suppress(EvaluationError):
        parse(json.dumps(record).encode(), MUSHRA.definition)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seconds": 0}, "trial 1: 2 s were heard in 0 s"),
        ({"heard_seconds": {stimulus(): 4.7}, "seconds": 4.3}, "4.7 s were heard in 4.3 s"),
        ({"heard_seconds": {stimulus(): 3000}, "seconds": 2000}, "3000 s were heard in 2000 s"),
        ({"heard_seconds": {stimulus(): 1200}, "seconds": 1300}, "its trials took 1322.5 s"),
    ],
)
def test_times_that_cannot_be_of_a_trial(changes, text):
    assert text in refused(first_trial(**changes))


def test_recordings_are_heard_one_after_the_other():
    heard = dict.fromkeys("ABX", 4.0)
    assert "12 s were heard in 5 s" in refused(first_trial(ABX, heard_seconds=heard, seconds=5.0), ABX)
    parse(json.dumps(first_trial(ABX, heard_seconds=heard, seconds=11.9)).encode(), ABX.definition)


@pytest.mark.parametrize(
    ("started", "finished", "text"),
    [
        ("2026-01-02T03:24:04Z", "2026-01-02T03:24:05Z", "took 27 s, and from its begin to its end there are 1"),
        ("2026-01-02T03:24:05Z", "2026-01-02T03:24:05Z", "there are 0 s"),
        ("2026-01-02T03:24:05+01:00", "2026-01-02T02:24:06+00:00", "there are 1 s"),
        ("2026-01-02T03:24:05Z", "9999-12-31T23:59:59-23:59", "was there at"),
        ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "was there at"),
        ("2026-01-02T03:24:05Z", "2026-01-02T04:06:00Z", "was there at 2026-01-02T04:00:00+00:00 already"),
    ],
)  # fmt: skip
def test_times_that_cannot_be_of_a_sitting(started, finished, text):
    record = record_of(MOS, "L1", started=started, finished=finished)
    with pytest.raises(EvaluationError) as caught:
        parse(json.dumps(record).encode(), MOS.definition, datetime.datetime(2026, 1, 2, 4, tzinfo=datetime.UTC))
    assert text in str(caught.value)


def test_times_of_honest_listeners():
    there = datetime.datetime(2026, 1, 2, 4, tzinfo=datetime.UTC)
    # Just finished, by a clock that is ahead; and resumed on another day.
    for started, finished in (("02T03:59:00Z", "02T04:04:59Z"), ("01T03:00:00Z", "02T03:59:59Z")):
        record = record_of(MOS, "L1", started=f"2026-01-{started}", finished=f"2026-01-{finished}")
        assert parse(json.dumps(record).encode(), MOS.definition, there).listener == "L1"
    # The sound card's clock was ahead of the computer's.
    parse(json.dumps(first_trial(heard_seconds={stimulus(): 60.0}, seconds=59.0)).encode(), MOS.definition)


@pytest.mark.parametrize("key", [MOS, MUSHRA, ABX], ids=["mos", "mushra", "abx"])
def test_a_result_of_any_form_fits_and_a_filled_one_does_not(key):
    record = record_of(key, "L" * 40)
    assert parse(json.dumps(record, indent=8).encode(), key.definition).listener == "L" * 40
    content = json.dumps(record).encode()
    filled = content + b" " * (most_bytes(key.definition) + 1 - len(content))
    assert f"larger than {most_bytes(key.definition)} bytes" in refused(filled, key)


def test_files_that_cannot_be_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "device.json").symlink_to("/dev/zero")
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "pipe-link.json").symlink_to("pipe.json")
    names = [tmp_path / f"{name}.json" for name in ("pipe", "folder", "absent", "device", "loop", "pipe-link")]
    assert read_all([tmp_path], MOS.definition).submissions == []
    read = read_all([name for name in names if name.stem != "folder"], MOS.definition)
    assert read.submissions == []
    reasons = [entry.reason for entry in read.rejected]
    assert reasons == ["it is no file"] * 3 + ["it cannot be read: Too many levels of symbolic links", "it is no file"]
