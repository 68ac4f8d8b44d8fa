"""What every engine is: `run` a batch of mels of equal length, open streams, then `close`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, NoReturn, TypeVar

import numpy as np

from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.output_rule import check_reach
from hifigan_rt.engines.streams import MAX_SEGMENT_FRAMES, EngineStream, Outcome, OverlapStream, check_finite, with_ends
from hifigan_rt.errors import ConfigError, EngineError, HifiganError
from hifigan_rt.graph import Graph, check_mirrored
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.system.machine import usable_cores

T = TypeVar("T")

MAX_THREADS = 1024


@dataclass(frozen=True)
class EngineOptions:
    """What a user may ask of any engine.

    Raises:
        EngineError: the threads are not from 1 to 1024, or what has a name is no text.
    """

    threads: int | None = None
    """Worker threads, 1 to 1024; None is what `machine.usable_cores` says."""
    precision: str = "float32"
    """Arithmetic asked for; the reference engine alone computes in float64 whatever is asked."""
    device: str | None = None
    """A device by the runtime's own name: "cuda:0" for torch, "GPU" for OpenVINO, "0" or "0,1" for Ascend; None is the
    engine's default."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What only one engine knows, by name: texts, as the command line has them, or the values themselves. Names are
    checked by `engines.check_settings`, values by the engine; `hifigan engines` lists them."""

    def __post_init__(self) -> None:
        if isinstance(self.threads, bool) or not isinstance(self.threads, (int, np.integer, NoneType)):
            raise EngineError(f"threads={self.threads!r} must be a whole number")
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise EngineError(f"threads={self.threads} must be from 1 to {MAX_THREADS}")
        for name, value in (("precision", self.precision), ("device", "" if self.device is None else self.device)):
            if not isinstance(value, str):
                raise EngineError(f"{name}={value!r} is a {type(value).__name__}: give its name, a text")
        for setting in self.settings:
            if not isinstance(setting, str):
                raise EngineError(f"a setting has the name {setting!r}, a {type(setting).__name__}: names are texts")

    @property
    def thread_count(self) -> int:
        """The threads to use."""
        return usable_cores() if self.threads is None else self.threads


@dataclass(frozen=True)
class EngineInfo:
    """What is really running, for people and for machines."""

    name: str
    version: str
    """Version of the runtime below it."""
    precision: str
    threads: int
    device: str
    """The device, for example "cpu"."""
    variant: str = ""
    """What else decides the last bits of the result, for example the segment length and a plan given by hand."""
    caveat: str = ""
    """What the device says against its figures, for example that it is only imitated; mostly empty. It is shown and
    saved wherever the figures are."""


class Engine(ABC):
    """A loaded model that turns mels into audio. Safe to call from several threads."""

    info: EngineInfo
    options: EngineOptions = EngineOptions()
    """What was asked of it when it was created, so that it can be created again."""
    conditioning: ConditioningRule = ConditioningRule()
    """What it takes beside the mel."""
    least_frames: int = 1
    """Frames that a mel must have: `Graph.least_frames`."""
    offline_segment_frames: int | None = None
    """A stream with such segments gives the same bits as `run`; None where no stream promises that."""
    fixed_size: str | None = None
    """The one length or batch that a converted file takes, for texts, so that no part of a mel can be computed; None if
    it takes any."""
    unproven_source: str | None = None
    """A foreign file whose layers are only said to be those of its config, for texts; None once a stream was tried."""
    joined_streams: int = 1
    """Streams up to which `advance` is faster than pushes one after another."""
    joined_frames: int = 16384
    """Frames of all of them up to which others should not have to wait for `advance`."""
    compute_seconds: float | None = None
    """Seconds of the last call by the device's own clock, for benchmarks; None where it has none."""

    def __init__(self) -> None:
        self._closed = False

    def run(self, mel: CheckedMel, conditioning: np.ndarray | None = None) -> np.ndarray:
        """Synthesise a batch.

        Args:
            mel: float32 `[B, M, T]`, C-contiguous.
            conditioning: what the model takes beside it, float `[B, G]` vectors or integer `[B]` rows of the table of
                speakers; None if it takes nothing.

        Returns:
            float32 `[B, N]` with N = graph.output_length(T), in [-1, 1].

        Raises:
            EngineError: the engine is closed or failed, or `ConditioningRule.check` refuses what is given.
            MelError: the mel is shorter than the layers take.
        """
        self.check_open()
        check_mirrored(mel.shape[2], self.least_frames)
        return check_finite(self._run(mel, self.conditioning.check(conditioning, len(mel))))

    def run_many(self, mels: Sequence[CheckedMel], conditioning: np.ndarray | None = None) -> list[np.ndarray]:
        """Synthesise mels of any lengths, each as it would come out alone.

        Args:
            mels: float32 `[M, T_i]` each, C-contiguous.
            conditioning: as for `run`, a vector or a row for each of them.

        Returns:
            float32 `[N_i]` each.

        Raises:
            EngineError, MelError: as for `run`.
        """
        self.check_open()
        for mel in mels:
            check_mirrored(mel.shape[1], self.least_frames)
        audios = self._run_many(mels, self.conditioning.check(conditioning, len(mels)))
        return [check_finite(audio) for audio in audios]

    def run_on_device(
        self,
        mels: Sequence[object],
        *,
        listed: bool,  # noqa: ARG002 - most refuse them
        conditioning: np.ndarray | None = None,  # noqa: ARG002
    ) -> list[Any]:
        """Synthesise mels that lie in a device's memory, without a copy through the host's.

        Args:
            mels: float `[M, T_i]` or `[B, M, T_i]` each, of PyTorch or any library that has DLPack.
            listed: whether they are the items of a user's list, so that each is one mel and errors name its index.
            conditioning: as for `run`, in host memory: for each mel, those of a batch counted one by one.

        Returns:
            float32 `[N_i]` or `[B, N_i]` each, PyTorch tensors in the same memory. Engine torch does not look whether
            they are finite: the host would wait for the card.

        Raises:
            EngineError: the engine computes elsewhere, is closed or failed.
            MelError: a shape, dtype or value that no mel of the model can have.
        """
        raise EngineError(
            f"the mel is in a device's memory, and engine {self.info.name!r} takes host memory: pass "
            f"mel.cpu().numpy(), or load engine 'torch' on that device ({len(mels)} given)"
        )

    def inexact_tail_frames(self, frames: int) -> int:  # noqa: ARG002 - most engines run any length
        """Frames at the end of a mel of `frames` whose samples differ because the engine has to pad it; mostly 0."""
        return 0

    def describe_inexact_tail(self, frames: int) -> str | None:  # noqa: ARG002 - most engines run any length
        """What is not exact about the end of a mel of `frames`, for people; None if nothing is."""
        return None

    def stream(self, segment_frames: int, graph: Graph, conditioning: np.ndarray | None = None) -> EngineStream:
        """Open a stream; several may be open at once, and share the loaded model.

        Args:
            segment_frames: frames that are computed together, 1 to 4096.
            graph: the generator's layers.
            conditioning: what the model takes beside the mel, float `[G]` or an integer `[]`, for the whole stream.

        Raises:
            ConfigError: the engine takes mels of one length alone.
            EngineError: the engine is closed, or segment_frames is out of range, or `ConditioningRule.check` refuses
                what is given.
            OutputMismatch: a foreign file is not the network that its config says.
        """
        self.check_open()
        if self.fixed_size is not None:
            raise ConfigError(
                f"{self.fixed_size}, and segments and streams compute single mels of other lengths: export the model "
                "with a dynamic length and batch"
            )
        given = self.conditioning.check_one(conditioning)
        if self.unproven_source is not None:
            check_reach(self, self.unproven_source, graph)
            self.unproven_source = None

        def run(mel: CheckedMel) -> np.ndarray:
            self.check_open()
            return self._run(mel, given)

        lengths = range(1, MAX_SEGMENT_FRAMES)
        least_frames = 1 + bisect_left(lengths, True, key=lambda frames: self.inexact_tail_frames(frames) == 0)  # noqa: FBT003
        return OverlapStream(run, graph, segment_frames, max(least_frames, graph.least_frames))

    def advance(
        self, streams: Sequence[EngineStream], mels: Sequence[CheckedMel], ending: Collection[int] = ()
    ) -> Sequence[Outcome]:
        """Push frames into several streams of this engine, together where that is faster.

        Args:
            streams: different ones.
            mels: float32 `[M, F_i]`, for each stream its frames.
            ending: indices of the streams whose signals end with these frames.

        Returns:
            float32 `[n_i]`, what each `push` would give, with what `finish` would if it ends; or the error of a stream
            that has failed alone.

        Raises:
            EngineError: the engine failed; streams that have taken frames are broken.
        """
        outcomes: list[Outcome] = []
        for stream, mel in zip(streams, mels, strict=True):
            try:
                outcomes.append(stream.push(mel))
            except HifiganError as error:
                outcomes.append(error)
        return with_ends(streams, outcomes, ending)

    def turn_layout(self) -> bool:
        """Feed mels in the next order of dimensions that a file leaves open; False if there is none but the first."""
        return False

    def interruptible(self, compute: Callable[[], T], interlude: Callable[[], None]) -> T:  # noqa: ARG002 - most cannot
        """Compute; where the engine can, with something more urgent in between.

        Args:
            compute: calls `run`, `advance`, or a stream of this engine.
            interlude: called in the same thread every 20 ms or so, between two layers: it may compute with other
                streams of this engine, or with any other engine. An exception of it ends what is computed.

        Returns:
            What `compute` returns.
        """
        return compute()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def check_open(self) -> None:
        """Check that the engine may be used.

        Raises:
            EngineError: it was closed.
        """
        if self._closed:
            raise self.closed_error()

    def closed_error(self) -> EngineError:
        """Make the error of a call that comes after `close`."""
        return EngineError(f"engine {self.info.name!r} is closed: load the model again")

    def close(self) -> None:
        """Free what the engine holds; closing twice is allowed."""
        if not self._closed:
            self._closed = True
            self._close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"engine {self.info.name!r} can be neither pickled nor copied, since its memory is the runtime's: pickle "
            "or copy the vocoder, which loads it again"
        )

    @abstractmethod
    def _run(self, mel: CheckedMel, conditioning: np.ndarray | None = None) -> np.ndarray:
        """Compute a batch, with what `ConditioningRule.check` made of what comes with it."""

    def _run_many(self, mels: Sequence[CheckedMel], conditioning: np.ndarray | None = None) -> list[np.ndarray]:
        """Compute mels of any lengths, with what `ConditioningRule.check` made of what comes with them."""
        return [
            self._run(CheckedMel(mel[None]), None if conditioning is None else conditioning[index : index + 1])[0]
            for index, mel in enumerate(mels)
        ]

    def _close(self) -> None:  # noqa: B027 - most engines hold nothing but memory
        """Free what the garbage collector does not."""
