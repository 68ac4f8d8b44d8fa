"""Tells what an OpenVINO IR holds, before OpenVINO is pointed at it."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.checkpoint.byte_source import open_source
from hifigan_rt.formats.checkpoint.detect import read_head
from hifigan_rt.formats.converted_info import ConvertedInfo
from hifigan_rt.formats.mel_layout import settle_mel_input
from hifigan_rt.formats.onnx_metadata import PRODUCER_NAME, read_config_from_metadata
from hifigan_rt.formats.openvino_scan import OpenVinoScan
from hifigan_rt.system.files import file_sha256


@dataclass(frozen=True, kw_only=True)
class OpenVinoInfo(ConvertedInfo):
    """What an IR says about itself."""

    weights_path: Path
    """The .bin beside the .xml; there only if the IR has constants."""


def inspect_openvino(path: Path, *, verify: bool = True) -> OpenVinoInfo:
    """Scan the .xml, and check its claims against the .bin.

    Args:
        path: the .xml.
        verify: compare the sha256 of the .bin with the one that our exports note, which takes about a second per
            gigabyte.

    Raises:
        ModelFileError: no IR, damaged or truncated, larger than 64 MiB, or its .bin is missing, too short or another
            model's.
    """
    try:
        with open_source(path) as source:
            read_head(source, markup=True)
            scan = OpenVinoScan()
            scan.read(source)
            xml_bytes = source.size
        weights_path = path.with_suffix(".bin")
        return _summarise(scan, path, weights_path, xml_bytes + _check_weights(scan, weights_path, verify))
    except ModelFileError as error:
        raise ModelFileError(f"OpenVINO IR {str(path)!r}: {error}") from error


def _check_weights(scan: OpenVinoScan, weights_path: Path, verify: bool) -> int:
    """The size of the .bin."""
    try:
        status = weights_path.stat()
    except (OSError, ValueError) as error:
        if scan.weights_end == 0:
            return 0
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelFileError(
            f"its weights should lie beside it in {weights_path.name!r}, which cannot be read ({reason}): an IR is two "
            "files, copy both"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(f"its weights {weights_path.name!r} are no regular file")
    if status.st_size < scan.weights_end:
        raise ModelFileError(
            f"its weights end at byte {scan.weights_end} of {weights_path.name!r}, which has {status.st_size}: it "
            "is truncated or belongs to another model"
        )
    if verify and scan.weights_sha256 is not None:
        try:
            found = file_sha256(weights_path)
        except OSError as error:
            raise ModelFileError(f"its weights {weights_path.name!r} cannot be read: {error.strerror}") from error
        if found != scan.weights_sha256:
            raise ModelFileError(
                f"its weights {weights_path.name!r} are not those that it was exported with: sha256 {found[:16]}..., "
                f"and the .xml notes {scan.weights_sha256[:16]!r}...; copy both files of one export, or export again"
            )
    return status.st_size


def _summarise(scan: OpenVinoScan, path: Path, weights_path: Path, size_bytes: int) -> OpenVinoInfo:
    if not scan.inputs or not scan.outputs:
        raise ModelFileError("is no model: it has no inputs or no outputs")
    config = read_config_from_metadata(scan.metadata, PRODUCER_NAME if scan.is_ours else "")
    inputs = tuple(scan.inputs)
    num_mels, layouts = settle_mel_input(inputs, config, scan.conv_channels)
    return OpenVinoInfo(
        path=path,
        weights_path=weights_path,
        size_bytes=size_bytes,
        inputs=inputs,
        outputs=tuple(scan.outputs),
        metadata=scan.metadata,
        config=config,
        is_ours=config is not None and scan.is_ours,
        num_mels=num_mels,
        mel_layouts=layouts,
        precision=scan.elements_by_dtype.most_common(1)[0][0] if scan.elements_by_dtype else "float32",
    )
