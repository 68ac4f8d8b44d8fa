"""HiFi-GAN generators in ONNX files: found by their convolutions, read bit for bit, or named as another network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import hifigan_rt
import onnx_rewriting as rewriting
from golden.features import FEATURES, feature_generator
from golden.tiny import TINY, tiny_generator, tiny_mel
from hifigan_rt.config import GeneratorConfig, ModelConfig
from hifigan_rt.families.onnx_generator import OnnxGenerator, find_generator
from hifigan_rt.families.onnx_steps import AnotherGraph
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.formats.onnx_reading import open_onnx
from hifigan_rt.graph import build_graph
from hifigan_rt.model.kinds import OnnxWeights, Weights
from hifigan_rt.model.resolve import resolve_model
from onnx_exports import audio_of, audio_of_file, export, read

OTHERS = {
    "one convolution": GeneratorConfig(8, (4, 2), (8, 4), "2", (3, 5), ((1, 3), (1, 2)), num_mels=10),
    "one block": GeneratorConfig(8, (2,), (4,), "1", (3,), ((1,),), num_mels=5),
    "odd kernel - rate": GeneratorConfig(8, (2, 3), (5, 6), "2", (3,), ((1,),), num_mels=5),
    "kernel = rate": GeneratorConfig(16, (2, 2, 2), (2, 4, 2), "1", (3, 7), ((1, 3, 5), (1, 3, 5)), num_mels=5),
}


def assert_same_weights(found: OnnxGenerator) -> None:
    weights = tiny_generator().weights
    assert found.config == TINY.generator
    assert list(found.weights) == list(weights)
    for name, array in weights.items():
        assert found.weights[name].tobytes() == array.tobytes()


# --- our own exports -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize("keep_channel", [False, True])
def test_own_exports_give_their_weights_back(tmp_path, opset, rank, keep_channel):
    assert_same_weights(read(export(opset=opset, rank=rank, keep_channel=keep_channel), tmp_path))


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures(tmp_path, name):
    config = OTHERS[name]
    generator = tiny_generator(ModelConfig(config))
    found = read(build_onnx(generator, None), tmp_path)
    assert found.config == config
    assert all(np.array_equal(found.weights[name], array) for name, array in generator.weights.items())


@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize("name", FEATURES)
def test_networks_beyond_the_originals(tmp_path, name, rank):
    generator = feature_generator(FEATURES[name])
    onnx.save(build_onnx(generator, None, rank=rank), tmp_path / "model.onnx")
    model = resolve_model(tmp_path / "model.onnx")
    assert isinstance(model, OnnxWeights)
    assert model.graph == generator.graph
    for key, array in generator.weights.items():
        assert np.array_equal(model.generator.weights[key].reshape(array.shape), array)


def test_native_runs_an_export_as_it_runs_the_checkpoint(tmp_path):
    onnx.save(export(), tmp_path / "tiny.onnx")
    mel = tiny_mel(40)
    with hifigan_rt.load(tmp_path / "tiny.onnx") as vocoder:
        assert vocoder.engine_info.name == "native"
        assert isinstance(vocoder.model, OnnxWeights)
        assert vocoder.mel_config == TINY.mel
        samples = vocoder(mel)
        stream = vocoder.stream(segment_frames=16)
        streamed = np.concatenate([stream.push(mel), stream.finish()])
        assert streamed.tobytes() == vocoder(mel, segment_frames=16).tobytes()
    model = Weights("tiny", tmp_path / "tiny.onnx", "test", tiny_generator(), TINY.mel)
    with hifigan_rt.load(model, engine="native") as vocoder:
        assert vocoder(mel).tobytes() == samples.tobytes()


def test_onnxruntime_runs_the_file_itself(tmp_path):
    model = export()
    # Cannot be told from the weights: the file's own nodes are run.
    model.graph.node[-1].name = "the file"
    onnx.save(model, tmp_path / "tiny.onnx")
    with hifigan_rt.load(tmp_path / "tiny.onnx", engine="onnxruntime") as vocoder:
        assert vocoder.engine_info.name == "onnxruntime"
        assert np.array_equal(vocoder(tiny_mel(9)), audio_of_file(model, tiny_mel(9)))
    (tmp_path / "tiny.onnx").write_bytes(b"")
    resolved = replace(vocoder.model)
    with pytest.raises(hifigan_rt.errors.ModelFileError, match="is empty"):
        hifigan_rt.load(resolved, engine="onnxruntime")


def test_it_says_what_is_read(tmp_path):
    onnx.save(export(), tmp_path / "tiny.onnx")
    notes = resolve_model(tmp_path / "tiny.onnx").notes
    assert notes[0] == (
        "its layers are those of a HiFi-GAN generator of 1,565 parameters, rates 4, 2: engine onnxruntime runs the "
        "file itself, and native its weights"
    )


# --- exports of others -------------------------------------------------------------------------------------------


REWRITINGS = {
    "names lost": [rewriting.lose_names],
    "Constant nodes": [rewriting.constants_as_nodes],
    "Identity": [rewriting.identities],
    "typed fields": [rewriting.typed_fields],
    "sums from zeros": [rewriting.sums_from_zeros],
    "clamp behind tanh": [rewriting.clamp_audio],
    "all": [rewriting.typed_fields, rewriting.identities, rewriting.constants_as_nodes, rewriting.lose_names],
}


@pytest.mark.parametrize("name", REWRITINGS)
def test_the_same_network_in_other_nodes(tmp_path, name):
    model = export(opset=15)
    for rewrite in REWRITINGS[name]:
        rewrite(model)
    onnx.checker.check_model(model)
    assert_same_weights(read(model, tmp_path))


@pytest.mark.parametrize("raw", [True, False])
def test_float16_weights(tmp_path, raw):
    model = export(opset=15)
    rewriting.halves(raw=raw)(model)
    found = read(model, tmp_path)
    for name, array in tiny_generator().weights.items():
        assert np.array_equal(found.weights[name], array.astype(np.float16))
    assert np.abs(audio_of(found, tiny_mel(20)) - audio_of_file(model, tiny_mel(20))).max() < 1e-6


def test_four_bit_weights_are_left_to_onnx_runtime(tmp_path):
    model = export(opset=17)
    model.opset_import[0].version, model.ir_version = 21, 10
    nodes = []
    for tensor in list(model.graph.initializer):
        array, name = numpy_helper.to_array(tensor), tensor.name
        if array.ndim == 3:
            scale = np.abs(array).max() / 7
            values = np.round(array / scale).astype(int).reshape(-1).tolist()
            tensor.CopyFrom(helper.make_tensor(f"{name}.int4", TensorProto.INT4, array.shape, values))
            model.graph.initializer.append(numpy_helper.from_array(np.float32(scale), f"{name}.scale"))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}.int4", f"{name}.scale"], [name]))
    rewriting.insert(model.graph, nodes, 0)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    assert "are not constant" in resolve_model(path).unread
    vocoder = hifigan_rt.load(path, engine="onnxruntime")
    assert vocoder.engine_info.precision == "int4"
    assert np.array_equal(vocoder(tiny_mel(20)), audio_of_file(model, tiny_mel(20)))


def test_weight_norm_in_the_graph(tmp_path):
    model = export(opset=15)
    rewriting.weight_norm(model)
    rewriting.lose_names(model)
    found = read(model, tmp_path)
    for name, array in tiny_generator().weights.items():
        assert np.abs(found.weights[name] - array).max() < 1e-6
    assert np.abs(audio_of(found, tiny_mel(20)) - audio_of_file(model, tiny_mel(20))).max() < 1e-6


def test_external_data(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(export(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with open_onnx(path) as (_, nodes):
        assert_same_weights(find_generator(nodes))
    model = resolve_model(path)
    assert model.files == (path, tmp_path / "weights.bin")


def test_normalized_mels_with_time_first(tmp_path):
    model = export(opset=15)
    rewriting.time_major(model)
    found = read(model, tmp_path)
    assert found.config == replace(TINY.generator, input_normalization=True)
    mel = tiny_mel(20)
    assert np.abs(audio_of(found, mel) - audio_of_file(model, mel.T)).max() < 1e-6


@pytest.mark.parametrize(("mode", "ours"), [("constant", "zeros"), ("reflect", "reflect"), ("edge", "replicate")])
def test_padding_in_nodes_of_its_own(tmp_path, mode, ours):
    model = export(opset=15)
    rewriting.separate_padding(mode)(model)
    found = read(model, tmp_path)
    assert found.config == replace(TINY.generator, padding_mode=ours)
    assert np.abs(audio_of(found, tiny_mel(20)) - audio_of_file(model, tiny_mel(20))).max() < 1e-6


def padded_mel_of_an_old_set(value: float) -> onnx.ModelProto:
    """A mel that is padded as operator sets up to 10 say it: in attributes."""
    model = export(opset=11)
    model.opset_import[0].version = 10
    rewriting.change_attribute("Conv", 0, "pads", [0, 0])(model)
    model.graph.node[0].input[0] = "padded"
    pad = helper.make_node("Pad", ["mel_spec"], ["padded"], pads=[0, 0, 3, 0, 0, 3], value=value)
    rewriting.insert(model.graph, [pad], 0)
    return model


def test_padding_as_attributes(tmp_path):
    model = padded_mel_of_an_old_set(0.0)
    found = read(model, tmp_path)
    assert found.config == TINY.generator
    assert np.abs(audio_of(found, tiny_mel(20)) - audio_of_file(model, tiny_mel(20))).max() < 1e-6
    with pytest.raises(AnotherGraph, match="pads with another value than 0"):
        read(padded_mel_of_an_old_set(-11.5), tmp_path)


def shape_of_part(model: onnx.ModelProto) -> None:
    """Say a weight's shape by two parts of another's, as operator sets from 15 on can."""
    array = rewriting.arrays(model)["conv_pre.weight"]
    rewriting.set_array(model, "conv_pre.weight", array.reshape(-1))
    model.graph.initializer.append(numpy_helper.from_array(array, "like"))
    nodes = [
        helper.make_node("Shape", ["like"], ["head"], end=1),
        helper.make_node("Shape", ["like"], ["tail"], start=-2),
        helper.make_node("Concat", ["head", "tail"], ["whole"], axis=0),
        helper.make_node("Reshape", ["conv_pre.weight", "whole"], ["weight"]),
    ]
    model.graph.node[0].input[1] = "weight"
    rewriting.insert(model.graph, nodes, 0)


def square_without_axes(model: onnx.ModelProto) -> None:
    """Square a weight by a sum over no axes, as operator sets from 18 on can."""
    model.opset_import[0].version = 18
    array = rewriting.arrays(model)["conv_pre.weight"]
    rewriting.set_array(model, "conv_pre.weight", np.sqrt(np.abs(array)))
    square = helper.make_node("ReduceSumSquare", ["conv_pre.weight"], ["weight"], noop_with_empty_axes=1)
    model.graph.node[0].input[1] = "weight"
    rewriting.insert(model.graph, [square], 0)


@pytest.mark.parametrize("rewrite", [shape_of_part, square_without_axes])
def test_constants_by_what_newer_sets_brought(tmp_path, rewrite):
    model = export(opset=15)
    rewrite(model)
    found = read(model, tmp_path)
    # By ONNX's own evaluator: ONNX Runtime 1.23 cannot fold a sum of squares over no axes.
    (audio,) = ReferenceEvaluator(model).run(None, {"mel_spec": tiny_mel(20)[None]})
    assert np.abs(audio_of(found, tiny_mel(20)) - audio.ravel()).max() < 1e-6


def test_causal_convolutions_whose_ends_are_cut_off(tmp_path):
    generator = feature_generator(FEATURES["causal"])
    model = build_onnx(generator, None, opset=15)
    rewriting.trimmed(model)
    found = read(model, tmp_path)
    assert build_graph(found.config) == generator.graph
    mel = np.random.default_rng(1).normal(size=(5, 20)).astype(np.float32)
    assert np.abs(audio_of(found, mel) - audio_of_file(model, mel)).max() < 1e-6
    end = next(
        node for node in model.graph.node if node.op_type == "Slice" and node.output[0] == "resblocks.0.convs2.0"
    )
    kept = end.input[2]
    end.input[2] = "conv_pre.end"
    with pytest.raises(AnotherGraph):
        read(model, tmp_path)
    end.input[2] = kept
    shape = next(node for node in model.graph.node if node.output[0] == "resblocks.0.convs2.0.shape")
    shape.attribute.append(helper.make_attribute("start", 1))  # the third of what is left is no length
    with pytest.raises(AnotherGraph):
        read(model, tmp_path)
