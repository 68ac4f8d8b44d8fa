"""Feeds a server from an acoustic model that gives frames as it goes: feed_a_generator.py URL MEL.npy OUT.wav

`acoustic_model` stands for yours: an asynchronous generator of float [M, F], F as it comes.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

import numpy as np
import soundfile

from hifigan_rt import AsyncClient


async def acoustic_model(mel_path: str) -> AsyncIterator[np.ndarray]:
    mel = np.load(mel_path)
    for start in range(0, mel.shape[1], 4):
        await asyncio.sleep(0)  # the time that yours takes for four frames
        yield mel[:, start : start + 4]


async def main(url: str, mel_path: str, output: str) -> None:
    async with AsyncClient(url) as client, client.stream(segment_frames=16) as live:

        async def feed() -> None:
            async for frames in acoustic_model(mel_path):
                await live.push(frames)  # waits while the server has enough to do
            await live.finish()

        feeding = asyncio.create_task(feed())
        with soundfile.SoundFile(output, "w", live.sample_rate, 1) as sink:
            async for samples in live:
                sink.write(samples)
        await feeding


asyncio.run(main(*sys.argv[1:]))
