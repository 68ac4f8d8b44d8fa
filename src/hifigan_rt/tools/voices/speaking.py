"""Turns numbered sentences into audio: while one is decoded, the latents of the next are computed beside it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hifigan_rt.engines.text_part import Scales, TextPart
from hifigan_rt.streaming import Stream


@dataclass(frozen=True)
class Manner:
    """How a text is spoken."""

    scales: Scales
    seed: int
    """What all noise follows from."""
    speaker: int | None
    """Row of the table; None for a voice of one speaker."""
    silence_samples: int
    """Zeros between two sentences."""
    volume: float
    normalize: bool
    """Whether each sentence's largest sample becomes 1, for which it must be whole."""


def speak(
    sentences: Iterator[np.ndarray], text_part: TextPart, stream: Stream, manner: Manner
) -> Generator[np.ndarray]:
    """Speak sentences one after the other.

    Args:
        sentences: phoneme ids, int64 `[L]` each; asked for one at a time, from the second on in a thread of its own.
        text_part: computes their latents.
        stream: turns these into audio; it is closed at the end.
        manner: how they are spoken.

    Yields:
        float32 `[n]`: all pieces of a sentence, then silence before the next.

    Raises:
        HifiganError: whatever making a sentence raises, after all pieces of those before it.
    """
    numbered = enumerate(sentences)

    def latents_of_next() -> np.ndarray | None:
        number, ids = next(numbered, (0, None))
        if ids is None:
            return None
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((manner.seed, number))))
        return text_part.run(ids, manner.scales, manner.speaker, random)

    executor = ThreadPoolExecutor(1, "text-part")
    try:
        latents = latents_of_next()
        while latents is not None:
            pieces = _pieces(latents, stream, manner)
            first = next(pieces)
            # Not before, or the text part of the next sentence would compete with the first audio of this one.
            following = executor.submit(latents_of_next)
            yield first
            yield from pieces
            latents = following.result()
            if latents is not None and manner.silence_samples:
                yield np.zeros(manner.silence_samples, np.float32)
    finally:
        # Whoever leaves in the middle does not wait for a sentence that nobody will hear.
        executor.shutdown(wait=False, cancel_futures=True)
        stream.close()


def _pieces(latents: np.ndarray, stream: Stream, manner: Manner) -> Iterator[np.ndarray]:
    """The audio of one sentence; `stream` is left as it was before."""
    pieces = _decoded(latents, stream)
    if manner.normalize:
        whole = np.concatenate(list(pieces))
        pieces = iter((whole / max(float(np.abs(whole).max()), _SILENT_BELOW),))
    for audio in pieces:
        # At volume 1 a sample keeps its bits.
        yield audio if manner.volume == 1 else np.clip(audio * np.float32(manner.volume), -1, 1)


_SILENT_BELOW = 1e-8
"""Largest sample of a sentence that is not made louder."""


def _decoded(latents: np.ndarray, stream: Stream) -> Iterator[np.ndarray]:
    step = stream.segment_frames
    for start in range(0, latents.shape[1], step):
        audio = stream.push(np.ascontiguousarray(latents[:, start : start + step]))
        if audio.size:
            yield audio
    yield stream.finish()
    stream.reset()
