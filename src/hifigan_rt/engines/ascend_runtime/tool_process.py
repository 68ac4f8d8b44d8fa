"""Runs a vendor's program: follows its output, and leaves no process behind however it ends."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.errors import ToolFailed

MAX_OUTPUT_BYTES = 16 << 20
"""Size of the end of a program's output that is kept; atc with --log=debug prints without end."""

_MAX_LINE_BYTES = 1 << 16
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class ToolRun:
    """How a program ended."""

    status: int
    """Its exit status; negative for a signal."""
    output: str
    """Standard output and standard error together, the last 16 MiB."""


def run_tool(
    command: Sequence[str],
    *,
    timeout_seconds: float,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> ToolRun:
    """Run a program to its end, without a terminal and in a process group of its own.

    Args:
        command: program and arguments; no shell is involved.
        timeout_seconds: it is ended when it takes longer.
        folder: where it runs; None for the current one.
        environment: all its variables; None for ours.
        on_line: is given each line of output as it comes; bytes that are not UTF-8 are replaced.

    Raises:
        ToolFailed: it could not be started, or took too long.
        KeyboardInterrupt: after the program and what it started were ended.
    """
    deadline = time.monotonic() + timeout_seconds
    lines = _Lines(on_line)
    with ThreadPoolExecutor(1) as starter:
        # Ctrl-C raises in the main thread alone: begun in another, no program is started and then lost.
        starting = starter.submit(_start, command, folder, environment)
        try:
            process = starting.result()
            finished = _follow(process, lines, deadline)
        finally:
            if starting.exception() is None:
                _end_group(starting.result())
                _close_output(starting.result())
    if not finished:
        raise ToolFailed(
            f"{command[0]} did not end within {timeout_seconds:g} s and was stopped; the last it printed: "
            f"{lines.last or 'nothing'}",
            output=lines.text(),
        )
    return ToolRun(process.returncode, lines.text())


def _start(
    command: Sequence[str], folder: Path | None, environment: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, env=environment,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ToolFailed(f"{command[0]} could not be started: {getattr(error, 'strerror', None) or error}") from error


def _close_output(process: subprocess.Popen[bytes]) -> None:
    if process.stdout is not None:
        process.stdout.close()


def _follow(process: subprocess.Popen[bytes], lines: _Lines, deadline: float) -> bool:
    """Pass the output on until the program has ended; False if the deadline came first."""
    assert process.stdout is not None  # noqa: S101 - Popen was asked for a pipe
    descriptor = process.stdout.fileno()
    gone_since: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if now > deadline:
                return False
            if process.poll() is not None:
                gone_since = gone_since or now
                # What it started may hold the pipe open for ever.
                if now - gone_since > _GRACE_SECONDS:
                    break
            if selector.select(min(_POLL_SECONDS, deadline - now)):
                data = os.read(descriptor, 1 << 16)
                if not data:
                    break
                lines.add(data)
    lines.finish()
    try:
        process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the program and everything that it started in its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
            if number == signal.SIGTERM and not _group_lives(process.pid):
                return


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


class _Lines:
    """Cuts bytes into lines of text and keeps the last of them."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self._on_line = on_line
        self._rest = b""
        self._kept: deque[str] = deque()
        self._size = 0
        self.last = ""

    def add(self, data: bytes) -> None:
        # Progress is drawn with carriage returns.
        *whole, self._rest = (self._rest + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            self._take(line)
        if len(self._rest) > _MAX_LINE_BYTES:
            self.finish()

    def finish(self) -> None:
        if self._rest:
            self._take(self._rest)
            self._rest = b""

    def text(self) -> str:
        return "\n".join(self._kept)

    def _take(self, raw: bytes) -> None:
        line = raw.decode("utf-8", "replace")
        self._kept.append(line)
        self._size += len(line) + 1
        while self._size > MAX_OUTPUT_BYTES:
            self._size -= len(self._kept.popleft()) + 1
        self.last = line.strip() or self.last
        if self._on_line is not None:
            self._on_line(line)
