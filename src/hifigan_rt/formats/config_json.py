"""Reads upstream's `config.json` into a `ModelConfig`, and writes it back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from hifigan_rt.config import PRESETS, GeneratorConfig, MelConfig, ModelConfig
from hifigan_rt.errors import ConfigError

MAX_CONFIG_BYTES = 1 << 20
"""A config is a few hundred bytes; a file beyond this is something else."""

_MEL_FIELDS = ("sampling_rate", "n_fft", "win_size", "hop_size", "num_mels", "fmin", "fmax")
_OUR_MEL_FIELDS = ("log", "floor", "magnitude_epsilon", "padding", "norm", "mean", "scale")


def read_config(path: str | Path, parse: Callable[[object], ModelConfig] | None = None) -> ModelConfig:
    """Read a `config.json`; the name of a preset (v1, v2, v3) is taken as well.

    Args:
        path: the file, or the preset.
        parse: reads what is decoded from it; by default `parse_config`, the original's form.

    Raises:
        ConfigError: no such file or preset, not JSON, or a field breaks a rule.
    """
    name = str(path)
    if name in PRESETS:
        return PRESETS[name]
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"config {name!r} cannot be read ({error.strerror}): give a config.json or one of {', '.join(PRESETS)}"
        ) from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"config {name!r} is larger than {MAX_CONFIG_BYTES} bytes: that is no config.json")
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"config {name!r} is not JSON: {error}") from error
    try:
        return (parse or parse_config)(values)
    except ConfigError as error:
        raise ConfigError(f"config {name!r}: {error}") from error


def parse_config(values: object) -> ModelConfig:
    """Build a `ModelConfig` from the decoded `config.json` of the original; training fields are ignored.

    The mel settings are None if the file holds none of them. Beside the original's fields, `log`, `floor`,
    `magnitude_epsilon`, `padding`, `norm`, `mean` and `scale` are read as `MelConfig` names them.

    Raises:
        ConfigError: a field is missing, mistyped, out of range or contradicts another.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"a config must be a JSON object, this is {_describe(values)}")
    fields = cast("dict[str, Any]", values)
    resblock = fields.get("resblock", "1")
    if isinstance(resblock, bool) or resblock not in ("1", "2", 1, 2):
        raise ConfigError(f"resblock={resblock!r} must be '1' or '2'")
    generator = GeneratorConfig(
        num_mels=_integer(fields, "num_mels", default=80),
        upsample_initial_channel=_integer(fields, "upsample_initial_channel"),
        upsample_rates=_integers(fields, "upsample_rates"),
        upsample_kernel_sizes=_integers(fields, "upsample_kernel_sizes"),
        resblock=cast("Literal['1', '2']", str(resblock)),
        resblock_kernel_sizes=_integers(fields, "resblock_kernel_sizes"),
        resblock_dilation_sizes=_nested_integers(fields, "resblock_dilation_sizes"),
    )
    return ModelConfig(generator, _parse_mel(fields), resblock_was_integer=isinstance(resblock, int))


def _parse_mel(fields: Mapping[str, Any]) -> MelConfig | None:
    if not any(name in fields for name in _MEL_FIELDS if name != "num_mels"):
        return None
    mean, scale = (_numbers(fields, name) for name in ("mean", "scale"))
    fmax = fields.get("fmax")
    return MelConfig(
        sample_rate=_integer(fields, "sampling_rate"),
        n_fft=_integer(fields, "n_fft"),
        win_length=_integer(fields, "win_size"),
        hop_length=_integer(fields, "hop_size"),
        num_mels=_integer(fields, "num_mels", default=80),
        fmin=_number(fields, "fmin", 0.0),
        fmax=None if fmax is None else _number(fields, "fmax", 0.0),
        log=fields.get("log", "ln"),
        floor=_number(fields, "floor", 1e-5),
        magnitude_epsilon=_number(fields, "magnitude_epsilon", 1e-9),
        padding=fields.get("padding", "reflect"),
        norm=fields.get("norm", "slaney"),
        mean=mean,
        scale=scale,
    )


def config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """The config as the original's `config.json` holds it: what `parse_config` reads back to an equal config."""
    generator, mel = config.generator, config.mel
    fields: dict[str, Any] = {
        "resblock": generator.resblock,
        "upsample_rates": list(generator.upsample_rates),
        "upsample_kernel_sizes": list(generator.upsample_kernel_sizes),
        "upsample_initial_channel": generator.upsample_initial_channel,
        "resblock_kernel_sizes": list(generator.resblock_kernel_sizes),
        "resblock_dilation_sizes": [list(dilations) for dilations in generator.resblock_dilation_sizes],
        "num_mels": generator.num_mels,
    }
    if mel is not None:
        fields |= {
            "sampling_rate": mel.sample_rate,
            "n_fft": mel.n_fft,
            "win_size": mel.win_length,
            "hop_size": mel.hop_length,
            "fmin": mel.fmin,
            "fmax": mel.fmax,
        }
        default = MelConfig(mel.sample_rate, mel.n_fft, mel.win_length, mel.hop_length, mel.num_mels)
        for name in _OUR_MEL_FIELDS:
            value = getattr(mel, name)
            if value != getattr(default, name):
                fields[name] = list(value) if isinstance(value, tuple) else value
    return fields


def _describe(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def _required(fields: Mapping[str, Any], name: str) -> Any:
    if name not in fields:
        raise ConfigError(f"{name} is missing")
    return fields[name]


def _as_integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        raise ConfigError(f"{name}={_describe(value)} must be a whole number")
    return int(value)


def _integer(fields: Mapping[str, Any], name: str, default: int | None = None) -> int:
    if default is not None and name not in fields:
        return default
    return _as_integer(name, _required(fields, name))


def _as_list(name: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{name}={_describe(value)} must be a list")
    return value


def _integers(fields: Mapping[str, Any], name: str) -> tuple[int, ...]:
    values = _as_list(name, _required(fields, name))
    return tuple(_as_integer(f"{name}[{i}]", value) for i, value in enumerate(values))


def _nested_integers(fields: Mapping[str, Any], name: str) -> tuple[tuple[int, ...], ...]:
    rows = _as_list(name, _required(fields, name))
    return tuple(
        tuple(_as_integer(f"{name}[{j}][{m}]", value) for m, value in enumerate(_as_list(f"{name}[{j}]", row)))
        for j, row in enumerate(rows)
    )


def _as_number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"{name}={_describe(value)} must be a finite number")
    return float(value)


def _number(fields: Mapping[str, Any], name: str, default: float) -> float:
    return _as_number(name, fields.get(name, default))


def _numbers(fields: Mapping[str, Any], name: str) -> tuple[float, ...] | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, list):
        return tuple(_as_number(f"{name}[{i}]", entry) for i, entry in enumerate(value))
    return (_as_number(name, value),)
