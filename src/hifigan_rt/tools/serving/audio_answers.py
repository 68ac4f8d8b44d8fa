"""Audio as an answer: computed whole, or sent while it is computed; the work ends as soon as the client is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hifigan_rt.errors import AudioError
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.tools.serving.context import Context, Exchange, context_of, exchange_of, flag
from hifigan_rt.tools.serving.encoders import FORMATS, StreamEncoder, encode_whole, encoded_rate, stream_encoder
from hifigan_rt.tools.serving.failures import BadRequest, EngineFailed
from hifigan_rt.tools.serving.models import ModelLease
from hifigan_rt.tools.serving.openapi_parts import answer, flag_query, query
from hifigan_rt.tools.serving.request_bodies import decoded
from hifigan_rt.tools.serving.scheduler import AudioStream

T = TypeVar("T")

AUDIO_PARAMETERS = frozenset({"model", "format", "stream"})
"""Of the query, for every route that answers with audio."""

AUDIO_HEADERS = {
    "X-Sample-Rate": "of the audio as it is sent, in Hz",
    "X-Samples": "of the model's audio at its own rate: T * hop_length for every published model",
    "X-Audio-Seconds": "how long it lasts",
    "X-Model": "the model's name",
    "X-Clipped-Samples": "samples beyond the range of 16 bits, in whole answers",
    "X-Mel-Warning": "the mel's values look like another convention than the model's",
}
"""The facts that answers tell, beside X-Request-Id and Server-Timing."""

AUDIO_QUERY = (
    query("model", "of /v1/models; the default one if it is not given", {"type": "string"}),
    query("format", "of the audio", {"type": "string", "enum": list(FORMATS), "default": "wav"}),
    flag_query("stream", "send the audio while it is computed, chunked"),
)
"""`AUDIO_PARAMETERS` for the OpenAPI document."""

_INLINE = ("wav", "pcm16", "float32")
"""Formats that cost less to encode than to hand to a thread."""


@dataclass(frozen=True)
class Wish:
    """How a client wants its audio."""

    model: str | None
    """None for the default one."""
    format: str
    """A key of `FORMATS`."""
    streamed: bool
    """Sent while it is computed."""


def wish_of(query: Mapping[str, str]) -> Wish:
    """Read the parameters that all audio routes share.

    Raises:
        BadRequest: an unknown format, or a flag that is none.
    """
    name = query.get("format", "wav")
    if name not in FORMATS:
        raise BadRequest(f"format={name[:40]!r} is not known: {', '.join(FORMATS)} are")
    return Wish(query.get("model"), name, flag(query, "stream"))


class Stages:
    """Times of a request's stages, for the header Server-Timing (milliseconds)."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._parts: list[str] = []

    def end(self, name: str) -> None:
        """A stage is over; the next begins."""
        now = time.perf_counter()
        self._parts.append(f"{name};dur={1000 * (now - self._began):.1f}")
        self._began = now

    @property
    def header(self) -> str:
        return ", ".join(self._parts)


def audio_response() -> dict[str, Any]:
    """What audio routes answer with, for the OpenAPI document."""
    content = {
        audio_format.media_type.partition(";")[0]: {
            "schema": {"type": "string", "contentMediaType": audio_format.media_type.partition(";")[0]},
            "x-format": f"format={name}: {audio_format.description}",
        }
        for name, audio_format in FORMATS.items()
    }
    headers = {
        name: {"description": description, "schema": {"type": "string"}} for name, description in AUDIO_HEADERS.items()
    }
    return {"200": answer("audio, mono", content, headers)}


async def answer_audio(
    request: Request, lease: ModelLease, mel: CheckedMel, wish: Wish, stages: Stages, headers: Mapping[str, str]
) -> Response:
    """Compute a mel's audio and answer with it. The lease stays the caller's.

    Args:
        request: whose client waits; when it goes, the work is cancelled.
        lease: the model.
        mel: float32 `[M, T]`, checked.
        wish: format and way.
        stages: what has been timed so far.
        headers: more facts for the answer.

    Raises:
        ServingError: the queue is full, the engine failed, or the time is over.
        ClientDisconnect: the client went.
    """
    exchange = exchange_of(request)
    frames = mel.shape[1]
    seconds = lease.audio_seconds(frames)
    exchange.facts.update(frames=frames, audio_seconds=round(seconds, 3), format=wish.format, streamed=wish.streamed)
    facts = {
        "Cache-Control": "no-store",
        "X-Model": lease.name,
        "X-Sample-Rate": str(encoded_rate(wish.format, lease.sample_rate)),
        "X-Samples": str(lease.vocoder.output_length(frames)),
        "X-Audio-Seconds": f"{seconds:.6f}",
        **headers,
    }
    # Before more is done for it, now that its length is known; the computing asks again.
    context_of(request).scheduler.admit(lease, frames)
    convention = await decoded(lambda: lease.likely_other_convention(mel), mel.nbytes)
    if convention is not None:
        facts["X-Mel-Warning"] = exchange.facts["mel_warning"] = f"the mel looks like {convention}"
    compute = _streamed if wish.streamed else _whole
    return await compute(request, lease, mel, wish, stages, facts)


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """Await work whose body has been read, and cancel it when the client goes.

    Raises:
        ClientDisconnect: the client went before the end.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        watch.cancel()
        task.cancel()
        # Until it has let go of model and encoder, which the caller frees next.
        await asyncio.wait((task, watch))


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _whole(
    request: Request, lease: ModelLease, mel: CheckedMel, wish: Wish, stages: Stages, facts: dict[str, str]
) -> Response:
    context, exchange = context_of(request), exchange_of(request)
    deadline = exchange.started + context.settings.request_timeout_seconds
    work = context.scheduler.synthesize(lease, [mel], deadline=deadline)
    (audio,) = await while_connected(request.receive, work)
    stages.end("compute")
    encode = _translated(lambda: encode_whole(wish.format, audio, lease.sample_rate))
    encoded = encode() if wish.format in _INLINE else await asyncio.to_thread(encode)
    stages.end("encode")
    context.telemetry.clipped(lease.name, encoded.clipped)
    exchange.facts["clipped_samples"] = encoded.clipped
    facts |= {"X-Clipped-Samples": str(encoded.clipped), "Server-Timing": stages.header}
    return Response(encoded.content, headers=facts | {"Content-Type": _media_type(wish.format, lease.sample_rate)})


async def _streamed(
    request: Request, lease: ModelLease, mel: CheckedMel, wish: Wish, stages: Stages, facts: dict[str, str]
) -> Response:
    context, exchange = context_of(request), exchange_of(request)
    # No deadline: a client may well listen while it reads; one that does not read is found by the connection.
    pieces = context.scheduler.stream_request(lease, mel)
    encoder = stream_encoder(wish.format, lease.sample_rate, lease.vocoder.output_length(mel.shape[1]))
    response = StreamedAnswer(context, exchange, pieces, encoder, threaded=wish.format not in _INLINE)
    try:
        # What goes wrong before the first sample can still be told in a status.
        await while_connected(request.receive, response.begin())
    except BaseException:
        response.free()
        raise
    stages.end("first-audio")
    response.init_headers(
        facts | {"Content-Type": _media_type(wish.format, lease.sample_rate), "Server-Timing": stages.header}
    )
    return response


class StreamedAnswer(Response):
    """An answer whose audio leaves while the rest is computed."""

    def __init__(
        self, context: Context, exchange: Exchange, pieces: AudioStream, encoder: StreamEncoder, *, threaded: bool
    ) -> None:
        """Take over the audio and its encoder; `begin` and `init_headers` come next.

        Args:
            context: of the server.
            exchange: the request's record.
            pieces: the audio as it is computed.
            encoder: what it is sent as.
            threaded: whether encoding takes so long that it must not hold up the event loop.
        """
        self.status_code = 200
        self.background = None
        self._context, self._exchange = context, exchange
        self._pieces = pieces
        self._encoder = encoder
        self._threaded = threaded
        self._begun = b""

    async def begin(self) -> None:
        """Wait for the first audio."""
        self._begun = self._encoder.start()
        first = await anext(self._pieces, None)
        if first is not None:
            self._begun += await self._encoded(first)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it all, and stop the work when the client goes."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await while_connected(receive, self._send(send))
        finally:
            self.free()
            self._context.telemetry.clipped(self._exchange.model, self._encoder.clipped)
            self._exchange.facts["clipped_samples"] = self._encoder.clipped

    def free(self) -> None:
        """Stop the computing; what was not sent is dropped."""
        self._pieces.close()
        self._encoder.close()

    async def _send(self, send: Send) -> None:
        if self._begun:
            await send({"type": "http.response.body", "body": self._begun, "more_body": True})
        async for piece in self._pieces:
            content = await self._encoded(piece)
            if content:
                await send({"type": "http.response.body", "body": content, "more_body": True})
        rest = await self._in_thread(self._encoder.finish)
        await send({"type": "http.response.body", "body": rest, "more_body": False})

    async def _encoded(self, piece: np.ndarray) -> bytes:
        return await self._in_thread(_translated(lambda: self._encoder.encode(piece)))

    async def _in_thread(self, encode: Callable[[], bytes]) -> bytes:
        if not self._threaded:
            return encode()
        future = asyncio.ensure_future(asyncio.to_thread(encode))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # The encoder is freed next, and must not be at work then.
            await asyncio.wait((future,))
            raise


def _translated(encode: Callable[[], T]) -> Callable[[], T]:
    """Audio that is not finite is the engine's failure, not the client's."""

    def translated() -> T:
        try:
            return encode()
        except AudioError as error:
            raise EngineFailed("the model gave values that are no audio: the server's log tells more") from error

    return translated


def _media_type(name: str, sample_rate: int) -> str:
    return FORMATS[name].media_type.format(rate=sample_rate)
