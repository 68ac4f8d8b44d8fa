"""The client for asyncio: `Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from hifigan_rt.tools.client.protocol import (
    DEFAULT_URL,
    FINISH,
    OpenedStream,
    Pieces,
    RemoteAudio,
    Request,
    StreamFacts,
    authorization,
    checked_url,
    failure_of,
    frames_message,
    mel_request,
    opened,
    read_audio,
    recording_request,
    require,
    stream_header,
    stream_url,
    understand,
)
from hifigan_rt.tools.client.translation import as_ours


class AsyncClient:
    """`Client` for asyncio: the same methods, awaited."""

    def __init__(self, url: str = DEFAULT_URL, *, token: str | None = None, timeout_seconds: float = 60.0) -> None:
        """See `Client`."""
        self._url, self._token, self._timeout = checked_url(url), token, timeout_seconds
        self._http = require("httpx2").AsyncClient(
            base_url=self._url, headers=authorization(token), timeout=timeout_seconds, follow_redirects=False
        )

    async def synthesize(self, mel: np.ndarray, model: str | None = None) -> RemoteAudio:
        """See `Client.synthesize`."""
        return await self._audio(mel_request(mel, model, streamed=False))

    async def synthesize_streamed(self, mel: np.ndarray, model: str | None = None) -> AsyncIterator[np.ndarray]:
        """See `Client.synthesize_streamed`."""
        request = mel_request(mel, model, streamed=True)
        pieces = Pieces()
        with as_ours(self._url):
            async with self._http.stream(
                "POST", request.path, params=request.query, content=request.body, headers=request.headers
            ) as answer:
                if answer.status_code != 200:
                    raise failure_of(answer.status_code, answer.headers, await answer.aread())
                async for content in answer.aiter_raw():
                    samples = pieces.add(content)
                    if samples.size:
                        yield samples

    async def copy_synthesis(
        self,
        recording: bytes | str | Path,
        model: str | None = None,
        *,
        resample: bool = False,
        mono: bool = False,
    ) -> RemoteAudio:
        """See `Client.copy_synthesis`."""
        return await self._audio(recording_request(recording, model, resample=resample, mono=mono))

    async def models(self) -> list[dict[str, Any]]:
        """See `Client.models`."""
        with as_ours(self._url):
            answer = await self._http.get("/v1/models")
        if answer.status_code != 200:
            raise failure_of(answer.status_code, answer.headers, answer.content)
        models: list[dict[str, Any]] = answer.json()["models"]
        return models

    @asynccontextmanager
    async def stream(
        self, model: str | None = None, *, segment_frames: int | None = None
    ) -> AsyncIterator[AsyncLiveStream]:
        """See `Client.stream`."""
        connect = require("websockets.asyncio.client").connect
        headers = authorization(self._token)
        async with AsyncExitStack() as stack:
            with as_ours(self._url):
                connection = connect(
                    stream_url(self._url), additional_headers=headers, open_timeout=self._timeout, max_queue=None,
                    max_size=None, compression=None,
                )  # fmt: skip
                socket = await stack.enter_async_context(connection)
                await socket.send(stream_header(model, segment_frames))
                facts = opened(await asyncio.wait_for(socket.recv(), self._timeout))
            yield AsyncLiveStream(socket, facts, self._url, self._timeout)

    async def close(self) -> None:
        """Close the kept connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _audio(self, request: Request) -> RemoteAudio:
        with as_ours(self._url):
            answer = await self._http.post(
                request.path, params=request.query, content=request.body, headers=request.headers
            )
        if answer.status_code != 200:
            raise failure_of(answer.status_code, answer.headers, answer.content)
        return read_audio(answer.headers, answer.content)


class AsyncLiveStream(OpenedStream):
    """An open stream; one task may push while another reads."""

    def __init__(self, socket: Any, facts: StreamFacts, url: str, timeout_seconds: float) -> None:
        super().__init__(facts)
        self._socket, self._url, self._timeout = socket, url, timeout_seconds

    async def push(self, frames: np.ndarray) -> None:
        """See `LiveStream.push`."""
        with as_ours(self._url):
            await self._socket.send(frames_message(frames, self._facts.num_mels))

    async def finish(self) -> None:
        """Say that no more frames come; what is left of the audio is still to be read."""
        with as_ours(self._url):
            await self._socket.send(FINISH)

    async def __aiter__(self) -> AsyncIterator[np.ndarray]:
        """The audio from here on, waiting for it, until the end that `finish` brings.

        Raises:
            RequestFailed: the server ended the stream.
            ServerUnreachable: nothing came for too long.
        """
        with as_ours(self._url):
            while (
                samples := understand(await asyncio.wait_for(self._socket.recv(), self._timeout), self._facts)
            ) is not None:
                if samples.size:
                    yield samples
