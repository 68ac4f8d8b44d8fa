"""What a converted file says about itself, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.config import ModelConfig
from hifigan_rt.formats.graph_value import GraphValue
from hifigan_rt.formats.mel_layout import MelAxes, split_inputs


@dataclass(frozen=True, kw_only=True)
class ConvertedInfo:
    """Facts that ONNX files and OpenVINO IRs have in common."""

    path: Path
    size_bytes: int
    """Size of all files of the model but ONNX's external data."""
    inputs: tuple[GraphValue, ...]
    """Inputs that must be fed: not those of an ONNX file that have an initializer."""
    outputs: tuple[GraphValue, ...]
    metadata: Mapping[str, str]
    config: ModelConfig | None
    """The config in the metadata that our exports have, also in an IR that was made of an ONNX file of ours; None
    without."""
    is_ours: bool
    """Whether this package wrote the file, and so whether the config is certainly its own: other programs hand metadata
    on, and may write such an entry."""
    num_mels: int | None
    """None if neither the metadata, nor the first convolution, nor the input's shape tells."""
    mel_layouts: tuple[MelAxes, ...]
    """What the dimensions of the input may be, the likeliest first; empty unless there is exactly one input, of rank 2
    to 4, and at most a conditioning vector or speakers beside it."""
    precision: str
    """Dtype of most weights, by their number; what a device executes is another matter."""

    @property
    def fixed_sizes(self) -> dict[str, int]:
        """The only frames and batch that the graph takes, under these names; without what it leaves open."""
        if not self.mel_layouts:
            return {}
        (mel,), _ = split_inputs(self.inputs, self.config)
        sizes = dict(zip(self.mel_layouts[0], mel.shape or (), strict=True))
        named = {"frames": sizes["T"], "batch": sizes.get("B")}
        return {name: size for name, size in named.items() if size is not None}
