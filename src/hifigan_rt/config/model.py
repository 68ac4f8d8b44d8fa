"""An architecture with its mel settings, and the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hifigan_rt.config.generator import GeneratorConfig
from hifigan_rt.config.mel import MelConfig, PartialMelConfig
from hifigan_rt.errors import ConfigError


@dataclass(frozen=True)
class ModelConfig:
    """A generator's architecture with, as far as known, the mel settings that it was trained on."""

    generator: GeneratorConfig
    mel: MelConfig | PartialMelConfig | None = None
    resblock_was_integer: bool = False
    """The file held `"resblock": 1` without quotes, which the original code reads as type 2."""
    speakers: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Names of speakers, with their rows in the table."""

    def __post_init__(self) -> None:
        generator, mel = self.generator, self.mel
        for name, row in self.speakers.items():
            if not 0 <= row < generator.num_speakers:
                raise ConfigError(
                    f"speakers: {name[:100]!r} has row {row} of a table of {generator.num_speakers} speakers"
                )
        if mel is None:
            return
        if isinstance(mel, MelConfig) and generator.input_kind == "latent":
            raise ConfigError("input_kind='latent' has no mel: of the mel settings only the sample rate may be stated")
        hop_length, num_mels = (
            (mel.hop_length, mel.num_mels)
            if isinstance(mel, MelConfig)
            else (mel.stated.get("hop_size", generator.hop_length), generator.input_channels)
        )
        if hop_length != generator.hop_length:
            raise ConfigError(
                f"hop_size={hop_length} does not match upsample_rates="
                f"{list(generator.upsample_rates)}, whose product is {generator.hop_length}"
            )
        if num_mels != generator.input_channels:
            raise ConfigError(
                f"num_mels={num_mels} of the mel settings differs from the generator's num_mels="
                f"{generator.input_channels}"
            )


def _v(
    channels: int, rates: tuple[int, ...], kernels: tuple[int, ...], resblock: Literal["1", "2"],
    resblock_kernels: tuple[int, ...], dilations: tuple[tuple[int, ...], ...],
) -> ModelConfig:  # fmt: skip
    return ModelConfig(
        GeneratorConfig(channels, rates, kernels, resblock, resblock_kernels, dilations),
        MelConfig(22050, 1024, 1024, 256, 80, 0.0, 8000.0),
    )


PRESETS: Mapping[str, ModelConfig] = {
    "v1": _v(512, (8, 8, 2, 2), (16, 16, 4, 4), "1", (3, 7, 11), ((1, 3, 5),) * 3),
    "v2": _v(128, (8, 8, 2, 2), (16, 16, 4, 4), "1", (3, 7, 11), ((1, 3, 5),) * 3),
    "v3": _v(256, (8, 8, 4), (16, 16, 8), "2", (3, 5, 7), ((1, 2), (2, 6), (3, 12))),
}
"""The three published configs (jik876/hifi-gan: config_v1.json, config_v2.json, config_v3.json)."""
