"""The client for ordinary code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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


class Client:
    """A connection to a `hifigan serve`, kept open between requests; safe to use from several threads."""

    def __init__(self, url: str = DEFAULT_URL, *, token: str | None = None, timeout_seconds: float = 60.0) -> None:
        """Connections are made when they are needed.

        Args:
            url: of the server.
            token: the bearer token, if the server asks for one.
            timeout_seconds: for connecting, and for each piece of an answer.

        Raises:
            ServerUnreachable: the address is none, or the extra `client` is not installed.
        """
        self._url, self._token, self._timeout = checked_url(url), token, timeout_seconds
        self._http = require("httpx2").Client(
            base_url=self._url, headers=authorization(token), timeout=timeout_seconds, follow_redirects=False
        )

    def synthesize(self, mel: np.ndarray, model: str | None = None) -> RemoteAudio:
        """Send a mel, get its audio when all of it is computed.

        Args:
            mel: float `[M, T]`, the model's log-mel.
            model: one of `models()`; the server's default if it is not given.

        Raises:
            MelError: it is not [M, T].
            RequestFailed: the server refused it; `retry_after_seconds` is set if it is only busy.
            ServerUnreachable: nothing answers.
        """
        return self._audio(mel_request(mel, model, streamed=False))

    def synthesize_streamed(self, mel: np.ndarray, model: str | None = None) -> Iterator[np.ndarray]:
        """Send a mel, get its audio piece by piece while it is computed.

        Leaving the iteration ends the work on the server.

        Yields:
            float32 `[n]`.

        Raises:
            MelError, RequestFailed, ServerUnreachable: see `synthesize`; also later, if the connection breaks.
        """
        request = mel_request(mel, model, streamed=True)
        pieces = Pieces()
        with (
            as_ours(self._url),
            self._http.stream(
                "POST", request.path, params=request.query, content=request.body, headers=request.headers
            ) as answer,
        ):
            if answer.status_code != 200:
                raise failure_of(answer.status_code, answer.headers, answer.read())
            for content in answer.iter_raw():
                samples = pieces.add(content)
                if samples.size:
                    yield samples

    def copy_synthesis(
        self,
        recording: bytes | str | Path,
        model: str | None = None,
        *,
        resample: bool = False,
        mono: bool = False,
    ) -> RemoteAudio:
        """Send a recording, get what the model makes of its mel.

        Args:
            recording: a wav, flac, ogg or mp3: its path or its bytes.
            model: one of `models()`; the server's default if it is not given.
            resample: let the server convert another sample rate than the model's.
            mono: let the server average several channels.

        Raises:
            AudioError: the file cannot be read.
            RequestFailed, ServerUnreachable: see `synthesize`.
        """
        return self._audio(recording_request(recording, model, resample=resample, mono=mono))

    def models(self) -> list[dict[str, Any]]:
        """What the server offers, as `GET /v1/models` tells it.

        Raises:
            RequestFailed, ServerUnreachable: see `synthesize`.
        """
        with as_ours(self._url):
            answer = self._http.get("/v1/models")
        if answer.status_code != 200:
            raise failure_of(answer.status_code, answer.headers, answer.content)
        models: list[dict[str, Any]] = answer.json()["models"]
        return models

    @contextmanager
    def stream(self, model: str | None = None, *, segment_frames: int | None = None) -> Iterator[LiveStream]:
        """Open a live stream: frames go in as they come, audio comes out as soon as it is determined.

        Args:
            model: one of `models()`; the server's default if it is not given.
            segment_frames: frames that are computed together; the server's choice if it is not given.

        Raises:
            RequestFailed, ServerUnreachable: see `synthesize`.
        """
        connect = require("websockets.sync.client").connect
        headers = authorization(self._token)
        with ExitStack() as stack:
            with as_ours(self._url):
                # No bound on what was received and not read: it is never more than the audio of what was pushed, and a
                # bound would stop a caller who pushes much before reading anything.
                socket = stack.enter_context(
                    connect(
                        stream_url(self._url), additional_headers=headers, open_timeout=self._timeout, max_queue=None,
                        max_size=None, compression=None,
                    )
                )  # fmt: skip
                socket.send(stream_header(model, segment_frames))
                facts = opened(socket.recv(self._timeout))
            yield LiveStream(socket, facts, self._url, self._timeout)

    def close(self) -> None:
        """Close the kept connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _audio(self, request: Request) -> RemoteAudio:
        with as_ours(self._url):
            answer = self._http.post(request.path, params=request.query, content=request.body, headers=request.headers)
        if answer.status_code != 200:
            raise failure_of(answer.status_code, answer.headers, answer.content)
        return read_audio(answer.headers, answer.content)


class LiveStream(OpenedStream):
    """An open stream; one thread may push while another reads."""

    def __init__(self, socket: Any, facts: StreamFacts, url: str, timeout_seconds: float) -> None:
        super().__init__(facts)
        self._socket, self._url, self._timeout = socket, url, timeout_seconds

    def push(self, frames: np.ndarray) -> None:
        """Send frames.

        Args:
            frames: float `[M, F]`, F may be anything.

        Raises:
            MelError: they are not [M, F].
            ServerUnreachable: the connection is gone.
        """
        with as_ours(self._url):
            self._socket.send(frames_message(frames, self._facts.num_mels))

    def finish(self) -> None:
        """Say that no more frames come; what is left of the audio is still to be read."""
        with as_ours(self._url):
            self._socket.send(FINISH)

    def available(self) -> np.ndarray:
        """The audio that is here already, without waiting: float32 `[n]`, n may be 0.

        Raises:
            RequestFailed: the server ended the stream.
        """
        pieces = []
        with as_ours(self._url):
            while True:
                try:
                    samples = understand(self._socket.recv(0), self._facts)
                except TimeoutError:
                    break
                if samples is None:
                    break
                pieces.append(samples)
        return np.concatenate(pieces) if pieces else np.empty(0, np.float32)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The audio from here on, waiting for it, until the end that `finish` brings.

        Raises:
            RequestFailed: the server ended the stream.
            ServerUnreachable: nothing came for too long.
        """
        with as_ours(self._url):
            while (samples := understand(self._socket.recv(self._timeout), self._facts)) is not None:
                if samples.size:
                    yield samples
