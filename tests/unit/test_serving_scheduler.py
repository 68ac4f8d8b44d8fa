"""The scheduler with a real, tiny network: nothing that runs beside a request changes a bit of it or outlives it."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golden.tiny import TINY, tiny_generator
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.model.kinds import Weights
from hifigan_rt.tools.serving.errors import (
    BadRequest,
    DeadlineExceeded,
    MelInvalid,
    QueueFull,
    ServingError,
    ShuttingDown,
    TooManyRequests,
)
from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.scheduling.order import Arrival
from hifigan_rt.vocoder import Vocoder
from imitated_card import Card
from running_scheduler import Server, collect, serving, until
from serving_models import tiny_pool, tiny_vocoder
from tolerances import STREAM_MAX_ABS

pytestmark = pytest.mark.anyio

VOCODER = tiny_vocoder()


def mel(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-8, 0, (80, frames)).astype(np.float32)


async def test_whole_requests_are_bit_for_bit_the_vocoders_own_beside_long_ones_and_streams() -> None:
    async with serving() as server:
        long = asyncio.create_task(server.scheduler.synthesize(server.lease, [mel(1500, 1)]))
        live = server.scheduler.open_stream(server.lease, segment_frames=7)
        lengths = (1, 2, 13, 255, 256, 257, 511, 513)
        beside_long = 0
        for frames, expected in zip(lengths, VOCODER([mel(frames) for frames in lengths]), strict=True):
            await live.push(mel(frames, frames))
            [audio] = await server.scheduler.synthesize(server.lease, [mel(frames)])
            beside_long += not long.done()
            np.testing.assert_array_equal(audio, expected)
        assert beside_long > 1
        live.finish()
        pushed = np.concatenate([mel(frames, frames) for frames in lengths], axis=1)
        np.testing.assert_array_equal(await collect(live), VOCODER(pushed, segment_frames=7))
        np.testing.assert_array_equal((await long)[0], VOCODER(mel(1500, 1)))


async def test_several_mels_of_one_request_come_back_in_order() -> None:
    async with serving() as server:
        mels = [mel(frames, frames) for frames in (300, 1, 600, 40)]
        audios = await server.scheduler.synthesize(server.lease, mels)
        for audio, expected in zip(audios, VOCODER(mels), strict=True):
            np.testing.assert_array_equal(audio, expected)
        with pytest.raises(BadRequest):
            await server.scheduler.synthesize(server.lease, [])


async def test_an_engine_without_state_is_served_within_its_tolerance() -> None:
    async with serving(tiny_pool(tiny=lambda: tiny_vocoder("reference")), block_frames=16) as server:
        reference = tiny_vocoder("reference")
        for frames in (5, 32, 33):
            [audio] = await server.scheduler.synthesize(server.lease, [mel(frames)])
            assert audio.dtype == np.float32
            np.testing.assert_allclose(audio, reference(mel(frames)), atol=STREAM_MAX_ABS)
        streamed = await collect(server.scheduler.stream_request(server.lease, mel(20)))
        np.testing.assert_allclose(streamed, reference(mel(20)), atol=STREAM_MAX_ABS)


@pytest.mark.filterwarnings("ignore::hifigan_rt.errors.MelConventionWarning")
async def test_whole_requests_on_a_card_are_computed_together_with_streams(imitated_card: Card) -> None:
    model = Weights("tiny", Path("none"), "none", tiny_generator(), TINY.mel)
    vocoder = Vocoder(model, create_engine("cuda", model, EngineOptions()))
    async with serving(tiny_pool(tiny=lambda: vocoder)) as server:
        mels = [mel(frames, frames)[: vocoder.num_mels] for frames in (1, 7, 12, 3)]
        expected = vocoder(mels)
        live = server.scheduler.open_stream(server.lease, segment_frames=4)
        await live.push(mels[2])
        live.finish()
        before = imitated_card.get("launches")
        requests = [server.scheduler.synthesize(server.lease, [one]) for one in mels]
        for [audio], other in zip(await asyncio.gather(*requests), expected, strict=True):
            np.testing.assert_array_equal(audio, other)
        np.testing.assert_array_equal(await collect(live), expected[2])
        # A turn for each of them, at most, and one for those that came meanwhile.
        assert imitated_card.get("launches") - before < 6 * 40


async def test_streamed_audio_is_that_of_its_segments_and_comes_in_pieces() -> None:
    async with serving() as server:
        stream = server.scheduler.stream_request(server.lease, mel(200))
        pieces = [audio async for audio in stream]
        assert len(pieces) >= 200 // 32
        np.testing.assert_array_equal(np.concatenate(pieces), VOCODER(mel(200), segment_frames=32))
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        stream.close()


@pytest.mark.parametrize("sizes", [(1,), (7,), (16,), (333,), (5, 0, 64)])
async def test_live_audio_does_not_depend_on_the_pushes(sizes: tuple[int, ...]) -> None:
    async with serving() as server:
        live = server.scheduler.open_stream(server.lease)
        start = turn = 0
        while start < 333:
            size = min(sizes[turn % len(sizes)], 333 - start)
            await live.push(mel(333)[:, start : start + size])
            start, turn = start + size, turn + 1
        live.finish()
        np.testing.assert_array_equal(await collect(live), VOCODER(mel(333), segment_frames=16))


async def test_a_live_stream_refuses_bad_frames_and_goes_on_as_if_they_had_not_come() -> None:
    async with serving() as server:
        live = server.scheduler.open_stream(server.lease, segment_frames=4)
        await live.push(mel(10))
        bad = mel(10)
        bad[3, 3] = np.nan
        for frames in (bad, mel(10)[:79], mel(10).astype(np.int32), np.stack([mel(10)] * 2), np.zeros(0, np.float32)):
            with pytest.raises(MelInvalid):
                await live.push(frames)
        live.finish()
        live.finish()
        with pytest.raises(BadRequest, match="finished"):
            await live.push(mel(1))
        np.testing.assert_array_equal(await collect(live), VOCODER(mel(10), segment_frames=4))
        for segment_frames in (0, -1, 257):
            with pytest.raises(BadRequest, match="segment_frames"):
                server.scheduler.open_stream(server.lease, segment_frames=segment_frames)


async def test_an_empty_live_stream_ends_without_audio() -> None:
    async with serving() as server:
        live = server.scheduler.open_stream(server.lease)
        live.finish()
        assert len(await collect(live)) == 0


async def test_a_pusher_waits_while_nobody_reads_and_goes_on_when_somebody_does() -> None:
    async with serving(max_pending_seconds=1.0, max_unread_seconds=1.0) as server:
        live = server.scheduler.open_stream(server.lease)

        async def feed() -> None:
            for start in range(0, 1600, 16):
                await live.push(mel(1600)[:, start : start + 16])
            live.finish()

        feeding = asyncio.create_task(feed())
        await until(lambda: not live.has_room() and not live.ready())
        assert not feeding.done()
        held = live.remaining_frames
        await asyncio.sleep(0.1)
        assert live.remaining_frames == held <= 86 + 16
        np.testing.assert_array_equal(await collect(live), VOCODER(mel(1600), segment_frames=16))
        await feeding


async def test_closing_a_stream_frees_whoever_waits_for_it() -> None:
    async with serving(max_pending_seconds=0.5) as server:
        live = server.scheduler.open_stream(server.lease)
        reading = asyncio.create_task(collect(live))

        async def feed() -> None:
            while True:
                await live.push(mel(64))

        feeding = asyncio.create_task(feed())
        await asyncio.sleep(0.05)
        live.close()
        live.close()
        async with asyncio.timeout(10):
            await reading
            with pytest.raises(BadRequest):
                await feeding


async def test_a_cancelled_request_gives_back_its_model_and_its_place() -> None:
    async with serving(max_queued_requests=2) as server:
        for _ in range(5):
            request = asyncio.create_task(server.scheduler.synthesize(server.lease, [mel(100_000)]))
            await asyncio.sleep(0.05)
            request.cancel()
            with pytest.raises(asyncio.CancelledError):
                await request
        [audio] = await server.scheduler.synthesize(server.lease, [mel(10)])
        np.testing.assert_array_equal(audio, VOCODER(mel(10)))
        await until(lambda: b"hifigan_queued_requests 0.0" in server.telemetry.exposition())


async def test_a_deadline_ends_requests() -> None:
    async with serving() as server:
        with pytest.raises(DeadlineExceeded):
            await server.scheduler.synthesize(server.lease, [mel(200_000)], deadline=time.monotonic() + 0.1)


async def test_a_full_queue_refuses_at_once_and_is_open_again_when_it_is_not() -> None:
    async with serving(max_queued_requests=2, max_live_streams=3) as server:
        with server.scheduler._shared.lock:  # so that none of them ends
            running = [asyncio.create_task(server.scheduler.synthesize(server.lease, [mel(400)])) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(QueueFull) as refused:
                await server.scheduler.synthesize(server.lease, [mel(10)])
            assert refused.value.retry_after_seconds is not None
            with pytest.raises(QueueFull):
                server.scheduler.stream_request(server.lease, mel(10))
        await asyncio.gather(*running)
        await server.scheduler.synthesize(server.lease, [mel(10)])
        lives = [server.scheduler.open_stream(server.lease) for _ in range(3)]
        with pytest.raises(TooManyRequests):
            server.scheduler.open_stream(server.lease)
        lives[0].close()
        server.scheduler.open_stream(server.lease)
        text = server.telemetry.exposition()
        assert b'hifigan_rejected_requests_total{reason="queue_full"} 2.0' in text
        assert b'hifigan_rejected_requests_total{reason="too_many_requests"} 1.0' in text


async def test_a_request_that_asks_for_room_counts_with_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server:
        asked: list[Arrival] = []
        monkeypatch.setattr(server.scheduler._queue, "check_room", asked.append)
        for frames, streamed in ((0, False), (1024, False), (20, True), (640, True)):
            server.scheduler.check_room(server.lease, frames, streamed=streamed)
        assert [arrival.blocks for arrival in asked] == [1, 4, 1, 20]


async def test_reloading_under_load_drops_no_request_and_closes_every_old_model() -> None:
    loaded = []

    def load() -> Any:
        loaded.append(tiny_vocoder())
        return loaded[-1]

    async with serving(tiny_pool(tiny=load)) as server:
        server.lease.release()
        expected = VOCODER(mel(300))
        done = asyncio.Event()
        answers = 0

        async def client() -> None:
            nonlocal answers
            while not done.is_set():
                with await server.pool.lease() as lease:
                    [audio] = await server.scheduler.synthesize(lease, [mel(300)])
                np.testing.assert_array_equal(audio, expected)
                answers += 1

        with await server.pool.lease() as lease:
            live = server.scheduler.open_stream(lease)
        clients = [asyncio.create_task(client()) for _ in range(4)]
        for start in range(0, 300, 150):
            await live.push(mel(300)[:, start : start + 150])
            await server.pool.reload()
            before = answers
            await until(lambda before=before: answers > before)  # type: ignore[misc]
        live.finish()
        np.testing.assert_array_equal(await collect(live), VOCODER(mel(300), segment_frames=16))
        done.set()
        await asyncio.gather(*clients)
        assert server.pool.status().loads == 3 == len(loaded)
        await until(lambda: [vocoder.engine.closed for vocoder in loaded] == [True] * 2 + [False])
    assert loaded[-1].engine.closed


async def test_closing_tells_what_is_not_finished_and_refuses_the_rest() -> None:
    async with serving() as server:
        running = asyncio.create_task(server.scheduler.synthesize(server.lease, [mel(7000)]))
        live = server.scheduler.open_stream(server.lease)
        await asyncio.sleep(0)
        await server.scheduler.close()
        for refused in (
            lambda: server.scheduler.check_room(server.lease, 1),
            lambda: server.scheduler.stream_request(server.lease, mel(10)),
            lambda: server.scheduler.open_stream(server.lease),
        ):
            with pytest.raises(ShuttingDown):
                refused()
        for unfinished in (running, collect(live)):
            with pytest.raises(ShuttingDown):
                await unfinished
        assert not [thread for thread in threading.enumerate() if thread.name == "hifigan-scheduler"]


async def test_a_loop_that_is_gone_does_not_disturb_the_others() -> None:
    async with serving() as server:

        def abandon() -> None:
            async def begin() -> None:
                server.scheduler.stream_request(server.lease, mel(300))

            asyncio.run(begin())

        await asyncio.to_thread(abandon)
        [audio] = await server.scheduler.synthesize(server.lease, [mel(10)])
        np.testing.assert_array_equal(audio, VOCODER(mel(10)))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0


async def test_hundreds_of_streams_leave_no_memory_thread_or_file_behind() -> None:
    async def round_of_streams(server: Server, count: int) -> None:
        for index in range(count):
            kind = index % 4
            if kind == 3:
                with server.scheduler.stream_request(server.lease, mel(40)) as streamed:
                    await anext(streamed)
                continue
            live = server.scheduler.open_stream(server.lease)
            await live.push(mel(20))
            if kind == 0:
                live.finish()
                await collect(live)
            elif kind == 1:
                await anext(live)
            live.close()
        await until(lambda: server.scheduler._queue.idle)

    async with serving() as server:
        await round_of_streams(server, 50)
        gc.collect()
        threads, files = threading.active_count(), open_files()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            await round_of_streams(server, 400)
            gc.collect()
            growth = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert (threading.active_count(), open_files()) == (threads, files)
        # A leaked stream would hold a mel of 6 KB at least.
        assert growth < 400 * 500
        assert [lease for lease in gc.get_objects() if type(lease) is ModelLease] == [server.lease]


def test_failures_know_how_to_be_told() -> None:
    kinds = {ServingError, *ServingError.__subclasses__()}
    kinds |= {kind for parent in list(kinds) for kind in parent.__subclasses__()}
    assert all(400 <= kind.status < 600 and kind.code == kind.code.lower() for kind in kinds)
