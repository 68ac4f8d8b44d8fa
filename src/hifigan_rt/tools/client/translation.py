"""Errors of the packages below the client, as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hifigan_rt.errors import RequestFailed, ServerUnreachable
from hifigan_rt.tools.client.protocol import ServerAddress, failure_of, require


@contextmanager
def errors_translated(server: ServerAddress) -> Iterator[None]:
    """Raise RequestFailed or ServerUnreachable in place of what httpx2, websockets and the system raise.

    Args:
        server: whose address the text names.
    """
    foreign = (require("httpx2").HTTPError, require("websockets.exceptions").WebSocketException, OSError)
    try:
        yield
    except foreign as error:
        raise _translated(server.url, error) from error


def _translated(url: str, error: Exception) -> RequestFailed:
    response = getattr(error, "response", None)  # a stream that was refused before it was one
    if response is not None:
        headers = {key.lower(): value for key, value in response.headers.raw_items()}
        return failure_of(response.status_code, headers, response.body or b"")
    if isinstance(error, TimeoutError):
        return ServerUnreachable(f"server {url} sent nothing for too long")
    return ServerUnreachable(f"server {url} does not answer: {str(error) or type(error).__name__}")
