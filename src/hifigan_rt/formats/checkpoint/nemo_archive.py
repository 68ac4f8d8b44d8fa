"""NeMo's .nemo files: a tar archive, plain or compressed with gzip, of a checkpoint and its config in YAML.

Nothing is unpacked: the checkpoint is read where it lies. A compressed archive is inflated into a temporary file, which
no name leads to, first.
"""

from __future__ import annotations

import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from hifigan_rt.errors import CheckpointError
from hifigan_rt.formats.checkpoint.byte_source import ByteSource, SourceReader

WEIGHTS = "model_weights.ckpt"
CONFIG = "model_config.yaml"

_MAX_CONFIG_BYTES = 1 << 20
_MAX_ENTRIES = 10_000
_MAX_GROWTH = 4
_ALLOWANCE = 64 << 20
"""A compressed archive may grow by this factor and this many bytes: weights hardly compress."""
_PIECE = 1 << 20
_MAGIC, _MAGIC_AT = b"ustar", 257
"""Mark of a tar archive, in its first header."""
_GZIP = 16 + zlib.MAX_WBITS
"""Number that has zlib read gzip's form."""


@dataclass(frozen=True)
class NemoArchive:
    """What is read of a .nemo file."""

    weights: ByteSource
    """The checkpoint in it."""
    config: str | None
    """The text of its config; None if it has none."""


@contextmanager
def open_nemo(source: ByteSource, *, compressed: bool) -> Iterator[NemoArchive]:
    """Find checkpoint and config in an archive.

    Args:
        source: the file.
        compressed: whether it is compressed with gzip.

    Raises:
        CheckpointError: no such archive, damaged, over the limits; or it holds links, or names that lead out of it.
    """
    if not compressed:
        yield _find(source)
        return
    with tempfile.TemporaryFile(buffering=0) as file:
        raw = cast("BinaryIO", file)
        inflated = ByteSource(raw, _inflate(source, raw))
        if inflated.size < _MAGIC_AT + len(_MAGIC) or inflated.read(_MAGIC_AT, len(_MAGIC), "its header") != _MAGIC:
            raise CheckpointError("is compressed with gzip: unpack it first")
        yield _find(inflated)


def _inflate(source: ByteSource, file: BinaryIO) -> int:
    """Inflate the whole source into a file; gives the number of bytes."""
    limit = _MAX_GROWTH * source.size + _ALLOWANCE
    inflater = zlib.decompressobj(_GZIP)
    size = 0
    try:
        for piece in source.pieces(0, source.size, "the compressed archive"):
            left = piece
            while left and not inflater.eof:
                inflated = inflater.decompress(left, _PIECE)
                left = inflater.unconsumed_tail
                size += len(inflated)
                if size > limit:
                    raise CheckpointError(f"inflates to more than {limit} bytes, which no .nemo file does")
                file.write(inflated)
    except zlib.error as error:
        raise CheckpointError(f"is damaged: its gzip data cannot be inflated ({error})") from error
    if not inflater.eof:
        raise CheckpointError("is truncated: its gzip data ends early; download or copy it again")
    return size


def _find(source: ByteSource) -> NemoArchive:
    found: dict[str, tarfile.TarInfo] = {}
    names = []
    try:
        with tarfile.open(fileobj=cast("BinaryIO", SourceReader(source, "the archive")), mode="r:") as archive:
            for count, entry in enumerate(archive):
                if count == _MAX_ENTRIES:
                    raise CheckpointError(f"is a tar archive of more than {_MAX_ENTRIES} files, which no .nemo file is")
                name = _checked_name(entry)
                names.append(name)
                if name in (WEIGHTS, CONFIG) and entry.isreg():
                    if name in found:
                        raise CheckpointError(f"is a tar archive that holds {name} twice")
                    found[name] = entry
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise CheckpointError(f"is a damaged tar archive ({error}): download or copy it again") from error
    weights = found.get(WEIGHTS)
    if weights is None:
        raise CheckpointError(
            f"is a tar archive without {WEIGHTS}, which a .nemo file has: unpack it and name the checkpoint in it; it "
            f"holds {', '.join(names[:5]) or 'nothing'}"
        )
    config = found.get(CONFIG)
    return NemoArchive(source.part(weights.offset_data, weights.size, WEIGHTS), _read_text(source, config))


def _checked_name(entry: tarfile.TarInfo) -> str:
    name = entry.name
    while name.startswith("./"):
        name = name[2:]
    if entry.issym() or entry.islnk():
        raise CheckpointError(f"is a tar archive with a link, {entry.name[:100]!r}: no .nemo file has one")
    if not (entry.isreg() or entry.isdir()) or entry.issparse():
        raise CheckpointError(f"is a tar archive with {entry.name[:100]!r}, which is no plain file")
    if name.startswith("/") or ".." in name.split("/"):
        raise CheckpointError(f"is a tar archive with a name that leads out of it, {entry.name[:100]!r}")
    return name


def _read_text(source: ByteSource, entry: tarfile.TarInfo | None) -> str | None:
    if entry is None:
        return None
    if entry.size > _MAX_CONFIG_BYTES:
        raise CheckpointError(f"holds a {CONFIG} of {entry.size} bytes: at most {_MAX_CONFIG_BYTES}")
    try:
        return source.read(entry.offset_data, entry.size, CONFIG).decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"holds a {CONFIG} that is no text ({error})") from error
