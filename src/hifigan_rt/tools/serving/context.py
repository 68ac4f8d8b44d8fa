"""What every route needs: the server's parts, and the record of the one request that it answers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import cast

from starlette.requests import HTTPConnection

from hifigan_rt.tools.serving.failures import BadRequest, QueueFull
from hifigan_rt.tools.serving.models import ModelPool
from hifigan_rt.tools.serving.scheduler import Scheduler
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry

MAX_ALL_BODIES_FACTOR = 8
"""All bodies that are held at one time may have so many times `max_body_bytes`."""

_LONG_RECORDINGS_AT_ONCE = 2


@dataclass
class Exchange:
    """One request and its answer: what the log tells of it. Never holds mels or audio."""

    request_id: str
    """The client's X-Request-Id if it is sane, else a random one."""
    started: float = field(default_factory=time.monotonic)
    """When its headers had come, on the monotonic clock."""
    model: str = ""
    """The name of a model that this server has; set as soon as it is leased."""
    status: int | None = None
    """Of the answer, once it has begun."""
    code: str | None = None
    """Of the failure, if there was one."""
    sent_bytes: int = 0
    """Of the answer's body, so far."""
    held_bytes: int = 0
    """Of the request's body."""
    facts: dict[str, str | int | float] = field(default_factory=dict)
    """More for the log: frames, audio seconds, clipped samples."""


class Context:
    """The server's parts. `request.app.state.context` has it; `context_of` gives it typed."""

    def __init__(self, settings: ServerSettings, telemetry: Telemetry, models: ModelPool) -> None:
        self.settings = settings
        self.telemetry = telemetry
        self.models = models
        self.draining = False
        """The server is shutting down: what has begun goes on, nothing else begins."""
        self.active = 0
        """Requests and WebSockets that are being answered, those for health not counted."""
        self.long_recordings = ThreadPoolExecutor(_LONG_RECORDINGS_AT_ONCE, "hifigan-recordings")
        """Analyses them; elsewhere they would keep short requests from a thread, and take much memory together."""
        self._scheduler: Scheduler | None = None
        self._held_bytes = 0

    @property
    def scheduler(self) -> Scheduler:
        """Runs while the application does."""
        assert self._scheduler is not None, "the application was not started"  # noqa: S101 - no client can cause it
        return self._scheduler

    def start(self) -> None:
        """Start the scheduler, on the event loop."""
        self._scheduler = Scheduler(self.settings, self.telemetry)

    async def close(self) -> None:
        """End scheduler and models; what has not been finished by now is given up."""
        self.draining = True
        if self._scheduler is not None:
            await self._scheduler.close(0.0)
        await self.models.close()
        self.long_recordings.shutdown(wait=False, cancel_futures=True)

    def hold(self, exchange: Exchange, body_bytes: int) -> None:
        """Make room for so many more bytes of a request's body.

        Raises:
            QueueFull: the bodies of all requests together would take too much memory.
        """
        if self._held_bytes + body_bytes > MAX_ALL_BODIES_FACTOR * self.settings.max_body_bytes:
            self.telemetry.rejected(QueueFull.code)
            raise QueueFull("the server holds as many request bodies as it may: try again later", 1.0)
        self._held_bytes += body_bytes
        exchange.held_bytes += body_bytes

    def let_go(self, exchange: Exchange) -> None:
        """A request has been answered."""
        self._held_bytes -= exchange.held_bytes
        exchange.held_bytes = 0


def context_of(connection: HTTPConnection) -> Context:
    """The context of the application that a request or WebSocket came to."""
    return cast("Context", connection.app.state.context)


def exchange_of(connection: HTTPConnection) -> Exchange:
    """The record of a request or WebSocket."""
    return cast("Exchange", connection.scope["hifigan.exchange"])


def query_of(connection: HTTPConnection, known: frozenset[str]) -> dict[str, str]:
    """The query's parameters, each at most once.

    Raises:
        BadRequest: one is unknown, or given twice.
    """
    query: dict[str, str] = {}
    for name, value in connection.query_params.multi_items():
        if name not in known:
            raise BadRequest(f"query parameter {name[:40]!r} is not known here: {', '.join(sorted(known))} are")
        if name in query:
            raise BadRequest(f"query parameter {name!r} is given twice: give it once")
        query[name] = value
    return query


def flag(query: Mapping[str, str], name: str) -> bool:
    """A parameter that is 1 or 0, or true or false; 0 if it is not there.

    Raises:
        BadRequest: it is something else.
    """
    value = query.get(name, "0")
    if value not in ("0", "1", "false", "true"):
        raise BadRequest(f"{name}={value[:40]!r} must be 1 or 0")
    return value in ("1", "true")
