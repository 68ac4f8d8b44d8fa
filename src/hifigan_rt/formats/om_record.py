"""The JSON beside an .om file: where it came from, and the config, which the container itself does not carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hifigan_rt.config import ModelConfig
from hifigan_rt.errors import ConfigError, ModelFileError
from hifigan_rt.formats.config_json import config_to_dict, parse_config
from hifigan_rt.formats.config_values import each_once
from hifigan_rt.system.files import atomic_writer, file_sha256, stands_beside

FORMAT = 1
_KIND = "hifigan-rt om"
_ANY_LENGTH = "dynamic"
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class OmRecord:
    """What is known of one .om file."""

    source: str
    """The model that it was made from: a known name or a file name."""
    config: ModelConfig
    batch: int
    mel_lengths: tuple[int, ...]
    """The gears in frames, ascending; one for a static model, none where lengths are open."""
    rank: int
    """3 takes mels as [B, M, T], 4 as [B, M, 1, T]."""
    input_name: str
    soc_version: str
    precision_mode: str
    """The value given to atc; empty if atc's default was left."""
    command: str
    """Command line of atc, as it was run in the folder of the ONNX file."""
    caveat: str
    """What the .om says against itself; mostly empty."""
    om_sha256: str
    onnx_sha256: str
    onnx_snr_db: float | None
    """SNR of the ONNX file against the float64 reference; on the chip it is unknown until a benchmark ran there."""
    versions: Mapping[str, str]
    """Versions of the programs that took part, by name: hifigan-rt, onnx, atc."""
    created: str
    """UTC, ISO 8601."""


def record_path(om_path: Path) -> Path:
    """Where the record of an .om file is: `x.json` beside `x.om`."""
    return om_path.with_suffix(".json")


def write_record(record: OmRecord, path: Path) -> None:
    """Write a record as JSON.

    Raises:
        OutputError: the file could not be written.
    """
    values = {"kind": _KIND, "format": FORMAT} | asdict(record) | {"config": config_to_dict(record.config)}
    values["mel_lengths"] = record.mel_lengths or _ANY_LENGTH
    with atomic_writer(path) as file:
        file.write((json.dumps(values, indent=2, ensure_ascii=True) + "\n").encode())


def read_record(om_path: Path, *, verify: bool = True) -> OmRecord | None:
    """Read the record beside an .om file; None if there is none, or a JSON file of another kind.

    Args:
        om_path: the .om file.
        verify: compare its sha256 with the record's, which takes about a second per gigabyte.

    Raises:
        ModelFileError: the record is damaged, or it is another file's.
    """
    path = record_path(om_path)
    try:
        if not stands_beside(path):
            return None
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        values = json.loads(raw, object_pairs_hook=each_once) if len(raw) <= _MAX_BYTES else None
    except OSError as error:
        raise ModelFileError(f"record {str(path)!r} cannot be read: {error.strerror}") from error
    except ConfigError as error:
        raise ModelFileError(f"record {str(path)!r}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"record {str(path)!r} is not JSON ({error}): remove it, or convert again") from error
    if not isinstance(values, dict) or values.get("kind") != _KIND:
        return None
    record = _parse({"caveat": ""} | values, path)  # records of earlier versions have none
    if not verify:
        return record
    try:
        found = file_sha256(om_path)
    except OSError as error:
        raise ModelFileError(f"{str(om_path)!r} cannot be read: {error.strerror}") from error
    if found != record.om_sha256:
        raise ModelFileError(
            f"record {str(path)!r} is of another file than {om_path.name}: their sha256 differ; copy both from one "
            "conversion, or remove the record and give --config"
        )
    return record


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "source": str, "batch": int, "mel_lengths": (list, str), "rank": int, "input_name": str, "soc_version": str,
    "precision_mode": str, "command": str, "caveat": str, "om_sha256": str, "onnx_sha256": str,
    "onnx_snr_db": (int, float, type(None)), "versions": dict, "created": str, "config": dict,
}  # fmt: skip


def _parse(values: Mapping[str, Any], path: Path) -> OmRecord:
    if values.get("format") != FORMAT:
        raise ModelFileError(
            f"record {str(path)!r} is of format {values.get('format')!r}, this hifigan-rt reads {FORMAT}: convert again"
        )
    for name, types in _TYPES.items():
        value = values.get(name)
        if name not in values or not isinstance(value, types) or (types is int and isinstance(value, bool)):
            raise ModelFileError(f"record {str(path)!r} is damaged: {name}={value!r}; convert again")
    lengths = values["mel_lengths"]
    whole = bool(lengths) and all(type(frames) is int and frames > 0 for frames in lengths)
    if lengths != _ANY_LENGTH and (not whole or lengths != sorted(set(lengths))):
        raise ModelFileError(f"record {str(path)!r} is damaged: mel_lengths={lengths!r}; convert again")
    if values["rank"] not in (3, 4) or values["batch"] < 1:
        raise ModelFileError(
            f"record {str(path)!r} is damaged: rank={values['rank']}, batch={values['batch']}; convert again"
        )
    try:
        config = parse_config(values["config"])
    except ConfigError as error:
        raise ModelFileError(f"record {str(path)!r} is damaged: its config: {error}") from error
    chosen = {item.name: values[item.name] for item in fields(OmRecord)}
    return OmRecord(**(chosen | {"config": config, "mel_lengths": () if lengths == _ANY_LENGTH else tuple(lengths)}))
