"""Makes piper_onnx.npz: voices of Piper as PyTorch's two exporters write them, names of the weights kept and lost."""

# needs: piper-tts==1.8.0 onnxscript==0.7.2 onnx==1.23.2

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from imports import bare_package, stub, version
from recording import VOICE, Case, fill_parts, record

bare_package("piper", "piper.train", "piper.train.vits")
stub("piper.train.vits.monotonic_align")
from piper.train.vits import models  # noqa: E402

SPEAKER = 1


def voice(seed: int, **settings: object) -> torch.nn.Module:
    made = models.SynthesizerTrn(5, 3, 4, **(VOICE | {"resblock": "2"} | settings), use_sdp=False).eval()
    parts = (made.dec,) if made.n_speakers < 2 else (made.dec, made.emb_g)
    fill_parts(made, parts, seed)
    return made


def write_whole(whole: torch.nn.Module, path: Path) -> None:
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
        whole, inputs, path, opset_version=15, input_names=names, output_names=["output"], dynamic_axes=axes,
        dynamo=False,
    )  # fmt: skip


class MaskedDecoder(torch.nn.Module):
    """The end of a voice, as streaming exports of Piper cut it off."""

    def __init__(self, whole: torch.nn.Module) -> None:
        super().__init__()
        self.dec, self.emb_g = whole.dec, whole.emb_g

    def forward(self, z: torch.Tensor, y_mask: torch.Tensor, sid: torch.Tensor) -> torch.Tensor:
        return self.dec(z * y_mask, g=self.emb_g(sid).unsqueeze(-1))


def write_end(whole: torch.nn.Module, path: Path) -> None:
    """Export the end of a voice by the newer exporter, less the stack traces of nodes, which are most of the file."""
    inputs = (torch.zeros(1, VOICE["inter_channels"], 12), torch.ones(1, 1, 12), torch.tensor([0]))
    time = {2: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        MaskedDecoder(whole), inputs, path, dynamo=True, external_data=False,
        dynamic_shapes={"z": time, "y_mask": time, "sid": {}},
    )  # fmt: skip
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
    onnx.save(model, path)


def make() -> Iterator[Case]:
    speakers = {"n_speakers": 3, "gin_channels": 4}

    def with_speaker(whole: torch.nn.Module):
        vector = whole.emb_g.weight[SPEAKER].detach().double()[None, :, None]
        return lambda dec, z: dec(z, g=vector)

    lost = voice(1, **speakers)

    def write_lost(folder: Path) -> None:
        write_whole(lost, folder / "voice.onnx")
        names = {"ada": 0, "bo": SPEAKER, "cy": 2}
        beside = {"audio": {"sample_rate": 16000}, "phoneme_id_map": {"_": [0]}, "speaker_id_map": names}
        (folder / "voice.onnx.json").write_text(json.dumps(beside))

    yield Case(
        "weight norm in the graph", "voice.onnx", write_lost, lost.dec, with_speaker(lost), num_mels=6,
        speaker=SPEAKER,
    )  # fmt: skip

    kept = voice(2, upsample_rates=[5], upsample_kernel_sizes=[9], **speakers)

    def write_kept(folder: Path) -> None:
        write_end(kept, folder / "decoder.onnx")

    yield Case("newer exporter", "decoder.onnx", write_kept, kept.dec, with_speaker(kept), num_mels=6, speaker=SPEAKER)


if __name__ == "__main__":
    record("piper_onnx", version("piper-tts"), make())
