"""The engine on NVIDIA's cards: our own kernels through the card's driver, without PyTorch or any other package."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from typing import Any, cast

import numpy as np

from hifigan_rt.engines.base import Engine, EngineInfo, EngineOptions
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.cuda_arrays import CardMel, card_mels
from hifigan_rt.engines.cuda_launches import CardPlan
from hifigan_rt.engines.cuda_network import CardNetwork, SignalPiece
from hifigan_rt.engines.cuda_streams import CardStream, push_together
from hifigan_rt.engines.streams import STREAM_SEGMENT_FRAMES, EngineStream, Outcome
from hifigan_rt.errors import EngineError, HifiganError
from hifigan_rt.graph import Generator, Graph
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.kinds import Weights

_JOINED_STREAMS = 256
_JOINED_FRAMES = 4096
"""Streams and frames that the server advances together: 16 frames each, some ms on a large card."""
_WHOLE_SEGMENT_FRAMES = 256

_MOST_GIB = 1 << 20

_CAVEAT = "of an engine tested on an imitated card only"

_SHOWN_PRECISION = {"float32": "float32 (float16x2)", "float16": "float16"}


class CudaEngine(Engine):
    """A generator on a card."""

    joined_streams = _JOINED_STREAMS
    joined_frames = _JOINED_FRAMES

    def __init__(self, network: CardNetwork, generator: Generator, device: int, info: EngineInfo) -> None:
        super().__init__()
        self._device = device
        self._network: CardNetwork | None = network
        self._graph = generator.graph
        self.conditioning = ConditioningRule.of_generator(generator)
        # A stream of any segments gives the bits of a whole signal; these are what a turn of the server may take.
        self.offline_segment_frames = _WHOLE_SEGMENT_FRAMES
        self.info = info

    def stream(
        self,
        segment_frames: int = STREAM_SEGMENT_FRAMES,
        graph: Graph | None = None,  # noqa: ARG002 - it is the engine's own
        conditioning: np.ndarray | None = None,
    ) -> EngineStream:
        """Open a stream whose state is on the card: in sum the bits of the whole signal.

        Raises:
            EngineError: the engine is closed, segment_frames is out of range, the card has no memory left, or
                `ConditioningRule.check` refuses what is given.
        """
        network = self._open()
        given = self.conditioning.check_one(conditioning)
        return CardStream(network, self._graph, segment_frames, None if given is None else given[0])

    def advance(
        self, streams: Sequence[EngineStream], mels: Sequence[CheckedMel], ending: Collection[int] = ()
    ) -> Sequence[Outcome]:
        self.check_open()
        return push_together(cast("Sequence[CardStream]", streams), mels, ending)

    @property
    def card_seconds(self) -> float:
        """Seconds of the last call by the card's clock, copies included."""
        return self._open().card_seconds

    @property
    def plan(self) -> CardPlan:
        """Which kernels compute which layers."""
        return self._open().plan

    def step_times(self, mels: Sequence[np.ndarray], rounds: int = 20) -> list[tuple[str, float]]:
        """See `CardNetwork.step_times`."""
        return self._open().step_times(mels, rounds)

    def _run(self, mel: CheckedMel, conditioning: np.ndarray | None = None) -> np.ndarray:
        return np.stack(self._run_many([CheckedMel(item) for item in mel], conditioning))

    def _run_many(self, mels: Sequence[CheckedMel], conditioning: np.ndarray | None = None) -> list[np.ndarray]:
        return _audios(self._compute(mels, conditioning))

    def run_on_device(
        self, mels: Sequence[object], *, listed: bool, conditioning: np.ndarray | None = None
    ) -> list[Any]:
        network = self._open()
        arrays, items = [], []
        for index, mel in enumerate(mels):
            try:
                taken, audio = card_mels(mel, network.native, self._device, self._graph, single=listed)
            except HifiganError as error:
                raise type(error)(f"item {index} of the list: {error}" if listed else str(error)) from error
            arrays.append(audio)
            items += taken
        _audios(self._compute(items, self.conditioning.check(conditioning, len(items))))
        return arrays

    def _compute(self, mels: Sequence[np.ndarray | CardMel], conditioning: np.ndarray | None) -> list[Outcome]:
        network = self._open()
        rooms: dict[int, int] = {}
        try:
            pieces = []
            for index, mel in enumerate(mels):
                if mel.shape[1] > network.max_pass_frames:
                    rooms[index] = network.take_state()
                added = network.added_by(None if conditioning is None else conditioning[index])
                pieces.append(SignalPiece(mel, 0, finished=True, state=rooms.get(index, 0), added=added))
            return network.compute(pieces)
        finally:
            for room in rooms.values():
                network.give_state(room)

    def _open(self) -> CardNetwork:
        network = self._network
        self.check_open()
        if network is None:
            raise self.closed_error()
        return network

    def _close(self) -> None:
        self._network = None


def _audios(outcomes: Sequence[Outcome]) -> list[np.ndarray]:
    audios = []
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, HifiganError):
            raise outcome if len(outcomes) == 1 else type(outcome)(f"item {index} of {len(outcomes)}: {outcome}")
        audios.append(outcome)
    return audios


def _memory(given: object) -> int | None:
    """Bytes of the setting `memory`, in GiB."""
    if given is None:
        return None
    try:
        gib = float(cast("str", given))
    except (TypeError, ValueError):
        gib = math.nan
    if not 0 < gib < _MOST_GIB:
        raise EngineError(
            f"memory={given!r} is no number of GiB above 0: memory=4 lets the model take 4 GiB of the card"
        )
    return int(gib * (1 << 30))


def create(model: Weights, options: EngineOptions) -> CudaEngine:
    """Load a model into a card.

    Raises:
        EngineUnavailable: no driver, card or kernels, or a card that is too old or in use.
        EngineError: the device is no name of one, the setting `memory` no number or too little, or the network has what
            no kernel covers.
    """
    device = options.device or "cuda:0"
    named = re.fullmatch(r"cuda(?::(\d{1,4}))?", device)
    if named is None:
        raise EngineError(f"device={device!r} is no card of engine 'cuda': name cuda:0, cuda:1 and so on")
    index = int(named[1] or 0)
    network = CardNetwork(model.generator, options.precision, index, _memory(options.settings.get("memory")))
    info = EngineInfo(
        "cuda",
        network.driver_version,
        _SHOWN_PRECISION[options.precision],
        options.thread_count,
        f"cuda:{index} ({network.card})",
        network.kernels,
        _CAVEAT,
    )
    return CudaEngine(network, model.generator, index, info)
