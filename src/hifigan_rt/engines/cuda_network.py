"""A generator on a card: pieces of signals in, audio out, in as few passes as the card's memory allows."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

import hifigan_rt._native as _native
from hifigan_rt.engines.cuda_arrays import CardMel
from hifigan_rt.engines.cuda_kernels import chosen_set, driver, image_for
from hifigan_rt.engines.cuda_plan import build_plan
from hifigan_rt.engines.streams import Outcome
from hifigan_rt.errors import EngineError, HifiganError, MelError
from hifigan_rt.graph import Generator

LARGEST_FLOAT16 = 65504.0
PASS_BYTES = 1 << 30
"""Working memory of a pass, where the card's is not limited to less."""
_SHARE_OF_A_PASS = 4
"""A pass takes a quarter of limited memory, so that streams have the rest."""
MAX_PASS_ITEMS = 1024

_COMFORTABLE = (2.0**-4, 2.0**10)
"""Largest magnitudes that a value may have on the probes: 64 times as much still fits float16, and what is left below
is precise enough. V1's largest is 32."""
_ALL_MEMORY = (1 << 63) - 1
_PASSES_AT_ONCE = 2
"""Passes that are under way together: the host prepares one while the card computes the other."""
_ON_CARD = np.empty(0, np.float32)
_CENTRE = 5
"""The power of two to which other values are brought."""


class SignalPiece(NamedTuple):
    """Frames that follow those of earlier passes. (A frozen dataclass takes four times as long to make.)"""

    mel: np.ndarray | CardMel
    """float32 `[M, F]`, F may be 0; or one on the card, whose audio is left there."""
    before: int
    """Frames of earlier passes."""
    finished: bool
    """Whether the signal ends with it."""
    state: int = 0
    """Where it keeps rows; 0 for a whole signal."""
    added: np.ndarray | None = None
    """float32 `[channels]` of `CardNetwork.added_by`."""


class CardNetwork:
    """A plan with its weights in a card's memory. Safe to use from several threads, which take turns."""

    def __init__(self, generator: Generator, precision: str, device: int, memory: int | None = None) -> None:
        """Load and scale it.

        Args:
            generator, precision: see `build_plan`.
            device: number of the card.
            memory: bytes of the card that it may take; None if all.

        Raises:
            EngineUnavailable: no driver, card or kernels; the text says why and what helps.
            EngineError: a layer needs what no kernel has, values that fit no scale, or too little memory.
        """
        self._generator = generator
        self.card_seconds = 0.0
        """Seconds of the last call by the card's clock."""
        library = driver()
        name, capability, version = _native.cuda_device(library, device)
        self.card = name
        self.driver_version = f"{version // 1000}.{version % 1000 // 10}"
        chosen = chosen_set(capability)
        image, code = image_for(capability)
        self.kernels = f"{chosen} kernels, {code.partition('.')[0]}"
        gains: dict[str, float] = {}
        for _ in range(2 * len(generator.graph.layers)):
            self.plan = build_plan(generator, precision, gains, chosen)
            self.native = _native.CudaNetwork(
                library,
                device,
                image,
                self.plan.as_dict(),
                self.plan.weights,
                _ALL_MEMORY if memory is None else memory,
            )
            better = self._better_gains(gains)
            if better == gains:
                break
            gains = better
            del self.native  # or its weights would be held beside those of the next one
        else:
            raise EngineError("the values of this network fit float16 in no scale: use engine 'torch'")
        self.gains = gains
        pass_bytes = PASS_BYTES
        if memory is not None:
            pass_bytes = min(pass_bytes, (memory - len(self.plan.weights)) // _SHARE_OF_A_PASS)
        self._spare_frames = self.plan.spare_frames()
        self.max_pass_frames = max(1, pass_bytes // self.plan.bytes_per_frame() - self._spare_frames)

    def added_by(self, vector: np.ndarray | None) -> np.ndarray | None:
        """What a conditioning vector `[G]` adds to each row of the conditioned layers, one behind the other."""
        if vector is None:
            return None
        parts = []
        for layer in self.plan.conditioned:
            added = self._generator.conditioning_of(layer, vector).astype(np.float32)
            parts += [added, np.zeros(-len(added) % 8, np.float32)]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def compute(self, pieces: Iterable[SignalPiece]) -> list[Outcome]:
        """Compute pieces of different signals.

        Args:
            pieces: taken as passes come together, so that the card computes while the next ones are made.

        Returns:
            float32 `[n_i]`, the samples that became determined, or what is wrong with a piece alone: its values do not
            fit float16, or are none. Empty for mels on the card.

        Raises:
            EngineError: the card failed or has no memory left.
        """
        outcomes: list[Outcome] = []
        parts: dict[int, list[Outcome]] = {}
        under_way: deque[tuple[list[int], _native.CudaPass]] = deque()
        seconds = 0.0

        def collect() -> None:
            nonlocal seconds
            indices, begun = under_way.popleft()
            audios, largest, microseconds, _ = self.native.results(begun)
            seconds += microseconds * 1e-6
            given: list[Outcome] = audios or [_ON_CARD] * len(indices)
            for position in np.flatnonzero(~np.all(largest <= LARGEST_FLOAT16, axis=1)).tolist():
                given[position] = self._misfit(largest[position])
            if indices[0] < len(outcomes):  # a pass may begin with another part of the last piece
                parts.setdefault(indices[0], [outcomes[-1]]).append(given.pop(0))
            outcomes.extend(given)

        for taken in self._passes(pieces):
            under_way.append(([index for index, _ in taken], self._begin([part for _, part in taken])))
            if len(under_way) == _PASSES_AT_ONCE:
                collect()
        while under_way:
            collect()
        self.card_seconds = seconds
        for index, own in parts.items():
            outcomes[index] = _joined(own)
        return outcomes

    def _passes(self, pieces: Iterable[SignalPiece]) -> Iterator[list[tuple[int, SignalPiece]]]:
        """Parts of pieces for one pass after the other, with the pieces' indices."""
        taken: list[tuple[int, SignalPiece]] = []
        frames = 0
        for index, piece in enumerate(pieces):
            for part in self._parts(piece):
                more = part.mel.shape[1] + self._spare_frames
                if taken and (
                    frames + more > self.max_pass_frames or len(taken) == MAX_PASS_ITEMS or taken[-1][0] == index
                ):
                    yield taken
                    taken, frames = [], 0
                taken.append((index, part))
                frames += more
        if taken:
            yield taken

    def take_state(self) -> int:
        """Room for a stream's rows."""
        return self.native.take_state()

    def give_state(self, state: int) -> None:
        """Take back the room of a stream."""
        self.native.give_state(state)

    def _parts(self, piece: SignalPiece) -> list[SignalPiece]:
        frames, most = piece.mel.shape[1], self.max_pass_frames
        if frames <= most:
            return [piece]
        if not piece.state:
            raise EngineError(f"{frames} frames need a state to be computed in parts")
        parts, samples = [], 0
        for start in range(0, frames, most):
            stop = min(start + most, frames)
            before, finished = piece.before + start, piece.finished and stop == frames
            cut = (
                piece.mel[:, start:stop] if isinstance(piece.mel, np.ndarray) else piece.mel.part(start, stop, samples)
            )
            parts.append(SignalPiece(cut, before, finished, piece.state, piece.added))
            samples += self.native.samples_of((before, before + stop - start, finished))
        return parts

    def _misfit(self, largest: np.ndarray) -> HifiganError:
        # In the order of the network, so that the first one is the cause.
        order = np.roll(np.arange(len(largest)), 1)
        number = int(next(number for number in order if not largest[number] <= LARGEST_FLOAT16))
        value = largest[number] * self._gain_of(number)
        if number == len(largest) - 1 and not math.isfinite(value):
            return MelError("the mel holds values that are NaN, infinite or beyond float32: every value must be finite")
        return EngineError(
            f"{self._name_of(number)} has values up to {value:.6g}, beyond what "
            "float16 holds here: use engine 'torch' for this mel, or check that it is one of this model"
        )

    def _begin(self, pieces: Sequence[SignalPiece], *, with_steps: bool = False) -> _native.CudaPass:
        items = [(piece.before, piece.before + piece.mel.shape[1], piece.finished, piece.state) for piece in pieces]
        added = self._added(pieces)
        on_card = [piece.mel for piece in pieces if isinstance(piece.mel, CardMel)]
        if on_card:
            sources, places = [mel.as_source() for mel in on_card], [mel.audio for mel in on_card]
            return self.native.begin_on_card(items, sources, added, places)
        mels = [piece.mel for piece in pieces if isinstance(piece.mel, np.ndarray)]
        return self.native.begin(items, mels, added, with_steps)

    def _added(self, pieces: Sequence[SignalPiece]) -> np.ndarray:
        """What conditioning adds, float32 `[items, channels]` of each conditioned layer in turn."""
        if not self.plan.conditioned:
            return np.empty(0, np.float32)
        rows = np.stack([piece.added for piece in pieces if piece.added is not None])
        ends = np.cumsum([layer.out_channels + -layer.out_channels % 8 for layer in self.plan.conditioned])
        return np.concatenate([part.ravel() for part in np.split(rows, ends[:-1], axis=1)])

    def step_times(self, mels: Sequence[np.ndarray], rounds: int) -> list[tuple[str, float]]:
        """Tell what the kernels of a pass take by the card's clock, for whole signals.

        Args:
            mels: float32 `[M, T_i]`, for one pass.
            rounds: passes, of which each kernel's median is given.

        Returns:
            Names and microseconds, in order; copies and the rows that streams keep have names of their own.
        """
        vector = np.zeros(self._generator.graph.config.conditioning_channels) if self.plan.conditioned else None
        pieces = [SignalPiece(mel, 0, finished=True, added=self.added_by(vector)) for mel in mels]
        times = [self.native.results(self._begin(pieces, with_steps=True))[3] for _ in range(rounds)]
        return [(steps[0][0], float(np.median([us for _, us in steps]))) for steps in zip(*times, strict=True)]

    def _name_of(self, number: int) -> str:
        names = self.plan.layer_names
        return f"layer {names[number]}" if number < len(names) else "the mel"

    def _gain_of(self, number: int) -> float:
        names = self.plan.layer_names
        return self.gains.get(names[number], 1.0) if number < len(names) else 1.0

    def _better_gains(self, gains: dict[str, float]) -> dict[str, float]:
        """Gains that bring the values on fixed mels into float16's range; the same ones if they are there."""
        frames = max(self._generator.graph.least_frames, 4)
        bands = self._generator.graph.num_mels
        noise = np.random.default_rng(0).uniform(-11.5, 2.0, (bands, 2 * frames))
        mels = [np.full((bands, frames), -11.5), np.full((bands, frames), 2.0), noise]
        vector = np.zeros(self._generator.graph.config.conditioning_channels) if self.plan.conditioned else None
        pieces = [SignalPiece(mel.astype(np.float32), 0, True, added=self.added_by(vector)) for mel in mels]  # noqa: FBT003
        largest = self.native.results(self._begin(pieces))[1].max(axis=0)
        better = dict(gains)
        low, high = _COMFORTABLE
        for name, value in zip(self.plan.layer_names[:-1], largest.tolist(), strict=False):
            if not math.isfinite(value):
                better[name] = gains.get(name, 1.0) * 2.0**16
                break  # those behind it say nothing
            if value and not low <= value <= high:
                better[name] = gains.get(name, 1.0) * 2.0 ** (math.frexp(value)[1] - _CENTRE)
            if value > LARGEST_FLOAT16:
                break
        return better


def _joined(parts: Sequence[Outcome]) -> Outcome:
    audios = []
    for part in parts:
        if isinstance(part, HifiganError):
            return part
        audios.append(part)
    return np.concatenate(audios)
