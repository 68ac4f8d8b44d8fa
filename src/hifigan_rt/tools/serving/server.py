"""Process that runs the application: the listening socket, signals, and an end that finishes what has begun.

SIGTERM and SIGINT: `/readyz` says no at once, new requests get 503, what has begun is finished within `grace_seconds`,
and the rest is cut off; a second signal cuts it off at once. SIGHUP loads the models anew.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType

import uvicorn

from hifigan_rt.system.machine import allow_descriptors, keep_collections_short, keep_little_memory
from hifigan_rt.tools.serving.app import make_app
from hifigan_rt.tools.serving.connections import connection_classes
from hifigan_rt.tools.serving.context import Context
from hifigan_rt.tools.serving.listening import BACKLOG, address_of, listen
from hifigan_rt.tools.serving.models import Source
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry
from hifigan_rt.tools.serving.websocket import MAX_MESSAGE_BYTES
from hifigan_rt.tools.serving.wyoming import WyomingServer

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 15
"""Time for which an idle connection is kept for the next request."""

_OWN_DESCRIPTORS = 64
"""Files that the process has open beside its connections."""
_CONNECTIONS_PER_REQUEST, _MORE_CONNECTIONS = 4, 64
"""Connections that may be open for each request that may be answered, and in all: most wait for the next request."""
_SECONDS_BETWEEN_LOOKS = 0.05


class Server(uvicorn.Server):
    """Server of one process: one event loop, one application.

    Of uvicorn's server only `handle_exit` is overridden: its own raises the signal again at the end, and makes a
    clean stop look like a failure; no setting changes that.
    """

    def __init__(
        self,
        settings: ServerSettings,
        sources: Mapping[str, Source],
        *,
        preload: Sequence[str] | None = None,
    ) -> None:
        """Make the application.

        Args:
            settings, sources: see `hifigan_rt.tools.serving.app.make_app`.
            preload: models that are loaded before the first request is taken; None loads all of them.
        """
        app = make_app(settings, sources)
        self.context: Context = app.state.context
        self.wyoming = WyomingServer(self.context)
        self._settings = settings
        self._preload = preload
        self._cut_off_at: float | None = None
        self._reloading: set[asyncio.Task[None]] = set()
        super().__init__(_config(app, settings, self.context.telemetry))

    def listen(self) -> socket.socket:
        """Bind the settings' host and port.

        Raises:
            ServerError: the port is taken, or the host is not this machine's.
        """
        return listen(self._settings.host, self._settings.port, "--port")

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, then take requests until a signal comes.

        Args:
            sockets: that listen; by default `listen` makes one.

        Raises:
            ServerError: see `listen`.
            HifiganError: a model could not be loaded.
        """
        sockets = [self.listen()] if sockets is None else sockets
        try:
            if self._settings.wyoming_port is not None:
                self.wyoming.listen(self._settings.wyoming_host, self._settings.wyoming_port)
            await self.context.models.load_at_start(self._preload)
            self._reload_on_hangup()
            for listening in sockets:
                url = f"http://{address_of(listening)}"
                names = ", ".join(self.context.models.names)
                facts = {"event": "listening", "url": url, "models": names}
                logger.info("listening on %s", url, extra={"facts": facts})
            await self.wyoming.start()
            ending = asyncio.create_task(self._exit_when_drained())
            try:
                await super().serve(sockets)
            finally:
                ending.cancel()
        finally:
            await self.wyoming.close()
            for listening in sockets:
                listening.close()
            await self.context.close()

    def begin_shutdown(self) -> None:
        """Take no new requests, finish those that have begun; called again, cut them off."""
        self.context.draining = True
        grace = self._settings.grace_seconds if self._cut_off_at is None else 0.0
        self._cut_off_at = time.monotonic() + grace

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Begin the shutdown on a signal."""
        self.begin_shutdown()

    async def _exit_when_drained(self) -> None:
        # Looked at, since a signal may begin the shutdown between any two instructions of the loop.
        while self._cut_off_at is None or (self._unfinished and time.monotonic() < self._cut_off_at):
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        self.context.cut_off = True
        self.should_exit = True

    @property
    def _unfinished(self) -> bool:
        """Whether something is being answered, or a client has still to take in what was sent."""
        # The end of an answer may wait in the process: asyncio keeps what the kernel has no room for, and an answer
        # counts as given as soon as asyncio has all of it.
        unsent = (connection.transport.get_write_buffer_size() for connection in self.server_state.connections)
        return self.context.active > 0 or any(unsent) or self.wyoming.has_unsent

    def _reload_on_hangup(self) -> None:
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        task = asyncio.ensure_future(self.context.models.reload_all())
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)


def serve(server: Server) -> None:
    """Run until a signal ends it.

    Raises:
        HifiganError: the port is taken, or a model could not be loaded.
    """
    keep_little_memory()
    keep_collections_short()
    asyncio.run(server.serve())


def _config(app: object, settings: ServerSettings, telemetry: Telemetry) -> uvicorn.Config:
    most = _most_connections(settings.max_concurrent_requests)
    http, websocket = connection_classes(settings, most, telemetry)
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=http,
        ws=websocket,
        # A message somewhat too long gets an error that says so; one far too long is not read at all, close code 1009.
        ws_max_size=2 * MAX_MESSAGE_BYTES,
        # A client whose frames wait for the computer is not read from, and so its pong waits too. TCP's keepalive and
        # the idle timeout find those who are gone.
        ws_ping_interval=None,
        # Mels and PCM hardly shrink, and a compressed message is a bomb.
        ws_per_message_deflate=False,
        lifespan="on",
        # The process that starts the server sets up the logs.
        log_config=None,
        access_log=False,
        server_header=False,
        # The operator is known by the address, which a header must not change.
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        backlog=BACKLOG,
        # Requests that have not ended by now had their grace.
        timeout_graceful_shutdown=1,
    )


def _most_connections(requests: int) -> int:
    """Tell how many connections may be open, and let the process have as many files open as that takes."""
    wanted = _CONNECTIONS_PER_REQUEST * requests + _MORE_CONNECTIONS
    # What has come is accepted in one go, and counted afterwards.
    beside = _OWN_DESCRIPTORS + BACKLOG
    limit = allow_descriptors(wanted + beside)
    return min(wanted, max(limit // 2, limit - beside))
