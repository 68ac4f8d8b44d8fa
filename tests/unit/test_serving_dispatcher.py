"""The order of blocks, played through with an engine that pretends to compute, in time that pretends to pass."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hifigan_rt.errors import EngineError
from hifigan_rt.tools.serving.errors import (
    BadRequest,
    DeadlineExceeded,
    EngineFailed,
    QueueFull,
    ShuttingDown,
    TooManyRequests,
)
from hifigan_rt.tools.serving.work import StreamWork, Work
from serving_models import MEL, SECONDS_PER_FRAME
from serving_simulation import Simulation

READ_AT_ONCE = 64 * MEL.hop_length


def test_a_short_request_waits_for_one_block_of_a_long_one() -> None:
    simulation = Simulation()
    long = simulation.whole(100_000)
    simulation.dispatcher.step()
    short = simulation.whole(50)
    simulation.dispatcher.step()
    assert short in simulation.ended
    assert long not in simulation.ended
    simulation.run_dry()
    assert simulation.given(long) == 100_000 * MEL.hop_length
    assert simulation.given(short) == 50 * MEL.hop_length


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 2000)), min_size=2, max_size=25))
def test_nobody_passes_a_request_that_has_waited_as_long_as_it_computes(arrivals: list[tuple[int, int]]) -> None:
    simulation = Simulation()
    expected: dict[Work, float] = {}
    for frames, pause_ms in arrivals:
        simulation.run_until(simulation.clock() + pause_ms / 1000)
        expected[simulation.whole(frames)] = simulation.seconds(frames)
    simulation.run_dry()
    for work, seconds in expected.items():
        for other, begun in simulation.begun_at.items():
            if begun > simulation.begun_at[work] + seconds + 1e-6:
                assert simulation.ended_at[other] > simulation.ended_at[work]


def test_a_long_request_ends_though_short_ones_never_cease() -> None:
    simulation = Simulation()
    long = simulation.whole(20_000)
    begun = simulation.clock()
    while long not in simulation.ended:
        # Twice as much as can be computed.
        simulation.whole(100)
        simulation.run_until(simulation.clock() + simulation.seconds(50))
        assert simulation.clock() < begun + 10 * simulation.seconds(20_000)


@pytest.mark.parametrize("frames", [200_000, 100])
def test_live_streams_are_never_silent_beside_whole_requests(frames: int) -> None:
    simulation = Simulation()
    streams = [simulation.stream(live=True) for _ in range(12)]  # 60 % of what can be computed
    played_until: dict[StreamWork, float] = {}
    begun = simulation.clock()
    heard = dict.fromkeys(streams, 0)
    whole: list[Work] = []
    for turn in range(60):
        for index, stream in enumerate(streams):
            # The other requests would take everything.
            whole += [simulation.whole(frames) for _ in range(40 - len(set(whole) - set(simulation.ended)))]
            simulation.run_until(begun + (turn + index / len(streams)) * 32 * SECONDS_PER_FRAME)
            with simulation.dispatcher.lock:
                stream.push(np.full((80, 32), -1.0, np.float32), simulation.clock())
            for each in streams:
                fresh = simulation.given(each) - heard[each]
                each.read(fresh)
                heard[each] += fresh
            # The listener began a segment after the first audio, as any player does.
            if heard[stream] and stream not in played_until:
                played_until[stream] = simulation.clock() + 32 * SECONDS_PER_FRAME
        for stream, start in played_until.items():
            assert start + heard[stream] / MEL.sample_rate > simulation.clock() - 32 * SECONDS_PER_FRAME
    assert len(played_until) == len(streams)
    assert any(work.busy_seconds for work in whole)


def test_whole_requests_keep_their_share_beside_live_streams_that_want_everything() -> None:
    simulation = Simulation()
    live = [simulation.stream(live=True) for _ in range(40)]  # twice what can be computed
    long = simulation.whole(100_000)
    begun = simulation.clock()
    while simulation.clock() < begun + 30:
        for stream in live:
            while stream.remaining_frames < 64:
                stream.push(np.full((80, 32), -1.0, np.float32), simulation.clock())
            stream.read(simulation.given(stream))
            simulation.audio[stream] = []
            # Nobody listens ahead: every stream stays urgent.
            stream._plays_until = None
        simulation.dispatcher.step()
    share = long.busy_seconds / (simulation.clock() - begun)
    assert share == pytest.approx(simulation.settings.bulk_share, rel=0.2)
    served = [stream.busy_seconds for stream in live]
    assert max(served) - min(served) <= 2 * simulation.seconds(32)


def test_streams_ahead_of_their_listeners_share_equally_and_yield_to_those_behind() -> None:
    simulation = Simulation(max_unread_seconds=1e6)
    bursts = [simulation.stream(3000, live=True) for _ in range(4)]
    simulation.run_until(simulation.clock() + 1.5)
    given = [simulation.given(burst) for burst in bursts]
    assert min(given) / MEL.sample_rate > simulation.settings.urgent_lead_seconds
    assert max(given) - min(given) <= 32 * MEL.hop_length
    late = simulation.stream(32, live=True)
    simulation.dispatcher.step()
    assert simulation.given(late) == 32 * MEL.hop_length


def test_a_streamed_response_begins_before_whole_requests_and_after_live_streams() -> None:
    simulation = Simulation()
    simulation.whole(50)
    streamed = simulation.stream(500, live=False)
    live = simulation.stream(32, live=True)
    simulation.dispatcher.step()
    assert (simulation.given(live), simulation.given(streamed)) == (32 * MEL.hop_length, 0)
    simulation.dispatcher.step()
    assert simulation.given(streamed) == 32 * MEL.hop_length


def test_a_stream_that_nobody_reads_pauses_and_holds_nobody_up() -> None:
    simulation = Simulation(max_unread_seconds=2.0)
    unread = simulation.stream(2000, live=False)
    whole = simulation.whole(500)
    simulation.run_dry()
    assert whole in simulation.ended
    assert unread not in simulation.ended
    limit = 2.0 * MEL.sample_rate
    assert limit <= simulation.given(unread) < limit + 32 * MEL.hop_length
    unread.read(simulation.given(unread))
    simulation.run_dry()
    assert simulation.given(unread) >= 2 * limit
    while unread not in simulation.ended:
        unread.read(32 * MEL.hop_length)
        simulation.run_dry()
    assert simulation.given(unread) == 2000 * MEL.hop_length


def test_a_pusher_is_told_once_when_there_is_room() -> None:
    simulation = Simulation(max_pending_seconds=1.0)
    live = simulation.stream(200, live=True)
    told: list[int] = []
    live.on_room = lambda: told.append(live.remaining_frames)
    assert not live.has_room
    simulation.run_dry()
    assert told == [72]  # 86 frames last a second


@pytest.mark.parametrize("kind", ["whole", "streamed", "live"])
def test_a_cancelled_work_computes_no_further_block_and_leaves_nothing(kind: str) -> None:
    simulation = Simulation()
    work: Work = simulation.whole(5000) if kind == "whole" else simulation.stream(5000, live=kind == "live")
    simulation.dispatcher.step()
    [stream] = simulation.engine.streams
    assert not stream.closed
    simulation.dispatcher.cancel(work)
    before = simulation.clock()
    simulation.run_dry()
    assert simulation.clock() == before
    assert stream.closed
    assert simulation.ended == {**simulation.ended, work: None}
    assert simulation.dispatcher.idle
    simulation.lease.release()
    asyncio.run(simulation.pool.close())
    assert simulation.engine.closed  # so no lease was left


def test_a_deadline_ends_what_runs_and_what_waits() -> None:
    simulation = Simulation()
    runs = simulation.whole(100_000, deadline=simulation.clock() + 1)
    waits = simulation.stream(10, live=True, deadline=simulation.clock() + 1)
    in_time = simulation.whole(10, deadline=simulation.clock() + 1)
    simulation.run_dry()
    simulation.clock.now += 1
    simulation.run_dry()
    assert isinstance(simulation.ended[runs], DeadlineExceeded)
    assert isinstance(simulation.ended[waits], DeadlineExceeded)
    assert simulation.ended[in_time] is None
    assert all(stream.closed for stream in simulation.engine.streams)


def test_a_failing_engine_ends_one_work_with_no_word_of_its_insides(caplog: pytest.LogCaptureFixture) -> None:
    simulation = Simulation()
    failing = simulation.whole(300)
    simulation.engine.failure = EngineError("/secret/path")
    with caplog.at_level(logging.ERROR):
        simulation.dispatcher.step()
    simulation.engine.failure = None
    well = simulation.whole(300)
    simulation.run_dry()
    error = simulation.ended[failing]
    assert isinstance(error, EngineFailed)
    assert "secret" not in str(error)
    assert "/secret/path" in caplog.text
    assert simulation.ended[well] is None


def test_too_many_requests_and_too_much_audio_are_refused_with_a_time_to_come_back() -> None:
    simulation = Simulation(max_queued_requests=3, max_queued_audio_seconds=100.0, max_queue_wait_seconds=60.0)
    simulation.dispatcher.check_room("m", 5000.0)  # alone, anything is let in
    for _ in range(2):
        simulation.whole(4000)  # 46 s each
    with pytest.raises(QueueFull, match="2 requests wait with 93 s") as refused:
        simulation.dispatcher.check_room("m", 10.0)
    assert refused.value.retry_after_seconds == pytest.approx(3.0)  # half of 93 / 20 s, rounded up
    simulation.dispatcher.check_room("m", 1.0)
    simulation.whole(1)
    with pytest.raises(QueueFull):
        simulation.dispatcher.check_room("m", 0.1)
    simulation.run_dry()
    simulation.dispatcher.check_room("m", 10.0)


def test_what_would_wait_too_long_is_refused_and_what_passes_the_queue_is_not() -> None:
    simulation = Simulation(max_queue_wait_seconds=2.0)
    simulation.whole(10_000)  # 5.8 s of computing
    with pytest.raises(QueueFull) as refused:
        simulation.dispatcher.check_room("m", 200.0)
    assert refused.value.retry_after_seconds == 3.0
    simulation.dispatcher.check_room("m", 3.0)


def test_live_streams_are_limited_by_number() -> None:
    simulation = Simulation(max_live_streams=2)
    first = simulation.stream(live=True)
    simulation.stream(live=True)
    with pytest.raises(TooManyRequests):
        simulation.dispatcher.check_room_for_stream()
    simulation.dispatcher.check_room("m", 10.0)
    simulation.dispatcher.cancel(first)
    simulation.dispatcher.check_room_for_stream()


def test_no_live_stream_is_opened_when_the_others_need_the_whole_processor() -> None:
    def feed(simulation: Simulation, streams: list[StreamWork]) -> None:
        begun = simulation.clock()
        for turn in range(60):
            for stream in streams:
                stream.push(np.full((80, 32), -1.0, np.float32), simulation.clock())
                stream.read(simulation.given(stream))
                simulation.audio[stream] = []
            simulation.run_until(begun + (turn + 1) * 32 * SECONDS_PER_FRAME)

    simulation = Simulation()
    feed(simulation, [simulation.stream(live=True) for _ in range(17)])  # 85 %
    simulation.dispatcher.check_room_for_stream()
    feed(simulation, [simulation.stream(live=True) for _ in range(22)])
    with pytest.raises(TooManyRequests, match="of the processor"):
        simulation.dispatcher.check_room_for_stream()
    simulation.clock.now += 1
    simulation.dispatcher.check_room_for_stream()


def test_streams_computed_ahead_of_their_listeners_keep_nobody_out() -> None:
    simulation = Simulation(max_unread_seconds=1e6)
    for _ in range(4):
        simulation.stream(20_000, live=True)
    simulation.run_until(simulation.clock() + 20)
    simulation.dispatcher.check_room_for_stream()


def test_a_client_whose_callback_fails_ends_its_own_work_only(caplog: pytest.LogCaptureFixture) -> None:
    simulation = Simulation()
    broken, well = simulation.stream(100, live=False), simulation.stream(100, live=False)

    def fail(_: np.ndarray) -> None:
        raise RuntimeError("odd")

    broken.on_audio = fail
    simulation.run_dry()
    assert "odd" in caplog.text
    assert simulation.ended[broken] is not None
    assert simulation.ended[well] is None


def test_a_drained_dispatcher_finishes_what_it_has_and_takes_no_more() -> None:
    simulation = Simulation()
    work = simulation.whole(600)
    left = simulation.stream(10, live=True)
    simulation.dispatcher.drain()
    with pytest.raises(ShuttingDown):
        simulation.dispatcher.check_room("m", 1.0)
    with pytest.raises(ShuttingDown):
        simulation.dispatcher.check_room_for_stream()
    simulation.run_dry()
    assert simulation.ended[work] is None
    simulation.dispatcher.stop()
    assert isinstance(simulation.ended[left], ShuttingDown)
    assert simulation.dispatcher.idle


@given(st.data())
def test_every_work_ends_and_gives_all_its_samples_in_order(data: st.DataObject) -> None:
    """Whatever mixture comes, in whatever order it is pushed, read and cancelled."""
    simulation = Simulation(max_unread_seconds=3.0, max_pending_seconds=1.0)
    pushed: dict[Work, list[np.ndarray]] = {}
    cancelled: set[Work] = set()
    for _ in range(data.draw(st.integers(1, 25))):
        match data.draw(st.sampled_from(["whole", "streamed", "live", "push", "cancel", "step"])):
            case "whole":
                pushed[simulation.whole(data.draw(st.integers(1, 700)))] = []
            case "streamed":
                pushed[simulation.stream(data.draw(st.integers(1, 300)), live=False)] = []
            case "live":
                segment = data.draw(st.integers(1, 40))
                pushed[simulation.stream(data.draw(st.integers(0, 100)), live=True, segment=segment)] = []
            case "push":
                for work in pushed:
                    if isinstance(work, StreamWork) and not work.counts_as_queued and work not in simulation.ended:
                        work.push(np.full((80, data.draw(st.integers(0, 90))), -1.0, np.float32), simulation.clock())
            case "cancel" if pushed:
                work = data.draw(st.sampled_from(list(pushed)))
                if work not in simulation.ended:
                    simulation.dispatcher.cancel(work)
                    cancelled.add(work)
            case _:
                simulation.dispatcher.step()
    for work in pushed:
        if isinstance(work, StreamWork):
            work.end()
    while any(work not in simulation.ended for work in pushed):
        for work in pushed:
            if isinstance(work, StreamWork):
                work.read(READ_AT_ONCE)
        assert simulation.dispatcher.step() or simulation.dispatcher.idle
    for work in set(pushed) - cancelled:
        assert simulation.ended[work] is None
        frames = work.total_frames if isinstance(work, StreamWork) else None
        if frames is not None:
            assert simulation.given(work) == frames * MEL.hop_length
    assert all(stream.closed for stream in simulation.engine.streams)


def test_a_model_whose_layers_are_unknown_runs_whole_but_cannot_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = Simulation()
    monkeypatch.setattr(simulation.vocoder, "_graph", None)
    work = simulation.whole(700)
    simulation.run_dry()
    assert simulation.given(work) == 700 * MEL.hop_length
    with pytest.raises(BadRequest, match="cannot stream"):
        simulation.stream(10, live=True)
