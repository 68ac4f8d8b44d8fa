"""Errors of the packages below the client, as ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from hifigan_rt.errors import RequestFailed, ServerUnreachable
from hifigan_rt.tools.client.protocol import ServerAddress, failure_of, require, socks_unavailable
from hifigan_rt.tools.client.proxies import ProxyAddress

_FINISHED = 1000
"""Closing code of RFC 6455 for a stream whose last samples were sent."""
_CODE = re.compile("[a-z]+(_[a-z]+)*")
"""Codes of the server's failures, which it gives as the reason of its closing; others close with sentences."""


@contextmanager
def errors_translated(server: ServerAddress, *, streamed: bool = False) -> Iterator[None]:
    """Raise RequestFailed or ServerUnreachable in place of what httpx2, websockets and the system raise.

    Args:
        server: whose address and proxy the text names.
        streamed: whether it is a live stream, which may have another proxy.
    """
    foreign = (require("httpx2").HTTPError, require("websockets.exceptions").WebSocketException, OSError, ImportError)
    try:
        yield
    except foreign as error:
        raise _translated(server.shown, server.stream_proxy if streamed else server.proxy, error) from error


def _translated(url: str, proxy: ProxyAddress | None, error: Exception) -> RequestFailed:
    response = getattr(error, "response", None)  # a stream that was refused before it was one
    if response is not None:
        headers = {key.lower(): value for key, value in response.headers.raw_items()}
        return failure_of(response.status_code, headers, response.body or b"", proxy)
    if isinstance(error, ImportError):
        return socks_unavailable(proxy, "python-socks[asyncio]")
    closing = getattr(error, "rcvd", None)  # of a stream that the server ended
    if closing is not None and (closing.code == _FINISHED or _CODE.fullmatch(closing.reason)):
        reason = closing.reason or "it is finished; open another one for more frames"
        return RequestFailed(f"the server ended the stream: {reason}", code=closing.reason)
    by_way = "" if proxy is None else f" by way of the proxy {proxy.shown}"
    way_out = "" if proxy is None else f"; {proxy.way_around} goes past it"
    if isinstance(error, TimeoutError):
        return ServerUnreachable(f"server {url} sent nothing for too long{by_way}{way_out}")
    return ServerUnreachable(f"server {url} does not answer{by_way}: {str(error) or type(error).__name__}{way_out}")
