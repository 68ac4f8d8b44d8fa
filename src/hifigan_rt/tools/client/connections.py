"""Connections that a client keeps between requests, and who may use them."""

from __future__ import annotations

import os
from numbers import Real
from typing import Any, ClassVar

from hifigan_rt.errors import ServerUnreachable
from hifigan_rt.tools.client.protocol import DEFAULT_URL, ServerAddress, no_address, require, socks_unavailable

_MOST_SECONDS = 1e9


class AnyClient:
    """Connection of either client; needs no model."""

    _http_class: ClassVar[str]
    _transport_class: ClassVar[str]

    def __init__(
        self, url: str = DEFAULT_URL, *, token: str | None = None, timeout_seconds: float | None = 60.0
    ) -> None:
        """Name the server; connections are made when they are needed.

        Args:
            url: of the server.
            token: the bearer token, if the server asks for one.
            timeout_seconds: for connecting, and for each piece of an answer; None has no end.

        Raises:
            ServerUnreachable: the address or that of the proxy is none, no header can carry the token, the timeout is
                no time, or a package is not installed.
        """
        self._server = ServerAddress(url, token, _seconds(timeout_seconds))
        self._kept: Any = self._connections()
        self._user: object = None
        """Who has made connections; None as long as there are none."""

    @property
    def _http(self) -> Any:
        """One of httpx2's clients, with connections of the present user's.

        Raises:
            ServerUnreachable: it is closed.
        """
        if self._kept is None:
            raise ServerUnreachable("the client is closed: make another one")
        user = self._present_user()
        if self._user not in (None, user):
            self._kept = self._connections()
        self._user = user
        return self._kept

    def _present_user(self) -> object:
        """Who may use connections: a forked process would read its parent's answers, and the parent those of the
        process."""
        return os.getpid()

    def _given_up(self) -> Any:
        """What is to be closed; None if nothing is, or it is another user's."""
        kept, self._kept = self._kept, None
        return kept if self._user in (None, self._present_user()) else None

    def _connections(self) -> Any:
        httpx2, proxy = require("httpx2"), self._server.proxy
        try:
            # A transport of our own, since httpx2 would choose a proxy by itself, for this machine too.
            transport = getattr(httpx2, self._transport_class)(proxy=None if proxy is None else proxy.url)
        except ImportError as error:
            raise socks_unavailable(proxy, "socksio") from error
        try:
            return getattr(httpx2, self._http_class)(transport=transport, **self._server.http_options)
        except httpx2.InvalidURL as error:
            raise no_address(self._server.shown) from error


def _seconds(given: object) -> float | None:
    """Check a time to wait; None has no end.

    Raises:
        ServerUnreachable: it is no number, or one that no system waits for.
    """
    if given is None:
        return None
    if not isinstance(given, Real) or not 0 < given <= _MOST_SECONDS:  # type: ignore[operator]
        raise ServerUnreachable(
            f"timeout_seconds={repr(given)[:40]} must be a number above 0 and up to {_MOST_SECONDS:g}, or None: no end"
        )
    return float(given)
