"""Responses with audio: computed whole, or sent while it is computed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from hifigan_rt.audio.formats import FORMATS, encode_whole, encoded_rate, stream_encoder
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.tools.serving.context import context_of, flag, record_of
from hifigan_rt.tools.serving.errors import BadRequest
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.request_bodies import decoded, while_connected
from hifigan_rt.tools.serving.routes import flag_query, query, response
from hifigan_rt.tools.serving.streamed_response import StreamedResponse
from hifigan_rt.tools.serving.whole_response import whole_response

AUDIO_HEADERS = {
    "X-Sample-Rate": "of the audio as it is sent, in Hz",
    "X-Samples": "of the model's audio at its own rate: T * hop_length for every published model",
    "X-Audio-Seconds": "how long it lasts",
    "X-Model": "the model's name",
    "X-Clipped-Samples": "samples beyond the range of 16 bits, in whole answers",
    "X-Mel-Warning": "the mel holds padding, or its values look like another convention than the model's",
    "X-Recording-Warning": "a count in the recording contradicts what it holds",
}
"""Facts that responses with audio tell in headers, beside X-Request-Id and Server-Timing."""

AUDIO_QUERY = (
    query("model", "of /v1/models; the default one if it is not given", {"type": "string"}),
    query("format", "of the audio", {"type": "string", "enum": list(FORMATS), "default": "wav"}),
    flag_query("stream", "send the audio while it is computed, chunked"),
    query("speaker", "name or number of one of the model's speakers, a name first", {"type": "string"}),
)
"""Parameters of the query that every route with audio takes."""

_MEDIA_TYPES = {name: audio_format.media_type.partition(";")[0] for name, audio_format in FORMATS.items()}

AUDIO_RESPONSES = {
    "200": response(
        "audio, mono",
        {
            media_type: {
                "schema": {"type": "string", "contentMediaType": media_type},
                "x-format": f"format={name}: {FORMATS[name].description}",
            }
            for name, media_type in _MEDIA_TYPES.items()
        },
        {name: {"description": text, "schema": {"type": "string"}} for name, text in AUDIO_HEADERS.items()},
    )
}
"""Responses of success of every route with audio."""

_INLINE = ("wav", "pcm16", "float32")
"""Formats that cost less to encode than to hand to a thread, as long as the audio is short."""
_INLINE_SAMPLES = 1 << 18
_JUDGED_FRAMES = 1 << 14
"""Frames at a mel's beginning that are looked at for another convention: enough to judge by, and some MB."""


@dataclass(frozen=True)
class AudioOptions:
    """Audio as a client wants it."""

    model: str | None
    """Name of the model; None for the default one."""
    format: str
    """Key of `FORMATS`."""
    streamed: bool
    """Whether the audio is sent while it is computed."""
    speaker: str | None = None
    """Name or number of who speaks."""


def audio_options(query: Mapping[str, str]) -> AudioOptions:
    """Read the parameters of `AUDIO_QUERY`.

    Raises:
        BadRequest: the format is unknown, or a flag is neither 0 nor 1.
    """
    name = query.get("format", "wav")
    if name not in FORMATS:
        raise BadRequest(f"format={name[:40]!r} is not known: {', '.join(FORMATS)} are")
    return AudioOptions(query.get("model"), name, flag(query, "stream"), query.get("speaker"))


class StageTimes:
    """Times of a request's stages, for the header Server-Timing (milliseconds)."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._parts: list[str] = []

    def end(self, name: str) -> None:
        """End a stage; the next begins."""
        now = time.perf_counter()
        self._parts.append(f"{name};dur={1000 * (now - self._began):.1f}")
        self._began = now

    @property
    def header(self) -> str:
        """Value of the header."""
        return ", ".join(self._parts)


async def respond_with_audio(
    request: Request,
    lease: ModelLease,
    mel: CheckedMel,
    voice: np.ndarray | None,
    options: AudioOptions,
    stages: StageTimes,
    headers: Mapping[str, str],
) -> Response:
    """Compute a mel's audio and make the response. The lease stays the caller's.

    Args:
        request: its client waits; when the client goes, the work is cancelled.
        lease: the model.
        mel: `[M, T]`.
        voice: what the model takes beside it, of `ModelLease.conditioning`.
        options: format and way.
        stages: what has been timed so far.
        headers: further headers of the response.

    Raises:
        ServingError: the queue is full, the engine failed, or the time is over.
        ClientDisconnect: the client went.
    """
    context, record = context_of(request), record_of(request)
    name, frames = options.format, mel.shape[1]
    seconds, samples = lease.audio_seconds(frames), lease.vocoder.output_length(frames)
    record.facts.update(frames=frames, audio_seconds=round(seconds, 3), format=name, streamed=options.streamed)
    facts = {
        "Cache-Control": "no-store",
        "Content-Type": FORMATS[name].media_type.format(rate=lease.sample_rate),
        "X-Model": lease.name,
        "X-Sample-Rate": str(encoded_rate(name, lease.sample_rate)),
        "X-Samples": str(samples),
        "X-Audio-Seconds": f"{seconds:.6f}",
        **headers,
    }
    judged = mel[:, :_JUDGED_FRAMES]
    finding = await decoded(lambda: lease.diagnose(judged), judged.nbytes)
    if finding is not None:
        facts["X-Mel-Warning"] = record.facts["mel_warning"] = finding
    if options.streamed:
        # No deadline: a client may well listen while it reads; one that does not read is found by the connection.
        pieces = context.scheduler.stream_request(lease, mel, voice, client=record.client)
        encoder = stream_encoder(name, lease.sample_rate, samples)
        streamed = StreamedResponse(context, record, pieces, encoder, threaded=name not in _INLINE)
        await streamed.begin(request.receive)
        stages.end("first-audio")
        streamed.init_headers(facts | {"Server-Timing": stages.header})
        return streamed
    deadline = record.started + context.settings.request_timeout_seconds
    work = context.scheduler.synthesize(lease, [mel], voice, client=record.client, deadline=deadline)
    (audio,) = await while_connected(request.receive, work)
    stages.end("compute")
    encoding = (name, audio, lease.sample_rate)
    inline = name in _INLINE and len(audio) <= _INLINE_SAMPLES
    encoded = encode_whole(*encoding) if inline else await asyncio.to_thread(encode_whole, *encoding)
    stages.end("encode")
    context.telemetry.clipped(lease.name, encoded.clipped)
    record.facts["clipped_samples"] = encoded.clipped
    facts |= {"X-Clipped-Samples": str(encoded.clipped), "Server-Timing": stages.header}
    return whole_response(encoded.parts, facts)
