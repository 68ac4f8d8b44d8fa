"""Finds a model's licence: what its file says, else the card beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from hifigan_rt.formats.checkpoint.byte_source import open_source
from hifigan_rt.formats.checkpoint.safetensors_file import read_metadata
from hifigan_rt.model.kinds import Model, OpenVinoFile
from hifigan_rt.model.pretrained import KNOWN_MODELS

_KEYS = ("license", "licence")
_CARDS: Mapping[str, re.Pattern[str]] = {
    "MODEL_CARD": re.compile(r"^[ \t*-]*licen[cs]e:[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE),
    "README.md": re.compile(r"\A---\n(?:(?!---\n).*\n)*?licen[cs]e:[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE),
}
"""Cards of Piper's voices, and those of Hugging Face's, whose fields stand between two lines of hyphens."""
_MAX_CARD_CHARACTERS = 1 << 16
_MAX_CHARACTERS = 200


def find_licence(model: Model) -> str | None:
    """Find the licence, as it is written; None if neither the file nor a card beside it names one."""
    if model.name in KNOWN_MODELS:
        return KNOWN_MODELS[model.name].licence
    said = next((value for key, value in _metadata(model).items() if key.lower() in _KEYS and value.strip()), None)
    return _of_card(model.path.parent) if said is None else said.strip()[:_MAX_CHARACTERS]


def _metadata(model: Model) -> Mapping[str, str]:
    if model.format == "onnx":
        from hifigan_rt.formats.onnx_reading import inspect_onnx

        return inspect_onnx(model.path).metadata
    if isinstance(model, OpenVinoFile):
        from hifigan_rt.formats.openvino_reading import inspect_openvino

        return inspect_openvino(model.path, verify=False).metadata
    if model.format == "safetensors":
        with open_source(model.path) as source:
            return read_metadata(source)
    return {}


def _of_card(folder: Path) -> str | None:
    for name, pattern in _CARDS.items():
        try:
            with (folder / name).open(encoding="utf-8", errors="replace") as file:
                match = pattern.search(file.read(_MAX_CARD_CHARACTERS))
        except OSError:
            continue
        if match is not None:
            return f"{match[1].strip()[:_MAX_CHARACTERS]} (by {name} beside it)"
    return None
