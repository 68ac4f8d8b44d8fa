"""Reading and writing mel files, with the exact text of each refusal."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from hifigan_rt.errors import MelError, OutputError
from hifigan_rt.mel.files import read_mel_file, write_mel_file
from hifigan_rt.mel.picking import pick_array
from mel_files import MEL, refusal

ONE_IS_NEEDED = "one is needed, or one named 'mel'; --mel-at NAME takes one (mel_at= in Python)"


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("shape", [(80, 7), (1, 80, 7)])
def test_npy(tmp_path, dtype, fortran, shape):
    path = tmp_path / "a.npy"
    stored = MEL.astype(dtype).reshape(shape)
    np.save(path, np.asfortranarray(stored) if fortran else stored)
    mel = read_mel_file(path, 80)
    assert mel.dtype == np.float32
    assert mel.flags.c_contiguous
    assert np.array_equal(mel, MEL.astype(dtype).astype(np.float32))


def test_every_version_of_npy(tmp_path):
    mel = np.arange(160, dtype=np.float32).reshape(80, 2)
    for version in ((1, 0), (2, 0), (3, 0)):
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array(file, mel, version)
        np.testing.assert_array_equal(read_mel_file(tmp_path / "a.npy", 80), mel)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, MEL)
    assert np.array_equal(read_mel_file(path, 80), MEL)
    save(path, mel=MEL, text=np.zeros(3))
    assert np.array_equal(read_mel_file(path, 80), MEL)
    save(path, a=MEL, b=MEL)
    assert refusal(path) == f"mel file {str(path)!r} holds 2 arrays (a, b): {ONE_IS_NEEDED}"


def test_safetensors(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"anything": MEL}, path)
    assert np.array_equal(read_mel_file(path, 80), MEL)
    save_file({"mel": MEL, "other": MEL[:2]}, path)
    assert np.array_equal(read_mel_file(path, 80), MEL)
    save_file({"a": MEL, "other": MEL[:2]}, path)
    assert refusal(path) == f"mel file {str(path)!r} holds 2 arrays (a, other): {ONE_IS_NEEDED}"


@pytest.mark.torch
@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"mel": t, "n": 3}, lambda t: [t], lambda t: {"x": t}])
def test_torch(tmp_path, wrap):
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pt"
    torch.save(wrap(torch.from_numpy(MEL)[None]), path)
    assert np.array_equal(read_mel_file(path, 80), MEL)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", pytest.param(".pt", marks=pytest.mark.torch)])
def test_one_of_several_by_its_name(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    arrays = {"before": MEL + 1, "mel": MEL + 2, "layer.2": MEL}
    if suffix == ".npz":
        np.savez(path, **arrays)
    elif suffix == ".safetensors":
        save_file(arrays, path)
    else:
        import torch

        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    for name, array in arrays.items():
        assert np.array_equal(read_mel_file(path, 80, mel_at=name), array)
    assert np.array_equal(read_mel_file(path, 80), arrays["mel"])
    for name in ("after", "", "layer", "2"):
        assert refusal(path, mel_at=name) == (
            f"mel file {str(path)!r} holds 3 arrays (before, layer.2, mel), and none at {name!r}, which --mel-at names"
        )


def test_a_file_of_one_array_without_a_name_has_nothing_to_choose(tmp_path):
    np.save(tmp_path / "a.npy", MEL)
    assert np.array_equal(read_mel_file(tmp_path / "a.npy", 80, mel_at="mel_postnet"), MEL)
    assert np.array_equal(pick_array(MEL, "mel_postnet"), MEL)


def test_arrays_within_containers():
    tree = {"step": 3, "outputs": {"mel": MEL, "all": [MEL + 1, (MEL + 2,)]}}
    assert np.array_equal(pick_array(tree, "outputs.mel"), MEL)
    assert np.array_equal(pick_array(tree, "outputs.all.1.0"), MEL + 2)
    assert np.array_equal(pick_array({"step": 3, "outputs": [MEL]}, None), MEL)
    assert np.array_equal(pick_array(tree | {"at the top": MEL + 3}, None), MEL + 3)
    with pytest.raises(MelError) as caught:
        pick_array(tree, None)
    assert str(caught.value) == f"holds 3 arrays (outputs.all.0, outputs.all.1.0, outputs.mel): {ONE_IS_NEEDED}"
    for twice in ({"0": MEL, 0: MEL + 1}, {"a.b": MEL, "a": {"b": MEL + 1}}):
        with pytest.raises(MelError, match=r"holds 2 arrays .* several at '(0|a\.b)', which --mel-at names"):
            pick_array(twice, "0" if "0" in twice else "a.b")
    with pytest.raises(MelError, match="holds no array"):
        pick_array({"text": "none"}, "text")


def test_time_major(tmp_path):
    path = tmp_path / "a.npy"
    for shape in ((7, 80), (1, 7, 80)):
        np.save(path, MEL.T.reshape(shape))
        assert np.array_equal(read_mel_file(path, 80, time_major=True), MEL)
        text = f"mel file {str(path)!r}: it has shape {list(shape)}"
        assert refusal(path).startswith(text[: -len(str(list(shape)))])
        assert refusal(path).endswith("this looks time-major: --time-major reads it so")
    np.save(path, MEL)
    assert refusal(path, time_major=True) == (
        f"mel file {str(path)!r}: it has shape [80, 7], and [T, 80] is needed with --time-major"
    )


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (
            np.zeros((2, 80, 7), np.float32),
            ": it holds 2 mels (shape [2, 80, 7]), and one per file is read: save each as one of its own",
        ),
        *[
            (
                np.zeros(shape, np.float32),
                f": it has shape {list(shape)}, and [80, T] or [1, 80, T] is needed: save one mel, bands before frames",
            )
            for shape in ((80,), ())
        ],
        (np.zeros((79, 7)), ": the mel has 79 bands (shape [79, 7]), and this model takes 80"),
        (np.zeros((80, 0)), ": the mel has shape [80, 0]: it holds no frames; leave it out"),
        (
            np.zeros((80, 7), np.int16),
            ": the mel has dtype int16, and its values must be floats: pass mel.astype('float32')",
        ),
        *[
            (
                np.zeros((80, 7), dtype),
                f" holds values of dtype {np.dtype(dtype)}, and floats are needed: save real numbers, as in "
                "np.save('mel.npy', mel.astype('float32'))",
            )
            for dtype in (complex, "<U1", "datetime64[s]", [("a", "<f4")])
        ],
        *[
            (
                np.zeros((80, 7), dtype),
                f" holds objects (dtype {np.dtype(dtype)}), which are never unpickled: save the floats alone, as in "
                "np.save('mel.npy', mel.astype('float32'))",
            )
            for dtype in (object, [("a", "O")])
        ],
        (
            np.full((80, 2), np.nan),
            ": the mel holds 160 values that are NaN, infinite or beyond float32, the first at [0, 0] of shape [80, 2]"
            ": every value must be finite",
        ),
        (np.zeros((80, 11)), ": it has 11 frames: at most 10 are read; cut it in two"),
    ],
)  # fmt: skip
def test_refused_arrays(tmp_path, array, text):
    path = tmp_path / "a.npy"
    np.save(path, array, allow_pickle=True)
    assert refusal(path, max_frames=10) == f"mel file {str(path)!r}{text}"


def test_write_and_read_back(tmp_path):
    path = tmp_path / "out.npy"
    write_mel_file(path, MEL.T.T[:, ::2])
    assert np.array_equal(np.load(path, allow_pickle=False), MEL[:, ::2])
    assert np.array_equal(read_mel_file(path, 80), MEL[:, ::2])
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.npy"]
    with pytest.raises(OutputError):
        write_mel_file(tmp_path / "no" / "out.npy", MEL)
