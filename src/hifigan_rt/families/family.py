"""What a family of checkpoints has to tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hifigan_rt.errors import ConfigError

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of the folded parameters, under the original's names."""


NOTES = "notes"
"""Key of sentences, among the fields that a config was read into, on what was read differently than it says."""


def imply_nothing(fields: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:  # noqa: ARG001 - the others look
    """Tell that the network is the original's."""
    return {}


def _no_files(values: Mapping[str, object]) -> tuple[str, ...]:  # noqa: ARG001 - the others look
    return ()


@dataclass(frozen=True)
class ConfigForm:
    """How one project writes a config, where it differs from the original's `config.json`."""

    name: str
    """The project, for texts."""
    tells: Callable[[Mapping[str, object]], bool]
    """Tells the project's decoded config by fields that no other form has."""
    read: Callable[[Mapping[str, object], Shapes], Mapping[str, Any]]
    """Reads such a config for weights of these shapes into the fields of our own `config.json`, mel settings included.

    What weights decide it may leave out. Raises ConfigError for what is another network, or contradicts itself.
    """
    files: tuple[str, ...] = ()
    """Names under which the project's programs write it beside a checkpoint, the usual one first."""
    statistics: Callable[[Mapping[str, object]], tuple[str, ...]] = _no_files
    """Names of files beside a checkpoint that may hold the mean and scale of its mels, by the decoded config."""


@dataclass(frozen=True)
class Family:
    """How one project writes a generator, as patterns of names and functions that bring it to the original's form."""

    key: str
    """Short name, for `--family` and machines."""
    name: str
    """The project, for texts."""
    layers: str
    """Names of its layers, for texts."""
    parts: frozenset[str]
    """First components of those names."""
    needed: Mapping[str, re.Pattern[str]]
    """Beginnings of tensors' names, each under a name for texts; a generator of the family has all of them.

    The first is that of the layer that tells where a common prefix ends, such as `dec.` in `dec.conv_pre.weight`.
    """
    rename: Callable[[Collection[str]], Mapping[str, str]]
    """Gives the original's name for each parameter of a generator.

    Raises CheckpointError if one does not fit; the text names it.
    """
    config_forms: tuple[ConfigForm, ...] = ()
    """Forms of config that come with weights of such names, beside the original's, which every family takes."""
    imply: Callable[[Mapping[str, Any], Shapes], Mapping[str, Any]] = imply_nothing
    """Gives what the names alone tell of the network, as fields of our own `config.json`, to a config in its fields.

    What the config states counts before it.
    """
    takes_mels_at: re.Pattern[str] | None = None
    """Ends of the way to a generator that takes mels although other networks lie beside it."""
    statistics: tuple[tuple[str, str], ...] = ()
    """Names of tensors with the mean and scale of its mels, beside the generator's or around them: no input step."""
    buffers: frozenset[str] = frozenset()
    """Parameters, as the original or our own files name them, that files hold whether the network uses them or not."""
    ignored: re.Pattern[str] | None = None
    """Beginnings of names that stand among the generator's and are no part of it: those tensors are never loaded."""

    def form_of(self, values: object) -> ConfigForm | None:
        """Find the form of a decoded config; None if it is none of the family's own."""
        if not isinstance(values, dict):
            return None
        return next((form for form in self.config_forms if form.tells(values)), None)

    def knowing(self, facts: Mapping[str, Any], source: str) -> Family:
        """The family for a file that tells more than the names of its tensors.

        Args:
            facts: fields of our own `config.json`, as JSON holds them; a config that states one otherwise is refused.
            source: what tells them, for texts.
        """
        if not facts:
            return self

        def imply(fields: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:
            for name, value in facts.items():
                stated = fields.get(name)
                if stated is not None and _plain(stated) != value:
                    raise ConfigError(
                        f"{name}: the config says {stated}, {source} says {value}; config and checkpoint are not of "
                        "one model: give the right one with --config"
                    )
            return {**self.imply(fields, shapes), **facts}

        return replace(self, imply=imply)

    @property
    def config_files(self) -> tuple[str, ...]:
        """Names of config files that are looked for beside a checkpoint, in this order."""
        return (*(name for form in self.config_forms for name in form.files), "config.json")

    @property
    def first_layer(self) -> re.Pattern[str]:
        """The beginning of a name that tells where a common prefix ends."""
        return next(iter(self.needed.values()))

    def recognises(self, names: Collection[str]) -> bool:
        """Tell whether tensors of such names are of this family, whether weight norm is folded or not."""
        return not self.absent(names)

    def absent(self, names: Collection[str]) -> tuple[str, ...]:
        """List what is needed and has none of the names."""
        return tuple(layer for layer, pattern in self.needed.items() if not any(pattern.match(name) for name in names))


def _plain(value: object) -> object:
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
