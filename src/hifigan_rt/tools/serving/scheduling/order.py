"""Whose block is next, and what would be computed before a request that comes now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hifigan_rt.tools.serving.scheduling.clients import ClientUse
from hifigan_rt.tools.serving.scheduling.jobs import QueuedJob
from hifigan_rt.tools.serving.scheduling.policy import Speed
from hifigan_rt.tools.serving.scheduling.streams import StreamJob
from hifigan_rt.tools.serving.settings import ServerSettings

_WHOLE_SHARE = 0.8
"""Share of whole requests beside streamed responses that run short.

With half of the time, whole requests that need half of the processor never came out of their queue as soon as streamed
responses wanted the other half. The fifth that streams keep feeds one listener from five times real time on."""
_WHOLES_PER_STREAM = _WHOLE_SHARE / (1 - _WHOLE_SHARE)
"""Seconds of whole requests per second of streamed ones, while both wait."""
_LIVE_SHARE = 0.1
"""Share of the processor that live streams of one client may take in any case."""
_MAX_CREDIT_SECONDS = 2.0
_FIRST_BLOCK_SECONDS = 0.1
"""Expected cost of a block before one was measured."""

Kind = Literal["live", "streamed", "whole", "ahead"]
"""Kinds of jobs, the most urgent first."""


@dataclass(frozen=True)
class Arrival:
    """A request that asks whether it may come in."""

    client: str
    model: str
    audio_seconds: float
    """Audio that it would have computed, as far as that is known."""
    blocks: float
    """Blocks that give it, at least one."""
    streamed: bool = False
    """Whether its audio is sent while it is computed."""


@dataclass(frozen=True)
class BlockTurn:
    """Jobs whose next blocks are computed together."""

    jobs: list[QueuedJob]
    kind: Kind
    """Kind of the first of them."""
    others: frozenset[Kind]
    """Kinds of which blocks wait."""
    by_share: bool = False
    """Whether it was chosen because its client has waited longest."""

    @property
    def for_live(self) -> bool:
        """Whether the time is the live streams', or was taken from them."""
        return self.kind == "live" or (self.by_share and "live" in self.others)


class _Credit:
    """Time that is owed to work which would wait without end for what goes before it."""

    def __init__(self, share: float) -> None:
        self._gain = share / (1 - share)
        self._seconds = 0.0
        self._block_seconds = _FIRST_BLOCK_SECONDS

    @property
    def due(self) -> bool:
        return self._seconds >= self._block_seconds

    def wait(self, seconds: float) -> None:
        """Book what went before."""
        self._seconds = min(self._seconds + seconds * self._gain, _MAX_CREDIT_SECONDS)

    def take(self, seconds: float) -> None:
        """Book what was owed."""
        self._seconds = max(self._seconds - seconds, 0.0)
        self._block_seconds = min(seconds, _MAX_CREDIT_SECONDS)

    def forget(self) -> None:
        self._seconds = 0.0


@dataclass(frozen=True)
class _Claim:
    """Computing that a request still needs; of those of one client, the lowest `order` comes first."""

    client: str
    order: float
    seconds: float
    job: QueuedJob | None = None


class BlockOrder:
    """Order of the blocks, fair between clients, and the accounts that it needs.

    1. Live streams whose listeners would hear silence.
    2. Streamed responses that have not begun or would fall silent; whole requests get most of the time beside them.
    3. Whole requests. Those of one client by the time that they need, less what they have waited; those of different
       clients by what each of the clients has used lately and needs up to that request. So short requests pass long
       ones, and a client's many requests hold up nobody but itself.
    4. Streams that are ahead of their listeners.

    In 1, 2 and 4 the client that has used the least comes first. A client that has used more than its share, while
    others wait, loses its place in 1 and 2: its streams count as whole requests. And a share of the time (the settings'
    `bulk_share`) goes to 2, 3 and 4 by turns, whatever waits before them: nothing waits without end. Such a turn comes
    after a block of a live stream that waits, not before it: a lone live stream waits for one block of others.

    An engine that lets interludes into a block (`Engine.interruptible`) need not be waited for: see `interlude`.
    """

    def __init__(self, settings: ServerSettings, speed: Speed) -> None:
        self._settings = settings
        self._speed = speed
        self._use, self._live_use = ClientUse(), ClientUse()
        self._turns, self._halves = _Credit(settings.bulk_share), _Credit(_WHOLE_SHARE)
        self._live_was_last = False

    def choose(self, jobs: Iterable[QueuedJob], now: float) -> BlockTurn | None:
        """Choose the jobs whose blocks are computed next, together; None if no block can be computed.

        It is one job where a CPU computes one block on all cores: eight together gain 3 to 5 % on the native engine
        (docs/figures.md), and the first of them would wait for the last. An engine that computes many together gets
        as many as its `joined_streams` and `joined_frames`, in this order.
        """
        kinds = self._line([job for job in jobs if job.ready()], now)
        live, streamed, whole, ahead = kinds.values()
        rest = [*streamed, *whole, *ahead]
        if not rest:
            self._turns.forget()
        if not (streamed and whole):
            self._halves.forget()
        line = [*live, *rest]
        if not line:
            return None
        by_share = bool(rest) and self._turns.due and (self._live_was_last or not live)
        if by_share:
            longest = min(rest, key=lambda job: job.served_at).client
            first = next(job for job in rest if job.client == longest)
        elif not live and whole and self._halves.due:
            first = whole[0]
        else:
            first = line[0]
        kind = next(kind for kind, found in kinds.items() if first in found)
        return BlockTurn(_with_others_of_its_engine(first, line), kind, _waiting(kinds), by_share)

    def interlude(self, jobs: Iterable[QueuedJob], open_turns: Sequence[BlockTurn], now: float) -> BlockTurn | None:
        """Choose what is computed before the rest of a block: live streams, and whole requests before others of them.

        A live stream may come into an interlude as well, so that three turns are open at most.

        Args:
            jobs: all.
            open_turns: what is being computed, each but the first in an interlude of the one before.
            now: time on the clock.
        """
        computed, turn = [job for turn in open_turns for job in turn.jobs], open_turns[-1]
        ready = [job for job in jobs if job not in computed and job.ready()]
        kinds = self._line(ready, now, computed)
        live, whole, waits = kinds["live"], kinds["whole"], _waiting(kinds) | {turn.kind}
        if live and turn.kind != "live" and not turn.by_share:
            return BlockTurn(_with_others_of_its_engine(live[0], live), "live", waits)
        if whole and turn.kind == "whole" and len(open_turns) == 1:
            first = self._ranked(map(self._claim, [*whole, *turn.jobs]), now)[0].job
            if first is not None and first not in turn.jobs:
                return BlockTurn([first], "whole", waits)
        return None

    def served(self, turn: BlockTurn, seconds: float, now: float) -> None:
        """Book the time that the blocks of a turn took."""
        self._live_was_last = turn.kind == "live"
        for job in turn.jobs:
            self._use.book(job.client, seconds / len(turn.jobs), now)
            if turn.kind == "live":
                self._live_use.book(job.client, seconds / len(turn.jobs), now)
        if turn.by_share:
            self._turns.take(seconds)
        elif turn.others - {"live"}:
            self._turns.wait(seconds)
        if turn.kind == "whole":
            self._halves.take(seconds)
        elif turn.kind == "streamed":
            self._halves.wait(seconds)

    def seconds_before(self, jobs: Iterable[QueuedJob], arrival: Arrival, now: float) -> float:
        """Tell what a request would wait for others, if nothing else came: its first sample if it is streamed."""
        ready = [job for job in jobs if job.ready() and not job.cancelled]
        _, streamed, whole, _ = self._line(ready, now).values()
        clients = len({arrival.client, *(job.client for job in ready)})
        if arrival.streamed and not self._use.beyond_share(arrival.client, clients, now):
            before = sum(self._seconds_before_stream(job, arrival, now) for job in streamed)
            before += min(before * _WHOLES_PER_STREAM, sum(map(self.seconds_of, whole)))
        else:
            seconds = self._speed.seconds(arrival.model, arrival.audio_seconds, arrival.blocks)
            new = _Claim(arrival.client, seconds + self._settings.ageing * now, seconds)
            before = 0.0
            for claim in self._ranked([*map(self._claim, whole), new], now):
                if claim is new:
                    break
                before += claim.seconds
            # Streams are computed at the pace at which they are heard, in at most their share of the time.
            before /= max(_WHOLE_SHARE, 1 - sum(self.seconds_of(job, 1.0) for job in _responses(ready)))
        return before / self._share_beside_live(now)

    def seconds_of(self, job: QueuedJob, audio_seconds: float | None = None) -> float:
        """Tell the expected time of so much of a job's audio, or of all that can be computed without its client."""
        audio_seconds = job.computable_seconds if audio_seconds is None else audio_seconds
        return self._speed.seconds(job.model, audio_seconds, job.blocks_in(audio_seconds))

    def seconds_of_streams(self, jobs: Iterable[QueuedJob], arrival: Arrival, horizon: float, now: float) -> float:
        """Tell the computing that keeps streamed responses ahead of their listeners for so long, a new one included.

        Clients whose responses need more count with what this one needs: nobody is kept out by another's many.
        """
        ready = [job for job in jobs if job.ready() and not job.cancelled]
        audio, blocks = arrival.audio_seconds, arrival.blocks
        if audio > horizon:
            audio, blocks = horizon, blocks * horizon / audio
        needs = {arrival.client: self._speed.seconds(arrival.model, audio, blocks)}
        for job in _responses(ready):
            need = self.seconds_of(job, min(job.computable_seconds, horizon))
            needs[job.client] = needs.get(job.client, 0.0) + need
        all_needs = sum(min(need, needs[arrival.client]) for need in needs.values())
        wholes = sum(self.seconds_of(job) for job in ready if not isinstance(job, StreamJob))
        return (all_needs + min(all_needs * _WHOLES_PER_STREAM, wholes)) / self._share_beside_live(now)

    def _seconds_before_stream(self, job: QueuedJob, arrival: Arrival, now: float) -> float:
        """Tell what a stream that runs short gets before a new one begins."""
        assert isinstance(job, StreamJob)  # noqa: S101 - no others run short
        if job.client == arrival.client:
            return self.seconds_of(job, job.block_frames * job.seconds_per_frame)
        if self._use.seconds(job.client, now) > self._use.seconds(arrival.client, now):
            return 0.0
        return self.seconds_of(job, min(job.computable_seconds, self._settings.urgent_lead_seconds))

    def _share_beside_live(self, now: float) -> float:
        return max(self._settings.bulk_share, 1 - self._speed.urgent_share(now))

    def _line(
        self, ready: list[QueuedJob], now: float, computed: Iterable[QueuedJob] = ()
    ) -> dict[Kind, list[QueuedJob]]:
        """Sort jobs into the four kinds, each in its order; the clients of those that are computed have a share too."""
        lead = self._settings.urgent_lead_seconds
        short = {job for job in ready if isinstance(job, StreamJob) and job.runs_short(now, lead)}
        clients = len({job.client for job in (*ready, *computed)})
        live: list[QueuedJob] = []
        streamed: list[QueuedJob] = []
        whole: list[QueuedJob] = []
        ahead: list[QueuedJob] = []
        for job in ready:
            if job in short and job.live and not self._live_use.beyond_share(job.client, clients, now, _LIVE_SHARE):
                live.append(job)
            elif job in short and not self._use.beyond_share(job.client, clients, now):
                streamed.append(job)
            elif job in short or not isinstance(job, StreamJob):
                whole.append(job)
            else:
                ahead.append(job)
        live.sort(key=lambda job: (self._live_use.seconds(job.client, now), job.served_at))
        streamed.sort(key=lambda job: (self._use.seconds(job.client, now), job.waiting_since))
        ahead.sort(key=lambda job: (self._use.seconds(job.client, now), job.served_at))
        whole = [claim.job for claim in self._ranked(map(self._claim, whole), now) if claim.job is not None]
        return {"live": live, "streamed": streamed, "whole": whole, "ahead": ahead}

    def _claim(self, job: QueuedJob) -> _Claim:
        seconds = self.seconds_of(job)
        return _Claim(job.client, seconds + self._settings.ageing * job.waiting_since, seconds, job)

    def _ranked(self, claims: Iterable[_Claim], now: float) -> list[_Claim]:
        """Sort claims by what their clients have used and need up to each of them."""
        up_to: dict[str, float] = {}
        ranked: list[tuple[float, _Claim]] = []
        for claim in sorted(claims, key=lambda claim: claim.order):
            before = up_to.get(claim.client)
            before = self._use.seconds(claim.client, now) if before is None else before
            up_to[claim.client] = rank = before + claim.seconds
            ranked.append((rank, claim))
        return [claim for _, claim in sorted(ranked, key=lambda ranking: ranking[0])]


def _waiting(kinds: Mapping[Kind, Sequence[QueuedJob]]) -> frozenset[Kind]:
    return frozenset(kind for kind, found in kinds.items() if found)


def _responses(jobs: Iterable[QueuedJob]) -> list[StreamJob]:
    return [job for job in jobs if isinstance(job, StreamJob) and not job.live]


def _with_others_of_its_engine(first: QueuedJob, line: list[QueuedJob]) -> list[QueuedJob]:
    """The first job, and those that its engine computes together with it."""
    if first.engine.joined_streams == 1 or not first.joins_others:
        return [first]
    together, frames = [first], first.block_frames
    for job in line:
        if job is first or job.engine is not first.engine or not job.joins_others:
            continue
        frames += job.block_frames
        if frames > first.engine.joined_frames or len(together) == first.engine.joined_streams:
            break
        together.append(job)
    return together
