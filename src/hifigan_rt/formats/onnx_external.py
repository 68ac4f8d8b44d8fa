"""Checks the files that an ONNX model keeps its weights in, so that it reads nothing outside its own folder."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.onnx_scan import TensorFields

_IN_MEMORY_TAG = "*/"
"""ONNX Runtime marks tensors at an address of its own memory by a location that starts so; no file may use it."""


def check_external_data(tensors: Sequence[TensorFields], model: Path) -> tuple[Path, ...]:
    """Check where tensors whose values lie in other files point to; returns the files.

    Raises:
        ModelFileError: a file is outside the model's folder (absolute path, "..", or a link that leads neither into it
            nor beside the file that the model itself is a link to), is missing, or is shorter than the tensors that it
            must hold.
    """
    files: dict[str, tuple[Path, int]] = {}
    for tensor in tensors:
        location = tensor.external.get("location", "")
        if location not in files:
            files[location] = _locate(tensor.name, location, model)
        path, size = files[location]
        offset, length = (_number(tensor, key) for key in ("offset", "length"))
        end = (offset or 0) + (tensor.needed_bytes if length is None else length)
        if end > size or (length is not None and length < tensor.needed_bytes):
            raise ModelFileError(
                f"the values of tensor {tensor.name!r} take {tensor.needed_bytes} bytes and should end at byte {end} "
                f"of {path.name!r}, which has {size}: the file is damaged or belongs to another model"
            )
    return tuple(path for path, _ in files.values())


def _locate(tensor: str, location: str, model: Path) -> tuple[Path, int]:
    what = f"tensor {tensor!r} keeps its values in {location!r}"
    # Backslashes and drive letters are checked everywhere: a file may travel to Windows.
    parts = location.replace("\\", "/").split("/")
    if not location or "\0" in location or location.startswith(_IN_MEMORY_TAG):
        raise ModelFileError(f"{what}, which is no file name")
    if parts[0] == "" or ":" in parts[0] or ".." in parts:
        raise ModelFileError(
            f"{what}, outside the model's folder: nothing there is read; put the file beside the model"
        )
    folder = model.parent
    path = folder / location
    try:
        resolved = path.resolve(strict=True)
        status = resolved.stat()
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelFileError(
            f"{what}, which cannot be read ({reason}): copy that file into the model's folder"
        ) from error
    # In a Hugging Face cache the model and its data are links to files side by side (onnxruntime#27374 does the same).
    if not any(resolved.is_relative_to(own) for own in (folder.resolve(), model.resolve().parent)):
        raise ModelFileError(
            f"{what}, which is a link out of the model's folder: nothing there is read; copy the file beside the model"
        )
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(f"{what}, which is no regular file")
    return path, status.st_size


def _number(tensor: TensorFields, key: str) -> int | None:
    text = tensor.external.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ModelFileError(f"tensor {tensor.name!r} has external data with {key}={text[:40]!r}: no number of bytes")
    return int(text)
