"""The decoder of tensors: what fits is taken exactly, whatever lies is refused with a reason, nothing else happens."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hifigan_rt.tools.serving.errors import BadRequest, PayloadTooLarge, ServingError
from hifigan_rt.tools.serving.open_inference_tensors import (
    TensorRequest,
    TensorSpec,
    check_json_output,
    decode_request_steps,
    encode_response_steps,
)
from memory_limits import peak_within

T = TypeVar("T")
SPECS = (TensorSpec("mel", "FP32", 3, "[B, M, T]"), TensorSpec("lengths", "INT64", 1, "[B]", optional=True))
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
MEL = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def finished(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def decode(body: bytes, header_length: str | None = None, max_json_bytes: int = 1 << 20) -> TensorRequest:
    return finished(decode_request_steps(body, header_length, SPECS, "audio", max_json_bytes=max_json_bytes))


def raw_input(name: str = "mel", array: np.ndarray = MEL, **changes: object) -> dict[str, object]:
    datatype = "FP32" if array.dtype == np.float32 else "INT64"
    size = {"binary_data_size": array.nbytes}
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "parameters": size} | changes


def body_of(request: dict[str, object], *raw: np.ndarray) -> tuple[bytes, str | None]:
    text = json.dumps(request).encode()
    return text + b"".join(array.tobytes() for array in raw), str(len(text)) if raw else None


@given(
    hnp.arrays(np.dtype("<f4"), hnp.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.floats(width=32)),
    st.booleans(),
)
def test_raw_tensors_are_taken_bit_for_bit(mel, with_lengths):
    lengths = np.arange(len(mel), dtype=np.int64) - (1 << 62)
    inputs, raw = [raw_input(array=mel)], [mel]
    if with_lengths:
        inputs.insert(0, raw_input("lengths", lengths))
        raw.insert(0, lengths)
    request = decode(*body_of({"inputs": inputs}, *raw))
    assert request.tensors["mel"].tobytes() == mel.tobytes()
    assert request.tensors["mel"].shape == mel.shape
    if with_lengths:
        np.testing.assert_array_equal(request.tensors["lengths"], lengths)
    else:
        assert set(request.tensors) == {"mel"}


@given(
    hnp.arrays(
        np.dtype("<f4"),
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements=FINITE,
    ),
    st.booleans(),
)
def test_json_tensors_are_taken_flat_and_nested(mel, flat):
    data = (mel.ravel() if flat else mel).tolist()
    tensor = {"name": "mel", "datatype": "FP32", "shape": list(mel.shape), "data": data}
    got = decode(*body_of({"inputs": [tensor]})).tensors["mel"]
    np.testing.assert_array_equal(got.astype(np.float32), mel)


def test_what_triton_and_kserve_add_is_let_pass():
    request = {
        "id": None,
        "model_name": "tiny",
        "parameters": {"priority": 1, "timeout": 5, "sequence_id": 7, "binary_data_output": True},
        "inputs": [raw_input()],
        "outputs": None,
    }
    decoded = decode(*body_of(request, MEL))
    assert decoded.id is None
    assert decoded.binary


@pytest.mark.parametrize(
    ("outputs", "parameters", "binary"),
    [
        (None, {}, False),
        ([], {"binary_data_output": True}, True),
        ([{"name": "audio"}], {"binary_data_output": True}, True),
        ([{"name": "audio", "parameters": {"binary_data": False}}], {"binary_data_output": True}, False),
        ([{"name": "audio", "parameters": {"binary_data": True, "classification": 0}}], {}, True),
    ],
)
def test_outputs_are_given_as_asked_for(outputs, parameters, binary):
    request = {"inputs": [raw_input()], "parameters": parameters}
    if outputs is not None:
        request["outputs"] = outputs
    assert decode(*body_of(request, MEL)).binary is binary


NUMBERS = {"name": "mel", "datatype": "FP32", "shape": [1, 1, 2]}
LIES = {
    "size below the shape": ([raw_input(parameters={"binary_data_size": 92})], MEL, "takes 96 bytes"),
    "size above the shape": ([raw_input(parameters={"binary_data_size": 100})], MEL, "takes 96 bytes"),
    "size negative": ([raw_input(parameters={"binary_data_size": -96})], MEL, "number of bytes"),
    "size no number": ([raw_input(parameters={"binary_data_size": "96"})], MEL, "number of bytes"),
    "size true": ([raw_input(shape=[1, 1, 1], parameters={"binary_data_size": True})], MEL, "number of bytes"),
    "size float": ([raw_input(parameters={"binary_data_size": 96.0})], MEL, "number of bytes"),
    "shape beyond the body": (
        [raw_input(shape=[2, 3, 5], parameters={"binary_data_size": 120})], MEL, "96 bytes are left",
    ),
    "shape of petabytes": (
        [raw_input(shape=[1 << 40, 1 << 40, 1 << 40], parameters={"binary_data_size": 1 << 122})], MEL, "are left",
    ),
    "shape that overflows to the right size": (
        [raw_input(shape=[1 << 32, 1 << 32, 24], parameters={"binary_data_size": 96})], MEL, "takes",
    ),
    "shape negative twice": ([raw_input(shape=[-2, -3, 4])], MEL, "above 0"),
    "shape of nothing": ([raw_input(shape=[0, 3, 4], parameters={"binary_data_size": 0})], MEL, "above 0"),
    "shape absurd": ([raw_input(shape=[0, 1 << 60, 4], parameters={"binary_data_size": 0})], MEL, "above 0"),
    "shape of other rank": ([raw_input(shape=[6, 4])], MEL, r"\[B, M, T\]"),
    "shape of a thousand axes": ([raw_input(shape=[1] * 1000)], MEL, "list of integers"),
    "shape of booleans": ([raw_input(shape=[True, True, True])], MEL, "list of integers"),
    "shape of floats": ([raw_input(shape=[2.0, 3.0, 4.0])], MEL, "list of integers"),
    "shape missing": ([raw_input(shape=None)], MEL, "missing"),
    "datatype FP64": ([raw_input(datatype="FP64")], MEL, "takes FP32"),
    "datatype FP16": ([raw_input(datatype="FP16")], MEL, "takes FP32"),
    "datatype no text": ([raw_input(datatype=["FP32"])], MEL, "takes FP32"),
    "bytes left over": ([raw_input()], np.zeros(25, np.float32), "4 bytes of the body belong to no input"),
    "two that overlap": ([raw_input(), raw_input("lengths", np.zeros(12, np.int64))], MEL, "0 bytes are left"),
    "one twice": ([raw_input(), raw_input()], np.zeros(48, np.float32), "twice"),
    "data and bytes": ([raw_input(data=MEL.tolist())], MEL, "both"),
    "neither": ([raw_input(parameters={})], MEL, "neither"),
    "shared memory": ([raw_input(parameters={"shared_memory_region": "r"})], MEL, "not offered"),
    "unknown name": ([raw_input("mel\ud800\n" + "x" * 1000)], MEL, "not known"),
    "name missing": ([raw_input(None)], MEL, "missing is not known"),
    "mel missing": ([raw_input("lengths", np.zeros(2, np.int64))], np.zeros(2, np.int64), "'mel' is missing"),
    "inputs no list": ({"mel": raw_input()}, MEL, "must be a JSON list"),
    "input no object": ([7], MEL, "must be a JSON object"),
    "parameters no object": ([raw_input(parameters=[96])], MEL, "must be a JSON object"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_lies_about_raw_tensors_are_refused(lie):
    inputs, raw, reason = LIES[lie]
    with pytest.raises(BadRequest, match=reason):
        decode(*body_of({"inputs": inputs}, raw))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": [1.0]}, "1 values, and its shape"),
        ({"data": [1.0, 2.0, 3.0]}, "3 values, and its shape"),
        ({"data": [1.0, "2.0"]}, "no FP32"),
        ({"data": [1.0, None]}, "no FP32"),
        ({"data": [1.0, True]}, "no FP32"),
        ({"data": [1.0, [2.0]]}, "no FP32"),
        ({"data": [[1.0, 2.0]]}, "not nested"),
        ({"data": [[[1.0], [2.0]]]}, "not nested"),
        ({"data": [[[1.0, [2.0]]]]}, "no FP32"),
        ({"data": [[[[1.0, 2.0]]]]}, "not nested"),
        ({"data": "AAAA"}, "JSON list"),
        ({"data": 1}, "JSON list"),
        ({"data": [10**400, 0]}, "beyond FP32"),
        ({"name": "lengths", "datatype": "INT64", "shape": [1], "data": [1 << 63]}, "beyond INT64"),
        ({"name": "lengths", "datatype": "INT64", "shape": [1], "data": [1.0]}, "no INT64"),
        ({"name": "lengths", "datatype": "INT64", "shape": [1], "data": [True]}, "no INT64"),
    ],
)
def test_lies_about_json_tensors_are_refused(changes, reason):
    with pytest.raises(BadRequest, match=reason):
        decode(*body_of({"inputs": [NUMBERS | changes]}))


@pytest.mark.parametrize(
    ("header_length", "reason"),
    [
        ("-1", "no number"), ("+5", "no number"), (" 5", "no number"), ("1e1", "no number"), ("", "no number"),
        ("٥", "no number"), ("9" * 5000, "no number"), ("0x10", "no number"), ("5_0", "no number"),
        ("100000", "and the body has"), ("0", "is no JSON"), ("5", "is no JSON"),
    ],
)  # fmt: skip
def test_lies_about_the_length_of_the_json_are_refused(header_length, reason):
    body, _ = body_of({"inputs": [raw_input()]}, MEL)
    with pytest.raises(BadRequest, match=reason):
        decode(body, header_length)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"null", b"[]", b"7", b'"x"', b"{", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"{}garbage", b"[" * 200_000,
        b'{"a":' * 100_000, b'{"inputs": [' + b"1" * 5000 + b"]}", b'{"inputs": NaN}', b'{"inputs": -Infinity}',
        b'{"id": 7, "inputs": []}', b'{"id": "' + b"x" * 300 + b'", "inputs": []}', b'{"parameters": 3, "inputs": []}',
        b'{"parameters": {"binary_data_output": 1}, "inputs": []}',
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(text):
    with pytest.raises(BadRequest) as caught:
        decode(text)
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "output",
    [
        7, {"name": "other"}, {}, {"name": "audio", "parameters": {"binary_data": 1}},
        {"name": "audio", "parameters": {"classification": 3}},
        {"name": "audio", "parameters": {"shared_memory_region": "r"}},
    ],
)  # fmt: skip
def test_outputs_that_are_not_there_are_refused(output):
    with pytest.raises(BadRequest):
        decode(*body_of({"inputs": [raw_input()], "outputs": [output]}, MEL))
    with pytest.raises(BadRequest, match="twice"):
        decode(*body_of({"inputs": [raw_input()], "outputs": [{"name": "audio"}, {"name": "audio"}]}, MEL))


def test_long_json_is_refused_before_it_is_parsed():
    body, _ = body_of({"inputs": [NUMBERS | {"data": [0.0] * 1000}]})
    with pytest.raises(PayloadTooLarge, match="raw bytes"):
        decode(body, max_json_bytes=1000)
    with pytest.raises(PayloadTooLarge, match="raw bytes"):
        check_json_output(44, 1000)
    check_json_output(41, 1000)


def test_lies_allocate_nothing():
    inputs = [raw_input(shape=[1 << 20, 1 << 20, 4], parameters={"binary_data_size": 1 << 44})]
    body, header_length = body_of({"inputs": inputs}, MEL)
    with peak_within(1 << 20), pytest.raises(BadRequest):
        decode(body, header_length)


def test_any_mutation_is_taken_or_refused():
    """Bytes flipped, cut, doubled and spliced: a request comes out that holds together, or a ServingError."""
    rng = np.random.default_rng(5)
    lengths = np.array([4, 2])
    seeds = [
        body_of({"id": "7", "inputs": [raw_input(), raw_input("lengths", lengths)]}, MEL, lengths),
        body_of({"inputs": [NUMBERS | {"data": [1.5, -2e-3]}], "outputs": [{"name": "audio"}]}),
    ]
    taken, refusals = 0, []
    for _ in range(20_000):
        body, header_length = seeds[rng.integers(len(seeds))]
        content = bytearray(body)
        for _ in range(rng.integers(1, 4)):
            at, size = int(rng.integers(len(content) + 1)), int(rng.integers(1, 9))
            kind = rng.integers(4)
            if kind == 0:
                content[at : at + 1] = bytes([rng.integers(256)])
            elif kind == 1:
                del content[at : at + size]
            elif kind == 2:
                content[at:at] = content[at : at + size]
            else:
                content[at : at + 1] = rng.choice([b'"', b"-", b"[", b"]", b"{", b"0", b"9", b",", b"e", b"true"])
        if header_length is not None and rng.random() < 0.3:
            header_length = str(int(header_length) + int(rng.integers(-3, 4)))
        try:
            request = decode(bytes(content), header_length)
        except ServingError as error:
            refusals.append(error.message)
            continue
        taken += 1
        assert request.tensors["mel"].ndim == 3
        assert isinstance(request.binary, bool)
    assert taken > 100, "mutations that are all refused prove little"
    assert max(len(message.encode()) for message in refusals) < 400


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 9)), elements=FINITE), st.booleans())
def test_answers_hold_the_values_exactly(values, binary):
    request = TensorRequest("an id", {}, binary)
    answer = finished(encode_response_steps("tiny", "1", request, "audio", values))
    text = b"".join(answer.parts)[: answer.header_length]
    content = json.loads(text)
    assert {key: content[key] for key in ("model_name", "model_version", "id")} == {
        "model_name": "tiny", "model_version": "1", "id": "an id",
    }  # fmt: skip
    (output,) = content["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("audio", "FP32", list(values.shape))
    if binary:
        raw = b"".join(answer.parts)[answer.header_length :]
        assert output["parameters"]["binary_data_size"] == len(raw)
        assert raw == values.astype("<f4").tobytes()
    else:
        assert answer.header_length is None
        assert np.array(output["data"]).astype(np.float32).tobytes() == values.tobytes()
        assert len(text) <= 24 * values.size + 300
