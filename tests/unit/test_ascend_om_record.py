"""The JSON beside an .om file."""

import dataclasses
import json

import pytest

from golden.tiny import TINY
from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.om_record import OmRecord, read_record, record_path, write_record
from hifigan_rt.system.files import file_sha256

CONTENT = b"an .om file"

RECORD = OmRecord(
    source="generator_v1", config=TINY, batch=2, mel_lengths=(250, 500), rank=3, input_name="mel_spec",
    soc_version="Ascend310P3", precision_mode="must_keep_origin_dtype", command="atc --x", caveat="",
    om_sha256="", onnx_sha256="0" * 64, onnx_snr_db=101.5, versions={"atc": "8.1.RC1"},
    created="2026-01-01T00:00:00+00:00",
)  # fmt: skip


@pytest.fixture
def om(tmp_path):
    path = tmp_path / "g_bs2.om"
    path.write_bytes(CONTENT)
    return path


def write(om, **changes):
    record = dataclasses.replace(RECORD, om_sha256=file_sha256(om))
    write_record(record, record_path(om))
    path = record_path(om)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return record


def test_comes_back_as_it_was(om):
    record = write(om)
    assert record_path(om).name == "g_bs2.json"
    assert read_record(om) == record


def test_open_lengths_are_a_word_in_the_file(om):
    record = dataclasses.replace(RECORD, om_sha256=file_sha256(om), mel_lengths=())
    write_record(record, record_path(om))
    assert json.loads(record_path(om).read_text())["mel_lengths"] == "dynamic"
    assert read_record(om) == record


def test_no_record_and_a_json_of_something_else(om):
    assert read_record(om) is None
    for text in (
        "[1]",
        "{}",
        '{"kind": "other"}',
        '{"model": {"name": "x"}}',
        '"' + "x" * (1 << 21) + '"',
    ):
        record_path(om).write_text(text)
        assert read_record(om) is None


def test_a_record_of_another_file(om):
    write(om)
    om.write_bytes(b"another")
    with pytest.raises(ModelFileError, match=r"is of another file than g_bs2\.om: their sha256 differ"):
        read_record(om)
    assert read_record(om, verify=False) is not None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"format": 2}, "is of format 2, this hifigan-rt reads 1"),
        ({"batch": True}, "batch=True"),
        ({"batch": 0}, "batch=0"),
        ({"rank": 5}, "rank=5"),
        ({"mel_lengths": []}, r"mel_lengths=\[\]"),
        ({"mel_lengths": [500, 250]}, r"mel_lengths=\[500, 250\]"),
        ({"mel_lengths": "any"}, "mel_lengths='any'"),
        ({"mel_lengths": ""}, "mel_lengths=''"),
        ({"mel_lengths": ["x"]}, r"mel_lengths=\['x'\]"),
        ({"config": {}}, "its config: upsample_initial_channel is missing"),
        ({"config": None}, "config=None"),
        ({"caveat": 1}, "caveat=1"),
    ],
)
def test_a_damaged_record(om, changes, text):
    write(om, **changes)
    with pytest.raises(ModelFileError, match=text):
        read_record(om)


def test_a_name_that_stands_twice(om):
    write(om)
    path = record_path(om)
    path.write_text('{"batch": 64, ' + path.read_text()[1:])
    with pytest.raises(ModelFileError, match="'batch' stands twice, as int 64 and as int"):
        read_record(om)


@pytest.mark.parametrize("text", ["", "{", "\xff", "[" * 100_000])
def test_no_json(om, text):
    record_path(om).write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelFileError, match="is not JSON"):
        read_record(om)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(OmRecord)])
def test_a_record_that_lacks_a_value(om, name):
    write(om)
    path = record_path(om)
    values = json.loads(path.read_text())
    del values[name]
    path.write_text(json.dumps(values))
    if name == "caveat":  # records of earlier versions have none
        assert read_record(om) is not None
        return
    with pytest.raises(ModelFileError, match=f"is damaged: {name}=None; convert again"):
        read_record(om)
