"""Events of the Wyoming protocol: a line of JSON, which tells the lengths of more JSON and a payload behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hifigan_rt.system.versions import own_version

MAX_LINE_BYTES = 1 << 16
_MAX_DATA_BYTES = 1 << 20
_MAX_PAYLOAD_BYTES = 1 << 20


class NoEvent(Exception):
    """What came is no event of the protocol; the text says why."""


@dataclass(frozen=True)
class Event:
    """One event without its payload, which no event to a text-to-speech server has."""

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """Read one event; None if the client has closed its side.

    Raises:
        NoEvent: it is damaged, or larger than any event.
    """
    try:
        line = await reader.readline()
        if not line:
            return None
        header = _object(line)
        sizes = [_size(header, name, most) for name, most in _SIZES.items()]
        data = _data(header)
        if sizes[0]:
            data = {**data, **_object(await reader.readexactly(sizes[0]))}
        await reader.readexactly(sizes[1])
    except asyncio.IncompleteReadError as error:
        raise NoEvent("the event is cut short") from error
    except ValueError as error:  # also of a line that is too long
        raise NoEvent(f"that is no event of the Wyoming protocol: {str(error)[:200]}") from error
    kind = header.get("type")
    if not isinstance(kind, str):
        raise NoEvent("the event has no type")
    return Event(kind, data)


_SIZES = {"data_length": _MAX_DATA_BYTES, "payload_length": _MAX_PAYLOAD_BYTES}


def encode_event(kind: str, data: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """Make the bytes of an event."""
    body = json.dumps(data).encode() if data else b""
    header: dict[str, Any] = {"type": kind, "version": own_version()}
    header |= {name: len(part) for name, part in (("data_length", body), ("payload_length", payload)) if part}
    return json.dumps(header).encode() + b"\n" + body + payload


def _object(content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - as json.loads has it
    return values


def _size(header: Mapping[str, Any], name: str, most: int) -> int:
    size = header.get(name) or 0
    if type(size) is not int or not 0 <= size <= most:
        raise ValueError(f"{name}={str(size)[:40]} must be a whole number up to {most}")
    return size


def _data(header: Mapping[str, Any]) -> Mapping[str, Any]:
    data = header.get("data") or {}
    if not isinstance(data, dict):
        raise ValueError("data must be an object")  # noqa: TRY004 - as above
    return data
