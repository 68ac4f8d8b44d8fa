"""Small valid checkpoints of every format, and damage to them that is drawn from a seed."""

from __future__ import annotations

import argparse
import functools
import io
import pathlib
import pickle
import random
import tarfile
import zipfile

import numpy as np

from checkpoint_files import Call, Global, Instance, Ordered, Raw, Tensor, legacy_file, safetensors_file, zip_file

INTERESTING = b"\0\1\2\3\4\x08(.QRabcestu}\x7f\x80\x81\x82\x85\x8a\x8b\x8d\x8e\x92\x93\x94\x95\xff"
FRAGMENTS = [
    *(
        b"cos\nsystem\n",
        b"ccollections\nOrderedDict\n",
        b")R",
        b"}(u",
        b"](e",
        b"\x93",
        b"\x94",
        b"q\0h\0a",
        b"Q",
        b"b",
    ),
    *(b"\x8b\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"(", b"t"),
    *(b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"),
    *(b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"ctorch\nSize\n"),
    *(b"cnumpy._core.multiarray\n_reconstruct\n", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"\x8f", b"\x90", b"\x91"),
    *(b"c_codecs\nencode\n", b"cargparse\nNamespace\n)\x81", b"\x92", b"\x96\x04\0\0\0\0\0\0\0", b"c__main__\nA\n"),
    *(b'"shape":[', b"[[[[", b'"data_offsets":[0,8]', b"1e999"),
]
NUMBERS = [0, 1, 0x7F, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1]


class PaddleTensor:
    """A tensor as PaddlePaddle pickles it: the tuple of its name and its array."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        self._pair = name, array

    def __reduce__(self) -> tuple[object, ...]:
        return tuple, (self._pair,)


def nemo_file(weights: bytes, mode: str) -> bytes:
    """A .nemo file of a checkpoint, whose config is no generator's."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in (("./model_config.yaml", b"generator: {resblock: 1}"), ("./model_weights.ckpt", weights)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), 0.5
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@functools.cache
def seeds() -> dict[str, bytes]:
    """Small valid files of every format."""
    rng = np.random.default_rng(0)

    def layer(i: int) -> dict[str, Tensor]:
        g, v = rng.standard_normal((2, 1, 1)), rng.standard_normal((2, 3, 2))
        return {
            f"ups.{i}.weight_g": Tensor(g.astype(np.float32), f"{i}0"),
            f"ups.{i}.weight_v": Tensor(v.astype(np.float32), f"{i}1", (2, 3, 2), (1, 2, 6)),
            f"ups.{i}.bias": Tensor(np.ones(6, np.float16), f"{i}2", (2,), (3,), 1),
        }

    state = {"generator": Ordered({**layer(0), **layer(1)}), "steps": 7, "more": [1.5, (None, True), "text"]}
    others = {
        "module.a.parametrizations.weight.original0": Tensor(np.ones((2, 1)), "0"),
        "module.a.parametrizations.weight.original1": Tensor(np.ones((2, 4)), "1"),
        "module.b": Tensor(np.arange(5, dtype=np.uint16), "2", storage_name="BFloat16Storage"),
        "module.c": Tensor(np.array([True, False]), "3"),
    }
    weight = Tensor(np.ones((2, 2, 7), np.float32), "0")
    module = Instance(Global("__torch__.m", "Layer"), {"training": False, "weight": weight})
    sizes = Call(Global("torch.jit._pickle", "build_intlist"), ([1, 2],))
    program = Instance(Global("__torch__.m", "Generator"), {"conv_pre": module, "ups": module, "sizes": sizes})
    code = {"x/code/__torch__/m.py": b"class Layer(Module):\nclass Generator(Module):\n"}
    tree = {
        "size": Call(Global("torch", "Size"), ((1, 2),)),
        "device": Call(Global("torch", "device"), ("cpu",)),
        "long": 1 << 70,
        "dtype": Global("torch", "int8"),
        "tensor": Tensor(np.ones(4, np.complex64), "0"),
    }
    header = {
        "__metadata__": {"config": '{"resblock": "1"}', "format": "pt"},
        "a.weight_g": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
        "a.weight_v": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [8, 16]},
        "b": {"dtype": "I64", "shape": [], "data_offsets": [16, 24]},
    }
    objects = {
        "model": {"dec.conv_pre.weight": np.ones((2, 3), np.float32, order="F"), "dec.ups.0.weight": np.float64(1)},
        "arrays": [np.arange(5, dtype=">i2"), np.array([None, "x"]), np.zeros((2, 3)).T, np.zeros((1, 2, 3))[:, ::2]],
        "beside": [argparse.Namespace(a=1), pathlib.PurePosixPath("x"), {1, 2}, np.dtype("f4"), {(1, "a"): b"\xff"}],
    }
    relatives = {
        "input_conv.weight_g": PaddleTensor("conv1d_0.w_0", np.ones(2, np.float32)),
        "input_conv.weight_v": PaddleTensor("conv1d_0.w_1", np.ones((2, 3, 7), np.float32)),
        "upsamples.0.1.weight": PaddleTensor("conv1d_transpose_0.w_0", np.ones((2, 1, 4), np.float32)),
        "blocks.0.convs1.0.1.weight": PaddleTensor("conv1d_1.w_0", np.ones((1, 1, 3), np.float32)),
        "output_conv.1.weight": PaddleTensor("conv1d_2.w_0", np.ones((1, 1, 7), np.float32)),
        "mean": PaddleTensor("mean", np.ones(3, np.float32)), "scale": PaddleTensor("scale", np.ones(3, np.float32)),
    }  # fmt: skip
    parts = ("conv_pre.weight", "ups.0.weight", "resblocks.0.0.convs.0.weight", "_orig_mod.conv_post.bias")
    generators = {
        f"{place}.{part}": Tensor(np.ones(2, np.float32), f"{place}{part}")
        for place in ("a.b", "ema")
        for part in parts
    }
    return {
        **{f"pickle {protocol}": pickle.dumps(objects, protocol) for protocol in (2, 4, 5)},
        "paddle": pickle.dumps({"epoch": 1, "generator_params": relatives}, 4),
        "legacy numpy": legacy_file({"generator": Raw(pickle.dumps(objects, 2)[2:-1])}),
        "zip numpy": zip_file({"generator": Raw(pickle.dumps(objects, 2)[2:-1])}),
        "zip numpy deflated": zip_file(
            {"generator": Raw(pickle.dumps(objects, 2)[2:-1])}, compression=zipfile.ZIP_DEFLATED
        ),
        "zip generators": zip_file(generators),
        "legacy": legacy_file(state),
        "legacy flat": legacy_file(others, protocol=4),
        "legacy tree": legacy_file(tree),
        "zip": zip_file(state),
        "zip flat": zip_file(others, byteorder="big"),
        "zip deflated": zip_file(others, compression=zipfile.ZIP_DEFLATED),
        "zip tree": zip_file(tree, prefix="x", byteorder=None),
        "torchscript": zip_file(program, prefix="x", extra=code),
        "nemo": nemo_file(zip_file(generators), "w:"),
        "nemo gz": nemo_file(legacy_file(state), "w:gz"),
        "safetensors": safetensors_file(header, bytes(24)),
    }


def mutate(files: dict[str, bytes], name: str, seed: int) -> bytes:
    """Damage a file in one to eight places; the same seed gives the same damage."""
    rng = random.Random(seed)
    data = bytearray(files[name])
    for _ in range(rng.choice([1, 1, 1, 2, 3, 5, 8])):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(9):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(data):
                data[at] = rng.choice(INTERESTING)
            case 2:
                del data[at : at + rng.choice([1, 1, 2, 4, 16, 200])]
            case 3:
                data = data[:at]
            case 4:
                data[at:at] = rng.choice(FRAGMENTS)
            case 5:
                fragment = rng.choice(FRAGMENTS)
                data[at : at + len(fragment)] = fragment
            case 6:
                other = files[rng.choice(sorted(files))]
                data[at:] = other[rng.randrange(len(other)) :]
            case 7:
                start = rng.randrange(len(data) + 1)
                data[at:at] = data[start : start + rng.randrange(64)]
            case 8:
                width = rng.choice([1, 2, 4, 8])
                number = rng.choice([*NUMBERS, len(data)]) & ((1 << 8 * width) - 1)
                data[at : at + width] = number.to_bytes(width, "little")
    return bytes(data)
