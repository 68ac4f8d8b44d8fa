"""Folds weight norm: w = g * v / |v|, the norm over all axes but the first.

Both spellings of PyTorch are known, and layers that were folded before: `weight_g` and `weight_v` (torch.nn.utils.
weight_norm), `parametrizations.weight.original0` and `original1` (torch.nn.utils.parametrizations.weight_norm).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hifigan_rt.errors import CheckpointError

_PAIRS = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)

_FORMS = (
    ("pruned", "_mask", "_orig", "prune.remove"),
    ("of spectral norm", "_u", "_orig", "remove_spectral_norm"),
    ("of spectral norm", ".0._u", ".original", "parametrize.remove_parametrizations"),
    ("parametrized", ".original", ".original", "parametrize.remove_parametrizations"),
)
"""What PyTorch keeps in the place of a weight: the form, how two of its entries end, and what makes it final."""
_ADAPTER = re.compile(r"(?:\A|\.)(base_layer|modules_to_save|lora_[A-Za-z]\w*)(\.|\Z)")

_BLOCK_ELEMENTS = 1 << 16
"""Rows are folded in blocks of about this many elements, so that float64 copies stay in the processor's cache."""


_LEAST_NORM_OF_PADDLE = 1e-12
"""Lower bound of |v| in PaddlePaddle, whose magnitudes have one axis (paddle.nn.functional.normalize: epsilon)."""


@dataclass(frozen=True, slots=True)
class NormedWeight:
    """The names of the two halves of a weight."""

    g: str
    v: str


def plan_folding(names: Iterable[str]) -> dict[str, str | NormedWeight]:
    """Map each final name to the entry, or the two entries, that it comes from; in the order of `names`.

    Raises:
        CheckpointError: half of a pair is missing, a layer has its weight in two spellings, or in a form that is not
            run: pruned, of spectral norm, with adapters.
    """
    present = dict.fromkeys(names)
    if unfinished := _unfinished(present):
        raise CheckpointError(f"has {unfinished}, and save again")
    plan: dict[str, str | NormedWeight] = {}
    for name in present:
        target, origin = _resolve(name, present)
        if target in plan and plan[target] != origin:
            raise CheckpointError(f"has {target} in two spellings, one of them {name}: a layer needs one")
        plan[target] = origin
    return plan


def _unfinished(present: dict[str, None]) -> str | None:
    """Say of which form other than weight norm a weight is, and what makes it final; None if there is none."""
    for form, ending, original, undo in _FORMS:
        for name in present:
            weight = name.removesuffix(ending)
            if weight == name or weight + original not in present:
                continue
            layer, _, parameter = weight.rpartition(".")
            layer = layer.removesuffix(".parametrizations")
            told = " and ".join(dict.fromkeys((weight + original, name)))
            return (
                f"{layer}.{parameter} {form}, as {told}: make it final in PyTorch with torch.nn."
                f"utils.{undo}(model.get_submodule({layer!r}), {parameter!r}), as for each such layer"
            )
    adapter = next(filter(_ADAPTER.search, present), None)
    return adapter and (
        f"{adapter}, a part of adapters (PEFT, LoRA), which change the weights of a base: merge them into it in "
        "PyTorch, with PEFT by model = model.merge_and_unload()"
    )


def _resolve(name: str, present: dict[str, None]) -> tuple[str, str | NormedWeight]:
    for suffixes in _PAIRS:
        for suffix, other in (suffixes, suffixes[::-1]):
            layer = name.removesuffix(suffix)
            if layer == name or not (layer == "" or layer.endswith(".")):
                continue
            if layer + other not in present:
                raise CheckpointError(f"has {name} without {layer}{other}: weight norm needs both")
            return f"{layer}weight", NormedWeight(layer + suffixes[0], layer + suffixes[1])
    return name, name


def fold(g: np.ndarray, v: np.ndarray, names: NormedWeight) -> np.ndarray:
    """Compute g * v / |v| in float64, rounded once; rows of zeros stay zeros.

    A float32 or float64 `v` is overwritten by the result: a fresh array per layer would double the time of a load.

    Args:
        g: magnitudes `[C, 1, ...]` or `[C]`, float.
        v: directions `[C, ...]`, float, C-contiguous.
        names: for the errors.

    Returns:
        `v` itself, or a float32 array if it was float16.

    Raises:
        CheckpointError: shapes or dtypes do not fit.
    """
    for name, array in ((names.g, g), (names.v, v)):
        if array.dtype.kind != "f":
            raise CheckpointError(f"holds {name} of dtype {array.dtype}: a weight must be float16, float32 or float64")
    if v.ndim == 0 or g.shape not in ((v.shape[0],), (v.shape[0],) + (1,) * (v.ndim - 1)):
        raise CheckpointError(
            f"holds {names.g} of shape {list(g.shape)} and {names.v} of {list(v.shape)}: the first must be "
            "[C, 1, ...] where the second is [C, ...]"
        )
    folded = v if v.itemsize >= 4 else np.empty(v.shape, np.float32)
    if v.size == 0:
        return folded
    rows, out = v.reshape(v.shape[0], -1), folded.reshape(v.shape[0], -1)
    step = max(1, _BLOCK_ELEMENTS // rows.shape[1])
    # Values that overflow become infinite or NaN, which graph.bind reports by name.
    with np.errstate(all="ignore"):
        magnitudes = g.reshape(-1).astype(np.float64)
        for first in range(0, len(rows), step):
            block = rows[first : first + step].astype(np.float64)
            norms = np.sqrt(np.einsum("ij,ij->i", block, block))
            if g.ndim == 1:
                norms = np.maximum(norms, _LEAST_NORM_OF_PADDLE)
            scale = np.where(norms > 0, magnitudes[first : first + step] / norms, 0.0)
            block *= scale[:, None]
            out[first : first + step] = block
    return folded
