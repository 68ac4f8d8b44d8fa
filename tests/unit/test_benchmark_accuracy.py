import pytest

from hifigan_rt.errors import DatasetError
from hifigan_rt.tools.benchmark.accuracy import read_accuracy


def test_the_text_is_taken_as_one_line(tmp_path):
    (tmp_path / "report.json").write_text('{"accuracy": "PESQ 4.21,\\n MCD 1.2 dB", "clips": []}')
    assert read_accuracy(tmp_path / "report.json") == "PESQ 4.21, MCD 1.2 dB"


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
