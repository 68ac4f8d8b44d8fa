"""`hifigan info x.om`: what an Ascend model says about itself, and what its record adds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any


def facts_of_om(path: Path) -> dict[str, Any]:
    """What the container and the record beside it tell, in the order in which it is shown; None where they do not."""
    from hifigan_rt.engines.ascend_runtime.precision import describe_mode
    from hifigan_rt.formats.om_file import read_om
    from hifigan_rt.formats.om_record import read_record

    info = read_om(path)
    # The model was resolved, and with it the sha256 compared.
    record = read_record(path, verify=False)
    dtype = info.inputs[0].dtype if info.inputs else ""
    facts: dict[str, Any] = {"caveat": info.caveat} if info.caveat else {}
    facts |= {
        "chip": info.soc_version or None,
        "atc_version": info.atc_version or None,
        "precision_mode": info.precision_mode or None,
        "computes_in": describe_mode(info.precision_mode, info.soc_version, info.atc_cmdline, dtype),
        "inputs": tuple(asdict(tensor) for tensor in info.inputs),
        "outputs": tuple(asdict(tensor) for tensor in info.outputs),
        "gears": tuple(gear[0] if len(gear) == 1 else gear for gear in info.dynamic_dims),
        "dynamic_shape": info.dynamic_shape,
        "sub_models": info.sub_models,
        "size_bytes": info.size_bytes,
        "weights_bytes": info.weights_bytes,
        "partitions": tuple({"kind": part.kind, "bytes": part.size} for part in info.partitions),
        "command": info.atc_cmdline or None,
    }
    if record is not None:
        facts |= {
            "source": record.source,
            "created": record.created,
            "versions": tuple({"name": name, "version": version} for name, version in record.versions.items()),
            "onnx_snr_db": None if record.onnx_snr_db is None else round(record.onnx_snr_db, 1),
            "om_sha256": record.om_sha256,
            "onnx_sha256": record.onnx_sha256,
        }
    return facts
