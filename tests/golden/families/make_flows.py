"""Makes ../flows.npz: voices of VITS and Piper, and what their flows and decoders make of latents, in float64.

    VITS_SOURCE=vits python tests/golden/families/make_flows.py [--check]

VITS_SOURCE is a copy of jaywalnut310/vits at commit 2e561ba58618d021b5b8323d3765880f7e0ecfdb, which has no package.
"""

# source: VITS_SOURCE https://github.com/jaywalnut310/vits 2e561ba58618d021b5b8323d3765880f7e0ecfdb
# needs: piper-tts==1.8.0 onnxscript==0.7.2 onnx-ir==1.1.0 onnx==1.23.2

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from imports import bare_package, stub, version
from recording import VOICE, compare, fill

bare_package("piper", "piper.train", "piper.train.vits")
stub("piper.train.vits.monotonic_align", "monotonic_align", "librosa", "librosa.util", "librosa.filters")
from piper.train.vits import models as piper_models  # noqa: E402

sys.path.insert(0, os.environ["VITS_SOURCE"])
import models as vits_models  # noqa: E402

PATH = Path(__file__).parents[1] / "flows.npz"
SIZES: dict[str, Any] = VOICE | {"inter_channels": 4, "hidden_channels": 4, "resblock": "2"}
SPEAKERS = {"n_speakers": 3, "gin_channels": 3}
SPEAKER = 1
FRAMES = 90


@dataclass
class Case:
    name: str
    file: str
    write: Callable[[torch.nn.Module, Path], None]
    voice: torch.nn.Module


def voice(models: Any, seed: int, **settings: object) -> torch.nn.Module:
    """A voice whose decoder, flow and speakers have random weights; of the rest only the names matter."""
    made = models.SynthesizerTrn(5, 3, 4, **(SIZES | settings), use_sdp=False).eval()
    for parameter in made.parameters():
        torch.nn.init.zeros_(parameter)
    for part in (made.dec, made.flow, *([made.emb_g] if made.n_speakers > 1 else [])):
        fill(part, seed, np.float16)
    return made


class End(torch.nn.Module):
    """Flow and decoder, as streaming exports of Piper cut them off."""

    def __init__(self, whole: torch.nn.Module) -> None:
        super().__init__()
        self.flow, self.dec = whole.flow, whole.dec
        self.emb_g = whole.emb_g if whole.n_speakers > 1 else None

    def forward(self, z: torch.Tensor, y_mask: torch.Tensor, sid: torch.Tensor) -> torch.Tensor:
        g = None if self.emb_g is None else self.emb_g(sid).unsqueeze(-1)
        return self.dec(self.flow(z, y_mask, g=g, reverse=True) * y_mask, g=g)


def write_state(whole: torch.nn.Module, folder: Path) -> None:
    torch.save({"model": whole.state_dict(), "iteration": 7, "learning_rate": 2e-4}, folder / "G_7.pth")
    config = {"data": {"sampling_rate": 16000, "n_speakers": 3}, "model": SIZES | {"gin_channels": 3}}
    (folder / "config.json").write_text(json.dumps(config))


def write_lightning(whole: torch.nn.Module, folder: Path) -> None:
    state = {f"model_g.{name}": tensor for name, tensor in whole.state_dict().items()}
    parameters = SIZES | {"num_symbols": 5, "num_speakers": 1, "sample_rate": 22050}
    torch.save({"epoch": 3, "state_dict": state, "hyper_parameters": parameters}, folder / "epoch=3.ckpt")


def write_whole(whole: torch.nn.Module, folder: Path) -> None:
    """Export a voice as piper.train.export_onnx does: by the TorchScript exporter, with operator set 15."""

    def infer(text: torch.Tensor, lengths: torch.Tensor, scales: torch.Tensor, sid: torch.Tensor) -> torch.Tensor:
        audio, *_ = whole.infer(
            text, lengths, noise_scale=scales[0], length_scale=scales[1], noise_scale_w=scales[2], sid=sid
        )
        return audio.unsqueeze(1)

    whole.forward = infer
    inputs = (torch.zeros(1, 9, dtype=torch.long), torch.tensor([9]), torch.tensor([0.6, 1, 0.8]), torch.tensor([0]))
    names = ["input", "input_lengths", "scales", "sid"]
    axes = {"input": {0: "batch_size", 1: "phonemes"}, "input_lengths": {0: "batch_size"}, "output": {0: "batch_size"}}
    torch.onnx.export(
        whole, inputs, folder / "voice.onnx", opset_version=15, input_names=names, output_names=["output"],
        dynamic_axes=axes, dynamo=False,
    )  # fmt: skip
    (folder / "voice.onnx.json").write_text(json.dumps({"audio": {"sample_rate": 16000}, "phoneme_id_map": {}}))


def write_end(whole: torch.nn.Module, folder: Path) -> None:
    """Export the end of a voice by the newer exporter, less the stack traces of nodes, which are most of the file."""
    inputs = (torch.zeros(1, SIZES["inter_channels"], 12), torch.ones(1, 1, 12), torch.tensor([0]))
    time = {2: torch.export.Dim.DYNAMIC}
    path = folder / "decoder.onnx"
    torch.onnx.export(
        End(whole).eval(), inputs, path, dynamo=True, external_data=False,
        dynamic_shapes={"z": time, "y_mask": time, "sid": {}},
    )  # fmt: skip
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
    onnx.save(model, path)


def make() -> Iterator[Case]:
    yield Case("vits", "G_7.pth", write_state, voice(vits_models, 1, **SPEAKERS))
    yield Case("piper", "epoch=3.ckpt", write_lightning, voice(piper_models, 2, gin_channels=0))
    yield Case("piper, exported", "voice.onnx", write_whole, voice(piper_models, 3, **SPEAKERS))
    yield Case("piper, newer exporter", "decoder.onnx", write_end, voice(piper_models, 4, **SPEAKERS))


def main() -> None:
    arrays: dict[str, np.ndarray] = {}
    facts: dict[str, Any] = {}
    for seed, case in enumerate(make()):
        with tempfile.TemporaryDirectory() as text, torch.no_grad():
            folder = Path(text)
            case.write(case.voice, folder)
            files = sorted(file.name for file in folder.iterdir())
            for file in files:
                arrays[f"{case.name}/files/{file}"] = np.frombuffer((folder / file).read_bytes(), np.uint8)
            end = End(case.voice).double().eval()
            latents = 3 * np.random.default_rng(seed).standard_normal((SIZES["inter_channels"], FRAMES))
            arrays[f"{case.name}/latents"] = latents.astype(np.float32)
            z = torch.from_numpy(arrays[f"{case.name}/latents"].astype(np.float64))[None]
            mask = torch.ones(1, 1, FRAMES, dtype=torch.float64)
            arrays[f"{case.name}/audio"] = end(z, mask, torch.tensor([SPEAKER])).numpy().reshape(-1)
        speaker = SPEAKER if case.voice.n_speakers > 1 else None
        facts[case.name] = {"file": case.file, "files": files, "speaker": speaker}
        audio = arrays[f"{case.name}/audio"]
        print(f"{case.name}: {len(audio)} samples, rms {np.sqrt((audio**2).mean()):.3f}")
    versions = f"jaywalnut310/vits 2e561ba, {version('piper-tts')}, torch {torch.__version__}"
    arrays["facts"] = np.array(json.dumps({"versions": versions, "cases": facts}))
    if "--check" in sys.argv[1:]:
        if difference := compare(PATH, arrays):
            sys.exit(difference)
        return
    np.savez_compressed(PATH, **arrays)
    print(f"wrote {PATH.name}: {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
