"""A client of `WS /v1/stream` as tests need it: every message by hand."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import suppress

import numpy as np
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from running_server import Running

KEY = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
HANDSHAKE = b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + KEY + b"\r\n"


def frame(opcode: int, content: bytes) -> bytes:
    """A frame of a client, its mask all zeros."""
    size = struct.pack("!BH", 0xFE, len(content)) if len(content) > 125 else bytes([0x80 | len(content)])
    return bytes([0x80 | opcode]) + size + bytes(4) + content


def connected(server: Running, **options: object) -> ClientConnection:
    """A connection, which is a context manager itself; `connect` insists on being one."""
    return connect(f"ws://127.0.0.1:{server.port}/v1/stream", compression=None, **options).__enter__()


def open_stream(server: Running, **header: object) -> ClientConnection:
    opened = connected(server)
    opened.send(json.dumps(header))
    return opened


def ready(opened: ClientConnection) -> dict[str, object]:
    told = json.loads(opened.recv(20))
    assert told["type"] == "ready", told
    return told


def send(opened: ClientConnection, mel: np.ndarray, pushes: list[int]) -> None:
    """All frames of a mel [M, T], in messages of these sizes over and over, and the end."""
    start, turn = 0, 0
    while start < mel.shape[1]:
        size = pushes[turn % len(pushes)]
        opened.send(np.ascontiguousarray(mel[:, start : start + size].T, "<f4").tobytes())
        start, turn = start + size, turn + 1
    opened.send('{"type": "finish"}')


def rest(opened: ClientConnection) -> tuple[bytes, list[dict[str, object]]]:
    """All PCM and all texts until the server closes."""
    pcm, texts = bytearray(), []
    with suppress(ConnectionClosedError):
        for message in opened:
            if isinstance(message, str):
                texts.append(json.loads(message))
            else:
                pcm += message
    return bytes(pcm), texts


def failure(opened: ClientConnection) -> tuple[str, str, int]:
    """Code and message of the error that must come, and the code of the close."""
    with opened:
        _, texts = rest(opened)
        assert texts[-1]["type"] == "error", texts
        assert set(texts[-1]) - {"retry_after_seconds"} == {"type", "code", "message"}
        return texts[-1]["code"], texts[-1]["message"], opened.protocol.close_code


def vanish(opened: ClientConnection) -> None:
    """As a killed process does: no goodbye, and a reset for whatever still comes."""
    opened.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    opened.socket.shutdown(socket.SHUT_RDWR)  # wakes a sender that is blocked, which a close does not
    opened.socket.close()


def streams(server: Running) -> float:
    return server.metric("hifigan_active_streams")
