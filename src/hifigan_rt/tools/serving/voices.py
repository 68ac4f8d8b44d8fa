"""Who speaks, as a request says it: `speaker=` in its query, or a vector in a header."""

from __future__ import annotations

import base64
import binascii

import numpy as np
from starlette.requests import Request

from hifigan_rt.tools.serving.context import record_of
from hifigan_rt.tools.serving.errors import BadRequest
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.routes import Parameter, query

CONDITIONING_HEADER = "X-Conditioning"

SPEAKER_PARAMETER = query("speaker", "name or number of one of the model's speakers, a name first", {"type": "string"})

CONDITIONING_PARAMETER = Parameter(
    CONDITIONING_HEADER,
    "header",
    {"type": "string", "contentEncoding": "base64"},
    "in place of a speaker the model's conditioning vector: base64 of little-endian float32",
)


def requested_voice(request: Request, lease: ModelLease, speaker: str | None) -> np.ndarray | None:
    """Make what the engine takes beside the mel of a request.

    Args:
        request: may have the header.
        lease: the model.
        speaker: of the query; None is not given.

    Raises:
        BadRequest: the header holds no vector.
        ConditioningInvalid: the model does not take it, or needs something.
    """
    conditioning = lease.conditioning(speaker, _vector(request.headers.get(CONDITIONING_HEADER)))
    if conditioning is not None and conditioning.ndim == 1:
        record_of(request).facts["speaker"] = int(conditioning[0])
    return conditioning


def _vector(header: str | None) -> np.ndarray | None:
    if header is None:
        return None
    try:
        return np.frombuffer(base64.b64decode(header.strip(), validate=True), "<f4")
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"{CONDITIONING_HEADER} must be base64 of little-endian float32: {error}") from error
