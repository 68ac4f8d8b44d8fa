"""Checkpoints that are something else, were cut short, or bring code: refused by an exact text; nothing runs."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tarfile
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
    Raw,
    Tensor,
    legacy_file,
    zip_file,
)
from checkpoint_mutations import mutate, seeds
from effort import examples
from hifigan_rt.errors import CheckpointError, UnsafeCheckpoint
from hifigan_rt.families import read_checkpoint
from hifigan_rt.formats.checkpoint import read_tensors

ADVICE = (
    ", which is not on the allow-list of tensor rebuilders; nothing was run. If you trust the file, load it in PyTorch "
    "and save its state dict alone: torch.save({'generator': model.state_dict()}, path)"
)
ONE = np.ones(4, np.float32)
STATE = {"w": Tensor(ONE, "0")}


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
            "is an HTML page: the download saved the web page (a login, a warning or a preview); "
            "use the direct link of the file",
        ),
        (
            LFS,
            "is a git-LFS pointer, not the file itself: run 'git lfs pull', or download the file from its page",
        ),
        (
            tar_file(),
            "is a tar archive without model_weights.ckpt, which a .nemo file has: unpack it and name the checkpoint in "
            "it; it holds model_config.yaml",
        ),
        (
            tar_file("gz"),
            "is a tar archive without model_weights.ckpt, which a .nemo file has: unpack it and name the checkpoint in "
            "it; it holds model_config.yaml",
        ),
        (
            b"\x89HDF\r\n\x1a\n" + bytes(200),
            "is an HDF5 file, as TensorFlowTTS and Keras save weights, which are not read: export the network with "
            "tf2onnx and name the .onnx, which ONNX Runtime runs",
        ),
        (b"\x93NUMPY\x01\0" + bytes(200), "is one NumPy array (.npy), not a checkpoint"),
        (
            npz_file(),
            "is a NumPy archive (.npz), not a checkpoint: save its arrays as one with safetensors.numpy.save_file("
            "dict(numpy.load(path)), 'generator.safetensors')",
        ),
        (
            b"GGUF\x03" + bytes(64),
            "is a GGUF model, which is not read: name the checkpoint that it was converted from",
        ),
        (
            b"\x10\0\0\0ORTM" + bytes(100),
            "is a converted network (.ort or .tflite), which is not read: name the ONNX file or checkpoint behind it",
        ),
        (
            b'{"resblock": "1"}',
            "is a JSON text, perhaps the config: name the checkpoint here and this file as the config",
        ),
        (
            b"[project]\nname = 1\n",
            "is a text ('[project] name = 1'), not a checkpoint",
        ),
        (
            b"\x08\x08\x12\x07pytorch\x1a\x051.0.0:\x04",
            "is an ONNX model, not a checkpoint: name it .onnx, by which such a file is recognised",
        ),
        (
            b"\x08\x01\x12\xf3\x05\x0a\x0b",
            "is no checkpoint: it starts with 08 01 12 f3 05 0a 0b, which no PyTorch or safetensors file does; "
            "it is damaged, encrypted or something else",
        ),
        (
            b"\x08\x05\x12\x3d\x0a\x1f\x0a\x05",
            "is no checkpoint: it starts with 08 05 12 3d 0a 1f 0a 05, which no PyTorch or safetensors file does; "
            "it is damaged, encrypted or something else",
        ),
        (
            bytes(range(0xF0, 0x100)) * 9,
            "is no checkpoint: it starts with f0 f1 f2 f3 f4 f5 f6 f7, which no PyTorch or safetensors file does; "
            "it is damaged, encrypted or something else",
        ),
        (
            bytes(1000),
            "is a file that starts with 1000 zero bytes, as an unfinished copy does, not a checkpoint",
        ),
    ],
    ids=[
        "empty",
        "html",
        "lfs",
        "tar",
        "gzip",
        "hdf5",
        "npy",
        "npz",
        "gguf",
        "ort",
        "json",
        "toml",
        "onnx",
        "saved model",
        "core ml",
        "random",
        "zeros",
    ],
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
    with pytest.raises(CheckpointError, match=r"is no usable file name: .*embedded null"):
        read_checkpoint(tmp_path / "a\0b")


@pytest.mark.parametrize("entry", ["code/__torch__.py", "constants.pkl"])
def test_torchscript(refuse, entry):
    refuse(
        zip_file(STATE, extra={f"archive/{entry}": b""}),
        "is damaged: it is a TorchScript archive, and its object is a dict",
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


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("model/archive_format", "model/data/weights/weight_0"),
            "is a program of torch.export (.pt2), not a checkpoint: save its weights with torch.save({'generator': "
            "dict(torch.export.load(path).state_dict)}, 'generator.pth')",
        ),
        (
            ("v3/.data/ts_code/0/data.pkl", "v3/tts_models/model", "v3/.data/extern_modules"),
            "is a package of torch.package, a program: load it in PyTorch with torch.package.PackageImporter and save "
            "its generator's state dict",
        ),
    ],
)
def test_programs_of_pytorch_say_how_their_weights_are_saved(refuse, names, message):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    refuse(buffer.getvalue(), message)


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


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        ("torch", "QInt8Storage", "a quantised tensor: save tensor.dequantize() in its place"),
        ("torch._utils", "_rebuild_sparse_tensor", "a sparse tensor: save tensor.to_dense() in its place"),
        ("torch._utils", "_rebuild_meta_tensor_no_storage", "a tensor on the device meta, which has no values"),
        ("torch._utils", "_rebuild_wrapper_subclass", "a tensor of a class of its own, such as a DTensor of FSDP: "),
    ],
)
def test_tensors_of_other_kinds_are_named(tmp_path, module, name, message):
    path = tmp_path / "x.pth"
    path.write_bytes(zip_file({"w": Call(Global(module, name), ())}))
    with pytest.raises(CheckpointError, match=re.escape(f"x.pth' holds {message}")) as caught:
        read_checkpoint(path)
    assert not isinstance(caught.value, UnsafeCheckpoint)


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
        (Call(Global("numpy", "load"), ("other",)), "numpy.load"),
        (Call(Global("numpy.core.multiarray", "set_string_function"), ()), "numpy.core.multiarray.set_string_function"),
        (
            Call(Global("numpy.testing._private.utils", "runstring"), ("1", {})),
            "numpy.testing._private.utils.runstring",
        ),
        (Call(Global("subprocess", "Popen"), ("a",)), "subprocess.Popen"),
        (Call(Global("ctypes", "CDLL"), ("a",)), "ctypes.CDLL"),
        (Call(Global("importlib", "import_module"), ("a",)), "importlib.import_module"),
        (Call(Global("__main__", "run"), ("a",)), "__main__.run"),
        (Call(Global("somebody.package", "evaluate"), ("a",)), "somebody.package.evaluate"),
        (
            Call(Call(Global("functools", "partial"), (Global("somebody", "Class"),)), ()),
            "a call of an object of functools.partial",
        ),
        (Raw(b"cos\nPathLike\n)\x81"), "os.PathLike"),
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
        (Raw(b"csomebody\nevaluate\n)\x81"), "an object made by the opcode NEWOBJ"),
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


# Anything.


@settings(
    max_examples=examples(1000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(st.sampled_from(sorted(seeds())), st.integers(0, 1 << 64))
def test_mutations_of_valid_files(tmp_path, name, seed):
    path = tmp_path / "checkpoint"
    path.write_bytes(mutate(seeds(), name, seed))
    for reader in (read_checkpoint, read_tensors):
        with contextlib.suppress(CheckpointError):
            reader(path)


@settings(
    max_examples=examples(300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", b"\x10\0\0\0\0\0\0\0{"]), st.binary(max_size=300))
def test_arbitrary_bytes(tmp_path, start, data):
    path = tmp_path / "checkpoint"
    path.write_bytes(start + data)
    with pytest.raises(CheckpointError):
        read_tensors(path)
