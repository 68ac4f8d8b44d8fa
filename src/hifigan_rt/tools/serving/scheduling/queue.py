"""Queue of jobs: admission, and one block computed after the other."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable

from hifigan_rt.engines.streams import Outcome, audio_of
from hifigan_rt.tools.serving.errors import (
    DeadlineExceeded,
    InternalFailure,
    QueueFull,
    ServingError,
    ShuttingDown,
    TooManyRequests,
    as_serving_error,
    let_go,
)
from hifigan_rt.tools.serving.scheduling.clients import has_room, reserve_of
from hifigan_rt.tools.serving.scheduling.jobs import QueuedJob, SharedState, compute
from hifigan_rt.tools.serving.scheduling.order import Arrival, BlockOrder, BlockTurn
from hifigan_rt.tools.serving.scheduling.policy import QueueLimit, Speed
from hifigan_rt.tools.serving.scheduling.streams import StreamJob

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
        self._turns: list[BlockTurn] = []
        """Turns that are open: each but the first in an interlude of the one before."""
        self._interlude_seconds = 0.0  # of all interludes so far
        self._stopped = False

    def check_room(self, arrival: Arrival) -> None:
        """Refuse at once what `add` would refuse.

        Raises:
            QueueFull: too many requests wait, or too much audio, or so much would be computed before this request that
                it would wait too long.
            ShuttingDown: the server takes no new work.
        """
        with self._lock:
            refusal = self._refusal(arrival)
        if refusal is not None:
            self._refuse(refusal)

    def add(self, job: QueuedJob, *, goes_on: bool = False) -> None:
        """Let a job in.

        Args:
            job: which was not let in before.
            goes_on: whether it goes on something that was let in: then it waits as long as it takes, and is not refused
                but at the server's end.

        Raises:
            QueueFull, ShuttingDown: see `check_room`.
            TooManyRequests: as many live streams are open as may be, or those that are played as they come take nearly
                the whole processor and this client has its share of them: one more would make all of them stutter.
        """
        with self._lock:
            seconds = job.remaining_seconds
            blocks = job.blocks_in(seconds)
            arrival = Arrival(job.client, job.model, seconds, blocks, streamed=isinstance(job, StreamJob))
            if goes_on:
                refusal = self._refusal_at_end()
            else:
                refusal = self._refusal_of_stream(job.client) if job.live else self._refusal(arrival)
            if refusal is None:
                job.begin()
                self._jobs.append(job)
                self._show()
                self._lock.notify_all()
        if refusal is not None:
            self._refuse(refusal)

    def seconds_before(self, arrival: Arrival) -> float:
        """Tell how long a request would wait for others, if nothing else came."""
        with self._lock:
            return self._order.seconds_before(self._jobs, arrival, self._clock())

    def step(self) -> bool:
        """Compute one block, or several together; False if there is none to be computed now."""
        with self._lock:
            now = self._clock()
            self._sweep(now)
            turn = self._order.choose(self._jobs, now)
            if turn is None:
                self._show()
                return False
            frames = self._take(turn)
        self._compute(turn, frames, now)
        with self._lock:
            self._sweep(self._clock())
            self._show()
        return True

    def _interlude(self) -> None:
        """Compute a more urgent block before the rest of the present one, if there is one; called by its engine."""
        with self._lock:
            now = self._clock()
            jobs = [job for job in self._jobs if not job.cancelled]
            turn = self._order.interlude(jobs, self._turns, now)
            if turn is None:
                return
            frames = self._take(turn)
        self._compute(turn, frames, now)

    def _take(self, turn: BlockTurn) -> list[int]:
        self._turns.append(turn)
        return [job.take() for job in turn.jobs]

    def _compute(self, turn: BlockTurn, frames: list[int], began: float) -> None:
        jobs, engine = turn.jobs, turn.jobs[0].engine
        outcomes: list[Outcome] = []
        in_interludes = self._interlude_seconds
        failure = self._attempt(
            lambda: outcomes.extend(engine.interruptible(lambda: compute(jobs), self._interlude)), jobs[0].model
        )
        with self._lock:
            self._turns.pop()
            end = self._clock()
            seconds = end - began - (self._interlude_seconds - in_interludes)
            if self._turns:
                self._interlude_seconds += seconds
            self._order.served(turn, seconds, end)
            per_frame = seconds / (sum(frames) or 1)
            for index, job in enumerate(jobs):
                # One figure for all would make a whole mel's block as cheap as those of the streams that it joined.
                cost = seconds if len(jobs) == 1 else per_frame * frames[index]
                self._book(job, frames[index], seconds / len(jobs), cost, end, urgent=turn.for_live)
                wrong = failure
                if wrong is None and not job.cancelled:
                    wrong = self._attempt(functools.partial(_hand_over, job, outcomes[index], end), job.model)
                if wrong is not None or job.finished:
                    self._end(job, wrong)

    def _attempt(self, action: Callable[[], None], model: str) -> ServingError | None:
        # Whatever goes wrong with one job, the thread has others to compute.
        try:
            action()
        except Exception as error:
            logger.exception("computing for model %r failed", model)
            let_go(error)
            if isinstance(error, MemoryError):
                return InternalFailure("the server has no memory left for this request")
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

    @property
    def idle(self) -> bool:
        """Whether no job is left."""
        with self._lock:
            return not self._jobs

    def stop(self) -> None:
        """Take no new jobs from now on, and let `run` return after its present block."""
        with self._lock:
            self._stopped = True
            self._lock.notify_all()

    def end_all(self) -> None:
        """End every job that is left; `run` must have returned."""
        with self._lock:
            for job in list(self._jobs):
                self._end(job, ShuttingDown("the server is shutting down"))
            self._show()

    def _refusal_at_end(self) -> ServingError | None:
        return ShuttingDown("the server is shutting down") if self._stopped else None

    def _refusal(self, arrival: Arrival) -> ServingError | None:
        if (ending := self._refusal_at_end()) is not None:
            return ending
        settings, now = self._settings, self._clock()
        queued = [job for job in self._jobs if not job.live and not job.cancelled]
        own = [job for job in queued if job.client == arrival.client]
        clients = len({arrival.client, *(job.client for job in queued)})
        audio = sum(job.remaining_seconds for job in queued)
        own_audio = sum(job.remaining_seconds for job in own)
        reserve = reserve_of(settings.max_queued_requests)
        most = settings.max_queued_requests + reserve
        too_many = not has_room(len(own) + 1, len(queued) + 1, clients, most, reserve)
        before, limit = 0.0, self._limit.seconds(arrival.client, now)
        if not too_many:
            before = self._order.seconds_before(self._jobs, arrival, now)
            if arrival.streamed:
                before = max(before, self._order.seconds_of_streams(self._jobs, arrival, limit, now))
        too_late = before > limit
        spare = settings.max_queued_audio_seconds / 16
        too_much = bool(queued) and not has_room(
            own_audio + arrival.audio_seconds if own else 0.0,  # a client's only request is as long as it likes
            audio + arrival.audio_seconds, clients, settings.max_queued_audio_seconds + spare, spare,
        )  # fmt: skip
        if too_late or too_many:
            self._limit.refused(arrival.client, now)
        elif not too_much:
            return None
        # Half of it is gone by then. Of others, what is left says nothing about when this client may come in.
        backlog = sum(map(self._order.seconds_of, own))
        retry_after = float(math.ceil(max(1.0, (before if too_late else backlog) / 2)))
        return QueueFull(
            f"the server is busy: {len(queued)} requests wait with {audio:.0f} s of audio; try again later", retry_after
        )

    def _refusal_of_stream(self, client: str) -> ServingError | None:
        if (ending := self._refusal_at_end()) is not None:
            return ending
        live = [job.client for job in self._jobs if job.live and not job.cancelled]
        own, clients = live.count(client), len({client, *live})
        share = self._speed.urgent_share(self._clock())
        reserve = reserve_of(self._settings.max_live_streams)
        if not has_room(own + 1, len(live) + 1, clients, self._settings.max_live_streams + reserve, reserve):
            return TooManyRequests(f"{len(live)} live streams are open, and no more may be: try again later", 1.0)
        if share > self._settings.max_urgent_share and (own + 1) * clients > len(live):
            return TooManyRequests(f"{len(live)} live streams take {share:.0%} of the processor: try again later", 1.0)
        return None

    def _refuse(self, refusal: ServingError) -> None:
        self._telemetry.rejected(refusal.code)
        raise refusal

    def _book(
        self, job: QueuedJob, frames: int, seconds: float, cost_seconds: float, now: float, *, urgent: bool
    ) -> None:
        audio_seconds = frames * job.seconds_per_frame
        job.busy_seconds += seconds
        job.served_at = now
        waited = now - job.waiting_since if job.engine.joined_streams > 1 else None
        self._speed.book(job.model, audio_seconds, cost_seconds)
        self._speed.book_urgent(audio_seconds, seconds if urgent else 0.0, now, waited)
        self._telemetry.block(job.model, audio_seconds, seconds, self._speed.x_real_time(job.model))

    def _sweep(self, now: float) -> None:
        for job in list(self._jobs):
            if job.cancelled:
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


def _hand_over(job: QueuedJob, outcome: Outcome, now: float) -> None:
    job.give(audio_of(outcome), now)
