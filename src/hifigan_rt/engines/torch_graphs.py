"""CUDA graphs of a module, one for each length of a row that is asked for, and what runs mels through them."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

from hifigan_rt.engines.torch_compiled import CompiledRows
from hifigan_rt.engines.torch_module import TorchGenerator
from hifigan_rt.engines.torch_rows import Layout, Place
from hifigan_rt.engines.torch_settings import own_modes

MAX_GRAPHS = 64
"""Row lengths whose graphs are kept, those used last. Each has its mel and its audio; they share all other memory."""

MAX_GRAPH_BYTES = 2 << 30
"""Memory for graphs, above which all but the newest are dropped; or an eighth of the card's, if that is less."""

Mel: TypeAlias = "np.ndarray | torch.Tensor"
"""float32 `[M, T]`, in host memory or on the card."""


class Replay(Protocol):
    """A recorded computation."""

    def replay(self) -> None:
        """Enqueue it once more, over the same memory."""


class Card:
    """A CUDA device, used in a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        """Use the device with this index."""
        self.device = device
        self._stream = torch.cuda.Stream(device)
        self._pool: object = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Enqueue behind what the caller has enqueued, and before what comes."""
        caller = torch.cuda.current_stream(self.device)
        stream = self._stream
        stream.wait_stream(caller)
        try:
            with torch.cuda.stream(stream):
                yield
        finally:
            caller.wait_stream(stream)

    @contextmanager
    def turn_of_host(self) -> Iterator[None]:
        """Enqueue for a caller whose mels and audio are in host memory."""
        with torch.cuda.stream(self._stream):
            yield

    def streams(self, count: int) -> list[Any]:
        """More streams, for what can run side by side."""
        return [torch.cuda.Stream(self.device) for _ in range(count)]

    def host_memory(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Memory that the card copies from and to by itself."""
        return torch.empty(tuple(shape), dtype=dtype, device="cpu", pin_memory=True)

    def mark(self) -> Callable[[], None]:
        """What waits until all is done that is enqueued now."""
        event = torch.cuda.Event()
        event.record()
        wait: Callable[[], None] = event.synchronize
        return wait

    def capture(self, compute: Callable[[], torch.Tensor]) -> tuple[Replay, torch.Tensor]:
        """Record a computation that has run once before, with the memory of its result.

        Other threads may compute meanwhile, on this card too.
        """
        try:
            return self._captured(compute)
        except torch.OutOfMemoryError:
            # While it records, PyTorch gives back nothing of what it keeps for later.
            torch.cuda.empty_cache()
            return self._captured(compute)

    def reserved_bytes(self) -> int:
        """Memory that PyTorch has from the card at present."""
        return int(torch.cuda.memory_reserved(self.device))

    def total_bytes(self) -> int:
        """The card's memory."""
        return int(torch.cuda.mem_get_info(self.device)[1])

    def forget_graphs(self) -> None:
        """Give back the memory of graphs that were all dropped."""
        self._pool = None
        self._stream.synchronize()
        torch.cuda.empty_cache()

    def wait(self) -> None:
        """Wait for all that is enqueued."""
        self._stream.synchronize()

    def _captured(self, compute: Callable[[], torch.Tensor]) -> tuple[Replay, torch.Tensor]:
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with _recording, _without_garbage_collection():
            with _spared_random_numbers(self.device):
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                result = compute()
            except BaseException:
                with suppress(RuntimeError):
                    graph.capture_end()
                raise
            graph.capture_end()
        # A pool lives as long as one of its graphs.
        self._pool = graph.pool()
        return graph, result


_recording = threading.Lock()
"""Held while any thread records: what it sets is the process's."""


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Keep the collector from freeing an old graph, which spoils the one that is recorded."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _spared_random_numbers(device: torch.device) -> Iterator[None]:
    """Let a capture register with another state of the random numbers than the one that other threads draw from.

    PyTorch refuses to draw from a state while a graph that may draw from it is recorded.
    """
    generator = torch.cuda.default_generators[device.index or 0]
    state = generator.graphsafe_get_state()
    generator.graphsafe_set_state(generator.clone_state())
    try:
        yield
    finally:
        generator.graphsafe_set_state(state)


@dataclass
class _Program:
    """Rows of one length: where they go in, what computes them, and the graph of that with the memory of its result."""

    mel: torch.Tensor
    mask: torch.Tensor
    """What keeps signals apart: indices of silent rows, or which frames are kept."""
    masks: Sequence[torch.Tensor]
    """The same for each level."""
    compute: Callable[[], torch.Tensor]
    recorded: tuple[Replay, torch.Tensor] | None = None
    signals: tuple[tuple[int, int], ...] = ()
    """First and last frames of those that the mask holds."""

    def run(self) -> torch.Tensor:
        """Enqueue; gives float32 `[N]` that the next run overwrites."""
        if self.recorded is None:
            return self.compute()
        graph, audio = self.recorded
        graph.replay()
        return audio


class Rows:
    """Runs lists of mels, joined in rows, each as it comes out alone. Safe to call from several threads, in turn."""

    def __init__(
        self,
        module: TorchGenerator | CompiledRows,
        layout: Layout,
        card: Card,
        settings: Callable[[], AbstractContextManager[None]],
        *,
        graphs: bool,
    ) -> None:
        """Start without a graph.

        Args:
            module: on the card.
            layout: of its generator.
            card: where it is.
            settings: under which a module computes; a recorded one needs none.
            graphs: whether to record them.
        """
        self._module = module
        self._generator = module.module if isinstance(module, CompiledRows) else module
        self._layout = layout
        self._card = card
        self._settings = settings
        self._graphs = graphs
        self._programs: OrderedDict[int, _Program] = OrderedDict()
        self._recorded_bytes = 0
        self._streams = card.streams(self._generator.branches - 1) if graphs else ()
        self._max_bytes = min(MAX_GRAPH_BYTES, card.total_bytes() // 8)
        self._lock = threading.Lock()

    @property
    def lengths(self) -> list[int]:
        """Row lengths that have graphs, the one used last at the end."""
        return list(self._programs)

    def run(self, mels: Sequence[Mel]) -> list[Mel]:
        """Compute mels.

        Args:
            mels: float32 `[M, T_i]`, NumPy arrays or tensors on the card.

        Returns:
            float32 `[N_i]` of the same kind each; arrays are parts of one that belongs to them alone.
        """
        # One row is copied in and out while the next one computes.
        enqueued: deque[Callable[[], None]] = deque()
        with self._turn(mels) as audios:
            for row in self._layout.rows([mel.shape[1] for mel in mels]):
                enqueued.append(self._enqueue(row, mels, audios))
                if len(enqueued) > 1:
                    enqueued.popleft()()
        for collect in enqueued:
            collect()
        return audios

    def submit(self, mels: Sequence[np.ndarray], borders: Sequence[bool]) -> Callable[[], list[np.ndarray]]:
        """Enqueue a few mels `[M, T_i]`, parts of larger arrays.

        Args:
            mels: float32.
            borders: see `Layout.rows`.

        Returns:
            What waits for their audio `[N_i]` and gives it.
        """
        with self._turn(mels) as audios:
            rows = self._layout.rows([mel.shape[1] for mel in mels], borders)
            enqueued = [self._enqueue(row, mels, audios) for row in rows]

        def collect() -> list[Any]:
            for one in enqueued:
                one()
            return audios

        return collect

    @contextmanager
    def _turn(self, mels: Sequence[Mel]) -> Iterator[list[Mel]]:
        """Compute alone, with memory for the audio of each mel."""
        turn = self._card.turn_of_host if all(isinstance(mel, np.ndarray) for mel in mels) else self._card.turn
        with own_modes(self._card.device.type):
            audios = [self._memory_for(mel) for mel in mels]  # the caller's, so of the caller's stream
            with self._lock, turn():
                yield audios

    def forget(self) -> None:
        """Drop all graphs and give back their memory."""
        with self._lock:
            self._forget()

    def _enqueue(self, row: Sequence[Place], mels: Sequence[Mel], audios: list[Mel]) -> Callable[[], None]:
        program = self._program(self._layout.length_of(row))
        in_host_memory = [place for place in row if isinstance(mels[place.signal], np.ndarray)]
        if in_host_memory:
            mel = self._card.host_memory(program.mel.shape[1:], torch.float32)
            for place in in_host_memory:
                mel.numpy()[:, place.start : place.end] = mels[place.signal]
            program.mel[0].copy_(mel, non_blocking=True)
        self._mask(program, row)
        for place in row:
            if isinstance(signal := mels[place.signal], torch.Tensor):
                program.mel[0, :, place.start : place.end].copy_(signal)
        audio = program.run()
        samples = self._layout.samples
        for place in row:
            if isinstance(result := audios[place.signal], torch.Tensor):
                result.copy_(audio[samples(place)])
        if not in_host_memory:
            return lambda: None
        arrived = self._card.host_memory(audio.shape, torch.float32)
        arrived.copy_(audio, non_blocking=True)
        wait = self._card.mark()

        def collect() -> None:
            wait()
            for place in in_host_memory:
                audios[place.signal] = arrived.numpy()[samples(place)]

        return collect

    def _mask(self, program: _Program, row: Sequence[Place]) -> None:
        signals = tuple(self._layout.spans(row))
        if signals == program.signals:
            return
        program.signals = signals
        by_index = program.mask.dtype != torch.bool
        mask = self._card.host_memory(program.mask.shape, program.mask.dtype)
        mask.numpy()[:] = self._layout.silent_rows(row) if by_index else self._layout.kept_frames(row)
        program.mask.copy_(mask, non_blocking=True)
        if not by_index:
            for of_level, kept in zip(program.masks, self._generator.kept_rows(program.mask), strict=True):
                of_level.copy_(kept)

    def _memory_for(self, mel: Mel) -> Mel:
        """Where the audio of a mel on the card goes; that of a mel in host memory stays where it arrives."""
        if isinstance(mel, np.ndarray):
            return np.empty(0, np.float32)
        whole = self._layout.samples(Place(0, 0, mel.shape[1]))
        return torch.empty(whole.stop, dtype=torch.float32, device=mel.device)

    def _program(self, frames: int) -> _Program:
        program = self._programs.get(frames)
        if program is not None:
            self._programs.move_to_end(frames)
            return program
        program = self._new_program(frames)
        # One long mel would hold on to the memory that it needs once.
        if self._is_recorded(frames):
            if len(self._programs) == MAX_GRAPHS:
                self._card.wait()
                self._programs.popitem(last=False)
            self._record(program)
            if self._recorded_bytes > self._max_bytes and self._programs:
                program.recorded = None
                self._forget()
                self._record(program)
            self._programs[frames] = program
        return program

    def _is_recorded(self, frames: int) -> bool:
        return self._graphs and frames <= self._layout.row_frames(self._layout.max_frames)

    def _record(self, program: _Program) -> None:
        # Handles, plans and kernels are made by a first run, which a recording one must not.
        program.compute()
        before = self._card.reserved_bytes()
        program.recorded = self._card.capture(program.compute)
        self._recorded_bytes += self._card.reserved_bytes() - before

    def _forget(self) -> None:
        self._programs.clear()
        self._recorded_bytes = 0
        self._card.forget_graphs()

    def _new_program(self, frames: int) -> _Program:
        module, device = self._module, self._card.device
        mel = torch.zeros((1, self._layout.num_mels, frames), dtype=torch.float32, device=device)
        if isinstance(module, CompiledRows):
            mask = torch.ones(frames, dtype=torch.bool, device=device)
            masks = [kept.clone() for kept in self._generator.kept_rows(mask)]
        else:
            counts = self._layout.silent_counts(frames)
            mask = torch.zeros(sum(counts), dtype=torch.int64, device=device)
            masks = list(mask.split(counts))
        streams = self._streams if self._is_recorded(frames) else ()
        return _Program(mel, mask, masks, self._set(lambda: module(mel, masks, streams)[0]))

    def _set(self, compute: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        def under_settings() -> torch.Tensor:
            with self._settings():
                return compute()

        return under_settings
