"""Runs `hifigan` as a user does: in a process, with its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from click.testing import CliRunner

from golden.tiny import TINY
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, read_manifest
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
    options = {"capture_output": True, "timeout": 120, "text": True, "errors": "surrogateescape"} | options
    done = subprocess.run(command(*arguments), **options)
    assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


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
