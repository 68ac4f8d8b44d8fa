"""ParallelWaveGAN's generators, and those of ESPnet and PaddleSpeech, which are the same module: one set of names.

Their transposed convolutions keep rows p to p + L * rate - 1 of the full result, with p = rate // 2 + rate % 2; that
is the original's where the rate is even. They take mels that were normalised before, with the mean and scale of the
training data, which stand in a file of statistics or in the checkpoint.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hifigan_rt.errors import CheckpointError
from hifigan_rt.families import parallel_wavegan_configs as configs
from hifigan_rt.families.family import ConfigForm, Family, Shapes

_LAYERS = {
    "input_conv": "conv_pre",
    "output_conv.1": "conv_post",
    "global_conv": "cond",
}
_NAME = re.compile(
    r"(?P<layer>input_conv|output_conv\.1|global_conv|upsamples\.(?P<stage>\d{1,4})\.1|"
    r"blocks\.(?P<block>\d{1,4})\.(?P<convs>convs[12])\.(?P<conv>\d{1,4})\.1)"
    r"(?:\.(?:conv|deconv))?\.(?P<parameter>weight(?:_g|_v)?|bias|parametrizations\.weight\.original[01])"
)


def _rename(names: Collection[str]) -> Mapping[str, str]:
    has_second = any(re.match(r"blocks\.\d{1,4}\.convs2\.", name) for name in names)
    renamed = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            raise CheckpointError(
                f"{name} is no parameter of the HiFiGANGenerator of ParallelWaveGAN and its relatives"
            )
        if match["stage"] is not None:
            layer = f"ups.{int(match['stage'])}"
        elif match["block"] is not None:
            convs = match["convs"] if has_second else "convs"
            layer = f"resblocks.{int(match['block'])}.{convs}.{int(match['conv'])}"
        else:
            layer = _LAYERS[match["layer"]]
        renamed[name] = f"{layer}.{match['parameter']}"
    return renamed


def kept_rows(rates: Sequence[int], kernels: Sequence[int]) -> list[list[int]] | None:
    """Rows that each stage cuts off left and right, as fields of our own `config.json`; None where the original does.

    Args:
        rates, kernels: of the stages.
    """
    cuts = []
    for rate, kernel in zip(rates, kernels, strict=False):
        left = (kernel - rate) // 2 + (kernel - rate) % 2
        cuts.append([left, kernel - rate - left])
    return cuts if any(left != right for left, right in cuts) else None


def imply_kept_rows(fields: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:
    """Tell which rows the stages keep, by the rates of a config and the kernels of the weights."""
    rates = fields.get("upsample_rates")
    if not isinstance(rates, (list, tuple)) or not all(type(rate) is int for rate in rates):
        return {}
    kernels = [shapes.get(f"ups.{i}.weight", (0, 0, 0))[-1] for i in range(len(rates))]
    return {"upsample_paddings": kept_rows(rates, kernels)}


def _imply(fields: Mapping[str, Any], shapes: Shapes, *, causal: bool) -> Mapping[str, Any]:
    network = {"causal": True} if causal else imply_kept_rows(fields, shapes)
    return {**network, "layers_without_bias": _without_bias(shapes), **configs.MEL}


def _without_bias(shapes: Shapes) -> list[str]:
    """Layers without a bias: all, or all in residual blocks. What lacks a few is damaged, which shows later."""
    layers = [name.removesuffix(".weight") for name in shapes if name.endswith(".weight") and name != "cond.weight"]
    blocks = [layer for layer in layers if layer.startswith("resblocks.")]
    for group in (layers, blocks):
        if not any(f"{layer}.bias" in shapes for layer in group):
            return group
    return []


def _family(*, causal: bool) -> Family:
    inner = r"\.conv\." if causal else r"\.(?=weight|bias|parametrizations)"
    return Family(
        key="parallel-wavegan",
        name="ParallelWaveGAN, ESPnet or PaddleSpeech",
        layers="input_conv, upsamples.N.1, blocks.N and output_conv.1",
        parts=frozenset(("input_conv", "upsamples", "blocks", "output_conv", "global_conv")),
        needed={
            "input_conv": re.compile(rf"input_conv{inner}"),
            "upsamples.N.1": re.compile(r"upsamples\.\d{1,4}\.1\."),
            "blocks.N.convs1.N.1": re.compile(r"blocks\.\d{1,4}\.convs1\.\d{1,4}\.1\."),
            "output_conv.1": re.compile(r"output_conv\.1\."),
        },
        rename=_rename,
        config_forms=(
            ConfigForm(
                "ParallelWaveGAN",
                configs.is_parallel_wavegan,
                functools.partial(configs.read_parallel_wavegan, causal=causal),
                ("config.yml", "config.yaml"),
                configs.statistics_of_parallel_wavegan,
            ),
            ConfigForm(
                "ESPnet", configs.is_espnet, configs.read_espnet, ("config.yaml",), configs.statistics_of_espnet
            ),
            ConfigForm(
                "PaddleSpeech",
                configs.is_paddlespeech,
                configs.read_paddlespeech,
                ("default.yaml",),
                lambda _: ("feats_stats.npy",),
            ),
        ),
        imply=functools.partial(_imply, causal=causal),
        takes_mels_at=re.compile(r"(?:\A|\.)generator\.vocoder\Z"),
        statistics=(("mean", "scale"), ("normalize.mean", "normalize.std")),
        # IMS-Toucan trains with outputs of inner stages, which its inference leaves out.
        ignored=re.compile(r"(?:mean|scale|normalize\.(?:mean|std))\Z|out_proj_x\d\."),
    )


PARALLEL_WAVEGAN = _family(causal=False)
PARALLEL_WAVEGAN_CAUSAL = _family(causal=True)
"""The generator whose layers look at what came before alone, and are named with one component more."""
