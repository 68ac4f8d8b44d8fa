"""Context of every route: the server's parts, and the record of the one request that it answers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from starlette.requests import HTTPConnection

from hifigan_rt.tools.serving.arriving_bodies import ArrivingBodies
from hifigan_rt.tools.serving.errors import BadRequest
from hifigan_rt.tools.serving.fair_threads import FairThreads
from hifigan_rt.tools.serving.loop_pieces import LoopPieces
from hifigan_rt.tools.serving.memory_budget import MemoryBudget
from hifigan_rt.tools.serving.models import ModelPool
from hifigan_rt.tools.serving.routes import Parameter
from hifigan_rt.tools.serving.scheduling.scheduler import Scheduler
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry

_LONG_RECORDINGS_AT_ONCE = 2
_SHORT_RECORDINGS_AT_ONCE = 4
_SENTENCES_AT_ONCE = 2
"""Each takes up to a quarter of a gigabyte."""


@dataclass
class RequestRecord:
    """Facts about one request and its response for the log. Never holds mels or audio."""

    request_id: str
    """The client's X-Request-Id if it is sane, else a random one."""
    client: str = ""
    """Client that it comes from: an address, see `hifigan_rt.tools.serving.clients`, or one of several tokens."""
    started: float = field(default_factory=time.monotonic)
    """Time when its headers had come, on the monotonic clock."""
    model: str = ""
    """Name of a model that this server has; set as soon as the model is leased."""
    status: int | None = None
    """Status of the response, once it has begun."""
    code: str | None = None
    """Code of the failure, if there was one."""
    sent_bytes: int = 0
    """Bytes of the response's body that were sent so far."""
    held_bytes: int = 0
    """Bytes that `MemoryBudget` has counted for the request: its body, and what it becomes."""
    facts: dict[str, str | int | float] = field(default_factory=dict)
    """Further entries of the log line: frames, audio seconds, clipped samples."""


class Context:
    """The server's parts. `request.app.state.context` has it; `context_of` gives it typed."""

    def __init__(self, settings: ServerSettings, telemetry: Telemetry, models: ModelPool, memory: MemoryBudget) -> None:
        self.settings = settings
        self.telemetry = telemetry
        self.models = models
        self.memory = memory
        self.draining = False
        """Whether the server shuts down: what has begun goes on, nothing else begins."""
        self.cut_off = False
        """Whether the server ends now, and cuts off what has not been finished."""
        self.active_of: Counter[str] = Counter()
        """Number of requests and WebSockets of each client that are being answered, those for health not counted."""
        self.bodies = ArrivingBodies()
        """Bodies of requests that are being read."""
        self.long_recordings = FairThreads("long recordings", _LONG_RECORDINGS_AT_ONCE, settings, telemetry)
        """Threads that analyse long recordings: in the common pool these would keep short requests from a thread, and
        take much memory together."""
        self.pieces = LoopPieces(lambda: not self.scheduler.idle)
        """Work that is done on the event loop in pieces."""
        self.short_recordings = FairThreads("recordings", _SHORT_RECORDINGS_AT_ONCE, settings, telemetry)
        """Threads that analyse the others."""
        self.text_parts = FairThreads("sentences", _SENTENCES_AT_ONCE, settings, telemetry)
        """Threads that make a voice's latents of text."""
        self._scheduler: Scheduler | None = None

    @property
    def active(self) -> int:
        """Number of them of all clients."""
        return self.active_of.total()

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler, which runs while the application does."""
        assert self._scheduler is not None, "the application was not started"  # noqa: S101 - no client can cause it
        return self._scheduler

    def start(self) -> None:
        """Start the scheduler, on the event loop."""
        self._scheduler = Scheduler(self.settings, self.telemetry)

    async def close(self) -> None:
        """End scheduler and models; what has not been finished by now is given up."""
        self.draining = True
        if self._scheduler is not None:
            await self._scheduler.close()
        await self.models.close()
        self.memory.close()
        for threads in (self.long_recordings, self.short_recordings, self.text_parts):
            threads.close()


def context_of(connection: HTTPConnection) -> Context:
    """Find the context of the application that a request or WebSocket came to."""
    return cast("Context", connection.app.state.context)


def record_of(connection: HTTPConnection) -> RequestRecord:
    """Find the record of a request or WebSocket."""
    return cast("RequestRecord", connection.scope["hifigan.record"])


def query_of(connection: HTTPConnection, parameters: Iterable[Parameter]) -> dict[str, str]:
    """Read the query's parameters, each at most once.

    Args:
        connection: the request.
        parameters: those that its route takes.

    Raises:
        BadRequest: one is unknown, or given twice.
    """
    known = [parameter.name for parameter in parameters if parameter.place == "query"]
    query: dict[str, str] = {}
    for name, value in connection.query_params.multi_items():
        if name not in known:
            there_are = f"{', '.join(sorted(known))} are" if known else "none is"
            raise BadRequest(f"query parameter {name[:40]!r} is not known here: {there_are}")
        if name in query:
            raise BadRequest(f"query parameter {name!r} is given twice: give it once")
        query[name] = value
    return query


def flag(query: Mapping[str, str], name: str) -> bool:
    """Read a parameter that is 1 or 0, or true or false; 0 if it is not there.

    Raises:
        BadRequest: it is something else.
    """
    value = query.get(name, "0")
    if value not in ("0", "1", "false", "true"):
        raise BadRequest(f"{name}={value[:40]!r} must be 1 or 0")
    return value in ("1", "true")
