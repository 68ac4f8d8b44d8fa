"""Waiting for what must happen, on a machine of any speed: the limits only end tests of what hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

LIMIT_S = 300.0


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until_gone(pid: int) -> None:
    wait_for(lambda: gone(pid))


def at_once(work: Callable[[T], R], arguments: Iterable[T]) -> list[R]:
    """Do it for each argument in a thread of its own; what one raises is raised when all have ended."""
    given = list(arguments)
    begin = threading.Barrier(len(given))
    with ThreadPoolExecutor(len(given)) as pool:
        return list(pool.map(lambda one: (begin.wait(), work(one))[1], given))
