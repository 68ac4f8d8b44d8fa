"""Finds the config that goes with a model's file: the one named, `config.json` beside it, one inside, another beside.

In place of `config.json` it may have the name that the family's programs give it. With mels that are normalised belong
a mean and scale, from the checkpoint or a file beside it.
Whatever is taken is held to the weights (`hifigan_rt.families.matching`), and what the user did not name is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hifigan_rt.config import PRESETS, ModelConfig, PartialMelConfig
from hifigan_rt.errors import ConfigError
from hifigan_rt.families.architecture import SettledConfig
from hifigan_rt.families.family import Family, Shapes
from hifigan_rt.families.matching import (
    StatedConfig,
    choose_alike,
    describes_network,
    differences,
    form_of_any,
    is_config,
    match_config,
    parse_for_file,
)
from hifigan_rt.formats.config_file import YAML_SUFFIXES, read_config_values
from hifigan_rt.formats.config_json import NETWORK_FIELDS, config_to_dict, parse_config
from hifigan_rt.formats.graph_fields import GRAPH_FIELDS, SPEAKERS, graph_fields
from hifigan_rt.mel.statistics import check_statistics, read_statistics
from hifigan_rt.system.files import stands_beside

_NAME = "config.json"
_MOST_FILES = 100
"""Files beside a model that are looked into."""


@dataclass(frozen=True)
class ConfigSearch:
    """What tells the config of one checkpoint."""

    family: Family
    shapes: Shapes
    """The folded parameters, under the original's names."""
    path: Path
    """The checkpoint."""
    own: Sequence[StatedConfig]
    """Configs that stand in it."""
    statistics: tuple[np.ndarray, np.ndarray] | None = None
    """Mean and scale of the mels, if it holds them."""

    def settle(self, named: str | Path | None) -> SettledConfig:
        """Find the config, in the order above, and hold it to the weights.

        Args:
            named: what the user named, a file or a preset.

        Raises:
            CheckpointError: these are not a generator's weights.
            ConfigError: the config is wrong or contradicts the weights, several contradict each other, or there is
                none and the weights do not decide it.
        """
        stated = _stated(self.path, named, self.family.config_files)
        if stated is not None:
            settled = self._knowing_own(stated)._hold(stated, lies_beside=named is None)
            doubts = tuple(self._doubts(stated, settled))
            # What the user names counts, and needs no confirmation.
            return replace(settled, notes=settled.notes + doubts) if named is not None else _assuming(settled, *doubts)
        if self.own:
            return self._own()
        return self._beside()

    def _knowing_own(self, stated: StatedConfig) -> ConfigSearch:
        """The same search, knowing the network of the checkpoint's own config where the stated one has none.

        What one in the original's fields cannot state, the checkpoint's own tells all the same.
        """
        if not self.own:
            return self
        if self._states_network(stated.values):
            try:
                facts = graph_fields(self._own().config.generator)
            except ConfigError:
                return self
        else:
            facts = config_to_dict(ModelConfig(self._own().config.generator))
        return replace(self, family=self.family.knowing(facts, "the config in the checkpoint"))

    def _states_network(self, values: object) -> bool:
        form = self.family.form_of(values)
        if form is None or not isinstance(values, dict):
            return describes_network(values)
        try:
            return "upsample_rates" in form.read(values, self.shapes)
        except ConfigError:
            return True  # told where it is read

    def _hold(self, stated: StatedConfig, *, lies_beside: bool) -> SettledConfig:
        try:
            return self._match(stated)
        except ConfigError as error:
            if not lies_beside:
                raise
            fits, _ = self._fitting((*self.own, *_other_files(self.path)[0]))
            others = f"; {', '.join(other.place for other, _ in fits)} would fit" if fits else ""
            raise ConfigError(
                f"{error}. It only lies beside {self.path.name!r}: the config that is named with config= (--config) "
                f"comes before it{others}"
            ) from error

    def _match(self, stated: StatedConfig) -> SettledConfig:
        """Hold a config to the weights, and add the mean and scale that its mels are normalised with."""
        settled = match_config(self.family, self.shapes, stated)
        config = settled.config
        if not (isinstance(config.mel, PartialMelConfig) and {"mean", "scale"} & set(config.mel.missing)):
            return settled
        found = self._statistics(stated.values, config.generator.input_channels)
        if found is None:
            return settled
        fields = config_to_dict(config) | dict(zip(("mean", "scale"), map(list, found), strict=True))
        return replace(settled, config=replace(config, mel=parse_config(fields).mel))

    def _statistics(self, values: object, num_mels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        if self.statistics is not None:
            return check_statistics(*self.statistics, num_mels, f"the mean and scale in {self.path.name!r}")
        form = self.family.form_of(values)
        fields = values if isinstance(values, dict) else {}
        forms = self.family.config_forms if form is None else (form,)
        # A config names them with the folders that they had where the model was trained.
        names = [Path(name).name for known in forms for name in known.statistics(fields)]
        beside = next((file for name in names if name and stands_beside(file := self.path.parent / name)), None)
        return None if beside is None else read_statistics(beside, num_mels)

    def _doubts(self, stated: StatedConfig, settled: SettledConfig) -> list[str]:
        fits, _ = self._fitting(self.own)
        told = [(other.place, differences(settled.config, found.config)) for other, found in fits]
        return [
            f"{stated.place} is used, and {place} says otherwise: {fields} (of the former and the latter)"
            for place, fields in told
            if fields
        ]

    def _own(self) -> SettledConfig:
        fits, misfits = self._fitting(self.own)
        if not fits:
            raise misfits[0]
        chosen = choose_alike(fits)
        if chosen is None:
            raise ConfigError(f"in {self.path.name!r} {_contradiction(fits)}")
        stated, settled = chosen
        told = () if "metadata" in stated.place else (f"no {_NAME} lies beside the file: {stated.place} is used",)
        return replace(settled, notes=told + settled.notes)

    def _beside(self) -> SettledConfig:
        """Take the one other config beside the file that fits, else what the weights decide."""
        files, unread = _other_files(self.path)
        fits, misfits = self._fitting(files)
        chosen = choose_alike(fits)
        if chosen is not None:
            stated, settled = chosen
            return _assuming(
                settled,
                f"no {_NAME} lies beside the file; {stated.place}, the only one there that fits the weights, is used: "
                "naming it with config= (--config) confirms it",
            )
        if fits:
            raise ConfigError(f"no {_NAME} lies beside {self.path.name!r}, but {_contradiction(fits)}")
        found = "".join(f"; {reason}" for reason in (*map(str, misfits), *unread))
        try:
            settled = match_config(self.family, self.shapes, None)
        except ConfigError as error:
            raise ConfigError(f"{error}{found}") from error
        return replace(settled, assumptions=tuple(text + found for text in settled.assumptions))

    def _fitting(
        self, candidates: Sequence[StatedConfig]
    ) -> tuple[list[tuple[StatedConfig, SettledConfig]], list[ConfigError]]:
        fits, misfits = [], []
        for stated in candidates:
            try:
                fits.append((stated, self._match(stated)))
            except ConfigError as error:
                misfits.append(error)
        return fits, misfits


def config_for_converted(
    path: Path, named: str | Path | None, num_mels: int | None, own: ModelConfig | None
) -> ModelConfig | None:
    """Find the config of a converted file outside it: named, or `config.json` beside it; None if neither is there.

    Args:
        path: the file.
        named: what the user named, a file or a preset.
        num_mels: bands of its input, where they show.
        own: what this package wrote into the file or beside it.

    Raises:
        ConfigError: the config is wrong, or another family's.
    """
    stated = _stated(path, named, (_NAME,))
    if stated is None:
        return None
    known = {} if num_mels is None else {"num_mels": num_mels}
    if own is not None:
        known |= {
            name: value
            for name, value in config_to_dict(own).items()
            if name in (*NETWORK_FIELDS, *GRAPH_FIELDS, SPEAKERS)
        }
    return parse_for_file(stated, known)


def stated_for_onnx(path: Path, named: str | Path | None) -> StatedConfig | None:
    """Find the config of an ONNX file whose layers are read: named, else NAME.onnx.json or `config.json` beside it.

    Raises:
        ConfigError: it cannot be read.
    """
    stated = _stated(path, named, (path.name + ".json", _NAME))
    # The converter may have written anything under the file's own name.
    if stated is None or named is not None or is_config(stated.values) or form_of_any(stated.values):
        return stated
    return _stated(path, None, (_NAME,))


def describe_others(path: Path) -> tuple[str, ...]:
    """Name other config files beside a model whose config is not known, if they describe a network."""
    others = [stated.place for stated in _other_files(path)[0]]
    if not others:
        return ()
    return (f"no {_NAME} lies beside the file: {', '.join(others[:5])} may be meant, --config names it",)


def _stated(path: Path, named: str | Path | None, names: Sequence[str]) -> StatedConfig | None:
    """What the user named, or the first file of such names beside the model."""
    if named is not None and str(named) in PRESETS:
        return StatedConfig(f"preset {str(named)!r}", config_to_dict(PRESETS[str(named)]))
    if named is None:
        named = next((beside for name in names if stands_beside(beside := path.parent / name)), None)
        if named is None:
            return None
    return StatedConfig(f"config {str(named)!r}", read_config_values(named))


def _other_files(path: Path) -> tuple[list[StatedConfig], list[str]]:
    """JSON and YAML files beside a model that describe a network, and what is said of others that cannot be read."""
    try:
        files = sorted(file for file in path.parent.iterdir() if file.suffix.lower() in (".json", *YAML_SUFFIXES))
    except OSError:
        return [], []
    stated, unread = [], []
    for file in files[:_MOST_FILES]:
        try:
            values = read_config_values(file)
        except ConfigError as error:
            unread.append(str(error))
            continue
        if describes_network(values):
            stated.append(StatedConfig(f"config {str(file)!r}", values))
    return stated, unread[:3]


def _contradiction(fits: Sequence[tuple[StatedConfig, SettledConfig]]) -> str:
    one, settled = fits[0]
    other, fields = next((other, text) for other, it in fits if (text := differences(settled.config, it.config)))
    return (
        f"{one.place} and {other.place} both fit the weights and differ in {fields} (of the former and the latter): "
        "name the right one with config= (--config)"
    )


def _assuming(settled: SettledConfig, *texts: str) -> SettledConfig:
    return replace(settled, assumptions=(*settled.assumptions, *texts))
