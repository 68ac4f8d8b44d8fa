"""Mels in request bodies: .npy, bare floats with a shape header, or JSON.

A body of .npy starts with its magic whatever its Content-Type; `X-Mel-Shape: M,T` marks bare little-endian float32 of M
bands times T frames, band after band; application/json is `{"mel": [[...], ...]}`, M lists of T numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.requests import Request

from hifigan_rt.errors import MelError
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.mel.files import parse_npy
from hifigan_rt.mel.shapes import one_mel
from hifigan_rt.system.file_kinds import HEAD_BYTES, describe_failed_download, file_kind
from hifigan_rt.tools.serving.context import context_of, record_of
from hifigan_rt.tools.serving.errors import BadRequest, MelInvalid, PayloadTooLarge, UnsupportedMediaType
from hifigan_rt.tools.serving.json_pieces import parse_json_steps
from hifigan_rt.tools.serving.json_values import shown
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.memory_costs import JSON_BYTES_PER_VALUE, REQUEST_BYTES, answer_bytes, mel_bytes
from hifigan_rt.tools.serving.request_bodies import (
    NO_FORM,
    content_type,
    damage_explained,
    decoded,
    read_body,
)
from hifigan_rt.tools.serving.routes import Parameter, json_content, object_schema

JSON_TYPE = "application/json"
NPY_TYPES = ("application/x-npy", "application/npy")
BARE_TYPE = "application/octet-stream"
SHAPE_HEADER = "X-Mel-Shape"

_CURL_TYPE = "application/x-www-form-urlencoded"
"""Content-Type that curl gives any file unless it is told otherwise; it says nothing about the body."""

_BANDS = {
    "type": "array",
    "minItems": 1,
    "description": "M bands of T numbers each",
    "items": {"type": "array", "minItems": 1, "items": {"type": "number"}},
}
MEL_BODY: Mapping[str, Any] = {
    "required": True,
    "description": "a log-mel [M, T] as the model was trained on: GET /v1/models tells M",
    "content": {
        NPY_TYPES[0]: {"schema": {"type": "string", "contentMediaType": NPY_TYPES[0]}},
        BARE_TYPE: {"schema": {"type": "string", "contentMediaType": BARE_TYPE}},
        **json_content(object_schema({"mel": _BANDS}) | {"additionalProperties": False}),
    },
}
"""Request body object of OpenAPI for a mel."""

SHAPE_PARAMETER = Parameter(
    SHAPE_HEADER,
    "header",
    {"type": "string", "pattern": r"^ *\d{1,9} *, *\d{1,9} *$"},
    "M,T of bare float32; not needed for .npy and JSON",
    "80,430",
)

_NPY_MAGIC = b"\x93NUMPY"
_MAX_NPY_WIDTH = 8
_SHAPE = re.compile(r" *(\d{1,9}) *, *(\d{1,9}) *")
_LIKELY_BANDS = 80
_LIKELY_JSON_WIDTH = 10
"""Bytes of a number of a JSON list with what parts it from the next."""
_CHECKED_AT_ONCE = 1 << 18
_MAX_DIMENSIONS = 8
_PLAUSIBLE = 1e4
"""Bound of the values of log-mels of any convention, decibels included."""


async def read_mel(request: Request, lease: ModelLease, name: str, *, streamed: bool) -> CheckedMel:
    """Read the mel of a request for a model, and count the memory of its answer.

    Args:
        request: its body is the mel.
        lease: the model.
        name: format of the answer, a key of `audio.formats.FORMATS`.
        streamed: whether the audio is sent while it is computed.

    Returns:
        float32 `[M, T]`, checked.

    Raises:
        UnsupportedMediaType: the Content-Type is none of those above.
        BadRequest: the JSON or the shape header cannot be understood.
        MelInvalid: no mel that this model takes; NaN, a wrong shape or dtype, more or fewer bytes than declared.
        PayloadTooLarge: the mel is longer than `max_mel_seconds`.
        QueueFull, ShuttingDown: the body was not read, since even the shortest mel of its size would wait too long.
        ServingError: see `hifigan_rt.tools.serving.request_bodies.read_body`.
    """
    context, record = context_of(request), record_of(request)
    settings = context.settings
    kind = content_type(request)
    if kind not in ("", _CURL_TYPE, JSON_TYPE, BARE_TYPE, *NPY_TYPES):
        raise UnsupportedMediaType(
            f"Content-Type {kind[:80]!r} is no mel: send {NPY_TYPES[0]}, {BARE_TYPE} (.npy, or bare float32 with "
            f"{SHAPE_HEADER}: M,T) or {JSON_TYPE}" + (f"; {NO_FORM}" if kind.startswith("multipart/") else "")
        )
    most = min(settings.max_json_bytes, settings.max_body_bytes) if kind == JSON_TYPE else settings.max_body_bytes
    shape = request.headers.get(SHAPE_HEADER)
    least_frames = _least_frames(request, kind, lease)

    def becomes(bands: int, frames: int) -> int:
        return mel_bytes(bands, frames) + answer_bytes(lease, frames, name, settings, streamed=streamed)

    def likely(body_bytes: int) -> int:
        bands = lease.num_mels or _LIKELY_BANDS
        return becomes(bands, body_bytes // (bands * (_LIKELY_JSON_WIDTH if kind == JSON_TYPE else 4)))

    def check_room() -> None:
        context.scheduler.check_room(lease, least_frames, client=record.client, streamed=streamed)

    body = await read_body(request, most, check_room=check_room, becomes=likely)
    held = REQUEST_BYTES + len(body)
    with damage_explained(body, text=kind == JSON_TYPE):
        if kind == JSON_TYPE:
            values = body.count(b",") + 1
            await context.memory.reserve(record, held + JSON_BYTES_PER_VALUE * values)
            array = _array_of_json(await context.pieces.run(parse_json_steps(body, "the body")))
            held += array.nbytes
        else:
            array = _array(body, kind, shape)
    array = one_mel(array, lease.num_mels)
    if array.ndim == 2:
        check_length(lease, min(array.shape[1], array.size), settings.max_mel_seconds)
        await context.memory.reserve(record, held + becomes(*array.shape))

    def checked() -> CheckedMel:
        if kind != JSON_TYPE and array.dtype.kind == "f":
            with damage_explained(body):
                check_byte_order(array)
        return lease.check_mel(array)

    return await decoded(checked, len(body))


def check_length(lease: ModelLease, frames: int, max_seconds: float) -> None:
    """Refuse a mel of more audio than `max_seconds`.

    Raises:
        PayloadTooLarge: it has.
    """
    seconds = lease.audio_seconds(frames)
    if seconds > max_seconds:
        raise PayloadTooLarge(
            f"the mel has {frames} frames, {seconds:.7g} s of audio: at most {max_seconds:g} s are taken"
        )


def _least_frames(request: Request, kind: str, lease: ModelLease) -> int:
    """Read from the headers how many frames a mel has at least; 0 if they do not tell."""
    if kind == JSON_TYPE or lease.num_mels is None:
        return 0
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        # Unpacked, bare floats must be as many as the shape says.
        stated = None if kind in NPY_TYPES else _SHAPE.fullmatch(request.headers.get(SHAPE_HEADER, ""))
        return 0 if stated is None else int(stated[2])
    bytes_per_value = 4 if SHAPE_HEADER in request.headers else _MAX_NPY_WIDTH
    return int(request.headers.get("content-length", "0")) // (bytes_per_value * lease.num_mels)


def _array(body: bytes | bytearray, kind: str, shape: str | None) -> np.ndarray:
    if body.startswith(_NPY_MAGIC) or kind in NPY_TYPES:
        try:
            return parse_npy(body)
        except MelError as error:
            raise MelInvalid(str(error)) from error
    if shape is None:
        head = bytes(body[:HEAD_BYTES])
        what = file_kind(head)
        if what is not None and what.holds in ("audio", "video"):
            raise BadRequest(f"the body is {what.name}, not a mel: /v1/copy-synthesis takes recordings")
        if (failure := describe_failed_download(head)) is not None:
            raise BadRequest(f"the body {failure}")
        told = "" if what is None or what.holds == "text" or what.suffix == ".json" else f"{what.name}, "
        raise BadRequest(
            f"the body is {told}no .npy, and bare float32 needs the header {SHAPE_HEADER}: M,T (bands, frames); for "
            f"JSON send Content-Type: {JSON_TYPE}"
        )
    return _bare(body, shape)


def _bare(body: bytes | bytearray, shape: str) -> np.ndarray:
    match = _SHAPE.fullmatch(shape)
    if match is None:
        raise BadRequest(f"{SHAPE_HEADER} {shape[:40]!r} is not M,T: two whole numbers, bands and frames")
    bands, frames = int(match[1]), int(match[2])
    if len(body) != 4 * bands * frames:
        raise MelInvalid(
            f"{SHAPE_HEADER} says {bands} x {frames} float32, {4 * bands * frames} bytes: the body has {len(body)}"
        )
    return np.frombuffer(body, "<f4").reshape(bands, frames)


def check_byte_order(values: np.ndarray) -> None:
    """Refuse bare floats whose sender did not know which byte comes first.

    Raises:
        MelInvalid: they make sense with their bytes swapped alone.
    """
    flat = values.reshape(-1)
    if len(flat) and flat.min() > -_PLAUSIBLE and flat.max() < _PLAUSIBLE:
        return
    # NaN and infinities are left to the check of the mel, which names them. A part at a time, to take little memory.
    parts = [flat[start : start + _CHECKED_AT_ONCE] for start in range(0, len(flat), _CHECKED_AT_ONCE)]
    huge = any(bool((np.isfinite(part) & (np.abs(part) >= _PLAUSIBLE)).any()) for part in parts)
    if huge and all(_plausible(part.byteswap()) for part in parts):
        raise MelInvalid("the values make sense with their bytes swapped alone: send little-endian float32")


def _plausible(values: np.ndarray) -> bool:
    with np.errstate(invalid="ignore"):
        return bool((np.abs(values) < _PLAUSIBLE).all())


def _array_of_json(content: object) -> np.ndarray:
    """Make an array of what `parse_json_steps` gives for a JSON object with a mel.

    Raises:
        BadRequest: it is another object.
        MelInvalid: its mel is no list of lists of numbers.
    """
    if not isinstance(content, dict) or set(content) != {"mel"}:
        came = ", ".join(repr(key[:40]) for key in [*content][:4]) if isinstance(content, dict) else shown(content)
        raise BadRequest(
            f'the JSON body must be {{"mel": [[...], ...]}} and nothing else, since options stand in the query: {came} '
            "came"
        )
    rows = content["mel"]
    if isinstance(rows, np.ndarray) and rows.ndim >= 2:
        return rows
    if len(_shape(rows) or ()) < 2:
        raise MelInvalid("mel must be M lists (bands) of equally many numbers each (frames)")
    try:
        with np.errstate(over="ignore"):
            return np.array(rows, np.float64)
    except (ValueError, OverflowError) as error:
        raise MelInvalid("mel holds a number beyond the range of floats") from error


def _shape(rows: Any, depth: int = 0) -> tuple[int, ...] | None:
    """Shape of a nested list of numbers; None if it is something else, too deep, or its lists differ in length."""
    if not isinstance(rows, list) or depth == _MAX_DIMENSIONS:
        # bool is an int to isinstance, and NumPy would take strings of digits.
        return () if type(rows) in (int, float) else None
    shapes = {_shape(row, depth + 1) for row in rows}
    inner = next(iter(shapes)) if len(shapes) == 1 else None
    return None if inner is None else (len(rows), *inner)
