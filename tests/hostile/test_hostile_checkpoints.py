"""Checkpoints built to deceive or broken on the way: each is refused by an exact text, and nothing is run."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import tarfile
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkpoint_files import (
    MAGIC,
    ORDERED_DICT,
    Call,
    Encoder,
    Global,
    Persistent,
    Raw,
    Tensor,
    legacy_file,
    safetensors_file,
    zip_file,
)
from checkpoint_mutations import mutate, seeds
from hifigan_rt.checkpoint import read_checkpoint, read_tensors
from hifigan_rt.errors import CheckpointError, UnsafeCheckpoint

ADVICE = (
    ", which is not on the allow-list of tensor rebuilders; nothing was run. If you trust the file, load it in PyTorch "
    "and save its state dict alone: torch.save({'generator': model.state_dict()}, path)"
)
ONE = np.ones(4, np.float32)
STATE = {"w": Tensor(ONE, "0")}


@pytest.fixture
def refuse(tmp_path):
    def refuse(data, message, error=CheckpointError):
        path = tmp_path / "checkpoint"
        path.write_bytes(data)
        for reader in (read_checkpoint, read_tensors):
            with pytest.raises(CheckpointError) as caught:
                reader(path)
            assert type(caught.value) is error
            assert str(caught.value) == f"{str(path)!r} {message}"
        assert os.listdir(tmp_path) == ["checkpoint"]

    return refuse


@pytest.fixture(params=[zip_file, legacy_file], ids=["zip", "legacy"])
def write(request):
    return request.param


# What is not a checkpoint at all.

HTML = b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 55788858\n"


def tar_file(compression=""):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
        archive.addfile(tarfile.TarInfo("./model_config.yaml"), io.BytesIO())
    return buffer.getvalue()


def npz_file():
    buffer = io.BytesIO()
    np.savez(buffer, a=ONE)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty (0 bytes): the download or copy failed; fetch it again"),
        (
            HTML,
            "is an HTML page, not a checkpoint: the download saved the web page (a login, a warning or a preview); "
            "use the direct link of the file",
        ),
        (
            LFS,
            "is a git-LFS pointer, not the file itself: run 'git lfs pull', or download the file from its page",
        ),
        (
            tar_file(),
            "is a tar archive, as .nemo files are: unpack it; of a .nemo file, model_weights.ckpt holds the weights "
            "(NeMo's layer names are not read yet)",
        ),
        (
            tar_file("gz"),
            "is compressed with gzip: unpack it first (.nemo and .tar.gz files hold the checkpoint inside)",
        ),
        (b"\x93NUMPY\x01\0" + bytes(200), "is one NumPy array (.npy), not a checkpoint"),
        (npz_file(), "is a NumPy archive (.npz), not a checkpoint"),
        (
            b'{"resblock": "1"}',
            "is a JSON text, perhaps the config: name the checkpoint here and this file as the config",
        ),
        (
            b"[project]\nname = 1\n",
            "is no checkpoint: it starts with 5b 70 72 6f 6a 65 63 74, which no PyTorch or safetensors file does; "
            "it is damaged, encrypted or something else",
        ),
        (
            b"\x08\x08\x12\x07pytorch\x1a\x051.0.0:\x04",
            "is an ONNX model, not a checkpoint: give it where a model is run; weights are not read out of it",
        ),
        (
            bytes(range(0xF0, 0x100)) * 9,
            "is no checkpoint: it starts with f0 f1 f2 f3 f4 f5 f6 f7, which no PyTorch or safetensors file does; "
            "it is damaged, encrypted or something else",
        ),
        (
            bytes(1000),
            "is no checkpoint: it starts with 00 00 00 00 00 00 00 00, which no PyTorch or safetensors file does; "
            "it is damaged, encrypted or something else",
        ),
    ],
    ids=["empty", "html", "lfs", "tar", "gzip", "npy", "npz", "json", "toml", "onnx", "random", "zeros"],
)
def test_other_files(refuse, data, message):
    refuse(data, message)


def test_folder_absent_and_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, message in (
        (tmp_path, "is a folder: name the checkpoint file in it"),
        (tmp_path / "absent", "cannot be read: No such file or directory"),
        (pipe, "is no regular file: copy it to a file first"),
    ):
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path)
        assert str(caught.value) == f"{str(path)!r} {message}"


def test_a_name_with_a_null(tmp_path):
    with pytest.raises(CheckpointError, match="is no usable file name: embedded null byte"):
        read_checkpoint(tmp_path / "a\0b")


@pytest.mark.parametrize("entry", ["code/__torch__.py", "constants.pkl"])
def test_torchscript(refuse, entry):
    refuse(
        zip_file(STATE, extra={f"archive/{entry}": b""}),
        "is a TorchScript archive, a program: a state dict is needed. Load it in PyTorch with torch.jit.load and "
        "save torch.save({'generator': model.state_dict()}, path)",
    )


def test_a_foreign_zip(refuse):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("folder/generator_v1", b"")
        archive.writestr("README", b"")
    refuse(
        buffer.getvalue(),
        "is a zip, but none that torch.save wrote; it holds 'folder/generator_v1', 'README': unpack it",
    )


# Cut short.


def test_truncated_zip(refuse):
    data = zip_file(STATE)[:-30]
    refuse(
        data,
        f"is truncated: it starts as a zip archive and its directory is missing after {len(data)} bytes; "
        "download or copy it again",
    )


def test_truncated_in_the_storages(refuse):
    data = legacy_file(STATE)[:-5]
    refuse(
        data,
        f"is truncated: storage 0 takes the bytes {len(data) - 11} to {len(data) + 5}, and the file has {len(data)}; "
        "download or copy it again",
    )


def test_truncated_in_the_pickle(refuse):
    encoder = Encoder(legacy=True)
    start = encoder.pickle(MAGIC) + encoder.pickle(1001)
    refuse(
        start + b"\x80\x02X\x10\0\0\0mel",
        f"is truncated: its pickle asks for 16 bytes at byte {len(start) + 7}, and 3 are left",
    )
    refuse(start, f"is truncated: its pickle asks for 1 bytes at byte {len(start)}, and 0 are left")


def test_every_truncation_is_refused(tmp_path, write):
    whole = write(STATE)
    path = tmp_path / "checkpoint"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_tensors(path)


# Code.

DEEP = {"a": [({"b": Call(Global("builtins", "eval"), ("1",))},)]}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Call(Global("os", "system"), ("touch /tmp/owned",)), "os.system"),
        (Call(Global("posix", "system"), ("touch /tmp/owned",)), "posix.system"),
        (Call(Global("builtins", "eval"), ("1",)), "builtins.eval"),
        (Call(Global("builtins", "getattr"), (1, "a")), "builtins.getattr"),
        (Call(Global("torch", "load"), ("other",)), "torch.load"),
        (Call(Global("torch.hub", "load"), ("a", "b")), "torch.hub.load"),
        (Call(Global("torch._utils", "_rebuild_sparse_tensor"), ()), "torch._utils._rebuild_sparse_tensor"),
        (Call(Global("numpy.core.multiarray", "_reconstruct"), ()), "numpy.core.multiarray._reconstruct"),
        (DEEP, "builtins.eval"),
        (Global("collections", "OrderedDict.fromkeys"), "collections.OrderedDict.fromkeys"),
        (Raw(b"X\x05\0\0\0torchX\x0a\0\0\0Size.count\x93"), "torch.Size.count"),
        (Raw(b"X\x00\0\0\0X\x06\0\0\0system\x93"), ".system"),
        (Raw(b"K\x01K\x02\x93"), "the global 1.2, whose names are no texts"),
        (Raw(b"cos\x1b[2J\nsystem\n"), "'os\\x1b[2J.system'"),
        (Raw(b"(iposix\nsystem\n"), "posix.system (opcode INST)"),
        (Raw(b"\x82\x05"), "the extension code 5 (opcode EXT1)"),
        (Raw(b"\x84\x05\0\0\1"), "the extension code 16777221 (opcode EXT4)"),
        (Raw(b"ccollections\nOrderedDict\n)\x81"), "an object made by the opcode NEWOBJ"),
        (Raw(b"ccollections\nOrderedDict\n)}\x92"), "an object made by the opcode NEWOBJ_EX"),
        (Raw(b"(ccollections\nOrderedDict\no"), "an object made by the opcode OBJ"),
        (Call(Global("torch", "FloatStorage"), (1,)), "a call of a storage type"),
        (Call(Global("torch", "float32"), ()), "a call of a torch.dtype"),
        (Call("os.system", ("a",)), "a call of 'os.system'"),
        (Call(Call(ORDERED_DICT, ()), ()), "a call of a dict"),
    ],
)
def test_code_is_refused_by_name(refuse, write, value, name):
    refuse(write({"generator": value}), f"asks for {name}{ADVICE}", UnsafeCheckpoint)


@pytest.mark.parametrize(
    "data",
    [
        b"cposix\nsystem\n(S'touch /tmp/owned'\ntR.",
        b"\x80\x02cposix\nsystem\nX\x01\0\0\0a\x85R.",
        b"\x80\x04\x95\x16\0\0\0\0\0\0\0\x8c\x05posix\x8c\x06system\x93\x8c\x01a\x85R.",
    ],
    ids=["protocol 0", "protocol 2", "protocol 4"],
)
def test_code_instead_of_the_magic_number(refuse, data):
    refuse(data, f"asks for posix.system{ADVICE}", UnsafeCheckpoint)


def test_code_in_every_pickle_of_the_older_format(refuse):
    encoder = Encoder(legacy=True)
    evil = encoder.pickle(Call(Global("os", "system"), ("a",)))
    start = encoder.pickle(MAGIC)
    for data in (
        evil,
        start + evil,
        start + encoder.pickle(1001) + evil,
        start + encoder.pickle(1001) + encoder.pickle({}) + encoder.pickle({}) + evil,
    ):
        refuse(data, f"asks for os.system{ADVICE}", UnsafeCheckpoint)


def test_a_remembered_function_stays_what_it_is(refuse, write):
    # Remembers OrderedDict as 0, overwrites 0 by a text, then calls what is remembered.
    code = b"ccollections\nOrderedDict\nq\0X\x09\0\0\0os.systemq\0h\0)R"
    refuse(write({"w": Raw(code)}), f"asks for a call of 'os.system'{ADVICE}", UnsafeCheckpoint)


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
        (Raw(b"}))s"), "has a tuple as the key of a dictionary"),
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


@pytest.fixture
def quickly():
    """At most 64 MB beyond four times the file, and 20 s, whatever the file claims."""

    def check(path):
        tracemalloc.start()
        start = time.perf_counter()
        with pytest.raises(CheckpointError) as caught:
            read_tensors(path)
        seconds = time.perf_counter() - start
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= 4 * path.stat().st_size + (64 << 20)
        assert seconds < 20
        return str(caught.value).removeprefix(f"{str(path)!r} ")

    return check


HUGE = struct.pack("<Q", 1 << 60)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"\x8e" + HUGE, "is truncated: its pickle asks for 1152921504606846976 bytes at byte 19, and 2 are left"),
        (b"\x8d" + HUGE, "is truncated: its pickle asks for 1152921504606846976 bytes at byte 19, and 2 are left"),
        (b"\x95" + HUGE, "is truncated: its pickle asks for 1152921504606846976 bytes at byte 19, and 2 are left"),
        (b"B\xff\xff\xff\xff", "is truncated: its pickle asks for 4294967295 bytes at byte 15, and 2 are left"),
        (b"X\xff\xff\xff\xff", "is truncated: its pickle asks for 4294967295 bytes at byte 15, and 2 are left"),
        (b"\x8b\xff\xff\xff\x7f", "holds an integer of 2147483647 bytes: at most 16"),
        (b"\x8a\xff" + bytes(255), "holds an integer of 255 bytes: at most 16"),
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
    tracemalloc.start()
    assert read_tensors(path) == {"w": None}
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


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
    text = "x" * (9 << 20)
    path.write_bytes(zip_file({"w": text}))
    size = len(Encoder(legacy=False).pickle({"w": text}))
    assert quickly(path) == f"has a 'archive/data.pkl' of {size} bytes: at most {8 << 20}, tensors not counted"
    path.write_bytes(legacy_file({"w": text}))
    assert quickly(path) == f"has a pickle of more than {8 << 20} bytes, tensors not counted"


def test_texts_of_the_widest_characters(tmp_path):
    # Python stores such a text at four bytes a character: the dearest 8 MB that there are.
    path = tmp_path / "checkpoint"
    path.write_bytes(zip_file({"w": "x" * ((8 << 20) - 200) + "\U0001f600"}))
    tracemalloc.start()
    assert len(read_tensors(path)["w"]) == (8 << 20) - 199
    assert tracemalloc.get_traced_memory()[1] <= 4 * path.stat().st_size + (64 << 20)
    tracemalloc.stop()


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
    start = time.perf_counter()
    assert len(read_tensors(path)) == 3000
    assert time.perf_counter() - start < 10


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
        read_checkpoint(path)
    limit = 4 * (4 * size + (16 << 20))
    copies = (limit - 16) // (4 * n) + 1
    assert str(caught.value) == (
        f"{str(path)!r} asks for {16 + copies * 4 * n} bytes of tensors one after another and has {size} bytes itself: "
        f"at most {limit} bytes are given to a file"
    )


def test_too_many_tensors(tmp_path, quickly):
    encoded = Encoder(legacy=False).encode(GOOD)
    function = b"ctorch._utils\n_rebuild_tensor_v2\n"
    assert encoded.startswith(function)
    assert encoded.endswith(b"R")
    # Remembers the function as 0 and its arguments as 1, then calls them again and again.
    code = b"(" + function + b"q\0" + encoded[len(function) : -1] + b"q\1](" + b"h\0h\1R" * 33_000 + b"et"
    path = tmp_path / "checkpoint"
    path.write_bytes(zip_file({"w": GOOD, "x": Raw(code)}))
    assert quickly(path) == "holds more than 32768 tensors: a HiFi-GAN checkpoint has about 234"


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
            "are read",
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


# Anything.


@settings(
    max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(st.sampled_from(sorted(seeds())), st.integers(0, 1 << 64))
def test_mutations_of_valid_files(tmp_path, name, seed):
    path = tmp_path / "checkpoint"
    path.write_bytes(mutate(seeds(), name, seed))
    for reader in (read_checkpoint, read_tensors):
        with contextlib.suppress(CheckpointError):
            reader(path)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", b"\x10\0\0\0\0\0\0\0{"]), st.binary(max_size=300))
def test_arbitrary_bytes(tmp_path, start, data):
    path = tmp_path / "checkpoint"
    path.write_bytes(start + data)
    with pytest.raises(CheckpointError):
        read_tensors(path)
