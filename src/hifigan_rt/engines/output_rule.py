"""What a converted file is held to: the samples that its config promises, and what audio can be.

A config says nothing of the graph that it lies beside; only the samples do. So each run is checked, before anything is
made of it: a stream, a segment, a file or a response.

- As many samples as `Graph.output_length` gives, for each length that is run: a graph may be right for one and pad or
  crop another.
- Finite numbers.
- Samples between -1 and 1. A network that ends without tanh may go beyond now and then: such samples are returned as
  they are, and clipped and counted where integers are written, as those of every engine. No audio is 24 dB beyond, nor
  beyond in a quarter of its samples: that is another scale, 32768 for example.

A file of others is run once when it is loaded, so that this is told before any work is done; that also finds samples
that are scaled to nothing, and weights that are zeros. Before its first stream it is run cut in two, since another
network may give as many samples and look further than its config says: what a stream joins would not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hifigan_rt.errors import EngineError, OutputMismatch
from hifigan_rt.formats.graph_value import GraphValue
from hifigan_rt.formats.mel_layout import MelAxes
from hifigan_rt.graph import Graph
from hifigan_rt.mel.analysis import random_mel
from hifigan_rt.mel.check import CheckedMel

if TYPE_CHECKING:
    from hifigan_rt.engines.base import Engine

LARGEST_PEAK = 16.0
"""A V1 without its tanh stays below 8 where a mel is loud in all bands, far below on speech."""

LARGEST_SHARE_BEYOND = 0.25

SMALLEST_PEAK = 2.0**-15
"""One step of 16 bits, for a mel that is no silence."""

TRIAL_FRAMES = 17
"""A prime number, so that another hop length and padded frames are told apart."""

SMALLEST_JOIN_SNR_DB = 20.0
"""Below it the joins of a stream can be heard. Graphs of 8 bits, which scale each run by its own range, stay above."""

_INTEGER_SCALE = 32768.0


@dataclass(frozen=True)
class OutputRule:
    """The rule for one file."""

    source: str
    """The file, for texts."""
    graph: Graph | None
    """The layers by the file's config; None leaves the number of samples open."""

    def check_declared(self, mel: GraphValue, axes: MelAxes, output: GraphValue) -> None:
        """Check the shapes that the file declares, where it has one length.

        Raises:
            OutputMismatch: the samples are not those of the frames.
        """
        frames = None if mel.shape is None else mel.shape[axes.index("T")]
        if frames is None or output.shape is None or None in output.shape:
            return
        fixed_batch = mel.shape[axes.index("B")] if mel.shape is not None and "B" in axes else 1
        samples = int(np.prod([size for size in output.shape if size is not None]))
        if fixed_batch is not None and samples % fixed_batch == 0:
            self._check_length(samples // fixed_batch, frames)

    def check(self, audio: np.ndarray, frames: int) -> None:
        """Check what a run gave.

        Args:
            audio: float32 `[B, N]`.
            frames: T of the mel.

        Raises:
            OutputMismatch: it is not what the config promises, or no audio.
        """
        self._check_length(audio.shape[1], frames)
        if audio.size == 0:
            return
        peak = float(max(audio.max(), -audio.min()))
        if not np.isfinite(peak):
            raise OutputMismatch(
                f"{self.source} gave samples that are not finite (NaN or infinity) for a mel of {frames} frames: does "
                "its precision, float16 for example, hold what the network computes?"
            )
        if peak <= 1:
            return
        share = float(np.count_nonzero(np.abs(audio) > 1)) / audio.size
        if peak > LARGEST_PEAK or share > LARGEST_SHARE_BEYOND:
            raise OutputMismatch(
                f"{self.source} gave samples up to {peak:.6g}, {100 * share:.0f} % of them beyond 1, and audio is from "
                f"-1 to 1: {_explain(peak)}"
            )

    def _check_length(self, samples: int, frames: int) -> None:
        if self.graph is None:
            return
        expected = self.graph.output_length(frames)
        if samples != expected:
            raise OutputMismatch(
                f"{self.source} gives {samples} samples for a mel of {frames} frames, its config says {expected} (hop "
                f"length {self.graph.hop_length}): {_explain_length(samples - expected, frames, self.graph)}"
            )


def try_out(engine: Engine, source: str, num_mels: int) -> None:
    """Run a foreign file once, so that what is wrong with it is told before it is used. Closes the engine if so.

    The order of a mel's dimensions, where the file's shapes leave it open, is the first in which it runs.

    Args:
        engine: holds the file, and its rule.
        source: the file, for texts.
        num_mels: M of its mels.

    Raises:
        OutputMismatch: see `OutputRule.check`; or the samples are inaudible, for a mel that is no silence.
    """
    audio: np.ndarray | None = None
    while audio is None:
        try:
            audio = engine.run(CheckedMel(random_mel((1, num_mels, TRIAL_FRAMES))), engine.conditioning.example(1))
        except OutputMismatch:
            engine.close()
            raise
        except EngineError:
            if not engine.turn_layout():
                return  # a graph of one length or batch: its first run tells
    peak = float(np.abs(audio).max(initial=0))
    if peak == 0:
        engine.close()
        raise OutputMismatch(
            f"{source} gave zeros alone for a mel that is no silence: are its weights zeros, as where a copy or "
            "download ended early and the rest was never written? Copy it again"
        )
    if peak < SMALLEST_PEAK:
        engine.close()
        raise OutputMismatch(
            f"{source} gave samples up to {peak:.2g} only, for a mel that is no silence: 16 bits hold nothing of that; "
            "does the graph divide its audio by 32768, where it is from -1 to 1 already?"
        )


def check_reach(engine: Engine, source: str, graph: Graph) -> None:
    """Check that no sample of a foreign file depends on frames further away than its layers say.

    A mel is run whole, and each half of it: the samples that the other half cannot change must be the same.

    Raises:
        OutputMismatch: they are not.
        EngineError: the engine cannot run these lengths.
    """
    field = graph.receptive_field
    half = field.left_frames + field.right_frames + TRIAL_FRAMES
    mel = random_mel((1, graph.num_mels, 2 * half))
    beside = engine.conditioning.example(1)
    whole = engine.run(CheckedMel(mel), beside)[0]
    end, start = half * graph.hop_length, (half - 1) * graph.hop_length
    before = slice(0, max(0, end + field.first_sample))
    after = slice(start + field.last_sample + 1, None)
    first = engine.run(CheckedMel(np.ascontiguousarray(mel[:, :, :half])), beside)[0]
    second = engine.run(CheckedMel(np.ascontiguousarray(mel[:, :, half:])), beside)[0]
    parts = np.concatenate([first[before], second[after.start - end :]])
    expected = np.concatenate([whole[before], whole[after]])
    error = float(np.sum((parts - expected) ** 2, dtype=np.float64))
    power = float(np.sum(expected**2, dtype=np.float64))
    if error > power * 10 ** (-SMALLEST_JOIN_SNR_DB / 10):
        raise OutputMismatch(
            f"{source} cannot be computed in segments or streams: its samples depend on frames further away than the "
            f"{field.left_frames} before and {field.right_frames} after that its config says: give the config.json of "
            "this model (--config), or compute mels whole"
        )


def _explain(peak: float) -> str:
    if _INTEGER_SCALE / 256 < peak <= 1.1 * _INTEGER_SCALE:
        return (
            "the model gives samples scaled by 32768: divide by that in the graph, or export it without its conversion "
            "to integers"
        )
    return "export the model with its last layer (tanh) and without a gain behind it"


def _explain_length(surplus: int, frames: int, graph: Graph) -> str:
    """What one run leaves possible; the first of these for a trial, whose frames are a prime number."""
    hop, what = graph.hop_length, []
    if surplus % frames == 0 and surplus + frames * hop > 0:
        what.append(f"that is {hop + surplus // frames} samples a frame: give the config.json of this model (--config)")
    if surplus % hop == 0:
        done = "more: export the network without padding its mel" if surplus > 0 else "less: export it without cropping"
        what.append(f"that is as for {abs(surplus) // hop} frames {done}")
    return (
        "; or ".join(what) or "give the right config with --config, or export the network without padding or cropping"
    )
