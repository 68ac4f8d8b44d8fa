"""Speakers, vectors and other second inputs of generators in ONNX files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import hifigan_rt
import onnx_rewriting as rewriting
from golden.tiny import TINY, tiny_mel
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import EngineError
from hifigan_rt.families.onnx_steps import AnotherGraph
from hifigan_rt.graph import bind, build_graph
from hifigan_rt.model.kinds import OnnxFile
from hifigan_rt.model.resolve import resolve_model
from onnx_exports import audio_of, audio_of_file, export, read, saved


def with_speakers(*, table: bool) -> onnx.ModelProto:
    """An export whose first layer gets a vector beside the mel, of a table or as an input."""
    model = export(opset=15)
    del model.metadata_props[:]
    rng = np.random.default_rng(5)
    rows = {"table": rng.normal(size=(4, 6)), "cond.w": rng.normal(size=(8, 6, 1)), "cond.b": rng.normal(size=8)}
    model.graph.initializer.extend(
        numpy_helper.from_array(array.astype(np.float32), name) for name, array in rows.items()
    )
    axes = numpy_helper.from_array(np.array([2]), "vector.axes")
    model.graph.initializer.append(axes)
    kind = TensorProto.INT64 if table else TensorProto.FLOAT
    model.graph.input.append(helper.make_tensor_value_info("sid", kind, [1] if table else [1, 6]))
    nodes = [
        helper.make_node("Gather", ["table", "sid"], ["vector"], axis=0) if table else
        helper.make_node("Identity", ["sid"], ["vector"]),
        helper.make_node("Unsqueeze", ["vector", "vector.axes"], ["vector.rows"]),
        helper.make_node("Conv", ["vector.rows", "cond.w", "cond.b"], ["cond"]),
        helper.make_node("Add", ["conv_pre", "cond"], ["conditioned"]),
    ]  # fmt: skip
    for node in model.graph.node:
        node.input[:] = ["conditioned" if name == "conv_pre" else name for name in node.input]
    rewriting.insert(model.graph, nodes, 1)
    return model


def test_conditioning_by_a_table_of_speakers(tmp_path):
    model = with_speakers(table=True)
    found = read(model, tmp_path)
    assert found.config == replace(
        TINY.generator, conditioning_channels=6, conditioned_layers=("conv_pre",), num_speakers=4
    )
    generator = bind(build_graph(found.config), found.weights)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    mel = tiny_mel(20)
    for speaker in (0, 3):
        theirs = session.run(None, {"mel_spec": mel[None], "sid": np.array([speaker])})[0][0]
        ours = generate(generator, mel, found.weights["emb_g.weight"][speaker])
        assert np.abs(ours - theirs).max() < 1e-6


def test_conditioning_by_a_vector(tmp_path):
    found = read(with_speakers(table=False), tmp_path)
    assert (found.config.conditioning_channels, found.config.num_speakers) == (6, 0)


def put_before(model: onnx.ModelProto, value: str, op_type: str, *others: np.ndarray) -> None:
    """Let one more node, named "odd", stand between a value and all that read it."""
    others_at = [f"{value}.odd.{i}" for i in range(len(others))]
    model.graph.initializer.extend(map(numpy_helper.from_array, others, others_at))
    for node in model.graph.node:
        node.input[:] = [f"{value}.odd" if name == value else name for name in node.input]
    made = [i for i, node in enumerate(model.graph.node) if value in node.output]
    node = helper.make_node(op_type, [value, *others_at], [f"{value}.odd"], name="odd")
    rewriting.insert(model.graph, [node], made[0] + 1 if made else 0)


@pytest.mark.parametrize(
    ("table", "value", "op_type", "others", "text"),
    [
        (False, "sid", "Mul", [np.float32(2)], "node 'odd' (Mul) changes its conditioning vector"),
        (False, "vector", "Add", [np.float32(1)], "node 'odd' (Add) changes its conditioning vector"),
        (False, "vector.rows", "LpNormalization", [], "node 'odd' (LpNormalization) changes its conditioning vector"),
        (True, "vector", "Mul", [np.float32(2)], "node 'odd' (Mul) changes its conditioning vector"),
        (True, "vector.rows", "Neg", [], "node 'odd' (Neg) changes its conditioning vector"),
        (True, "sid", "Add", [np.int64(1)], "node 'odd' (Add) changes the number of the speaker"),
    ],
)  # fmt: skip
def test_steps_on_the_conditioning_are_named(tmp_path, table, value, op_type, others, text):
    model = with_speakers(table=table)
    put_before(model, value, op_type, *map(np.asarray, others))
    resolved = resolve_model(saved(model, tmp_path))
    assert type(resolved) is OnnxFile
    assert text in resolved.unread
    for engine in ("auto", "onnxruntime"):
        with pytest.raises(EngineError, match="has 2 inputs"):
            hifigan_rt.load(resolved, engine=engine)


def test_a_vector_that_changes_in_time_is_named(tmp_path):
    model = with_speakers(table=False)
    model.graph.input[1].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, [1, 6, None]))
    model.graph.node.remove(next(node for node in model.graph.node if node.op_type == "Unsqueeze"))
    next(node for node in model.graph.node if "cond.w" in node.input).input[0] = "vector"
    with pytest.raises(AnotherGraph, match=r"sid float32 \[1, 6, \?\] conditions it, and is no vector of 6 values"):
        read(model, tmp_path)


def test_steps_on_a_table_of_constants_are_computed(tmp_path):
    model = with_speakers(table=True)
    put_before(model, "table", "Mul", np.float32(2))
    put_before(model, "vector", "Reshape", np.array([1, 6]))
    found = read(model, tmp_path)
    assert np.array_equal(found.weights["emb_g.weight"], 2 * rewriting.arrays(model)["table"])


def test_a_constant_vector_becomes_part_of_the_bias(tmp_path):
    model = with_speakers(table=False)
    del model.graph.input[1]
    vector = np.linspace(-1, 1, 6, dtype=np.float32)[None]
    model.graph.initializer.append(numpy_helper.from_array(vector, "sid"))
    found = read(model, tmp_path)
    assert found.config == TINY.generator
    assert np.abs(audio_of(found, tiny_mel(20)) - audio_of_file(model, tiny_mel(20))).max() < 1e-6


def test_a_conditioned_file_is_run_by_its_weights_or_not_at_all(tmp_path):
    path = saved(with_speakers(table=True), tmp_path)
    with hifigan_rt.load(path) as vocoder:
        assert vocoder.engine_info.name == "native"
        assert vocoder(tiny_mel(5), speaker=1).shape == (40,)
        assert vocoder.model.notes[0].endswith("rates 4, 2: engine native runs its weights")
    with pytest.raises(EngineError, match="has 2 inputs"):
        hifigan_rt.load(path, engine="onnxruntime")


@pytest.mark.parametrize(
    ("op_type", "dtype", "shape"),
    [
        ("Mul", TensorProto.FLOAT, [1]),
        ("Add", TensorProto.FLOAT, [1, 10, None]),
        ("Mul", TensorProto.FLOAT, [1, 1, None]),
        ("Expand", TensorProto.INT64, [3]),
    ],
)
def test_a_second_input_that_changes_the_mel_is_named(tmp_path, op_type, dtype, shape):
    model = export(opset=15)
    del model.metadata_props[:]
    put_before(model, "mel_spec", op_type)
    model.graph.node[0].input.append("second")
    model.graph.input.append(helper.make_tensor_value_info("second", dtype, shape))
    resolved = resolve_model(saved(model, tmp_path))
    assert type(resolved) is OnnxFile
    assert f"node 'odd' ({op_type}) stands between its input and the first convolution" in resolved.unread
    for engine in ("auto", "onnxruntime"):
        with pytest.raises(EngineError, match="has 2 inputs"):
            hifigan_rt.load(resolved, engine=engine)


def test_a_decoder_of_text_is_read(tmp_path):
    """Embedded ids of text, as in a voice: what computes the mel is not run."""
    model = export(opset=15)
    del model.metadata_props[:]
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("ids", TensorProto.INT64, [1, None]))
    letters = np.random.default_rng(6).normal(size=(9, 10)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(letters, "letters"))
    nodes = [
        helper.make_node("Gather", ["letters", "ids"], ["text"]),
        helper.make_node("Transpose", ["text"], ["mel_spec"], perm=[0, 2, 1]),
    ]
    rewriting.insert(model.graph, nodes, 0)
    found = read(model, tmp_path)
    assert found.is_part
    assert found.config == replace(TINY.generator, input_kind="latent")
