"""Response whose audio leaves while the rest is computed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import numpy as np
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hifigan_rt.audio.formats import StreamEncoder
from hifigan_rt.tools.serving.context import Context, RequestRecord
from hifigan_rt.tools.serving.request_bodies import while_connected


class AudioPieces(Protocol):
    """Pieces of audio, float32 `[n]`, as they are computed."""

    def __aiter__(self) -> AsyncIterator[np.ndarray]: ...
    def __anext__(self) -> Awaitable[np.ndarray]: ...
    def close(self) -> None:
        """Stop the computing."""


class StreamedResponse(Response):
    """Response whose audio leaves while the rest is computed."""

    def __init__(
        self, context: Context, record: RequestRecord, audio: AudioPieces, encoder: StreamEncoder, *, threaded: bool
    ) -> None:
        """Take over the audio and its encoder; `begin` and `init_headers` come next.

        Args:
            context: parts of the server.
            record: the request's record.
            audio: pieces of audio as they are computed.
            encoder: encoder of the audio.
            threaded: whether encoding takes so long that it must not hold up the event loop.
        """
        self.status_code = 200
        self.background = None
        self._context, self._record = context, record
        self._audio = audio
        self._encoder = encoder
        self._threaded = threaded
        self._begun = b""

    async def begin(self, receive: Receive) -> None:
        """Wait for the first audio: what goes wrong before it can still be told in a status.

        Raises:
            ServingError: it could not be computed.
            ClientDisconnect: the client went.
        """
        try:
            await while_connected(receive, self._first())
        except BaseException:
            self.free()
            raise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it all, and stop the work when the client goes."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await while_connected(receive, self._send(send))
        finally:
            self.free()
            self._context.telemetry.clipped(self._record.model, self._encoder.clipped)
            self._record.facts["clipped_samples"] = self._encoder.clipped

    def free(self) -> None:
        """Stop the computing; what was not sent is dropped."""
        self._audio.close()
        self._encoder.close()

    async def _first(self) -> None:
        self._begun = self._encoder.start()
        first = await anext(self._audio, None)
        if first is not None:
            self._begun += await self._encoded(first)

    async def _send(self, send: Send) -> None:
        if self._begun:
            await send({"type": "http.response.body", "body": self._begun, "more_body": True})
        async for piece in self._audio:
            content = await self._encoded(piece)
            if content:
                await send({"type": "http.response.body", "body": content, "more_body": True})
        rest = await self._in_thread(self._encoder.finish)
        await send({"type": "http.response.body", "body": rest, "more_body": False})

    async def _encoded(self, piece: np.ndarray) -> bytes:
        return await self._in_thread(lambda: self._encoder.encode(piece))

    async def _in_thread(self, encode: Callable[[], bytes]) -> bytes:
        return await encoded_in_thread(encode) if self._threaded else encode()


async def encoded_in_thread(encode: Callable[[], bytes]) -> bytes:
    """Encode in a thread; when it is cancelled, wait for the thread: the encoder is freed next."""
    future = asyncio.ensure_future(asyncio.to_thread(encode))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait((future,))
        raise
