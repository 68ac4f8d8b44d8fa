"""Tells what an ONNX file holds, before any runtime is pointed at it.

Nothing is loaded: the file is read field by field (`protobuf_wire`), weights are stepped over. What a hostile file
could do to a runtime is refused here: external data outside the file's folder, and tensors that claim to be larger than
their data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource, open_source
from hifigan_rt.formats.checkpoint.detect import read_head
from hifigan_rt.formats.converted_info import ConvertedInfo
from hifigan_rt.formats.mel_layout import settle_mel_input
from hifigan_rt.formats.onnx_external import check_external_data
from hifigan_rt.formats.onnx_metadata import PRODUCER_NAME, read_config_from_metadata
from hifigan_rt.formats.onnx_nodes import OnnxNodes
from hifigan_rt.formats.onnx_scan import OnnxScan

MAX_FILE_BYTES = (1 << 31) - 1
"""Where protobuf ends; larger models keep their weights in external data."""

_CONVOLUTIONS = ("Conv", "com.microsoft.FusedConv")
"""ONNX Runtime joins a convolution and its activation into the second when it saves an optimised model."""


@dataclass(frozen=True, kw_only=True)
class OnnxInfo(ConvertedInfo):
    """What an ONNX file says about itself."""

    external_files: tuple[Path, ...]
    operators: frozenset[str]
    """Types of the nodes, with the operator set before those of another than the default."""


def inspect_onnx(path: Path) -> OnnxInfo:
    """Scan an ONNX file; costs a few MB of memory whatever its size.

    Raises:
        ModelFileError: no ONNX file, damaged or truncated, larger than 2 GiB, it claims tensors larger than its data,
            or its external data are missing or outside its folder.
    """
    with open_onnx(path) as (info, _):
        return info


@contextmanager
def open_onnx(path: Path) -> Iterator[tuple[OnnxInfo, OnnxNodes]]:
    """Scan an ONNX file, and keep it open for what is read of its nodes and weights.

    Raises:
        ModelFileError: as for `inspect_onnx`, or from what is read while it is open; the text begins with the file.
    """
    try:
        with open_source(path) as source:
            _refuse_other_files(source)
            scan = OnnxScan(source)
            _scan(scan, source.size)
            yield _summarise(scan, path, source.size), OnnxNodes(scan, source, path)
    except ModelFileError as error:
        raise ModelFileError(f"ONNX file {str(path)!r}: {error}") from error


def _scan(scan: OnnxScan, size: int) -> None:
    try:
        scan.model(0, size)
    except ModelFileError as error:
        if scan.ir_version:  # stands first in what every exporter writes
            raise
        raise ModelFileError(f"is no ONNX model: read as one, it {error}") from error


def _refuse_other_files(source: ByteSource) -> None:
    head = read_head(source)
    if source.size > MAX_FILE_BYTES:
        raise ModelFileError(
            f"has {source.size} bytes: no ONNX file is larger than {MAX_FILE_BYTES}; larger models keep their weights "
            "in external data"
        )
    if head.startswith(b"PK\x03\x04"):
        raise ModelFileError("is a zip archive, as torch.save writes them: a checkpoint must not be named .onnx")
    if head[4:8] == b"ORTM":
        raise ModelFileError("is in ONNX Runtime's own format (.ort): give the ONNX file that it was made from")


def _summarise(scan: OnnxScan, path: Path, size: int) -> OnnxInfo:
    if not scan.has_graph or not scan.outputs:
        raise ModelFileError("is no ONNX model: it holds no graph with an output")
    config = read_config_from_metadata(scan.metadata, scan.producer_name)
    inputs = tuple(value for value in scan.inputs if value.name not in scan.initializers)
    first = next((node for node in scan.nodes if node.op_type in _CONVOLUTIONS and len(node.inputs) > 1), None)
    weight = None if first is None else scan.initializers.get(first.inputs[1])
    num_mels, layouts = settle_mel_input(
        inputs,
        config,
        weight.dims[1] if weight is not None and len(weight.dims) > 2 else None,
    )
    return OnnxInfo(
        path=path,
        size_bytes=size,
        inputs=inputs,
        outputs=tuple(scan.outputs),
        metadata=scan.metadata,
        config=config,
        is_ours=config is not None and scan.producer_name == PRODUCER_NAME,
        num_mels=num_mels,
        mel_layouts=layouts,
        precision=scan.elements_by_dtype.most_common(1)[0][0] if scan.elements_by_dtype else "float32",
        external_files=check_external_data(scan.external, path),
        operators=frozenset(node.op_type for node in scan.nodes),
    )
