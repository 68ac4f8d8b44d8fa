"""Responses that are sent in parts."""

from __future__ import annotations

import asyncio

import pytest

from hifigan_rt.tools.serving.whole_response import whole_response

MIB = 1 << 20


@pytest.mark.parametrize("sizes", [(7 * MIB + 5,), (44, 3 * MIB, 2 * MIB)])
def test_others_have_their_turn_while_a_client_takes_all_at_once(sizes):
    content = [bytes([index]) * size for index, size in enumerate(sizes)]
    turns, sent, in_turn = 0, [], []

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def send(message):
        """Never wait, as a socket with room does not."""
        if message["type"] == "http.response.body":
            sent.append(bytes(message["body"]))
            in_turn.append(turns)

    async def run():
        busy = asyncio.create_task(other())
        scope = {"type": "http", "asgi": {"spec_version": "2.4"}, "method": "GET"}
        await whole_response(content, {})(scope, asyncio.Event().wait, send)
        busy.cancel()

    asyncio.run(run())
    assert b"".join(sent) == b"".join(content)
    assert max(map(len, sent)) <= MIB
    # The last part, which is empty, may follow the last but one at once.
    assert len(set(in_turn)) >= len(in_turn) - 1 > 5
