"""Talks to a `hifigan serve`, from ordinary or asynchronous code; needs the extra `client` and no model."""

from __future__ import annotations

from hifigan_rt.tools.client.asynchronous import AsyncClient, AsyncLiveStream
from hifigan_rt.tools.client.protocol import RemoteAudio
from hifigan_rt.tools.client.synchronous import Client, LiveStream

__all__ = ["AsyncClient", "AsyncLiveStream", "Client", "LiveStream", "RemoteAudio"]
