"""The stream that users get: checks what comes in, tells its latency, and hands on to the engine's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import NoReturn, overload

import numpy as np

from hifigan_rt.engines.base import Engine
from hifigan_rt.engines.streams import STREAM_SEGMENT_FRAMES, Outcome, SignalState, StreamTurn
from hifigan_rt.errors import EngineError, HifiganError, MelError, StreamsFailed
from hifigan_rt.graph import MAX_FRAMES, Graph
from hifigan_rt.mel.check import CheckedMel, check_mel, in_words_of, warn_of
from hifigan_rt.mel.padding import may_have_flat_frames
from hifigan_rt.mel.watch import MelWatch
from hifigan_rt.model.kinds import Model
from hifigan_rt.system.closing import Closing


class Stream(Closing):
    """One signal, a few frames at a time: `push` frames, get audio, `finish`. Made by `Vocoder.stream`.

    The samples are those of the whole mel: bit for bit those of `vocoder(mel, segment_frames=...)`, whatever the sizes
    of the pushes, on the native engine; to rounding on the others. Many streams may be open on one vocoder, in as many
    threads; each is for one thread at a time.
    """

    def __init__(
        self,
        engine: Engine,
        graph: Graph,
        model: Model,
        segment_frames: int | None = None,
        conditioning: np.ndarray | None = None,
    ) -> None:
        """Open a stream on a loaded engine; see `Vocoder.stream` and `Engine.stream`."""
        self._engine = engine
        self._graph = graph
        self._model = model
        self._watch = None if model.mel is None else MelWatch(model.mel)
        frames = STREAM_SEGMENT_FRAMES if segment_frames is None else segment_frames
        self._stream = engine.stream(frames, graph, conditioning)
        # What watches its frames is no more for two threads than the engine's state is.
        self._turn = StreamTurn()

    def push(self, mel: object) -> np.ndarray:
        """Take frames in.

        Args:
            mel: float `[M, F]`; F may be anything, 0 as well.

        Returns:
            float32 `[n]` in [-1, 1]: all samples that no frame to come can change, of the segments that are complete;
            n may be 0.

        Raises:
            MelError: a shape, dtype or value that no mel of this model can have; the stream goes on as if nothing came.
            EngineError: the stream is finished, closed or in use by another thread, its vocoder is closed, or the
                engine failed, after which only `reset` helps.

        Warns:
            MelConventionWarning: padding, or a beginning that looks like another convention than the model's.
        """
        self._engine.check_open()
        with self._turn.taken():
            checked = self._checked(mel)
            self._watched(checked)
            before = self._stream.frames
            try:
                return self._stream.push(checked)
            except BaseException as error:
                self._lost_by(error, before)
                raise

    def finish(self) -> np.ndarray:
        """End the signal.

        Returns:
            float32 `[n]`: the samples that are left, `output_length(F)` in sum after F frames, none after none.

        Raises:
            EngineError: as for `push`.
        """
        self._engine.check_open()
        with self._turn.taken():
            if self._watch is not None:
                warn_of(self._watch.finish())
            return self._stream.finish()

    def reset(self) -> None:
        """Begin another signal of the same speaker, with nothing left of the one before, be it finished, unfinished or
        failed.

        Raises:
            EngineError: the stream or its vocoder is closed, or another thread is using the stream.
        """
        self._engine.check_open()
        with self._turn.taken(anew=True):
            self._stream.reset()
            self._turn.state = SignalState.OPEN
            self._watch = None if self._model.mel is None else MelWatch(self._model.mel)

    def close(self) -> None:
        """Free the stream's memory; the vocoder stays. Closing twice is allowed."""
        self._stream.close()

    @property
    def segment_frames(self) -> int:
        """Frames that are computed together, the first segment from the first frame."""
        return self._stream.segment_frames

    @property
    def pending_samples(self) -> int:
        """Samples of the frames pushed so far that are not given yet: what `finish` would give now."""
        return self._stream.pending_samples if self._turn.state is SignalState.OPEN else 0

    @property
    def state_bytes(self) -> int:
        """Memory that this stream has for itself; weights and working memory are the vocoder's.

        Raises:
            StreamClosed: the stream is closed.
        """
        return self._stream.state_bytes

    @property
    def sample_rate(self) -> int:
        """The sample rate in Hz.

        Raises:
            ConfigError: nothing tells it.
        """
        return self._model.known_sample_rate()

    @property
    def look_ahead_ms(self) -> float:
        """How far the network looks into the future: a sample is determined by what comes up to so much later.

        Raises:
            ConfigError: the sample rate is not known.
        """
        return -1000 * self._graph.receptive_field.first_sample / self.sample_rate

    @property
    def segment_ms(self) -> float:
        """How long a segment lasts: at most so long a determined sample waits for its segment to be complete.

        Raises:
            ConfigError: the sample rate is not known.
        """
        return 1000 * self.segment_frames * self._graph.hop_length / self.sample_rate

    @property
    def algorithmic_latency_ms(self) -> float:
        """The longest time from a sample's own moment to the frame that brings it out: `look_ahead_ms + segment_ms`.

        Computing comes on top.

        Raises:
            ConfigError: the sample rate is not known.
        """
        return self.look_ahead_ms + self.segment_ms

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a stream can be neither pickled nor copied, since its state is in its engine: pickle the vocoder, and "
            "open a stream where it arrives"
        )

    @property
    def _takes_latents(self) -> bool:
        return self._graph.config.input_kind == "latent"

    def _checked(self, mel: object) -> CheckedMel:
        bands = self._graph.num_mels
        if getattr(mel, "shape", None) == (bands, 0):  # also a tensor's
            return CheckedMel(np.empty((bands, 0), np.float32))
        with in_words_of(latents=self._takes_latents):
            return self._accepted(check_mel(mel, bands))

    def _accepted(self, checked: CheckedMel) -> CheckedMel:
        if checked.ndim != 2:
            raise MelError(
                f"frames are of shape {list(checked.shape)}: a push takes [M, F] with M={self._graph.num_mels}"
            )
        if self._stream.frames + checked.shape[1] > MAX_FRAMES:
            raise MelError(f"the stream would have more than {MAX_FRAMES} frames: finish it and reset it")
        return checked

    def _lost_by(self, error: BaseException, before: int) -> None:
        """Break the signal if Ctrl-C, or another error than an engine's, took the audio of frames that were taken in:
        Python raises it as soon as the core has returned."""
        if self._stream.frames != before and not isinstance(error, HifiganError):
            self._turn.state = SignalState.BROKEN

    def _watched(self, checked: CheckedMel, *, may_be_flat: bool = True) -> None:
        if self._watch is not None:
            warn_of(self._watch.push(checked, may_be_flat=may_be_flat))


@overload
def advance(streams: Sequence[Stream], mels: Sequence[np.ndarray]) -> list[np.ndarray]: ...
@overload
def advance(streams: Sequence[Stream], mels: np.ndarray) -> np.ndarray | list[np.ndarray]: ...
def advance(streams: Sequence[Stream], mels: np.ndarray | Sequence[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    """Push frames into many streams at once: on a GPU many times as fast as one push after another.

    Args:
        streams: different ones, of any vocoders.
        mels: float, for each stream its frames: an array `[B, M, F]`, or a list of `[M, F_i]`.

    Returns:
        float32 `[n_i]` each, what `push` would give; one array `[B, n]` if `mels` is one and all give as many samples.

    Raises:
        MelError: not as many mels as streams, or one that its stream cannot take; no stream has taken anything.
        StreamsFailed: some of them failed alone; it has the audio of the others.
        EngineError: as for `Stream.push`, or a stream is named twice, or is none.

    Warns:
        MelConventionWarning: as for `Stream.push`.
    """
    given: object = streams
    if isinstance(given, Stream):
        raise EngineError("streams is one Stream: give a list of them, or push its frames")
    for index, stream in enumerate(given if isinstance(given, Sequence) else [given]):
        if not isinstance(stream, Stream):
            raise EngineError(
                f"stream {index} is a {type(stream).__name__}: give a list of what vocoder.stream() returned"
            )
    shape = getattr(mels, "shape", None)
    if isinstance(shape, tuple) and len(shape) != 3:
        raise MelError(f"frames are of shape {list(shape)}: [B, M, F] is needed, or a list of [M, F]")
    if not hasattr(mels, "__len__") or isinstance(mels, (Mapping, Set)):
        raise MelError(f"the mels are a {type(mels).__name__}: pass an array [B, M, F], or a list of [M, F]")
    if len(mels) != len(streams):
        raise MelError(f"{len(mels)} mels are given for {len(streams)} streams: each stream needs its own")
    if len({id(stream) for stream in streams}) < len(streams):
        raise EngineError("a stream is named twice: give each of them once, with all of its frames")
    taken = []
    try:
        for stream in streams:
            stream._turn.take()
            taken.append(stream)
        before = [stream._stream.frames for stream in streams]
        try:
            outcomes = _advanced(streams, mels)
        except BaseException as error:
            for stream, frames in zip(streams, before, strict=True):
                stream._lost_by(error, frames)
            raise
    finally:
        for stream in taken:
            stream._turn.give()
    audios = [outcome for outcome in outcomes if not isinstance(outcome, HifiganError)]
    if len(audios) < len(outcomes):
        raise StreamsFailed(outcomes)
    if isinstance(mels, np.ndarray) and len({len(audio) for audio in audios}) == 1:
        return np.stack(audios)
    return audios


def _advanced(streams: Sequence[Stream], mels: np.ndarray | Sequence[np.ndarray]) -> list[Outcome]:
    given = mels if isinstance(mels, np.ndarray) else list(mels)  # of what may be the values of a dictionary
    together = _checked_together(streams, given)
    if together is None:
        checked = [_item(index, stream, mel) for index, (stream, mel) in enumerate(zip(streams, given, strict=True))]
        may_be_flat = [True] * len(streams)
    else:
        checked = [CheckedMel(mel) for mel in together]
        may_be_flat = may_have_flat_frames(together).tolist()
    outcomes: list[Outcome] = [np.empty(0, np.float32)] * len(streams)
    by_engine: dict[Engine, list[int]] = {}
    for index, stream in enumerate(streams):
        stream._engine.check_open()
        by_engine.setdefault(stream._engine, []).append(index)
    # Not before all are accepted: what is refused may come again.
    for stream, mel, flat in zip(streams, checked, may_be_flat, strict=True):
        stream._watched(mel, may_be_flat=flat)
    for engine, indices in by_engine.items():
        audios: Sequence[Outcome]
        try:
            audios = engine.advance(
                [streams[index]._stream for index in indices], [checked[index] for index in indices]
            )
        except EngineError as error:
            if len(by_engine) == 1:
                raise
            audios = [error] * len(indices)  # the streams of other engines have gone on
        for index, outcome in zip(indices, audios, strict=True):
            outcomes[index] = outcome
    return outcomes


def _checked_together(streams: Sequence[Stream], mels: np.ndarray | Sequence[np.ndarray]) -> CheckedMel | None:
    """Check an array `[B, M, F]`, or short frames in a list that are alike, at once: one by one they would take longer
    than a card does. None if each must be looked at by itself, as where one is to be named that is wrong."""
    bands = {stream._graph.num_mels for stream in streams}
    if len(bands) != 1:
        return None
    if isinstance(mels, np.ndarray):
        if not mels.size:
            return None
        with in_words_of(latents=all(stream._takes_latents for stream in streams)):
            together = check_mel(mels, bands.pop())
    else:
        if not all(type(mel) is np.ndarray for mel in mels) or len({(mel.shape, mel.dtype) for mel in mels}) > 1:
            return None
        if mels[0].ndim != 2 or not 0 < mels[0].shape[1] <= STREAM_SEGMENT_FRAMES:
            return None
        try:
            together = check_mel(np.stack(mels), bands.pop())
        except MelError:
            return None
    frames = together.shape[2]
    return together if all(stream._stream.frames + frames <= MAX_FRAMES for stream in streams) else None


def _item(index: int, stream: Stream, mel: object) -> CheckedMel:
    try:
        return stream._checked(mel)
    except MelError as error:
        raise MelError(f"item {index} of the list: {error}") from error
