"""`POST /v1/synthesize`: a mel in, its audio out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from hifigan_rt.tools.serving.audio_responses import (
    AUDIO_QUERY,
    AUDIO_RESPONSES,
    StageTimes,
    audio_options,
    respond_with_audio,
)
from hifigan_rt.tools.serving.context import context_of, query_of, record_of
from hifigan_rt.tools.serving.mel_bodies import MEL_BODY, SHAPE_PARAMETER, read_mel
from hifigan_rt.tools.serving.routes import Endpoint
from hifigan_rt.tools.serving.voices import CONDITIONING_PARAMETER, requested_voice


async def synthesize(request: Request) -> Response:
    """Answer a mel with audio: bit for bit `vocoder(mel)`, streamed `vocoder(mel, segment_frames=...)`."""
    options = audio_options(query_of(request, AUDIO_QUERY))
    stages = StageTimes()
    with await context_of(request).models.lease(options.model) as lease:
        record_of(request).model = lease.name
        voice = requested_voice(request, lease, options.speaker)
        mel = await read_mel(request, lease, options.format, streamed=options.streamed)
        stages.end("body")
        return await respond_with_audio(request, lease, mel, voice, options, stages, {})


ENDPOINTS = (
    Endpoint(
        "POST", "/v1/synthesize", synthesize, "synthesize", "Audio of a mel", AUDIO_RESPONSES,
        (*AUDIO_QUERY, SHAPE_PARAMETER, CONDITIONING_PARAMETER), MEL_BODY,
    ),
)  # fmt: skip
