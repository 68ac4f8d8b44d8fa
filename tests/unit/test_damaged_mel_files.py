"""Mel files that are damaged, lie about their size, or hold more than a mel: refused with the exact text."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkpoint_files import Tensor, legacy_file
from effort import examples
from hifigan_rt.errors import ConditioningError, MelError
from hifigan_rt.mel.files import parse_npy, read_arrays, read_mel_file, read_vector_file
from mel_files import MEL, npy_bytes, refusal
from memory_limits import peak_within


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", " is empty (0 bytes): the download or copy failed; fetch it again"),
        (b"RIFF\x24\0\0\0WAVEfmt ", " is a WAV recording, no NumPy array"),
        (b"\x80\x02}q\0.", " is a pickle (an older PyTorch file, for example), no NumPy array: name it .pt"),
        (b"\x1f\x8b\x08" + bytes(40), " is compressed with gzip, no NumPy array: unpack it first"),
        (b"\x90" * 40, " is no NumPy array: it starts with b'\\x90\\x90\\x90\\x90\\x90\\x90\\x90\\x90'"),
        (b"\x93NUMPY\x01", " is no NumPy array: it starts with b'\\x93NUMPY\\x01'"),
        (
            b"\x93NUMPY\x04\x00" + bytes(20),
            " has version 4 of the .npy format, and 1 to 3 are known: save it anew with np.save",
        ),
        (npy_bytes("'<f4'", "(80, 7)", length=60000), " claims a header of 60000 bytes: at most 10000 are read"),
        (
            b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFFF),
            " claims a header of 4294967295 bytes: at most 10000 are read",
        ),
        (npy_bytes("'<f4'", "(80, 'x')"), " is damaged: its header is not that of an array"),
        (npy_bytes("'<f4'", "(" * 3000), " is damaged: its header is not that of an array"),
        *[
            (npy_bytes("'<f4'", sizes), " is damaged: its header is not that of an array")
            for sizes in ("-" * 9000, "~" * 9000, "9" * 9000, "1" + ",(1" * 900, "'\\N{x}'", "\x00", "{[]: 1}")
        ],
        *[
            (npy_bytes("'<f4'", sizes), " is damaged: its header claims a shape that no array has")
            for sizes in (f"(0x{'f' * 8000}, 80)", f"(0, {1 << 70})", f"({'1, ' * 3000})", "(-1, -1)")
        ],
        (npy_bytes("'nonsense'", "(80, 7)"), " is damaged: its header is not that of an array"),
        (npy_bytes("[('a', '<f4')]", "(80, 7)"), " holds values of dtype [('a', '<f4')], and floats are needed: "
         "save real numbers, as in np.save('mel.npy', mel.astype('float32'))"),
        (
            npy_bytes("'<f4'", "(80, 1000000000000)", bytes(64)),
            " claims shape [80, 1000000000000] of float32, 320000000000000 bytes: 147 are there or allowed",
        ),
        (
            npy_bytes("'<f4'", "(80, 1)", bytes(319)),
            " is cut short: shape [80, 1] of float32 takes 320 bytes, 319 are there",
        ),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Reading `.npy`")
def test_hostile_npy(tmp_path, content, text):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    assert refusal(path) == f"mel file {str(path)!r}{text}"


@pytest.mark.parametrize("kind", ["npy", "npz", "deflated npz"])
def test_bytes_behind_the_array(tmp_path, kind):
    """A second array is never dropped in silence, wherever one is read."""
    buffer = io.BytesIO()
    np.save(buffer, MEL)
    one = buffer.getvalue()
    path = tmp_path / f"a.{kind[-3:]}"
    if kind == "npy":
        path.write_bytes(2 * one)
    else:
        method = zipfile.ZIP_DEFLATED if kind.startswith("deflated") else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("mel.npy", 2 * one)
    text = (
        f"goes on after its array: {len(one)} bytes follow shape {list(MEL.shape)} of float32, and one array per file "
        "is read: save each as a file of its own"
    )
    assert refusal(path) == f"mel file {str(path)!r} {text}"
    with pytest.raises(MelError, match=re.escape(text)):
        parse_npy(2 * one)
    with pytest.raises(ConditioningError, match=re.escape(text)):
        read_vector_file(path)
    with pytest.raises(MelError, match=re.escape(text)):
        read_arrays(path, 1 << 20)


def test_objects_behind_the_first_of_a_pytorch_file(tmp_path):
    """torch.load gives the first, and the next on the next call: a second mel is not dropped in silence here either."""
    one, other = (legacy_file(Tensor(mel, "a")) for mel in (MEL, MEL + 1))
    path = tmp_path / "a.pt"
    path.write_bytes(one)
    assert np.array_equal(read_mel_file(path, 80), MEL)
    path.write_bytes(one + other)
    text = (
        f"goes on after the object that torch.save wrote first: {len(other)} bytes follow, and one object per file is "
        "read: save each as a file of its own"
    )
    assert refusal(path) == f"mel file {str(path)!r} {text}"
    with pytest.raises(ConditioningError, match=re.escape(text)):
        read_vector_file(path)


@pytest.mark.parametrize("kind", ["npz", "deflated npz"])
def test_an_array_of_another_checksum_is_refused(tmp_path, kind):
    buffer = io.BytesIO()
    np.save(buffer, MEL)
    damaged = buffer.getvalue()[:-1] + b"\x55"
    path = tmp_path / "a.npz"
    method = zipfile.ZIP_DEFLATED if kind.startswith("deflated") else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("mel.npy", damaged)
    # The checksum stands before the entry and in the directory.
    checksums = [struct.pack("<L", zlib.crc32(content)) for content in (damaged, buffer.getvalue())]
    path.write_bytes(path.read_bytes().replace(*checksums))
    text = "is damaged: its array has another checksum than it was saved with; copy or download it again"
    assert refusal(path) == f"mel file {str(path)!r} {text}"
    with pytest.raises(MelError, match=text):
        read_arrays(path, 1 << 20)
    with pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"):
        np.load(path)["mel"]


def test_npz_files_that_are_something_else(tmp_path):
    path = tmp_path / "a.npz"
    for content, text in (
        (b"", "is empty (0 bytes): the download or copy failed; fetch it again"),
        (npy_bytes("'<f4'", "(80, 7)", MEL.tobytes()), "is a NumPy array, no archive of NumPy arrays: name it .npy"),
        (b"\1\2", "is no archive of NumPy arrays: it starts with b'\\x01\\x02'"),
    ):
        path.write_bytes(content)
        assert refusal(path) == f"mel file {str(path)!r} {text}"


def test_negative_shape(tmp_path):
    path = tmp_path / "a.npy"
    for shape in ("(-80, 7)", "(-80, -7)", "(80, True)"):
        path.write_bytes(npy_bytes("'<f4'", shape, bytes(4 * 560)))
        refusal(path)


def test_npz_bomb_takes_no_memory(tmp_path):
    path = tmp_path / "a.npz"
    header = npy_bytes("'<f4'", "(80, 2000000)")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("mel.npy", "w") as entry:
        entry.write(header)
        for _ in range(640):
            entry.write(bytes(1_000_000))
    assert path.stat().st_size < 1_000_000
    with peak_within(4 * path.stat().st_size + (4 << 20)):
        text = refusal(path)
    assert "claims shape [80, 2000000] of float32, 640000000 bytes" in text


def test_files_that_are_none(tmp_path):
    folder = tmp_path / "x.npy"
    folder.mkdir()
    assert refusal(folder) == f"mel file {str(folder)!r} is a folder: name the checkpoint file in it"
    missing = tmp_path / "missing.npy"
    assert refusal(missing) == f"mel file {str(missing)!r} cannot be read: No such file or directory"
    other = tmp_path / "a.txt"
    assert refusal(other) == (
        f"mel file {str(other)!r} has the suffix '.txt', and arrays are read from .npy, .npz, .pt, .pth or .safetensors"
    )
    html = tmp_path / "a.npz"
    html.write_bytes(b"<html>" * 20)
    assert refusal(html).startswith(f"mel file {str(html)!r} ")
    pickled = tmp_path / "a.pt"
    pickled.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    assert refusal(pickled).startswith(f"mel file {str(pickled)!r} ")
    assert not (tmp_path / "ran").exists()


def _container(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, MEL)
    elif kind == "npz":
        np.savez(buffer, mel=MEL)
    else:
        np.savez_compressed(buffer, mel=MEL)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["npy", "npz", "deflated npz"])
def test_mutated_files_raise_nothing_but_mel_errors(tmp_path, kind):
    whole = _container(kind)
    path = tmp_path / ("a.npy" if kind == "npy" else "a.npz")
    head = min(len(whole), 200)

    @settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        edits=st.lists(st.tuples(st.integers(-200, head - 1), st.integers(0, 255)), max_size=6),
        keep=st.one_of(st.just(len(whole)), st.integers(0, len(whole))),
    )
    def run(edits, keep):
        content = bytearray(whole)
        for position, value in edits:
            content[position] = value
        path.write_bytes(content[:keep])
        try:
            mel = read_mel_file(path, 80)
        except MelError:
            return
        assert mel.shape[0] == 80

    run()
