"""The simulator's .om: the vendor's container, with the simulator's own block where the weights are.

Whoever reads the container finds chip, versions, command, inputs, outputs and gears where a real one has them, and the
attribute `caveat`. The block is known to the simulator alone: magic, version, length of a JSON, the JSON and the ONNX
model.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from cann_simulator import CAVEAT
from cann_simulator.om_container import WEIGHTS, model
from cann_simulator.settings import generation

MAGIC = b"SIMOM\0"
VERSION = 3
_HEAD = struct.Struct("<6sHI")
_PARTITIONS_START = 256
_PARTITION = struct.Struct("<IxxxxQQ")


class NotSimulated(ValueError):
    """The file was not written by this simulator, or is damaged."""


def write_om(path: Path, facts: dict[str, Any], onnx_bytes: bytes) -> None:
    text = json.dumps(facts, indent=1, ensure_ascii=False).encode()
    attributes = {key: facts[key] for key in ("soc_version", "atc_version", "atc_cmdline")} | {"caveat": CAVEAT}
    content = model(
        attributes, facts["inputs"], facts["outputs"], facts["dynamic_dims"],
        _HEAD.pack(MAGIC, VERSION, len(text)) + text + onnx_bytes,
        inout=generation() == 8, dynamic=facts["dynamic_kind"] == "shape",
    )  # fmt: skip
    path.write_bytes(content)


def read_om(path: Path) -> tuple[dict[str, Any], bytes]:
    """The facts and the ONNX model.

    Raises:
        NotSimulated: a real .om, another version, or a truncated file.
        OSError: the file cannot be read.
    """
    content = _weights(path.read_bytes())
    if len(content) < _HEAD.size or not content.startswith(MAGIC):
        raise NotSimulated("no .om of the simulator, which runs only what its own atc wrote")
    _, version, length = _HEAD.unpack_from(content)
    if version != VERSION:
        raise NotSimulated(f"version {version} of the simulator's .om, {VERSION} is read")
    text, onnx_bytes = content[_HEAD.size : _HEAD.size + length], content[_HEAD.size + length :]
    try:
        facts = json.loads(text)
    except ValueError as error:
        raise NotSimulated("its facts are cut off") from error
    if hashlib.sha256(onnx_bytes).hexdigest() != facts["onnx_sha256"]:
        raise NotSimulated("its model is cut off or damaged")
    return facts, onnx_bytes


def _weights(content: bytes) -> bytes:
    """The part of a container that holds the weights; empty if there is none."""
    try:
        (count,) = struct.unpack_from("<Q", content, _PARTITIONS_START)
        start = _PARTITIONS_START + 8
        table = content[start : start + count * _PARTITION.size]
        data = start + len(table)
        for kind, offset, size in _PARTITION.iter_unpack(table):
            if kind == WEIGHTS:
                return content[data + offset : data + offset + size]
    except struct.error:
        pass
    return b""
