"""Writes a generator as .safetensors, with its config in the metadata: one file, readable without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from hifigan_rt.config import MelConfig, ModelConfig, PartialMelConfig
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.graph import Generator
from hifigan_rt.system.files import atomic_writer
from hifigan_rt.system.temporary_names import remove_left_over


def write_safetensors(
    generator: Generator,
    mel: MelConfig | PartialMelConfig | None,
    path: Path,
    source: str,
    speakers: Mapping[str, int] | None = None,
) -> None:
    """Write the folded weights as float32, under the original's names.

    Args:
        generator: weights and architecture; float64 weights are rounded to float32.
        mel: the mel settings that go into the config, where known.
        path: the file to write; it takes its name when it is complete.
        source: where the weights come from, for the metadata.
        speakers: their names, with their rows in the table.

    Raises:
        ConfigError: the mel settings contradict the architecture.
        ExportError: a weight does not fit into float32.
        OutputError: the file could not be written.
    """
    # The package takes 0.1 s to import, and only this function needs it.
    from safetensors.numpy import save

    config = config_to_dict(ModelConfig(generator.graph.config, mel, speakers=speakers or {}))
    metadata = {"config": json.dumps(config), "format": "pt", "model_type": "hifigan", "source": source}
    weights = {name: generator.float32(name) for name in generator.weights}
    data = save(weights, metadata)
    remove_left_over([path.parent])
    with atomic_writer(path) as file:
        file.write(data)
