"""The precision modes of Ascend's compiler: which suits a chip, and what each computes there.

Rule: a mode is named by what the chip computes under it, never by what the file asks for. The default follows the
matrix unit. A chip that multiplies float32 gets `must_keep_origin_dtype`. A chip that multiplies float16 at most gets
`cube_fp16in_fp32out`: under `must_keep_origin_dtype` its convolutions would go to the slow AI CPU, or not compile.

Sources, read in 2026-11 (commit 681ef761 of hicann/runtime, ffdcbc9f of hicann/ge):
- hicann/runtime src/platform/platform_config/**/Ascend*.ini: `Intrinsic_mmad` of [AICoreintrinsicDtypeMap] has
  `f322f32` where float32 is multiplied; hicann/ge compiler/engines/nn_engine/utils/common/platform_utils.cc asks that.
- hicann/ge docs/zh/user_guides/atc_tools/CLI_options/--precision_mode.md, --precision_mode_v2.md and --allow_hf32.md.
- hicann/ge compiler/engines/nn_engine/utils/common/fe_context_utils.cc: which names are one mode.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from hifigan_rt.formats.om_file import option_of

KEEP_ORIGIN = "must_keep_origin_dtype"
FLOAT16_PRODUCTS = "cube_fp16in_fp32out"
KEEPING_MODES = (KEEP_ORIGIN, "origin")
"""One mode: the types of the ONNX file are kept."""
ATC_DEFAULT = "force_fp16"
"""What atc takes for inference where no mode is given."""

_NO_FLOAT32_PRODUCTS = re.compile(r"Ascend(310(P\w*)?|610\w*|710\w*|910(A|B|ProA|ProB|PremiumA)?)")
"""Chips without `f322f32`. Ascend910B alone is a 910 of the first generation, Ascend910B1 to B4 are A2; Ascend710 was
310P's name, and of 310 and 710, which are in no source any more, we know that their matrix unit multiplies float16."""

_HF32_CONVOLUTIONS = re.compile(r"Ascend(910B\d|910_93|950)")
"""Beginnings of the chips (A2, A3, 950) whose float32 convolutions are HF32 by default: a mantissa of 11 bits."""

_FLOAT16_PRODUCTS_LABEL = "float16 products, float32 sums"
_MIXED_FLOAT16_LABEL = "mixed float16 and float32"
_MIXED_BFLOAT16_LABEL = "mixed bfloat16 and float32"

_LABELS: Mapping[str, str] = {
    "force_fp16": "float16",
    "fp16": "float16",
    "force_fp32": _FLOAT16_PRODUCTS_LABEL,
    FLOAT16_PRODUCTS: _FLOAT16_PRODUCTS_LABEL,
    "allow_fp32_to_fp16": "float16 convolutions, float32 elsewhere",
    "allow_mix_precision": _MIXED_FLOAT16_LABEL,
    "allow_mix_precision_fp16": _MIXED_FLOAT16_LABEL,
    "mixed_float16": _MIXED_FLOAT16_LABEL,
    "allow_mix_precision_bf16": _MIXED_BFLOAT16_LABEL,
    "mixed_bfloat16": _MIXED_BFLOAT16_LABEL,
    "allow_fp32_to_bf16": "float32, bfloat16 where the chip has no float32",
    "cube_hif8": "hifloat8 products",
    "mixed_hif8": "mixed hifloat8 and float32",
}
"""What is computed, by mode; the modes that keep the file's float32 depend on the chip."""

V2_MODES = ("origin", "fp16", "mixed_float16", "mixed_bfloat16", "cube_hif8", "mixed_hif8")
"""Modes that only --precision_mode_v2 takes; cube_fp16in_fp32out belongs to both options."""

PRECISION_MODES = (
    KEEP_ORIGIN, FLOAT16_PRODUCTS, "force_fp32", "allow_fp32_to_fp16", "allow_mix_precision",
    "allow_mix_precision_fp16", "allow_mix_precision_bf16", "allow_fp32_to_bf16", ATC_DEFAULT, *V2_MODES,
)  # fmt: skip


def multiplies_float32(soc_version: str) -> bool:
    """Whether the chip's matrix unit multiplies float32; True for chips that are not known: newer ones do."""
    return _NO_FLOAT32_PRODUCTS.fullmatch(soc_version) is None


def default_mode(soc_version: str) -> str:
    """The most exact precision mode that the chip computes on its matrix unit."""
    return KEEP_ORIGIN if multiplies_float32(soc_version) else FLOAT16_PRODUCTS


def option_for(mode: str) -> str:
    """The option of atc that takes a mode, without dashes."""
    return "precision_mode_v2" if mode in V2_MODES else "precision_mode"


def describe_mode(mode: str, soc_version: str, command: str = "", input_dtype: str = "") -> str:
    """What is computed under a mode on a chip, with the mode, as in "float16 (force_fp16)".

    Args:
        mode: as given to atc; empty if its command line names none, so that its default counts, or is not known.
        soc_version: the chip; empty if it is not known.
        command: atc's command line, which may say --allow_hf32; empty if it is not known.
        input_dtype: of the mels; empty if it is not known.
    """
    if not mode and not command:
        return "unknown precision (the file does not tell atc's command)"
    if not mode:
        return f"{_LABELS[ATC_DEFAULT]} ({ATC_DEFAULT}, the default of atc)"
    if mode in KEEPING_MODES:
        return f"{_kept(soc_version, command, input_dtype)} ({mode})"
    return f"{_LABELS.get(mode, 'unknown precision')} ({mode})"


def _kept(soc_version: str, command: str, input_dtype: str) -> str:
    # The ONNX file had them so, unless the option did it; where it has casts behind them, its layers are float32.
    if input_dtype == "float16" and not option_of(command, "input_fp16_nodes"):
        return "the ONNX file's own types, float16 of its mels"
    if not multiplies_float32(soc_version):
        return "float32, convolutions on the AI CPU"
    if _HF32_CONVOLUTIONS.match(soc_version) and option_of(command, "allow_hf32") != "false":
        return "float32, convolutions in HF32"
    return "float32"
