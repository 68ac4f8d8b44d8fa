"""`WS /v1/stream`: frames in, audio out while it is computed.

The client begins with one JSON text, `{"model", "segment_frames", "output", "speaker", "conditioning"}`, all of them
optional but for a speaker where the model has several; the server answers `{"type": "ready", ...}`. Then come binary
messages of little-endian float32 [F, M], frame after frame, F may be anything, and `{"type": "finish"}`. The server
sends bare PCM, then `{"type": "end", ...}`, and closes. A failure is `{"type": "error", "code", "message"}`, and
closes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Mapping
from contextlib import suppress

import numpy as np
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from hifigan_rt.audio.formats import stream_encoder
from hifigan_rt.mel.watch import MelWatch
from hifigan_rt.tools.serving.context import context_of, query_of, record_of
from hifigan_rt.tools.serving.error_responses import told
from hifigan_rt.tools.serving.errors import (
    CUT_OFF,
    BadRequest,
    ConditioningInvalid,
    InternalFailure,
    MelInvalid,
    PayloadTooLarge,
    RequestTimeout,
    ServingError,
    ShuttingDown,
    as_serving_error,
    let_go,
)
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.mel_bodies import check_byte_order
from hifigan_rt.tools.serving.memory_costs import live_stream_bytes
from hifigan_rt.tools.serving.request_bodies import first_of
from hifigan_rt.tools.serving.request_log import CLIENT_GONE, CLIENT_GONE_CODE
from hifigan_rt.tools.serving.scheduling.streams import StreamJob
from hifigan_rt.tools.serving.stream_texts import HEADER_KEYS, StreamHeader, check_finish, parse_header

logger = logging.getLogger(__name__)

SUBPROTOCOL = "hifigan.v1"
"""Subprotocol that is chosen if it is offered: a browser that offers its token needs a second name beside it."""

MAX_MESSAGE_BYTES = 2 << 20
"""Largest message: 6,553 frames of 80 bands. The connection itself ends at twice as much, without an error."""

_PUSHED_AT_ONCE_FRAMES = 256
"""Largest part of a message that is pushed at once, so that its client waits for room as any other does."""


async def stream(websocket: WebSocket) -> None:
    """Serve one stream."""
    record = record_of(websocket)
    offered = websocket.scope.get("subprotocols", ())
    await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    session = _Session(websocket)
    try:
        try:
            await session.run()
        except WebSocketDisconnect:
            raise
        except Exception as error:
            failure = as_serving_error(error)
            if isinstance(failure, InternalFailure):
                logger.exception("stream %s failed", record.request_id)
            record.code, record.status = failure.code, failure.status
            try:
                await session.tell(told(failure))
                await session.close(close_code(failure), failure.code)
            finally:
                let_go(error)
        else:
            with suppress(WebSocketDisconnect):  # whoever has all may close first
                await session.close(1000, "")
    except WebSocketDisconnect as gone:
        let_go(gone)
        cut_off = context_of(websocket).cut_off
        record.code, record.status = (CUT_OFF.code, CUT_OFF.status) if cut_off else (CLIENT_GONE_CODE, CLIENT_GONE)


ROUTE = WebSocketRoute("/v1/stream", stream)


def close_code(failure: ServingError) -> int:
    """Choose the code of RFC 6455 and its registry that a WebSocket closes with after a failure."""
    if isinstance(failure, (BadRequest, ConditioningInvalid, MelInvalid)):
        return 1007
    if isinstance(failure, PayloadTooLarge):
        return 1009
    if isinstance(failure, ShuttingDown):
        return 1012
    if failure.status in (429, 503):
        return 1013
    return 1008 if failure.status < 500 else 1011


class _Session:
    """Stream of one client: a task that takes its frames and one that gives it audio."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._context, self._record = context_of(websocket), record_of(websocket)
        self._settings = self._context.settings
        self._frames = 0
        self._watch: MelWatch | None = None

    async def run(self) -> None:
        """Serve the stream to its end.

        Raises:
            ServingError: the client is to be told.
            WebSocketDisconnect: the client went, or takes nothing.
        """
        query_of(self._websocket, ())  # options come in the header, and would be missed without a word here
        header = await self._header()
        with await self._context.models.lease(header.model) as lease:
            self._record.model = lease.name
            await self._context.memory.reserve(
                self._record, live_stream_bytes(lease, self._settings, MAX_MESSAGE_BYTES)
            )
            client, segment_frames = self._record.client, header.segment_frames
            voice = lease.conditioning(header.speaker, header.conditioning)
            with self._context.scheduler.open_stream(
                lease, voice, client=client, segment_frames=segment_frames
            ) as live:
                segment_frames = segment_frames or self._settings.live_segment_frames
                await self.tell(self._ready(lease, header, segment_frames))
                await first_of(
                    self._take_frames(lease, live, segment_frames), self._give_audio(lease, live, header.output)
                )

    async def tell(self, content: Mapping[str, object]) -> None:
        """Send a text."""
        await self._in_time(self._websocket.send_text(json.dumps(content)))

    async def close(self, code: int, reason: str) -> None:
        """Close the WebSocket."""
        await self._in_time(self._websocket.close(code, reason))

    async def _in_time(self, sending: Awaitable[None]) -> None:
        # Sending waits while the client does not read, so that what it does not read is never kept here.
        try:
            async with asyncio.timeout(self._settings.write_timeout_seconds):
                await sending
        except TimeoutError as error:
            raise WebSocketDisconnect(1006, "the client takes nothing") from error
        except RuntimeError as error:
            # The protocol closes by itself after a frame that is none, such as a text that is not UTF-8.
            raise WebSocketDisconnect(1006, "the connection was closed over a broken frame") from error

    async def _header(self) -> StreamHeader:
        seconds = self._settings.header_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                text, _ = await self._message()
        except TimeoutError as error:
            raise RequestTimeout(f"no header came within {seconds:g} s") from error
        if text is None:
            keys = ", ".join(f'"{key}"' for key in HEADER_KEYS)
            raise BadRequest(f"the first message must be a JSON text: {{{keys}}}, or {{}}")
        return parse_header(text)

    def _ready(self, lease: ModelLease, header: StreamHeader, segment_frames: int) -> dict[str, object]:
        graph = lease.vocoder.graph
        return {
            "type": "ready",
            "model": lease.name,
            "sample_rate": lease.sample_rate,
            "hop_length": lease.hop_length,
            "num_mels": lease.num_mels,
            "segment_frames": segment_frames,
            "look_ahead_samples": None if graph is None else -graph.receptive_field.first_sample,
            "output": header.output,
            "request_id": self._record.request_id,
        }

    async def _take_frames(self, lease: ModelLease, live: StreamJob, segment_frames: int) -> None:
        """Take frames and never return: the stream is over when its audio is."""
        while True:
            text, content = await self._next(live, segment_frames)
            if live.complete:
                raise BadRequest("nothing may follow finish: open another stream for more frames")
            if text is None:
                frames = self._decoded(content, lease)
                for start in range(0, len(frames), _PUSHED_AT_ONCE_FRAMES):
                    await live.push(frames[start : start + _PUSHED_AT_ONCE_FRAMES].T)
                self._frames += len(frames)
                await self._judge(lease, frames)
            else:
                check_finish(text)
                await self._judge(lease, None)
                live.finish()
            # Messages that are here already are taken without waiting, and a flood of them would hold up everybody.
            await asyncio.sleep(0)

    async def _next(self, live: StreamJob, segment_frames: int) -> tuple[str | None, bytes]:
        seconds = self._settings.idle_timeout_seconds
        while True:
            try:
                async with asyncio.timeout(seconds):
                    return await self._message()
            except TimeoutError as error:
                if not live.complete and live.remaining_frames < segment_frames:
                    raise RequestTimeout(
                        f"nothing came within {seconds:g} s, and nothing is left to compute"
                    ) from error

    async def _message(self) -> tuple[str | None, bytes]:
        """Receive the next text, or None and the next bytes."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text, content = message.get("text"), message.get("bytes") or b""
        if max(len(text or ""), len(content)) > MAX_MESSAGE_BYTES:
            raise PayloadTooLarge(f"a message has more than {MAX_MESSAGE_BYTES} bytes: send fewer frames at once")
        return text, content

    def _decoded(self, content: bytes, lease: ModelLease) -> np.ndarray:
        bands = lease.num_mels
        assert bands is not None  # noqa: S101 - else the stream could not have been opened
        if len(content) % (4 * bands):
            raise MelInvalid(
                f"a message has {len(content)} bytes, and a frame has {4 * bands}: send little-endian float32 [F, M] "
                f"with M={bands}"
            )
        frames = np.frombuffer(content, "<f4").reshape(-1, bands)
        check_byte_order(frames)
        return frames

    async def _judge(self, lease: ModelLease, frames: np.ndarray | None) -> None:
        """Tell the client what is odd about its mel: frames `[F, M]`, or None at the end."""
        if self._watch is None:
            config = lease.vocoder.mel_config
            if config is None:
                return
            self._watch = MelWatch(config)
        warning = self._watch.finish() if frames is None else self._watch.push(frames.T)
        if warning is not None:
            self._record.facts["mel_warning"] = warning
            await self.tell({"type": "warning", "code": "mel_convention", "message": warning})

    async def _give_audio(self, lease: ModelLease, live: StreamJob, output: str) -> None:
        encoder = stream_encoder(output, lease.sample_rate)
        samples = 0
        try:
            async for audio in live:
                content = encoder.encode(audio)
                samples += len(audio)
                await self._in_time(self._websocket.send_bytes(content))
        finally:
            self._context.telemetry.clipped(lease.name, encoder.clipped)
            totals = {
                "frames": self._frames,
                "samples": samples,
                "audio_seconds": round(samples / lease.sample_rate, 6),
                "clipped_samples": encoder.clipped,
            }
            self._record.facts.update(totals, output=output)
        await self.tell({"type": "end", **totals})
