"""Streams of engine `cuda`: each keeps the rows that its next frames need on the card, and recomputes nothing."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from hifigan_rt.engines.cuda_network import CardNetwork, SignalPiece
from hifigan_rt.engines.streams import Outcome, SignalState, StreamTurn, audio_of, check_segment
from hifigan_rt.errors import EngineError, HifiganError, MelError, StreamClosed
from hifigan_rt.graph import Graph
from hifigan_rt.mel.check import CheckedMel


class CardStream:
    """One signal, a few frames at a time: an `EngineStream` whose samples are bit for bit those of the whole signal."""

    def __init__(self, network: CardNetwork, graph: Graph, segment_frames: int, vector: np.ndarray | None) -> None:
        self._segment_frames = check_segment(segment_frames)
        self._network: CardNetwork | None = network
        self._graph = graph
        self._added = network.added_by(vector)
        self._room = network.take_state()
        # Also of a stream that nobody closes.
        self._give_back = weakref.finalize(self, network.give_state, self._room)
        self._turn = StreamTurn()
        self._waiting = np.empty((graph.num_mels, 0), np.float32)
        self._computed = 0

    @property
    def segment_frames(self) -> int:
        return self._segment_frames

    @property
    def state_bytes(self) -> int:
        return self._open().plan.state_bytes + self._segment_frames * self._graph.num_mels * 4

    @property
    def frames(self) -> int:
        return self._computed + self._waiting.shape[1]

    @property
    def pending_samples(self) -> int:
        if self._network is None or self._turn.state is not SignalState.OPEN or self.frames < self._graph.least_frames:
            return 0
        determined = self._computed * self._graph.hop_length + self._graph.receptive_field.first_sample
        return self._graph.output_length(self.frames) - max(0, determined)

    def push(self, mel: CheckedMel) -> np.ndarray:
        return audio_of(push_together([self], [mel])[0])

    def finish(self) -> np.ndarray:
        return audio_of(push_together([self], [CheckedMel(self._waiting[:, :0])], [0])[0])

    def reset(self) -> None:
        with self._claimed(anew=True):
            self._turn.state = SignalState.OPEN
            self._waiting, self._computed = self._waiting[:, :0], 0

    def close(self) -> None:
        self._network = None
        # Another thread may be computing with it.
        if self._turn.is_free:
            self._give_back()

    def _open(self) -> CardNetwork:
        if self._network is None:
            raise StreamClosed
        return self._network

    def _claim(self, *, anew: bool = False) -> CardNetwork:
        """The network, for this thread until `_release`."""
        self._open()  # what is closed says so, whatever became of its signal
        self._turn.take(anew=anew)
        network = self._network
        if network is None:  # closed meanwhile: another stream may have its room
            self._release()
            raise StreamClosed
        return network

    def _release(self) -> None:
        self._turn.give()
        if self._network is None and self._turn.is_free:
            self._give_back()

    @contextmanager
    def _claimed(self, *, anew: bool = False) -> Iterator[CardNetwork]:
        network = self._claim(anew=anew)
        try:
            yield network
        finally:
            self._release()

    def _segments(self, mel: CheckedMel, *, ends: bool) -> SignalPiece | None:
        """The frames of the segments that this completes, and what is left for the next; None if there are none.

        Raises:
            MelError: the signal ends and is too short: nothing has changed, and more frames may come.
        """
        frames: np.ndarray = np.concatenate([self._waiting, mel], axis=1) if self._waiting.shape[1] else mel
        if ends:
            length = self._computed + frames.shape[1]
            if length:
                self._graph.output_length(length)
            self._waiting = self._waiting[:, :0]
            piece = SignalPiece(frames, self._computed, finished=True, state=self._room, added=self._added)
            self._computed = length
            return piece if length else None
        complete = frames.shape[1] - frames.shape[1] % self._segment_frames
        if complete < frames.shape[1] or self._waiting.shape[1]:
            self._waiting = frames[:, complete:].copy()
        if not complete:
            return None
        piece = SignalPiece(frames[:, :complete], self._computed, finished=False, state=self._room, added=self._added)
        self._computed += complete
        return piece


def push_together(
    streams: Sequence[CardStream], mels: Sequence[CheckedMel], ending: Collection[int] = ()
) -> list[Outcome]:
    """Push frames into several streams of one engine, all in the same passes.

    Args:
        streams: different ones.
        mels: float32 `[M, F_i]`, for each stream its frames.
        ending: indices of the streams whose signals end with these frames.

    Returns:
        float32 `[n_i]`, or the error that each push would raise.

    Raises:
        EngineError: the card failed; all of them are broken.
    """
    network = next((network for stream in streams if (network := stream._network) is not None), None)
    if network is None:
        return [StreamClosed()] * len(streams)
    ending = frozenset(ending)
    outcomes: list[Outcome] = [np.empty(0, np.float32)] * len(streams)
    computed: list[tuple[int, SignalState]] = []
    claimed: list[CardStream] = []

    def pieces() -> Iterator[SignalPiece]:
        """Claim one stream after the other, while the card computes those before it."""
        for index, (stream, mel) in enumerate(zip(streams, mels, strict=True)):
            try:
                stream._claim()
            except EngineError as error:
                outcomes[index] = error
                continue
            claimed.append(stream)
            turn, ends = stream._turn, index in ending
            then = SignalState.FINISHED if ends else SignalState.OPEN
            turn.state = SignalState.BROKEN
            try:
                piece = stream._segments(mel, ends=ends)
            except MelError as error:
                turn.state = SignalState.OPEN
                outcomes[index] = error
                continue
            if piece is None:
                turn.state = then
                continue
            computed.append((index, then))
            yield piece

    made = pieces()
    try:
        for (index, then), outcome in zip(computed, network.compute(made), strict=True):
            if not isinstance(outcome, HifiganError):
                streams[index]._turn.state = then
            outcomes[index] = outcome
    except BaseException:
        # Nobody can tell which streams have their frames: all are broken, those that were not reached too.
        for _ in made:
            pass
        raise
    finally:
        for stream in claimed:
            stream._release()
    return outcomes
