"""The architecture of the flow in front of a voice's decoder."""

from __future__ import annotations

from dataclasses import dataclass

from hifigan_rt.config.ranges import MAX_CHANNELS, MAX_DILATION, MAX_KERNEL_SIZE, MAX_LAYERS, MAX_ROWS, check_range
from hifigan_rt.errors import ConfigError


@dataclass(frozen=True)
class FlowConfig:
    """The residual coupling flow of VITS (models.py: ResidualCouplingBlock), as it is run for speech: backwards.

    Each coupling shifts one half of the latent's channels by what a WaveNet makes of the other half.

    Raises:
        ConfigError: a value is out of range; the text names field, value and rule.
    """

    channels: int
    """Channels within a coupling (VITS: hidden_channels, 192)."""
    couplings: int = 4
    layers: int = 4
    """Gated layers of each coupling."""
    kernel_size: int = 5
    """Kernel of the gated layers."""
    dilation_rate: int = 1
    """Layer i of a coupling has a dilation of `dilation_rate ** i`."""
    is_conditioned: bool = False
    """Whether a convolution of the conditioning vector is added within each gated layer."""

    def __post_init__(self) -> None:
        check_range("flow.channels", self.channels, 1, MAX_CHANNELS)
        check_range("flow.couplings", self.couplings, 1, MAX_LAYERS)
        check_range("flow.layers", self.layers, 1, MAX_LAYERS)
        check_range("flow.couplings * flow.layers", self.couplings * self.layers, 1, MAX_LAYERS)
        check_range("flow.kernel_size", self.kernel_size, 1, MAX_KERNEL_SIZE)
        check_range("flow.dilation_rate", self.dilation_rate, 1, MAX_DILATION)
        if self.dilation_rate > 1:  # more would make numbers that no text can hold
            check_range("flow.layers", self.layers, 1, MAX_DILATION.bit_length())
        check_range(f"the dilation of flow.layers={self.layers}", self.dilations[-1], 1, MAX_DILATION)
        if self.kernel_size % 2 == 0:
            raise ConfigError(f"flow.kernel_size={self.kernel_size} cannot keep the length: it must be odd")
        rows = self.couplings * sum(self.dilations) * (self.kernel_size - 1)
        check_range("the rows that flow.couplings * flow.layers reach over", rows, 0, MAX_ROWS)

    @property
    def dilations(self) -> tuple[int, ...]:
        """The dilation of each layer of a coupling."""
        return tuple(self.dilation_rate**i for i in range(self.layers))
