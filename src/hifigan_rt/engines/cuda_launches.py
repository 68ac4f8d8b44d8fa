"""What the planner of engine `cuda` hands to the C++ core: values, layers and launches as plain numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from hifigan_rt.graph import Layer


@dataclass
class PlannedValue:
    """A value as the kernels have it; see `Value` of native/cuda/launch.h."""

    chunks: int
    planes: int
    rate: int
    lag: int
    surplus: int
    slope: float = 1.0
    gain: float = 1.0
    kept: int = 0
    saved: int = 0
    buffer: int = 0


@dataclass
class PlannedBranch:
    """One layer, or a residual unit's two; see `Branch` of native/cuda/launch.h."""

    inputs: list[int]
    output: int
    residual: int
    taps: int
    dilation: int
    left: int
    padding: int
    stride: int
    shift: int
    slope: float
    scale: float
    gain: float
    columns: int
    layer: int
    taps_at_once: int = 0
    places: int = 1
    weights: int = 0
    biases: int = 0
    added: int = 0
    second_taps: int = 1
    second_left: int = 0
    second_slope: float = 1.0
    second_scale: float = 1.0
    second_gain: float = 1.0


@dataclass
class PlannedLaunch:
    """Layers that one launch computes."""

    kernel: str
    threads: int
    columns: int
    shared_bytes: int
    positions: list[int] = field(default_factory=list)
    branches: list[PlannedBranch] = field(default_factory=list)
    carried: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class CardPlan:
    """A generator's plan with its weights."""

    values: list[PlannedValue]
    launches: list[PlannedLaunch]
    weights: bytes
    state_bytes: int
    """Bytes of a stream's state."""
    buffers: int
    mel: int
    audio: int
    ending: int
    bands: int
    means: int
    scales: int
    conditioned: list[Layer]
    """Layers that a conditioning vector adds to, in the order of their channels."""
    added_channels: int
    layer_names: list[str]
    """Names of the layers, by their numbers."""

    def as_dict(self) -> dict[str, Any]:
        """What the C++ core takes."""
        own = ("state_bytes", "buffers", "mel", "audio", "ending", "bands", "means", "scales", "added_channels")
        return {
            "values": [asdict(value) for value in self.values],
            "launches": [asdict(launch) for launch in self.launches],
            **{name: getattr(self, name) for name in own},
        }

    def names_of(self, launch: PlannedLaunch, branch: PlannedBranch) -> list[str]:
        """Layers that a branch computes: two of a residual unit."""
        first = branch.layer - 1 if launch.kernel.startswith("unit_") else branch.layer
        return self.layer_names[first : branch.layer + 1]

    def bytes_per_frame(self) -> int:
        """Working memory for each frame of a pass."""
        sizes = [0] * self.buffers
        for value in self.values:
            sizes[value.buffer] = max(sizes[value.buffer], value.planes * value.chunks * value.rate * 16)
        return sum(sizes)

    def spare_frames(self) -> int:
        """Frames whose working memory an item takes beyond its own: the rows that come out when its signal ends."""
        return max(-(-max(0, value.lag + value.surplus) // value.rate) for value in self.values)
