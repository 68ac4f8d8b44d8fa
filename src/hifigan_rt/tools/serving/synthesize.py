"""`POST /v1/synthesize`: a mel in, its audio out; `POST /v1/copy-synthesis`: a recording in, its resynthesis out."""

from __future__ import annotations

import base64
import binascii

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from hifigan_rt.tools.serving.audio_bodies import read_recording
from hifigan_rt.tools.serving.audio_responses import (
    AUDIO_QUERY,
    AUDIO_RESPONSES,
    StageTimes,
    audio_options,
    respond_with_audio,
)
from hifigan_rt.tools.serving.context import context_of, flag, query_of, record_of
from hifigan_rt.tools.serving.errors import AnalysisUnavailable, BadRequest
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.mel_bodies import MEL_BODY, SHAPE_PARAMETER, check_length, read_mel
from hifigan_rt.tools.serving.routes import Endpoint, Parameter, flag_query, json_content, response

_CONDITIONING_HEADER = "X-Conditioning"
_CONDITIONING_PARAMETER = Parameter(
    _CONDITIONING_HEADER,
    "header",
    {"type": "string", "contentEncoding": "base64"},
    "in place of a speaker the model's conditioning vector: base64 of little-endian float32",
)
_RECORDING_QUERY = (
    *AUDIO_QUERY,
    flag_query("resample", "convert another sample rate than the model's"),
    flag_query("mono", "average several channels"),
    _CONDITIONING_PARAMETER,
)
_RECORDING_BODY = {
    "required": True,
    "description": "a wav, flac, ogg or mp3",
    "content": {"*/*": {"schema": {"type": "string", "contentMediaType": "audio/*"}}},
}
_NO_ANALYSIS = response(AnalysisUnavailable.code, json_content({"$ref": "#/components/schemas/Error"}))


async def synthesize(request: Request) -> Response:
    """Answer a mel with audio: bit for bit `vocoder(mel)`, streamed `vocoder(mel, segment_frames=...)`."""
    options = audio_options(query_of(request, AUDIO_QUERY))
    stages = StageTimes()
    with await context_of(request).models.lease(options.model) as lease:
        record_of(request).model = lease.name
        voice = _requested_voice(request, lease, options.speaker)
        mel = await read_mel(request, lease, options.format, streamed=options.streamed)
        stages.end("body")
        return await respond_with_audio(request, lease, mel, voice, options, stages, {})


async def copy_synthesis(request: Request) -> Response:
    """Answer a recording with what the model makes of its mel."""
    query = query_of(request, _RECORDING_QUERY)
    options = audio_options(query)
    resample_allowed, mono_allowed = flag(query, "resample"), flag(query, "mono")
    stages = StageTimes()
    context = context_of(request)
    with await context.models.lease(options.model) as lease:
        record_of(request).model = lease.name
        voice = _requested_voice(request, lease, options.speaker)
        recording = await read_recording(
            request, lease, options, resample_allowed=resample_allowed, mono_allowed=mono_allowed
        )
        stages.end("body")
        check_length(lease, recording.mel.shape[1], context.settings.max_mel_seconds)
        headers = {"X-Recording-Sample-Rate": str(recording.sample_rate)}
        if recording.note is not None:
            headers["X-Recording-Warning"] = recording.note
        return await respond_with_audio(request, lease, recording.mel, voice, options, stages, headers)


def _requested_voice(request: Request, lease: ModelLease, speaker: str | None) -> np.ndarray | None:
    """Make what the engine takes beside the mel of a request, of the query's speaker or the header's vector."""
    conditioning = lease.conditioning(speaker, _vector(request.headers.get(_CONDITIONING_HEADER)))
    if conditioning is not None and conditioning.ndim == 1:
        record_of(request).facts["speaker"] = int(conditioning[0])
    return conditioning


def _vector(header: str | None) -> np.ndarray | None:
    if header is None:
        return None
    try:
        return np.frombuffer(base64.b64decode(header.strip(), validate=True), "<f4")
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"{_CONDITIONING_HEADER} must be base64 of little-endian float32: {error}") from error


ENDPOINTS = (
    Endpoint(
        "POST", "/v1/synthesize", synthesize, "synthesize", "Audio of a mel", AUDIO_RESPONSES,
        (*AUDIO_QUERY, SHAPE_PARAMETER, _CONDITIONING_PARAMETER), MEL_BODY,
    ),
    Endpoint(
        "POST", "/v1/copy-synthesis", copy_synthesis, "copySynthesis", "What the model makes of a recording",
        AUDIO_RESPONSES | {str(AnalysisUnavailable.status): _NO_ANALYSIS}, _RECORDING_QUERY, _RECORDING_BODY,
    ),
)  # fmt: skip
