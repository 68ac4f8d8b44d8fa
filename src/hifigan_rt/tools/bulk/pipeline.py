"""Three threads in a row: one reads ahead of the engine, one runs it, one writes behind it.

The caller's thread only waits, so that Ctrl-C is noticed at once even while an engine is deep in native code.
Between the threads lie short queues: memory does not grow with the number of items.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

J = TypeVar("J")
R = TypeVar("R")
C = TypeVar("C")
D = TypeVar("D")
F = TypeVar("F")
T = TypeVar("T")

_AHEAD_ITEMS = 2
"""Items that wait before the engine, and as many behind it: enough that a slow disk's hiccup does not stop it."""

_GRACE_S = 0.2
"""How long an interrupted run waits for an engine in native code before it leaves it behind."""


@dataclass(frozen=True)
class Stages(Generic[J, R, C, D]):
    """What is done with one item; each stage may raise, and the item then counts as failed."""

    read: Callable[[J], R]
    compute: Callable[[J, R], C]
    """The engine: what it takes is measured."""
    write: Callable[[J, C, float], D]
    """Gets what was computed and the seconds that it took."""


class _Closed(Exception):
    """The queue takes or gives nothing any more."""


class _Queue(Generic[T]):
    """A bounded queue that can be closed, which wakes everyone who waits on it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        with self._changed:
            while len(self._items) >= self._size and not self._closed:
                self._changed.wait()
            if self._closed:
                raise _Closed
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> T:
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            if not self._items:
                raise _Closed
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self, discard: bool = False) -> None:
        """Take nothing more; what is inside can still be fetched unless it is discarded."""
        with self._changed:
            self._closed = True
            if discard:
                self._items.clear()
            self._changed.notify_all()


@dataclass
class _Passed(Generic[J, T]):
    """An item on its way, with the value of the last stage or the error that ended it."""

    job: J
    value: T | None = None
    error: Exception | None = None
    seconds: float = 0.0


class Pipeline(Generic[J, R, C, D, F]):
    """One run over many items, in their order."""

    def __init__(self, stages: Stages[J, R, C, D], finish: Callable[[J, D | None, Exception | None], F]) -> None:
        """
        Args:
            stages: what is done with each item.
            finish: called in the writing thread after each item, in order, with its result or its error; what it
                returns is reported.
        """
        self._stages = stages
        self._finish = finish
        self._ahead: _Queue[_Passed[J, R]] = _Queue(_AHEAD_ITEMS)
        self._behind: _Queue[_Passed[J, C]] = _Queue(_AHEAD_ITEMS)
        self._reports: queue.SimpleQueue[tuple[F] | None] = queue.SimpleQueue()
        self._reason: BaseException | None = None
        self.stopped = threading.Event()
        """Set when the run ends early, for stages that take long."""

    def stop(self, reason: BaseException) -> None:
        """End the run early, from any stage; `run` raises `reason`."""
        self._reason = reason
        self.stopped.set()
        self._ahead.close(discard=True)
        self._behind.close(discard=True)

    def run(self, jobs: Iterable[J], report: Callable[[F], None]) -> None:
        """Work through `jobs`; `report` is called in the caller's thread after each.

        When the caller's thread is interrupted, what has been computed is still written and reported, then the
        interruption goes on.

        Raises:
            BaseException: the reason given to `stop`, or what went wrong outside the stages.
        """
        threads = {
            name: threading.Thread(target=self._guarded, args=(target, *arguments), name=f"hifigan-{name}", daemon=True)
            for name, target, arguments in (
                ("read", self._read_all, (jobs,)),
                ("engine", self._compute_all, ()),
                ("write", self._write_all, ()),
            )
        }
        try:
            for thread in threads.values():
                thread.start()
            while (reported := self._reports.get()) is not None:
                report(*reported)
        except BaseException:
            self.stopped.set()
            raise
        finally:
            self._ahead.close(discard=True)
            self._behind.close()
            _join(threads["write"])
            for name in ("read", "engine"):
                if threads[name].is_alive():  # the system may not have given it
                    threads[name].join(_GRACE_S)
            while not self._reports.empty():
                if (reported := self._reports.get()) is not None:
                    report(*reported)
        if self._reason is not None:
            raise self._reason

    def _guarded(self, target: Callable[..., None], *arguments: Iterable[J]) -> None:
        """Run one thread; whatever ends it early ends the others too."""
        try:
            target(*arguments)
        except _Closed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self.stop(error)
        finally:
            if target == self._write_all:
                self._reports.put(None)

    def _read_all(self, jobs: Iterable[J]) -> None:
        for job in jobs:
            passed: _Passed[J, R] = _Passed(job)
            try:
                passed.value = self._stages.read(job)
            except Exception as error:  # noqa: BLE001 - one bad file never stops the rest
                passed.error = error
            self._ahead.put(passed)
        self._ahead.close()

    def _compute_all(self) -> None:
        try:
            while True:
                taken = self._ahead.get()
                passed: _Passed[J, C] = _Passed(taken.job, error=taken.error)
                if taken.error is None:
                    started = time.perf_counter()
                    try:
                        passed.value = self._stages.compute(taken.job, taken.value)  # type: ignore[arg-type]
                    except Exception as error:  # noqa: BLE001 - one bad file never stops the rest
                        passed.error = error
                    passed.seconds = time.perf_counter() - started
                # Nothing of the last item may stay alive while the next one is waited for.
                del taken
                self._behind.put(passed)
                del passed
        finally:
            self._behind.close()

    def _write_all(self) -> None:
        while True:
            passed = self._behind.get()
            result, failure = None, passed.error
            if failure is None:
                try:
                    result = self._stages.write(passed.job, passed.value, passed.seconds)  # type: ignore[arg-type]
                except Exception as error:  # noqa: BLE001 - one bad file never stops the rest
                    failure = error
            job = passed.job
            del passed
            self._reports.put((self._finish(job, result, failure),))


def _join(thread: threading.Thread) -> None:
    """Wait for the end of a thread through any number of Ctrl-C: it finishes the file in its hands."""
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt:
            continue
