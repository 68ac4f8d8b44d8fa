"""Which of several results counts: nothing that a sender writes decides it, nor the name of a file."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict

import pytest

from hifigan_rt.errors import DatasetError, OutputError
from hifigan_rt.tools.listening import intake, reading
from hifigan_rt.tools.listening.intake import Intake
from hifigan_rt.tools.listening.reading import read_all
from hifigan_rt.tools.listening.receipts import RECEIPTS_NAME, Receipt, add_receipt, read_receipts
from listening_tests import key_of, record_of

KEY = key_of("mos", ("v1", "v3"), 3)


def bytes_of(listener, rating=3, **changes):
    return json.dumps(record_of(KEY, listener, lambda *_: rating, **changes)).encode()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "answers"


def receive(folder, *contents):
    keeper = Intake(folder, KEY.definition, lambda _: None)
    return [keeper.keep(content) for content in contents]


def ratings(read):
    return {entry.listener: next(iter(entry.answers[0].ratings.values())) for entry in read.submissions}


def test_the_same_answers_count_once_and_the_first_received_stands(folder):
    slow = {"finished": "2026-01-05T00:00:00Z", "output": "loudspeakers"}
    first, again, _ = receive(folder, bytes_of("L1", **slow), bytes_of("L1"), bytes_of("L2"))
    assert first == again  # an earlier `finished` displaces nothing
    read = read_all([folder], KEY.definition)
    assert [(entry.listener, entry.output) for entry in read.submissions] == [
        ("L1", "loudspeakers"), ("L2", "headphones")
    ]  # fmt: skip
    assert read.rejected == read.contested == read.notes == []
    # The download of the same sitting, sent by mail under a name that sorts first.
    (folder / "A.json").write_bytes(bytes_of("L1"))
    read = read_all([folder], KEY.definition)
    assert [entry.output for entry in read.submissions] == ["loudspeakers", "headphones"]
    assert [(entry.name, entry.reason) for entry in read.rejected] == [
        (str(folder / "A.json"), f"it holds the same answers as {str(first)!r}, which counts")
    ]
    assert read.notes == ["without a receipt of 'hifigan listen serve', put there by hand or changed: 1 of 3 results"]


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
@pytest.mark.parametrize("serve", [True, False], ids=["received", "by hand"])
def test_different_answers_count_for_nobody_in_any_order(folder, order, serve):
    contents = [
        bytes_of("L1", 4),
        bytes_of("L1", 1, started="1970-01-01T00:00:00Z", finished="1971-01-01T00:00:00Z"),
        bytes_of("L2", 5),
    ]
    if serve:
        receive(folder, *(contents[index] for index in order))
    else:
        folder.mkdir()
        for name, index in zip("abc", order, strict=True):
            (folder / f"{name}.json").write_bytes(contents[index])
    read = read_all([folder], KEY.definition)
    assert ratings(read) == {"L2": 5}
    assert [(entry.name, entry.reason) for entry in read.contested] == [
        ("L1", "2 different results came under this code: none counts")
    ]
    assert len(read.rejected) == 2
    for entry, other in (read.rejected, read.rejected[::-1]):
        assert entry.reason.startswith(f"its answers and those of {other.name!r} differ, both under the code 'L1'")


def test_versions_under_one_code_are_bounded_and_the_experimenter_may_decide(folder, monkeypatch):
    honest, *forged = receive(folder, *(bytes_of("L1", rating) for rating in (3, 1, 2, 4)))
    keeper = Intake(folder, KEY.definition, lambda _: None)  # a server that was started again
    with pytest.raises(intake.EvaluationError, match="4 different results came under the code 'L1': no more are taken"):
        keeper.keep(bytes_of("L1", 5))
    assert keeper.keep(bytes_of("L1", 3, output="loudspeakers")) == honest
    assert len(list(folder.glob("*.json"))) == 4
    for path in forged:
        path.unlink()
    read = read_all([folder], KEY.definition)
    assert ratings(read) == {"L1": 3}
    assert read.notes == ["received by the server, and no longer there or changed: 3 results"]
    assert keeper.keep(bytes_of("L1", 5)).exists()


def test_results_of_all_are_bounded(folder, monkeypatch):
    monkeypatch.setattr(intake, "MAX_TOTAL_BYTES", len(bytes_of("L1")) + 10)
    keeper = Intake(folder, KEY.definition, lambda _: None)
    keeper.keep(bytes_of("L1"))
    with pytest.raises(intake.EvaluationError, match="no more are taken"):
        keeper.keep(bytes_of("L2"))
    with pytest.raises(intake.EvaluationError, match="no more are taken"):
        Intake(folder, KEY.definition, lambda _: None).keep(bytes_of("L2"))
    (folder / "large.json").write_bytes(b"x" * 10_000_000)
    read = read_all([folder], KEY.definition)
    assert ratings(read) == {"L1": 3}
    assert "is larger than" in read.rejected[0].reason
    monkeypatch.setattr(reading, "MAX_FILES", 1)
    with pytest.raises(DatasetError, match="there are more than 1 files"):
        read_all([folder], KEY.definition)


def test_a_receipt_holds_for_the_bytes_and_not_for_the_name(folder):
    (path,) = receive(folder, bytes_of("L1"))
    path.rename(folder / "renamed.json")
    assert read_all([folder], KEY.definition).notes == []
    (folder / "renamed.json").write_bytes(bytes_of("L1", 5))
    read = read_all([*folder.iterdir()], KEY.definition)  # as `answers/*` names them
    assert ratings(read) == {"L1": 5}
    assert read.rejected == []
    assert [note.rpartition(": ")[2] for note in read.notes] == ["1 of 1 results"]


def test_a_receipt_tells_when_the_result_was_there(folder):
    content = bytes_of("L1", finished="2026-01-02T03:24:05Z")
    receive(folder, content)
    (line,) = (folder / RECEIPTS_NAME).read_text().splitlines()
    (folder / RECEIPTS_NAME).write_text(json.dumps(json.loads(line) | {"received": "2026-01-02T03:00:00+00:00"}) + "\n")
    (entry,) = read_all([folder], KEY.definition).rejected
    assert "was there at 2026-01-02T03:00:00+00:00 already" in entry.reason


RECEIPT = Receipt("a.json", "0" * 64, "0123456789", "L1", "1" * 64, "2026-01-02T03:04:05+00:00")


def test_receipts_after_a_crash(tmp_path):
    add_receipt(tmp_path, RECEIPT)
    with (tmp_path / RECEIPTS_NAME).open("a") as file:
        file.write('{"file": "b.js')
    add_receipt(tmp_path, RECEIPT)
    found = read_receipts(tmp_path)
    assert list(found.receipts) == [RECEIPT] * 2
    assert found.problem.startswith("1 of 3 lines of")


@pytest.mark.parametrize(
    "line",
    [
        b"\xff", b"[]", b"null", b"[" * 100_000, b"9" * 5000, b'{"file": "a"}',
        json.dumps(asdict(RECEIPT) | {"received": "2026-01-02"}).encode(),
        json.dumps(asdict(RECEIPT) | {"received": 5}).encode(),
        json.dumps(asdict(RECEIPT) | {"more": 5}).encode(),
    ],
)  # fmt: skip
def test_lines_that_are_no_receipts(tmp_path, line):
    (tmp_path / RECEIPTS_NAME).write_bytes(line)
    found = read_receipts(tmp_path)
    assert list(found.receipts) == []
    assert "1 of 1 lines" in found.problem


def test_receipts_are_never_written_through_a_link(tmp_path):
    (tmp_path / "other").write_text("x")
    (tmp_path / RECEIPTS_NAME).symlink_to("other")
    with pytest.raises(OutputError, match="nothing is written through links"):
        add_receipt(tmp_path, RECEIPT)
    assert (tmp_path / "other").read_text() == "x"
    assert "tells no order: it cannot be read" in read_receipts(tmp_path).problem
    (tmp_path / RECEIPTS_NAME).unlink()
    (tmp_path / RECEIPTS_NAME).mkdir()
    with pytest.raises(OutputError):
        add_receipt(tmp_path, RECEIPT)
