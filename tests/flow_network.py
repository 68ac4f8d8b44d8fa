"""The flow of VITS in float64, written from its paper, unlike ours: channels are flipped, and skips are summed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

State = Mapping[str, np.ndarray]


def random_state(
    channels: int, inner: int, kernel: int, layers: int, couplings: int, vector: int = 0, seed: int = 0
) -> dict[str, np.ndarray]:
    """Float64 parameters under the names of VITS, behind "flow."."""
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = {}

    def add(name: str, *shape: int) -> None:
        state[f"{name}.weight"] = rng.standard_normal(shape) / np.sqrt(shape[1] * shape[2])
        state[f"{name}.bias"] = 0.2 * rng.standard_normal(shape[0])

    for number in range(0, 2 * couplings, 2):
        at = f"flows.{number}"
        add(f"{at}.pre", inner, channels // 2, 1)
        for i in range(layers):
            add(f"{at}.enc.in_layers.{i}", 2 * inner, inner, kernel)
            add(f"{at}.enc.res_skip_layers.{i}", inner if i + 1 == layers else 2 * inner, inner, 1)
        if vector:
            add(f"{at}.enc.cond_layer", 2 * inner * layers, vector, 1)
        add(f"{at}.post", channels // 2, inner, 1)
    return state


def convolve(state: State, name: str, x: np.ndarray) -> np.ndarray:
    """A convolution `[C, T]` that keeps the length, with zeros at the ends."""
    weight, side = state[f"{name}.weight"], state[f"{name}.weight"].shape[2] // 2
    rows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (side, side))), weight.shape[2], axis=1)
    return np.einsum("oik,itk->ot", weight, rows) + state[f"{name}.bias"][:, None]


def run_flow(state: State, latents: np.ndarray, vector: np.ndarray | None = None) -> np.ndarray:
    """The flow backwards, `[C, T]` to `[C, T]`, with a vector `[G]`."""
    x = latents.astype(np.float64)
    numbers = sorted({int(name.split(".")[1]) for name in state}, reverse=True)
    for number in numbers:
        at = f"flows.{number}"
        kept, shifted = np.split(x[::-1], 2)
        h = convolve(state, f"{at}.pre", kept)
        inner, total = len(h), np.zeros_like(h)
        layers = sum(name.startswith(f"{at}.enc.in_layers.") for name in state) // 2
        for i in range(layers):
            a = convolve(state, f"{at}.enc.in_layers.{i}", h)
            if vector is not None:
                added = convolve(state, f"{at}.enc.cond_layer", vector.astype(np.float64)[:, None])
                a = a + added[2 * inner * i : 2 * inner * (i + 1)]
            gated = np.tanh(a[:inner]) / (1 + np.exp(-a[inner:]))
            result = convolve(state, f"{at}.enc.res_skip_layers.{i}", gated)
            if i + 1 < layers:
                h, total = h + result[:inner], total + result[inner:]
            else:
                total = total + result
        x = np.concatenate([kept, shifted - convolve(state, f"{at}.post", total)])
    return x
