"""Tells by its first bytes what a file is; the name is never asked."""

from __future__ import annotations

import re
from typing import Literal

from hifigan_rt.errors import CheckpointError, ModelFileError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource
from hifigan_rt.formats.checkpoint.zip_archive import FIRST_ENTRY
from hifigan_rt.system.file_kinds import HEAD_BYTES, FileKind, describe_failed_download, file_kind

Format = Literal["torch-zip", "torchscript", "torch-legacy", "pickle", "safetensors", "nemo", "nemo-gz"]

_FOREIGN = {
    ".npy": "is one NumPy array (.npy), not a checkpoint",
    ".h5": "is an HDF5 file, as TensorFlowTTS and Keras save weights, which are not read: export the network with "
    "tf2onnx and name the .onnx, which ONNX Runtime runs",
    ".json": "is a JSON text, perhaps the config: name the checkpoint here and this file as the config",
    ".gguf": "is a GGUF model, which is not read: name the checkpoint that it was converted from",
    ".ort": "is a converted network (.ort or .tflite), which is not read: name the ONNX file or checkpoint behind it",
}
"""Texts for kinds that have a way out of their own, by their usual suffix."""

_ARCHIVES: dict[str, Format] = {".tar": "nemo", ".gz": "nemo-gz"}
"""Archives that may be .nemo files."""

_ONNX = re.compile(rb"\x08[\x03-\x20](?:\x12(?:\0|[\x01-\x7f][ -~])|[\x1a\x22\x28\x32\x3a\x42\x72]|\Z)")
"""A protobuf whose first field is ir_version, followed by another field of ModelProto (onnx.proto).

A SavedModel of TensorFlow and a model of Core ML begin alike, with a message where ONNX has the name of its producer.
"""

_PICKLE = re.compile(rb"\x80[\x02-\x05]|[ci][^\n]{1,200}\n[^\n]{1,200}\n|\(|[\x82-\x84]")
"""PROTO as torch.save writes it; or, to refuse them by name, the openings of pickles made by hand."""


def detect_format(source: ByteSource) -> Format:
    """Find the format of a file.

    Raises:
        CheckpointError, ModelFileError: it is none of the three; the text says what it looks like instead.
    """
    head = read_head(source)
    if FIRST_ENTRY.match(head) or head.startswith(b"PK\x05\x06"):
        return "torch-zip"
    # A safetensors file starts with the length of its header, whose first character is a brace.
    if head[8:9] == b"{" and head[5:8] == b"\0\0\0":
        return "safetensors"
    if _ONNX.match(head):
        raise CheckpointError("is an ONNX model, not a checkpoint: name it .onnx, by which such a file is recognised")
    kind = file_kind(head)
    if kind is not None and kind.suffix in _ARCHIVES:
        return _ARCHIVES[kind.suffix]
    if kind is not None and kind.holds not in ("weights", "text"):
        raise CheckpointError(_FOREIGN.get(kind.suffix, f"is {kind.name}{_more(kind)}"))
    # Pickles of protocol 0 are text.
    if _PICKLE.match(head):
        return "torch-legacy"
    if kind is not None:
        raise CheckpointError(f"is {kind.name}{_more(kind)}")
    raise CheckpointError(
        f"is no checkpoint: it starts with {head[:8].hex(' ')}, which no PyTorch or safetensors file does; "
        "it is damaged, encrypted or something else"
    )


def read_head(source: ByteSource, *, markup: bool = False) -> bytes:
    """The first bytes of a file, whatever it should be; at most `HEAD_BYTES`.

    Args:
        source: the file.
        markup: it should be XML: of all markup only HTML is refused.

    Raises:
        ModelFileError: it is what is left of a download that failed, see `describe_failed_download`.
    """
    head = source.read(0, min(source.size, HEAD_BYTES), "the beginning") if source.size else b""
    failure = describe_failed_download(head, markup=markup)
    if failure is not None:
        raise ModelFileError(failure)
    return head


def _more(kind: FileKind) -> str:
    return ": unpack it first" if kind.holds == "archive" else ", not a checkpoint"
