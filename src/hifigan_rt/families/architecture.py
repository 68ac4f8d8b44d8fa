"""What the weights tell about the architecture: inferring a config from them, and checking a config against them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from hifigan_rt.config import PRESETS, GeneratorConfig, ModelConfig
from hifigan_rt.errors import CheckpointError, ConfigError
from hifigan_rt.families.family import Shapes
from hifigan_rt.formats.config_json import MEL_FIELDS, NETWORK_FIELDS, config_to_dict, parse_config
from hifigan_rt.formats.graph_fields import graph_fields

UNDECIDED_FIELDS = ("upsample_rates", "resblock_dilation_sizes")
"""Fields of a config that leave no trace in weights."""

_UPSAMPLE = re.compile(r"ups\.(\d{1,4})\.weight")
_CONDITIONING = re.compile(r"conds\.(\d{1,4})\.weight")
_RESBLOCK = re.compile(r"resblocks\.(\d{1,4})\.(convs1|convs)\.(\d{1,4})\.weight")


@dataclass(frozen=True)
class DecidedArchitecture:
    """All that parameter names and shapes decide. Rates and dilations leave no trace in them."""

    num_mels: int
    upsample_initial_channel: int
    upsample_kernel_sizes: tuple[int, ...]
    resblock: Literal["1", "2"]
    resblock_kernel_sizes: tuple[int, ...]
    dilations_per_resblock: tuple[int, ...]

    @classmethod
    def of_config(cls, config: GeneratorConfig) -> DecidedArchitecture:
        """The same facts as a config states them."""
        return cls(
            config.num_mels,
            config.upsample_initial_channel,
            config.upsample_kernel_sizes,
            config.resblock,
            config.resblock_kernel_sizes,
            tuple(len(dilations) for dilations in config.resblock_dilation_sizes),
        )

    @classmethod
    def of_weights(cls, shapes: Shapes) -> DecidedArchitecture:
        """Read the facts off the folded parameters.

        Raises:
            CheckpointError: these are not the parameters of one generator.
        """
        pre = shapes.get("conv_pre.weight")
        ups = _indexed(shapes, _UPSAMPLE)
        blocks: dict[int, dict[int, int]] = {}
        kinds: set[str] = set()
        for name, shape in shapes.items():
            match = _RESBLOCK.fullmatch(name)
            if match and len(shape) == 3:
                if shape[0] == shape[2] != shape[1]:
                    raise CheckpointError(
                        f"{name} has shape {list(shape)}, channels last, as MLX has it: PyTorch's order is "
                        f"{[shape[0], shape[2], shape[1]]}; transpose the convolutions, ups to [in, out, kernel]"
                    )
                blocks.setdefault(int(match[1]), {})[int(match[3])] = shape[2]
                kinds.add(match[2])
        if pre is None or len(pre) != 3 or not ups or not blocks:
            found = {"conv_pre": pre is not None and len(pre) == 3, "ups.N": ups, "resblocks.N": blocks}
            absent = [layer for layer, weights in found.items() if not weights]
            raise CheckpointError(
                f"there are no weights of rank 3, as convolutions have them, for {' and '.join(absent)}"
            )
        if len(kinds) > 1:
            raise CheckpointError(
                "the weights hold residual blocks of both types (convs1 and convs): one generator has only one type"
            )
        if len(blocks) % len(ups):
            raise CheckpointError(
                f"the weights hold {len(blocks)} residual blocks for {len(ups)} upsample stages: the first number "
                "must be a multiple of the second; is the file complete?"
            )
        first_stage = [blocks.get(j, {}) for j in range(len(blocks) // len(ups))]
        if not all(first_stage):
            raise CheckpointError("the residual blocks in the weights are not numbered from 0 without a gap")
        return cls(
            num_mels=pre[1],
            upsample_initial_channel=pre[0],
            upsample_kernel_sizes=tuple(ups[i][2] for i in sorted(ups)),
            resblock="1" if kinds == {"convs1"} else "2",
            resblock_kernel_sizes=tuple(next(iter(units.values())) for units in first_stage),
            dilations_per_resblock=tuple(len(units) for units in first_stage),
        )


def _indexed(shapes: Shapes, pattern: re.Pattern[str]) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        match = pattern.fullmatch(name)
        if match and len(shape) == 3:
            found[int(match[1])] = shape
    return found


@dataclass(frozen=True)
class SettledConfig:
    """A config that fits the weights, and how it came about."""

    config: ModelConfig
    notes: tuple[str, ...] = ()
    """What was read differently than stated, one sentence each."""
    assumptions: tuple[str, ...] = ()
    """What neither a config nor the weights decide, one sentence each."""
    form: str | None = None
    """The project in whose form the config was; None if it was in the original's."""


_PRESET_FIELDS: Mapping[str, Mapping[str, Any]] = {
    name: config_to_dict(preset) | graph_fields(preset.generator, defaults=True) for name, preset in PRESETS.items()
}


def decide_beyond(shapes: Shapes) -> dict[str, Any]:
    """What weights decide beyond the original's network, as fields of our own `config.json`; empty for the original's.

    Args:
        shapes: the folded parameters.
    """
    found: dict[str, Any] = {}
    for layer in ("conv_pre", "conv_post"):
        shape = shapes.get(f"{layer}.weight", ())
        if len(shape) == 3 and shape[2] != 7:
            found[f"{layer}_kernel_size"] = shape[2]
    if "mean" in shapes and "scale" in shapes:
        found["input_normalization"] = True
    if len(linear := shapes.get("lin_pre.weight", ())) in (2, 3):  # a matrix, or the 1x1 convolution that it is
        found["pre_linear"] = linear[1]
    conditioned = {"conv_pre": shapes.get("cond.weight", ())} | {
        f"ups.{match[1]}": shape for name, shape in shapes.items() if (match := _CONDITIONING.fullmatch(name))
    }
    if layers_conditioned := [layer for layer, shape in conditioned.items() if len(shape) == 3]:
        found["conditioned_layers"] = layers_conditioned
        found["conditioning_channels"] = conditioned[layers_conditioned[0]][1]
    if len(table := shapes.get("emb_g.weight", ())) == 2:
        found["speaker_table_size"] = table[0]
    return found


def settle_config(shapes: Shapes, fields: Mapping[str, Any]) -> SettledConfig:
    """Join what the original's fields state with what the weights decide.

    Only rates and dilations leave no trace in weights. Where they are not stated, those of a published config are
    assumed if all that is known equals it, mel bands and mel settings included.

    Args:
        shapes: the folded parameters.
        fields: what is stated, in the original's words; empty if there is no config.

    Raises:
        CheckpointError: these are not a generator's weights.
        ConfigError: a field is wrong or contradicts the weights; or rates and dilations stay unknown.
    """
    decided = DecidedArchitecture.of_weights(shapes)
    fields = decide_beyond(shapes) | dict(fields)
    stated = {name: value for name, value in fields.items() if value is not None or name not in NETWORK_FIELDS}
    unknown = [name for name in UNDECIDED_FIELDS if name not in stated]
    if not unknown:
        return _settle(shapes, asdict(decided) | stated)
    name = _equal_preset(decided, stated)
    if name is None:
        raise ConfigError(_undecided(decided, stated, unknown))
    assumed = {field: _PRESET_FIELDS[name][field] for field in unknown}
    settled = _settle(shapes, asdict(decided) | assumed | stated)
    texts = " and ".join(f"{field}={json.dumps(value)}" for field, value in assumed.items())
    unsaid = "" if settled.config.mel is not None else "; sample rate and mel settings are unknown"
    return replace(
        settled,
        assumptions=(
            f"{_lack(stated, unknown)}; all that is known equals preset {name}, so its {texts} are assumed, which "
            f"leave no trace in weights: a config that states them confirms it, or config={name!r} (--config {name}) "
            f"if it is that one{unsaid}",
        ),
    )


def _lack(stated: Mapping[str, Any], unknown: Sequence[str]) -> str:
    said = any(name in stated for name in (*NETWORK_FIELDS, *MEL_FIELDS))
    return f"the config lacks {' and '.join(unknown)}" if said else "no config was found"


def _settle(shapes: Shapes, fields: Mapping[str, Any]) -> SettledConfig:
    return SettledConfig(*reconcile(parse_config(fields), shapes))


def _equal_preset(decided: DecidedArchitecture, stated: Mapping[str, Any]) -> str | None:
    """The published config that equals everything known."""
    # Whether resblock was a text or a number is looked at later.
    for name, fields in _PRESET_FIELDS.items():
        alike = all(_alike(stated[field], fields[field]) for field in stated if field in fields and field != "resblock")
        if alike and DecidedArchitecture.of_config(PRESETS[name].generator) == decided:
            return name
    return None


def _alike(one: object, other: object) -> bool:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(_alike(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def _undecided(decided: DecidedArchitecture, stated: Mapping[str, Any], unknown: Sequence[str]) -> str:
    facts = {name: value for name, value in asdict(decided).items() if name != "dilations_per_resblock"}
    shown = ", ".join(f"{name}={_text(value) if name != 'resblock' else repr(value)}" for name, value in facts.items())
    return (
        f"{_lack(stated, unknown)}, and the weights decide only part of it: {shown}, dilations per residual block "
        f"{list(decided.dilations_per_resblock)}; {' and '.join(unknown)} leave no trace in them: put the model's "
        "config.json beside the file or give --config; where its project has none, a JSON that states them is enough"
    )


def reconcile(config: ModelConfig, shapes: Shapes) -> tuple[ModelConfig, tuple[str, ...]]:
    """Check a config against the weights and follow the original where its reading of a config is peculiar.

    Returns:
        The config that fits the weights, and one sentence for each thing that was read differently.

    Raises:
        CheckpointError: these are not a generator's weights.
        ConfigError: a field contradicts the weights; the text names the field and both values.
    """
    decided = DecidedArchitecture.of_weights(shapes)
    generator = config.generator
    notes: list[str] = []
    if generator.resblock != decided.resblock:
        if not config.resblock_was_integer:
            raise _contradiction("resblock", repr(generator.resblock), repr(decided.resblock))
        # models.py compares with the string "1", so the integer 1 builds type 2 there.
        notes.append(
            "the config says resblock 1 as an integer, which the original reads as type 2, and the weights are of "
            f"type {decided.resblock}: type {decided.resblock} is used"
        )
        generator = replace(generator, resblock=decided.resblock)
    for field in ("num_mels", "upsample_initial_channel", "upsample_kernel_sizes", "resblock_kernel_sizes"):
        stated, found = getattr(generator, field), getattr(decided, field)
        if stated != found:
            raise _contradiction(field, _text(stated), _text(found))
    stated_counts = tuple(len(dilations) for dilations in generator.resblock_dilation_sizes)
    if stated_counts != decided.dilations_per_resblock:
        # The original takes the first three (type 1) or two (type 2) dilations and ignores the rest.
        taken = 3 if generator.resblock == "1" else 2
        cut = tuple(dilations[:taken] for dilations in generator.resblock_dilation_sizes)
        if tuple(len(dilations) for dilations in cut) != decided.dilations_per_resblock:
            raise _contradiction(
                "resblock_dilation_sizes",
                f"{list(stated_counts)} dilations per residual block",
                f"{list(decided.dilations_per_resblock)}",
            )
        notes.append(
            f"the config lists {list(stated_counts)} dilations per residual block; the first {taken} of each are "
            "used, as the original does and the weights confirm"
        )
        generator = replace(generator, resblock_dilation_sizes=cut)
    return replace(config, generator=generator), tuple(notes)


def _text(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _contradiction(field: str, stated: str, found: str) -> ConfigError:
    return ConfigError(
        f"{field}: the config says {stated}, the weights have {found}; config and checkpoint are not of one model: "
        "give the right one with --config"
    )
