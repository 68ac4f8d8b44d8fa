"""Brings the flow of a voice to the form of `hifigan_rt.graph`: fewer convolutions, and no flips of channels.

The original is VITS (jaywalnut310/vits, models.py: ResidualCouplingBlock, modules.py: ResidualCouplingLayer and WN).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hifigan_rt.config import FlowConfig
from hifigan_rt.errors import ConfigError

Affine = tuple[np.ndarray, np.ndarray]
"""Weights and bias `[C_out]` of a convolution."""


@dataclass(frozen=True)
class CouplingLayer:
    """One layer of a coupling's WaveNet; C is the coupling's channels, and the shapes are weights'."""

    gate: Affine
    """`[2 C, C, K]`: tanh of its first half times the sigmoid of the other goes on."""
    dilation: int
    conditioning: Affine | None
    """`[2 C, G, 1]`, of the vector that is added before."""
    residual: Affine | None
    """`[C, C, 1]`, to what the next layer reads; the last layer has none."""
    skip: Affine
    """`[C, C, 1]`, to the sum over all layers."""


@dataclass(frozen=True)
class Coupling:
    """A coupling as files have it: the second half of its input less `post` of what it makes of the first half."""

    read: np.ndarray
    """Which channels of the latent its first half is, integers `[C / 2]`, in order."""
    shifted: np.ndarray
    """Which its second half is."""
    pre: Affine
    """`[C_inner, C / 2, 1]`"""
    layers: Sequence[CouplingLayer]
    post: Affine
    """`[C / 2, C_inner, 1]`"""


class UnknownFlow(Exception):
    """What makes a flow another than the one that is computed; never leaves the readers of voices."""


def fold_flow(couplings: Sequence[Coupling]) -> tuple[FlowConfig, dict[str, np.ndarray]]:
    """Make config and weights of couplings, in the order in which they are computed for speech.

    Returns:
        The config; and the weights by the names of `hifigan_rt.graph`, computed in float64 and rounded once to the
        type of the parameters, or to float32 if that is smaller.

    Raises:
        UnknownFlow: the couplings differ in their sizes, or do not shift the halves in turn.
    """
    first = couplings[0]
    _, inner, kernel = first.layers[0].gate[0].shape
    half = len(first.read)
    dilations = [layer.dilation for layer in first.layers]
    try:
        config = FlowConfig(
            channels=inner,
            couplings=len(couplings),
            layers=len(dilations),
            kernel_size=kernel,
            dilation_rate=dilations[1] if len(dilations) > 1 else 1,
            is_conditioned=first.layers[0].conditioning is not None,
        )
    except ConfigError as error:
        raise UnknownFlow(str(error)) from error
    if any(tuple(layer.dilation for layer in coupling.layers) != config.dilations for coupling in couplings):
        raise UnknownFlow(f"its dilations are not {list(config.dilations)} in each coupling")
    weights: dict[str, np.ndarray] = {}
    for c, coupling in enumerate(couplings):
        offset = half * (c % 2)
        shifted, read = coupling.shifted - offset, coupling.read - (half - offset)
        if any(sorted(channels) != list(range(half)) for channels in (shifted, read)):
            raise UnknownFlow(f"its coupling {c} does not shift the {('first', 'second')[c % 2]} half of the channels")
        for name, (weight, bias) in _folded(coupling, read, shifted):
            weights[f"flow.{c}.{name}.weight"] = weight
            weights[f"flow.{c}.{name}.bias"] = bias
    return config, weights


def _folded(coupling: Coupling, read: np.ndarray, shifted: np.ndarray) -> list[tuple[str, Affine]]:
    weight, bias = coupling.pre
    named = [("pre", (weight[:, np.argsort(read)], bias))]
    order = np.argsort(shifted)
    post, post_bias = (array[order].astype(np.float64) for array in coupling.post)
    for i, layer in enumerate(coupling.layers):
        named.append((f"gates.{i}", layer.gate))
        if layer.conditioning is not None:
            named.append((f"conds.{i}", layer.conditioning))
        if layer.residual is not None:
            named.append((f"residuals.{i}", layer.residual))
        skip, skip_bias = layer.skip
        dtype = np.result_type(skip, coupling.post[0], np.float32)
        shift = -(post[:, :, 0] @ skip[:, :, 0].astype(np.float64))
        shift_bias = -(post[:, :, 0] @ skip_bias.astype(np.float64))
        # The bias behind the sum comes once.
        shift_bias -= post_bias if i == 0 else 0
        named.append((f"shifts.{i}", (shift[:, :, None].astype(dtype), shift_bias.astype(dtype))))
    return named


def couplings_of_state(tensors: Mapping[str, np.ndarray], *, is_conditioned: bool) -> tuple[list[Coupling], np.ndarray]:
    """Read the flow of VITS or Piper out of a state dict.

    Args:
        tensors: the folded parameters by their names behind "flow.".
        is_conditioned: whether the voice gives its flow a vector; else the layer that takes one is not used.

    Returns:
        The couplings in the order in which they are computed for speech; and which channels of the halves, one behind
        the other, the decoder reads: integers `[C]`, in order.

    Raises:
        UnknownFlow: parameters are missing, unexpected or misshapen.
    """
    left = dict(tensors)
    numbers = sorted(
        int(match[1]) for name in tensors if (match := re.fullmatch(r"flows\.(\d{1,4})\.pre\.weight", name))
    )
    if not numbers:
        raise UnknownFlow(f"it has no flows.0.pre.weight; its parameters are {', '.join(list(tensors)[:5]) or 'none'}")

    def take(name: str, shape: tuple[int | None, ...]) -> Affine:
        weight, bias = left.pop(f"{name}.weight", None), left.pop(f"{name}.bias", None)
        if weight is None or bias is None:
            raise UnknownFlow(f"{name}.{'weight' if weight is None else 'bias'} is missing")
        fits = len(weight.shape) == len(shape) and all(b in (None, a) for a, b in zip(weight.shape, shape, strict=True))
        if not fits or bias.shape != weight.shape[:1]:
            raise UnknownFlow(f"{name} has weights {list(weight.shape)} and biases {list(bias.shape)}")
        return weight, bias

    order = np.arange(0)
    couplings: list[Coupling] = []
    for number in reversed(numbers):
        at = f"flows.{number}"
        pre = take(f"{at}.pre", (None, None, 1))
        inner, half = pre[0].shape[:2]
        post = take(f"{at}.post", (half, inner, 1))
        count = sum(name.startswith(f"{at}.enc.in_layers.") and name.endswith(".weight") for name in tensors)
        conditioning = None
        if f"{at}.enc.cond_layer.weight" in left:
            conditioning = take(f"{at}.enc.cond_layer", (2 * inner * count, None, 1))
        layers = []
        for i in range(count):
            gate = take(f"{at}.enc.in_layers.{i}", (2 * inner, inner, None))
            is_last = i + 1 == count
            weight, bias = take(f"{at}.enc.res_skip_layers.{i}", (inner if is_last else 2 * inner, inner, 1))
            rows = slice(2 * inner * i, 2 * inner * (i + 1))
            own = (conditioning[0][rows], conditioning[1][rows]) if conditioning and is_conditioned else None
            residual = None if is_last else (weight[:inner], bias[:inner])
            # VITS builds its flow with a dilation rate of 1 (models.py: SynthesizerTrn).
            layers.append(CouplingLayer(gate, 1, own, residual, (weight[-inner:], bias[-inner:])))
        if not layers:
            raise UnknownFlow(f"{at} has no layers")
        if not couplings:
            order = np.arange(2 * half)
        if len(order) != 2 * half:
            raise UnknownFlow(f"{at} has another number of channels than the couplings before it")
        order = order[::-1]  # the flip
        couplings.append(Coupling(order[:half], order[half:], pre, layers, post))
    if left:
        raise UnknownFlow(f"it has parameters that VITS has not: {', '.join(list(left)[:5])}")
    return couplings, order
