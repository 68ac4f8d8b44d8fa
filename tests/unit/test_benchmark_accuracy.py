import json

import pytest

from hifigan_rt.errors import DatasetError
from hifigan_rt.tools.benchmark.accuracy import Accuracy, read_accuracy


def test_the_text_is_taken_as_one_line(tmp_path):
    (tmp_path / "report.json").write_text('{"accuracy": "PESQ 4.21,\\n MCD 1.2 dB", "clips": []}')
    assert read_accuracy(tmp_path / "report.json") == Accuracy("PESQ 4.21, MCD 1.2 dB")


def test_whose_it_is(tmp_path):
    first = {"kind": "model", "model": "v1.pth", "engine": "native", "precision": "float32"}
    systems = [first, {"kind": "folder", "model": "other"}]
    (tmp_path / "report.json").write_text(json.dumps({"accuracy": "STOI 0.9", "systems": systems}))
    found = read_accuracy(tmp_path / "report.json")
    assert found == Accuracy("STOI 0.9", "native", "float32", "v1.pth")
    told = "accuracy: of model 'v1.pth'{} on native float32; other rows show their SNR"
    assert found.note("models/v1.pth") == told.format("")
    assert found.note("v2.pth") == told.format(", not of 'v2.pth'")
    (tmp_path / "report.json").write_text(json.dumps({"accuracy": "STOI 0.9", "systems": systems[1:]}))
    assert "of the audio of 'other', which does not tell what made it" in read_accuracy(tmp_path / "report.json").note(
        "v1"
    )


@pytest.mark.parametrize("content", ["{}", "[]", "5", '{"accuracy": 4.2}', '{"accuracy": " "}', '{"accuracy": null}'])
def test_another_json_is_refused(tmp_path, content):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(DatasetError, match=r'has no text under "accuracy".*or none to show the SNR'):
        read_accuracy(tmp_path / "report.json")


@pytest.mark.parametrize("content", [b"", b'{"accuracy": "4', b"\xff\xff", b"[" * 100_000])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(DatasetError, match="is no JSON"):
        read_accuracy(tmp_path / "report.json")


def test_a_missing_file(tmp_path):
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        read_accuracy(tmp_path / "report.json")
