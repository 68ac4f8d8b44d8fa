"""ONNX files that hold another network than a HiFi-GAN generator, or hold one in an unusual way."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import hifigan_rt
import onnx_rewriting as rewriting
from golden.tiny import tiny_generator
from hifigan_rt.config import GeneratorConfig, ModelConfig
from hifigan_rt.errors import ConfigError, EngineError
from hifigan_rt.families.onnx_steps import AnotherGraph
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.model.kinds import OnnxFile
from hifigan_rt.model.resolve import resolve_model
from onnx_exports import audio_of, audio_of_file, export, read


def replace_node(op_type: str, index: int, new_type: str):
    """Another operator in place of the n-th one of a kind."""

    def rewrite(model: onnx.ModelProto) -> None:
        node = [node for node in model.graph.node if node.op_type == op_type][index]
        node.op_type, node.name = new_type, "odd"
        del node.attribute[:]

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
        (rewriting.change_attribute("LeakyRelu", 2, "alpha", 0.3), "slope of the activation before it"),
        (rewriting.change_attribute("Conv", 2, "group", 2), "in groups of channels"),
        (rewriting.change_attribute("Conv", 2, "auto_pad", "SAME_UPPER"), "pads by itself"),
        (rewriting.change_attribute("Conv", 2, "pads", [0, 4]), "padding"),
        (rewriting.change_attribute("ConvTranspose", 0, "dilations", [2]), "dilation 2"),
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
