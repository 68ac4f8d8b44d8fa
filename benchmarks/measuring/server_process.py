"""`hifigan serve` as a process of its own, and what the system tells of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from measuring.loopback import Connection

_START_SECONDS = 120.0


@dataclass(frozen=True)
class Reading:
    """What a process holds at one moment."""

    at_seconds: float
    memory_mib: float
    threads: int
    files: int
    processor_seconds: float


class ServerProcess:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self._began = time.monotonic()

    def read(self) -> Reading:
        """Linux's own figures."""
        folder = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        times = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        ticks = int(times[11]) + int(times[12])
        return Reading(
            time.monotonic() - self._began,
            int(status["VmRSS"].split()[0]) / 1024,
            int(status["Threads"]),
            len(list((folder / "fd").iterdir())),
            ticks / os.sysconf("SC_CLK_TCK"),
        )


@contextlib.asynccontextmanager
async def running_server(model: str, log: Path, options: Sequence[str] = ()) -> AsyncIterator[ServerProcess]:
    """Start a server on a free port, wait until it is ready, and end it with SIGTERM.

    Raises:
        RuntimeError: it did not start, or did not end with status 0.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "hifigan_rt", "serve", "--model", f"model={model}", "--port", str(port), *options]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    server = ServerProcess(process, port)
    try:
        await _ready(server, log)
        yield server
        process.terminate()
        if (status := await asyncio.to_thread(process.wait, 60)) != 0:
            raise RuntimeError(f"the server ended with status {status}: see {log}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


async def _ready(server: ServerProcess, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server did not start: see {log}")
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with Connection(server.url) as connection:
                if (await connection.get("/readyz")).status == 200:
                    return
        await asyncio.sleep(0.1)
    raise RuntimeError(f"the server was not ready after {_START_SECONDS:.0f} s: see {log}")
