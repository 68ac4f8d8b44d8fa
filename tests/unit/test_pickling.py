"""A vocoder in another process: it computes the same bits there, or says what is missing."""

import concurrent.futures
import copy
import multiprocessing
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

import hifigan_rt
from golden.tiny import TINY, tiny_generator, tiny_mel, tiny_weights, write_tiny
from hifigan_rt import errors
from hifigan_rt.errors import EngineError, HifiganError, ModelFileError, ModelNotFound
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.model.kinds import Weights

MEL = tiny_mel(50)

LARGEST_PICKLE = 32_000
"""Bytes: layers, config and digests, and no weights."""


def travelled(vocoder: hifigan_rt.Vocoder) -> hifigan_rt.Vocoder:
    pickled = pickle.dumps(vocoder)
    assert len(pickled) < LARGEST_PICKLE
    return pickle.loads(pickled)


@pytest.fixture
def vocoder(tmp_path):
    with hifigan_rt.load(write_tiny(tmp_path), engine="native", threads=1) as loaded:
        yield loaded


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "native", "threads": 2, "segment_frames": 9, "plan": {"conv_pre": "direct"}},
        {"engine": "onnxruntime", "threads": 1},
        {"engine": "openvino", "threads": 1, "settings": {"graph": "1d"}},
        {"engine": "reference"},
    ],
    ids=lambda options: options["engine"],
)
def test_the_same_bits_with_the_same_options(tmp_path, options):
    with hifigan_rt.load(write_tiny(tmp_path), **options) as vocoder, travelled(vocoder) as other:
        np.testing.assert_array_equal(other(MEL), vocoder(MEL))
        assert (other.engine_info, other.name, other.notes) == (vocoder.engine_info, vocoder.name, vocoder.notes)
        assert (other.mel_config, other.graph, other.path) == (vocoder.mel_config, vocoder.graph, vocoder.path)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_onnx_file_with_external_data(tmp_path, engine):
    path = tmp_path / "tiny.onnx"
    model = build_onnx(tiny_generator(), TINY.mel)
    onnx.save(model, path, save_as_external_data=True, location="tiny.weights", size_threshold=100)
    with hifigan_rt.load(path, engine=engine) as vocoder:
        pickled = pickle.dumps(vocoder)
        with pickle.loads(pickled) as other:
            np.testing.assert_array_equal(other(MEL), vocoder(MEL))
        weights = bytearray((tmp_path / "tiny.weights").read_bytes())
        weights[2] ^= 1
        (tmp_path / "tiny.weights").write_bytes(weights)
        with pytest.raises(ModelFileError, match=r"does not hold what the vocoder was made of: the file has changed"):
            pickle.loads(pickled)
        for send in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(ModelFileError, match=r"tiny.weights' has changed since it was loaded: load it again"):
                send(vocoder)
        (tmp_path / "tiny.weights").unlink()
        with pytest.raises(ModelNotFound, match=r"tiny.weights' is not there any more"):
            pickle.dumps(vocoder)


def test_an_openvino_ir_is_its_two_files(tmp_path):
    import openvino

    openvino.save_model(openvino.convert_model(build_file(tmp_path)), tmp_path / "ir.xml", compress_to_fp16=False)
    with hifigan_rt.load(tmp_path / "ir.xml") as vocoder:
        pickled = pickle.dumps(vocoder)
        with pickle.loads(pickled) as other:
            np.testing.assert_array_equal(other(MEL), vocoder(MEL))
    weights = (tmp_path / "ir.bin").read_bytes()
    (tmp_path / "ir.bin").write_bytes(weights[:-1] + b"\1")
    with pytest.raises(ModelFileError, match="has changed"):
        pickle.loads(pickled)


def build_file(folder: Path) -> Path:
    (folder / "tiny.onnx").write_bytes(build_onnx(tiny_generator(), TINY.mel).SerializeToString())
    return folder / "tiny.onnx"


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_of_multiprocessing(vocoder, method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(vocoder, (MEL,)), vocoder(MEL))


def test_processes_of_concurrent_futures_and_errors_that_come_back(vocoder):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        for audio in pool.map(vocoder, [MEL, MEL]):
            np.testing.assert_array_equal(audio, vocoder(MEL))
        with pytest.raises(errors.MelError, match="bands"):
            pool.submit(vocoder, MEL[:3]).result()


@pytest.mark.torch
def test_workers_of_a_torch_data_loader(vocoder):
    from torch.utils.data import DataLoader

    mels = [tiny_mel(frames) for frames in (20, 31, 42)]
    loader = DataLoader(mels, 2, num_workers=1, multiprocessing_context="spawn", collate_fn=vocoder)
    audios = [audio for batch in loader for audio in batch]
    for audio, mel in zip(audios, mels, strict=True):
        np.testing.assert_array_equal(audio, vocoder(mel))


def test_relative_paths_mean_what_they_meant_when_the_model_was_loaded(tmp_path, monkeypatch):
    write_tiny(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    with hifigan_rt.load("there/generator.safetensors", engine="native", config="there/config.json") as vocoder:
        monkeypatch.chdir("/")
        with travelled(vocoder) as other:
            assert (other.name, other.path) == (vocoder.name, tmp_path / "there" / "generator.safetensors")
            np.testing.assert_array_equal(other(MEL), vocoder(MEL))


def test_config_and_plan_are_those_that_were_read(tmp_path):
    path, plan = write_tiny(tmp_path), tmp_path / "plan.json"
    plan.write_text('{"conv_pre": "direct"}')
    for arguments in ({"plan": plan}, {"settings": {"plan": str(plan)}}):
        plan.write_text('{"conv_pre": "direct"}')
        with hifigan_rt.load(path, engine="native", **arguments) as vocoder:
            plan.write_text("no plan any more")
            (tmp_path / "config.json").unlink(missing_ok=True)
            with travelled(vocoder) as other:
                assert "plan" in other.engine_info.variant
                assert (other.engine_info, other.mel_config) == (vocoder.engine_info, vocoder.mel_config)
        write_tiny(tmp_path)


def test_the_generator_that_was_named_of_several(tmp_path):
    named = {
        f"{name}.{key}": array
        for seed, name in enumerate(("raw", "ema"))
        for key, array in tiny_weights(seed=seed).items()
    }
    save_file(named, tmp_path / "both.safetensors")
    config = write_tiny(tmp_path / "tiny").with_name("config.json")
    path = tmp_path / "both.safetensors"
    with (
        hifigan_rt.load(path, config=config, engine="native", weights_at="ema") as vocoder,
        travelled(vocoder) as other,
    ):
        np.testing.assert_array_equal(other(MEL), vocoder(MEL))


def test_a_file_that_changed_or_vanished(vocoder):
    pickled, path = pickle.dumps(vocoder), vocoder.path
    write_tiny(path.parent, seed=1)
    for arrives in (lambda: pickle.loads(pickled), lambda: travelled(vocoder)):
        with pytest.raises(ModelFileError, match=r"generator.safetensors' does not hold what the vocoder was made of"):
            arrives()
    np.testing.assert_array_equal(copy.deepcopy(vocoder)(MEL), vocoder(MEL))  # from the weights in memory
    path.unlink()
    for arrives in (lambda: pickle.loads(pickled), lambda: pickle.dumps(hifigan_rt.load(vocoder.model))):
        with pytest.raises(ModelNotFound, match=r"its file '.*generator.safetensors' is not there; .*holds no weights"):
            arrives()


def test_the_same_weights_under_another_time_are_the_same_model(vocoder):
    os.utime(vocoder.path, (1, 1))
    np.testing.assert_array_equal(travelled(vocoder)(MEL), vocoder(MEL))


def test_weights_that_are_in_no_file(vocoder):
    other = tiny_generator(seed=1)
    for path, error in ((Path("nowhere"), ModelNotFound), (vocoder.path, ModelFileError)):
        model = Weights("mine", path, "memory", other, TINY.mel)
        with (
            hifigan_rt.load(model, engine="native") as mine,
            pytest.raises(error, match=r"pickle vocoder\.model, which has them, and load that"),
        ):
            travelled(mine)
        with (
            hifigan_rt.load(model, engine="native") as mine,
            copy.copy(mine) as second,
            hifigan_rt.load(pickle.loads(pickle.dumps(mine.model)), engine="native") as third,
        ):
            np.testing.assert_array_equal(second(MEL), mine(MEL))
            np.testing.assert_array_equal(third(MEL), mine(MEL))


@pytest.mark.pretrained
def test_a_known_model_is_found_by_its_name():
    with hifigan_rt.load("ljspeech-v1", engine="native") as vocoder:
        reference = vocoder.__reduce__()[1][0]
        elsewhere = replace(reference, model=replace(reference.model, path=Path("/of/another/environment")))
        assert len(pickle.dumps(vocoder)) < LARGEST_PICKLE
        assert elsewhere.read().path == vocoder.path


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_are_of_their_own(vocoder, copied):
    expected = vocoder(MEL)
    with copied(vocoder) as other:
        assert (other.engine_info, other.notes) == (vocoder.engine_info, vocoder.notes)
        vocoder.close()
        np.testing.assert_array_equal(other(MEL), expected)
    for send in (copied, pickle.dumps):
        with pytest.raises(EngineError, match="closed: load the model again"):
            send(vocoder)


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
def test_streams_and_engines_do_not_travel(vocoder, send):
    with vocoder.stream() as stream, pytest.raises(TypeError, match="a stream can be neither pickled nor copied"):
        send(stream)
    with pytest.raises(TypeError, match="engine 'native' can be neither pickled nor copied"):
        send(vocoder.engine)


def test_configs_plans_and_facts_are_data(vocoder):
    for value in (
        TINY,
        vocoder.graph,
        vocoder.mel_config,
        vocoder.engine_info,
        vocoder.engine.plan(),
        vocoder.model.sha256,
    ):
        assert pickle.loads(pickle.dumps(value)) == value


def every_error(base: type[Exception] = HifiganError) -> list[type[Exception]]:
    return [base, *(found for derived in base.__subclasses__() for found in every_error(derived))]


@pytest.mark.parametrize("kind", [kind for kind in every_error() if kind.__module__ == errors.__name__])
def test_errors_come_back_from_another_process_as_they_are(kind):
    arguments = {
        errors.WeightMismatch: (["a"], ["b"], {"c": ((1,), (2,))}, "hint"),
        errors.ToolFailed: ("text", ["E1"], "output"),
        errors.StreamsFailed: ([None, errors.EngineError("text")],),
    }.get(kind, ("text",))
    error = kind(*arguments)
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), repr(vars(other))) == (kind, str(error), repr(vars(error)))
