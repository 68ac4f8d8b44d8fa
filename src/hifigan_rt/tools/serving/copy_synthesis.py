"""`POST /v1/copy-synthesis`: a recording in, its resynthesis out; the quickest way to hear a model."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from hifigan_rt.tools.serving.audio_answers import (
    AUDIO_PARAMETERS,
    AUDIO_QUERY,
    Stages,
    answer_audio,
    audio_response,
    wish_of,
)
from hifigan_rt.tools.serving.audio_bodies import read_recording
from hifigan_rt.tools.serving.context import Context, context_of, exchange_of, flag, query_of
from hifigan_rt.tools.serving.mel_bodies import check_length
from hifigan_rt.tools.serving.openapi_parts import PathItems, flag_query, operation

COPY_PARAMETERS = AUDIO_PARAMETERS | {"resample", "mono"}


def routes(_: Context) -> list[BaseRoute]:
    """`POST /v1/copy-synthesis`."""
    return [Route("/v1/copy-synthesis", copy_synthesis, methods=["POST"])]


def describe() -> PathItems:
    """For the OpenAPI document."""
    schema = {"type": "string", "contentMediaType": "audio/*"}
    post = operation(
        "copySynthesis",
        "What the model makes of a recording",
        audio_response(),
        parameters=(
            *AUDIO_QUERY,
            flag_query("resample", "convert another sample rate than the model's"),
            flag_query("mono", "average several channels"),
        ),
        body={"required": True, "description": "a wav, flac, ogg or mp3", "content": {"*/*": {"schema": schema}}},
    )
    return {"/v1/copy-synthesis": {"post": post}}


async def copy_synthesis(request: Request) -> Response:
    """Answer a recording with what the model makes of its mel."""
    query = query_of(request, COPY_PARAMETERS)
    wish = wish_of(query)
    resample_allowed, mono_allowed = flag(query, "resample"), flag(query, "mono")
    stages = Stages()
    context = context_of(request)
    with await context.models.lease(wish.model) as lease:
        exchange_of(request).model = lease.name
        recording = await read_recording(request, lease, resample_allowed=resample_allowed, mono_allowed=mono_allowed)
        stages.end("body")
        check_length(lease, recording.mel.shape[1], context.settings.max_mel_seconds)
        headers = {"X-Recording-Sample-Rate": str(recording.sample_rate)}
        if recording.note is not None:
            headers["X-Recording-Warning"] = recording.note
        return await answer_audio(request, lease, recording.mel, wish, stages, headers)
