"""Damaged, truncated and lying .om files: an error that says what is wrong, within bounded memory and time."""

import json
import re
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import om_files
from effort import examples
from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.checkpoint import protobuf_wire
from hifigan_rt.formats.checkpoint.protobuf_wire import MAX_FIELDS
from hifigan_rt.formats.om_file import read_om
from memory_limits import peak_within

GOOD = {
    "wide": om_files.geared(inout=True),
    "narrow": om_files.geared(wide=False),
    "with a caveat": om_files.converted(caveat="made by hand"),
}


def refused(folder: Path, content: bytes) -> str:
    path = om_files.write(folder, content)
    with peak_within(4 * len(content) + (16 << 20), 20), pytest.raises(ModelFileError) as caught:
        read_om(path)
    text = str(caught.value)
    assert text.startswith(f"Ascend model {str(path)!r} ")
    return text


def patched(offset: int, layout: str, value: int, content: bytes = GOOD["wide"]) -> bytes:
    changed = bytearray(content)
    struct.pack_into(layout, changed, offset, value)
    return bytes(changed)


HUGE = (1 << 64) - 1

CASES = {
    "empty": (b"", r"is empty \(0 bytes\)"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
                             "is a git-LFS pointer, not the file itself: run 'git lfs pull'"),
    "a web page": (b"<!DOCTYPE html><html>", "is an HTML page: the download saved the web page"),
    "something else": (b"\x08\x07" + b"x" * 300, "starts with 08 07 .*, which no .om file does"),
    "only the magic": (b"IMOD", "is truncated: the header takes 256 bytes, the file has 4"),
    "another header size": (patched(4, "<I", 128), "claims a header of 128 bytes"),
    "encrypted": (om_files.container([(0, b"")], encrypted=1), "is encrypted"),
    "truncated": (GOOD["wide"][:-1], "is truncated: its header tells of"),
    "bytes behind the end": (GOOD["narrow"] + b"\0", "is damaged: its header tells of"),
    "length of nearly 2^64": (patched(184, "<Q", HUGE), "is truncated: its header tells of"),
    "too many sub-models": (patched(156, "<I", 0xFFFFFFFF), "claims 4294967295 sub-models"),
    "more sub-models than there are": (patched(156, "<I", 2), "is truncated: the table of partitions"),
    "too many partitions": (patched(256, "<I", 0xFFFFFFFF), "claims 4294967295 partitions"),
    "more partitions than bytes": (patched(256, "<I", 4000), "is truncated: the table of partitions"),
    "a partition of nearly 2^64": (patched(264 + 16, "<Q", HUGE), "is truncated: the partition 'inputs and outputs'"),
    "an offset of nearly 2^64": (patched(264 + 8, "<Q", HUGE), "is truncated: the partition 'inputs and outputs'"),
    "partitions one over another": (patched(264 + 24 + 8, "<Q", 0), "lies over the one before"),
    "no definition": (om_files.container([(om_files.WEIGHTS, b"w")]), "holds no model definition"),
    "an empty definition": (om_files.container([(om_files.MODEL_DEF, b"")]), "holds no model definition"),
    "a definition that is none": (om_files.container([(om_files.MODEL_DEF, b"\xff" * 50)]), "is damaged"),
    "a list of inputs cut short": (
        om_files.container([(om_files.INOUT_INFO, b"\0\0\0\0\xff\xff\xff\xff"), (om_files.MODEL_DEF, b"\n\0")]),
        "its list of inputs claims 4294967295 bytes where 0 are left",
    ),
    "a list of 2^32 gears": (
        om_files.container([(om_files.INOUT_INFO, struct.pack("<III", 4, 4, 0xFFFFFFFF))]), "claims 4294967295 gears",
    ),
    "a list of 2^32 inputs": (
        om_files.container([(om_files.INOUT_INFO, struct.pack("<III", 0, 4, 0xFFFFFFFF))]), "claims 4294967295 inputs",
    ),
    "a gear of many dimensions": (
        om_files.container([(om_files.INOUT_INFO, om_files.inout_info([], [], [range(1000)]))]),
        "lists 1000 dimensions",
    ),
    "a tensor of many dimensions": (
        om_files.container([(0, om_files.model_def({}, [om_files.op("x", "Data", outputs=[
            om_files.tensor("", 1, [1] * 100)])]))]), "more than 32",
    ),
    "very many inputs": (
        om_files.container([(0, om_files.model_def({}, [om_files.op("x", "Data")] * 300))]), "more than 256 inputs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused(tmp_path, case):
    content, text = CASES[case]
    assert re.search(text, refused(tmp_path, content))


def test_very_many_empty_fields(tmp_path, monkeypatch):
    """With a tenth of the limit, which takes 10 s; ONNX files, read by the same code, are tried with the whole."""
    most = MAX_FIELDS // 10
    monkeypatch.setattr(protobuf_wire, "MAX_FIELDS", most)
    content = om_files.container([(om_files.MODEL_DEF, om_files.message(7, b"\x0a\x00" * (most + 1)))])
    assert f"holds more than {most} fields" in refused(tmp_path, content)


def test_no_file_and_no_regular_file(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be read: No such file"):
        read_om(tmp_path / "none.om")
    with pytest.raises(ModelFileError, match="is a folder"):
        read_om(tmp_path)


@settings(max_examples=examples(300))
@given(
    which=st.sampled_from(sorted(GOOD)),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.one_of(st.none(), st.integers(0, 4000)),
)
def test_any_damage_is_read_or_refused(which, changes, cut):
    content = bytearray(GOOD[which])
    for position, value in changes:
        content[position % len(content)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = om_files.write(Path(folder), bytes(content[:cut]))
        try:
            info = read_om(path)
        except ModelFileError:
            return
        assert info.size_bytes == len(content[:cut])
        json.dumps([info.soc_version, info.atc_cmdline, info.caveat, [str(tensor) for tensor in info.inputs]])


@settings(max_examples=examples(100))
@given(content=st.binary(max_size=600), magic=st.sampled_from([b"", b"IMOD"]))
def test_random_bytes_are_refused(content, magic):
    with tempfile.TemporaryDirectory() as folder, pytest.raises(ModelFileError):
        read_om(om_files.write(Path(folder), magic + content))
