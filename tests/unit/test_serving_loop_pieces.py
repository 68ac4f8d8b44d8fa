"""Work in pieces on the event loop."""

from __future__ import annotations

import asyncio

import pytest

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
