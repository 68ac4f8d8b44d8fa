"""ONNX files that are damaged, lie about their size, or reach outside their folder: refused before any runtime."""

import os
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from effort import examples
from golden.tiny import TINY
from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.checkpoint import protobuf_wire
from hifigan_rt.formats.checkpoint.protobuf_wire import MAX_FIELDS
from hifigan_rt.formats.onnx_reading import inspect_onnx
from hostile.onnx_files import GOOD, PLACES, refused, with_tensor, write
from memory_limits import peak_within

# --- not an ONNX file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "is an HTML page"),
        (b"\n  <HTML>Sign in</HTML>", "is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a git-LFS pointer"),
        (b"PK\x03\x04" + bytes(100), "is a zip archive, as torch.save writes them"),
        (b"\x10\0\0\0ORTM" + bytes(100), r"is in ONNX Runtime's own format \(\.ort\)"),
        (b"\x08\x08", "is no ONNX model: it holds no graph with an output"),
        (b'{"model": 1}', "is no ONNX model: read as one, it is"),
        (b"\x80\x02}q\x00.", "is no ONNX model: read as one, it is"),
        (
            bytes(64),
            "is no ONNX model: read as one, it is damaged: at byte 1 stands what no protobuf field starts with",
        ),
        (b"\xff" * 64, "is no ONNX model: read as one, it is damaged: a number at byte 10 is longer than 64 bits"),
    ],
)
def test_other_files(tmp_path, content, text):
    assert re.match(text, refused(write(tmp_path, content)))


def test_a_folder_a_missing_file_and_a_pipe(tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.onnx")
    assert "No such file" in refused(tmp_path / "missing.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "is no regular file" in refused(tmp_path / "pipe.onnx")


def test_every_truncation_is_refused(tmp_path):
    """Cut inside the graph, the file is refused; the metadata behind the graph may be cut between two entries."""
    info = inspect_onnx(write(tmp_path, GOOD))
    assert info.config is not None
    for length in range(0, len(GOOD), 97):
        path = write(tmp_path, GOOD[:length])
        try:
            shorter = inspect_onnx(path)
        except ModelFileError:
            continue
        assert len(shorter.metadata) < len(info.metadata)


def test_a_truncated_file_is_called_truncated(tmp_path):
    assert "is truncated" in refused(write(tmp_path, GOOD[: len(GOOD) // 2]))


def test_a_file_beyond_2_gib_is_refused_without_reading_it(tmp_path):
    path = write(tmp_path, GOOD)
    os.truncate(path, 1 << 31)  # sparse: takes no room on the disk
    assert "no ONNX file is larger than 2147483647" in refused(path)


# --- sizes that are claimed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", PLACES)
@pytest.mark.parametrize(
    ("dims", "data"),
    [
        ([1 << 20, 1 << 20], {"raw_data": bytes(16)}),
        ([1 << 62, 1 << 62, 1 << 62], {"raw_data": bytes(16)}),
        ([5], {"raw_data": bytes(19)}),
        ([1 << 40], {"float_data": [1.0, 2.0]}),
        ([1 << 40], {}),
    ],
)
def test_a_tensor_that_claims_more_than_it_brings(tmp_path, inside, dims, data):
    tensor = TensorProto(name="evil", data_type=TensorProto.FLOAT, dims=dims, **data)
    assert "tensor 'evil' claims" in refused(write(tmp_path, with_tensor(tensor, inside=inside)))


def test_a_negative_dimension(tmp_path):
    tensor = TensorProto(name="evil", data_type=TensorProto.FLOAT, dims=[-1, -4], raw_data=bytes(16))
    assert "tensor 'evil' has a negative dimension: [-1, -4]" in refused(write(tmp_path, with_tensor(tensor)))


@pytest.mark.parametrize(("dtype", "field", "values"), [
    ("FLOAT16", "int32_data", [1] * 6), ("INT64", "int64_data", [1, -1, 1 << 60, 0, 0, 0]),
    ("DOUBLE", "double_data", [0.5] * 6), ("BOOL", "int32_data", [1] * 6), ("UINT64", "uint64_data", [1] * 6),
    ("INT4", "int32_data", [1] * 3),
])  # fmt: skip
def test_honest_tensors_of_every_encoding_pass(tmp_path, dtype, field, values):
    tensor = TensorProto(name="fine", data_type=TensorProto.DataType.Value(dtype), dims=[2, 3], **{field: values})
    assert inspect_onnx(write(tmp_path, with_tensor(tensor))).num_mels == 10


def test_sparse_weights_are_refused(tmp_path):
    model = onnx.load_from_string(GOOD)
    sparse = model.graph.sparse_initializer.add()
    sparse.dims.extend([1 << 30, 1 << 30])
    assert "holds sparse weights" in refused(write(tmp_path, model.SerializeToString()))


def test_lengths_beyond_their_holder_are_refused(tmp_path):
    inner = b"\x0a\x7f"  # a node of 127 bytes in a graph of two
    assert "is longer than what holds it" in refused(write(tmp_path, b"\x3a\x02" + inner + b"\x40\x01"))
    endless = b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"  # a graph of 2 ** 63 bytes
    assert "is truncated" in refused(write(tmp_path, b"\x08\x08" + endless))


def test_graphs_nested_without_end(tmp_path):
    content = b""
    for _ in range(2000):  # graph > node > attribute > graph
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            content = tag + _varint(len(content)) + content
    assert "nests graphs deeper than 16" in refused(write(tmp_path, b"\x3a" + _varint(len(content)) + content))


@pytest.mark.parametrize("tag", [b"\x0a", b"\x2a", b"\x62"])
def test_millions_of_empty_messages_are_refused(tmp_path, tag):
    path = write(tmp_path, b"\x3a" + _varint(4_000_000) + (tag + b"\0") * 2_000_000)
    text = refused(path)
    assert f"holds more than {MAX_FIELDS} fields" in text or "more than 4096 inputs" in text


@pytest.mark.parametrize("tag", [b"\x0a", b"\x2a", b"\x62"])
def test_very_many_empty_messages_cost_little(tmp_path, monkeypatch, tag):
    """Each takes two bytes in the file; a parser would build an object of a hundred for it.

    With a tenth of the limit: it takes ten times as long while each allocation is noted.
    """
    most = MAX_FIELDS // 10
    monkeypatch.setattr(protobuf_wire, "MAX_FIELDS", most)
    path = write(tmp_path, b"\x3a" + _varint(400_000) + (tag + b"\0") * 200_000)
    with peak_within((64 << 20) // 10):
        text = refused(path)
    assert f"holds more than {most} fields" in text or "more than 4096 inputs" in text


def test_metadata_without_end(tmp_path):
    model = onnx.load_from_string(GOOD)
    helper.set_model_props(model, {f"key {i}": "x" * 1_000_000 for i in range(9)})
    assert "holds more than 8388608 bytes of metadata" in refused(write(tmp_path, model.SerializeToString()))
    helper.set_model_props(model, {"key": "x" * (1 << 20 | 1)})
    assert "holds a string of 1048577 bytes" in refused(write(tmp_path, model.SerializeToString()))


def test_memory_does_not_follow_the_weights(tmp_path):
    model = onnx.load_from_string(GOOD)
    model.graph.initializer.append(
        TensorProto(name="large", data_type=TensorProto.FLOAT, dims=[25 << 20], raw_data=bytes(100 << 20))
    )
    path = write(tmp_path, model.SerializeToString())
    with peak_within(1 << 20):
        inspect_onnx(path)


# --- metadata ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"upsample_rates": 1}', "null", '{"resblock": "3"}'])
def test_our_own_damaged_config_is_named_and_a_foreign_one_passed_over(tmp_path, text):
    model = onnx.load_from_string(GOOD)
    helper.set_model_props(model, {"config": text})
    assert "the metadata entry 'config' is damaged" in refused(write(tmp_path, model.SerializeToString()))
    model.producer_name = "pytorch"
    info = inspect_onnx(write(tmp_path, model.SerializeToString()))
    assert (info.config, info.num_mels) == (None, 10)


def test_metadata_that_contradict_the_input(tmp_path):
    model = onnx.load_from_string(GOOD)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 12
    text = refused(write(tmp_path, model.SerializeToString()))
    assert text.startswith("its metadata say num_mels=10, which its inputs do not take (mel_spec float32 [?, 12, ?])")


# --- fuzzing -------------------------------------------------------------------------------------------------------

FUZZ = settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(content=st.binary(max_size=300))
def test_random_bytes(tmp_path, content):
    refused(write(tmp_path, content))


@FUZZ
@given(
    position=st.integers(0, len(GOOD) - 1),
    patch=st.binary(min_size=1, max_size=12),
    insert=st.booleans(),
)
def test_a_good_file_with_changed_bytes_is_read_or_refused(tmp_path, position, patch, insert):
    content = GOOD[:position] + patch + GOOD[position if insert else position + len(patch) :]
    try:
        inspect_onnx(write(tmp_path, content))
    except ModelFileError:
        return


PEAK = """
import resource, sys
from pathlib import Path
from hifigan_rt.formats.onnx_reading import inspect_onnx
from hifigan_rt.errors import ModelFileError
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    inspect_onnx(Path(sys.argv[1]))
except ModelFileError as error:
    print(error)
"""


def test_claims_are_refused_with_little_address_space_and_without_onnx(tmp_path):
    """In a process that may take 1 GB: a claim of 4 TB that was believed would end it."""
    tensor = TensorProto(name="evil", data_type=TensorProto.FLOAT, dims=[1 << 40], raw_data=bytes(4))
    path = write(tmp_path, with_tensor(tensor))
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    assert "tensor 'evil' claims 1099511627776 values" in done.stdout


def test_a_good_file_is_described_in_full(tmp_path):
    info = inspect_onnx(write(tmp_path, GOOD))
    assert (info.num_mels, info.precision) == (10, "float32")
    assert info.config == TINY
    assert info.mel_layouts[0] == ("B", "M", "T")
    assert [str(value) for value in (*info.inputs, *info.outputs)] == [
        "mel_spec float32 [?, 10, ?]",
        "wavs float32 [?, ?]",
    ]
    assert info.is_ours
    assert info.size_bytes == len(GOOD)
    assert np.isfinite(info.config.mel.effective_fmax)


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
