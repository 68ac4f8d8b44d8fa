"""NumPy's arrays and numbers in checkpoints, bit for bit."""

from __future__ import annotations

import pathlib
import pickle

import numpy as np
import pytest

from checkpoint_files import SAVES, Tensor, legacy_file, zip_file
from golden.tiny import tiny_weights, write_tiny
from hifigan_rt.errors import CheckpointError, MelError
from hifigan_rt.families import read_checkpoint
from hifigan_rt.formats.checkpoint import read_tensors
from hifigan_rt.mel.files import read_mel_file
from hifigan_rt.model.resolve import resolve_model
from memory_limits import peak_within

pytestmark = pytest.mark.torch

RNG = np.random.default_rng(0)
BASE = RNG.standard_normal((3, 4, 5))


@pytest.fixture(params=SAVES, ids=lambda save: f"{'legacy' if save[0] else 'zip'}-{save[1]}")
def save(request, torch, tmp_path):
    legacy, protocol = request.param

    def save(value):
        path = tmp_path / "x.pt"
        torch.save(value, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
        return path

    return save


PLAIN = [
    "f2",
    "f4",
    "f8",
    "i1",
    "i2",
    "i4",
    "i8",
    "u1",
    "u2",
    "u4",
    "u8",
    "b1",
    "c8",
    "c16",
    ">f4",
    ">f8",
    ">i2",
    ">c8",
]


def odd_arrays():
    arrays = {dtype: (100 * BASE).astype(dtype) for dtype in PLAIN}
    arrays |= {
        "fortran": np.asfortranarray(BASE),
        "fortran, large": np.asfortranarray(RNG.standard_normal((300, 70))),
        "transposed": BASE.transpose(1, 0, 2),
        "moved": BASE.transpose(2, 0, 1),
        "strided": BASE[:, ::2],
        "offset": BASE[1:, 2],
        "reversed": BASE[::-1],
        "broadcast": np.broadcast_to(BASE[0, 0], (6, 5)),
        "scalar array": np.array(2.5),
        "empty": np.empty((0, 3), np.float32),
        "special": np.array([np.nan, np.inf, -0.0, 1e-45], np.float32),
        "big-endian, transposed": BASE.astype(">f4").transpose(2, 1, 0),
        # Longer than what is kept in the pickle while it is run.
        "large": RNG.standard_normal((80, 900)).astype(np.float32),
        "large, big-endian": RNG.standard_normal((80, 300)).astype(">f8"),
        "large, in every byte": np.arange(1 << 17, dtype=np.uint32).view(np.uint8),
        "read only": np.frombuffer(bytes(range(64)), np.float32),
    }
    shared = RNG.standard_normal(7)
    return arrays | {"same": [shared, shared, (shared,)]}


def assert_same_arrays(ours, theirs):
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_same_arrays(ours[key], theirs[key])
    elif isinstance(theirs, (list, tuple)):
        assert type(ours) is type(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same_arrays(one, other)
    else:
        native = np.ascontiguousarray(theirs, theirs.dtype.newbyteorder("=")).reshape(theirs.shape)
        assert (ours.dtype, ours.shape) == (native.dtype, native.shape)
        assert ours.tobytes() == native.tobytes()
        assert ours.flags.c_contiguous
        assert ours.flags.writeable


def test_arrays_bit_for_bit(save):
    arrays = odd_arrays()
    assert_same_arrays(read_tensors(save(arrays)), arrays)


def test_numbers(save):
    numbers = {
        dtype: np.dtype(dtype).type(7) for dtype in ("f2", "f4", "f8", "i1", "u1", "i4", "i8", "u8", "b1", "c8", "c16")
    }
    numbers |= {
        "best_loss": np.float64(0.1),
        "big": np.array([3.5], ">f4")[0],
        "complex": 1 - 2j,
        "raw": b"\x00\xff" * 9,
    }
    tree = read_tensors(save(numbers))
    assert {key: type(value) for key, value in tree.items()} == {key: type(value) for key, value in numbers.items()}
    assert tree == numbers


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_the_names_of_numpy_1_and_2(tmp_path, core):
    """NumPy 2 renamed numpy.core; in protocol 2 names are lines of text."""
    arrays = {"a": BASE, "b": np.float32(3), "c": np.asfortranarray(BASE).astype(">i4")}
    data = pickle.dumps(arrays, 2).replace(b"numpy._core", b"numpy.core").replace(b"numpy.core", core)
    assert core + b".multiarray" in data
    path = tmp_path / "x"
    path.write_bytes(data)
    tree = read_tensors(path)
    assert_same_arrays([tree["a"], tree["c"]], [arrays["a"], arrays["c"]])
    assert tree["b"] == 3


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_of_arrays_that_torch_had_no_part_in(tmp_path, protocol):
    write_tiny(tmp_path, "unused.safetensors")
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"generator": tiny_weights(), "step": 3}, protocol))
    model = resolve_model(path)
    assert model.format == "pickle"
    for name, array in tiny_weights().items():
        np.testing.assert_array_equal(model.generator.weights[name], array)


def test_weights_as_arrays(save):
    path = save(
        {"state_dict": {f"generator.{name}": array for name, array in tiny_weights().items()}, "loss": np.float32(1)}
    )
    weights = read_checkpoint(path).weights
    for name, array in tiny_weights().items():
        np.testing.assert_array_equal(weights[name], array)


def test_memory_of_arrays_in_the_pickle(torch, tmp_path):
    """A latin-1 text of UTF-8 is what protocol 2 makes of bytes: it is decoded piece by piece."""
    path = tmp_path / "x.pt"
    torch.save({"w": RNG.standard_normal((1000, 3000)).astype(np.float32)}, path)
    with peak_within(12_000_000 + (4 << 20)):
        array = read_tensors(path)["w"]
    assert array.nbytes == 12_000_000 < path.stat().st_size


MEL = np.random.default_rng(1).uniform(-11, 1, (80, 300)).astype(np.float32)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda mel: {"mel": mel},
        lambda mel: mel,
        lambda mel: [mel],
        lambda mel: {"mel": mel.astype(">f4"), "name": pathlib.PosixPath("a.wav"), "loss": np.float64(1)},
        lambda mel: {"mel": np.asfortranarray(mel)[None], "text": np.array(["a", "b"]), "meta": np.array([None])},
    ],
)
def test_a_mel_as_an_array(save, wrap):
    np.testing.assert_array_equal(read_mel_file(save(wrap(MEL)), 80), MEL)


def test_advice_for_mels_is_about_mels(torch, tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(pickle.dumps(pickle.loads))  # not print, which Ray exchanges in processes that it was used in
    with pytest.raises(MelError) as caught:
        read_mel_file(path, 80)
    assert "state_dict" not in str(caught.value)
    assert "np.save('mel.npy', mel)" in str(caught.value)
    for value, kind in ((MEL.astype(object), "O8"), (MEL.astype("U5"), "U5"), (np.zeros(3, "f4,i4"), "V8")):
        torch.save({"mel": value}, path)
        with pytest.raises(MelError, match=f"holds an object of numpy.ndarray of dtype {kind} and no array of numbers"):
            read_mel_file(path, 80)


@pytest.mark.parametrize("write", [zip_file, legacy_file])
def test_tensors_are_as_lazy_as_before(tmp_path, write):
    """An array that nobody wants costs nothing, whatever it claims."""
    path = tmp_path / "x"
    path.write_bytes(write({"generator": {name: Tensor(array, name) for name, array in tiny_weights().items()}}))
    assert read_checkpoint(path).notes == ()


def test_arrays_that_claim_more_than_they_have(tmp_path):
    path = tmp_path / "x"
    data = pickle.dumps({"a": np.zeros((2, 3), np.float32)}, 2)
    for shape, message in (
        (b"K\x03K\x03\x86", "needs 36 bytes and has 24"),
        (b"K\x02K\x02\x86", "needs 16 bytes and has 24"),
        (b"K\x02N\x86", "a length of a NumPy array is None"),
    ):
        path.write_bytes(data.replace(b"K\x02K\x03\x86", shape))
        with pytest.raises(CheckpointError, match=message):
            read_tensors(path)
