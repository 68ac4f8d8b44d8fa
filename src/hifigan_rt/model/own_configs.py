"""Finds configs that stand in a checkpoint beside its weights, in the original's fields or a family's own form."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hifigan_rt.errors import ConfigError
from hifigan_rt.families.matching import StatedConfig, describes_network, is_config
from hifigan_rt.families.vits import name_rvc_fields
from hifigan_rt.formats.checkpoint import Checkpoint
from hifigan_rt.formats.config_json import holds_fields, holds_mel
from hifigan_rt.formats.config_values import each_once
from hifigan_rt.formats.config_yaml import decode_yaml

_MAX_TEXT = 1 << 20
"""Characters of JSON text that are decoded."""


def find_configs(checkpoint: Checkpoint) -> list[StatedConfig]:
    """Find the config in the metadata, else those in the dictionaries around the weights.

    A dictionary may hold the fields itself, or under any name a dictionary, JSON text or RVC's list with them. Those
    that describe the network count, in the nearest dictionary that has such; if none has, those that tell mel settings.
    """
    if holds_fields(checkpoint.config):
        return [StatedConfig("the config in the file's metadata", checkpoint.config)]
    if checkpoint.config_text is not None:
        return [_decoded_yaml(checkpoint.config_text)]
    others: list[StatedConfig] = []
    for mapping in checkpoint.beside:
        found = _found_in(mapping)
        networks = [stated for stated in found if describes_network(stated.values)]
        if networks:
            return _with_mel(networks, [stated for stated in found if stated not in networks])
        others = others or found
    return others


def _decoded_yaml(text: str) -> StatedConfig:
    try:
        values = decode_yaml(text)
    except ConfigError as error:
        # Told where the config is needed: the user may have named another.
        values = error
    return StatedConfig("model_config.yaml in the file", values)


def _with_mel(networks: list[StatedConfig], others: list[StatedConfig]) -> list[StatedConfig]:
    """Join the one config that describes a network alone with the one that tells the mel settings."""
    others = [stated for stated in others if holds_mel(stated.values)]
    if len(networks) != 1 or len(others) != 1 or holds_mel(networks[0].values):
        return networks
    network, mel = networks[0], others[0]
    return [StatedConfig(f"{network.place} with {mel.place}", {"network": network.values, "mel": mel.values})]


def _found_in(mapping: Mapping[str, object]) -> list[StatedConfig]:
    own = {name: value for name, value in mapping.items() if not isinstance(value, dict)}
    candidates: list[tuple[str, object]] = [("the checkpoint itself", own)]
    candidates += [(f"entry {name[:40]!r} of the checkpoint", _decoded(value)) for name, value in mapping.items()]
    return [
        StatedConfig(place, values)
        for place, values in candidates
        if isinstance(values, ConfigError) or is_config(values)
    ]


def _decoded(value: object) -> object:
    if not isinstance(value, str) or value.lstrip()[:1] != "{" or len(value) > _MAX_TEXT:
        return name_rvc_fields(value)
    try:
        decoded: object = json.loads(value, object_pairs_hook=each_once)
    except ConfigError as error:
        return error if is_config(json.loads(value)) else value  # told where the config is needed
    except (ValueError, RecursionError):
        return value
    return decoded
