"""Lays the layers of a voice's flow out, from its config."""

from __future__ import annotations

from collections.abc import Iterator

from hifigan_rt.config import FlowConfig
from hifigan_rt.graph.layer import MEL, Layer, same_length

HALVES = (f"{MEL}.0", f"{MEL}.1")
"""Names of the two halves of the input's channels, where the graph has a flow."""


def flow_layers(flow: FlowConfig, channels: int) -> Iterator[Layer]:
    """Lay out the layers in front of the decoder; `halves_behind` names the values that it reads of them.

    The original's layers are folded where one convolution of one row follows another, which costs a tenth less: what
    its `post` makes of the skip output of layer i is `shifts.i`, with the sign of what is added; and `pre`, `shifts`
    and the first layer of the decoder have their channels in an order in which no flip of channels is left.

    Args:
        flow: its config.
        channels: of the latent, even.
    """
    half, inner = channels // 2, flow.channels
    halves = list(HALVES)
    for c in range(flow.couplings):
        # The original flips all channels before each coupling, whose first half is read and whose second is shifted.
        shifted = c % 2
        x = f"flow.{c}.pre"
        yield same_length(x, half, inner, (halves[1 - shifted],))
        for i, dilation in enumerate(flow.dilations):
            gate = f"flow.{c}.gates.{i}"
            yield same_length(
                gate,
                inner,
                2 * inner,
                (x,),
                flow.kernel_size,
                dilation,
                conditioning=f"flow.{c}.conds.{i}" if flow.is_conditioned else None,
                is_gated=True,
            )
            if i + 1 < flow.layers:
                y = f"flow.{c}.residuals.{i}"
                yield same_length(y, inner, inner, (gate,), residual=x)
                x = y
            shift = f"flow.{c}.shifts.{i}"
            yield same_length(shift, inner, half, (gate,), residual=halves[shifted])
            halves[shifted] = shift


def halves_behind(flow: FlowConfig) -> tuple[str, str]:
    """Names of the two halves as the flow leaves them."""
    names = list(HALVES)
    for c in range(flow.couplings):
        names[c % 2] = f"flow.{c}.shifts.{flow.layers - 1}"
    return names[0], names[1]
