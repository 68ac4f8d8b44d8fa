"""What a network can have beyond the original's: each engine against the reference, and that against PyTorch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tolerances
from golden.features import FEATURES, feature_conditioning, feature_generator
from golden.seeded import seeded_mel
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.conditioning import ConditioningRule
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import EngineError, ExportError, MelError
from hifigan_rt.export.onnx import export_onnx
from hifigan_rt.export.openvino import OpenVinoSettings, export_openvino
from hifigan_rt.formats.safetensors_writing import write_safetensors
from hifigan_rt.graph import build_graph
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.kinds import OnnxWeights, Weights
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.tools.ascend.om_export import plan_om
from hifigan_rt.tools.ascend.om_settings import OmSettings

GENERATORS = {name: feature_generator(config) for name, config in FEATURES.items()}
OM_SETTINGS = OmSettings(soc="Ascend310P3")
ENGINES = ["reference", "native", "onnxruntime", "openvino", pytest.param("torch", marks=pytest.mark.torch)]


def some_mels(generator, batch, frames, seed=1):
    return CheckedMel(seeded_mel(batch, generator.graph.num_mels, frames, seed).astype(np.float32))


def truth(generator, mels, conditioning):
    vectors = ConditioningRule.of_generator(generator).check(conditioning, len(mels))
    given = [None] * len(mels) if vectors is None else vectors
    return np.stack([generate(generator, mel, vector) for mel, vector in zip(mels, given, strict=True)])


def agrees(expected, audio):
    assert audio.shape == expected.shape
    assert all(
        snr_db(one, other) >= tolerances.FLOAT32_ENGINE_SNR_DB for one, other in zip(expected, audio, strict=True)
    )


@pytest.mark.torch
@pytest.mark.parametrize("name", FEATURES)
def test_the_reference_is_what_pytorch_computes(name):
    from feature_network import compute

    generator = GENERATORS[name]
    for frames in (generator.graph.least_frames, 13):
        mels = some_mels(generator, 2, frames)
        given = feature_conditioning(generator, 2)
        expected = compute(generator, mels, ConditioningRule.of_generator(generator).check(given, 2))
        result = truth(generator, mels, given)
        assert result.shape == expected.shape == (2, generator.graph.output_length(frames))
        assert 0.005 < np.sqrt(np.mean(expected**2)) < 0.7  # neither silent nor saturated: errors show
        assert np.abs(result - expected).max() <= tolerances.REFERENCE_MAX_ABS


@pytest.mark.parametrize("name", FEATURES)
def test_the_reach_is_where_nan_spreads(name):
    generator = GENERATORS[name]
    graph, hop = generator.graph, generator.graph.hop_length
    field = graph.receptive_field
    frames = field.left_frames + field.right_frames + 9
    hit = field.right_frames + 4
    mels = np.zeros((1, graph.num_mels, frames))
    mels[0, :, hit] = np.nan
    spread = np.flatnonzero(np.isnan(truth(generator, mels, feature_conditioning(generator, 1))[0]))
    assert (spread[0] - hit * hop, spread[-1] - hit * hop) == (field.first_sample, field.last_sample)


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("name", FEATURES)
def test_batches_lists_and_streams(name, engine_name):
    generator = GENERATORS[name]
    engine = create_engine(engine_name, Weights(name, Path(name), "test", generator), EngineOptions(threads=1))
    mels, given = some_mels(generator, 2, 30), feature_conditioning(generator, 2)
    expected = truth(generator, mels, given)
    agrees(expected, engine.run(mels, given))
    parts = [CheckedMel(np.ascontiguousarray(mels[0])), CheckedMel(np.ascontiguousarray(mels[1, :, :9]))]
    for index, audio in enumerate(engine.run_many(parts, given)):
        item = given if given is None else given[index : index + 1]
        agrees(truth(generator, parts[index][None], item), audio[None])
    stream = engine.stream(5, generator.graph, None if given is None else given[1])
    pushed = [stream.push(CheckedMel(mels[1][:, start : start + 4])) for start in range(0, 30, 4)]
    agrees(expected[1:], np.concatenate([*pushed, stream.finish()])[None])
    engine.close()


@pytest.mark.parametrize("name", ["conditioned", "speakers"])
def test_several_requests_of_openvino_at_once(name):
    generator = GENERATORS[name]
    options = EngineOptions(threads=2, settings={"hint": "throughput"})
    engine = create_engine("openvino", Weights(name, Path(name), "test", generator), options)
    mels, given = some_mels(generator, 3, 9), feature_conditioning(generator, 3)
    agrees(truth(generator, mels, given), np.stack(engine.run_many([CheckedMel(mel) for mel in mels], given)))


@pytest.mark.parametrize(("rank", "opset"), [(3, 17), (4, 11)])
@pytest.mark.parametrize("name", FEATURES)
def test_onnx_files(name, rank, opset, tmp_path):
    generator = GENERATORS[name]
    path = tmp_path / f"{name}.onnx"
    speakers = {"Ann": 2} if generator.graph.config.num_speakers else {}
    export_onnx(generator, None, path, rank=rank, opset=opset, speakers=speakers, verify=opset == 11)
    check_file(generator, path, "onnxruntime", speakers)
    if (rank, name) == (3, "speakers"):
        check_file(generator, path, "openvino", speakers)


@pytest.mark.parametrize("name", ["causal", "conditioned", "speakers"])
def test_openvino_files(name, tmp_path):
    generator = GENERATORS[name]
    path = tmp_path / "model.xml"
    speakers = {"Ann": 2} if generator.graph.config.num_speakers else {}
    export_openvino(generator, None, path, speakers=speakers, verify=False)
    check_file(generator, path, "openvino", speakers)


def test_an_openvino_file_of_fixed_shapes(tmp_path):
    generator = GENERATORS["conditioned"]
    export_openvino(generator, None, tmp_path / "model.xml", OpenVinoSettings(batch=2, frames=12))
    mels, given = some_mels(generator, 4, 12), feature_conditioning(generator, 4)
    engine = create_engine("openvino", resolve_model(tmp_path / "model.xml"), EngineOptions(threads=1))
    agrees(truth(generator, mels, given), engine.run(mels, given))
    with pytest.raises(ExportError, match="frames=3: this generator mirrors its input, which needs at least 4"):
        export_openvino(generator, None, tmp_path / "short.xml", OpenVinoSettings(frames=3))


def check_file(generator, path, engine_name, speakers):
    model = resolve_model(path)
    file = model.file if isinstance(model, OnnxWeights) else model
    assert file.config.generator == model.graph.config == generator.graph.config
    assert (model.speakers, model.num_mels, file.is_foreign) == (speakers, generator.graph.num_mels, False)
    mels, given = some_mels(generator, 2, 21), feature_conditioning(generator, 2)
    expected = truth(generator, mels, given)
    engine = create_engine(engine_name, model, EngineOptions(threads=1))
    for _ in range(4):  # OpenVINO compiles a shape for itself when it came three times
        agrees(expected, engine.run(mels, given))
    stream = engine.stream(7, generator.graph, None if given is None else given[0])
    pushed = [stream.push(CheckedMel(mels[0][:, start : start + 7])) for start in range(0, 21, 7)]
    agrees(expected[:1], np.concatenate([*pushed, stream.finish()])[None])
    engine.close()


@pytest.mark.parametrize("name", FEATURES)
def test_safetensors_come_back_bit_for_bit(name, tmp_path):
    generator = GENERATORS[name]
    speakers = {"Ann": 0, "Bo": 2} if generator.graph.config.num_speakers else {}
    write_safetensors(generator, None, tmp_path / "model.safetensors", "a test", speakers)
    model = resolve_model(tmp_path / "model.safetensors")
    assert isinstance(model, Weights)
    assert (model.graph, model.speakers) == (generator.graph, speakers)
    assert list(model.generator.weights) == list(generator.weights)
    for key, array in generator.weights.items():
        assert model.generator.weights[key].tobytes() == array.tobytes(), key


def test_inputs_and_tensors_of_an_exported_file_keep_their_names():
    onnx = pytest.importorskip("onnx")
    from hifigan_rt.formats.onnx_graph import build_onnx

    named = {}
    for name, generator in GENERATORS.items():
        graph = build_onnx(generator, None).graph
        named[name] = [value.name for value in graph.input]
        stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for key, array in generator.weights.items():
            np.testing.assert_array_equal(stored[key].ravel(), array.ravel())
    assert named["reflect"] == named["normalized"] == ["mel_spec"]
    assert named["conditioned"] == ["mel_spec", "conditioning"]
    assert named["speakers"] == ["latent", "speaker"]
    graph = build_onnx(GENERATORS["speakers"], None, has_table=False).graph
    assert [value.name for value in graph.input] == ["latent", "conditioning"]
    assert "emb_g.weight" not in {tensor.name for tensor in graph.initializer}


@pytest.mark.parametrize("engine_name", ENGINES)
def test_what_does_not_fit_beside_the_mel_is_refused(engine_name):
    def load(name):
        model = Weights(name, Path(name), "test", GENERATORS[name])
        return create_engine(engine_name, model, EngineOptions(threads=1)), some_mels(GENERATORS[name], 2, 4)

    engine, mels = load("speakers")
    takes = (
        r"is given beside the mel, and this model takes integers \[{0}\] or float32 \[{0}, 4\]: Vocoder.speaker_choice"
    )
    for given, shown in (
        (None, "nothing"),
        (np.array([0]), r"int64 \[1\]"),
        (np.zeros((2, 5), np.float32), r"float32 \[2, 5\]"),
    ):
        with pytest.raises(EngineError, match=f"{shown} {takes.format(2)}"):
            engine.run(mels, given)
    for row in (3, -1):
        with pytest.raises(EngineError, match=f"speaker {row}: rows are from 0 to 2"):
            engine.run(mels, np.array([0, row]))
    table = GENERATORS["speakers"].speaker_table
    np.testing.assert_array_equal(engine.run(mels, table[[2, 1]]), engine.run(mels, np.array([2, 1])))
    with pytest.raises(EngineError, match=f"nothing {takes.format(1)}"):
        engine.stream(4, GENERATORS["speakers"].graph)
    engine, mels = load("conditioned")
    with pytest.raises(EngineError, match=r"int64 \[2\] is given .* takes float32 \[2, 4\]:"):
        engine.run(mels, np.array([0, 1]))
    engine, mels = load("causal")
    with pytest.raises(EngineError, match=r"int64 \[2\] is given .* takes nothing:"):
        engine.run(mels, np.array([0, 1]))


def test_an_om_carries_some_of_it_and_names_the_rest():
    plan_om(GENERATORS["rows kept"].graph, "g", OM_SETTINGS)
    (job,) = plan_om(build_graph(replace(FEATURES["normalized"], input_kind="latent")), "g", OM_SETTINGS).jobs
    assert (job.input_name, job.num_mels) == ("latent", 7)
    for name, named in (
        ("reflect", "padding_mode='reflect'"),
        ("causal", "causal layers"),
        ("conditioned", "padding_mode='reflect' and conditioning of conv_pre, ups.1"),
    ):
        with pytest.raises(ExportError, match=rf"'g' has {named}, which an \.om does not carry here: export onnx"):
            plan_om(GENERATORS[name].graph, "g", OM_SETTINGS)


@pytest.mark.parametrize("engine_name", ENGINES)
def test_a_mel_shorter_than_what_is_mirrored(engine_name):
    generator = GENERATORS["reflect"]
    engine = create_engine(engine_name, Weights("r", Path("r"), "test", generator), EngineOptions())
    for call in (engine.run, engine.run_many):
        with pytest.raises(MelError, match=r"mel has T=3 frames: .* needs at least 4"):
            call(some_mels(generator, 1, 3))
    stream = engine.stream(1, generator.graph)
    stream.push(CheckedMel(some_mels(generator, 1, 3)[0]))
    assert stream.pending_samples == 0
    with pytest.raises(MelError, match="needs at least 4"):
        stream.finish()
