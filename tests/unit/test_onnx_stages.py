"""A graph that is cut at its random nodes computes what the whole one does, with the same noise."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from hifigan_rt.engines.text_part import Scales, TextPart
from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.onnx_stages import cut_graph, load_stages

SCALES = Scales(0.5, 1.0, 0.25)


def graph(*nodes, weights=(), outputs=("y",), functions=()):
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, ["B", "L"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, ["B"]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    made = helper.make_graph(
        nodes, "voice", inputs, [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        initializer=[onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in weights],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs, [output], name=output, **attributes)


def two_noises():
    """A graph that embeds ids, repeats them as often as the first noise says, and adds the second, of that length."""
    table = np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)
    return graph(
        node("Constant", [], "axis", value=onnx.numpy_helper.from_array(np.array([0]))),
        node("Gather", ["table", "input"], "embedded"),
        node("RandomNormalLike", ["embedded"], "first"),
        node("ReduceSum", ["first"], "total", keepdims=0),
        node("Abs", ["total"], "size"),
        node("Ceil", ["size"], "up"),
        node("Cast", ["up"], "count", to=TensorProto.INT64),
        node("Unsqueeze", ["count", "axis"], "counts"),
        node("Concat", ["one", "counts", "one"], "repeats", axis=0),
        node("Tile", ["embedded", "repeats"], "repeated"),
        node("RandomNormalLike", ["repeated"], "second"),
        node("Mul", ["second", "scales_first"], "scaled"),
        node("Add", ["repeated", "scaled"], "sum"),
        node("Transpose", ["sum"], "latents", perm=[0, 2, 1]),
        node("Neg", ["latents"], "y"),
        weights=[("table", table), ("one", np.array([1])), ("scales_first", np.float32(0.5))],
    )


def test_noise_of_a_shape_that_follows_from_noise(tmp_path):
    path = tmp_path / "voice.onnx"
    onnx.save(two_noises(), path)
    stages = cut_graph(onnx.load(path), "latents")
    assert [[noise.value for noise in stage.noise] for stage in stages] == [[], ["first"], ["second"]]
    assert stages[-1].outputs == ("latents",)
    part = TextPart(path, "latents", 1)
    assert part.table_size == 6
    assert not part.takes_speaker
    ids = np.array([1, 5, 3])
    latents = part.run(ids, SCALES, None, np.random.default_rng(7))
    random = np.random.default_rng(7)
    noise = {"first": random.standard_normal((1, 3, 4), np.float32)}
    count = int(np.ceil(abs(noise["first"].sum())))
    noise["second"] = random.standard_normal((1, 3 * count, 4), np.float32)
    whole = two_noises()
    for name in noise:
        whole.graph.node.remove(next(n for n in whole.graph.node if n.name == name))
        whole.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    feeds = {"input": ids[None], "input_lengths": np.array([3]), "scales": np.zeros(3, np.float32), **noise}
    session = onnxruntime.InferenceSession(whole.SerializeToString())
    unused = {value.name for value in session.get_inputs()}
    (y,) = session.run(None, {name: value for name, value in feeds.items() if name in unused})
    np.testing.assert_array_equal(latents, -y[0])
    assert latents.shape == (4, 3 * count)


def test_no_noise_at_all(tmp_path):
    model = graph(
        node("Gather", ["table", "input"], "embedded"), node("Transpose", ["embedded"], "y", perm=[0, 2, 1]),
        weights=[("table", np.eye(3, dtype=np.float32))],
    )  # fmt: skip
    onnx.save(model, tmp_path / "voice.onnx")
    latents = TextPart(tmp_path / "voice.onnx", "y", 1).run(np.array([2, 0]), SCALES, None, np.random.default_rng(0))
    np.testing.assert_array_equal(latents, np.eye(3, dtype=np.float32)[[2, 0]].T)


def test_values_that_a_conditional_takes_from_outside_belong_to_its_stage(tmp_path):
    def branch(kind):
        return helper.make_graph(
            [node(kind, ["embedded", "noise"], f"{kind}_of")], kind,
            [], [helper.make_tensor_value_info(f"{kind}_of", TensorProto.FLOAT, None)],
        )  # fmt: skip

    model = graph(
        node("Gather", ["table", "input"], "embedded"),
        node("RandomNormalLike", ["embedded"], "noise", mean=3.0, scale=0.5),
        node("Constant", [], "yes", value=onnx.numpy_helper.from_array(np.ones((), bool))),
        node("If", ["yes"], "chosen", then_branch=branch("Add"), else_branch=branch("Sub")),
        node("Transpose", ["chosen"], "y", perm=[0, 2, 1]),
        weights=[("table", np.eye(3, dtype=np.float32))],
    )
    onnx.save(model, tmp_path / "voice.onnx")
    latents = TextPart(tmp_path / "voice.onnx", "y", 1).run(np.array([2, 0]), SCALES, None, np.random.default_rng(5))
    noise = np.random.default_rng(5).standard_normal((1, 2, 3), np.float32) * np.float32(0.5) + np.float32(3)
    np.testing.assert_array_equal(latents, (np.eye(3, dtype=np.float32)[[2, 0]] + noise[0]).T)


def test_external_data_that_are_links_are_an_error_of_our_own(tmp_path):
    path = tmp_path / "voice.onnx"
    onnx.save(two_noises(), path, save_as_external_data=True, location="data", size_threshold=0)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    (tmp_path / "data").symlink_to("elsewhere")
    with pytest.raises(ModelFileError, match=r"voice.onnx' cannot be read: .*symbolic link"):
        load_stages(path, "y")


def test_random_nodes_that_cannot_be_fed_are_refused():
    gather = node("Gather", ["table", "input"], "embedded")
    table = ("table", np.eye(3, dtype=np.float32))
    uniform = graph(gather, node("RandomUniformLike", ["embedded"], "y"), weights=[table])
    with pytest.raises(ModelFileError, match="'y' \\(RandomUniformLike\\) draws random numbers that cannot be fed"):
        cut_graph(uniform, "y")
    with pytest.raises(ModelFileError, match="no input of the file decides the value 'table'"):
        cut_graph(uniform, "table")
