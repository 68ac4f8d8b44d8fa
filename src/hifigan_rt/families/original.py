"""The original's checkpoints (jik876/hifi-gan), and those of NVIDIA that nest its residual blocks."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from hifigan_rt.errors import CheckpointError
from hifigan_rt.families.amphion import AMPHION_CONFIG
from hifigan_rt.families.coqui import COQUI_VOCODER, COQUI_VOICE
from hifigan_rt.families.family import Family
from hifigan_rt.families.natspeech import NATSPEECH_CONFIG
from hifigan_rt.families.nemo import NEMO_CONFIG
from hifigan_rt.families.nvidia import NVIDIA_CONFIG

_PARTS = frozenset(("conv_pre", "ups", "resblocks", "conv_post", "cond"))
_FIRST, _UPSAMPLE = re.compile(r"conv_pre\."), re.compile(r"ups\.(\d{1,4})\.")
_NESTED = re.compile(r"resblocks\.(\d{1,4})\.(\d{1,4})\.(?=(?:convs1|convs2|convs)\.\d{1,4}\.)")


def _keep(names: Collection[str]) -> Mapping[str, str]:
    return {name: name for name in names}


def _flatten(names: Collection[str]) -> Mapping[str, str]:
    """Number the residual blocks through: of n in each stage, `resblocks.i.j` is `resblocks.(n * i + j)`."""
    nested = {name: match for name in names if (match := _NESTED.match(name))}
    stages = {int(match[1]) for name in names if (match := _UPSAMPLE.match(name))}
    n_blocks = 1 + max(int(match[2]) for match in nested.values())
    counted = f"the residual blocks are named resblocks.STAGE.BLOCK in {len(stages)} stages"
    renamed = {}
    for name in names:
        match = nested.get(name)
        if name.startswith("resblocks.") and (match is None or int(match[1]) not in stages):
            raise CheckpointError(f"{counted}, and {name} does not fit")
        renamed[name] = (
            name if match is None else f"resblocks.{int(match[1]) * n_blocks + int(match[2])}.{name[match.end() :]}"
        )
    present = {(int(match[1]), int(match[2])) for match in nested.values()}
    for stage in sorted(stages):
        for block in range(n_blocks):
            if (stage, block) not in present:
                raise CheckpointError(
                    f"{counted} of {n_blocks} blocks by the highest, and resblocks.{stage}.{block} is missing"
                )
    return renamed


ORIGINAL = Family(
    key="hifi-gan",
    name="jik876/hifi-gan",
    layers="conv_pre, ups.N, resblocks.N and conv_post",
    parts=_PARTS,
    needed={
        "conv_pre": _FIRST,
        "ups.N": _UPSAMPLE,
        "resblocks.N.convs1.N or .convs.N": re.compile(r"resblocks\.\d{1,4}\.(convs1|convs)\.\d{1,4}\."),
    },
    rename=_keep,
    config_forms=(COQUI_VOCODER, COQUI_VOICE, NEMO_CONFIG, NVIDIA_CONFIG, NATSPEECH_CONFIG, AMPHION_CONFIG),
)

NESTED = Family(
    key="nvidia",
    name="NVIDIA (DeepLearningExamples, NeMo)",
    layers="conv_pre, ups.N, resblocks.N.N and conv_post",
    parts=_PARTS,
    needed={"conv_pre": _FIRST, "ups.N": _UPSAMPLE, "resblocks.N.N.convs1.N or .convs.N": _NESTED},
    rename=_flatten,
    config_forms=(NEMO_CONFIG, NVIDIA_CONFIG),
)
"""The same network, whose residual blocks are counted within each stage."""
