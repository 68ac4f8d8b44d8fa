"""Tells by its first bytes what a file is; the name is never asked."""

from __future__ import annotations

import re
from typing import Literal

from hifigan_rt.errors import CheckpointError, ModelFileError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource

Format = Literal["torch-zip", "torch-legacy", "safetensors"]

_HEAD_BYTES = 1024

_HTML = (b"<!doctype html", b"<html", b"<head")
_MARKUP = (*_HTML, b"<!doctype", b"<?xml", b"<!--")

_ONNX = re.compile(rb"\x08[\x01-\x20](?:[\x12\x1a\x22\x28\x32\x3a\x42\x72]|\Z)")
"""A protobuf whose first field is ir_version, followed by another field of ModelProto (onnx.proto)."""

_PICKLE = re.compile(rb"\x80[\x02-\x05]|[ci][^\n]{1,200}\n[^\n]{1,200}\n|\(|[\x82-\x84]")
"""PROTO as torch.save writes it; or, to refuse them by name, the openings of pickles made by hand."""


def detect_format(source: ByteSource) -> Format:
    """Find the format of a file.

    Raises:
        CheckpointError, ModelFileError: it is none of the three; the text says what it looks like instead.
    """
    head = read_head(source)
    if head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        return "torch-zip"
    # A safetensors file starts with the length of its header, whose first character is a brace.
    if head[8:9] == b"{" and head[5:8] == b"\0\0\0":
        return "safetensors"
    foreign = _name_foreign(head)
    if foreign is not None:
        raise CheckpointError(foreign)
    if _PICKLE.match(head):
        return "torch-legacy"
    raise CheckpointError(
        f"is no checkpoint: it starts with {head[:8].hex(' ')}, which no PyTorch or safetensors file does; "
        "it is damaged, encrypted or something else"
    )


def read_head(source: ByteSource, *, markup: bool = False) -> bytes:
    """The first bytes of a file, whatever it should be; at most 1,024.

    Args:
        source: the file.
        markup: it should be XML: of all markup only HTML is refused.

    Raises:
        ModelFileError: it is what is left of a download that failed: empty, a web page, or a git-LFS pointer.
    """
    if source.size == 0:
        raise ModelFileError("is empty (0 bytes): the download or copy failed; fetch it again")
    head = source.read(0, min(source.size, _HEAD_BYTES), "the beginning")
    if head.startswith(b"version https://git-lfs"):
        raise ModelFileError(
            "is a git-LFS pointer, not the file itself: run 'git lfs pull', or download the file from its page"
        )
    if _as_text(head).startswith(_HTML if markup else _MARKUP):
        raise ModelFileError(
            "is an HTML page: the download saved the web page (a login, a warning or a preview); use the direct link "
            "of the file"
        )
    return head


def _as_text(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()


def _name_foreign(head: bytes) -> str | None:
    if head[257:262] == b"ustar":
        return (
            "is a tar archive, as .nemo files are: unpack it; of a .nemo file, model_weights.ckpt holds the weights "
            "(NeMo's layer names are not read yet)"
        )
    if head.startswith(b"\x1f\x8b"):
        return "is compressed with gzip: unpack it first (.nemo and .tar.gz files hold the checkpoint inside)"
    if head.startswith(b"\x93NUMPY"):
        return "is one NumPy array (.npy), not a checkpoint"
    if re.match(rb"\{\s*[\"}]", _as_text(head)):
        return "is a JSON text, perhaps the config: name the checkpoint here and this file as the config"
    if _ONNX.match(head):
        return "is an ONNX model, not a checkpoint: give it where a model is run; weights are not read out of it"
    return None
