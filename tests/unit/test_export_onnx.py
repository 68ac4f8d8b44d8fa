"""The built graph against the float64 reference, in ONNX Runtime and, as a second opinion, in onnx.reference."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import tolerances
from golden.seeded import seeded_mel, seeded_weights
from golden.tiny import TINY, tiny_generator
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import GeneratorConfig, MelConfig, ModelConfig
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import ConfigError, ExportError
from hifigan_rt.formats.config_json import parse_config
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.graph import Generator, bind, build_graph

CONFIGS = {
    "type 1": TINY.generator,
    "type 2": GeneratorConfig(16, (4, 2), (8, 4), "2", (3, 5, 7), ((1, 2), (2, 6), (3, 12)), num_mels=7),
    "odd kernel - rate": GeneratorConfig(8, (3, 2), (8, 5), "1", (3,), ((1, 3, 5),), num_mels=5),
    "kernel = rate": GeneratorConfig(8, (2, 3), (2, 3), "2", (1, 3), ((1,), (2, 4)), num_mels=80),
}


def make_generator(config: GeneratorConfig) -> Generator:
    graph = build_graph(config)
    return bind(graph, seeded_weights(graph.weight_shapes(), seed=3))


def run(model: onnx.ModelProto, mel: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (audio,) = session.run(["wavs"], {"mel_spec": mel})
    return audio


def truth(generator: Generator, mels: np.ndarray) -> np.ndarray:
    return np.stack([generate(generator, mel) for mel in mels])


@pytest.mark.parametrize("keep_channel", [False, True])
@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize("opset", range(11, 18))
@pytest.mark.parametrize("name", CONFIGS)
def test_every_variant_is_valid_and_equals_the_reference(name, opset, rank, keep_channel):
    generator = make_generator(CONFIGS[name])
    model = build_onnx(generator, None, opset=opset, rank=rank, keep_channel=keep_channel)
    onnx.checker.check_model(model, full_check=True)
    mels = seeded_mel(2, generator.graph.num_mels, 9, seed=opset).astype(np.float32)
    audio = run(model, mels[:, :, None] if rank == 4 else mels)
    inner = ([1] * (rank - 2)) if keep_channel else []
    assert audio.shape == (2, *inner, generator.graph.output_length(9))
    assert snr_db(truth(generator, mels), audio.reshape(2, -1)) >= tolerances.FLOAT32_ENGINE_SNR_DB


@pytest.mark.parametrize("name", CONFIGS)
def test_every_length_and_batch(name):
    generator = make_generator(CONFIGS[name])
    session = onnxruntime.InferenceSession(
        build_onnx(generator, None).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for frames in range(1, 41):
        mels = seeded_mel(1 + frames % 3, generator.graph.num_mels, frames, seed=frames).astype(np.float32)
        (audio,) = session.run(None, {"mel_spec": mels})
        assert audio.shape == (len(mels), generator.graph.output_length(frames))
        assert snr_db(truth(generator, mels), audio) >= tolerances.FLOAT32_ENGINE_SNR_DB


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("name", CONFIGS)
def test_second_opinion_of_onnx_itself(name, opset):
    generator = make_generator(CONFIGS[name])
    mels = seeded_mel(1, generator.graph.num_mels, 4, seed=1).astype(np.float32)
    (audio,) = ReferenceEvaluator(build_onnx(generator, None, opset=opset)).run(None, {"mel_spec": mels})
    assert snr_db(truth(generator, mels), audio) >= tolerances.ONNX_REFERENCE_SNR_DB


@pytest.mark.parametrize(("opset", "ir_version"), [(11, 6), (12, 7), (13, 7), (14, 7), (15, 8), (16, 8), (17, 8)])
def test_versions_and_form_of_squeeze(opset, ir_version):
    model = build_onnx(tiny_generator(), None, opset=opset)
    assert (model.opset_import[0].version, model.ir_version) == (opset, ir_version)
    (squeeze,) = [node for node in model.graph.node if node.op_type == "Squeeze"]
    assert (len(squeeze.input), len(squeeze.attribute)) == ((1, 1) if opset < 13 else (2, 0))


@pytest.mark.parametrize("rank", [3, 4])
def test_only_operators_that_npu_compilers_have_and_always_a_kernel_shape(rank):
    model = build_onnx(tiny_generator(), None, rank=rank)
    kinds = {node.op_type for node in model.graph.node}
    assert kinds == {"Conv", "ConvTranspose", "LeakyRelu", "Add", "Div", "Tanh", "Squeeze"}
    for node in model.graph.node:
        if node.op_type.startswith("Conv"):
            (kernel,) = [list(a.ints) for a in node.attribute if a.name == "kernel_shape"]
            assert len(kernel) == rank - 2
            assert kernel[:-1] == [1] * (rank - 3)


def test_names_are_the_originals_and_the_weights_are_bit_equal():
    generator = tiny_generator()
    model = build_onnx(generator, None)
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name, array in generator.weights.items():
        np.testing.assert_array_equal(stored[name], array)
    nodes = {node.name for node in model.graph.node}
    assert {layer.name for layer in generator.graph.layers} <= nodes
    assert len(nodes) == len(model.graph.node)


def test_declared_shapes():
    for rank, keep_channel, mel, audio in (
        (3, False, ["batch", 10, "frames"], ["batch", "samples"]),
        (3, True, ["batch", 10, "frames"], ["batch", 1, "samples"]),
        (4, False, ["batch", 10, 1, "frames"], ["batch", "samples"]),
        (4, True, ["batch", 10, 1, "frames"], ["batch", 1, 1, "samples"]),
    ):
        graph = build_onnx(tiny_generator(), None, rank=rank, keep_channel=keep_channel).graph
        for value, expected in ((graph.input[0], mel), (graph.output[0], audio)):
            dims = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            assert dims == expected


def test_float64_weights_are_rounded_to_float32():
    generator = make_generator(CONFIGS["type 2"])
    assert generator.weights["conv_pre.weight"].dtype == np.float64
    model = build_onnx(generator, None)
    assert all(tensor.data_type == onnx.TensorProto.FLOAT for tensor in model.graph.initializer if tensor.dims != [1])


def test_metadata_rebuilds_the_config():
    mel = replace(TINY.mel, log="log10", mean=(-5.0,), scale=(2.0,), fmax=None)
    model = build_onnx(tiny_generator(), mel, source="checkpoint g_02500000")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert parse_config(json.loads(metadata["config"])) == ModelConfig(TINY.generator, mel)
    assert metadata["source"] == "checkpoint g_02500000"
    assert (metadata["sample_rate"], metadata["hop_length"], metadata["fmax"]) == ("8000", "8", "4000.0")
    assert model.producer_name == "hifigan-rt"
    assert model.producer_version


def test_sherpa_onnx_accepts_the_file():
    """Its loader asks for model_type and feeds one float [1, M, T]; it takes (N), (1, N) or (1, 1, N)."""
    for keep_channel in (False, True):
        model = build_onnx(tiny_generator(), TINY.mel, keep_channel=keep_channel)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        assert session.get_modelmeta().custom_metadata_map["model_type"] == "hifigan"
        (mel,), (audio,) = session.get_inputs(), session.get_outputs()
        assert (mel.type, len(mel.shape)) == ("tensor(float)", 3)
        assert (audio.type, len(audio.shape)) == ("tensor(float)", 3 if keep_channel else 2)
        assert session.run(None, {mel.name: np.zeros((1, 10, 6), np.float32)})[0].size == 48


def test_unknown_mel_settings_leave_the_sample_rate_out():
    metadata = {entry.key: entry.value for entry in build_onnx(tiny_generator(), None).metadata_props}
    assert "sample_rate" not in metadata
    assert metadata["hop_length"] == "8"


def test_the_same_model_gives_the_same_bytes():
    first, second = (build_onnx(tiny_generator(), TINY.mel, source="x").SerializeToString() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("opset", [10, 18, 0, -1])
def test_other_opsets_are_refused(opset):
    with pytest.raises(ExportError, match=rf"^opset={opset} is not offered: choose one from 11 to 17$"):
        build_onnx(tiny_generator(), None, opset=opset)


def test_other_ranks_are_refused():
    with pytest.raises(ExportError, match=r"rank=2 is not offered: 3 takes mels as \[B, M, T\], 4 as \[B, M, 1, T\]"):
        build_onnx(tiny_generator(), None, rank=2)


def test_mel_settings_of_another_model_are_refused():
    with pytest.raises(ConfigError, match="hop_size=256 does not match"):
        build_onnx(tiny_generator(), MelConfig(22050, 1024, 1024, 256, 10))


def test_weights_beyond_float32_are_refused():
    generator = make_generator(CONFIGS["type 1"])
    generator.weights["ups.0.bias"][0] = 1e300
    with pytest.raises(ExportError, match=r"^ups\.0\.bias holds values beyond float32"):
        build_onnx(generator, None)
