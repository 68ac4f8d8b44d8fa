"""HiFi-GAN generators in ONNX files: found by their convolutions, read bit for bit, or named as another network."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import hifigan_rt
import onnx_rewriting as rewriting
from golden.features import FEATURES, feature_generator
from golden.tiny import TINY, tiny_generator, tiny_mel
from hifigan_rt.config import GeneratorConfig, ModelConfig
from hifigan_rt.errors import ConfigError, EngineError
from hifigan_rt.families.onnx_generator import OnnxGenerator, find_generator
from hifigan_rt.families.onnx_steps import AnotherGraph
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.formats.onnx_reading import open_onnx
from hifigan_rt.graph import build_graph
from hifigan_rt.model.kinds import OnnxFile, OnnxWeights, Weights
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
    change_attribute("Conv", 0, "pads", [0, 0])(model)
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
    assert np.abs(audio_of(found, tiny_mel(20)) - audio_of_file(model, tiny_mel(20))).max() < 1e-6


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


# --- other networks ----------------------------------------------------------------------------------------------


def replace_node(op_type: str, index: int, new_type: str):
    """Another operator in place of the n-th one of a kind."""

    def rewrite(model: onnx.ModelProto) -> None:
        node = [node for node in model.graph.node if node.op_type == op_type][index]
        node.op_type, node.name = new_type, "odd"
        del node.attribute[:]

    return rewrite


def change_attribute(op_type: str, index: int, name: str, value):
    def rewrite(model: onnx.ModelProto) -> None:
        node = [node for node in model.graph.node if node.op_type == op_type][index]
        kept = [item for item in node.attribute if item.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return rewrite


def change_array(name: str, function):
    def rewrite(model: onnx.ModelProto) -> None:
        rewriting.set_array(model, name, function(rewriting.arrays(model)[name]))

    return rewrite


def put_before_mel(op_type: str):
    def rewrite(model: onnx.ModelProto) -> None:
        model.graph.node[0].input[0] = "odd.output"
        rewriting.insert(model.graph, [helper.make_node(op_type, ["mel_spec"], ["odd.output"], name="odd")], 0)

    return rewrite


def of_another_set(op_type: str):
    """Another operator set's operator of the same name, which computes who knows what."""

    def rewrite(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == op_type)
        node.domain, node.name = "my.operators", "odd"
        model.opset_import.append(helper.make_opsetid("my.operators", 1))

    return rewrite


def leave_out_first_conv_of_a_unit(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.input[0] == "resblocks.0.convs1.0")
    node.input[0] = "ups.0"


def put_after_audio(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "inner"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(32767), "full"))
    model.graph.node.append(helper.make_node("Mul", ["inner", "full"], ["wavs"], name="odd"))


def interleave_audio(model: onnx.ModelProto) -> None:
    """Cut the samples into columns of four, and read them row by row."""
    model.graph.node[-1].output[0] = "inner"
    for name, shape in (("columns", [1, -1, 4]), ("whole", [1, -1])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(shape), name))
    model.graph.node.extend(
        [
            helper.make_node("Reshape", ["inner", "columns"], ["cut"], name="odd"),
            helper.make_node("Transpose", ["cut"], ["turned"], perm=[0, 2, 1]),
            helper.make_node("Reshape", ["turned", "whole"], ["wavs"]),
        ]
    )


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("conv_pre", TensorProto.FLOAT, None))


@pytest.mark.parametrize(
    ("rewrite", "text"),
    [
        (replace_node("LeakyRelu", 0, "Sin"), "node 'odd' (Sin) stands where a residual block should end"),
        (replace_node("LeakyRelu", 3, "Elu"), "node 'odd' (Elu) stands"),
        (replace_node("Tanh", 0, "Sigmoid"), "node 'odd' (Sigmoid) stands where the last convolution should be"),
        (replace_node("Conv", 5, "ConvInteger"), "node 'odd' (ConvInteger) stands"),
        (put_before_mel("Exp"), "node 'odd' (Exp) stands between its input and the first convolution"),
        (replace_node("Add", 4, "Mean"), "node 'odd' (Mean) stands"),  # its result is divided by 2 once more
        (of_another_set("Tanh"), "node 'odd' (my.operators.Tanh) stands where the last convolution should be"),
        (of_another_set("Add"), "node 'odd' (my.operators.Add) stands"),
        (of_another_set("Div"), "node 'odd' (my.operators.Div) stands"),
        (leave_out_first_conv_of_a_unit, "additions of its residual blocks follow one convolution, and others two"),
        (put_after_audio, "node 'odd' (Mul) stands where the last convolution should be"),
        (interleave_audio, "node 'odd' (Reshape) is followed by a Transpose"),
        (second_output, "it has 2 outputs"),
        (change_attribute("LeakyRelu", 2, "alpha", 0.3), "slope of the activation before it"),
        (change_attribute("Conv", 2, "group", 2), "in groups of channels"),
        (change_attribute("Conv", 2, "auto_pad", "SAME_UPPER"), "pads by itself"),
        (change_attribute("Conv", 2, "pads", [0, 4]), "padding"),
        (change_attribute("ConvTranspose", 0, "dilations", [2]), "dilation 2"),
        (change_array("stages.0.num_kernels", lambda array: array * 2), "is divided by 4"),
        (change_array("conv_post.weight", lambda array: np.repeat(array, 2, 0)), "weights of shape (2, 2, 7)"),
        (change_array("resblocks.1.convs2.0.weight", lambda array: array[:, :, :3]), "weights of shape (4, 4, 3)"),
        (change_array("conv_pre.weight", lambda array: array[:, :0]), "the weights of conv_pre are float32 [8, 0, 7]"),
        (change_array("conv_pre.weight", lambda array: (array * 9).astype(np.int8)), "weights are floats"),
    ],
)  # fmt: skip
def test_other_networks_are_named_and_left_to_onnx_runtime(tmp_path, rewrite, text):
    model = export(opset=15)
    rewrite(model)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    resolved = resolve_model(path)
    assert type(resolved) is OnnxFile
    assert text in resolved.unread
    assert resolved.notes[0] == resolved.unread
    with pytest.raises(EngineError, match="engine 'native' runs checkpoints"):
        hifigan_rt.load(resolved, engine="native")


def test_a_mean_of_blocks_is_one_node(tmp_path):
    model = export(opset=15)
    for node in [node for node in model.graph.node if node.op_type == "Div"]:
        total = next(other for other in model.graph.node if other.output[0] == node.input[0])
        total.op_type, total.output[0] = "Mean", node.output[0]
        model.graph.node.remove(node)
        total.domain = "ai.onnx"  # which is ONNX's own, written out
    found = read(model, tmp_path)
    mel = np.random.default_rng(1).normal(size=(10, 20)).astype(np.float32)
    assert np.abs(audio_of(found, mel) - audio_of_file(model, mel)).max() < 1e-6


def test_a_padding_of_another_rank(tmp_path):
    """ONNX Runtime refuses such a file; here it has no time to pad."""
    model = export(opset=15, rank=4)
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 1, 0, 0, 1]), "odd.pads"))
    index = next(index for index, node in enumerate(model.graph.node) if node.op_type == "Conv" and index > 3)
    conv = model.graph.node[index]
    pad = helper.make_node("Pad", [conv.input[0], "odd.pads"], ["odd.output"], name="odd")
    conv.input[0] = "odd.output"
    rewriting.insert(model.graph, [pad], index)
    onnx.save(model, tmp_path / "model.onnx")
    assert "node 'odd' (Pad) pads in a way that no generator has" in resolve_model(tmp_path / "model.onnx").unread


def test_a_foreign_config_of_other_layers_is_refused(tmp_path):
    model = export()
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "model.onnx")
    assert resolve_model(tmp_path / "model.onnx").graph.hop_length == 8
    with pytest.raises(ConfigError, match=r"preset 'v1': .*upsample_rates \[4, 2\] and \[8, 8, 2, 2\]"):
        resolve_model(tmp_path / "model.onnx", "v1")
    (tmp_path / "config.json").write_text(json.dumps({"sampling_rate": 8000}))
    assert resolve_model(tmp_path / "model.onnx").sample_rate == 8000


def test_weights_that_all_layers_share_are_not_multiplied(tmp_path):
    """A file of one large array under thousands of layers would take thousands of times its size."""
    generator = tiny_generator(ModelConfig(GeneratorConfig(256, (2,), (4,), "2", (3,), ((1,) * 40,), num_mels=8)))
    model = build_onnx(generator, None)
    convs = [node for node in model.graph.node if node.op_type == "Conv" and ".convs." in node.name]
    shared = convs[0].input[1]
    for node in convs:
        node.input[1] = shared
    kept = [tensor for tensor in model.graph.initializer if ".convs." not in tensor.name or tensor.name == shared]
    biases = [tensor for tensor in model.graph.initializer if ".convs." in tensor.name and ".bias" in tensor.name]
    copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in (*kept, *biases)]
    del model.graph.initializer[:]
    model.graph.initializer.extend(copies)
    with pytest.raises(AnotherGraph, match="share weights so often"):
        read(model, tmp_path)
