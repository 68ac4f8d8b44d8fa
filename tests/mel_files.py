"""Files of mels, byte by byte, and what reading them says."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from hifigan_rt.errors import MelError
from hifigan_rt.mel.files import read_mel_file

MEL = np.random.default_rng(0).standard_normal((80, 7)).astype(np.float32)


def npy_bytes(
    descr: str, shape: str, payload: bytes = b"", *, order: str = "False", length: int | None = None
) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) if length is None else length) + header + payload


def refusal(path: Path, **options) -> str:
    with pytest.raises(MelError) as caught:
        read_mel_file(path, 80, **options)
    return str(caught.value)
