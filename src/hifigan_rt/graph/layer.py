"""One layer of the network as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MEL = "mel"
"""Name of the value that the first layer reads."""


@dataclass(frozen=True)
class LeakyRelu:
    """The activation `x` where x is positive, `slope * x` elsewhere."""

    slope: float


Activation = LeakyRelu | None
"""An activation as a value; None is none."""

LayerKind = Literal["conv", "conv_transpose"]
PaddingMode = Literal["zeros", "reflect", "replicate"]


@dataclass(frozen=True)
class Layer:
    """A convolution of stride 1, or a transposed one."""

    name: str
    """The original's parameter name, for example "resblocks.3.convs1.2"; also the name of the layer's value."""
    kind: LayerKind
    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    """Output rows per input row of a transposed convolution; 1 for a convolution."""
    dilation: int
    """Input rows from tap to tap of a convolution; 1 for a transposed one."""
    padding: tuple[int, int]
    """Rows at the left and right end: added by a convolution, cut off by a transposed one."""
    activation: Activation
    """What the input passes first."""
    bias: bool
    """Whether the layer has one."""
    inputs: tuple[str, ...]
    """Names of the values it reads: their mean, if they are several."""
    residual: str | None
    """Name of the value that is added to its result."""
    padding_mode: PaddingMode = "zeros"
    """What is beyond the ends of the input: for a transposed convolution "replicate" means that the row before the
    first one is the first one again, whose part of the result counts as well."""
    conditioning: str | None = None
    """Name of a 1x1 convolution of the conditioning vector `[G]`, which is added to every row of its result."""
    is_gated: bool = False
    """Whether the layer's value is tanh of the first half of its result's channels times the sigmoid of the other."""
    is_joining: bool = False
    """Whether it reads the channels of its inputs one input behind the other, in place of their mean."""

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        """`[C_out, C_in, K]` of a convolution, `[C_in, C_out, K]` of a transposed one."""
        if self.kind == "conv":
            return (self.out_channels, self.in_channels, self.kernel_size)
        return (self.in_channels, self.out_channels, self.kernel_size)

    @property
    def span(self) -> int:
        """Rows from a kernel's first tap to its last."""
        return self.dilation * (self.kernel_size - 1)

    def output_length(self, length: int) -> int:
        """Rows that so many input rows give."""
        if self.kind == "conv":
            return length + sum(self.padding) - self.span
        # One more than length * stride when kernel_size - stride is odd, as the original has it.
        return (length - 1) * self.stride + self.kernel_size - sum(self.padding)

    def reach(self, low: int, high: int) -> tuple[int, int]:
        """First and last output row that input rows low to high can change."""
        left, _ = self.padding
        if self.kind == "conv":
            return low + left - self.span, high + left
        # Rows that were cut off behind the end before this one came are new with it.
        first = min(low * self.stride - left, self.output_length(low))
        return first, high * self.stride - left + self.span


def same_length(
    name: str,
    in_channels: int,
    out_channels: int,
    inputs: tuple[str, ...],
    kernel: int = 1,
    dilation: int = 1,
    activation: Activation = None,
    *,
    residual: str | None = None,
    conditioning: str | None = None,
    is_gated: bool = False,
) -> Layer:
    """Make a convolution with a bias that keeps the length; arguments are the layer's fields."""
    padding = (kernel - 1) * dilation // 2
    return Layer(
        name,
        "conv",
        in_channels,
        out_channels,
        kernel,
        stride=1,
        dilation=dilation,
        padding=(padding, padding),
        activation=activation,
        bias=True,
        inputs=inputs,
        residual=residual,
        conditioning=conditioning,
        is_gated=is_gated,
    )
