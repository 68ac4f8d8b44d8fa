"""Writes the vendor's .om container in both table layouts, from its description and not from our reader's code."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

MODEL_DEF, WEIGHTS, TASKS, KERNELS, INOUT_INFO = 0, 1, 2, 3, 8

_PROTOBUF_DTYPES = {"float32": 1, "float16": 2, "int8": 3, "uint8": 4, "int32": 7, "int64": 8}
_C_INTERFACE_DTYPES = {"float32": 0, "float16": 1, "int8": 2, "int32": 3, "uint8": 4, "int64": 9}
"""The same type has one number in a model definition and another in the list of inputs."""

# --- protobuf ------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def integer(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def message(number: int, payload: bytes | str) -> bytes:
    payload = payload.encode() if isinstance(payload, str) else payload
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def entry(number: int, key: str, value: bytes) -> bytes:
    return message(number, message(1, key) + message(2, value))


def string_attribute(value: str) -> bytes:
    return message(2, value)


def list_attribute(values: Sequence[int], *, packed: bool = True) -> bytes:
    if packed:
        return message(1, message(3, b"".join(varint(value) for value in values)) + integer(20, 2))
    return message(1, b"".join(integer(3, value) for value in values))


def tensor(name: str, dtype: int, shape: Sequence[int]) -> bytes:
    dims = message(1, b"".join(varint(size) for size in shape))
    return message(1, name) + integer(2, dtype) + message(3, dims)


def op(name: str, kind: str, attributes: Mapping[str, bytes] = {}, inputs=(), outputs=()) -> bytes:
    parts = message(1, name) + message(2, kind)
    parts += b"".join(entry(10, key, value) for key, value in attributes.items())
    return parts + b"".join(message(33, item) for item in inputs) + b"".join(message(34, item) for item in outputs)


def model_def(attributes: Mapping[str, str], *graphs: Sequence[bytes]) -> bytes:
    body = message(1, "hifigan")
    for operators in graphs:
        body += message(7, message(1, "root") + b"".join(message(6, operator) for operator in operators))
    return body + b"".join(entry(11, key, string_attribute(value)) for key, value in attributes.items())


# --- the container -------------------------------------------------------------------------------------------------


def table(partitions: Sequence[tuple[int, bytes]], *, wide: bool) -> bytes:
    head, data, offset = struct.pack("<I", len(partitions)) + (b"\0" * 4 if wide else b""), b"", 0
    for kind, content in partitions:
        head += (
            struct.pack("<IIQQ", kind, 0, offset, len(content))
            if wide
            else struct.pack("<III", kind, offset, len(content))
        )
        data += content
        offset += len(content)
    return head + data


def container(
    *sub_models: Sequence[tuple[int, bytes]], wide: bool = True, encrypted: int = 0, dynamic: int = 0
) -> bytes:
    body = b"".join(table(partitions, wide=wide) for partitions in sub_models)
    head = bytearray(256)
    struct.pack_into("<4sII", head, 0, b"IMOD", 256, 0x20000000)
    struct.pack_into("<I", head, 76, 0 if wide else len(body))
    head[80] = encrypted
    head[84:91] = b"hifigan"
    struct.pack_into("<I", head, 156, len(sub_models) if wide else 0)
    struct.pack_into("<Q", head, 184, len(body) if wide else 0)
    head[193] = dynamic
    return bytes(head) + body


def inout_tensor(name: str, dtype: int, dims: Sequence[int]) -> bytes:
    label, sizes = name.encode(), struct.pack(f"<{len(dims)}q", *dims)
    ranges = struct.pack("<4q", 1, 8, 80, 80)
    head = struct.pack("<QiiIIII", 4096, 2, dtype, len(label), len(sizes), len(sizes), len(ranges))
    return head + label + sizes + sizes + ranges


def inout_info(inputs: Sequence[bytes], outputs: Sequence[bytes], gears: Sequence[Sequence[int]]) -> bytes:
    def item(kind: int, value: bytes) -> bytes:
        return struct.pack("<II", kind, len(value)) + value

    lengths = struct.pack(f"<{len(gears)}I", *(len(gear) for gear in gears))
    values = b"".join(struct.pack(f"<{len(gear)}Q", *gear) for gear in gears)
    return (
        item(0, struct.pack("<I", len(inputs)) + b"".join(inputs))
        + item(1, struct.pack("<I", len(outputs)) + b"".join(outputs))
        + item(6, struct.pack("<II", 1, 8) + b"mel_spec")
        + item(4, struct.pack("<I", len(gears)) + lengths + values)
    )


# --- a whole model -------------------------------------------------------------------------------------------------


def model(
    attributes: Mapping[str, str],
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
    gears: Sequence[Sequence[int]],
    weights: bytes,
    *,
    inout: bool,
    dynamic: bool = False,
) -> bytes:
    """A container of one model.

    Args:
        attributes: texts of the model definition.
        inputs, outputs: name, dtype and shape of each; -1 where the gear decides.
        gears: of each the values of the dimensions -1.
        weights: goes last, so that it ends with the file.
        inout: add the list of inputs, outputs and gears that newer containers have.
        dynamic: shapes that are open without gears.
    """
    operators = [op(entry["name"], "Data", outputs=[_described(entry, "")]) for entry in inputs]
    if gears:
        operators = [
            op(entry["name"], "Data", {"_mbatch_origin_input_dims": list_attribute(entry["shape"])},
               outputs=[_described(entry, "")])
            for entry in inputs
        ]  # fmt: skip
        choices = {f"_pred_value_{index}": list_attribute(gear) for index, gear in enumerate(gears)}
        operators += [op("ascend_mbatch_shape_data", "Data", outputs=[tensor("", 7, [1])]), op("case", "Case", choices)]
    operators.append(op("net_output", "NetOutput", inputs=[_described(entry, entry["name"]) for entry in outputs]))
    partitions = [(MODEL_DEF, model_def(attributes, operators)), (WEIGHTS, weights)]
    if inout:
        ends = [
            [inout_tensor(entry["name"], _C_INTERFACE_DTYPES[entry["dtype"]], entry["shape"]) for entry in group]
            for group in (inputs, outputs)
        ]
        partitions.insert(0, (INOUT_INFO, inout_info(*ends, gears)))
    return container(partitions, dynamic=int(dynamic))


def _described(entry: Mapping[str, Any], name: str) -> bytes:
    return tensor(name, _PROTOBUF_DTYPES[entry["dtype"]], entry["shape"])
