"""Access control: tokens, origins, names of this machine, and how many at one time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from hifigan_rt.system.machine import host_name, is_loopback, is_same_origin
from hifigan_rt.tools.serving.context import Context
from hifigan_rt.tools.serving.errors import Forbidden, ServingError, ShuttingDown, TooManyRequests, Unauthorized
from hifigan_rt.tools.serving.routes import Endpoint
from hifigan_rt.tools.serving.scheduling.clients import count, has_room, reserve_of

TOKEN_SUBPROTOCOL = "bearer."  # noqa: S105 - a prefix
"""Prefix of an offered subprotocol that holds the token: a browser cannot give a WebSocket an Authorization header."""


class AccessControl:
    """Middleware that lets a request through to the routes, or refuses it before its body is read."""

    def __init__(self, app: ASGIApp, context: Context, endpoints: Iterable[Endpoint]) -> None:
        self._app = app
        self._context = context
        settings = context.settings
        # Looked up by digest: the time that takes may tell of a digest, and nothing of the token.
        self._tokens = {_digest(token): number for number, token in enumerate(settings.bearer_tokens, start=1)}
        self._origins = frozenset(settings.cors_origins)
        # Without a token on loopback, a page whose name was made to point at 127.0.0.1 would be as good as a local one.
        self._only_loopback_names = not self._tokens and is_loopback(settings.host)
        endpoints = tuple(endpoints)
        self._health_paths = frozenset(endpoint.path for endpoint in endpoints if endpoint.health)
        # Probes have no token, a browser asks for the page's files before its user can type one, and what describes
        # the server says nothing secret.
        public = [endpoint.path for endpoint in endpoints if not endpoint.token]
        self._public_paths = frozenset(path for path in public if "{" not in path)
        self._public_prefixes = tuple(path.partition("{")[0] for path in public if "{" in path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        self._check_names(scope, headers)
        self._check_token(scope, headers)
        if scope["path"] in self._health_paths:
            await self._app(scope, receive, send)
            return
        client, active = scope["hifigan.record"].client, self._context.active_of
        self._check_room(client)
        count(active, client, 1)
        try:
            await self._app(scope, receive, send)
        finally:
            count(active, client, -1)

    def _check_room(self, client: str) -> None:
        most, active = self._context.settings.max_concurrent_requests, self._context.active_of
        own, all_, clients = active[client] + 1, active.total() + 1, len({client, *active})
        refusal: ServingError | None = None
        if self._context.draining:
            refusal = ShuttingDown("the server is shutting down: it takes no new requests")
        elif not has_room(own, all_, clients, most, reserve_of(most)) and not (
            # Within its share, it may have the place of a body that another client is still sending.
            has_room(own, own, clients, most, reserve_of(most)) and self._context.bodies.displace_for(client, own)
        ):
            refusal = TooManyRequests(
                f"{all_ - 1} requests are being answered, {own - 1} of them yours, as many as may be: try again later",
                1.0,
            )
        if refusal is not None:
            self._context.telemetry.rejected(refusal.code)
            raise refusal

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        path = scope["path"]
        if not self._tokens or path in self._public_paths or path.startswith(self._public_prefixes):
            return
        numbers = (self._tokens.get(_digest(token)) for token in _given_tokens(headers))
        number = next(filter(None, numbers), None)
        if number is None:
            raise Unauthorized("this server asks for a bearer token: send the header Authorization: Bearer TOKEN")
        if len(self._tokens) > 1:
            scope["hifigan.record"].client = f"token {number}"

    def _check_names(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        # Browsers always name a host; probes that speak HTTP/1.0 do not.
        if self._only_loopback_names and host and not is_loopback(host_name(host)):
            raise Forbidden(
                f"host {host[:80]!r} is not this machine's loopback: a server without a token answers to 127.0.0.1, "
                "[::1] and localhost alone; start it with --token-file to use other names"
            )
        origin = headers.get("origin")
        # Browsers send GET without asking, and keep the answer from the page; what changes or computes is refused here.
        if origin is None or scope.get("method") in ("GET", "HEAD", "OPTIONS"):
            return
        if not is_same_origin(origin, host) and origin not in self._origins and "*" not in self._origins:
            raise Forbidden(f"pages of {origin[:80]!r} may not use this server: --cors-origin lets them")


def check_operator(scope: Scope, context: Context) -> None:
    """Let through who may change what the server runs: holders of the token; without one, this machine alone.

    Raises:
        Forbidden: the client is neither.
    """
    if context.settings.bearer_tokens:
        return  # AccessControl has seen it
    client = scope.get("client")
    forwarded = any(name in (b"forwarded", b"x-forwarded-for") for name, _ in scope["headers"])
    if client is None or forwarded or not is_loopback(client[0]):
        raise Forbidden("without a token, only this machine itself may do that: start the server with --token-file")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _given_tokens(headers: Headers) -> Iterable[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield token.strip()
    # Of the header, and not of the scope: what a proxy made of a handshake is told what it lacks, as others are.
    for name in ",".join(headers.getlist("sec-websocket-protocol")).split(","):
        if name.strip().startswith(TOKEN_SUBPROTOCOL):
            yield name.strip().removeprefix(TOKEN_SUBPROTOCOL)
