"""The ONNX Runtime engine: foreign files of every layout, providers, threads, and what it refuses."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import tolerances
from engines.onnx_files import batch_of_mels, cast, foreign, squeeze, transpose, unsqueeze, write
from golden.tiny import TINY, tiny_generator
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.onnxruntime import CPU_PROVIDER, create
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import CheckpointError, EngineError, EngineUnavailable, PrecisionUnavailable
from hifigan_rt.export.onnx import build_onnx
from hifigan_rt.machine import usable_cores
from hifigan_rt.model import Model, resolve_model
from hifigan_rt.signal_metrics import snr_db


def open_file(path: Path, options: EngineOptions = EngineOptions()):  # noqa: B008 - frozen
    return create(Model(path.name, path, "onnx", None, path, None), options)


def open_model(model: onnx.ModelProto, folder: Path, options: EngineOptions = EngineOptions()):  # noqa: B008
    return open_file(write(model, folder / "foreign.onnx"), options)


def own_model() -> Model:
    return Model("tiny", Path("tiny.safetensors"), "test", tiny_generator(), None, TINY.mel)


def truth(mels: np.ndarray) -> np.ndarray:
    return np.stack([generate(tiny_generator(), mel) for mel in mels])


LAYOUTS = {
    "other names": (["b", 10, "t"], [], [], ["b", "n"]),
    "all dynamic": (["b", "m", "t"], [], [], ["b", "n"]),
    "nothing declared but the rank": ([None, None, None], [], [], [None, None]),
    "time-major": (["b", "t", 10], [transpose(0, 2, 1)], [], ["b", "n"]),
    "time-major, fixed batch": ([1, "t", 10], [transpose(0, 2, 1)], [], [1, "n"]),
    "2-D [B, M, 1, T]": (["b", 10, 1, "t"], [squeeze(2)], [], ["b", "n"]),
    "2-D [B, 1, M, T]": (["b", 1, 10, "t"], [squeeze(1)], [], ["b", "n"]),
    "2-D [B, 1, T, M]": (["b", 1, "t", 10], [squeeze(1), transpose(0, 2, 1)], [], ["b", "n"]),
    "no batch [M, T]": ([10, "t"], [unsqueeze(0)], [squeeze(0)], ["n"]),
    "no batch [T, M], output [N, 1]": (["t", 10], [transpose(1, 0), unsqueeze(0)], [transpose(1, 0)], ["n", 1]),
    "fixed batch of 1": ([1, 10, "t"], [], [], [1, "n"]),
    "output of rank 1": ([1, 10, "t"], [], [squeeze(0)], ["n"]),
    "output of rank 1, dynamic batch": (["b", 10, "t"], [], [("Flatten", {"axis": 0}), squeeze(0)], ["n"]),
    "output of rank 3": (["b", 10, "t"], [], [unsqueeze(1)], ["b", 1, "n"]),
    "output of rank 3, channel last": (["b", 10, "t"], [], [unsqueeze(2)], ["b", "n", 1]),
    "output of rank 4": (["b", 10, "t"], [], [unsqueeze(1, 2)], ["b", 1, 1, "n"]),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_foreign_layouts(tmp_path, name):
    mel_shape, before, after, audio_shape = LAYOUTS[name]
    engine = open_model(foreign(mel_shape, before, after, audio_shape), tmp_path)
    for batch, frames in ((1, 1), (1, 10), (3, 7), (2, 1)):
        mels = batch_of_mels(batch, frames)
        audio = engine.run(mels)
        assert (audio.shape, audio.dtype) == ((batch, 8 * frames), np.float32)
        assert snr_db(truth(mels), audio) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_a_fixed_length_is_named_and_not_padded(tmp_path):
    engine = open_model(foreign([1, 10, 25], [], [], [1, 200]), tmp_path)
    assert engine.run(batch_of_mels(2, 25)).shape == (2, 200)
    with pytest.raises(EngineError, match="exported for mels of exactly 25 frames, this one has 24: export the model"):
        engine.run(batch_of_mels(1, 24))


def test_a_fixed_batch_runs_in_groups_and_is_not_padded(tmp_path):
    engine = open_model(foreign([2, 10, "t"], [], [], [2, "n"]), tmp_path)
    mels = batch_of_mels(4, 6)
    assert snr_db(truth(mels), engine.run(mels)) >= tolerances.FLOAT32_ENGINE_SNR_DB
    with pytest.raises(EngineError, match="batches of exactly 2 mels, this one has 3"):
        engine.run(batch_of_mels(3, 6))


def test_mels_of_other_bands_are_refused(tmp_path):
    engine = open_model(foreign(["b", 10, "t"], [], [], ["b", "n"]), tmp_path)
    with pytest.raises(EngineError, match="takes mels of 10 bands, this one has 80"):
        engine.run(np.zeros((1, 80, 5), np.float32))


def test_float16_and_float64_ends(tmp_path):
    mels = batch_of_mels(2, 9)
    double = foreign(["b", 10, "t"], [cast(TensorProto.FLOAT)], [cast(TensorProto.DOUBLE)], ["b", "n"],
                     mel_type=TensorProto.DOUBLE, audio_type=TensorProto.DOUBLE)  # fmt: skip
    audio = open_model(double, tmp_path).run(mels)
    assert audio.dtype == np.float32
    assert snr_db(truth(mels), audio) >= tolerances.FLOAT32_ENGINE_SNR_DB
    half = foreign(["b", 10, "t"], [cast(TensorProto.FLOAT)], [cast(TensorProto.FLOAT16)], ["b", "n"],
                   mel_type=TensorProto.FLOAT16, audio_type=TensorProto.FLOAT16)  # fmt: skip
    audio = open_model(half, tmp_path).run(mels)
    assert audio.dtype == np.float32
    exact = truth(mels.astype(np.float16).astype(np.float32)).astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(audio, exact, rtol=0, atol=tolerances.FLOAT16_OUTPUT_MAX_ABS)


def test_the_precision_of_the_weights_is_shown(tmp_path):
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.name.endswith(("weight", "bias")):
            halved = numpy_helper.from_array(array.astype(np.float16), f"{tensor.name}.half")
            tensor.CopyFrom(halved)
    casts = [helper.make_node("Cast", [t.name], [t.name.removesuffix(".half")], to=TensorProto.FLOAT)
             for t in model.graph.initializer if t.name.endswith(".half")]  # fmt: skip
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    engine = open_model(model, tmp_path)
    assert engine.info.precision == "float16"
    assert engine.run(batch_of_mels(1, 4)).shape == (1, 32)


def test_integer_audio_is_refused(tmp_path):
    model = foreign(["b", 10, "t"], [], [cast(TensorProto.INT16)], ["b", "n"], audio_type=TensorProto.INT16)
    with pytest.raises(EngineError, match=r"gives some.output int16 .* may have wrapped around"):
        open_model(model, tmp_path)


def test_integer_mels_are_refused(tmp_path):
    model = foreign(["b", 10, "t"], [cast(TensorProto.FLOAT)], [], ["b", "n"], mel_type=TensorProto.INT32)
    with pytest.raises(EngineError, match=r"takes some.input int32 .*: a mel is float32"):
        open_model(model, tmp_path)


def test_a_second_input_is_refused_unless_it_has_a_value(tmp_path):
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    model.graph.input.append(helper.make_tensor_value_info("speaker", TensorProto.INT64, [1]))
    with pytest.raises(EngineError, match=r"has 2 inputs \(some.input float32 \[\?, 10, \?\]; speaker int64 \[1\]\)"):
        open_model(model, tmp_path)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "speaker"))
    assert open_model(model, tmp_path).run(batch_of_mels(1, 3)).shape == (1, 24)


def test_initializers_listed_as_inputs_as_old_exporters_do(tmp_path):
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    assert open_model(model, tmp_path).run(batch_of_mels(1, 3)).shape == (1, 24)


def test_several_outputs_are_refused(tmp_path):
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    model.graph.output.append(helper.make_tensor_value_info("conv_pre", TensorProto.FLOAT, ["b", 8, "t"]))
    with pytest.raises(EngineError, match=r"has 2 outputs .*: one waveform is needed"):
        open_model(model, tmp_path)


def test_an_output_that_is_no_waveform_is_refused(tmp_path):
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("conv_pre", TensorProto.FLOAT, ["b", 8, "t"]))
    engine = open_model(model, tmp_path)
    with pytest.raises(EngineError, match=r"gave an output of shape \[1, 8, 5\] for 1 mel\(s\).*is it a vocoder"):
        engine.run(batch_of_mels(1, 5))


def test_an_input_that_is_no_mel_is_refused(tmp_path):
    model = foreign([10], [unsqueeze(0, 2)], [], ["b", "n"])
    with pytest.raises(EngineError, match=r"takes some.input float32 \[10\], which is no mel that is known"):
        open_model(model, tmp_path)


def test_what_onnx_runtime_cannot_load_is_one_error_without_noise(tmp_path, capfd):
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    model.graph.node[3].op_type = "NoSuchOperator"
    with pytest.raises(EngineError, match=r"^ONNX Runtime cannot load ONNX file '.*NoSuchOperator"):
        open_model(model, tmp_path)
    assert capfd.readouterr() == ("", "")


def test_what_fails_while_running_is_one_error_without_noise(tmp_path, capfd):
    model = foreign(["b", 10, "t"], [], [("Reshape", {})], ["b", "n"])
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 24], np.int64), "shape"))
    model.graph.node[-1].input.append("shape")
    engine = open_model(model, tmp_path)
    assert engine.run(batch_of_mels(1, 3)).shape == (1, 24)
    with pytest.raises(EngineError, match=r"^ONNX Runtime failed on a mel \[B, M, T\] = \[1, 10, 4\]: .*Reshape"):
        engine.run(batch_of_mels(1, 4))
    assert capfd.readouterr() == ("", "")


def test_loading_and_running_prints_nothing(tmp_path):
    """In a fresh process: what the runtime says at its import counts too."""
    path = write(build_onnx(tiny_generator(), TINY.mel), tmp_path / "tiny.onnx")
    program = (
        "import sys, numpy, hifigan_rt; from hifigan_rt.engines import create_engine\n"
        "from hifigan_rt.engines.base import EngineOptions; from hifigan_rt.model import resolve_model\n"
        "engine = create_engine('onnxruntime', resolve_model(sys.argv[1]), EngineOptions(threads=3))\n"
        "engine.run(numpy.zeros((2, 10, 30), numpy.float32))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_our_own_file_through_the_resolver(tmp_path):
    path = write(build_onnx(tiny_generator(), TINY.mel, rank=4, keep_channel=True), tmp_path / "tiny.onnx")
    model = resolve_model(path)
    assert model.mel == TINY.mel
    mels = batch_of_mels(2, 11)
    assert snr_db(truth(mels), create(model, EngineOptions()).run(mels)) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_external_data_beside_the_file(tmp_path):
    path = tmp_path / "big.onnx"
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    onnx.save(model, path, save_as_external_data=True, location="big.bin", size_threshold=0)
    mels = batch_of_mels(1, 5)
    assert snr_db(truth(mels), open_file(path).run(mels)) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_a_name_that_is_not_utf8(tmp_path):
    path = tmp_path / b"mod\xe8le.onnx".decode("utf-8", "surrogateescape")
    engine = open_file(write(foreign(["b", 10, "t"], [], [], ["b", "n"]), path))
    assert engine.run(batch_of_mels(1, 2)).shape == (1, 16)


def test_a_file_that_fails_inspection_never_reaches_the_runtime(tmp_path, monkeypatch):
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_: pytest.fail("the runtime was asked"))
    path = tmp_path / "page.onnx"
    path.write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(CheckpointError, match="is an HTML page"):
        open_file(path)


# --- options -----------------------------------------------------------------------------------------------------


def test_info():
    info = create(own_model(), EngineOptions(threads=1)).info
    assert (info.name, info.version, info.precision) == ("onnxruntime", onnxruntime.__version__, "float32")
    assert (info.threads, info.device) == (1, CPU_PROVIDER)
    assert create(own_model(), EngineOptions()).info.threads == usable_cores()


@pytest.fixture
def session_arguments(monkeypatch):
    """What the session was asked for."""
    seen = {}
    real = onnxruntime.InferenceSession

    def spy(source, options, providers):
        seen.update(options=options, providers=providers)
        return real(source, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    return seen


def test_threads_reach_the_session_and_providers_are_always_named(session_arguments):
    create(own_model(), EngineOptions(threads=3))
    options = session_arguments["options"]
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert session_arguments["providers"] == [CPU_PROVIDER]


@pytest.mark.parametrize("threads", [0, -1])
def test_thread_counts_below_one_are_refused(threads):
    with pytest.raises(EngineError, match=f"threads={threads} must be at least 1"):
        create(own_model(), EngineOptions(threads=threads))


def test_other_precisions_are_refused():
    with pytest.raises(PrecisionUnavailable, match="precision='bfloat16' is not offered"):
        create_engine("onnxruntime", own_model(), EngineOptions(precision="bfloat16"))


@pytest.mark.parametrize("name", [CPU_PROVIDER, "cpu", "CPU"])
def test_a_provider_by_name(name):
    assert create(own_model(), EngineOptions(execution_provider=name)).info.device == CPU_PROVIDER


def test_a_provider_that_is_not_in_the_build_lists_what_is():
    with pytest.raises(
        EngineUnavailable, match=r"execution_provider='cann' is not in this build.*CPUExecutionProvider"
    ):
        create(own_model(), EngineOptions(execution_provider="cann"))


def test_a_provider_that_did_not_start_is_an_error(monkeypatch):
    """As onnxruntime-cann without a driver behaves: the session comes up, on the CPU, with a warning only."""

    class Fake:
        def __init__(self, source, options, providers):
            assert providers == ["CANNExecutionProvider", CPU_PROVIDER]

        def get_providers(self):
            return [CPU_PROVIDER]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Fake)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CANNExecutionProvider", CPU_PROVIDER])
    with pytest.raises(EngineUnavailable, match="execution_provider='cann' is installed, and did not start here"):
        create(own_model(), EngineOptions(execution_provider="cann"))


def test_a_provider_that_is_in_the_session_is_the_device(monkeypatch):
    class Fake:
        def __init__(self, source, options, providers):
            pass

        def get_providers(self):
            return ["CANNExecutionProvider", CPU_PROVIDER]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Fake)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CANNExecutionProvider", CPU_PROVIDER])
    engine = create(own_model(), EngineOptions(execution_provider="CANNExecutionProvider"))
    assert engine.info.device == "CANNExecutionProvider"


def test_closing_while_another_thread_runs():
    """Runs either finish or say that the engine is closed; nothing else."""
    engine = create(own_model(), EngineOptions(threads=1))
    mel = batch_of_mels(2, 40)
    outcomes: list[str] = []

    def work():
        try:
            while True:
                engine.run(mel)
        except EngineError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    engine.close()
    for thread in threads:
        thread.join(timeout=30)
    assert len(outcomes) == 3
    assert all("closed" in outcome for outcome in outcomes)


@pytest.mark.pretrained
def test_real_weights_are_100_db_from_float64():
    model = resolve_model("ljspeech-v1")
    frames = 32
    t, band = np.arange(frames), np.arange(80)[:, None]
    # A log-mel with formants that move, a fall towards high bands and a pause, as speech has.
    formants = sum(np.exp(-(((band - centre - 4 * np.sin(t / 7 + centre)) / 5) ** 2)) for centre in (8, 22, 45))
    loud = 1 / (1 + np.exp(-(np.abs(t - 16) - 8.0)))
    noise = 0.3 * np.random.default_rng(0).standard_normal((80, frames))
    mel = (-11.5 + loud * (5 + 6 * formants - band / 20) + noise).clip(-11.5, 1.5).astype(np.float32)
    audio = create(model, EngineOptions()).run(mel[None])[0]
    assert np.abs(audio).max() > 0.02  # it sounds
    assert snr_db(generate(model.generator, mel), audio) >= tolerances.PRETRAINED_SNR_DB
