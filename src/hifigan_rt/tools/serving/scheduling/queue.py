"""Queue of jobs: admission, and one block computed after the other."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable

import numpy as np

from hifigan_rt.tools.serving.errors import (
    DeadlineExceeded,
    InternalFailure,
    QueueFull,
    ServingError,
    ShuttingDown,
    TooManyRequests,
    as_serving_error,
)
from hifigan_rt.tools.serving.scheduling.jobs import QueuedJob, SharedState, compute
from hifigan_rt.tools.serving.scheduling.policy import BlockOrder, QueueLimit, Speed

logger = logging.getLogger(__name__)


class JobQueue:
    """Jobs that were let in. Whatever clients call takes the lock for microseconds: the engine runs without it."""

    def __init__(self, shared: SharedState) -> None:
        """Begin without jobs; a thread calls `run`, or a test `step`."""
        self._settings, self._telemetry = shared.settings, shared.telemetry
        self._clock, self._lock = shared.clock, shared.lock
        self._speed = Speed()
        self._order = BlockOrder(self._settings, self._speed)
        self._limit = QueueLimit(self._settings)
        self._jobs: list[QueuedJob] = []
        self._draining = self._stopped = False

    def check_room(self, model: str, audio_seconds: float) -> None:
        """Refuse at once what `add` would refuse.

        Args:
            model: name of the model.
            audio_seconds: audio that the request would have computed, as far as that is known.

        Raises:
            QueueFull: too many requests wait, or too much audio, or so much is to be computed before this request that
                it would wait too long.
            ShuttingDown: the server takes no new work.
        """
        with self._lock:
            refusal = self._refusal(model, audio_seconds)
        if refusal is not None:
            self._refuse(refusal)

    def add(self, job: QueuedJob) -> None:
        """Let a job in.

        Raises:
            QueueFull, ShuttingDown: see `check_room`.
            TooManyRequests: as many live streams are open as may be, or those that are played as they come take nearly
                the whole processor: one more would make all of them stutter.
        """
        with self._lock:
            refusal = self._refusal_of_stream() if job.live else self._refusal(job.model, job.remaining_seconds)
            if refusal is None:
                job.begin()
                self._jobs.append(job)
                self._show()
                self._lock.notify_all()
        if refusal is not None:
            self._refuse(refusal)

    def step(self) -> bool:
        """Compute one block, or several together; False if there is none to be computed now."""
        with self._lock:
            now = self._clock()
            self._sweep(now)
            jobs = self._order.choose(self._jobs, now)
            if not jobs:
                self._show()
                return False
            urgent = jobs[0].urgency(now, self._settings.urgent_lead_seconds) < 2
            frames = [job.take() for job in jobs]
        audios: list[np.ndarray] = []
        failure = self._attempt(lambda: audios.extend(compute(jobs)), jobs[0].model)
        with self._lock:
            end = self._clock()
            for index, job in enumerate(jobs):
                self._book(job, frames[index], (end - now) / len(jobs), end, urgent=urgent)
                wrong = failure
                if wrong is None and not job.cancelled:
                    wrong = self._attempt(functools.partial(job.give, audios[index], end), job.model)
                if wrong is not None or job.finished:
                    self._end(job, wrong)
            self._sweep(end)
            self._show()
        return True

    def _attempt(self, action: Callable[[], None], model: str) -> ServingError | None:
        # Whatever goes wrong with one job, the thread has others to compute.
        try:
            action()
        except MemoryError:
            logger.exception("computing for model %r failed", model)
            return InternalFailure("the server has no memory left for this request")
        except Exception as error:
            logger.exception("computing for model %r failed", model)
            return as_serving_error(error)
        return None

    def run(self) -> None:
        """Compute blocks until `stop` is called."""
        while True:
            worked = self.step()
            with self._lock:
                if self._stopped:
                    return
                # What came between is seen here, since whoever brings it takes the lock.
                if not worked and not any(job.cancelled or job.ready() for job in self._jobs):
                    deadlines = [job.deadline for job in self._jobs if job.deadline is not None]
                    self._lock.wait(max(0.0, min(deadlines) - self._clock()) if deadlines else None)

    def drain(self) -> None:
        """Take no new jobs from now on."""
        with self._lock:
            self._draining = True

    @property
    def idle(self) -> bool:
        """Whether no job is left."""
        with self._lock:
            return not self._jobs

    def stop(self) -> None:
        """Let `run` return after its present block."""
        with self._lock:
            self._draining = self._stopped = True
            self._lock.notify_all()

    def end_all(self) -> None:
        """End every job that is left; `run` must have returned."""
        with self._lock:
            for job in list(self._jobs):
                self._end(job, ShuttingDown("the server is shutting down"))
            self._show()

    def _refusal(self, model: str, audio_seconds: float) -> ServingError | None:
        if self._draining:
            return ShuttingDown("the server is shutting down")
        settings, now = self._settings, self._clock()
        rank = self._speed.seconds(model, audio_seconds) + settings.ageing * now
        requests, audio, before, backlog = 0, 0.0, 0.0, 0.0
        # One pass, since a server that refuses two hundred requests a second comes here for each.
        for job in self._jobs:
            if not job.live and not job.cancelled:
                seconds = self._speed.seconds(job.model, job.remaining_seconds)
                requests += 1
                audio += job.remaining_seconds
                backlog += seconds
                before += seconds if self._order.rank(job) <= rank else 0.0
        share = max(settings.bulk_share, 1 - self._speed.urgent_share(now))
        too_late = before / share > self._limit.seconds(now)
        too_many = requests >= settings.max_queued_requests
        too_much = requests > 0 and audio + audio_seconds > settings.max_queued_audio_seconds
        if too_late or too_many:
            self._limit.refused(now)
        elif not too_much:
            return None
        # Half the backlog is gone by then.
        retry_after = float(math.ceil(max(1.0, (before if too_late else backlog) / share / 2)))
        return QueueFull(
            f"the server is busy: {requests} requests wait with {audio:.0f} s of audio; try again later", retry_after
        )

    def _refusal_of_stream(self) -> ServingError | None:
        if self._draining:
            return ShuttingDown("the server is shutting down")
        live = sum(1 for job in self._jobs if job.live and not job.cancelled)
        share = self._speed.urgent_share(self._clock())
        if live >= self._settings.max_live_streams:
            return TooManyRequests(f"{live} live streams are open, and no more may be: try again later", 1.0)
        if share > self._settings.max_urgent_share:
            return TooManyRequests(f"{live} live streams take {share:.0%} of the processor: try again later", 1.0)
        return None

    def _refuse(self, refusal: ServingError) -> None:
        self._telemetry.rejected(refusal.code)
        raise refusal

    def _book(self, job: QueuedJob, frames: int, seconds: float, now: float, *, urgent: bool) -> None:
        audio_seconds = frames * job.seconds_per_frame
        job.busy_seconds += seconds
        job.served_at = now
        self._order.served(urgent=urgent, seconds=seconds)
        self._speed.book(job.model, audio_seconds, seconds, now, urgent=urgent)
        self._telemetry.block(job.model, audio_seconds, seconds, self._speed.x_real_time(job.model))

    def _sweep(self, now: float) -> None:
        for job in list(self._jobs):
            if job.cancelled:
                self._telemetry.cancelled()
                self._end(job, None)
            elif job.deadline is not None and now >= job.deadline:
                self._end(job, DeadlineExceeded("the request was not finished in the time it had"))

    def _end(self, job: QueuedJob, error: ServingError | None) -> None:
        self._jobs.remove(job)
        job.end(error)

    def _show(self) -> None:
        queued = [job for job in self._jobs if not job.live]
        audio = sum(job.remaining_seconds for job in queued)
        self._telemetry.queue(len(queued), audio, len(self._jobs) - len(queued))
