"""Takes a HiFi-GAN checkpoint to production: loads it without PyTorch, runs, converts and measures it.

    vocoder = hifigan_rt.load("ljspeech-v1")
    audio = vocoder(mel)                       # [M, T] -> [N], float32 in [-1, 1]

Names are imported when they are first used, so that `import hifigan_rt` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # What type checkers see of the table below.
    from hifigan_rt.config import GeneratorConfig as GeneratorConfig
    from hifigan_rt.config import MelConfig as MelConfig
    from hifigan_rt.config import ModelConfig as ModelConfig
    from hifigan_rt.errors import HifiganError as HifiganError
    from hifigan_rt.errors import MelConventionWarning as MelConventionWarning
    from hifigan_rt.errors import ModelAssumptionWarning as ModelAssumptionWarning
    from hifigan_rt.errors import PaddedTailWarning as PaddedTailWarning
    from hifigan_rt.streaming import advance as advance
    from hifigan_rt.tools.client import AsyncClient as AsyncClient
    from hifigan_rt.tools.client import Client as Client
    from hifigan_rt.tools.cluster import synthesize_dataset as synthesize_dataset
    from hifigan_rt.tools.framework import as_torch_module as as_torch_module
    from hifigan_rt.tools.voices import Voice as Voice
    from hifigan_rt.tools.voices import load_voice as load_voice
    from hifigan_rt.vocoder import Vocoder as Vocoder
    from hifigan_rt.vocoder import load as load

_MODULE_OF = {
    "AsyncClient": "tools.client",
    "Client": "tools.client",
    "GeneratorConfig": "config",
    "HifiganError": "errors",
    "MelConfig": "config",
    "MelConventionWarning": "errors",
    "ModelAssumptionWarning": "errors",
    "ModelConfig": "config",
    "PaddedTailWarning": "errors",
    "Vocoder": "vocoder",
    "Voice": "tools.voices",
    "advance": "streaming",
    "as_torch_module": "tools.framework",
    "load": "vocoder",
    "load_voice": "tools.voices",
    "synthesize_dataset": "tools.cluster",
}

__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("hifigan_rt.system.versions").own_version()
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'hifigan_rt' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hifigan_rt.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
