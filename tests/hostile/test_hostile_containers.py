"""Zips, stacked pickles and safetensors whose frame deceives: each is refused by an exact text."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest

from checkpoint_files import (
    MAGIC,
    Encoder,
    Tensor,
    legacy_file,
    safetensors_file,
    zip_file,
)
from hifigan_rt.errors import CheckpointError
from hifigan_rt.formats.checkpoint import read_tensors

ADVICE = (
    ", which is not on the allow-list of tensor rebuilders; nothing was run. If you trust the file, load it in PyTorch "
    "and save its state dict alone: torch.save({'generator': model.state_dict()}, path)"
)
ONE = np.ones(4, np.float32)
STATE = {"w": Tensor(ONE, "0")}


# Zips.


def zip_with(*entries, mutate=None, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in (("archive/data.pkl", Encoder(legacy=False).pickle({})), *entries):
            archive.writestr(name, data)
    return mutate(buffer.getvalue()) if mutate else buffer.getvalue()


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "archive/../../evil", "a\\..\\b", "C:/evil", "./a", "a//b"])
def test_zip_names_that_climb(refuse, name):
    # zipfile itself cleans a leading slash up, so the name is put in by hand.
    placeholder = "Z" * len(name)
    data = zip_with((placeholder, b"")).replace(placeholder.encode(), name.encode())
    refuse(data, f"is a zip with the entry {name!r}, whose name leads out of the archive")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_duplicates(refuse):
    refuse(
        zip_with(("archive/data/0", b"a"), ("archive/data/0", b"b")),
        "is a zip with two entries of the name 'archive/data/0'",
    )


def test_zip_entries_that_overlap(refuse):
    def same_start(data):
        # The second entry of the directory is sent to the first one's bytes, and has its name's length.
        first, second = (data.index(b"PK\x01\x02"), data.rindex(b"PK\x01\x02"))
        return data[: second + 42] + data[first + 42 : first + 46] + data[second + 46 :]

    refuse(
        zip_with(("archive/data.xyz", b"a"), mutate=same_start),
        "is a zip in which 'archive/data.xyz' overlaps the entry before it",
    )


def test_zip_header_elsewhere(refuse):
    def rename(data):
        at = data.index(b"archive/data/0")
        return data[:at] + b"archive/data/1" + data[at + 14 :]

    refuse(
        zip_with(("archive/data/0", b"a"), mutate=rename),
        "is damaged: the zip entry 'archive/data/0' is not where the directory says",
    )


def test_zip_encrypted(refuse):
    def encrypt(data):
        at = data.index(b"PK\x01\x02") + 8
        return data[:at] + b"\x01" + data[at + 1 :]

    refuse(zip_with(mutate=encrypt), "is a zip with the encrypted entry 'archive/data.pkl': decrypt it first")


def test_zip_of_another_method(refuse):
    refuse(
        zip_with(compression=zipfile.ZIP_BZIP2),
        "is a zip whose entry 'archive/data.pkl' is compressed by method 12: unpack it",
    )


def test_zip_bomb(tmp_path, quickly):
    data = np.zeros(1 << 26, np.uint8)
    path = tmp_path / "checkpoint"
    path.write_bytes(zip_file({"w": Tensor(data, "0")}, compression=zipfile.ZIP_DEFLATED))
    size = path.stat().st_size
    assert size < 1 << 18
    assert quickly(path) == (
        f"asks for {1 << 26} bytes of tensors and has {size} bytes itself: at most 4 x file size + 16 MiB = "
        f"{4 * size + (16 << 20)} bytes are given to a file"
    )


@pytest.mark.parametrize(
    ("declared", "message"),
    [(3, "inflates to more than the 3 bytes that it declares"), (20, "inflates to 6 bytes and declares 20")],
)
def test_zip_that_lies_about_its_size(refuse, declared, message):
    data = zip_with(compression=zipfile.ZIP_DEFLATED)
    at = data.index(b"PK\x01\x02") + 24
    data = data[:at] + struct.pack("<L", declared) + data[at + 4 :]
    refuse(data, f"is damaged: the zip entry 'archive/data.pkl' {message}")


def test_zip_storages_that_do_not_fit(refuse):
    pickled = Encoder(legacy=False).pickle(STATE)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    refuse(buffer.getvalue(), "is damaged: storage '0' is used and not in the archive")
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("archive/data/0", b"abc")
    refuse(buffer.getvalue(), "is damaged: storage '0' has 3 bytes and should have 16")


def test_two_checkpoints_in_one_zip(refuse):
    refuse(
        zip_file(STATE, extra={"other/data.pkl": b""}),
        "is a zip with 2 checkpoints in it: 'archive/data.pkl', 'other/data.pkl'",
    )


def test_zip_byte_order(refuse):
    refuse(zip_file(STATE, byteorder="middle"), "is damaged: its byte order is b'middle'")


# The older format.


def test_legacy_counts(refuse):
    data = legacy_file(STATE)
    head, body = data[: -16 - 8], data[-16:]
    for count in (5, -1, 1 << 62):
        refuse(
            head + struct.pack("<q", count) + body, f"is damaged: storage '0' has {count} elements and should have 4"
        )


def test_legacy_storage_lists(refuse):
    encoder = Encoder(legacy=True)
    start = encoder.pickle(MAGIC) + encoder.pickle(1001) + encoder.pickle({}) + encoder.pickle(STATE)
    body = struct.pack("<q", 4) + ONE.tobytes()
    refuse(start + encoder.pickle([]), "is damaged: storage '0' is used and not in the file")
    refuse(start + encoder.pickle({}), "is damaged: its list of storages is something else")
    for keys in (["1"], ["0", "0"]):
        refuse(
            start + encoder.pickle(keys) + body + body,
            f"is damaged: its list of storages names {keys[-1]!r} twice, or it is never used",
        )
    refuse(encoder.pickle(MAGIC) + encoder.pickle(1000), "is a PyTorch file of protocol 1000: 1001 is read")


def test_a_pickle_of_something_else(refuse):
    refuse(
        Encoder(legacy=True).pickle({"a": 1}),
        "is a pickle, but none that torch.save wrote: it starts with a dict instead of the magic number; of a pickled "
        "array or dictionary, save the tensors with torch.save",
    )


def test_legacy_view_out_of_its_storage(refuse):
    refuse(
        legacy_file({"w": Tensor(ONE, "0", (1,), view=("1", 3, 2))}),
        "is damaged: a view of storage '0' takes the elements 3 to 5 and it has 4",
    )


# Safetensors.


def entry(first, last, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, last]}


@pytest.mark.parametrize(
    ("header", "n_bytes", "message"),
    [
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12, "is damaged: tensor 'b' overlaps tensor 'a'"),
        (
            {"a": entry(0, 8), "b": entry(8, 16)},
            12,
            "is truncated or damaged: tensor 'b' has the offsets [8, 16] and the file has 12 bytes of tensors",
        ),
        ({"a": entry(0, 8)}, 12, "is damaged: the last 4 bytes belong to no tensor"),
        ({"a": entry(4, 12)}, 12, "is damaged: 4 bytes before tensor 'a' belong to no tensor"),
        (
            {"a": entry(0, 4)},
            4,
            "is damaged: tensor 'a' of shape [2] and type F32 needs 8 bytes and its offsets [0, 4] span 4",
        ),
        ({"a": entry(-8, 0)}, 0, "is damaged: tensor 'a' has the offsets [-8, 0]"),
        ({"a": entry(0, 8, (-2,))}, 8, "is damaged: tensor 'a' has the shape [-2]"),
        ({"a": entry(0, 8, (2.0,))}, 8, "is damaged: tensor 'a' has the shape [2.0]"),
        ({"a": entry(0, 8, (True, 2))}, 8, "is damaged: tensor 'a' has the shape [True, 2]"),
        ({"a": entry(0, 8, (1,) * 33)}, 8, f"is damaged: tensor 'a' has the shape {'a list'}"),
        (
            {"a": entry(0, 8, (1 << 61, 1 << 61))},
            8,
            f"is damaged: tensor 'a' of shape [{1 << 61}, {1 << 61}] and type F32 needs {1 << 124} bytes and its "
            "offsets [0, 8] span 8",
        ),
        (
            {"a": entry(0, 2, dtype="F8_E4M3")},
            2,
            "holds tensor 'a' of type 'F8_E4M3': F64, F32, F16, BF16, C64, I64, I32, I16, I8, U64, U32, U16, U8, BOOL "
            "are read; save tensor.float() in its place",
        ),
        ({"a": 1}, 0, "is damaged: its safetensors header describes 'a' by 1"),
        ({"__metadata__": {"a": 1}}, 0, "is damaged: its safetensors metadata are not texts"),
        (b"{}}", 0, "is damaged: its safetensors header is not JSON: Extra data: line 1 column 3 (char 2)"),
        (b'{"a": 1, "a": 2}', 0, "is damaged: its safetensors header is not JSON: a name stands twice"),
    ],
)
def test_safetensors_headers(refuse, header, n_bytes, message):
    refuse(safetensors_file(header, bytes(n_bytes)), message)


def test_safetensors_header_lengths(refuse, tmp_path):
    data = safetensors_file({"a": entry(0, 8)}, bytes(8))
    refuse(
        struct.pack("<Q", 1 << 39) + data[8:],
        f"has a safetensors header of {1 << 39} bytes: at most {1 << 20}",
    )
    refuse(
        struct.pack("<Q", 5000) + data[8:],
        f"is truncated: the safetensors header takes the bytes 8 to 5008, and the file has {len(data)}; "
        "download or copy it again",
    )
    path = tmp_path / "checkpoint"
    for raw in (b'{"a":' + b"[" * 100_000, b'{"a":' + b"9" * 10_000 + b"}", b'{"\xff": 1}'):
        path.write_bytes(safetensors_file(raw))
        with pytest.raises(CheckpointError, match="is damaged: its safetensors header is not JSON: "):
            read_tensors(path)


def test_the_dearest_safetensors_header(tmp_path, quickly):
    path = tmp_path / "checkpoint"
    path.write_bytes(safetensors_file(b'{"a":[' + b"{}," * 340_000 + b"{}]}"))
    assert quickly(path) == "is damaged: its safetensors header describes 'a' by a list"
