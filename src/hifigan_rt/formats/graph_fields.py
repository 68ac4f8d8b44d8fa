"""What a network has beyond the original's, as our own form of `config.json` states it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

from hifigan_rt.config import MAX_SPEAKERS, FlowConfig, GeneratorConfig
from hifigan_rt.errors import ConfigError
from hifigan_rt.formats.config_values import as_integer, as_list, as_number, describe, list_of

SPEAKERS = "speaker_ids"
"""The field of `ModelConfig.speakers`."""

_MAX_NAME = 1000


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name}={describe(value)} must be a text")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name}={describe(value)} must be true or false")
    return value


def _padding(name: str, value: object) -> tuple[int, int]:
    if len(as_list(name, value)) != 2:
        raise ConfigError(f"{name}={describe(value)} must be two numbers: rows cut off left and right")
    left, right = list_of(as_integer)(name, value)
    return left, right


def _flow(name: str, value: object) -> FlowConfig:
    known = {field.name for field in fields(FlowConfig)}
    if not isinstance(value, dict) or "channels" not in value or not known.issuperset(value):
        raise ConfigError(
            f"{name}={describe(value)} must be an object of channels and some of {', '.join(sorted(known))}"
        )
    numbers = {key: as_integer(f"{name}.{key}", item) for key, item in value.items() if key != "is_conditioned"}
    return FlowConfig(**numbers, is_conditioned=_flag(f"{name}.is_conditioned", value.get("is_conditioned", False)))


_READERS: Mapping[str, tuple[str, Callable[[str, object], Any]]] = {
    "conv_pre_kernel_size": ("conv_pre_kernel_size", as_integer),
    "conv_post_kernel_size": ("conv_post_kernel_size", as_integer),
    "leaky_relu_slope": ("leaky_relu_slope", as_number),
    "final_slope": ("final_slope", as_number),
    "upsample_paddings": ("upsample_paddings", list_of(_padding)),
    "padding_mode": ("padding_mode", _text),
    "causal": ("causal", _flag),
    "layers_without_bias": ("layers_without_bias", list_of(_text)),
    "input_normalization": ("input_normalization", _flag),
    "pre_linear": ("pre_linear", as_integer),
    "conditioning_channels": ("conditioning_channels", as_integer),
    "conditioned_layers": ("conditioned_layers", list_of(_text)),
    "speaker_table_size": ("num_speakers", as_integer),
    "output_activation": ("output", _text),
    "input_kind": ("input_kind", _text),
    "latent_flow": ("flow", _flow),
}
"""Each field with the attribute of `GeneratorConfig`. Words that configs of others use for anything are not among them:
"output" and "num_speakers" would be."""

GRAPH_FIELDS: tuple[str, ...] = tuple(_READERS)
"""Fields beyond the original's."""


def parse_graph_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Read what is stated of them, by the names of `GeneratorConfig`.

    Raises:
        ConfigError: one is of a wrong type.
    """
    return {
        attribute: read(name, fields[name])
        for name, (attribute, read) in _READERS.items()
        if fields.get(name) is not None
    }


def parse_speakers(fields: Mapping[str, Any]) -> dict[str, int]:
    """Read the names of speakers, with their rows in the table.

    Raises:
        ConfigError: they are no object of whole numbers.
    """
    stated = fields.get(SPEAKERS)
    if stated is None:
        return {}
    if not isinstance(stated, dict) or len(stated) > MAX_SPEAKERS:
        raise ConfigError(f"{SPEAKERS}={describe(stated)} must be an object of at most {MAX_SPEAKERS} names")
    for name in stated:
        if not isinstance(name, str) or len(name) > _MAX_NAME:
            raise ConfigError(f"{SPEAKERS}: a name {describe(name)} must be a text of at most {_MAX_NAME} characters")
    return {name: as_integer(f"{SPEAKERS}[{name[:60]!r}]", row) for name, row in stated.items()}


def graph_fields(config: GeneratorConfig, *, defaults: bool = False) -> dict[str, Any]:
    """The fields as JSON holds them: those that are not at their default, or all.

    A config of the original's network has none of them, so that files of it are the same as ever.
    """
    own = type(config).__dataclass_fields__
    stated = {name: (getattr(config, attribute), own[attribute].default) for name, (attribute, _) in _READERS.items()}
    return {name: _plain(value) for name, (value, default) in stated.items() if defaults or value != default}


def _plain(value: object) -> object:
    if isinstance(value, FlowConfig):
        return asdict(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
