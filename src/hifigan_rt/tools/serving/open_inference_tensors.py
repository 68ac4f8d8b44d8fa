"""Bodies of the Open Inference Protocol: JSON with tensors in it, or JSON with raw tensors behind it.

Nothing that a body says of itself is believed: shapes, sizes and lengths must fit each other exactly before anything
is allocated for them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from hifigan_rt.tools.serving.errors import BadRequest, PayloadTooLarge
from hifigan_rt.tools.serving.json_pieces import Steps, number_list_steps, parse_json_steps
from hifigan_rt.tools.serving.json_values import shown

T = TypeVar("T")

_DTYPES: Mapping[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8")}
_KINDS: Mapping[type, str] = {dict: "a JSON object", list: "a JSON list", bool: "true or false"}
_MAX_RANK = 8
_MAX_ID_CHARACTERS = 256
JSON_BYTES_PER_SAMPLE = 24
"""Most bytes of a float32 as Python writes it, with what separates it from the next."""


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that a request may hold."""

    name: str
    datatype: str
    rank: int
    meaning: str
    optional: bool = False


@dataclass(frozen=True)
class TensorRequest:
    """An inference request, decoded."""

    id: str | None
    """Id that the response repeats."""
    tensors: Mapping[str, np.ndarray]
    """Tensors by the name of their spec. Those that came as JSON are float64 or int64: the caller, who knows what they
    mean, checks whether the values fit into the spec's datatype."""
    binary: bool
    """Whether the output is sent as raw bytes."""


def decode_request_steps(
    body: bytes | bytearray,
    header_length: str | None,
    inputs: Sequence[TensorSpec],
    output: str,
    *,
    max_json_bytes: int,
) -> Steps[TensorRequest]:
    """Decode the body of an inference request, in pieces.

    Args:
        body: uncompressed.
        header_length: the header Inference-Header-Content-Length, as it came; None if all of the body is JSON.
        inputs: the tensors that the model takes.
        output: the name of the tensor that the model gives.
        max_json_bytes: of the JSON part.

    Raises:
        BadRequest: the body is not what the protocol lays down, or not what the model takes.
        PayloadTooLarge: the JSON is too long.
    """
    json_bytes = json_length(header_length, len(body))
    if json_bytes > max_json_bytes:
        raise PayloadTooLarge(
            f"the JSON has {json_bytes} bytes, and at most {max_json_bytes} are let in: send tensors as raw bytes "
            "(binary_data_size)"
        )
    text = body if json_bytes == len(body) else body[:json_bytes]
    request = _typed(dict, (yield from parse_json_steps(text, "the request")), "the request")
    parameters = _typed(dict, request.get("parameters") or {}, "parameters")
    tensors = _tensors(request.get("inputs"), memoryview(body)[json_bytes:], {spec.name: spec for spec in inputs})
    for spec in inputs:
        if spec.name not in tensors and not spec.optional:
            raise BadRequest(f"the input {spec.name!r} is missing: {spec.datatype} {spec.meaning}")
    binary = _typed(bool, parameters.get("binary_data_output", False), "binary_data_output")
    return TensorRequest(_id(request.get("id")), tensors, _is_binary(request.get("outputs"), output, binary))


@dataclass(frozen=True)
class TensorResponse:
    """An encoded inference response."""

    parts: tuple[bytes | memoryview, ...]
    """Parts of the body."""
    header_length: int | None
    """Length of the JSON in bytes if raw bytes follow it, for the header Inference-Header-Content-Length."""


def check_json_output(samples: int, max_json_bytes: int) -> None:
    """Check that so many float32 values are few enough to be written out as JSON.

    Raises:
        PayloadTooLarge: they are not.
    """
    most = max_json_bytes // JSON_BYTES_PER_SAMPLE
    if samples > most:
        raise PayloadTooLarge(
            f"the audio has {samples} samples, and at most {most} are written as JSON: ask for raw bytes "
            "(binary_data_output, or binary_data of the output)"
        )


def encode_response_steps(
    model: str, version: str, request: TensorRequest, name: str, values: np.ndarray
) -> Steps[TensorResponse]:
    """Encode the answer to a request, in pieces.

    Args:
        model: its name.
        version: of the model.
        request: what is answered.
        name: of the output.
        values: float32, finite, C-contiguous.
    """
    answer: dict[str, object] = {"model_name": model, "model_version": version}
    if request.id is not None:
        answer["id"] = request.id
    described: dict[str, object] = {"name": name, "datatype": "FP32", "shape": list(values.shape)}
    answer["outputs"] = [described]
    if request.binary:
        raw = np.ascontiguousarray(values, "<f4").data.cast("B")
        described["parameters"] = {"binary_data_size": raw.nbytes}
        text = _json(answer)
        return TensorResponse((text, raw), len(text))
    numbers = yield from number_list_steps(values.ravel())
    # Behind the numbers come the brackets and braces that end the output, the list of outputs, and the answer.
    return TensorResponse((_json(answer)[: -len("}]}")] + b',"data":', *numbers, b"}]}"), None)


def _json(value: object) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def json_length(header_length: str | None, body_bytes: int) -> int:
    """Read how many bytes of a body are JSON; all of them without the header.

    Raises:
        BadRequest: the header is no number of bytes that the body has.
    """
    if header_length is None:
        return body_bytes
    # int() would also take "+5", " 5", "5_0" and digits of other scripts.
    if not (header_length.isascii() and header_length.isdigit()) or len(header_length) > 18:
        raise BadRequest(f"Inference-Header-Content-Length {header_length[:40]!r} is no number of bytes")
    length = int(header_length)
    if length > body_bytes:
        raise BadRequest(f"Inference-Header-Content-Length is {length}, and the body has {body_bytes} bytes")
    return length


def _tensors(value: object, raw: memoryview, specs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}
    start = 0
    for entry in _typed(list, value, "inputs"):
        tensor = _typed(dict, entry, "an input")
        spec = _spec(tensor, specs)
        if spec.name in tensors:
            raise BadRequest(f"the input {spec.name!r} is given twice")
        shape = _shape(tensor.get("shape"), spec)
        size = _binary_size(tensor, spec)
        if size is None:
            tensors[spec.name] = _from_json(tensor.get("data"), shape, spec)
            continue
        dtype = _DTYPES[spec.datatype]
        if size != math.prod(shape) * dtype.itemsize:
            raise BadRequest(
                f"the input {spec.name!r} has binary_data_size={size}, and shape {list(shape)} of {spec.datatype} "
                f"takes {math.prod(shape) * dtype.itemsize} bytes"
            )
        if size > len(raw) - start:
            raise BadRequest(
                f"the input {spec.name!r} has binary_data_size={size}, and {len(raw) - start} bytes are left in the "
                "body: check Inference-Header-Content-Length, the length of the JSON"
            )
        tensors[spec.name] = np.frombuffer(raw[start : start + size], dtype).reshape(shape)
        start += size
    if start != len(raw):
        raise BadRequest(
            f"{len(raw) - start} bytes of the body belong to no input: their binary_data_size must add up to "
            f"{len(raw)}, which is what follows the JSON"
        )
    return tensors


def _spec(tensor: Mapping[str, object], specs: Mapping[str, TensorSpec]) -> TensorSpec:
    name = tensor.get("name")
    if not isinstance(name, str) or name not in specs:
        raise BadRequest(f"the input {shown(name)} is not known: the model takes {', '.join(specs)}")
    spec = specs[name]
    if tensor.get("datatype") != spec.datatype:
        raise BadRequest(
            f"the input {name!r} is of datatype {shown(tensor.get('datatype'))}, and the model takes {spec.datatype}"
        )
    return spec


def _shape(value: object, spec: TensorSpec) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > _MAX_RANK or not all(type(size) is int for size in value):
        raise BadRequest(f"the input {spec.name!r} has shape {shown(value)}: a short list of integers is needed")
    if any(not 0 < size < 1 << 48 for size in value):
        raise BadRequest(f"the input {spec.name!r} has shape {shown(value)}: every size must be above 0, and sane")
    if len(value) != spec.rank:
        raise BadRequest(f"the input {spec.name!r} has shape {value}, and {spec.meaning} is needed")
    return tuple(value)


def _binary_size(tensor: Mapping[str, object], spec: TensorSpec) -> int | None:
    parameters = _typed(dict, tensor.get("parameters") or {}, f"parameters of the input {spec.name!r}")
    _refuse_shared_memory(parameters)
    if "binary_data_size" not in parameters:
        if "data" not in tensor:
            raise BadRequest(f"the input {spec.name!r} has neither data nor binary_data_size")
        return None
    if "data" in tensor:
        raise BadRequest(f"the input {spec.name!r} has both data and binary_data_size: one of them is needed")
    size = parameters["binary_data_size"]
    if type(size) is not int or size < 0:
        raise BadRequest(f"the input {spec.name!r} has binary_data_size={shown(size)}: a number of bytes is needed")
    return size


def _from_json(value: object, shape: tuple[int, ...], spec: TensorSpec) -> np.ndarray:
    """Read values that may be nested as the shape is, or flat in row-major order."""
    what = f"data of the input {spec.name!r}"
    if isinstance(value, np.ndarray):
        return _from_array(value, shape, spec, what)
    values = _typed(list, value, what)
    if values and type(values[0]) is list:
        values = _flattened(values, shape, what)
    count = math.prod(shape)
    if len(values) != count:
        raise BadRequest(f"{what} has {len(values)} values, and its shape {list(shape)} takes {count}")
    # By type, because True is an integer to Python, and NumPy would even convert "1.0".
    whole = spec.datatype == "INT64"
    if not set(map(type, values)) <= ({int} if whole else {int, float}):
        raise BadRequest(f"{what} holds something that is no {spec.datatype}")
    try:
        return np.array(values, np.int64 if whole else np.float64).reshape(shape)
    except OverflowError as error:
        raise BadRequest(f"{what} holds a number that is beyond {spec.datatype}") from error


def _from_array(values: np.ndarray, shape: tuple[int, ...], spec: TensorSpec, what: str) -> np.ndarray:
    """Take numbers that came as an array, because they are many."""
    if values.ndim > 1 and values.shape != shape:
        raise BadRequest(f"{what} is not nested as its shape {list(shape)} tells")
    if values.size != math.prod(shape):
        raise BadRequest(f"{what} has {values.size} values, and its shape {list(shape)} takes {math.prod(shape)}")
    if spec.datatype == "INT64":
        raise BadRequest(f"{what} is longer than any list of {spec.datatype} that the model takes")
    return values.reshape(shape)


def _flattened(values: list[object], shape: tuple[int, ...], what: str) -> list[object]:
    for axis, size in enumerate(shape[1:]):
        rows = [row for row in values if type(row) is list and len(row) == size]
        if len(values) != math.prod(shape[: axis + 1]) or len(rows) != len(values):
            raise BadRequest(f"{what} is not nested as its shape {list(shape)} tells")
        values = list(chain.from_iterable(rows))
    return values


def _is_binary(value: object, output: str, binary: bool) -> bool:
    """Read whether the one output is asked for as raw bytes, where the request as a whole says it."""
    for index, entry in enumerate(_typed(list, [] if value is None else value, "outputs")):
        described = _typed(dict, entry, "an output")
        name = described.get("name")
        if name != output:
            raise BadRequest(f"the output {shown(name)} is not known: the model gives {output}")
        if index:
            raise BadRequest(f"the output {name!r} is asked for twice")
        parameters = _typed(dict, described.get("parameters") or {}, f"parameters of the output {name!r}")
        _refuse_shared_memory(parameters)
        if parameters.get("classification"):
            raise BadRequest(f"the output {name!r} is audio: it has no classification")
        binary = _typed(bool, parameters.get("binary_data", binary), "binary_data")
    return binary


def _refuse_shared_memory(parameters: Mapping[str, object]) -> None:
    if any(name.startswith("shared_memory") for name in parameters):
        raise BadRequest("shared memory is not offered: send tensors in the request, and take them from the answer")


def _id(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _MAX_ID_CHARACTERS:
        raise BadRequest(f"id {shown(value)} must be a text of at most {_MAX_ID_CHARACTERS} characters")
    return value


def _typed(kind: type[T], value: object, what: str) -> T:
    if not isinstance(value, kind):
        raise BadRequest(f"{what} must be {_KINDS[kind]}, and is {shown(value)}")
    return value
