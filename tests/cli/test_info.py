"""What `hifigan info` tells of a file: family, input, licence, and why a file is not run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

from cli.running import error_of, hifigan
from golden.tiny import TINY, tiny_generator, tiny_weights
from golden.tiny_speakers import LATENT, SPEAKERS, speaking_weights
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.graph import SPEAKER_TABLE


def info(*arguments: str, status: int = 0) -> dict:
    return json.loads(hifigan("info", *arguments, "--json", status=status).stdout)


def test_family_and_input_of_the_original(place):
    told = info("model")
    assert (told["family"], told["licence"]) == ("jik876/hifi-gan", None)
    assert told["input"] == {"kind": "mel", "channels": 10}
    assert {"native", "reference"} <= set(told["engines"])
    assert "conditioned_layers" not in told["architecture"]


@pytest.mark.parametrize(
    ("name", "text", "licence"),
    [
        (
            "README.md",
            "---\nlanguage: en\nlicense: apache-2.0\n---\nlicense: none\n",
            "apache-2.0 (by README.md beside it)",
        ),
        ("README.md", "# A project\nlicense: mit\n", None),
        (
            "MODEL_CARD",
            "# Model card\n\n## Dataset\n\n* License: Public Domain\n",
            "Public Domain (by MODEL_CARD beside it)",
        ),
        ("MODEL_CARD", "", None),
    ],
)
def test_the_licence_of_a_card(place, name, text, licence):
    Path("model", name).write_text(text)
    assert info("model")["licence"] == licence


def test_the_licence_in_the_files_own_metadata(place):
    for key in ("license", "Licence"):
        save_file(tiny_weights(), "model/generator.safetensors", {key: "CC BY 4.0"})
        assert info("model")["licence"] == "CC BY 4.0"
    assert "licence                     CC BY 4.0" in hifigan("info", "model").stdout


def test_a_file_that_is_not_run(place):
    vocos = {"backbone.embed.weight": np.ones((4, 10, 7), np.float32), "head.out.weight": np.ones((6, 4), np.float32)}
    save_file(vocos, "vocos.safetensors")
    told = info("vocos.safetensors", status=1)
    assert told["name"] == "vocos.safetensors"
    assert "seems to be a Vocos vocoder" in told["refused"]
    assert "seems to be a Vocos vocoder" in error_of(hifigan("info", "vocos.safetensors", status=1))


def test_the_sizes_that_a_converted_file_was_made_for(place):
    hifigan("export", "openvino", "model", "--frames", "100", "--batch", "2", "--no-verify", "-o", "fixed.xml")
    told = info("fixed.xml")
    assert told["input"] == {"kind": "mel", "channels": 10, "fixed_frames": 100, "fixed_batch": 2}
    assert (
        told["notes"][-1] == "it was exported for mels of exactly 100 frames and batches of exactly 2: export it with "
        "dynamic sizes for others"
    )
    hifigan("export", "openvino", "model", "--batch", "1", "--no-verify", "-o", "single.xml")
    told = info("single.xml")
    assert told["input"]["fixed_batch"] == 1
    assert not any("exactly" in note for note in told["notes"])
    exported = build_onnx(tiny_generator(), TINY.mel, source="tiny")
    onnx.save(exported, "open.onnx")
    assert info("open.onnx")["input"] == {"kind": "mel", "channels": 10}
    exported.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 120
    onnx.save(exported, "fixed.onnx")
    shown = hifigan("info", "fixed.onnx").stdout
    assert "  fixed frames              120" in shown
    assert "exactly 120 frames; that holds for engines that run the file itself (onnxruntime, openvino" in shown


def test_a_whole_voice(place):
    weights = speaking_weights(LATENT)
    voice = {name if name == SPEAKER_TABLE else f"dec.{name}": array for name, array in weights.items()}
    voice["enc_p.emb.weight"] = np.zeros((3, 4), np.float32)
    save_file(voice, "voice.safetensors")
    Path("config.json").write_text(json.dumps(config_to_dict(LATENT)))
    told = info("voice.safetensors")
    assert told["decoder_of"] == {"voice": "a VITS voice", "not_run": ["enc_p"]}
    assert told["input"] == {
        "kind": "latent", "channels": 10, "conditioning_channels": 6, "num_speakers": 4, "speakers": SPEAKERS,
    }  # fmt: skip
    assert told["sample_rate_hz"] == 8000
    assert "mel" not in told
    assert any("it takes latents of 10 channels" in note for note in told["notes"])
