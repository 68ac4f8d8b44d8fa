"""Reads a request's body within limits of size, time and memory, and unpacks it."""

from __future__ import annotations

import asyncio
import codecs
import re
import zlib
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from hifigan_rt.tools.serving.context import context_of, record_of
from hifigan_rt.tools.serving.errors import (
    AudioInvalid,
    BadRequest,
    LengthRequired,
    MelInvalid,
    PayloadTooLarge,
    RequestTimeout,
    TooManyRequests,
    UnsupportedMediaType,
)
from hifigan_rt.tools.serving.memory_costs import REQUEST_BYTES

T = TypeVar("T")

_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

NO_FORM = "curl -F and --data-urlencode send a form: send the file itself, with --data-binary @FILE"
"""Way out for those who send a file as part of a form."""

_STRIPPED = "curl -d strips line ends and zeros: send the file with --data-binary @FILE"
_LINE_BYTES = b"\0\r\n"
_LEAST_STRIPPED_BYTES = 1024
"""Length from which a recording without any of these bytes is none: its headers alone have some."""

_QUICK_BYTES = 128 << 10
"""Largest mel that is decoded at once: that takes 3 ms at most, even of JSON, and on a busy machine a thread may have
to wait longer for a core."""

_JUDGED_BYTES = 1 << 20
_UNPACKED_AT_ONCE_BYTES = 1 << 16
_COUNTED_AT_ONCE_BYTES = 1 << 20


async def read_body(
    request: Request,
    max_bytes: int | None = None,
    *,
    check_room: Callable[[], None] = lambda: None,
    becomes: Callable[[int], int] = lambda _: 0,
) -> bytes | bytearray:
    """Read and unpack a body; refuses it as early as it can, and counts its memory until the answer has been sent.

    Args:
        request: whose Content-Encoding may be gzip, deflate or identity.
        max_bytes: of the body, packed and unpacked; None takes `max_body_bytes` of the settings.
        check_room: called before anything is read, once the headers are in order; may raise to refuse the request.
        becomes: tells the bytes that a body of so many bytes is likely to become, beside itself. They are counted with
            the body before it is read; who knows better when it is there counts anew.

    Raises:
        LengthRequired: neither Content-Length nor a chunked body.
        PayloadTooLarge: more than `max_bytes`, or than the budget of memory could ever hold.
        UnsupportedMediaType: another Content-Encoding, or a form.
        BadRequest: it cannot be unpacked.
        RequestTimeout: it did not come in time.
        TooManyRequests: other clients need its place; see `arriving_bodies`.
        QueueFull: all requests together would take too much memory.
        starlette.requests.ClientDisconnect: the client went before its end.
    """
    context, record = context_of(request), record_of(request)
    most = context.settings.max_body_bytes if max_bytes is None else max_bytes
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", *_WINDOW_BITS):
        raise UnsupportedMediaType(f"Content-Encoding {encoding[:40]!r} is not known: gzip, deflate and identity are")
    kind = content_type(request)
    if kind.startswith("multipart/"):
        raise UnsupportedMediaType(f"Content-Type {kind[:80]!r} is not taken: {NO_FORM}")
    declared = request.headers.get("content-length")
    if declared is None and "transfer-encoding" not in request.headers:
        raise LengthRequired("a body is needed: send Content-Length, or Transfer-Encoding: chunked")
    stated = int(declared or 0)
    if stated > most:
        raise _too_large(stated, most)
    check_room()
    least = REQUEST_BYTES + stated
    await context.memory.reserve(record, max(least, min(least + becomes(stated), context.memory.most_bytes)))
    # As large as the body from the start: joined at the end, everybody would wait while it is copied.
    body = bytearray(stated)
    size = 0
    seconds = context.settings.body_timeout_seconds
    try:
        async with asyncio.timeout(seconds) as limit:
            with context.bodies.arriving(record.client, limit) as arriving:
                async for chunk in request.stream():
                    end = size + len(chunk)
                    if end > most:
                        raise _too_large(end, most)
                    if end > stated:
                        context.memory.grow(record, max(record.held_bytes, REQUEST_BYTES + _in_steps(end)))
                    body[size:end] = chunk
                    size = end
    except TimeoutError as error:
        if arriving.displaced:
            context.telemetry.rejected(TooManyRequests.code)
            raise TooManyRequests(
                f"{size} bytes of the body came, and other clients need its place: send fewer bodies at a time, or "
                "send them faster",
                1.0,
            ) from error
        raise RequestTimeout(
            f"{size} bytes of the body came within {seconds:g} s, and no end: send it faster"
        ) from error
    record.facts["body_bytes"] = size
    if encoding not in _WINDOW_BITS:
        return body

    def count(unpacked: int) -> None:
        context.memory.grow(record, max(record.held_bytes, REQUEST_BYTES + size + _in_steps(unpacked)))

    with damage_explained(body):
        return await context.pieces.run(_unpack_steps(body, encoding, most, count))


def _in_steps(size: int) -> int:
    """Round up to what is counted at once."""
    return -(-size // _COUNTED_AT_ONCE_BYTES) * _COUNTED_AT_ONCE_BYTES


def content_type(request: Request) -> str:
    """Read what a body is said to be, without parameters such as the charset; empty if that is not said."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


@contextmanager
def damage_explained(body: bytes | bytearray, *, text: bool = False) -> Iterator[None]:
    """Add to the error of a body that cannot be read what happened to it on its way, whatever its Content-Type.

    Args:
        body: as it came.
        text: whether it should be text, in which line ends and zeros mean nothing.
    """
    try:
        yield
    except (BadRequest, MelInvalid, AudioInvalid) as error:
        if _is_form(body):
            raise type(error)(f"{error.message}; {NO_FORM}") from error
        if not text and _STRIPPED not in error.message and is_stripped(body):
            raise type(error)(f"{error.message}; {_STRIPPED}") from error
        raise


def check_not_stripped(body: bytes | bytearray) -> None:
    """Refuse a recording that lost bytes on its way, which some decoders would pass over.

    Raises:
        AudioInvalid: it did.
    """
    if len(body) >= _LEAST_STRIPPED_BYTES and is_stripped(body):
        raise AudioInvalid(f"{len(body)} bytes came, and no zero or line end among them: {_STRIPPED}")


def is_stripped(body: bytes | bytearray) -> bool:
    """Whether a body that is no text has lost its line ends and zeros, as by `curl -d @FILE`.

    Its beginning tells: everybody waits while it is looked at.
    """
    beginning = body[:_JUDGED_BYTES]
    if any(byte in beginning for byte in _LINE_BYTES):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(beginning, final=len(body) <= _JUDGED_BYTES)
    except UnicodeDecodeError:
        return True
    return False


def _is_form(body: bytes | bytearray) -> bool:
    in_parts = body.startswith(b"--") and b"\r\ncontent-disposition: form-data" in body[:1024].lower()
    return in_parts or re.match(rb"[^=&%]{0,64}=(?:%93NUMPY|RIFF|fLaC|OggS|ID3|%FF%[EF])", body) is not None


async def decoded(decode: Callable[[], T], size: int) -> T:
    """Decode a mel of `size` bytes, in a thread unless that is quick."""
    return decode() if size <= _QUICK_BYTES else await asyncio.to_thread(decode)


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """Await work for a request whose body has been read, and cancel it when the client goes.

    Raises:
        ClientDisconnect: the client went before the end.
    """
    return await first_of(work, _gone(receive))


async def first_of(*works: Awaitable[T]) -> T:
    """Await what ends first, of several in this order, and cancel the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        # Until they have let go of model and encoder, which the caller frees next.
        await asyncio.gather(*tasks, return_exceptions=True)


async def _gone(receive: Receive) -> NoReturn:
    with suppress(Exception):  # Ray's, of a proxy that is gone
        while (await receive())["type"] != "http.disconnect":
            pass
    raise ClientDisconnect


def _unpack_steps(
    packed: bytearray, encoding: str, most: int, count: Callable[[int], None]
) -> Generator[None, None, bytearray]:
    """Unpack no further than `most` bytes, whatever the body would become, and count them before they are there."""
    unpacker = zlib.decompressobj(_WINDOW_BITS[encoding])
    content = bytearray()
    position = 0
    while position < len(packed):
        if unpacker.eof:
            if encoding == "deflate":
                raise BadRequest(f"the {encoding} body is followed by {len(packed) - position} bytes more")
            unpacker = zlib.decompressobj(_WINDOW_BITS[encoding])  # of the next member (RFC 1952, 2.2)
        piece: bytes | bytearray = packed[position : position + _UNPACKED_AT_ONCE_BYTES]
        position += len(piece)
        while piece and not unpacker.eof:
            count(len(content) + _UNPACKED_AT_ONCE_BYTES)
            try:
                content += unpacker.decompress(piece, _UNPACKED_AT_ONCE_BYTES)
            except zlib.error as error:
                raise BadRequest(f"the body says it is {encoding}, and it cannot be unpacked: {error}") from error
            piece = unpacker.unconsumed_tail
            if len(content) > most:
                raise PayloadTooLarge(f"unpacked, the body has more than {most} bytes, which is the most that is taken")
            yield
        position -= len(unpacker.unused_data)
    if not unpacker.eof:
        raise BadRequest(f"the {encoding} body is cut short: it ends after {len(content)} bytes unpacked")
    return content


def _too_large(size: int, most: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body has {size} bytes or more: at most {most} are taken")
