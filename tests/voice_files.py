"""Small voices to speak with, and what ONNX Runtime makes of a whole voice's file with noise that is given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from golden.family_files import unpack

SYMBOLS = {"_": [0], "^": [1], "$": [2], "a": [3], " ": [4]}
SETTINGS = {
    "audio": {"sample_rate": 16000},
    "phoneme_type": "text",
    "phoneme_id_map": SYMBOLS,
    "num_symbols": 5,
    "num_speakers": 3,
    "speaker_id_map": {"ada": 0, "bo": 1, "cy": 2},
}
"""Of a voice whose symbols are text, so that it needs no espeak-ng."""
STILL = {"inference": {"noise_scale": 0, "length_scale": 1.5, "noise_w": 0}}
"""Settings of a voice without noise, so that what it says is always the same."""
TEXT = "aaa a aa\n\na aa\n\naaaa"
"""Three sentences that such a voice can speak."""


def tiny_voice(folder: Path, **changes: object) -> Path:
    """Write the .onnx of a tiny voice of three speakers, a graph that Piper's own code exported, and its settings."""
    path = unpack(folder, "piper_onnx", "weight norm in the graph")
    model, random = onnx.load(path), np.random.default_rng(1)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        # The record has weights of the decoder alone: the others are 0, or NaN where they were divided by their norm.
        if values.dtype == np.float32 and values.ndim and not np.nan_to_num(values).any():
            filled = random.standard_normal(values.shape).astype(np.float32) / np.sqrt(np.prod(values.shape[1:]))
            tensor.CopyFrom(onnx.numpy_helper.from_array(filled.astype(np.float32), tensor.name))
    onnx.save(model, path)
    (folder / "voice.onnx.json").write_text(json.dumps(SETTINGS | changes))
    return path


def noise_of(seed: int, sentence: int, shapes: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """The noise of one sentence, as the documents say that it is drawn."""
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, sentence))))
    return [random.standard_normal(shape, np.float32) for shape in shapes]


def whole_audio(
    path: Path, ids: Sequence[int], scales: Sequence[float], noise: Sequence[np.ndarray], speaker: int | None
):
    """Run a voice's whole file in ONNX Runtime, its random nodes replaced by inputs: float32 `[N]`."""
    model = onnx.load(path)
    random = [node for node in model.graph.node if node.op_type == "RandomNormalLike"]
    assert len(random) == len(noise)
    feeds = {"input": np.array([ids]), "input_lengths": np.array([len(ids)]), "scales": np.array(scales, np.float32)}
    for node, values in zip(random, noise, strict=True):
        model.graph.node.remove(node)
        model.graph.input.append(onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None))
        feeds[node.output[0]] = values
    if speaker is not None:
        feeds["sid"] = np.array([speaker])
    (audio,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)
    return audio.reshape(-1)
