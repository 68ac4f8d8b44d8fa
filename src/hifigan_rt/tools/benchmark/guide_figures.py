"""The frame rates that the vendor's guide publishes for Ascend 310P3, and the network that they belong to.

Rule: a published figure stands beside what it would mean for V1, which the guide converts, and for V2, whose it is.

Source: Ascend/ModelZoo-PyTorch, ACL_PyTorch/built-in/audio/HiFiGAN_for_PyTorch/README.md. Commit 1a136bb6 has the
table beside commands for generator_v1. A later edition (commit 291a976e of xiaobingling93-pixel's mirror of it) has
commands for generator_v2, a 300I Pro, which is one such chip, and figures 4 to 10 % lower: 339.62 at 1 x 250 to 139.74
at 8 x 1000. A table of 2022-10, of a model of three dimensions, had 94.53 at 1 x 250.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hifigan_rt.config import PRESETS
from hifigan_rt.graph import build_graph
from hifigan_rt.tools.benchmark.device_peak import FLOAT16_PEAK_310P, Achieved, is_ascend
from hifigan_rt.tools.benchmark.results import BenchmarkResult

CLIPS_PER_SECOND: Mapping[tuple[int, int], float] = {
    (1, 250): 378.34, (1, 500): 258.93, (1, 750): 169.48, (1, 1000): 128.59,
    (8, 250): 682.95, (8, 500): 327.07, (8, 750): 208.93, (8, 1000): 151.88,
}  # fmt: skip
"""The guide's fps on one 310P3, by batch and mel_len."""

NETWORKS = ("v1", "v2")


@dataclass(frozen=True)
class GuideRow:
    """One figure of the guide, as if it were of one network."""

    network: str
    batch: int
    mel_len: int
    clips_per_second: float
    reached: Achieved


def published_rows(result: BenchmarkResult) -> Iterator[GuideRow]:
    """The guide's figures at the sizes at which an Ascend device was measured, each as V1's and as V2's."""
    measured = {
        (case.batch, case.mel_len) for case in result.cases if any(is_ascend(entry) for entry in case.measurements)
    }
    work = {name: 2e-12 * build_graph(PRESETS[name].generator).macs_per_frame for name in NETWORKS}
    for (batch, mel_len), fps in CLIPS_PER_SECOND.items():
        if (batch, mel_len) in measured:
            for name in NETWORKS:
                reached = Achieved(fps * mel_len * work[name], FLOAT16_PEAK_310P)
                yield GuideRow(name.upper(), batch, mel_len, fps, reached)
