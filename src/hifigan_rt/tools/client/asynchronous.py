"""Client for asyncio: `Client`, awaited."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from hifigan_rt.tools.client.connections import AnyClient
from hifigan_rt.tools.client.protocol import (
    Call,
    Pieces,
    RemoteAudio,
    VoiceOfCall,
    copy_synthesis,
    failure_of,
    is_answer,
    models,
    require,
    synthesis,
)
from hifigan_rt.tools.client.speech_protocol import speech
from hifigan_rt.tools.client.stream_protocol import FINISH, OpenedStream, read_text, stream_header
from hifigan_rt.tools.client.translation import errors_translated

T = TypeVar("T")


class AsyncClient(AnyClient):
    """`Client` for asyncio: the same methods, awaited."""

    _http_class = "AsyncClient"
    _transport_class = "AsyncHTTPTransport"

    async def synthesize(
        self,
        mel: np.ndarray,
        model: str | None = None,
        *,
        speaker: int | str | None = None,
        conditioning: object = None,
    ) -> RemoteAudio:
        """See `Client.synthesize`."""
        return await self._answer(synthesis(mel, model, VoiceOfCall(speaker, conditioning)))

    async def synthesize_streamed(
        self,
        mel: np.ndarray,
        model: str | None = None,
        *,
        speaker: int | str | None = None,
        conditioning: object = None,
    ) -> AsyncIterator[np.ndarray]:
        """See `Client.synthesize_streamed`."""
        call = synthesis(mel, model, VoiceOfCall(speaker, conditioning), streamed=True)
        async with aclosing(self._pieces(call)) as pieces:
            async for samples in pieces:
                yield samples

    async def speak(
        self, text: str, voice: str, *, speaker: int | str | None = None, speed: float = 1.0
    ) -> RemoteAudio:
        """See `Client.speak`."""
        return await self._answer(speech(text, voice, speaker, speed))

    async def speak_streamed(
        self, text: str, voice: str, *, speaker: int | str | None = None, speed: float = 1.0
    ) -> AsyncIterator[np.ndarray]:
        """See `Client.speak_streamed`."""
        async with aclosing(self._pieces(speech(text, voice, speaker, speed))) as pieces:
            async for samples in pieces:
                yield samples

    async def copy_synthesis(
        self,
        recording: bytes | bytearray | memoryview | str | Path,
        model: str | None = None,
        *,
        resample: bool = False,
        mono: bool = False,
        speaker: int | str | None = None,
        conditioning: object = None,
    ) -> RemoteAudio:
        """See `Client.copy_synthesis`."""
        voice = VoiceOfCall(speaker, conditioning)
        return await self._answer(copy_synthesis(recording, model, voice, resample=resample, mono=mono))

    async def models(self) -> list[dict[str, Any]]:
        """See `Client.models`."""
        return await self._answer(models())

    @asynccontextmanager
    async def stream(
        self,
        model: str | None = None,
        *,
        segment_frames: int | None = None,
        speaker: int | str | None = None,
        conditioning: object = None,
    ) -> AsyncIterator[AsyncLiveStream]:
        """See `Client.stream`."""
        connect = require("websockets.asyncio.client").connect
        header = stream_header(model, segment_frames, VoiceOfCall(speaker, conditioning))
        async with AsyncExitStack() as stack:
            with errors_translated(self._server, streamed=True):
                socket = await stack.enter_async_context(connect(**self._server.stream_options))
                await socket.send(header)
                ready = read_text(await asyncio.wait_for(socket.recv(), self._server.timeout_seconds))
            yield AsyncLiveStream(socket, ready, self._server)

    async def close(self) -> None:
        """Close the kept connections; closing twice is allowed."""
        if (http := self._given_up()) is not None:
            await http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _present_user(self) -> object:
        # Connections are bound to the event loop that made them, and each asyncio.run has its own.
        return os.getpid(), asyncio.get_running_loop()

    async def _answer(self, call: Call[T]) -> T:
        with errors_translated(self._server):
            response = await self._http.request(**call.options)
        return call.result(response, self._server)

    async def _pieces(self, call: Call[RemoteAudio]) -> AsyncGenerator[np.ndarray, None]:
        with errors_translated(self._server):
            async with self._http.stream(**call.options) as response:
                if not is_answer(response.status_code, response.headers):
                    body = await response.aread()
                    raise failure_of(response.status_code, response.headers, body, self._server.proxy)
                pieces = Pieces(response.headers)
                async for content in response.aiter_bytes():  # unpacked: proxies may pack answers
                    samples = pieces.add(content)
                    if samples.size:
                        yield samples
                pieces.end()


class AsyncLiveStream(OpenedStream):
    """Open live stream; one task may push while another reads."""

    _message_bytes = 1 << 20  # servers take twice as much

    async def push(self, frames: np.ndarray) -> None:
        """See `LiveStream.push`."""
        with errors_translated(self._server, streamed=True):
            for message in self._messages(frames):
                await self._socket.send(message)

    async def finish(self) -> None:
        """See `LiveStream.finish`."""
        with errors_translated(self._server, streamed=True):
            await self._socket.send(FINISH)

    async def __aiter__(self) -> AsyncIterator[np.ndarray]:
        """See `LiveStream.__iter__`."""
        with errors_translated(self._server, streamed=True):
            while True:
                message = await asyncio.wait_for(self._socket.recv(), self._server.timeout_seconds)
                samples = self._samples(message)
                if samples is None:
                    return
                if samples.size:
                    yield samples
