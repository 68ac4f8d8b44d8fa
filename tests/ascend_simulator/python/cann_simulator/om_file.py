"""The simulator's own .om: magic, version, JSON and the ONNX model. Nothing of a real .om is imitated."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

MAGIC = b"SIMOM\0"
VERSION = 1
REAL_MAGIC = b"IMOD"
_HEAD = struct.Struct("<6sHI")


class NotSimulated(ValueError):
    """The file was not written by this simulator, or is damaged."""


def write_om(path: Path, facts: dict[str, Any], onnx_bytes: bytes) -> None:
    text = json.dumps(facts, indent=1, ensure_ascii=False).encode()
    path.write_bytes(_HEAD.pack(MAGIC, VERSION, len(text)) + text + onnx_bytes)


def read_om(path: Path) -> tuple[dict[str, Any], bytes]:
    """The facts and the ONNX model.

    Raises:
        NotSimulated: a real .om, another version, or a truncated file.
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    if content.startswith(REAL_MAGIC):
        raise NotSimulated("a real .om (IMOD): the simulator runs only what its own atc wrote")
    if len(content) < _HEAD.size or not content.startswith(MAGIC):
        raise NotSimulated("no .om of the simulator")
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
