"""`while_connected`: work for a request ends when its client goes, however that shows."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import ClientDisconnect

from hifigan_rt.tools.serving.request_bodies import while_connected

pytestmark = pytest.mark.anyio


async def test_work_that_ends_first_is_given():
    async def receive():
        await asyncio.sleep(60)

    assert await while_connected(receive, asyncio.sleep(0, "done")) == "done"


@pytest.mark.parametrize("told", [{"type": "http.disconnect"}, RuntimeError("the proxy is gone")])
async def test_work_of_a_client_that_went_is_cancelled(told):
    cancelled = []

    async def receive():
        if isinstance(told, Exception):
            raise told
        return told

    async def work():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(ClientDisconnect):
        await while_connected(receive, work())
    assert cancelled == [True]
