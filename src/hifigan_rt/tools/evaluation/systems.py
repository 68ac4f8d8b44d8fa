"""What is compared: models on engines, or folders of audio, as a user writes them.

    KEY=VALUE[,KEY=VALUE...]     a bare first word is an engine or a model

Keys: name, model, weights_at, family, config, speaker, conditioning, engine, precision, device, threads, mels, folder;
any other is a setting of the engine. What is not given is as for the first system. A part without "=" that is not the
first belongs to the value before it, so that values may hold commas; names may not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.engines import REGISTRY, check_engine, check_settings
from hifigan_rt.errors import EvaluationError
from hifigan_rt.mel.files import read_vector_file

KEYS = (
    "name", "model", "weights_at", "family", "config", "speaker", "conditioning", "engine", "precision", "device",
    "threads", "mels", "folder",
)  # fmt: skip


@dataclass(frozen=True)
class SystemSpec:
    """One system, before anything of it is read. Either `model` or `folder` is set."""

    name: str
    """Unique: stands in tables."""
    model: str | None = None
    folder: Path | None = None
    """Folder of audio that something else made."""
    weights_at: str | None = None
    """Place of the generator in a checkpoint of several."""
    family: str | None = None
    """Project whose reading of the checkpoint is wanted."""
    config: str | None = None
    speaker: str | None = None
    """Number or name of who speaks."""
    conditioning: str | None = None
    """File of the vector in its place."""
    engine: str = "auto"
    precision: str = "float32"
    threads: int | None = None
    execution_provider: str | None = None
    device: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    mels: Path | None = None
    """Folder of predicted mels to start from, instead of the mels of the recordings."""

    @property
    def engine_options(self) -> dict[str, Any]:
        """Arguments of `load` beside the engine's name."""
        names = ("threads", "precision", "execution_provider", "device", "settings")
        return {name: getattr(self, name) for name in names}

    @property
    def vector(self) -> np.ndarray | None:
        """The vector in place of a speaker.

        Raises:
            ConditioningError: its file cannot be read.
        """
        return None if self.conditioning is None else read_vector_file(self.conditioning)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise EvaluationError("a system has an empty name: give name=TEXT")
        if (self.model is None) == (self.folder is None):
            raise EvaluationError(f"system {self.name!r} must be either a model or a folder of audio")
        if self.model is None:
            return
        check_engine(self.engine)
        if self.engine != "auto":
            check_settings(self.engine, self.settings)
        elif self.settings:
            names = ", ".join(self.settings)
            raise EvaluationError(
                f"system {self.name!r}: {names} needs an engine that knows it: give engine=NAME as well"
            )


def model_system(model: str, **options: object) -> SystemSpec:
    """A system named after its model; `options` are the other fields."""
    return SystemSpec(_last_part(model), model, **options)  # type: ignore[arg-type]


def folder_system(folder: Path) -> SystemSpec:
    """A system named after its folder."""
    return SystemSpec(_last_part(str(folder)), folder=folder)


def parse_system(text: str, first: SystemSpec) -> SystemSpec:
    """Read a system that is compared with `first`.

    Raises:
        EvaluationError: a key is doubled or contradicts another, or a value is missing.
        EngineError, EngineUnavailable: the engine or a setting is not known.
    """
    given = _parts(text)
    own = {key: value for key, value in given.items() if key not in KEYS}
    label = given.get("name") or " ".join(
        f"{key}={value}" if key in own else _last_part(value)
        for key, value in given.items()
        if key not in ("config", "threads")
    )
    if "folder" in given:
        useless = [key for key in given if key not in ("name", "folder")]
        if useless:
            raise EvaluationError(
                f"system {text!r}: a folder holds audio that is made already; leave out {useless[0]}="
            )
        return SystemSpec(label, folder=Path(given["folder"]))
    if first.model is None and "model" not in given:
        raise EvaluationError(f"system {text!r} needs model=NAME, since the first system is a folder of audio")
    same_engine = given.get("engine", first.engine) == first.engine
    same_model = "model" not in given
    same_voice = same_model and "speaker" not in given and "conditioning" not in given
    return SystemSpec(
        label or _last_part(text),
        given.get("model", first.model),
        weights_at=given.get("weights_at", first.weights_at if same_model else None),
        family=given.get("family", first.family if same_model else None),
        config=given.get("config", first.config if same_model else None),
        speaker=given.get("speaker", first.speaker if same_voice else None),
        conditioning=given.get("conditioning", first.conditioning if same_voice else None),
        engine=given.get("engine", first.engine),
        precision=given.get("precision", first.precision),
        threads=_threads(text, given["threads"]) if "threads" in given else first.threads,
        execution_provider=first.execution_provider if same_engine else None,
        device=given.get("device", first.device if same_engine else None),
        settings=(dict(first.settings) if same_engine else {}) | own,
        mels=Path(given["mels"]) if "mels" in given else first.mels,
    )


def distinct(systems: Sequence[SystemSpec]) -> tuple[SystemSpec, ...]:
    """Number systems whose names are alike."""
    seen: dict[str, int] = {}
    named = []
    for system in systems:
        seen[system.name] = seen.get(system.name, 0) + 1
        count = seen[system.name]
        named.append(system if count == 1 else replace(system, name=f"{system.name}#{count}"))
    return tuple(named)


def folder_names(systems: Sequence[SystemSpec], taken: str) -> tuple[str, ...]:
    """A name for each system's folder of audio, free of what file systems and links stumble over."""
    names = {taken}
    result = []
    for system in systems:
        plain = re.sub(r"[^A-Za-z0-9_+=.-]+", "-", system.name).strip(".-")[:60] or "system"
        name, count = plain, 1
        while name.lower() in names:
            count += 1
            name = f"{plain}-{count}"
        names.add(name.lower())
        result.append(name)
    return tuple(result)


def _parts(text: str) -> dict[str, str]:
    given: dict[str, str] = {}
    last = ""
    for index, part in enumerate(text.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals and index == 0:
            key, value = ("engine" if key in REGISTRY or key == "auto" else "model"), key
        elif last == "name" and not equals:
            raise EvaluationError(
                f"system {text!r}: {part!r} follows the name, which has no commas: write engine= or model= before it"
            )
        elif not equals:
            given[last] += f",{part}"
            continue
        if not key or not value:
            raise EvaluationError(
                f"system {text!r}: {part!r} is not KEY=VALUE, as in engine=openvino,precision=bfloat16"
            )
        if key in given:
            raise EvaluationError(f"system {text!r}: {key} is given twice")
        given[key] = value
        last = key
    return given


def _threads(text: str, value: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,4}", value):
        raise EvaluationError(f"system {text!r}: threads={value!r} is no whole number from 1 on")
    return int(value)


def _last_part(value: str) -> str:
    return Path(value).name or value
