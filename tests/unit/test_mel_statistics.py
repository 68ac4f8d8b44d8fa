"""Mean and scale of normalised mels, in every file that training programs write."""

from __future__ import annotations

import re
import sys

import h5py
import numpy as np
import pytest

from hifigan_rt.errors import ConfigError
from hifigan_rt.mel.statistics import read_statistics

rng = np.random.default_rng(3)
MEAN, SCALE = rng.uniform(-3, -1, (80, 1)), rng.uniform(0.5, 2, (80, 1))


@pytest.mark.parametrize("names", [("mean", "scale"), ("mean_", "scale_"), ("mean", "std"), ("mean", "var")])
def test_named_statistics(names, tmp_path):
    second = SCALE[:, 0] ** 2 if names[1] == "var" else SCALE[:, 0]
    np.savez(tmp_path / "s.npz", **{names[0]: MEAN[:, 0], names[1]: second})
    mean, scale = read_statistics(tmp_path / "s.npz", 80)
    np.testing.assert_allclose(mean, MEAN[:, 0])
    np.testing.assert_allclose(scale, SCALE[:, 0])


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.ones((2, 79)), "has shape [2, 79]: [2, 80] is needed, mean and scale"),
        (np.ones((80, 2)), "has shape [80, 2]: [2, 80] is needed, mean and scale"),
        (np.stack([np.full(80, np.nan), np.ones(80)]), "mean has 80 values: 80 finite numbers are needed"),
        (np.zeros((2, 80)), "scale has 80 values: 80 finite numbers are needed, scale above 0"),
    ],
)
def test_bad_statistics(array, text, tmp_path):
    np.save(tmp_path / "s.npy", array)
    with pytest.raises(ConfigError, match=re.escape(text)):
        read_statistics(tmp_path / "s.npy", 80)


def test_statistics_that_are_no_file_of_them(tmp_path):
    np.savez(tmp_path / "s.npz", mean=np.ones(80))
    with pytest.raises(ConfigError, match="scale has 0 values: 80 finite numbers are needed"):
        read_statistics(tmp_path / "s.npz", 80)
    with pytest.raises(ConfigError, match="statistics"):
        read_statistics(tmp_path / "absent.npy", 80)


def test_two_rows_of_means_and_scales(tmp_path):
    rows = np.stack([MEAN, SCALE]).astype(np.float32)
    for array in (rows, rows[..., 0], rows.transpose(0, 2, 1)):
        np.save(tmp_path / "stats.npy", array)
        mean, scale = read_statistics(tmp_path / "stats.npy", 80)
        assert mean == tuple(rows[0, :, 0].tolist())
        assert scale == tuple(rows[1, :, 0].tolist())


def test_sums_as_espnet_and_kaldi_write_them(tmp_path):
    values = rng.standard_normal((50, 80))
    total, squares = values.sum(0), (values**2).sum(0)
    np.savez(tmp_path / "feats_stats.npz", count=50, sum=total, sum_square=squares)
    np.save(tmp_path / "stats.npy", np.stack([np.append(total, 50), np.append(squares, 0)]))
    for name in ("feats_stats.npz", "stats.npy"):
        mean, scale = read_statistics(tmp_path / name, 80)
        np.testing.assert_allclose(mean, values.mean(0), atol=1e-14)
        np.testing.assert_allclose(scale, values.std(0), rtol=1e-12)
    np.savez(tmp_path / "feats_stats.npz", count=0, sum=total, sum_square=squares)
    with pytest.raises(ConfigError, match=r"count is \[0\.0\], which must be above 0"):
        read_statistics(tmp_path / "feats_stats.npz", 80)


def write_hdf5(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[name] = value
    return path


def test_hdf5_as_parallel_wavegan_writes_it(tmp_path):
    path = write_hdf5(tmp_path / "stats.h5", mean=MEAN[:, 0].astype(np.float32), scale=SCALE[:, 0])
    mean, scale = read_statistics(path, 80)
    assert mean == tuple(MEAN[:, 0].astype(np.float32).tolist())
    assert scale == tuple(SCALE[:, 0].tolist())


def test_hdf5_that_holds_something_else(tmp_path):
    for values, text in (
        ({"mean": np.zeros(80)}, "holds no dataset 'scale' of its own"),
        ({"mean": np.zeros(79), "scale": np.ones(80)}, "mean has 79 values"),
        ({"mean": np.zeros(80), "scale": "text"}, "its 'scale' is no plain dataset"),
        ({"mean": np.zeros((300, 300)), "scale": np.ones(80)}, "its 'mean' has shape"),
        ({"mean/inner": np.zeros(80), "scale": np.ones(80)}, "its 'mean' is no plain dataset"),
        ({"mean": h5py.ExternalLink("secret.h5", "/mean"), "scale": np.ones(80)}, "no dataset 'mean' of its own"),
        ({"mean": h5py.SoftLink("/scale"), "scale": np.ones(80)}, "no dataset 'mean' of its own"),
    ):
        with pytest.raises(ConfigError, match=f"statistics .*{text}"):
            read_statistics(write_hdf5(tmp_path / "stats.h5", **values), 80)
    with h5py.File(tmp_path / "stats.h5", "w") as file:
        file.create_dataset("mean", (80,), "f4", external=[(str(tmp_path / "secret"), 0, 320)])
    (tmp_path / "secret").write_bytes(bytes(320))
    with pytest.raises(ConfigError, match="its 'mean' is no plain dataset"):
        read_statistics(tmp_path / "stats.h5", 80)


def test_damaged_hdf5(tmp_path):
    path = write_hdf5(tmp_path / "stats.h5", mean=MEAN[:, 0], scale=SCALE[:, 0])
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigError, match=r"statistics .*stats\.h5': cannot be read"):
            read_statistics(path, 80)


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[families\]'"):
        read_statistics(tmp_path / "stats.h5", 80)
