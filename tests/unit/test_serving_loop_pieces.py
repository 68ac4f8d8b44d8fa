"""Work in pieces on the event loop."""

from __future__ import annotations

import asyncio
import io
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from audio_files import encoded
from hifigan_rt.audio.decoding import open_recording
from hifigan_rt.config import PRESETS
from hifigan_rt.tools.serving.audio_bodies import _analysed
from hifigan_rt.tools.serving.loop_pieces import REST, LoopPieces


@pytest.mark.parametrize("busy", [False, True])
def test_pieces_of_all_take_turns_and_rest_while_the_queue_has_work(busy):
    now, rests, order = 0.0, [], []

    async def rest(seconds):
        rests.append(seconds)
        await asyncio.sleep(0)

    def work(name, pieces):
        nonlocal now
        for number in range(pieces):
            now += 0.001
            order.append((name, number))
            yield
        return name

    async def run():
        pieces = LoopPieces(lambda: busy, clock=lambda: now, rest=rest)
        return await asyncio.gather(pieces.run(work("a", 3)), pieces.run(work("b", 3)))

    assert asyncio.run(run()) == ["a", "b"]
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert rests == pytest.approx([0.001 * REST if busy else 0] * 6)


def test_an_error_of_one_is_its_own():
    def fails():
        yield
        raise ValueError("wrong")

    def works():
        yield
        yield
        return 1

    async def run():
        pieces = LoopPieces(lambda: False)
        return await asyncio.gather(pieces.run(fails()), pieces.run(works()), return_exceptions=True)

    failed, worked = asyncio.run(run())
    assert (str(failed), worked) == ("wrong", 1)


def test_the_analysis_of_a_long_recording_rests_after_each_block():
    config = PRESETS["v1"].mel
    lease = SimpleNamespace(
        vocoder=SimpleNamespace(mel_config=config), sample_rate=config.sample_rate, hop_length=config.hop_length
    )
    content = encoded(np.zeros(40 * config.sample_rate, np.int16), "FLAC", "PCM_16", config.sample_rate)
    rests: list[float] = []

    def rest_seconds(took):
        rests.append(took)
        return 0.0

    frames = []
    for rest in (None, rest_seconds):
        with open_recording(io.BytesIO(content), 60) as reader:
            frames.append(_analysed(reader, lease, threading.Event(), lambda frames: None, rest).shape)
    assert frames[0] == frames[1]
    assert len(rests) > 1
    assert min(rests) > 0


def test_threads_together_rest_as_much_as_the_loop():
    busy = True
    pieces = LoopPieces(lambda: busy)
    with pieces.in_thread() as first:
        assert first(0.1) == pytest.approx(REST * 0.1)
        with pieces.in_thread() as second:
            for rest_seconds in (first, second):
                assert 0.1 / (0.1 + rest_seconds(0.1)) == pytest.approx(1 / (1 + REST) / 2)
        assert first(0.1) == pytest.approx(REST * 0.1)
        busy = False
        assert first(0.1) == 0
