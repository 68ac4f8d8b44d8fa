"""Small models for the simulated tools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from ascend_simulator.environment import Simulator
from golden.tiny import TINY, tiny_generator
from hifigan_rt.formats.onnx_graph import build_onnx

MEL = "mel_spec"
GEARS = "250;500;750"


def write_onnx(path: Path, *, rank: int = 3, opset: int = 11) -> Path:
    path.write_bytes(build_onnx(tiny_generator(), TINY.mel, opset=opset, rank=rank).SerializeToString())
    return path


def change_onnx(path: Path, change) -> Path:
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def arguments(model: Path, output: str = "m", /, **changes: str | None) -> list[str]:
    """A command line of atc that succeeds, with changes; None takes an option away."""
    options: dict[str, str | None] = {
        "framework": "5",
        "model": str(model),
        "output": output,
        "soc_version": "Ascend310P3",
        "input_format": "ND",
        "input_shape": f"{MEL}:1,10,-1",
        "dynamic_dims": GEARS,
        "precision_mode": "cube_fp16in_fp32out",
    } | changes
    return [f"--{name}={value}" for name, value in options.items() if value is not None]


def convert(simulator: Simulator, folder: Path, output: str = "m", *, rank: int = 3, **changes: str | None) -> Path:
    """An .om in `folder`, closed to others as the runtime of 2024 wants it."""
    if rank == 4:
        changes = {"input_shape": f"{MEL}:1,10,1,-1"} | changes
    model = write_onnx(folder / f"{output}.onnx", rank=rank)
    done = simulator.atc(*arguments(model, str(folder / output), **changes))
    assert done.returncode == 0, done.stdout + done.stderr
    path = folder / f"{output}.om"
    path.chmod(0o640)
    return path


_MADE: dict[int, dict[str, bytes]] = {}


def made_once(simulator: Simulator, folder: Path) -> Path:
    """The .om of `convert` and the ONNX file beside it, which atc makes once for each generation."""
    if simulator.generation not in _MADE:
        path = convert(simulator, folder)
        _MADE[simulator.generation] = {name: path.with_name(name).read_bytes() for name in ("m.onnx", "m.om")}
    for name, content in _MADE[simulator.generation].items():
        (folder / name).write_bytes(content)
    (folder / "m.om").chmod(0o640)
    return folder / "m.om"


def log_mel(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-11.5, -2.0, shape).astype(np.float32)
