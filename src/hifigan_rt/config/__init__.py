"""What a model is: the generator's architecture and the mel settings that go with it."""

from __future__ import annotations

from hifigan_rt.config.flow import FlowConfig
from hifigan_rt.config.generator import GeneratorConfig
from hifigan_rt.config.mel import MelConfig, PartialMelConfig
from hifigan_rt.config.model import PRESETS, ModelConfig
from hifigan_rt.config.ranges import MAX_CHANNELS, MAX_DILATION, MAX_KERNEL_SIZE, MAX_LAYERS, MAX_RATE, MAX_SPEAKERS

__all__ = [
    "MAX_CHANNELS",
    "MAX_DILATION",
    "MAX_KERNEL_SIZE",
    "MAX_LAYERS",
    "MAX_RATE",
    "MAX_SPEAKERS",
    "PRESETS",
    "FlowConfig",
    "GeneratorConfig",
    "MelConfig",
    "ModelConfig",
    "PartialMelConfig",
]
