"""Client for ordinary code."""

from __future__ import annotations

import selectors
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hifigan_rt.system.closing import Closing
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

_SECONDS_BETWEEN_LOOKS = 0.5
"""Time after which a push that waits looks whether the connection is still there."""


class Client(AnyClient, Closing):
    """Connection to a `hifigan serve`, kept open between requests; safe to use from several threads."""

    _http_class = "Client"
    _transport_class = "HTTPTransport"

    def synthesize(
        self,
        mel: np.ndarray,
        model: str | None = None,
        *,
        speaker: int | str | None = None,
        conditioning: object = None,
    ) -> RemoteAudio:
        """Send a mel, get its audio when all of it is computed.

        Args:
            mel: float `[M, T]`, the model's log-mel.
            model: one of `models()`; the server's default if it is not given.
            speaker: number or name of one of the model's speakers, where it has several.
            conditioning: in place of a speaker a vector, float `[G]`.

        Raises:
            ConditioningError: the vector is no array of numbers.
            MelError: it is not [M, T].
            RequestFailed: the server refused it; `retry_after_seconds` is set if it is only busy.
            ServerUnreachable: nothing answers.
        """
        return self._answer(synthesis(mel, model, VoiceOfCall(speaker, conditioning)))

    def synthesize_streamed(
        self,
        mel: np.ndarray,
        model: str | None = None,
        *,
        speaker: int | str | None = None,
        conditioning: object = None,
    ) -> Iterator[np.ndarray]:
        """Send a mel, get its audio piece by piece while it is computed.

        Leaving the iteration ends the work on the server.

        Yields:
            float32 `[n]`.

        Raises:
            MelError, RequestFailed, ServerUnreachable: see `synthesize`; also later, if the connection breaks.
        """
        yield from self._pieces(synthesis(mel, model, VoiceOfCall(speaker, conditioning), streamed=True))

    def speak(self, text: str, voice: str, *, speaker: int | str | None = None, speed: float = 1.0) -> RemoteAudio:
        """Send a text, get its audio when all of it is computed.

        Args:
            text: what is spoken.
            voice: one of `models()` that is a voice.
            speaker: number or name of one of the voice's speakers; the voice's own if it is not given.
            speed: 0.25 to 4; 1 is the voice's own.

        Raises:
            SpeechError: text or voice is no str, or the speed is no number.
            RequestFailed, ServerUnreachable: see `synthesize`.
        """
        return self._answer(speech(text, voice, speaker, speed))

    def speak_streamed(
        self, text: str, voice: str, *, speaker: int | str | None = None, speed: float = 1.0
    ) -> Iterator[np.ndarray]:
        """Send a text, get its audio piece by piece while it is computed; the arguments are those of `speak`.

        Leaving the iteration ends the work on the server.

        Yields:
            float32 `[n]`.

        Raises:
            SpeechError, RequestFailed, ServerUnreachable: see `speak`; also later, if the connection breaks.
        """
        yield from self._pieces(speech(text, voice, speaker, speed))

    def copy_synthesis(
        self,
        recording: bytes | bytearray | memoryview | str | Path,
        model: str | None = None,
        *,
        resample: bool = False,
        mono: bool = False,
        speaker: int | str | None = None,
        conditioning: object = None,
    ) -> RemoteAudio:
        """Send a recording, get what the model makes of its mel.

        Args:
            recording: a wav, flac, ogg or mp3: its path or its bytes.
            model: one of `models()`; the server's default if it is not given.
            resample: let the server convert another sample rate than the model's.
            mono: let the server average several channels.
            speaker, conditioning: see `synthesize`.

        Raises:
            AudioError: the file cannot be read.
            RequestFailed, ServerUnreachable: see `synthesize`.
        """
        voice = VoiceOfCall(speaker, conditioning)
        return self._answer(copy_synthesis(recording, model, voice, resample=resample, mono=mono))

    def models(self) -> list[dict[str, Any]]:
        """List the models that the server offers, as `GET /v1/models` tells them.

        Raises:
            RequestFailed, ServerUnreachable: see `synthesize`.
        """
        return self._answer(models())

    @contextmanager
    def stream(
        self,
        model: str | None = None,
        *,
        segment_frames: int | None = None,
        speaker: int | str | None = None,
        conditioning: object = None,
    ) -> Iterator[LiveStream]:
        """Open a live stream: frames go in as they come, audio comes out as soon as it is determined.

        Args:
            model: one of `models()`; the server's default if it is not given.
            segment_frames: frames that are computed together; the server's choice if it is not given.
            speaker, conditioning: see `synthesize`.

        Raises:
            RequestFailed, ServerUnreachable: see `synthesize`.
        """
        connect = require("websockets.sync.client").connect
        header = stream_header(model, segment_frames, VoiceOfCall(speaker, conditioning))
        with ExitStack() as stack:
            with errors_translated(self._server, streamed=True):
                socket = stack.enter_context(connect(**self._server.stream_options))
                socket.send(header)
                ready = read_text(socket.recv(self._server.timeout_seconds))
            yield LiveStream(socket, ready, self._server)

    def close(self) -> None:
        """Close the kept connections; closing twice is allowed."""
        if (http := self._given_up()) is not None:
            http.close()

    def _answer(self, call: Call[T]) -> T:
        with errors_translated(self._server):
            response = self._http.request(**call.options)
        return call.result(response, self._server)

    def _pieces(self, call: Call[RemoteAudio]) -> Iterator[np.ndarray]:
        with errors_translated(self._server), self._http.stream(**call.options) as response:
            if not is_answer(response.status_code, response.headers):
                raise failure_of(response.status_code, response.headers, response.read(), self._server.proxy)
            pieces = Pieces(response.headers)
            for content in response.iter_bytes():  # unpacked: proxies may pack answers
                samples = pieces.add(content)
                if samples.size:
                    yield samples
            pieces.end()


class LiveStream(OpenedStream):
    """Open live stream; one thread may push while another reads."""

    _message_bytes = 1 << 11
    """What any system has room for that says that a connection may be written to."""

    def push(self, frames: np.ndarray) -> None:
        """Send frames.

        Args:
            frames: float `[M, F]`, F may be anything.

        Raises:
            MelError: they are not [M, F].
            RequestFailed: the server has ended the stream; reading tells all that it said.
            ServerUnreachable: the connection is gone.
        """
        with errors_translated(self._server, streamed=True):
            for message in self._messages(frames):
                self._send(message)

    def finish(self) -> None:
        """Say that no more frames come; what is left of the audio is still to be read.

        Raises:
            RequestFailed, ServerUnreachable: see `push`.
        """
        with errors_translated(self._server, streamed=True):
            self._send(FINISH)

    def available(self) -> np.ndarray:
        """Give the audio that is here already, without waiting: float32 `[n]`, n may be 0.

        Raises:
            RequestFailed: the server ended the stream.
        """
        pieces = []
        with errors_translated(self._server, streamed=True):
            while True:
                try:
                    samples = self._samples(self._socket.recv(0))
                except TimeoutError:
                    break
                if samples is None:
                    break
                pieces.append(samples)
        return np.concatenate(pieces) if pieces else np.empty(0, np.float32)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Give the audio from here on, waiting for it, until the end that `finish` brings.

        Raises:
            RequestFailed: the server ended the stream.
            ServerUnreachable: nothing came for too long.
        """
        with errors_translated(self._server, streamed=True):
            while (samples := self._samples(self._socket.recv(self._server.timeout_seconds))) is not None:
                if samples.size:
                    yield samples

    def _send(self, message: str | bytes) -> None:
        # While the package writes, it holds the lock that its reading thread needs. A write that waited for the server,
        # which waits until its audio is read, would never end.
        connection = self._socket.socket
        with selectors.DefaultSelector() as selector:
            try:
                selector.register(connection, selectors.EVENT_WRITE)
                while connection.fileno() >= 0 and not selector.select(_SECONDS_BETWEEN_LOOKS):
                    pass
            except (ValueError, KeyError, OSError):
                if connection.fileno() >= 0:  # else the reading thread has closed it, and sending tells why
                    raise
        self._socket.send(message)
