"""Tells what an Ascend model file holds, without CANN.

Container: 256 bytes of header, then for each sub-model a table of partitions and their data, all little-endian (CANN:
framework_types_internal.h, om_file_helper.cc). No length is trusted before it was held against the file's size.
"""

from __future__ import annotations

import re
import shlex
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource, open_source
from hifigan_rt.formats.checkpoint.protobuf_wire import ProtobufReader
from hifigan_rt.formats.om_inout_info import MAX_BYTES, parse_inout_info
from hifigan_rt.formats.om_model_def import ModelDef, OmTensor, read_model_def
from hifigan_rt.system.file_kinds import describe_failed_download

MAGIC = b"IMOD"

_HEADER_BYTES = 256
_MAX_SUB_MODELS = 1024
_MAX_PARTITIONS = 4096

_MODEL_DEF, _WEIGHTS_DATA, _MODEL_INOUT_INFO = 0, 1, 8
_PARTITION_NAMES = {
    0: "model definition", 1: "weights", 2: "tasks", 3: "kernels", 4: "custom AI CPU kernels", 5: "operator libraries",
    6: "flow model", 7: "flow sub-models", 8: "inputs and outputs",
}  # fmt: skip


@dataclass(frozen=True)
class OmPartition:
    """One part of a container."""

    sub_model: int
    kind: str
    start: int
    """First byte in the file."""
    size: int


@dataclass(frozen=True)
class OmInfo:
    """What an .om file says about itself; texts are empty where it does not tell."""

    path: Path
    size_bytes: int
    caveat: str = ""
    """What its maker says against it, for example that no Ascend device runs it; mostly empty."""
    soc_version: str = ""
    """The chip it was compiled for, for example Ascend310P3."""
    atc_version: str = ""
    atc_cmdline: str = ""
    precision_mode: str = ""
    """The value given to atc, whose default for inference is force_fp16."""
    inputs: tuple[OmTensor, ...] = ()
    outputs: tuple[OmTensor, ...] = ()
    dynamic_dims: tuple[tuple[int, ...], ...] = ()
    """Values of the dimensions -1 for each gear, in the order of the inputs; empty if the model is static."""
    dynamic_shape: bool = False
    """Compiled for shapes that are open without gears, which only newer chips run."""
    sub_models: int = 1
    partitions: tuple[OmPartition, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    """All texts of the model definition."""

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights."""
        return sum(part.size for part in self.partitions if part.kind == "weights")

    @property
    def open_ranges(self) -> tuple[tuple[int, int | None], ...]:
        """Least and greatest size of each dimension of the one input, from atc's command; empty if it tells none.

        None stands for no greatest size.
        """
        text = option_of(self.atc_cmdline, "input_shape") or option_of(self.atc_cmdline, "input_shape_range")
        parts = text.rpartition(":")[2].strip("[] ").split(",")
        found = [re.fullmatch(r"(\d{1,9})(?:~(\d{1,9}|-1))?|(-1)", part.strip()) for part in parts]
        ranges = list[tuple[int, int | None]]()
        for match in found:
            if match is None:
                return ()
            least = max(1, int(match[1] or 1))
            greatest = None if "-1" in (match[2], match[3]) else int(match[2] or least)
            if greatest is not None and greatest < least:
                return ()
            ranges.append((least, greatest))
        return tuple(ranges)

    @property
    def input_dims_of_gears(self) -> tuple[tuple[int, ...], ...]:
        """All dimensions of all inputs, one after another, for each gear."""
        dims = [size for tensor in self.inputs for size in tensor.shape]
        filled = []
        for gear in self.dynamic_dims:
            if dims.count(-1) != len(gear):
                return ()
            values = iter(gear)
            filled.append(tuple(next(values) if size == -1 else size for size in dims))
        return tuple(filled)


def read_om(path: Path) -> OmInfo:
    """Read the header of an Ascend model; costs a few MB of memory whatever its size.

    Raises:
        ModelFileError: no .om file, damaged, truncated or encrypted.
    """
    try:
        with open_source(path) as source:
            return _read_container(source, path)
    except ModelFileError as error:
        raise ModelFileError(f"Ascend model {str(path)!r} {error}") from error


def is_om(source: ByteSource) -> bool:
    """Whether a file starts as an .om container does."""
    return source.read(0, min(source.size, len(MAGIC)), "the beginning") == MAGIC


def option_of(command: str, name: str) -> str:
    """The value of an option in a command line of atc; empty if it is not there."""
    try:
        words = shlex.split(command)
    except ValueError:  # the quotes were lost when the line was stored
        words = command.split()
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        key, equals, value = word.partition("=")
        if key.lstrip("-") == name and key.startswith("-"):
            return value if equals else following
    return ""


def _read_container(source: ByteSource, path: Path) -> OmInfo:
    header = _read_header(source)
    partitions = _read_partitions(source, header)
    definition, inout, reader = ModelDef(), ModelDef(), ProtobufReader(source)
    for part in partitions:
        end = part.start + part.size
        if part.kind == _PARTITION_NAMES[_MODEL_DEF]:
            found = read_model_def(reader, part.start, end)
            if part.sub_model == 0:
                definition = found
            else:
                definition.attributes = found.attributes | definition.attributes
        elif part.kind == _PARTITION_NAMES[_MODEL_INOUT_INFO] and part.sub_model == 0 and part.size <= MAX_BYTES:
            inout = parse_inout_info(source.read(part.start, part.size, "the list of inputs"))
    if not any(part.kind == _PARTITION_NAMES[_MODEL_DEF] and part.size for part in partitions):
        raise ModelFileError("holds no model definition: it is no model that atc made from ONNX")
    command = definition.attributes.get("atc_cmdline", "")
    gears = tuple(values for _, values in sorted((inout.gears or definition.gears).items()))
    return OmInfo(
        path=path,
        size_bytes=source.size,
        caveat=definition.attributes.get("caveat", ""),
        soc_version=definition.attributes.get("soc_version", ""),
        atc_version=definition.attributes.get("atc_version", ""),
        atc_cmdline=command,
        precision_mode=option_of(command, "precision_mode") or option_of(command, "precision_mode_v2"),
        inputs=tuple(inout.inputs or definition.inputs),
        outputs=tuple(inout.outputs or definition.outputs),
        dynamic_dims=gears or _gears_of_command(command),
        dynamic_shape=header.dynamic_shape,
        sub_models=header.sub_models,
        partitions=partitions,
        attributes=definition.attributes,
    )


def _gears_of_command(command: str) -> tuple[tuple[int, ...], ...]:
    value = option_of(command, "dynamic_dims")
    if not re.fullmatch(r"\d{1,9}(,\d{1,9}){0,31}(;\d{1,9}(,\d{1,9}){0,31}){0,1023};?", value):
        return ()
    return tuple(tuple(int(size) for size in gear.split(",")) for gear in value.rstrip(";").split(";"))


@dataclass(frozen=True)
class _Header:
    wide: bool
    """Tables of 64-bit numbers."""
    sub_models: int
    dynamic_shape: bool


def _read_header(source: ByteSource) -> _Header:
    head = source.read(0, min(source.size, _HEADER_BYTES), "the header")
    if head[:4] != MAGIC:
        if failed := describe_failed_download(head):
            raise ModelFileError(failed)
        what = f"starts with {head[:8].hex(' ')}, which no .om file does"
        raise ModelFileError(f"{what}: it is damaged or something else; convert the model again")
    if len(head) < _HEADER_BYTES:
        raise ModelFileError(f"is truncated: the header takes {_HEADER_BYTES} bytes, the file has {len(head)}")
    (header_bytes,) = struct.unpack_from("<I", head, 4)
    (short_length,) = struct.unpack_from("<I", head, 76)
    (sub_models,) = struct.unpack_from("<I", head, 156)
    (long_length,) = struct.unpack_from("<Q", head, 184)
    if header_bytes != _HEADER_BYTES:
        raise ModelFileError(f"is damaged: it claims a header of {header_bytes} bytes, which has {_HEADER_BYTES}")
    if head[80]:
        raise ModelFileError("is encrypted: nothing but the vendor's runtime with its key reads it")
    end = _HEADER_BYTES + (long_length or short_length)
    if end != source.size:
        word = "truncated" if end > source.size else "damaged"
        raise ModelFileError(
            f"is {word}: its header tells of {end} bytes, and the file has {source.size}; copy or convert it again"
        )
    if sub_models > _MAX_SUB_MODELS:
        raise ModelFileError(f"is damaged: it claims {sub_models} sub-models; at most {_MAX_SUB_MODELS} are read")
    # Which of the two layouts follows is told by the field that holds the length: the vendor's loader goes by it too.
    return _Header(long_length != 0, max(1, sub_models), head[193] == 1)


def _read_partitions(source: ByteSource, header: _Header) -> tuple[OmPartition, ...]:
    count_bytes, entry = (8, struct.Struct("<IxxxxQQ")) if header.wide else (4, struct.Struct("<III"))
    position, found = _HEADER_BYTES, list[OmPartition]()
    for sub_model in range(header.sub_models):
        (count,) = struct.unpack("<I", source.read(position, 4, "the table of partitions"))
        if len(found) + count > _MAX_PARTITIONS:
            raise ModelFileError(f"is damaged: it claims {count} partitions; at most {_MAX_PARTITIONS} are read")
        table = source.read(position + count_bytes, count * entry.size, "the table of partitions")
        data = position = position + count_bytes + len(table)
        for kind, offset, size in entry.iter_unpack(table):
            name = _PARTITION_NAMES.get(kind, f"type {kind}")
            source.check(data + offset, size, f"the partition {name!r}")
            if data + offset < position:
                raise ModelFileError(f"is damaged: its partition {name!r} lies over the one before")
            found.append(OmPartition(sub_model, name, data + offset, size))
            position = data + offset + size
    return tuple(found)
