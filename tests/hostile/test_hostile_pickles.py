"""Pickles that misuse what is allowed, or claim more than they hold: refused at once, within bounded memory."""

from __future__ import annotations

import struct
import time
import zipfile

import numpy as np
import pytest

from checkpoint_files import (
    ORDERED_DICT,
    Call,
    Encoder,
    Global,
    Persistent,
    Raw,
    Tensor,
    legacy_file,
    read_any_state,
    zip_file,
)
from hifigan_rt.errors import CheckpointError
from hifigan_rt.families import read_checkpoint
from hifigan_rt.formats.checkpoint import read_tensors
from memory_limits import peak_within

ONE = np.ones(4, np.float32)
STATE = {"w": Tensor(ONE, "0")}


# Allowed objects, used otherwise than torch.save uses them.


def rebuild(*arguments, name="_rebuild_tensor_v2"):
    return Call(Global("torch._utils", name), arguments)


def storage(size=4, key="0", name="FloatStorage"):
    return Persistent(("storage", Global("torch", name), key, "cpu", size))


GOOD = Tensor(ONE, "0")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Call(ORDERED_DICT, ([("a", 1)],)), "is damaged: collections.OrderedDict is called with 1 arguments"),
        (Call(ORDERED_DICT, [1]), "is damaged: collections.OrderedDict is called with a list"),
        (rebuild(1), "is damaged: torch._utils._rebuild_tensor_v2 is called with 1 arguments"),
        (rebuild(1, 0, (1,), (1,), 0, 0), "is damaged: a tensor looks into 1 instead of a storage"),
        (
            rebuild(storage(), 0, (5,), (1,), 0, {}),
            "is damaged: a tensor of shape [5], stride [1] and offset 0 reaches out of its storage '0', which has "
            "4 elements",
        ),
        (
            rebuild(storage(), 3, (2,), (1,), 0, {}),
            "is damaged: a tensor of shape [2], stride [1] and offset 3 reaches out of its storage '0', which has "
            "4 elements",
        ),
        (
            rebuild(storage(), 0, (2, 2), (1 << 60, 1), 0, {}),
            f"is damaged: a tensor of shape [2, 2], stride [{1 << 60}, 1] and offset 0 reaches out of its storage "
            "'0', which has 4 elements",
        ),
        (rebuild(storage(), -1, (1,), (1,), 0, {}), "is damaged: the offset of a tensor is -1"),
        (rebuild(storage(), None, (1,), (1,), 0, {}), "is damaged: the offset of a tensor is None"),
        (rebuild(storage(), 0, (1,), (-1,), 0, {}), "is damaged: the stride of a tensor is -1"),
        (rebuild(storage(), 0, (2.0,), (1,), 0, {}), "is damaged: the shape of a tensor is 2.0"),
        (rebuild(storage(), 0, "1", (1,), 0, {}), "is damaged: the shape of a tensor is '1'"),
        (rebuild(storage(), 0, (1, 1), (1,), 0, {}), "is damaged: a tensor has shape [1, 1] and stride [1]"),
        (
            rebuild(storage(), 0, (1,) * 33, (1,) * 33, 0, {}),
            "is damaged: a tensor has 33 dimensions: at most 32",
        ),
        (
            rebuild(storage(), 0, (1 << 62, 1 << 62), (0, 0), 0, {}),
            f"is damaged: a tensor of shape [{1 << 62}, {1 << 62}], stride [0, 0] and offset 0 reaches out of its "
            "storage '0', which has 4 elements",
        ),
        (
            rebuild(storage(), 0, (1,), (1,), 0, {}, {"conj": True}),
            "holds a tensor with a conj or neg bit: save tensor.resolve_conj().resolve_neg()",
        ),
        (
            rebuild(storage(), 0, (1,), (1,), 0, {}, Global("torch", "float8_e5m2"), name="_rebuild_tensor_v3"),
            "holds a tensor of torch.float8_e5m2, which NumPy has no type for: convert it to torch.float32",
        ),
        (rebuild([1], 0, {}, name="_rebuild_parameter"), "is damaged: a parameter is made of a list"),
        (Persistent("0"), "refers to '0' instead of a storage: save the state dict, not the whole model"),
        (Persistent(()), "refers to a tuple instead of a storage: save the state dict, not the whole model"),
        (
            Persistent(("module", "a", "b", "c", "d")),
            "refers to 'module' instead of a storage: save the state dict, not the whole model",
        ),
        (
            Persistent(("storage", "torch.FloatStorage", "0", "cpu", 4)),
            "is damaged: its pickle describes a storage by values of the wrong type",
        ),
        (
            Persistent(("storage", Global("torch", "FloatStorage"), ["0"], "cpu", 4)),
            "is damaged: its pickle describes a storage by values of the wrong type",
        ),
        (storage(-1), "is damaged: the storage size of a tensor is -1"),
        (storage(1 << 70), f"is damaged: the storage size of a tensor is {1 << 70}"),
        (
            [GOOD, storage(5)],
            "is damaged: storage '0' is 4 x float32 in one place and 5 x float32 in another",
        ),
        (
            [GOOD, storage(4, name="IntStorage")],
            "is damaged: storage '0' is 4 x float32 in one place and 4 x int32 in another",
        ),
        (Raw(b"}q\0(h\0h\0u"), "has a dict as the key of a dictionary"),
        (Raw(b"}](e(K\x01u"), "is damaged: its pickle has a key without a value at byte 18"),
        (Raw(b"})\x85Ns"), "has a tuple as the key of a dictionary"),
        (Raw(b"}(" + 17 * b"N" + b"tNs"), "has a tuple as the key of a dictionary"),
        (Raw(b"}\x8a\x0a" + bytes(9) + b"\x01Ns"), f"has {1 << 72} as the key of a dictionary"),
        (Raw(b"]NK\x01b"), "is damaged: its pickle adds a state at byte 15 to something else"),
        (Raw(b"]Nb"), "is damaged: its pickle adds a state at byte 13 to something else"),
        (Raw(b"}](K\x01eb"), "is damaged: its pickle sets the state of a dict to a list"),
        (Raw(b")Na"), "is damaged: its pickle adds an item at byte 13 to something else"),
        (Raw(b"]N(NNu"), "is damaged: its pickle adds entries at byte 16 to something else"),
        (Raw(b"h\x07"), "is damaged: its pickle recalls object 7, which it never remembered"),
        (Raw(b"j\xff\xff\xff\xff"), f"is damaged: its pickle recalls object {0xFFFFFFFF}, which it never remembered"),
        (Raw(b"t"), "is damaged: its pickle has no mark to return to at byte 12"),
        (Raw(b"tt"), "is damaged: its pickle has no mark to return to at byte 12"),
        (Raw(b"RR"), "is damaged: its pickle takes from an empty stack at byte 11"),
        (
            Raw(b"0"),
            "is damaged, or not written by torch.save with pickle protocol 2 to 5: opcode 0x30 at byte 10 of its "
            "pickle",
        ),
    ],
)
def test_allowed_objects_misused(tmp_path, value, message):
    path = tmp_path / "checkpoint"
    path.write_bytes(zip_file({"w": value}))
    with pytest.raises(CheckpointError) as caught:
        read_tensors(path)
    # The value starts at byte 10 of the pickle.
    assert str(caught.value) == f"{str(path)!r} {message}"


def test_bare_globals_and_storages_in_the_tree(tmp_path):
    path = tmp_path / "checkpoint"
    for value, noun in ((ORDERED_DICT, "a function"), (Global("torch", "FloatStorage"), "a storage type")):
        path.write_bytes(zip_file({"w": value}))
        with pytest.raises(CheckpointError) as caught:
            read_tensors(path)
        assert str(caught.value) == (
            f"{str(path)!r} holds {noun} of PyTorch's where a tensor, a number or a text is expected"
        )


# Claims and bombs: refused at once, within the memory of an ordinary run.

HUGE = struct.pack("<Q", 1 << 60)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"\x8e" + HUGE, "is truncated: its pickle asks for 1152921504606846976 bytes at byte 19, and 2 are left"),
        (b"\x8d" + HUGE, "is truncated: its pickle asks for 1152921504606846976 bytes at byte 19, and 2 are left"),
        (b"\x95" + HUGE, "is truncated: its pickle asks for 1152921504606846976 bytes at byte 19, and 2 are left"),
        (b"B\xff\xff\xff\xff", "is truncated: its pickle asks for 4294967295 bytes at byte 15, and 2 are left"),
        (b"X\xff\xff\xff\xff", "is truncated: its pickle asks for 4294967295 bytes at byte 15, and 2 are left"),
        (b"\x8b\xff\xff\xff\x7f", "holds an integer of 2147483647 bytes: at most 32"),
        (b"\x8a\xff" + bytes(255), "holds an integer of 255 bytes: at most 32"),
        (b"N" * 300_000, "has a pickle of more than 262144 steps: a HiFi-GAN checkpoint takes 8000"),
        (b"(" * 300_000, "has a pickle of more than 262144 steps: a HiFi-GAN checkpoint takes 8000"),
        (b"}" * 300_000, "has a pickle of more than 262144 steps: a HiFi-GAN checkpoint takes 8000"),
        (b"N" + b"\x94" * 300_000, "has a pickle of more than 262144 steps: a HiFi-GAN checkpoint takes 8000"),
        (b"]" + b"\x85" * 200_000, "holds more than 64 containers within each other"),
        (b"]" * 130_000 + b"a" * 129_999, "holds more than 64 containers within each other"),
        (b"]q\0h\0a", "holds a list that contains itself"),
        (b"}q\0Nh\0s", "holds a dict that contains itself"),
        (b"]q\0h\0\x85a", "holds a list that contains itself"),
    ],
    ids=lambda value: repr(value[:4]) if isinstance(value, bytes) else "",
)
def test_claims_and_bombs_in_the_pickle(tmp_path, quickly, code, message):
    path = tmp_path / "checkpoint"
    path.write_bytes(zip_file({"w": Raw(code)}))
    assert quickly(path) == message


def test_a_memo_index_of_four_billion_costs_nothing(tmp_path):
    path = tmp_path / "checkpoint"
    path.write_bytes(zip_file({"w": Raw(b"Nr\xff\xff\xff\xff")}))
    with peak_within(1 << 20):
        assert read_tensors(path) == {"w": None}


def test_billion_laughs(tmp_path, quickly):
    code = b"]q\0"
    for i in range(40):
        recall = b"h" + bytes([i])
        code += b"](" + recall * 10 + b"eq" + bytes([i + 1])
    path = tmp_path / "checkpoint"
    path.write_bytes(zip_file({"w": Raw(b"(" + code + b"t")}))
    assert quickly(path) == "holds more than 262144 objects, counted as often as they are reached"


def test_a_pickle_longer_than_its_limit(tmp_path, quickly):
    path = tmp_path / "checkpoint"
    texts = {str(i): "x" * 60_000 for i in range(150)}
    for data in (zip_file(texts), legacy_file(texts)):
        path.write_bytes(data)
        assert quickly(path) == f"has a pickle of more than {8 << 20} bytes, tensors not counted"
    path.write_bytes(zip_file(texts, compression=zipfile.ZIP_DEFLATED))
    size = len(Encoder(legacy=False).pickle(texts))
    assert quickly(path) == f"has a 'archive/data.pkl' of {size} bytes: at most {8 << 20}, tensors not counted"


@pytest.mark.parametrize("opcode", [b"X", b"B"])
def test_long_texts_stay_in_the_file_until_they_are_asked_for(tmp_path, quickly, write, opcode):
    """What arrays are made of may be long; all that is read of it at once has a limit."""
    path = tmp_path / "checkpoint"
    long = opcode + struct.pack("<I", 5 << 20) + b"x" * (5 << 20)
    path.write_bytes(write({"a": Raw(long), "b": Raw(long)}))
    assert quickly(path) == f"holds texts of {10 << 20} bytes: at most {8 << 20}"
    path.write_bytes(write({"a": Raw(long), "w": GOOD}))
    assert len(read_tensors(path)["a"]) == 5 << 20
    with peak_within(1 << 20):
        np.testing.assert_array_equal(read_any_state(path).weights["w"], ONE)


def test_texts_of_the_widest_characters(tmp_path):
    # Python stores such a text at four bytes a character: the dearest 8 MB that there are.
    path = tmp_path / "checkpoint"
    path.write_bytes(zip_file({"w": "x" * ((8 << 20) - 200) + "\U0001f600"}))
    with peak_within(4 * path.stat().st_size + (64 << 20)):
        assert len(read_tensors(path)["w"]) == (8 << 20) - 199


@pytest.mark.parametrize(("count", "needed"), [(1 << 22, 16 + (1 << 25)), (1 << 40, 1 << 42)])
def test_a_view_that_repeats_one_number(tmp_path, quickly, write, count, needed):
    # Of four copies of 16 MiB, the first fits, and the storage of 16 bytes that it is made from; the second does not.
    path = tmp_path / "checkpoint"
    path.write_bytes(write([Tensor(ONE, "0", (count,), (0,)) for _ in range(4)]))
    size = path.stat().st_size
    assert quickly(path) == (
        f"asks for {needed} bytes of tensors and has {size} bytes itself: at most 4 x file size + 16 MiB = "
        f"{4 * size + (16 << 20)} bytes are given to a file"
    )


def test_thousands_of_overlapping_views(tmp_path):
    # A quarter of the file's bytes is looked into by 3000 tensors of two elements: read once, not 3000 times.
    data = np.zeros(1 << 20, np.float32)
    views = [Tensor(data, "0", (2,), ((1 << 20) - 1,)) for _ in range(3000)]
    path = tmp_path / "checkpoint"
    path.write_bytes(zip_file(views))
    start = time.thread_time()
    assert len(read_tensors(path)) == 3000
    assert time.thread_time() - start < 10


def test_large_magnitudes_of_empty_weights(tmp_path):
    # Each layer is let go once it is folded, to nothing: within the memory, but thousands of them take minutes.
    n = 1 << 21
    state = {}
    for i in range(500):
        state[f"{i}.weight_g"] = Tensor(ONE, "0", (n,), (0,))
        state[f"{i}.weight_v"] = Tensor(ONE, "0", (n, 0), (1, 1))
    path = tmp_path / "checkpoint"
    path.write_bytes(zip_file(state))
    size = path.stat().st_size
    with pytest.raises(CheckpointError) as caught:
        read_any_state(path)
    limit = 4 * (4 * size + (16 << 20))
    copies = (limit - 16) // (4 * n) + 1
    assert str(caught.value) == (
        f"{str(path)!r} asks for {16 + copies * 4 * n} bytes of tensors one after another and has {size} bytes itself: "
        f"at most {limit} bytes are given to a file"
    )


def many_tensors(names):
    """A dictionary of one tensor under many names, at a dozen bytes each."""
    encoded = Encoder(legacy=False).encode(GOOD)
    function = b"ctorch._utils\n_rebuild_tensor_v2\n"
    assert encoded.startswith(function)
    assert encoded.endswith(b"R")
    # Remembers the function as 0 and its arguments as 1, then calls them again and again.
    code = b"(" + function + b"q\0" + encoded[len(function) : -1] + b"q\1}("
    entries = (b"X" + struct.pack("<I", len(name)) + name + b"h\0h\1R" for name in names)
    return Raw(code + b"".join(entries) + b"ut")


@pytest.mark.parametrize(
    "names",
    [
        [b"conv_pre." * 36 + b"%d" % i for i in range(2000)],
        [b"%d.conv_pre.w" % i for i in range(2000)],
        [b"." * 300 + b"%d" % i for i in range(2000)],
    ],
    ids=["beginnings within each other", "beginnings side by side", "dots"],
)
def test_names_that_begin_a_thousand_generators(tmp_path, quickly, names):
    path = tmp_path / "checkpoint"
    path.write_bytes(zip_file({"w": GOOD, "x": many_tensors(names)}))
    assert quickly(path, read_checkpoint).startswith("holds no generator, which has conv_pre")


def test_dictionaries_within_each_other(tmp_path, quickly):
    """Each of forty has the one before ten times; and one has itself."""
    code = b"}q\0"
    for i in range(40):
        entries = b"".join(b"K" + bytes([j]) + b"h" + bytes([i]) for j in range(10))
        code += b"}(" + entries + b"uq" + bytes([i + 1])
    path = tmp_path / "checkpoint"
    path.write_bytes(zip_file({"w": GOOD, "x": Raw(b"(" + code + b"t"), "y": Raw(b"}q\0K\1h\0s")}))
    assert quickly(path, read_checkpoint).startswith("holds no generator, which has conv_pre")


def test_too_many_tensors(tmp_path, quickly):
    path = tmp_path / "checkpoint"
    path.write_bytes(zip_file({"w": GOOD, "x": many_tensors([b"%d" % i for i in range(33_000)])}))
    assert quickly(path) == "holds more than 32768 tensors: a HiFi-GAN checkpoint has about 234"
