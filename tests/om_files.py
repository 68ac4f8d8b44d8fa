"""Builds Ascend model files: the vendor's container in both table layouts, and the simulator's format.

A writer of its own, from the description of the container, so that the reader is not tested against itself.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

MODEL_DEF, WEIGHTS, TASKS, KERNELS, INOUT_INFO = 0, 1, 2, 3, 8

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


COMMAND = (
    "/usr/local/Ascend/atc/bin/atc.bin --framework=5 --model=g.onnx --output=g_bs1 --input_format=ND "
    "--input_shape=mel_spec:1,80,-1 --dynamic_dims=250;500;1000 --soc_version=Ascend310P3 "
    "--precision_mode=must_keep_origin_dtype"
)
ATTRIBUTES = {"soc_version": "Ascend310P3", "atc_version": "1.82.22.1.220", "atc_cmdline": COMMAND}

MEL = op(
    "mel_spec", "Data", {"_mbatch_origin_input_dims": list_attribute([1, 80, -1])},
    outputs=[tensor("", 1, [1, 80, 1000])],
)  # fmt: skip
GEAR = op("ascend_mbatch_shape_data", "Data", outputs=[tensor("", 7, [1])])
CASE = op(
    "case", "Case",
    {"_batch_num": integer(3, 3), **{f"_pred_value_{i}": list_attribute([250 * 2**i]) for i in range(3)}},
)  # fmt: skip
CONV = op("conv_pre", "Conv2D", {"_pred_value_7": list_attribute([9] * 9)})
OUTPUT = op("net_output", "NetOutput", inputs=[tensor("", 1, [1, 256000])])
INNER = op("inner", "Data", outputs=[tensor("", 2, [1, 512, 250])])


def geared(*, wide: bool = True, inout: bool = False, command: bool = True) -> bytes:
    """A model with the gears 250, 500 and 1000, told in the definition, and in the list of inputs if wanted."""
    attributes = ATTRIBUTES if command else {key: value for key, value in ATTRIBUTES.items() if key != "atc_cmdline"}
    partitions = [
        (MODEL_DEF, model_def(attributes, [MEL, GEAR, CONV, CASE, OUTPUT], [INNER, OUTPUT])),
        (WEIGHTS, b"\x11" * 1000),
        (TASKS, b"\x22" * 100),
        (KERNELS, b""),
    ]
    if inout:
        ends = [inout_tensor("mel_spec", 0, [1, 80, -1])], [inout_tensor("squeeze:0:wavs", 1, [1, -1])]
        partitions.insert(0, (INOUT_INFO, inout_info(*ends, [[300], [600]])))
    return container(partitions, wide=wide)


# --- the simulator's format ----------------------------------------------------------------------------------------

SIMULATED = {
    "soc_version": "Ascend310P3", "atc_version": "8.1.RC1", "atc_cmdline": COMMAND,
    "inputs": [{"name": "mel_spec", "dtype": "float32", "shape": [1, 10, -1]}],
    "outputs": [{"name": "squeeze:0:wavs", "dtype": "float32", "shape": [1, -1]}],
    "dynamic_dims": [[250], [500]], "input_dims_of_gears": [[1, 10, 250], [1, 10, 500]],
    "precision_mode": "must_keep_origin_dtype", "weights": "float32", "onnx_sha256": "0" * 64, "simulator": True,
}  # fmt: skip


def simulated(changes: Mapping[str, object] = {}, payload: bytes = b"ONNX", version: int = 1) -> bytes:
    values = {key: value for key, value in (SIMULATED | dict(changes)).items() if value is not None}
    text = json.dumps(values).encode()
    return b"SIMOM\0" + struct.pack("<HI", version, len(text)) + text + payload


def write(folder: Path, content: bytes, name: str = "model.om") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path
