"""What is said of batches by their sizes alone, before an engine computes them."""

from __future__ import annotations

from collections.abc import Sequence

from hifigan_rt.engines.base import Engine
from hifigan_rt.errors import MelError, PaddedTailWarning
from hifigan_rt.graph import Graph
from hifigan_rt.system.callers import warn_caller
from hifigan_rt.system.machine import physical_memory


def check_sizes(sizes: Sequence[tuple[int, int]], engine: Engine, graph: Graph | None) -> None:
    """Refuse audio that cannot fit into memory, and warn of ends that will not be exact.

    Args:
        sizes: items and frames of each batch.
        engine: that will compute them.
        graph: the generator's layers; None if they are not known.

    Raises:
        MelError: the audio is larger than the machine's memory.

    Warns:
        PaddedTailWarning: see `Engine.describe_inexact_tail`.
    """
    memory = physical_memory()
    if memory is not None and graph is not None:
        size = sum(4 * items * graph.output_length(frames) for items, frames in sizes)
        if size > memory:
            total = sum(items * frames for items, frames in sizes)
            raise MelError(
                f"mels of {total} frames in all give {size / 1e9:.1f} GB of audio, and this machine has "
                f"{memory / 1e9:.1f} GB of memory: split them, or use a stream"
            )
    for frames in sorted({frames for _, frames in sizes}):
        tail = engine.describe_inexact_tail(frames)
        if tail is not None:
            warn_caller(tail, PaddedTailWarning)
