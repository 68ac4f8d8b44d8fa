"""Tells once a minute how far long work is, where no bar shows it: in logs, pipes and services."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

EVERY_SECONDS = 60.0


class EveryMinute:
    """Context that says something each minute, from a thread of its own: also while one step takes hours."""

    def __init__(self, say: Callable[[float], None], every_seconds: float = EVERY_SECONDS) -> None:
        """
        Args:
            say: called with the seconds since the beginning.
            every_seconds: time between two calls.
        """
        self._say, self._every = say, every_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hifigan-minutes", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        while not self._ended.wait(self._every):
            self._say(time.monotonic() - started)


class StageLines:
    """Text of such lines about a stage of so many steps."""

    def __init__(self, label: str, steps: int) -> None:
        self._label, self._steps = label, steps
        self.done = 0
        """Steps that are over, failed ones too."""
        self.failed = 0
        """Steps that failed."""

    def step(self) -> None:
        """Count a step that is over."""
        self.done += 1

    def line(self, seconds: float, remark: str | None = None) -> str:
        """Tell where the stage is, and when it will end if it goes on like this."""
        parts = [f"{self.done} of {self._steps} after {duration(seconds)}"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if remark:
            parts.append(remark)
        if 0 < self.done < self._steps:
            parts.append(f"about {duration(seconds / self.done * (self._steps - self.done))} left")
        return f"{self._label}: {', '.join(parts)}"


def duration(seconds: float) -> str:
    """Write a time as people say it, rounded to minutes from one on, with hours from two on."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
