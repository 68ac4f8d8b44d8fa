"""Reads a mel from .npy, .npz, .pt, .pth and .safetensors, and writes .npy.

No pickle is ever run, and nothing is allocated on the word of a header: sizes are compared with the file first.
"""

from __future__ import annotations

import io
import math
import struct
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hifigan_rt.errors import ConditioningError, MelError, ModelFileError
from hifigan_rt.formats.checkpoint import read_tensors
from hifigan_rt.formats.checkpoint.byte_source import ByteSource, SourceReader, open_source
from hifigan_rt.formats.checkpoint.tensors import Span
from hifigan_rt.formats.checkpoint.zip_archive import read_zip_directory
from hifigan_rt.mel.check import CheckedMel, check_mel
from hifigan_rt.mel.picking import pick_array, pick_name
from hifigan_rt.mel.shapes import one_mel
from hifigan_rt.system.file_kinds import HEAD_BYTES, describe_failed_download, file_kind
from hifigan_rt.system.files import atomic_writer

DEFAULT_MAX_FRAMES = 1 << 19
"""An hour and a half at 86 frames per second; with 80 bands 168 MB of float32."""

_REMEDY = (
    "If you trust the file, load it in PyTorch and save the mel alone: np.save('mel.npy', mel), or "
    "torch.save(torch.from_numpy(mel), path)"
)

_MAX_NPY_HEADER_BYTES = 10_000
_MAX_VECTOR_BYTES = 1 << 20
_WRITTEN_AT_ONCE_FRAMES = 1 << 12
_MAX_WIDTH = 8
_MAX_AXES = 32
_MAX_SIZE = 1 << 48
_NPY_PREFIX = struct.Struct("<6sBB")


def read_mel_file(
    path: str | Path,
    num_mels: int,
    *,
    time_major: bool = False,
    mel_at: str | None = None,
    max_frames: int = DEFAULT_MAX_FRAMES,
) -> CheckedMel:
    """Read one mel.

    Args:
        path: a .npy, .npz, .pt, .pth or .safetensors file of `[M, T]` or `[1, M, T]` floats.
        num_mels: M of the model.
        time_major: the file holds `[T, M]` or `[1, T, M]` instead.
        mel_at: which of a file's several arrays is the mel, as `hifigan_rt.mel.picking` says; by default the one named
            "mel", else the only one.
        max_frames: longest mel accepted; it also bounds what a compressed file may unpack to.

    Returns:
        float32 `[M, T]`, C-contiguous.

    Raises:
        MelError: the file cannot be read, holds no mel, or one that does not fit.
    """
    path = Path(path)
    name = f"mel file {str(path)!r}"
    try:
        array = _read_array(path, max_frames * num_mels * _MAX_WIDTH, mel_at)
    except (ModelFileError, MelError) as error:
        # The checkpoint reader's texts start with the file name, those of its parts and ours with a verb.
        text = str(error).removeprefix(f"{str(path)!r} ")
        raise MelError(f"{name} {text}") from error
    try:
        return _as_mel(array, num_mels, time_major, max_frames)
    except MelError as error:
        raise MelError(f"{name}: {error}") from error


def read_vector_file(path: str | Path) -> np.ndarray:
    """Read a conditioning vector: the one array of a .npy, .npz, .pt, .pth or .safetensors file, of any shape.

    Raises:
        ConditioningError: the file cannot be read, or does not hold one array.
    """
    path = Path(path)
    try:
        return _read_array(path, _MAX_VECTOR_BYTES)
    except (ModelFileError, MelError) as error:
        text = str(error).removeprefix(f"{str(path)!r} ")
        raise ConditioningError(f"conditioning file {str(path)!r} {text}") from error


def read_arrays(path: str | Path, max_bytes: int) -> np.ndarray | dict[str, np.ndarray]:
    """Read the arrays of a file, by name where it has names.

    Raises:
        MelError, ModelFileError: the file cannot be read, or holds no arrays.
    """
    path = Path(path)
    if path.suffix.lower() == ".npz":
        with open_source(path) as source:
            return {name: _parse_entry(source, span, max_bytes) for name, span in _npz_entries(source).items()}
    if path.suffix.lower() == ".npy":
        return _read_array(path, max_bytes)
    tree = read_tensors(path, _REMEDY)
    arrays = {str(k): v for k, v in tree.items() if isinstance(v, np.ndarray)} if isinstance(tree, dict) else {}
    if not arrays:
        raise MelError("holds no arrays with names")
    return arrays


def parse_npy(content: bytes | bytearray) -> np.ndarray:
    """Read the array of a .npy file that is in memory; no pickle is ever run.

    Returns:
        Any shape, any dtype of numbers or booleans, in the memory of the content.

    Raises:
        MelError: it is no .npy file of numbers, cut short, or longer than its header says.
    """
    try:
        return _parse_npy(_InMemory(content), len(content))
    except MelError as error:
        raise MelError(f"the .npy {error}") from error


def write_mel_file(path: str | Path, mel: np.ndarray) -> None:
    """Write a mel, float32 `[M, T]`, as a .npy file, whole or not at all.

    Raises:
        OutputError: the file could not be written.
    """
    with atomic_writer(Path(path)) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(mel, np.float32), allow_pickle=False)


def write_mel_pieces(path: str | Path, num_mels: int, pieces: Iterable[np.ndarray]) -> int:
    """Write a mel that comes in pieces, float32 `[M, t]`: the bytes of `write_mel_file`, in a few MB of memory.

    The pieces wait on the disk, beside `path`, until the number of frames is known.

    Returns:
        The frames T.

    Raises:
        OutputError: the file could not be written.
    """
    frames = 0
    with atomic_writer(Path(path)) as file, tempfile.TemporaryFile(dir=Path(path).parent) as waiting:
        for piece in pieces:
            waiting.write(np.ascontiguousarray(piece.T, np.float32).data)
            frames += piece.shape[1]
        header = {"descr": "<f4", "fortran_order": False, "shape": (num_mels, frames)}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        waiting.seek(0)
        for first in range(0, frames, _WRITTEN_AT_ONCE_FRAMES):
            part = np.frombuffer(waiting.read(4 * num_mels * _WRITTEN_AT_ONCE_FRAMES), np.float32)
            for band, values in enumerate(np.ascontiguousarray(part.reshape(-1, num_mels).T, "<f4")):
                file.seek(start + 4 * (band * frames + first))
                file.write(values.data)
    return frames


def _as_mel(array: np.ndarray, num_mels: int, time_major: bool, max_frames: int) -> CheckedMel:
    shape = list(array.shape)
    for order in (time_major, not time_major):
        array = one_mel(array, num_mels, time_major=order)
    if array.ndim == 3 and num_mels in shape[1:]:
        raise MelError(
            f"it holds {shape[0]} mels (shape {shape}), and one per file is read: save each as one of its own"
        )
    if array.ndim != 2:
        raise MelError(
            f"it has shape {shape}, and [{num_mels}, T] or [1, {num_mels}, T] is needed: save one mel, bands before "
            "frames"
        )
    rows, columns = array.shape
    if time_major:
        if columns != num_mels:
            raise MelError(f"it has shape {shape}, and [T, {num_mels}] is needed with --time-major")
        array = array.T
    elif rows != num_mels and columns == num_mels:
        raise MelError(f"it has shape {shape}; this looks time-major: --time-major reads it so")
    if array.shape[1] > max_frames:
        raise MelError(f"it has {array.shape[1]} frames: at most {max_frames} are read; cut it in two")
    return check_mel(array, num_mels)


def _read_array(path: Path, max_bytes: int, mel_at: str | None = None) -> np.ndarray:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        with open_source(path) as source:
            available = min(source.size, max_bytes + _MAX_NPY_HEADER_BYTES)
            return _parse_npy(SourceReader(source, "the array"), available, is_file=True)
    if suffix == ".npz":
        with open_source(path) as source:
            spans = _npz_entries(source)
            return _parse_entry(source, list(spans.values())[pick_name(list(spans), mel_at)], max_bytes)
    if suffix in (".pt", ".pth", ".safetensors"):
        return pick_array(read_tensors(path, _REMEDY), mel_at)
    raise MelError(f"has the suffix {suffix!r}, and arrays are read from .npy, .npz, .pt, .pth or .safetensors")


class _InMemory:
    """The bytes of a file in memory, none of which are copied."""

    def __init__(self, content: bytes | bytearray) -> None:
        self._content = memoryview(content)

    def read(self, length: int) -> memoryview:
        data = self._content[:length]
        self._content = self._content[length:]
        return data

    @property
    def left(self) -> int:
        """Bytes that have not been read."""
        return len(self._content)


class _Inflated:
    """The bytes of a zip entry, unpacked no further than they are asked for."""

    def __init__(self, source: ByteSource, span: Span) -> None:
        self._packed = source.read(span.start, span.length, "the zip entry")
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._promised = span.inflated or 0
        self._taken = 0
        self.crc32 = 0
        """Checksum of the bytes that have been read."""

    def read(self, length: int) -> bytes:
        if length == 0:
            return b""
        try:
            data = self._inflater.decompress(self._packed, length)
        except zlib.error as error:
            raise MelError(f"is damaged: its zip entry cannot be unpacked ({error})") from error
        self._packed = self._inflater.unconsumed_tail
        self._taken += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        return data

    @property
    def left(self) -> int:
        """Bytes that the archive promises and that have not been read."""
        return self._promised - self._taken


def _npz_entries(source: ByteSource) -> dict[str, Span]:
    """The arrays of an .npz by name, none of them read."""
    head = source.read(0, min(HEAD_BYTES, source.size), "its beginning")
    if not head.startswith(b"PK"):
        raise MelError(_describe_other(head, "archive of NumPy arrays", is_file=True))
    return {name.removesuffix(".npy"): span for name, span in read_zip_directory(source).items()}


def _parse_entry(source: ByteSource, span: Span, max_bytes: int) -> np.ndarray:
    if span.inflated is None:
        entry = source.read(span.start, span.length, "the array")
        array, crc32 = _parse_npy(_InMemory(entry), span.length), zlib.crc32(entry)
    else:
        inflated = _Inflated(source, span)
        array = _parse_npy(inflated, min(max_bytes + _MAX_NPY_HEADER_BYTES, span.inflated))
        crc32 = inflated.crc32
    if crc32 != span.crc32:
        raise MelError("is damaged: its array has another checksum than it was saved with; copy or download it again")
    return array


def _describe_other(head: bytes, wanted: str = "NumPy array", *, is_file: bool = False) -> str:
    kind = file_kind(head)
    if kind is not None and kind.name != f"a {wanted}":
        # Another suffix helps where a file of mels was named, not an entry, a request or what comes beside a mel.
        way_out = ": unpack it first" if is_file and kind.holds == "archive" else ""
        if is_file and kind.suffix and kind.holds in ("array", "weights"):
            way_out = f": name it {kind.suffix}"
        kind_text = f"is {kind.name}, no {wanted}{way_out}"
    else:
        kind_text = f"is no {wanted}: it starts with {head[: _NPY_PREFIX.size]!r}"
    return describe_failed_download(head) or kind_text


def _parse_npy(stream: SourceReader | _Inflated | _InMemory, available: int, *, is_file: bool = False) -> np.ndarray:
    """Parse the .npy format; at most `available` bytes are there, whatever its header claims."""
    prefix = bytes(stream.read(_NPY_PREFIX.size))
    if len(prefix) < _NPY_PREFIX.size or not prefix.startswith(b"\x93NUMPY"):
        raise MelError(_describe_other(prefix + bytes(stream.read(HEAD_BYTES)), is_file=is_file))
    major = prefix[6]
    if major not in (1, 2, 3):
        raise MelError(f"has version {major} of the .npy format, and 1 to 3 are known: save it anew with np.save")
    raw_length = bytes(stream.read(2 if major == 1 else 4))
    header_length = int.from_bytes(raw_length, "little")
    if header_length > _MAX_NPY_HEADER_BYTES:
        raise MelError(f"claims a header of {header_length} bytes: at most {_MAX_NPY_HEADER_BYTES} are read")
    header = io.BytesIO(raw_length + bytes(stream.read(header_length)))
    # Version 3 is 2 whose names of fields may be UTF-8; only structured arrays have such names.
    read_header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    try:
        shape, fortran_order, dtype = read_header(header)
    except Exception as error:
        # NumPy gives the header to Python's parser, which knows a dozen ways to fail, MemoryError among them.
        raise MelError("is damaged: its header is not that of an array") from error
    if dtype.hasobject:
        raise MelError(
            f"holds objects (dtype {dtype}), which are never unpickled: save the floats alone, as in "
            "np.save('mel.npy', mel.astype('float32'))"
        )
    if dtype.kind not in "fiub":
        raise MelError(
            f"holds values of dtype {dtype}, and floats are needed: save real numbers, as in "
            "np.save('mel.npy', mel.astype('float32'))"
        )
    # Sizes in hexadecimal may have more digits than Python writes out.
    if len(shape) > _MAX_AXES or not all(0 <= size <= _MAX_SIZE for size in shape):
        raise MelError("is damaged: its header claims a shape that no array has")
    n_bytes = dtype.itemsize * math.prod(shape)
    if n_bytes > available:
        raise MelError(f"claims shape {list(shape)} of {dtype}, {n_bytes} bytes: {available} are there or allowed")
    data = stream.read(n_bytes)
    if len(data) < n_bytes:
        raise MelError(f"is cut short: shape {list(shape)} of {dtype} takes {n_bytes} bytes, {len(data)} are there")
    if stream.left > 0:
        raise MelError(
            f"goes on after its array: {stream.left} bytes follow shape {list(shape)} of {dtype}, and one array per "
            "file is read: save each as a file of its own"
        )
    try:
        array: np.ndarray = np.frombuffer(data, dtype)
        return array.reshape(shape[::-1]).T if fortran_order else array.reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise MelError(f"is damaged: it claims the shape {list(shape)}") from error
