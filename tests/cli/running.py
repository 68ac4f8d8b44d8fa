"""Runs `hifigan` as a user does, with its exit status and all that it writes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
from click.testing import CliRunner

from golden.tiny import TINY
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, read_manifest
from hifigan_rt.tools.cli import main
from hifigan_rt.tools.cli.app import hifigan as app
from hifigan_rt.tools.cli.console import Console

assert TINY.mel is not None
RATE = TINY.mel.sample_rate


def clip(path: str | bytes, seconds: float = 0.25, seed: int = 0, rate: int = RATE, channels: int = 1) -> None:
    shape = (int(seconds * rate), channels) if channels > 1 else int(seconds * rate)
    audio = np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)
    Path(os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:  # noqa: PTH123 - names in bytes
        soundfile.write(file, audio, rate, "PCM_16", format="WAV")


def command(*arguments: str | bytes) -> list[str | bytes]:
    return [sys.executable, "-m", "hifigan_rt", *arguments]


def hifigan(*arguments: str | bytes, status: int = 0, **options) -> subprocess.CompletedProcess:
    """Run a command in this process, which saves the second that Python and its packages take to start.

    With any of the options of `subprocess.run` it gets a process of its own.
    """
    if options:
        options = {"capture_output": True, "timeout": 600, "text": True, "errors": "surrogateescape"} | options
        done = subprocess.run(command(*arguments), **options)
    else:
        done = run_here(*arguments)
    assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def run_here(*arguments: str | bytes) -> subprocess.CompletedProcess:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        with written_to(output, "stdout", 1), written_to(errors, "stderr", 2):
            status = main([os.fsdecode(argument) for argument in arguments])
        return subprocess.CompletedProcess(command(*arguments), status, text_of(output), text_of(errors))


@contextmanager
def written_to(file: IO[bytes], name: str, descriptor: int) -> Iterator[None]:
    """What this process, its libraries and its children write to a standard stream goes to `file`."""
    before, kept = getattr(sys, name), os.dup(descriptor)
    before.flush()
    os.dup2(file.fileno(), descriptor)
    stream = io.TextIOWrapper(os.fdopen(descriptor, "wb", closefd=False), "utf-8", line_buffering=name == "stderr")
    setattr(sys, name, stream)
    try:
        yield
    finally:
        setattr(sys, name, before)
        stream.close()
        os.dup2(kept, descriptor)
        os.close(kept)


def text_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "surrogateescape")


def synth(*arguments: str | bytes, status: int = 0, **options) -> subprocess.CompletedProcess:
    return hifigan("synth", *arguments, "--model", "model", "--engine", "reference", status=status, **options)


def error_of(done: subprocess.CompletedProcess) -> str:
    lines = [line for line in done.stderr.splitlines() if line.startswith("hifigan: error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0].removeprefix("hifigan: error: ")


def records(folder: str = "out") -> dict:
    return dict(read_manifest(Path(folder, MANIFEST_NAME)).clips)


def parse(*arguments: str):
    return CliRunner().invoke(app, arguments, obj=Console())
