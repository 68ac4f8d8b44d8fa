"""`hifigan export openvino`, and IR as a model, as a user types it."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile

import tolerances
from cli.running import clip, error_of, hifigan
from hifigan_rt.audio.signal_metrics import snr_db


def test_export_then_synth(place):
    report = json.loads(hifigan("export", "openvino", "model", "-o", "g.xml", "--json").stdout)
    assert report["snr_db"] >= tolerances.FLOAT32_ENGINE_SNR_DB
    assert (report["path"], report["weights_path"], report["precision"]) == ("g.xml", "g.bin", "float32")
    assert report["bytes"] == Path("g.xml").stat().st_size + Path("g.bin").stat().st_size
    clip("in/a.wav")
    done = hifigan("synth", "in", "--model", "g.xml", "-o", "out", "--encoding", "float")
    assert "on openvino" in done.stderr
    assert "float32" in done.stderr
    hifigan("synth", "in", "--model", "model", "--engine", "reference", "-o", "truth", "--encoding", "float")
    made, truth = (soundfile.read(f"{folder}/a.wav")[0] for folder in ("out", "truth"))
    # The reference's result is written as float32 too.
    assert snr_db(truth, made) >= tolerances.FLOAT32_ENGINE_SNR_DB
    assert json.loads(hifigan("info", "g.xml", "--json").stdout)["format"] == "openvino (float32 weights)"


def test_the_line_for_people(place):
    text = hifigan("export", "openvino", "model", "-o", "g.xml", "--precision", "float16", "--no-verify").stdout
    size = Path("g.xml").stat().st_size + Path("g.bin").stat().st_size
    assert text.startswith(f"'g.xml' and 'g.bin': {size} bytes in ")
    assert text.endswith("; not verified\n")


@pytest.mark.parametrize("there", ["g.xml", "g.bin"])
def test_nothing_is_overwritten_unasked(place, there):
    Path(there).write_bytes(b"precious")
    assert f"output '{there}' exists already" in error_of(
        hifigan("export", "openvino", "model", "-o", "g.xml", status=1)
    )
    assert Path(there).read_bytes() == b"precious"
    hifigan("export", "openvino", "model", "-o", "g.xml", "--overwrite")
    assert Path(there).read_bytes() != b"precious"


def test_a_checkpoint_that_ends_in_bin_is_not_replaced_by_the_weights(place):
    checkpoint = Path("model/generator.safetensors").rename("model/pytorch_model.bin")
    before = checkpoint.read_bytes()
    done = hifigan("export", "openvino", str(checkpoint), "-o", "model/pytorch_model.xml", "--overwrite", status=1)
    assert "output 'model/pytorch_model.bin' is the model itself" in error_of(done)
    assert checkpoint.read_bytes() == before


def test_the_data_of_an_onnx_file_are_not_replaced_by_the_weights(place):
    hifigan("export", "onnx", "model", "-o", "inside.onnx")
    onnx.save(onnx.load("inside.onnx"), "voice.onnx", save_as_external_data=True, location="voice.bin")
    before = Path("voice.bin").read_bytes()
    done = hifigan("export", "openvino", "voice.onnx", "--overwrite", status=1)
    assert "output 'voice.bin' is a file of 'voice.onnx'" in error_of(done)
    assert Path("voice.bin").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-o", "g.bin"], "must end in .xml"),
        (["-o", "G.XML"], "must end in .xml"),
        (["-o", "g.xml", "--precision", "int8"], "precision='int8' is not offered"),
        (["-o", "g.xml", "--frames", "0"], "frames=0 must be from 1"),
        (["-o", "none/g.xml"], "folder 'none' is not there"),
    ],
)
def test_what_is_not_offered(place, arguments, text):
    assert text in error_of(hifigan("export", "openvino", "model", *arguments, status=1))


def test_a_limit_of_file_sizes_is_told_and_leaves_nothing(place):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    Path("g.bin").write_bytes(b"before")
    text = error_of(
        hifigan("export", "openvino", "model", "-o", "g.xml", "--overwrite", status=1, preexec_fn=limit),
    )
    assert "'g.xml' and its .bin could not be written" in text
    assert "raise the limit on file sizes" in text
    assert Path("g.bin").read_bytes() == b"before"
    assert not [path for path in Path().iterdir() if path.name.endswith((".xml", ".part"))]


def test_ir_is_not_converted_again(place):
    hifigan("export", "openvino", "model", "-o", "g.xml", "--no-verify")
    assert "is an OpenVINO IR, and weights are not read out of it" in error_of(
        hifigan("export", "onnx", "g.xml", "-o", "g.onnx", status=1)
    )


def test_an_onnx_file_that_is_no_checkpoint_is_told_why(place):
    hifigan("export", "onnx", "model", "-o", "g.onnx", "--no-verify")
    model = onnx.load("g.onnx")
    next(node for node in model.graph.node if node.op_type == "Tanh").op_type = "Sigmoid"
    onnx.save(model, "other.onnx")
    refused = error_of(hifigan("export", "openvino", "other.onnx", "-o", "g.xml", status=1))
    assert "'other.onnx' is an ONNX file, and its weights are not read: node" in refused
    assert "Sigmoid" in refused


def test_options_of_the_engine(place):
    np.save("mel.npy", np.full((10, 30), -5, np.float32))
    command = ["synth", "mel.npy", "--model", "model", "--engine", "openvino"]
    hifigan(*command, "-o", "a.wav", "--engine-option", "hint=throughput", "--engine-option", "graph=1d")
    assert "choose latency, throughput" in error_of(
        hifigan(*command, "-o", "b.wav", "--engine-option", "hint=now", status=1)
    )
    assert "device='TPU' is not there for OpenVINO: it has CPU" in error_of(
        hifigan(*command, "-o", "b.wav", "--device", "TPU", status=1)
    )
