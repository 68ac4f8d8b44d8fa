"""Responses whose content is there as a whole, sent a part at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from starlette.responses import Response, StreamingResponse

_SENT_AT_ONCE_BYTES = 1 << 20


def whole_response(parts: Sequence[bytes | memoryview], headers: Mapping[str, str]) -> Response:
    """Make the response; a slow client holds up no more memory than the parts themselves, and sending stops nobody.

    asyncio would copy all that it is handed and the client does not take at once.
    """
    size = sum(len(part) for part in parts)
    if size <= _SENT_AT_ONCE_BYTES:
        return Response(b"".join(parts), headers=headers)
    return StreamingResponse(_pieces(parts), headers={**headers, "Content-Length": str(size)})


async def _pieces(parts: Sequence[bytes | memoryview]) -> AsyncIterator[memoryview]:
    for part in parts:
        whole = memoryview(part)
        for start in range(0, len(whole), _SENT_AT_ONCE_BYTES):
            yield whole[start : start + _SENT_AT_ONCE_BYTES]
            # Sending waits for nothing while the client takes all at once, and others had to wait for it to the end.
            await asyncio.sleep(0)
