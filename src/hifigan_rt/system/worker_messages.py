"""Messages between a process and its workers, and the worker's loop that answers them.

A worker may be run by another interpreter than its parent (the vendor's wheels of an accelerator are tied to one). It
loads this file alone, by its path, so the file is written for Python 3.7 and needs nothing but the standard library.

A message is b"HRT1", the length of a JSON header (u32), the length of the payload (u64), the header and the payload,
little-endian. Each request gets one reply, {"error": TYPE, "text": TEXT} if answering it raised.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import struct
import sys
from collections.abc import Callable
from typing import Any

_MAGIC = b"HRT1"
_HEAD = struct.Struct("<4sIQ")


def serve(answer: Callable[[dict[str, Any], bytearray], tuple[dict[str, Any], bytes]]) -> None:
    """Answer the parent's requests until it closes its pipe; the process ends at once when the parent dies.

    The last three arguments of the process are its descriptors: requests, replies, and a pipe on which nothing is ever
    written. Whatever is printed goes to the parent's log before the reply does; standard input is empty.

    Args:
        answer: takes a request and its payload, and gives the reply and its payload.
    """
    requests, replies, lifeline = (int(argument) for argument in sys.argv[-3:])
    for descriptor in (requests, replies, lifeline):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - not for processes that the worker starts
    _die_with_parent(lifeline)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            request, payload = read_message(requests)
            reply: tuple[dict[str, Any], bytes]
            try:
                reply = answer(request, payload)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the parent tells its user
                reply = {"error": type(error).__name__, "text": str(error)}, b""
            flush_output()
            write_message(replies, *reply)


def read_message(descriptor: int, wait: Callable[[], None] | None = None) -> tuple[dict[str, Any], bytearray]:
    """Read one message.

    Args:
        descriptor: of a pipe.
        wait: called before each read; returns when the pipe can be read, or raises.

    Raises:
        EOFError: the other side is gone.
    """
    magic, header_bytes, payload_bytes = _HEAD.unpack(_read_exactly(descriptor, _HEAD.size, wait))
    if magic != _MAGIC:
        raise EOFError
    header = json.loads(_read_exactly(descriptor, header_bytes, wait).decode("utf-8"))
    return header, _read_exactly(descriptor, payload_bytes, wait)


def write_message(
    descriptor: int, header: dict[str, Any], payload: bytes, wait: Callable[[], None] | None = None
) -> None:
    """Write one message, whole.

    Args:
        descriptor: of a pipe.
        header: anything that JSON can carry.
        payload: handed over as it is; may be empty.
        wait: called before each write; returns when the pipe can be written, or raises.

    Raises:
        BrokenPipeError: the other side is gone.
    """
    encoded = json.dumps(header).encode("utf-8")
    for part in (_HEAD.pack(_MAGIC, len(encoded), len(payload)) + encoded, payload):
        view = memoryview(part)
        while len(view):
            if wait is not None:
                wait()
            view = view[os.write(descriptor, view) :]


def flush_output() -> None:
    """Hand over all that was printed, by Python or by C."""
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)


def _read_exactly(descriptor: int, size: int, wait: Callable[[], None] | None) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while len(view):
        if wait is not None:
            wait()
        count = os.readv(descriptor, [view])
        if count == 0:
            raise EOFError
        view = view[count:]
    return data


def _die_with_parent(lifeline: int) -> None:
    """End this process when its parent dies, even while foreign code runs and holds Python's lock.

    The kernel sends SIGIO when the other end of the pipe is closed, and SIGIO terminates a process that does not handle
    it. On macOS it is ignored instead, and the process ends when its request is done.
    """
    import fcntl  # not on Windows, where this file must still be importable

    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):
        sys.exit("the parent was gone before the worker had started")
