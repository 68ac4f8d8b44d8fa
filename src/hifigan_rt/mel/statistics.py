"""Reads the mean and scale of normalised mels from the files of training programs: .npy, .npz, .h5 and others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_rt.config import MAX_CHANNELS
from hifigan_rt.errors import ConfigError, MelError, ModelFileError
from hifigan_rt.mel.files import read_arrays
from hifigan_rt.system.versions import how_to_get

_SCALES = ("scale", "scale_", "std", "mel_std")
_MEANS = ("mean", "mean_", "mel_mean")
_MAX_BYTES = 1 << 20
"""Two rows of 80 numbers take a kilobyte; what surrounds them in HDF5 a few more."""
_LEAST_VARIANCE = 1e-20
"""Lower bound of a variance in ESPnet (espnet2/layers/global_mvn.py: eps)."""


def read_statistics(path: str | Path, num_mels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Read mean and scale, one value per band.

    Args:
        path: a .npy of `[2, M]` (mean, scale), as ParallelWaveGAN writes, or of `[2, M + 1]` with sums, sums of squares
            and their count at the end, as Kaldi does; a .npz, .pt or .safetensors with `mean` and one of `scale`, `std`
            and `var`, or with `count`, `sum` and `sum_square`, as ESPnet writes; or a .h5 with `mean` and `scale`.
        num_mels: M.

    Raises:
        ConfigError: it cannot be read, or holds something else, a 0 as scale, or numbers that are not finite; or h5py
            is not installed.
    """
    name = f"statistics {str(path)!r}"
    try:
        hdf5 = Path(path).suffix.lower() in (".h5", ".hdf5")
        arrays = _read_hdf5(Path(path)) if hdf5 else read_arrays(path, _MAX_BYTES)
    except (MelError, ModelFileError, ConfigError) as error:
        raise ConfigError(f"{name}: {error}") from error
    if isinstance(arrays, np.ndarray):
        if arrays.shape == (2, num_mels + 1):
            total, squares = arrays.astype(np.float64)
            found = _of_sums(total[-1:], total[:-1], squares[:-1], name)
        elif len(arrays) == 2 and arrays.size == 2 * num_mels:
            mean, scale = arrays.astype(np.float64).reshape(2, num_mels)
            found = {"mean": mean, "scale": scale}
        else:
            raise ConfigError(f"{name} has shape {list(arrays.shape)}: [2, {num_mels}] is needed, mean and scale")
    else:
        found = {key: np.asarray(value, np.float64).reshape(-1) for key, value in arrays.items()}
        if "sum_square" in found and "sum" in found and "count" in found:
            found |= _of_sums(found["count"], found["sum"], found["sum_square"], name)
        for key in ("var", "var_"):
            if key in found:
                found.setdefault("scale", np.sqrt(np.maximum(found[key], 0)))
    mean, scale = (next((found[key] for key in keys if key in found), np.empty(0)) for keys in (_MEANS, _SCALES))
    return check_statistics(mean, scale, num_mels, name)


def check_statistics(
    mean: np.ndarray, scale: np.ndarray, num_mels: int, name: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Check mean and scale, one value per band each.

    Args:
        mean, scale: the values.
        num_mels: how many are needed.
        name: where they stand, for texts.

    Raises:
        ConfigError: they are more or fewer, not finite, or a scale is not above 0.
    """
    rows = [np.asarray(row).reshape(-1).astype(np.float64) for row in (mean, scale)]
    for what, values in zip(("mean", "scale"), rows, strict=True):
        if len(values) != num_mels or not np.isfinite(values).all() or (what == "scale" and (values <= 0).any()):
            raise ConfigError(
                f"{name}: {what} has {len(values)} values: {num_mels} finite numbers are needed, scale above 0"
            )
    return tuple(rows[0].tolist()), tuple(rows[1].tolist())


def _of_sums(count: np.ndarray, total: np.ndarray, squares: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Mean and standard deviation, as ESPnet computes them."""
    if count.size != 1 or not 0 < count[0] < np.inf or total.shape != squares.shape:
        raise ConfigError(
            f"{name}: its count is {count[:3].tolist()}, which must be above 0, with as many sums of each"
        )
    mean = total / count[0]
    return {"mean": mean, "scale": np.sqrt(np.maximum(squares / count[0] - mean * mean, _LEAST_VARIANCE))}


def _read_hdf5(path: Path) -> Mapping[str, np.ndarray]:
    try:
        import h5py
    except ImportError as error:
        raise ConfigError(f"HDF5 needs the package h5py: {how_to_get('families')}") from error
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"larger than {_MAX_BYTES} bytes: that is no file of means")
        with h5py.File(path, "r") as file:
            return {name: _dataset(h5py, file, name) for name in ("mean", "scale")}
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError) as error:
        raise ConfigError(f"cannot be read: {' '.join(str(error).split())[:200]}") from error


def _dataset(h5py: Any, file: Any, name: str) -> np.ndarray:
    # Links and layouts that would have HDF5 read another file are not followed.
    if name not in file or not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ConfigError(f"it holds no dataset {name!r} of its own: ParallelWaveGAN's files hold mean and scale")
    data = file[name]
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual or data.dtype.kind not in "fiu":
        raise ConfigError(f"its {name!r} is no plain dataset of numbers")
    if max(data.size or 0, *(data.chunks or (0, 0))) > MAX_CHANNELS:
        raise ConfigError(f"its {name!r} has shape {list(data.shape)}: one number per band is needed")
    return np.asarray(data[()])
