"""`POST /v1/synthesize`: a mel in, its audio out."""

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
from hifigan_rt.tools.serving.context import Context, context_of, exchange_of, query_of
from hifigan_rt.tools.serving.mel_bodies import MEL_BODY, SHAPE_PARAMETER, read_mel
from hifigan_rt.tools.serving.openapi_parts import PathItems, operation


def routes(_: Context) -> list[BaseRoute]:
    """`POST /v1/synthesize`."""
    return [Route("/v1/synthesize", synthesize, methods=["POST"])]


def describe() -> PathItems:
    """For the OpenAPI document."""
    post = operation(
        "synthesize",
        "Audio of a mel",
        audio_response(),
        parameters=(*AUDIO_QUERY, SHAPE_PARAMETER),
        body=MEL_BODY,
    )
    return {"/v1/synthesize": {"post": post}}


async def synthesize(request: Request) -> Response:
    """Answer a mel with audio: bit for bit `vocoder(mel)`, streamed `vocoder(mel, segment_frames=...)`."""
    wish = wish_of(query_of(request, AUDIO_PARAMETERS))
    stages = Stages()
    with await context_of(request).models.lease(wish.model) as lease:
        exchange_of(request).model = lease.name
        mel = await read_mel(request, lease)
        stages.end("body")
        return await answer_audio(request, lease, mel, wish, stages, {})
