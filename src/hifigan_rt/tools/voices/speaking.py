"""Turns numbered sentences into audio: while one is decoded, the latents of the next are computed beside it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hifigan_rt.engines.text_part import Scales, TextPart
from hifigan_rt.errors import SpeechError
from hifigan_rt.streaming import Stream
from hifigan_rt.tools.voices.symbols import SymbolTable


class Utterance:
    """A text on its way to audio: the latents of its sentences, one after the other. Made by `Voice.utterance`."""

    def __init__(
        self,
        name: str,
        sentences: Iterator[np.ndarray],
        table: SymbolTable,
        text_part: TextPart,
        scales: Scales,
        seed: int,
        speaker: int | None,
    ) -> None:
        """
        Args:
            name: of the voice, for texts.
            sentences: phoneme ids, int64 `[L]` each.
            table: has what was left out of them.
            text_part: computes their latents.
            scales: how they are spoken.
            seed: what all noise follows from.
            speaker: row of the table; None for a voice of one speaker.
        """
        self._name, self._sentences, self._text_part = name, enumerate(sentences), text_part
        self._scales, self._seed = scales, seed
        self._spoken = 0
        self.table = table
        self.speaker = speaker

    def next_latents(self) -> np.ndarray | None:
        """Compute the latents of the next sentence, in any thread, one call at a time.

        Returns:
            float32 `[C, T]`; None after the last sentence.

        Raises:
            SpeechError: nothing of the text can be spoken.
            HifiganError: what making phonemes or the text part raises.
        """
        number, ids = next(self._sentences, (0, None))
        if ids is None:
            if not self._spoken:
                left_out = self.table.listed()
                has = f"{self._name} has none of its symbols: {left_out}" if left_out else "it has no words"
                raise SpeechError(f"nothing of the text can be spoken: {has}")
            return None
        self._spoken += 1
        # Each sentence has noise of its own, whatever becomes of the others.
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((self._seed, number))))
        return self._text_part.run(ids, self._scales, self.speaker, random)


@dataclass(frozen=True)
class Loudness:
    """What is done to the samples."""

    silence_samples: int
    """Zeros between two sentences."""
    volume: float
    normalize: bool
    """Whether each sentence's largest sample becomes 1, for which it must be whole."""


def speak(utterance: Utterance, stream: Stream, loudness: Loudness) -> Generator[np.ndarray]:
    """Speak sentences one after the other, the next one's latents computed in a thread while one is decoded.

    Args:
        utterance: gives the latents.
        stream: turns them into audio; it is closed at the end.
        loudness: what is done to it.

    Yields:
        float32 `[n]`: all pieces of a sentence, then silence before the next.

    Raises:
        HifiganError: whatever making a sentence raises, after all pieces of those before it.
    """
    executor = ThreadPoolExecutor(1, "text-part")
    try:
        latents = utterance.next_latents()
        while latents is not None:
            pieces = _pieces(latents, stream, loudness)
            first = next(pieces)
            # Not before, or the text part of the next sentence would compete with the first audio of this one.
            following = executor.submit(utterance.next_latents)
            yield first
            yield from pieces
            latents = following.result()
            if latents is not None and loudness.silence_samples:
                yield np.zeros(loudness.silence_samples, np.float32)
    finally:
        # Whoever leaves in the middle does not wait for a sentence that nobody will hear.
        executor.shutdown(wait=False, cancel_futures=True)
        stream.close()


def _pieces(latents: np.ndarray, stream: Stream, loudness: Loudness) -> Iterator[np.ndarray]:
    """The audio of one sentence; `stream` is left as it was before."""
    pieces = _decoded(latents, stream)
    if loudness.normalize:
        whole = np.concatenate(list(pieces))
        pieces = iter((whole / max(float(np.abs(whole).max()), _SILENT_BELOW),))
    for audio in pieces:
        # At volume 1 a sample keeps its bits.
        yield audio if loudness.volume == 1 else np.clip(audio * np.float32(loudness.volume), -1, 1)


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
