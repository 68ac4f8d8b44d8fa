"""Computes the blocks of all works, one after the other, each on all cores."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from hifigan_rt.tools.serving.errors import (
    DeadlineExceeded,
    InternalFailure,
    QueueFull,
    ServingError,
    ShuttingDown,
    TooManyRequests,
    as_serving_error,
)
from hifigan_rt.tools.serving.ordering import Ordering
from hifigan_rt.tools.serving.patience import Patience
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.speed import Speed
from hifigan_rt.tools.serving.telemetry import Telemetry
from hifigan_rt.tools.serving.work import Work

logger = logging.getLogger(__name__)


class Dispatcher:
    """The works, and one thread that computes their blocks.

    Whatever clients call takes the lock for microseconds: the engine runs without it.
    """

    def __init__(
        self, settings: ServerSettings, telemetry: Telemetry, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start with no works, and without the thread: see `start`."""
        self.lock = threading.Condition()
        self._settings = settings
        self._telemetry = telemetry
        self._clock = clock
        self._speed = Speed()
        self._ordering = Ordering(settings, self._claimed_seconds)
        self._patience = Patience(settings)
        self._works: list[Work] = []
        self._draining = self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="hifigan-dispatcher", daemon=True)
        self._thread.start()

    def check_room(self, model: str, audio_seconds: float) -> None:
        """Refuse at once what would have to wait too long.

        Args:
            model: its name.
            audio_seconds: that the request would have computed.

        Raises:
            QueueFull: too many requests wait, or too much audio, or so much is to be computed before this request that
                it would wait too long.
            ShuttingDown: the server takes no new work.
        """
        settings = self._settings
        with self.lock:
            self._check_open()
            now = self._clock()
            rank = self._speed.seconds(model, audio_seconds) + settings.ageing * now
            requests, audio, before, backlog = 0, 0.0, 0.0, 0.0
            # One pass, since a server that refuses two hundred requests a second comes here for each.
            for work in self._works:
                if work.counts_as_queued and not work.cancelled:
                    seconds = self._compute_seconds(work)
                    requests += 1
                    audio += work.remaining_seconds
                    backlog += seconds
                    before += seconds if self._ordering.score(work) <= rank else 0.0
            share = max(settings.bulk_share, 1 - self._speed.urgent_share(now))
            too_late = before / share > self._patience.seconds(now)
            too_many = requests >= settings.max_queued_requests
            too_much = requests > 0 and audio + audio_seconds > settings.max_queued_audio_seconds
            if too_late or too_many:
                self._patience.refused(now)
            elif not too_much:
                return
        # Half the backlog is gone by then.
        retry_after = float(math.ceil(max(1.0, (before if too_late else backlog) / share / 2)))
        raise QueueFull(
            f"the server is busy: {requests} requests wait with {audio:.0f} s of audio; try again later", retry_after
        )

    def check_room_for_stream(self) -> None:
        """Refuse one live stream too many.

        Raises:
            TooManyRequests: as many are open as may be, or streams that are played as they come take nearly the whole
                processor: one more would make all of them stutter.
            ShuttingDown: the server takes no new work.
        """
        settings = self._settings
        with self.lock:
            self._check_open()
            live = sum(1 for work in self._works if not work.counts_as_queued and not work.cancelled)
            share = self._speed.urgent_share(self._clock())
        if live >= settings.max_live_streams:
            raise TooManyRequests(f"{live} live streams are open, and no more may be: try again later", 1.0)
        if share > settings.max_urgent_share:
            raise TooManyRequests(f"{live} live streams take {share:.0%} of the processor: try again later", 1.0)

    def add(self, work: Work) -> None:
        """Take a work in."""
        with self.lock:
            self._works.append(work)
            self._show_queue()
            self.lock.notify_all()

    def cancel(self, work: Work) -> None:
        """Forget a work at the end of its present block."""
        with self.lock:
            work.cancelled = True
            self.lock.notify_all()

    def step(self) -> bool:
        """Compute one block; False if there is none to be computed now."""
        with self.lock:
            now = self._clock()
            self._sweep(now)
            work = self._ordering.choose(self._works, now)
            if work is None:
                self._show_queue()
                return False
            urgent = work.urgency(now, self._settings.urgent_lead_seconds) < 2
            frames = work.take()
        failure = self._attempted(work, work.compute)
        with self.lock:
            end = self._clock()
            self._book(work, frames, end - now, end, urgent=urgent)
            if failure is None and not work.cancelled:
                failure = self._attempted(work, lambda: work.give(end))
            if failure is not None or work.finished:
                self._end(work, failure)
            self._sweep(end)
            self._show_queue()
        return True

    def drain(self) -> None:
        """Take no new work from now on."""
        with self.lock:
            self._draining = True

    @property
    def idle(self) -> bool:
        """Whether no work is left."""
        with self.lock:
            return not self._works

    def stop(self) -> None:
        """End the thread after its present block, and every work that is left."""
        with self.lock:
            self._draining = self._stopped = True
            self.lock.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self.lock:
            for work in list(self._works):
                self._end(work, ShuttingDown("the server is shutting down"))
            self._show_queue()

    def _run(self) -> None:
        while True:
            worked = self.step()
            with self.lock:
                if self._stopped:
                    return
                # What came between is seen here, since whoever brings it takes the lock.
                if not worked and not self._anything_to_do():
                    self.lock.wait(self._seconds_to_deadline())

    def _anything_to_do(self) -> bool:
        return any(work.cancelled or work.ready() for work in self._works)

    def _seconds_to_deadline(self) -> float | None:
        deadlines = [work.deadline for work in self._works if work.deadline is not None]
        return max(0.0, min(deadlines) - self._clock()) if deadlines else None

    def _attempted(self, work: Work, action: Callable[[], None]) -> ServingError | None:
        # Whatever goes wrong with one work, the thread has others to compute.
        try:
            action()
        except Exception as error:
            logger.exception("computing for model %r failed", work.model)
            return as_serving_error(error) if not isinstance(error, MemoryError) else _out_of_memory()
        return None

    def _book(self, work: Work, frames: int, seconds: float, now: float, *, urgent: bool) -> None:
        audio_seconds = frames * work.seconds_per_frame
        work.busy_seconds += seconds
        work.served_at = now
        self._ordering.served(urgent=urgent, seconds=seconds)
        self._speed.book(work.model, audio_seconds, seconds, now, urgent=urgent)
        speed = self._speed.x_real_time(work.model)
        self._telemetry.block(work.model, audio_seconds, seconds, speed or 0.0)

    def _sweep(self, now: float) -> None:
        for work in list(self._works):
            if work.cancelled:
                self._telemetry.cancelled()
                self._end(work, None)
            elif work.deadline is not None and now >= work.deadline:
                self._end(work, DeadlineExceeded("the request was not finished in the time it had"))

    def _end(self, work: Work, error: ServingError | None) -> None:
        self._works.remove(work)
        work.free()
        work.lease.release()
        work.on_end(error)

    def _check_open(self) -> None:
        if self._draining:
            raise ShuttingDown("the server is shutting down")

    def _compute_seconds(self, work: Work) -> float:
        return self._speed.seconds(work.model, work.remaining_seconds)

    def _claimed_seconds(self, work: Work) -> float:
        return self._speed.seconds(work.model, work.claimed_seconds)

    def _show_queue(self) -> None:
        queued = [work for work in self._works if work.counts_as_queued]
        audio = sum(work.remaining_seconds for work in queued)
        self._telemetry.queue(len(queued), audio, len(self._works) - len(queued))


def _out_of_memory() -> ServingError:
    return InternalFailure("the server has no memory left for this request")
