"""`POST /v1/audio/speech`: text in, its audio out, as clients of OpenAI's API ask for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import NoneType
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from hifigan_rt.audio.formats import FORMATS, Resampled, StreamEncoder, completed, stream_encoder
from hifigan_rt.errors import OutputError
from hifigan_rt.tools.serving.context import Context, RequestRecord, context_of, query_of, record_of
from hifigan_rt.tools.serving.errors import BadRequest
from hifigan_rt.tools.serving.json_values import parse_json, shown
from hifigan_rt.tools.serving.request_bodies import read_body, while_connected
from hifigan_rt.tools.serving.routes import Endpoint, json_content, response
from hifigan_rt.tools.serving.spoken_audio import SPEECH_BYTES, SpokenAudio, begin_speech
from hifigan_rt.tools.serving.streamed_response import StreamedResponse, encoded_in_thread
from hifigan_rt.tools.serving.whole_response import whole_response

logger = logging.getLogger(__name__)

PCM_RATE_HZ = 24000
"""Sample rate of the format pcm, which has no header: OpenAI's clients take it for granted."""

_MAX_BODY_BYTES = 1 << 20
_SPEEDS = (0.25, 4.0)

_FORMATS: Mapping[str, tuple[str, str]] = {
    "mp3": ("mp3", "audio/mpeg"),
    "opus": ("opus", FORMATS["opus"].media_type),
    "flac": ("flac", "audio/flac"),
    "wav": ("wav", "audio/wav"),
    "pcm": ("pcm16", "audio/pcm"),
    "float32": ("float32", FORMATS["float32"].media_type),
}
"""Names of encoder and media type, by OpenAI's name of the format; float32 is our own."""

_SENT_WHOLE = ("flac",)
"""Formats whose header has to state the length: libsndfile reads no saved file without it."""


@dataclass(frozen=True)
class _Asked:
    text: str
    voice: str
    speaker: str | None
    format: str
    speed: float


async def speak(request: Request) -> Response:
    """Answer a text with its audio, which but for flac is sent while it is computed, a sentence after the other."""
    context, record = context_of(request), record_of(request)
    query_of(request, ())
    body = await read_body(request, _MAX_BODY_BYTES, becomes=lambda _: SPEECH_BYTES)
    asked = _read(parse_json(bytes(body), "the body"))
    if asked.voice not in context.models.names:
        raise context.models.unknown_voice(asked.voice)
    with await context.models.lease(asked.voice) as lease:
        record.model = lease.name
        audio = begin_speech(context, record, lease, asked.text, asked.speaker, asked.speed)
        try:
            encoder = _encoder(asked.format, lease.sample_rate)
        except BadRequest:
            audio.close()
            raise
        is_streamed = asked.format not in _SENT_WHOLE
        record.facts.update(characters=len(asked.text), format=asked.format, streamed=is_streamed)
        headers = {
            "Cache-Control": "no-store",
            "Content-Type": _FORMATS[asked.format][1].format(rate=encoder.sample_rate),
            "X-Model": lease.name,
            "X-Sample-Rate": str(encoder.sample_rate),
        }
        if not is_streamed:
            parts = await while_connected(request.receive, _whole(context, record, audio, encoder))
            return whole_response(parts, headers)
        streamed = StreamedResponse(context, record, audio, encoder, threaded=True)
        await streamed.begin(request.receive)
        streamed.init_headers(headers)
        return streamed


async def _whole(context: Context, record: RequestRecord, audio: SpokenAudio, encoder: StreamEncoder) -> list[bytes]:
    """Encode all audio of a text, and count the memory that it takes."""
    try:
        parts = [encoder.start()]
        async for piece in audio:
            parts.append(await encoded_in_thread(partial(encoder.encode, piece)))
            context.memory.grow(record, record.held_bytes + len(parts[-1]))
        parts.append(await encoded_in_thread(encoder.finish))
    finally:
        audio.close()
        encoder.close()
    context.telemetry.clipped(record.model, encoder.clipped)
    record.facts["clipped_samples"] = encoder.clipped
    return completed(encoder, parts)


def _read(values: object) -> _Asked:
    """Read the body.

    Raises:
        BadRequest: a key is missing, unknown, mistyped, or asks for what is not offered.
    """
    if not isinstance(values, dict):
        raise BadRequest("the body must be an object with the keys input and voice")
    if unknown := sorted(values.keys() - _SCHEMA["properties"].keys()):
        raise BadRequest(f"{unknown[0][:40]!r} is not known here: {', '.join(_SCHEMA['properties'])} are")
    text, voice = values.get("input"), values.get("voice")
    if not isinstance(text, str) or not text.strip():
        raise BadRequest(f"input must be the text to speak, and is {shown(text)}")
    if isinstance(voice, dict):
        voice = voice.get("id")
    if not isinstance(voice, str):
        raise BadRequest(
            f"voice must be the name of a voice of this server, and is {shown(voice)}: GET /v1/models lists them"
        )
    if not isinstance(values.get("model"), (str, NoneType)):
        raise BadRequest(f"model={repr(values['model'])[:40]} must be a text, or be left out")
    if values.get("instructions") not in (None, ""):
        raise BadRequest("instructions are not followed: these voices have one manner each; leave them out")
    if (stream_format := values.get("stream_format")) not in (None, "audio"):
        raise BadRequest(f"stream_format={str(stream_format)[:40]!r} is not offered: the audio itself is streamed")
    name = "mp3" if values.get("response_format") is None else values["response_format"]
    if not isinstance(name, str) or name not in _FORMATS:
        raise BadRequest(f"response_format={str(name)[:40]!r} is not offered: {', '.join(_FORMATS)} are")
    speed = values.get("speed")
    speed = 1.0 if speed is None else speed
    if not isinstance(speed, (int, float)) or isinstance(speed, bool) or not _SPEEDS[0] <= speed <= _SPEEDS[1]:
        raise BadRequest(f"speed={repr(speed)[:40]} must be a number from {_SPEEDS[0]:g} to {_SPEEDS[1]:g}")
    voice, slash, speaker = voice.partition("/")
    return _Asked(text, voice, speaker if slash else None, name, float(speed))


def _encoder(name: str, sample_rate: int) -> StreamEncoder:
    encoder, _ = _FORMATS[name]
    try:
        if name == "pcm" and sample_rate != PCM_RATE_HZ:
            return Resampled(stream_encoder(encoder, PCM_RATE_HZ), sample_rate)
        return stream_encoder(encoder, sample_rate)
    except OutputError as error:
        raise BadRequest(f"response_format={name!r}: {error}") from error


_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["input", "voice"],
    "additionalProperties": False,
    "properties": {
        "input": {"type": "string", "minLength": 1, "description": "the text"},
        "voice": {
            "description": "a voice of this server, or VOICE/SPEAKER",
            "anyOf": [{"type": "string"}, {"type": "object", "required": ["id"]}],
        },
        "model": {"type": ["string", "null"], "description": "taken and not looked at: the voice decides"},
        "response_format": {"type": ["string", "null"], "enum": [*_FORMATS, None], "default": "mp3"},
        "speed": {"type": ["number", "null"], "minimum": _SPEEDS[0], "maximum": _SPEEDS[1], "default": 1},
        "stream_format": {"type": ["string", "null"], "enum": ["audio", None], "default": "audio"},
        "instructions": {"type": ["string", "null"], "maxLength": 0, "description": "refused"},
    },
}

ENDPOINTS = (
    Endpoint(
        "POST", "/v1/audio/speech", speak, "speech", "Audio of a text",
        {
            "200": response(
                "audio, mono, sent while it is computed; flac, whose header states the length, when it is whole",
                {media.partition(";")[0]: {"schema": {"type": "string"}} for _, media in _FORMATS.values()},
                {
                    "X-Model": {"description": "the voice", "schema": {"type": "string"}},
                    "X-Sample-Rate": {"description": "of the audio, in Hz", "schema": {"type": "string"}},
                },
            )
        },
        body={"required": True, "content": json_content(_SCHEMA)},
    ),
)  # fmt: skip
