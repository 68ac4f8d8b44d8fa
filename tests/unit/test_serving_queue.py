"""The order of blocks, played through with an engine that pretends to compute, in time that pretends to pass."""

from __future__ import annotations

import asyncio
import logging

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
from hifigan_rt.tools.serving.scheduling.jobs import QueuedJob
from hifigan_rt.tools.serving.scheduling.streams import StreamJob
from serving_models import MEL, SECONDS_PER_FRAME
from serving_simulation import Simulation, mel_of

READ_AT_ONCE = 64 * MEL.hop_length


def test_a_short_request_waits_for_one_block_of_a_long_one() -> None:
    simulation = Simulation()
    long = simulation.whole(100_000)
    simulation.queue.step()
    short = simulation.whole(50)
    simulation.queue.step()
    assert short in simulation.ended
    assert long not in simulation.ended
    simulation.run_dry()
    assert simulation.given(long) == 100_000 * MEL.hop_length
    assert simulation.given(short) == 50 * MEL.hop_length


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 2000)), min_size=2, max_size=25))
def test_nobody_passes_a_request_that_has_waited_as_long_as_it_computes(arrivals: list[tuple[int, int]]) -> None:
    simulation = Simulation()
    expected: dict[QueuedJob, float] = {}
    for frames, pause_ms in arrivals:
        simulation.run_until(simulation.clock() + pause_ms / 1000)
        expected[simulation.whole(frames)] = simulation.seconds(frames)
    simulation.run_dry()
    for job, seconds in expected.items():
        for other, begun in simulation.begun_at.items():
            if begun > simulation.begun_at[job] + seconds + 1e-6:
                assert simulation.ended_at[other] > simulation.ended_at[job]


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
    played_until: dict[StreamJob, float] = {}
    begun = simulation.clock()
    whole: list[QueuedJob] = []
    for turn in range(60):
        for index, stream in enumerate(streams):
            # The other requests would take everything.
            whole += [simulation.whole(frames) for _ in range(40 - len(set(whole) - set(simulation.ended)))]
            simulation.run_until(begun + (turn + index / len(streams)) * 32 * SECONDS_PER_FRAME)
            stream.put(mel_of(32))
            for each in streams:
                simulation.read(each)
            # The listener began a segment after the first audio, as any player does.
            if simulation.given(stream) and stream not in played_until:
                played_until[stream] = simulation.clock() + 32 * SECONDS_PER_FRAME
        for stream, start in played_until.items():
            assert start + simulation.given(stream) / MEL.sample_rate > simulation.clock() - 32 * SECONDS_PER_FRAME
    assert len(played_until) == len(streams)
    assert any(job.busy_seconds for job in whole)


def test_a_lone_live_stream_waits_for_the_present_block_and_no_other() -> None:
    simulation = Simulation()
    live = simulation.stream(live=True)
    for _ in range(10):
        simulation.whole(100_000)
        simulation.stream(5000, live=False)
    begun = simulation.clock()
    for turn in range(200):
        simulation.run_until(begun + turn * 32 * SECONDS_PER_FRAME)
        live.put(mel_of(32))
        simulation.queue.step()
        assert simulation.given(live) == (turn + 1) * 32 * MEL.hop_length
        simulation.read(live)


def test_whole_requests_keep_their_share_beside_live_streams_that_want_everything() -> None:
    simulation = Simulation()
    live = [simulation.stream(live=True) for _ in range(40)]  # twice what can be computed
    long = simulation.whole(100_000)
    begun = simulation.clock()
    while simulation.clock() < begun + 30:
        for stream in live:
            while stream.remaining_frames < 64:
                stream.put(mel_of(32))
            simulation.read(stream)
            # Nobody listens ahead: every stream stays urgent.
            stream._plays_until = None
        simulation.queue.step()
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
    simulation.queue.step()
    assert simulation.given(late) == 32 * MEL.hop_length


def test_a_streamed_response_begins_before_whole_requests_and_after_live_streams() -> None:
    simulation = Simulation()
    simulation.whole(50)
    streamed = simulation.stream(500, live=False)
    live = simulation.stream(32, live=True)
    simulation.queue.step()
    assert (simulation.given(live), simulation.given(streamed)) == (32 * MEL.hop_length, 0)
    simulation.queue.step()
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
    simulation.read(unread)
    simulation.run_dry()
    assert simulation.given(unread) >= 2 * limit
    while unread not in simulation.ended:
        simulation.read(unread, 32 * MEL.hop_length)
        simulation.run_dry()
    assert simulation.given(unread) == 2000 * MEL.hop_length


def test_there_is_room_again_when_less_is_left_than_may_wait() -> None:
    simulation = Simulation(max_pending_seconds=1.0)
    live = simulation.stream(200, live=True)
    assert not live.has_room()
    while not live.has_room():
        assert simulation.queue.step()
    assert live.remaining_frames == 72  # 86 frames last a second


@pytest.mark.parametrize("kind", ["whole", "streamed", "live"])
def test_a_cancelled_job_computes_no_further_block_and_leaves_nothing(kind: str) -> None:
    simulation = Simulation()
    job: QueuedJob = simulation.whole(5000) if kind == "whole" else simulation.stream(5000, live=kind == "live")
    simulation.queue.step()
    [stream] = simulation.engine.streams
    assert not stream.closed
    job.close()
    before = simulation.clock()
    simulation.run_dry()
    assert simulation.clock() == before
    assert stream.closed
    assert simulation.ended == {**simulation.ended, job: None}
    assert simulation.queue.idle
    simulation.lease.release()
    asyncio.run(simulation.pool.close())
    assert simulation.engine.closed  # so no lease was left


def test_a_deadline_ends_what_runs_and_what_waits() -> None:
    simulation = Simulation()
    runs = simulation.whole(100_000, deadline=simulation.clock() + 1)
    waits = simulation.whole(200_000, deadline=simulation.clock() + 1)
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
        simulation.queue.step()
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
    simulation.check_room(5000.0)  # alone, anything is let in
    for _ in range(2):
        simulation.whole(4000)  # 46 s each
    with pytest.raises(QueueFull, match="2 requests wait with 93 s") as refused:
        simulation.check_room(10.0)
    assert refused.value.retry_after_seconds == pytest.approx(3.0)  # half of 93 / 20 s, rounded up
    simulation.check_room(1.0)
    simulation.whole(1)
    with pytest.raises(QueueFull):
        simulation.check_room(0.1)
    simulation.run_dry()
    simulation.check_room(10.0)


def test_what_would_wait_too_long_is_refused_and_what_passes_the_queue_is_not() -> None:
    simulation = Simulation(max_queue_wait_seconds=2.0)
    simulation.whole(10_000)  # 5.8 s of computing
    with pytest.raises(QueueFull) as refused:
        simulation.check_room(200.0)
    assert refused.value.retry_after_seconds == 3.0
    simulation.check_room(3.0)


def test_live_streams_are_limited_by_number() -> None:
    simulation = Simulation(max_live_streams=2)
    first = simulation.stream(live=True)
    simulation.stream(live=True)
    with pytest.raises(TooManyRequests):
        simulation.stream(live=True)
    simulation.check_room(10.0)
    first.close()
    simulation.stream(live=True)


def test_no_live_stream_is_opened_when_the_others_need_the_whole_processor() -> None:
    def feed(simulation: Simulation, streams: list[StreamJob]) -> None:
        begun = simulation.clock()
        for turn in range(60):
            for stream in streams:
                stream.put(mel_of(32))
                simulation.read(stream)
            simulation.run_until(begun + (turn + 1) * 32 * SECONDS_PER_FRAME)

    simulation = Simulation(max_urgent_share=0.95)
    feed(simulation, [simulation.stream(live=True) for _ in range(17)])  # 85 %
    simulation.stream(live=True)
    feed(simulation, [simulation.stream(live=True) for _ in range(22)])
    with pytest.raises(TooManyRequests, match="of the processor"):
        simulation.stream(live=True)
    simulation.clock.now += 1
    simulation.stream(live=True)


def test_streams_computed_ahead_of_their_listeners_keep_nobody_out() -> None:
    simulation = Simulation(max_unread_seconds=1e6, max_urgent_share=0.95)
    for _ in range(4):
        simulation.stream(20_000, live=True)
    simulation.run_until(simulation.clock() + 20)
    simulation.stream(live=True)


def test_a_job_that_cannot_take_its_audio_ends_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = Simulation()
    broken, well = simulation.stream(100, live=False), simulation.stream(100, live=False)

    def fail(*_: object) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(broken, "give", fail)
    simulation.run_dry()
    assert "odd" in caplog.text
    assert simulation.ended[broken] is not None
    assert simulation.ended[well] is None


def test_a_stopped_queue_takes_no_more_and_tells_what_is_left() -> None:
    simulation = Simulation()
    job = simulation.whole(600)
    left = simulation.stream(10, live=True)
    simulation.queue.stop()
    with pytest.raises(ShuttingDown):
        simulation.check_room(1.0)
    with pytest.raises(ShuttingDown):
        simulation.stream(live=True)
    simulation.run_dry()
    assert simulation.ended[job] is None
    simulation.queue.end_all()
    assert isinstance(simulation.ended[left], ShuttingDown)
    assert simulation.queue.idle


@given(st.data())
def test_every_job_ends_and_gives_all_its_samples_in_order(data: st.DataObject) -> None:
    """Whatever mixture comes, in whatever order it is frames_of, read and cancelled."""
    simulation = Simulation(max_unread_seconds=3.0, max_pending_seconds=1.0)
    frames_of: dict[QueuedJob, int] = {}
    cancelled: set[QueuedJob] = set()
    for _ in range(data.draw(st.integers(1, 25))):
        match data.draw(st.sampled_from(["whole", "streamed", "live", "push", "cancel", "step"])):
            case "whole":
                frames = data.draw(st.integers(1, 700))
                frames_of[simulation.whole(frames)] = frames
            case "streamed":
                frames = data.draw(st.integers(1, 300))
                frames_of[simulation.stream(frames, live=False)] = frames
            case "live":
                segment = data.draw(st.integers(1, 40))
                frames = data.draw(st.integers(0, 100))
                frames_of[simulation.stream(frames, live=True, segment=segment)] = frames
            case "push":
                for job in frames_of:
                    if isinstance(job, StreamJob) and job.live and job not in simulation.ended:
                        frames = data.draw(st.integers(0, 90))
                        job.put(mel_of(frames))
                        frames_of[job] += frames
            case "cancel" if frames_of:
                job = data.draw(st.sampled_from(list(frames_of)))
                if job not in simulation.ended:
                    job.close()
                    cancelled.add(job)
            case _:
                simulation.queue.step()
    for job in frames_of:
        if isinstance(job, StreamJob):
            job.finish()
    while any(job not in simulation.ended for job in frames_of):
        for job in frames_of:
            if isinstance(job, StreamJob):
                simulation.read(job, READ_AT_ONCE)
        assert simulation.queue.step() or simulation.queue.idle
    for job in set(frames_of) - cancelled:
        assert simulation.ended[job] is None
        assert simulation.given(job) == frames_of[job] * MEL.hop_length
    assert all(stream.closed for stream in simulation.engine.streams)


def test_a_model_whose_layers_are_unknown_runs_whole_but_cannot_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = Simulation()
    monkeypatch.setattr(simulation.vocoder, "_graph", None)
    job = simulation.whole(700)
    simulation.run_dry()
    assert simulation.given(job) == 700 * MEL.hop_length
    with pytest.raises(BadRequest, match="cannot stream"):
        simulation.stream(10, live=True)
