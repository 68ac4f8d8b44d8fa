"""An HTTP client that costs next to nothing, so that the cores that are measured are the server's: loopback only."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """Of one request."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    first_byte_seconds: float
    """From the request's first byte to the first of the answer's body."""
    seconds: float
    """To the last."""


def loopback_address(url: str) -> tuple[str, int]:
    """Host and port of a server on this machine.

    Raises:
        ValueError: it is another machine: nobody is to be loaded by accident.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise ValueError(f"{url}: only servers on this machine are loaded (127.0.0.1, ::1, localhost)")
    return host, parts.port or 80


class Connection:
    """A connection that is kept open from request to request."""

    def __init__(self, url: str, address: str | None = None) -> None:
        """Name the server, and the address of this machine to come from."""
        self._host, self._port = loopback_address(url)
        self._local = None if address is None else (address, 0)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """Post a body; the connection is opened anew if it was closed."""
        return await self._request("POST", target, body, headers or {})

    async def get(self, target: str) -> Answer:
        return await self._request("GET", target, b"", {})

    async def begin(self, target: str, body: bytes, headers: dict[str, str], length: int) -> asyncio.StreamReader:
        """Send a request, or as much of its body of `length` bytes as is given, and leave the answer to the caller."""
        return await self._send("POST", target, body, headers, length)

    def vanish(self) -> None:
        """Go without a word."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _request(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        began = time.perf_counter()
        reader = await self._send(method, target, body, headers, len(body))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        first: float | None = None
        parts = []
        async for part in _body(reader, fields):
            if first is None:
                first = time.perf_counter() - began
            parts.append(part)
        seconds = time.perf_counter() - began
        if fields.get("connection", "").lower() == "close":
            await self.close()
        return Answer(int(head[0].split()[1]), fields, b"".join(parts), seconds if first is None else first, seconds)

    async def _send(
        self, method: str, target: str, body: bytes, headers: dict[str, str], length: int
    ) -> asyncio.StreamReader:
        # A server closes connections that were idle for long.
        if self._streams is None or self._streams[1].is_closing() or self._streams[0].at_eof():
            self.vanish()
            self._streams = await asyncio.open_connection(self._host, self._port, local_addr=self._local)
        reader, writer = self._streams
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        return reader


async def _body(reader: asyncio.StreamReader, fields: dict[str, str]) -> AsyncIterator[bytes]:
    if fields.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            yield (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    elif length := int(fields.get("content-length", 0)):
        yield await reader.readexactly(length)
