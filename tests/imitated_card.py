"""A card of NVIDIA's, imitated on the CPU: a driver's library that runs the kernels themselves, as plain C++."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

import intermediate_code
from hifigan_rt.engines import cuda_archive, cuda_kernels, cuda_network

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [*sorted((ROOT / "native/cuda").rglob("*.[hc]*")), *sorted((ROOT / "native/tests/cuda").iterdir())]
IMAGE = b"imitated kernels"
CHOSEN = os.environ.get("HIFIGAN_RT_TEST_CARD", "")
REAL = CHOSEN == "1"
"""Whether the tests of engine `cuda` run on the card of this machine: `make gpu-test`."""
ARCHIVE = None if REAL or not CHOSEN else ROOT / CHOSEN
"""Archive of scripts/cuda_kernels.py whose intermediate code the imitated card runs in place of the kernels' source."""


@cache
def library() -> Path:
    """The library, compiled when a source has changed."""
    translated = b"" if ARCHIVE is None else _translated(ARCHIVE).encode()
    known = hashlib.sha256(b"".join([*(path.read_bytes() for path in SOURCES), translated])).hexdigest()[:16]
    made = ROOT / "build/imitated-card" / f"libcuda-{known}.so"
    made.parent.mkdir(parents=True, exist_ok=True)
    import fcntl  # not on Windows, where other engines' tests run

    # Of several workers, one compiles.
    with open(made.parent / "lock", "w") as lock:  # noqa: PTH123
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _compile(made, translated)
    return made


def _translated(archive: Path) -> str:
    if archive.suffix == ".ptx":
        return intermediate_code.translate(archive.read_text())
    return intermediate_code.translate(cuda_archive.read(archive, cuda_archive.FORWARD).decode())


def _compile(made: Path, translated: bytes) -> None:
    part = made.with_name(f"{os.getpid()}.so")
    options = ["-std=c++20", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden"]
    # Fibers jump between stacks, which the checked longjmp of some systems takes for an error.
    options += ["-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-warning-option", "-Wno-clobbered"]
    includes = [f"-I{ROOT / 'native'}", f"-I{ROOT / 'native/tests/cuda'}"]
    source = ROOT / "native/tests/cuda/fake_driver.cpp"
    if translated:
        kernels = made.with_name("translated_kernels.h")
        kernels.write_bytes(translated)
        options += [f'-DHIFIGAN_TRANSLATED="{kernels}"', "-w"]  # nobody reads it
    subprocess.run([os.environ.get("CXX", "g++"), *options, *includes, source, "-o", part], check=True)
    part.replace(made)


class Card:
    """What goes wrong on it, by the names of fake_driver.cpp."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(library()))
        self._library.fake_cuda_get.restype = ctypes.c_longlong

    def get(self, name: str) -> int:
        return self._library.fake_cuda_get(name.encode())

    def set(self, name: str, value: int) -> None:
        self._library.fake_cuda_set(name.encode(), ctypes.c_longlong(value))

    @contextmanager
    def having(self, **settings: int):
        """Settings for the length of a block."""
        before = {name: self.get(name) for name in settings}
        for name, value in settings.items():
            self.set(name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                self.set(name, value)

    @contextmanager
    def with_free(self, bytes_: int):
        """Bytes that are free for the length of a block, at its beginning."""
        away = self.get("free") - bytes_
        self.set("free", bytes_)
        try:
            yield
        finally:
            self.set("free", self.get("free") + away)


@pytest.fixture
def imitated_card(monkeypatch):
    """A card for the length of a test: its driver is found, and this build has kernels for it."""
    if REAL:
        pytest.skip("tests what goes wrong on the imitated card")
    monkeypatch.setenv(cuda_kernels.DRIVER_VARIABLE, str(library()))
    monkeypatch.setattr(cuda_kernels, "archive", lambda: Path("imitated.zip"))
    monkeypatch.setattr(cuda_network, "image_for", lambda capability: (IMAGE, f"sm_{capability}.imitated"))
    return Card()
