"""Which config belongs to these weights: a config is held to them, whichever family's form it has.

The original's fields are taken for weights of any family. What else a family writes, it reads itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hifigan_rt import families
from hifigan_rt.config import MelConfig, ModelConfig
from hifigan_rt.errors import ConfigError
from hifigan_rt.families.architecture import SettledConfig, settle_config
from hifigan_rt.families.family import NOTES, ConfigForm, Family, Shapes
from hifigan_rt.families.original import ORIGINAL
from hifigan_rt.families.vits import voice_family
from hifigan_rt.formats.config_file import read_config_values
from hifigan_rt.formats.config_json import (
    config_to_dict,
    holds_fields,
    holds_network,
    parse_config,
    read_mel_config,
    stated_fields,
)
from hifigan_rt.formats.graph_fields import SPEAKERS, graph_fields


@dataclass(frozen=True)
class StatedConfig:
    """A decoded config, and where it stands."""

    place: str
    """Where, for texts: "config 'x.json'"."""
    values: object
    """What it holds; a ConfigError if it cannot be decoded."""


def _within(name: str, *fields: str) -> Callable[[Mapping[str, object]], bool]:
    def tell(values: Mapping[str, object]) -> bool:
        inner = values.get(name)
        return isinstance(inner, dict) and any(field in inner for field in fields)

    return tell


def _any_of(*fields: str) -> Callable[[Mapping[str, object]], bool]:
    return lambda values: any(field in values for field in fields)


_OTHERS: Mapping[str, Callable[[Mapping[str, object]], bool]] = {
    "transformers": _any_of("transformers_version", "architectures"),
    "ParallelWaveGAN": _any_of("generator_type", "generator_params"),
    "TensorFlowTTS": _any_of("hifigan_generator_params", "melgan_generator_params"),
    "Piper": _any_of("phoneme_id_map", "espeak"),
    "VITS": _within("model", "inter_channels", "n_flow_layer", "gin_channels"),
    "BigVGAN": lambda values: str(values.get("activation", "")).startswith("snake"),
    "iSTFTNet": _any_of("gen_istft_n_fft", "gen_istft_hop_size"),
}
"""Projects whose configs are told by fields that the original has not, where the families do not tell them."""


def match_config(family: Family, shapes: Shapes, stated: StatedConfig | None) -> SettledConfig:
    """Read a config for weights, and hold it to them.

    Args:
        family: of the weights.
        shapes: the folded parameters, under the original's names.
        stated: the config; None if there is none.

    Raises:
        CheckpointError: these are not a generator's weights.
        ConfigError: the config is another family's, wrong, or contradicts the weights; the text begins with its place.
    """
    if stated is None:
        return settle_config(shapes, family.imply({}, shapes))
    try:
        if isinstance(stated.values, ConfigError):
            raise stated.values
        return _match(family, shapes, stated.values)
    except ConfigError as error:
        raise ConfigError(f"{stated.place}: {error}") from error


def parse_for_file(stated: StatedConfig, known: Mapping[str, Any]) -> ModelConfig:
    """Read a config in the original's fields for a converted file, whose weights are not looked at.

    Args:
        stated: the config.
        known: fields that the file tells, which count where the config does not.

    Raises:
        ConfigError: the config is another family's or wrong; the text begins with its place.
    """
    owner = _owner(stated.values)
    if owner is not None:
        raise ConfigError(
            f"{stated.place}: it is a config of {owner}: give one in the fields of the original's config.json with "
            "config= (--config), or move this one away if it only lies beside the file"
        )
    try:
        fields = stated_fields(stated.values)
        return parse_config(fields | {name: known[name] for name in known if fields.get(name) is None})
    except ConfigError as error:
        raise ConfigError(f"{stated.place}: {error}") from error


def form_of_any(values: object) -> ConfigForm | None:
    """Find the form of a decoded config among those of all families and of whole voices; None for the original's."""
    every = (*families.FAMILIES, voice_family(ORIGINAL))
    return next((form for family in every if (form := family.form_of(values)) is not None), None)


def read_mel_alone(path: str | Path) -> MelConfig:
    """Read the mel settings of a config in the original's fields or of a preset, where there is no model.

    Raises:
        ConfigError: as `read_mel_config`; it is another project's, which is read for weights alone.
    """
    try:
        return read_mel_config(path)
    except ConfigError as error:
        try:
            form = form_of_any(read_config_values(path))
        except ConfigError:
            form = None
        if form is None:
            raise
        raise ConfigError(
            f"config {str(path)!r} is one of {form.name}, which is read with its checkpoint: name that with --model"
        ) from error


def read_fields(stated: StatedConfig, shapes: Shapes) -> tuple[Mapping[str, Any], str | None]:
    """Read a config of any form for a network whose layers are known.

    Args:
        stated: the config.
        shapes: the parameters, under the original's names.

    Returns:
        Fields of our own `config.json`, and the project in whose form they were; None for the original's.

    Raises:
        ConfigError: it is in no form that is read, or another network's.
    """
    values = stated.values
    form = form_of_any(values)
    if form is not None and isinstance(values, dict):
        return form.read(values, shapes), form.name
    owner = _owner(values)
    if owner is not None:
        raise ConfigError(
            f"it is a config of {owner}: give one in the fields of the original's config.json with config= "
            "(--config), or move this one away if it only lies beside the file"
        )
    return stated_fields(values), None


def differences(one: ModelConfig, other: ModelConfig) -> str:
    """Tell which fields two configs state differently, with both values; empty if none."""
    ours, theirs = (
        config_to_dict(config) | graph_fields(config.generator, defaults=True) | {SPEAKERS: dict(config.speakers)}
        for config in (one, other)
    )
    fields = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    return ", ".join(f"{name} {ours[name]} and {theirs[name]}" for name in fields)


def choose_alike(settled: Sequence[tuple[StatedConfig, SettledConfig]]) -> tuple[StatedConfig, SettledConfig] | None:
    """The fullest of several that fit, if none contradicts the first; None if one does, or there is none."""
    if not settled or any(differences(settled[0][1].config, other.config) for _, other in settled[1:]):
        return None
    return max(settled, key=lambda item: len(config_to_dict(item[1].config)))


def _match(family: Family, shapes: Shapes, values: object) -> SettledConfig:
    form = family.form_of(values)
    if form is not None and isinstance(values, dict):
        fields = form.read(values, shapes)
        implied = family.imply(fields, shapes)
        try:
            settled = settle_config(shapes, {**implied, **fields})
        except ConfigError as error:
            raise ConfigError(f"{error} (by the original's names of the fields of {form.name})") from error
        notes = (*settled.notes, *implied.get(NOTES, ()), *fields.get(NOTES, ()))
        return replace(settled, notes=notes, form=form.name)
    owner = _owner(values)
    if owner is not None:
        raise ConfigError(
            f"it is a config of {owner}, and the weights are named as {family.name} names them: give the config that "
            "they were trained with with config= (--config), in the fields of the original's config.json; if this one "
            "only lies beside the file, move it away"
        )
    fields = stated_fields(values)
    if not holds_fields(values):
        raise ConfigError(
            "it holds none of the fields of the original's config.json, upsample_rates and so on: give the config "
            "of the vocoder with config= (--config)"
        )
    return settle_config(shapes, {**family.imply(fields, shapes), **fields})


def is_config(values: object) -> bool:
    """Tell whether a decoded value is a config, in the original's fields or in a form of a family's own."""
    return holds_fields(values) or any(family.form_of(values) for family in families.FAMILIES)


def describes_network(values: object) -> bool:
    """Tell whether a decoded value is a config that describes a network, in any of those forms."""
    return holds_network(values) or any(family.form_of(values) for family in families.FAMILIES)


def _owner(values: object) -> str | None:
    """The project that writes such configs, unless they have the original's form."""
    if not isinstance(values, dict):
        return None
    for family in families.FAMILIES:
        form = family.form_of(values)
        if form is not None:
            return form.name
    return next((name for name, tells in _OTHERS.items() if tells(values)), None)
