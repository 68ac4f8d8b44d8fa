"""The Wyoming protocol, which Home Assistant speaks: `describe`, `synthesize`, and text that comes piece by piece.

A connection speaks one text after the other. Text of `synthesize-chunk` is spoken as soon as a sentence is complete.
After an error the connection ends, as that of Piper's own server does: Home Assistant passes over errors, and waits for
audio to stop. A text that comes piece by piece goes on to its own end, for which its clients wait.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Mapping
from typing import Any

from hifigan_rt.audio import to_pcm16
from hifigan_rt.system.addresses import client_at
from hifigan_rt.system.versions import own_version
from hifigan_rt.tools.serving.context import Context, RequestRecord
from hifigan_rt.tools.serving.errors import BadRequest, RequestTimeout, ServingError, ShuttingDown, let_go
from hifigan_rt.tools.serving.listening import address_of, listen
from hifigan_rt.tools.serving.scheduling.clients import count
from hifigan_rt.tools.serving.spoken_audio import SPEECH_BYTES, SpokenAudio, begin_speech
from hifigan_rt.tools.serving.wyoming_events import MAX_LINE_BYTES, Event, NoEvent, encode_event, read_event
from hifigan_rt.tools.serving.wyoming_voices import VoiceList
from hifigan_rt.tools.voices.clauses import find_sentences
from hifigan_rt.tools.voices.phonemes import without_unspeakable

logger = logging.getLogger(__name__)

_MOST_CONNECTIONS = 64
_MAX_TEXT_CHARACTERS = 1 << 18
"""Text that a client may have sent and that is not spoken yet."""
_ATTRIBUTION = {"name": "hifigan-rt", "url": ""}


class WyomingServer:
    """Listens beside the HTTP server and shares its voices, queue and limits."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._voices = VoiceList(context.models)
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.port = 0
        """Where it listens."""

    def listen(self, host: str, port: int) -> None:
        """Bind a host and port; who connects waits for `start`.

        Raises:
            ServerError: the port is taken, or the host is not this machine's.
        """
        self._socket = listen(host, port, "--wyoming")
        self.port = self._socket.getsockname()[1]

    async def start(self) -> None:
        """Answer those who connect, if it listens."""
        if self._socket is not None:
            self._server = await asyncio.start_server(self._accept, sock=self._socket, limit=MAX_LINE_BYTES)
            logger.info("speaking Wyoming on tcp://%s", address_of(self._socket))

    @property
    def has_unsent(self) -> bool:
        """Whether a client has still to take in what was sent."""
        return any(writer.transport.get_write_buffer_size() for writer in self._connections.values())

    async def close(self) -> None:
        """End the connections and stop listening; closing twice is allowed."""
        if self._server is not None:
            self._server.close()
        if self._socket is not None:
            self._socket.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs it as one
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)  # whatever ends it
        try:
            if len(self._connections) <= _MOST_CONNECTIONS:
                await _Connection(self._context, self._voices, reader, writer).run()
        except (ConnectionError, TimeoutError, asyncio.CancelledError) as error:
            let_go(error)  # the client went or takes nothing in, or the server ends
            writer.transport.abort()
        finally:
            writer.close()
            await self._closed(writer)

    async def _closed(self, writer: asyncio.StreamWriter) -> None:
        """Wait until the client has taken in what was sent, for as long as a write may take."""
        try:
            async with asyncio.timeout(self._context.settings.write_timeout_seconds):
                await writer.wait_closed()
        except (OSError, asyncio.CancelledError) as error:
            let_go(error)  # of a write that failed by itself: until it is taken, asyncio keeps the frames that wrote
            writer.transport.abort()


class _Connection:
    """One client."""

    def __init__(
        self, context: Context, voices: VoiceList, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._context, self._voices, self._reader, self._writer = context, voices, reader, writer
        self._client = client_at(writer.get_extra_info("peername")[0])
        self._streamed: Mapping[str, Any] | None = None
        """The voice of a text that comes piece by piece."""
        self._pending = ""
        self._failed = False
        """Whether the rest of that text is passed over."""
        self._audio_begun = False
        self._counted = False
        """Whether that text, which may still be on its way, counts as a request that is being answered."""

    async def run(self) -> None:
        """Answer events until the client goes, sends none for long, or sends something else."""
        try:
            await self._answer_all()
        finally:
            self._count_text(begun=False)

    async def _answer_all(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._context.settings.idle_timeout_seconds):
                    event = await read_event(self._reader)
            except NoEvent as error:
                await self._tell(BadRequest(str(error)))
                return
            except TimeoutError:
                if self._streamed is not None:
                    await self._tell(RequestTimeout("nothing more of the text came in time: the connection ends"))
                return
            if event is None:
                return
            try:
                await self._answer(event)
            except ServingError as error:
                await self._tell(error)
                let_go(error)
                if self._streamed is None:
                    return
                self._failed, self._pending, self._audio_begun = True, "", False
            if event.type == "synthesize-stop" and self._streamed is not None:
                # After an error too: a client may wait for nothing else.
                self._streamed = None
                await self._send("synthesize-stopped", {})
                self._count_text(begun=False)

    async def _answer(self, event: Event) -> None:
        if event.type == "describe":
            await self._send("info", await self._info())
        elif event.type == "ping":
            await self._send("pong", {"text": event.data.get("text")})
        elif event.type == "synthesize-start":
            self._streamed, self._pending, self._failed = {}, "", False
            self._count_text(begun=not self._context.draining)
            self._streamed = _voice(event.data)
        elif event.type == "synthesize-chunk" and self._streamed is not None and not self._failed:
            await self._take(_text(event.data))
        elif event.type == "synthesize-stop" and self._streamed is not None and not self._failed:
            await self._end_text()
        elif event.type == "synthesize" and self._streamed is None:
            # Home Assistant sends the whole of a streamed text too, for servers that do not stream.
            await self._speak(_text(event.data), _voice(event.data))
            await self._stop_audio()

    async def _take(self, text: str) -> None:
        """Speak what is complete; the last sentence may go on."""
        self._pending += text
        if len(self._pending) > _MAX_TEXT_CHARACTERS:
            raise BadRequest(f"more than {_MAX_TEXT_CHARACTERS} characters wait to be spoken")
        # In a thread: a long text takes a fifth of a second, in which nobody else would be answered.
        complete = await asyncio.to_thread(lambda: list(find_sentences(self._pending))[:-1])
        said = "".join(clause.text for sentence in complete for clause in sentence)
        if said:
            self._pending = self._pending[len(said) :]
            await self._speak(said, self._streamed or {}, may_be_silent=True)

    async def _end_text(self) -> None:
        if self._pending.strip():
            await self._speak(self._pending, self._streamed or {}, may_be_silent=self._audio_begun)
        await self._stop_audio()

    async def _speak(self, text: str, voice: Mapping[str, Any], *, may_be_silent: bool = False) -> None:
        context = self._context
        if context.draining and not self._counted:
            raise ShuttingDown("the server is shutting down")
        record = RequestRecord(secrets.token_hex(8), self._client)
        count(context.active_of, self._client, 1)
        try:
            await context.memory.reserve(record, SPEECH_BYTES)
            name = await self._voices.choose(voice.get("name"), voice.get("language"))
            with await context.models.lease(name) as lease:
                speaker = voice.get("speaker")
                speaker = speaker if isinstance(speaker, (str, int)) else None
                audio = begin_speech(context, record, lease, text, speaker, begun=self._audio_begun)
                logger.info(
                    "wyoming", extra={"facts": {"event": "wyoming", "model": lease.name, "characters": len(text)}}
                )
                try:
                    await self._send_audio(audio, lease.sample_rate)
                    if left_out := record.facts.get("left_out"):
                        logger.warning("voice %r does not have, and left out: %s", lease.name, left_out)
                except BadRequest as error:
                    # A sentence of a text may well be a bracket, or of symbols that the voice lacks.
                    if not may_be_silent:
                        raise
                    logger.warning("voice %r passes over a sentence: %s", lease.name, error.message)
                except (ConnectionError, TimeoutError):
                    context.telemetry.cancelled()
                    raise
                finally:
                    audio.close()
        finally:
            context.memory.release(record)
            count(context.active_of, self._client, -1)

    def _count_text(self, *, begun: bool) -> None:
        """Count a text that comes piece by piece: what has begun is finished when the server is stopped."""
        if begun != self._counted:
            self._counted = begun
            count(self._context.active_of, self._client, 1 if begun else -1)

    async def _send_audio(self, audio: SpokenAudio, rate: int) -> None:
        form = {"rate": rate, "width": 2, "channels": 1}
        async for piece in audio:
            if not self._audio_begun:
                self._audio_begun = True
                await self._send("audio-start", form)
            await self._send("audio-chunk", form, to_pcm16(piece)[0].astype("<i2", copy=False).tobytes())

    async def _stop_audio(self) -> None:
        if self._audio_begun:
            self._audio_begun = False
            await self._send("audio-stop", {})

    async def _info(self) -> Mapping[str, Any]:
        voices = [
            {
                "name": name, "languages": [outline.locale], "attribution": _ATTRIBUTION, "installed": True,
                "description": name, "version": None,
                "speakers": [{"name": speaker} for speaker in outline.speakers] or None,
            }
            for name, outline in (await self._voices.working()).items()
        ]  # fmt: skip
        program = {
            "name": "hifigan-rt", "attribution": _ATTRIBUTION, "installed": True, "version": own_version(),
            "description": "voices of Piper", "voices": voices, "supports_synthesize_streaming": True,
        }  # fmt: skip
        return {"tts": [program]}

    async def _tell(self, error: ServingError) -> None:
        # In the log too, since Home Assistant shows nobody what it is told.
        logger.info(
            "wyoming",
            extra={"facts": {"event": "wyoming", "client": self._client, "code": error.code, "told": error.message}},
        )
        await self._send("error", {"text": error.message, "code": error.code})

    async def _send(self, kind: str, data: Mapping[str, Any], payload: bytes = b"") -> None:
        self._writer.write(encode_event(kind, data, payload))
        async with asyncio.timeout(self._context.settings.write_timeout_seconds):
            await self._writer.drain()


def _text(data: Mapping[str, Any]) -> str:
    text = data.get("text")
    if not isinstance(text, str):
        raise BadRequest("the event has no text")
    return without_unspeakable(text)


def _voice(data: Mapping[str, Any]) -> Mapping[str, Any]:
    if data.get("text_format") not in (None, "text"):
        raise BadRequest(f"text_format={str(data['text_format'])[:40]!r} is not taken: send plain text")
    voice = data.get("voice") or {}
    if not isinstance(voice, dict):
        raise BadRequest("voice must be an object")
    return voice
