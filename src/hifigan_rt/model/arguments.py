"""Checks the types of what a user names a model with, so that a wrong one is told in words."""

from __future__ import annotations

import os

from hifigan_rt.config import PRESETS
from hifigan_rt.errors import ConfigError, ModelNotFound


def check_name(name: object) -> None:
    """Check what a model is named with.

    Raises:
        ModelNotFound: it is no path and no text, or an empty one.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise ModelNotFound(f"model {str(name)[:99]} is a {type(name).__name__}: give a path, or a name as ljspeech-v1")
    if name == "":
        raise ModelNotFound("model '' is an empty text: give a path, or a name as ljspeech-v1")


def check_config(config: object) -> None:
    """Check what a config is named with; None is none.

    Raises:
        ConfigError: it is no path and no text, or an empty one.
    """
    way_out = f"give the path of a config.json, or a preset ({', '.join(PRESETS)})"
    if isinstance(config, dict):
        raise ConfigError(f"config={str(config)[:60]} is a dict: {way_out}; write a dict to a file first, as JSON")
    if config is not None and not isinstance(config, (str, os.PathLike)):
        raise ConfigError(f"config={str(config)[:60]} is a {type(config).__name__}: {way_out}")
    if config == "":
        raise ConfigError(f"config='' is an empty text: {way_out}, or leave it out")


def check_text(option: str, value: object) -> None:
    """Check an option that is a text or None.

    Raises:
        ConfigError: it is something else.
    """
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{option}={str(value)[:60]} is a {type(value).__name__}: give a text, or leave it out")
