"""ONNX files whose nodes and weights are broken: read, named as another network, or refused; never more memory."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import hifigan_rt
import onnx_rewriting as rewriting
from effort import examples
from golden.tiny import TINY, tiny_generator
from hifigan_rt.errors import HifiganError, ModelFileError
from hifigan_rt.families.onnx_generator import OnnxGenerator, find_generator
from hifigan_rt.families.onnx_steps import AnotherGraph
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.formats.onnx_reading import open_onnx
from hifigan_rt.model.resolve import resolve_model
from memory_limits import peak_within

FUZZ = settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def normed() -> onnx.ModelProto:
    """A file with all that the reader knows: weight norm, padding in nodes, time first, normalization."""
    model = build_onnx(tiny_generator(), TINY.mel, opset=15)
    del model.metadata_props[:]
    for rewrite in (rewriting.weight_norm, rewriting.separate_padding("reflect"), rewriting.time_major):
        rewrite(model)
    rewriting.lose_names(model)
    return model


GOOD = normed().SerializeToString()


def find(path: Path) -> OnnxGenerator:
    with open_onnx(path) as (_, nodes):
        return find_generator(nodes)


def write(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def quickly(path: Path, error: type[Exception] = AnotherGraph) -> str:
    """Refused within 64 MB beyond four times the file, and 10 s of the processor."""
    with peak_within(4 * path.stat().st_size + (64 << 20), 10), pytest.raises(error) as caught:
        find(path)
    return str(caught.value)


@FUZZ
@given(position=st.integers(0, len(GOOD) - 1), patch=st.binary(min_size=1, max_size=12), insert=st.booleans())
def test_changed_bytes(tmp_path, position, patch, insert):
    path = tmp_path / "model.onnx"
    path.write_bytes(GOOD[:position] + patch + GOOD[position if insert else position + len(patch) :])
    try:
        resolve_model(path)
    except HifiganError:
        return


@FUZZ
@given(data=st.data())
def test_nodes_that_read_what_they_should_not(tmp_path, data):
    """Any input of a node may be any value, so that graphs have loops, gaps and constants of the wrong kind."""
    model = onnx.load_from_string(GOOD)
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    for _ in range(data.draw(st.integers(1, 3))):
        node = data.draw(st.sampled_from(list(model.graph.node)))
        index = data.draw(st.integers(0, len(node.input) - 1))
        node.input[index] = data.draw(st.sampled_from(names))
    try:
        found = find(write(tmp_path, model))
    except (AnotherGraph, ModelFileError):
        return
    assert sum(array.nbytes for array in found.weights.values()) < 4 * len(GOOD)


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes"),
    [
        ("ConstantOfShape", ["huge"], {}),
        ("Expand", ["one", "huge"], {}),
        ("Gather", ["rows", "zeros"], {"axis": 0}),
        ("Mul", ["rows", "column"], {}),
    ],
)
def test_constants_that_grow(tmp_path, op_type, inputs, attributes):
    model = build_onnx(tiny_generator(), TINY.mel)
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    first.input[1] = "grown"
    arrays = {
        "huge": np.full(4, 1 << 20), "one": np.ones(1, np.float32), "rows": np.ones((1, 40_000), np.float32),
        "zeros": np.zeros(40_000, np.int64), "column": np.ones((40_000, 1), np.float32),
    }  # fmt: skip
    model.graph.initializer.extend(numpy_helper.from_array(arrays[name], name) for name in inputs)
    rewriting.insert(model.graph, [helper.make_node(op_type, inputs, ["grown"], **attributes)], 0)
    path = write(tmp_path, model)
    assert "in more memory than they take" in quickly(path, ModelFileError)
    # No runtime is given it, which would compute them as it loads.
    for engine in ("auto", "onnxruntime"):
        with pytest.raises(ModelFileError, match="in more memory than they take: no exporter writes that"):
            hifigan_rt.load(path, engine=engine)


def test_constants_upon_each_other(tmp_path):
    model = build_onnx(tiny_generator(), TINY.mel)
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    weight = first.input[1]
    nodes = [helper.make_node("Add", [f"x{i}" if i else weight] * 2, [f"x{i + 1}"]) for i in range(5000)]
    first.input[1] = "x5000"
    rewriting.insert(model.graph, nodes, 0)
    assert "are not constant" in quickly(write(tmp_path, model))
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    first.input[1] = "x60"
    found = find(write(tmp_path, model))
    assert np.array_equal(found.weights["conv_pre.weight"], tiny_generator().weights[weight] * np.float32(2.0**60))


@pytest.mark.parametrize("op_type", ["Add", "Identity", "Squeeze", "LeakyRelu", "Pad"])
def test_thousands_of_nodes_in_the_way(tmp_path, op_type):
    model = build_onnx(tiny_generator(), TINY.mel)
    source = model.graph.node[-1].input[0]
    inputs = {"Add": 2}.get(op_type, 1)
    nodes = [helper.make_node(op_type, [f"y{i}" if i else source] * inputs, [f"y{i + 1}"]) for i in range(20_000)]
    rewriting.insert(model.graph, nodes, len(model.graph.node) - 1)
    model.graph.node[-1].input[0] = "y20000"
    path = write(tmp_path, model)
    started = time.thread_time()
    with contextlib.suppress(AnotherGraph, ModelFileError):
        find(path)
    assert time.thread_time() - started < 10


def test_loops(tmp_path):
    model = build_onnx(tiny_generator(), TINY.mel)
    audio = model.graph.node[-1]
    audio.input[0] = audio.output[0]
    quickly(write(tmp_path, model))


def test_types_of_weights_that_are_no_floats(tmp_path):
    model = build_onnx(tiny_generator(), TINY.mel)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "conv_post.weight")
    tensor.data_type = TensorProto.INT32
    assert "the weights of conv_post are int64" in quickly(write(tmp_path, model))


def test_weights_that_are_not_finite(tmp_path):
    model = build_onnx(tiny_generator(), TINY.mel)
    rewriting.set_array(model, "conv_post.bias", np.array([np.nan], np.float32))
    with pytest.raises(ModelFileError, match=r"conv_post.bias holds 1 values that are NaN or infinite"):
        resolve_model(write(tmp_path, model))
