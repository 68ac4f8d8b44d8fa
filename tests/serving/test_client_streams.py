"""Live streams of the clients against real servers: pushes, ends, and what stands in their way."""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading

import numpy as np
import pytest

from golden.tiny import TINY, tiny_mel
from hifigan_rt import AsyncClient, Client
from hifigan_rt.errors import MelError, RequestFailed
from hifigan_rt.tools.client import protocol
from running_server import running
from waiting import wait_for

M = TINY.generator.num_mels
RATE = TINY.mel.sample_rate


@pytest.mark.parametrize("size", [1, 7, 32, 300])
def test_a_live_stream_is_the_offline_call(own_client, vocoder, size):
    mel = tiny_mel(300)
    with own_client.stream(segment_frames=16) as live:
        assert (live.sample_rate, live.num_mels, live.segment_frames) == (RATE, M, 16)
        pieces = []
        for start in range(0, 300, size):
            live.push(mel[:, start : start + size])
            pieces.append(live.available())
        live.finish()
        pieces.extend(live)
    np.testing.assert_array_equal(np.concatenate(pieces), vocoder(mel, segment_frames=16))


def test_pushing_everything_before_reading_anything(own_client, vocoder):
    mel = tiny_mel(20_000)
    with own_client.stream() as live:
        for start in range(0, mel.shape[1], 100):
            live.push(mel[:, start : start + 100])
        live.finish()
        assert sum(map(len, live)) == vocoder.output_length(20_000)


def test_a_push_may_be_longer_than_a_message(own_client, vocoder):
    mel = tiny_mel(60_000)  # 2.4 MB
    with own_client.stream(segment_frames=64) as live:
        live.push(mel)
        live.finish()
        assert sum(map(len, live)) == vocoder.output_length(60_000)


def test_one_thread_pushes_and_another_reads(own_client, vocoder):
    mel = tiny_mel(400)
    with own_client.stream(segment_frames=32) as live:

        def push():
            for start in range(0, 400, 10):
                live.push(mel[:, start : start + 10])
            live.finish()

        thread = threading.Thread(target=push)
        thread.start()
        audio = np.concatenate(list(live))
        thread.join()
    np.testing.assert_array_equal(audio, vocoder(mel, segment_frames=32))


def test_a_push_that_waits_for_the_server_does_not_stop_the_reading(sources, vocoder):
    """Where no buffer has room for what is pushed, the server reads on only while its audio is read."""
    mel = tiny_mel(80_000)  # 3.2 MB
    with running(sources, max_pending_seconds=0.5, max_unread_seconds=0.5, write_timeout_seconds=2.0) as served:
        served.listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with Client(served.url) as client, client.stream() as live:
            [connection] = served.server.server_state.connections
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                live._socket.socket.setsockopt(socket.SOL_SOCKET, option, 4096)
            live.push(mel)
            live.finish()
            assert sum(map(len, live)) == vocoder.output_length(80_000)


def test_a_push_ends_when_the_server_ends_the_stream(slow):
    engine, served_by = slow
    with running(served_by, max_pending_seconds=0.5) as served, Client(served.url) as client, client.stream() as live:
        with engine.held():
            pushing = Pushing(live, 2_000_000)
            wait_for(lambda: sum(job.remaining_frames for job in served.context.scheduler._queue._jobs) >= 400)
            engine.failure = RuntimeError("broken")
        pushing.thread.join(20)
        assert pushing.code == "internal"


def test_a_push_finds_the_connection_closed_as_it_looks_for_room(slow, monkeypatch):
    engine, served_by = slow

    class LateSelector(selectors.DefaultSelector):
        def register(self, connection, events):
            descriptor = connection.fileno()
            engine.release()
            wait_for(lambda: connection.fileno() < 0)
            return super().register(descriptor, events)

    with running(served_by) as served, Client(served.url) as client, client.stream() as live, engine.held():
        live.push(tiny_mel(400))
        engine.failure = RuntimeError("broken")
        monkeypatch.setattr(selectors, "DefaultSelector", LateSelector)
        with pytest.raises(RequestFailed) as failure:
            live.push(tiny_mel(1))
        assert failure.value.code == "internal"


class Pushing:
    """Thread that pushes more than there is room for."""

    code = None

    def __init__(self, live, frames):
        self._live, self._frames = live, frames
        self.thread = threading.Thread(target=self._push)
        self.thread.start()

    def _push(self):
        try:
            self._live.push(tiny_mel(self._frames))
        except RequestFailed as error:
            self.code = error.code


def test_a_stream_outlives_pings_that_wait_behind_its_frames(slow, monkeypatch):
    engine, served_by = slow
    options = protocol.ServerAddress.stream_options.fget
    usual = {"ping_interval": 0.05, "ping_timeout": 0.2}
    monkeypatch.setattr(protocol.ServerAddress, "stream_options", property(lambda self: usual | options(self)))

    async def run(url):
        async with AsyncClient(url) as client, client.stream() as live:
            with engine.held():
                for _ in range(20):
                    await live.push(np.full((M, 100), -5.0, np.float32))
                await asyncio.sleep(1.0)
            await live.finish()
            return sum([len(samples) async for samples in live])

    with running(served_by, max_pending_seconds=0.5) as served:
        assert asyncio.run(run(served.url)) == 2000 * TINY.mel.hop_length


def test_numpys_numbers_are_numbers(own_client):
    with own_client.stream(segment_frames=np.int64(8)) as live:
        assert live.segment_frames == 8


def test_a_stream_that_is_refused_or_ended(own_client):
    with pytest.raises(RequestFailed) as caught, own_client.stream("nobody"):
        pass
    assert caught.value.code == "model_not_found"
    with own_client.stream() as live:
        with pytest.raises(MelError, match=f"M={M}"):
            live.push(np.zeros((M + 1, 4), np.float32))
        live.push(np.full((M, 40), np.nan, np.float32))
        with pytest.raises(RequestFailed, match="NaN") as caught:
            list(live)
        assert caught.value.code == "mel_invalid"
        # The first waits for the closing.
        for late in (lambda: list(live), live.finish, lambda: live.push(tiny_mel(5))):
            with pytest.raises(RequestFailed, match="the server ended the stream") as caught:
                late()
            assert caught.value.code == "mel_invalid"


def anext_of(live):
    return lambda: anext(aiter(live))


def test_an_asynchronous_stream_that_the_server_ended_says_why(server):
    async def run():
        async with AsyncClient(server.url) as client, client.stream() as live:
            await live.push(np.full((M, 40), np.nan, np.float32))
            codes = []
            # The second waits for the closing.
            calls = (anext_of(live), anext_of(live), live.finish, lambda: live.push(tiny_mel(5)))
            for late in calls:
                with pytest.raises(RequestFailed, match="the server ended the stream") as caught:
                    await late()
                codes.append(caught.value.code)
            return codes

    assert asyncio.run(run()) == ["mel_invalid"] * 4


def test_nothing_follows_the_end_of_a_stream(own_client):
    with own_client.stream() as live:
        live.push(tiny_mel(20))
        live.finish()
        assert sum(map(len, live)) > 0
        for late in (lambda: list(live), lambda: live.push(tiny_mel(5))):  # the first waits for the closing
            with pytest.raises(RequestFailed, match="open another one"):
                late()


def test_the_callers_own_errors_pass_through_an_open_stream(own_client):
    with pytest.raises(OSError, match="disk"), own_client.stream():
        raise OSError("disk")
