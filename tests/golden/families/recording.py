"""Records what a framework's own generators compute of files that it wrote itself, or compares with the record.

Each `make_NAME.py` here builds tiny generators with its framework, has it write them, and calls `record`. A record is
`NAME.npz`: the files' bytes, the framework's float64 output for a seeded mel, and the same with the weights as this
package folds them put back into the framework's module.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from golden.seeded import seeded_mel  # noqa: E402
from hifigan_rt.families import read_checkpoint  # noqa: E402
from hifigan_rt.graph import SPEAKER_TABLE  # noqa: E402
from hifigan_rt.model.onnx_weights import read_onnx_weights  # noqa: E402

LARGEST_RECORD = 40_000
"""Bytes of a record."""
AGREEMENT = 1e-12
"""Largest difference of a repeated float64 output: another PyTorch may sum in another order."""


@dataclass
class Case:
    """One generator and the files that the framework wrote of it."""

    name: str
    file: str
    """The file that a user names."""
    write: Callable[[Path], None]
    """Writes the files into a folder."""
    module: torch.nn.Module
    """The generator itself, its weights as they are written."""
    forward: Callable[[torch.nn.Module, torch.Tensor], torch.Tensor]
    """Takes the module and float64 `[1, M, T]`."""
    num_mels: int = 10
    frames: int = 13
    weights_at: str | None = None
    speaker: int | None = None
    """The row of the file's table of speakers that `forward` takes."""
    inner: Callable[[str], str] = str
    """Gives the module's name for a tensor of the file, behind the common prefix."""
    conditioning: int = 0
    """Length of the conditioning vector, that of `golden.seeded.seeded_vector`."""
    features: tuple[np.ndarray, np.ndarray] | None = None
    """A float32 recording `[N]` and the mel `[M, T]` that the framework computes of it."""
    features_config: Mapping[str, Any] | None = None
    """The framework's config that goes with them, where it is not the generator's."""
    config: str | None = None
    """The file that a user names as its config, where it is not found by itself."""


def fill(module: torch.nn.Module, seed: int, precision: type[np.floating[Any]] = np.float32) -> None:
    """Give all parameters and buffers float32 values from the seed, such that the signal neither dies nor saturates.

    Those of float16's precision take less room in a record.
    """
    rng = np.random.default_rng(seed)
    state = module.state_dict()
    for name in sorted(state):
        shape = tuple(state[name].shape)
        values = rng.standard_normal(shape)
        if name.endswith(("weight_g", "original0")):
            values = rng.uniform(0.6, 1.2, shape)
        elif name.endswith("bias"):
            values *= 0.1
        elif name.endswith("mean"):
            values = rng.uniform(-6, -4, shape)
        elif name.endswith("scale"):
            values = rng.uniform(2, 4, shape)
        elif name.endswith("weight"):
            inputs = shape[0] * 2 if ".ups" in f".{name}" else int(np.prod(shape[1:]))
            values /= np.sqrt(inputs) * (5 if "pre" in name else 1)
        state[name] = torch.from_numpy(values.astype(precision).astype(np.float32)).reshape(shape)
    module.load_state_dict(state)


VOICE: dict[str, Any] = {
    "inter_channels": 6, "hidden_channels": 6, "filter_channels": 4, "n_heads": 1, "n_layers": 1, "kernel_size": 1,
    "p_dropout": 0.1, "resblock": "1", "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3, 5]], "upsample_rates": [4, 2], "upsample_initial_channel": 8,
    "upsample_kernel_sizes": [8, 4],
}  # fmt: skip
"""Sizes of a small voice, as VITS and Piper name them."""


def fill_parts(whole: torch.nn.Module, parts: Iterable[torch.nn.Module], seed: int) -> None:
    """Fill parts of a network; of the others only the names matter, and zeros take no room."""
    for parameter in whole.parameters():
        torch.nn.init.zeros_(parameter)
    for part in parts:
        fill(part, seed)


def spell_weight_norm(name: str) -> str:
    """A parameter's name as `torch.nn.utils.weight_norm` spells it, which frameworks used before."""
    spellings = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for new, old in spellings.items():
        name = name.replace(new, old)
    return name


def seeded_recording(samples: int) -> np.ndarray:
    """Silence and noise, float32 `[N]`: half of the samples each, of 16 bits."""
    audio = np.random.default_rng(5).integers(-16384, 16384, samples).astype(np.float32) / 32768
    audio[: samples // 2] = 0
    return audio


def remove_weight_norm(module: torch.nn.Module) -> None:
    """Take both of PyTorch's forms of weight norm out of all layers."""
    for layer in module.modules():
        if torch.nn.utils.parametrize.is_parametrized(layer, "weight"):
            torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")
        elif hasattr(layer, "weight_g"):
            torch.nn.utils.remove_weight_norm(layer)


def record(name: str, versions: str, cases: Iterator[Case]) -> None:
    """Write `NAME.npz`, or with `--check` on the command line compare with it; leaves the program if they differ."""
    path = HERE / f"{name}.npz"
    arrays: dict[str, np.ndarray] = {}
    facts: dict[str, Any] = {}
    for seed, case in enumerate(cases):
        mel = seeded_mel(1, case.num_mels, case.frames, 100 + seed).astype(np.float32).astype(np.float64)
        with tempfile.TemporaryDirectory() as text, torch.no_grad():
            folder = Path(text)
            case.write(folder)
            files = sorted(file.name for file in folder.iterdir())
            for file in files:
                arrays[f"{case.name}/files/{file}"] = np.frombuffer((folder / file).read_bytes(), np.uint8)
            module = case.module.double().eval()
            arrays[f"{case.name}/audio"] = case.forward(module, torch.from_numpy(mel)).numpy().reshape(-1)
            folded = _read(folder / case.file, case.weights_at)
            remove_weight_norm(module)
            own = {
                case.inner(key): torch.from_numpy(value).double()
                for key, value in folded.items()
                if key != SPEAKER_TABLE
            }
            module.load_state_dict(own)
            arrays[f"{case.name}/folded"] = case.forward(module, torch.from_numpy(mel)).numpy().reshape(-1)
        if case.features is not None:
            arrays[f"{case.name}/recording"], arrays[f"{case.name}/features"] = case.features
        facts[case.name] = {
            "file": case.file, "files": files, "weights_at": case.weights_at,
            "conditioning": case.conditioning, "features_config": case.features_config, "speaker": case.speaker,
            "config": case.config,
            "mel": {"num_mels": case.num_mels, "frames": case.frames, "seed": 100 + seed},
        }  # fmt: skip
        audio = arrays[f"{case.name}/audio"]
        print(f"{case.name}: {len(audio)} samples, rms {np.sqrt((audio**2).mean()):.3f}")
    arrays["facts"] = np.array(json.dumps({"versions": f"{versions}, torch {torch.__version__}", "cases": facts}))
    if "--check" in sys.argv[1:]:
        if difference := compare(path, arrays):
            sys.exit(difference)
        return
    np.savez_compressed(path, **arrays)
    print(f"wrote {path.name}: {path.stat().st_size} bytes")
    if path.stat().st_size > LARGEST_RECORD:
        sys.exit(f"{path.name} has {path.stat().st_size} bytes: at most {LARGEST_RECORD}")


def _read(path: Path, weights_at: str | None) -> Mapping[str, np.ndarray]:
    """The weights as this package folds them, by the file's own names; of an ONNX file, by ours."""
    return read_onnx_weights(path) if path.suffix == ".onnx" else read_checkpoint(path, weights_at).weights


def compare(path: Path, made: Mapping[str, np.ndarray]) -> str | None:
    """What differs from the record, None if nothing does."""
    with np.load(path, allow_pickle=False) as kept:
        if set(kept.files) != set(made):
            return f"{path.name} holds other entries: {sorted(set(kept.files) ^ set(made))}"
        for key in kept.files:
            if kept[key].dtype.kind != "f":
                continue
            if kept[key].shape != made[key].shape:
                return f"{path.name}: {key} has shape {made[key].shape}, recorded is {kept[key].shape}"
            difference = float(np.abs(kept[key] - made[key]).max())
            if difference > (AGREEMENT if kept[key].dtype == np.float64 else 1e-5):
                return f"{path.name}: {key} differs from the record by up to {difference:.3g}"
        recorded = json.loads(str(kept["facts"]))["versions"]
    print(f"{path.name}: equal to the record of {recorded}; made now by {json.loads(str(made['facts']))['versions']}")
    return None
