"""HiFi-GAN generators in ONNX files: found by their convolutions, read bit for bit, or named as another network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import hifigan_rt
import onnx_rewriting as rewriting
from golden.features import FEATURES, feature_generator
from golden.tiny import TINY, tiny_generator, tiny_mel
from hifigan_rt.config import GeneratorConfig, ModelConfig
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import ConfigError, EngineError
from hifigan_rt.families.onnx_generator import OnnxGenerator, find_generator
from hifigan_rt.families.onnx_steps import AnotherGraph
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.formats.onnx_reading import open_onnx
from hifigan_rt.graph import bind, build_graph
from hifigan_rt.model.kinds import OnnxFile, OnnxWeights, Weights
from hifigan_rt.model.resolve import resolve_model

OTHERS = {
    "one convolution": GeneratorConfig(8, (4, 2), (8, 4), "2", (3, 5), ((1, 3), (1, 2)), num_mels=10),
    "one block": GeneratorConfig(8, (2,), (4,), "1", (3,), ((1,),), num_mels=5),
    "odd kernel - rate": GeneratorConfig(8, (2, 3), (5, 6), "2", (3,), ((1,),), num_mels=5),
    "kernel = rate": GeneratorConfig(16, (2, 2, 2), (2, 4, 2), "1", (3, 7), ((1, 3, 5), (1, 3, 5)), num_mels=5),
}


def export(**options) -> onnx.ModelProto:
    return build_onnx(tiny_generator(), TINY.mel, **options)


def read(model: onnx.ModelProto, folder: Path) -> OnnxGenerator:
    path = folder / "model.onnx"
    onnx.save(model, path)
    with open_onnx(path) as (_, nodes):
        return find_generator(nodes)


def audio_of(found: OnnxGenerator, mel: np.ndarray) -> np.ndarray:
    return generate(bind(build_graph(found.config), found.weights), mel)


def audio_of_file(model: onnx.ModelProto, mel: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    name = session.get_inputs()[0].name
    return session.run(None, {name: mel[None]})[0].reshape(-1)


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
    end.input[2] = "conv_pre.end"
    with pytest.raises(AnotherGraph):
        read(model, tmp_path)


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


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


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


def put_after_audio(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "inner"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(32767), "full"))
    model.graph.node.append(helper.make_node("Mul", ["inner", "full"], ["wavs"], name="odd"))


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
        (put_after_audio, "node 'odd' (Mul) stands where the last convolution should be"),
        (second_output, "it has 2 outputs"),
        (change_attribute("LeakyRelu", 2, "alpha", 0.3), "slope of the activation before it"),
        (change_attribute("Conv", 2, "group", 2), "in groups of channels"),
        (change_attribute("Conv", 2, "auto_pad", "SAME_UPPER"), "pads by itself"),
        (change_attribute("Conv", 2, "pads", [0, 4]), "padding"),
        (change_attribute("ConvTranspose", 0, "dilations", [2]), "dilation 2"),
        (change_array("stages.0.num_kernels", lambda array: array * 2), "is divided by 4"),
        (change_array("conv_post.weight", lambda array: np.repeat(array, 2, 0)), "weights of shape (2, 2, 7)"),
        (change_array("resblocks.1.convs2.0.weight", lambda array: array[:, :, :3]), "weights of shape (4, 4, 3)"),
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
