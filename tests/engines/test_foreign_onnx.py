"""Foreign ONNX files of every layout, and what is no vocoder, on every engine that runs ONNX files on any machine."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import hifigan_rt
import tolerances
from engines.onnx_files import batch_of_mels, cast, foreign, own_model, squeeze, transpose, truth, unsqueeze, write
from golden.tiny import TINY, tiny_generator
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import ModelConfig
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import Engine, EngineOptions
from hifigan_rt.errors import ConfigError, EngineError, MelError
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.formats.onnx_reading import inspect_onnx
from hifigan_rt.model.kinds import OnnxFile
from hifigan_rt.model.resolve import resolve_model


@pytest.fixture(params=["onnxruntime", "openvino"])
def engine_name(request):
    return request.param


def open_file(engine_name: str, path: Path) -> Engine:
    return create_engine(engine_name, OnnxFile(path.name, path, "onnx"), EngineOptions())


def open_model(engine_name: str, model: onnx.ModelProto, folder: Path) -> Engine:
    return open_file(engine_name, write(model, folder / "foreign.onnx"))


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
def test_foreign_layouts(engine_name, tmp_path, name):
    mel_shape, before, after, audio_shape = LAYOUTS[name]
    engine = open_model(engine_name, foreign(mel_shape, before, after, audio_shape), tmp_path)
    for batch, frames in ((1, 1), (1, 10), (3, 7), (2, 1)):
        mels = batch_of_mels(batch, frames)
        audio = engine.run(mels)
        assert (audio.shape, audio.dtype) == ((batch, 8 * frames), np.float32)
        assert snr_db(truth(mels), audio) >= tolerances.FLOAT32_ENGINE_SNR_DB


@pytest.mark.parametrize(
    ("mel_shape", "before", "after"),
    [
        (["b", "t", "m"], [transpose(0, 2, 1)], []),
        (["t", "m"], [transpose(1, 0), unsqueeze(0)], [squeeze(0)]),
        ([None] * 4, [squeeze(1), transpose(0, 2, 1)], []),
        (["b", "t", 1, "m"], [squeeze(2), transpose(0, 2, 1)], []),
    ],
)
def test_an_order_that_the_shapes_leave_open_is_tried(engine_name, tmp_path, mel_shape, before, after):
    """As in IR that is converted from PyTorch, where bands that no convolution reads directly are open."""
    audio = ["n"] if after else ["b", "n"]
    path = write(foreign(mel_shape, before, after, audio), tmp_path / "foreign.onnx")
    engine = hifigan_rt.load(path, engine=engine_name)
    for frames in (7, 10, 20):  # 10 bands
        mel = batch_of_mels(1, frames)
        assert snr_db(truth(mel)[0], engine(mel[0])) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_a_graph_that_runs_in_no_order_fails_when_it_is_run(engine_name, tmp_path):
    model = foreign(["b", "m", "t"], [transpose(2, 0, 1)], [], ["b", "n"])
    vocoder = hifigan_rt.load(write(model, tmp_path / "foreign.onnx"), engine=engine_name)
    with pytest.raises(EngineError, match=r"failed on a mel \[B, M, T\] = \[1, 10, 7\]"):
        vocoder(batch_of_mels(1, 7)[0])


def test_a_fixed_length_is_named_and_not_padded(engine_name, tmp_path):
    engine = open_model(engine_name, foreign([1, 10, 25], [], [], [1, 200]), tmp_path)
    assert engine.run(batch_of_mels(2, 25)).shape == (2, 200)
    with pytest.raises(EngineError, match="exported for mels of exactly 25 frames, this one has 24: export the model"):
        engine.run(batch_of_mels(1, 24))


def test_a_fixed_batch_runs_in_groups_and_is_not_padded(engine_name, tmp_path):
    engine = open_model(engine_name, foreign([2, 10, "t"], [], [], [2, "n"]), tmp_path)
    mels = batch_of_mels(4, 6)
    assert snr_db(truth(mels), engine.run(mels)) >= tolerances.FLOAT32_ENGINE_SNR_DB
    with pytest.raises(EngineError, match="batches of exactly 2 mels, this one has 3"):
        engine.run(batch_of_mels(3, 6))


@pytest.mark.parametrize(
    ("shape", "text"), [([1, 10, 25], "mels of exactly 25 frames"), ([2, 10, "t"], "batches of exactly 2 mels")]
)
def test_a_fixed_size_has_no_streams_and_no_segments(engine_name, tmp_path, shape, text):
    path = write(foreign(shape, [], [], [shape[0], "n"]), tmp_path / "foreign.onnx")
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(ModelConfig(TINY.generator))))
    with hifigan_rt.load(path, engine=engine_name) as vocoder:
        for call in (vocoder.stream, lambda: vocoder(batch_of_mels(1, 25)[0], segment_frames=25)):
            with pytest.raises(ConfigError, match=f"{text}, and segments and streams compute single mels of other"):
                call()


def test_mels_of_other_bands_are_refused(engine_name, tmp_path):
    path = write(foreign(["b", 10, "t"], [], [], ["b", "n"]), tmp_path / "foreign.onnx")
    with (
        hifigan_rt.load(path, engine=engine_name) as vocoder,
        pytest.raises(MelError, match=r"the mel has 80 bands \(shape \[1, 80, 5\]\), and this model takes 10"),
    ):
        vocoder(np.zeros((1, 80, 5), np.float32))


def test_float16_and_float64_ends(engine_name, tmp_path):
    mels = batch_of_mels(2, 9)
    double = foreign(["b", 10, "t"], [cast(TensorProto.FLOAT)], [cast(TensorProto.DOUBLE)], ["b", "n"],
                     mel_type=TensorProto.DOUBLE, audio_type=TensorProto.DOUBLE)  # fmt: skip
    audio = open_model(engine_name, double, tmp_path).run(mels)
    assert audio.dtype == np.float32
    assert snr_db(truth(mels), audio) >= tolerances.FLOAT32_ENGINE_SNR_DB
    half = foreign(["b", 10, "t"], [cast(TensorProto.FLOAT)], [cast(TensorProto.FLOAT16)], ["b", "n"],
                   mel_type=TensorProto.FLOAT16, audio_type=TensorProto.FLOAT16)  # fmt: skip
    audio = open_model(engine_name, half, tmp_path).run(mels)
    assert audio.dtype == np.float32
    exact = truth(mels.astype(np.float16).astype(np.float32)).astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(audio, exact, rtol=0, atol=tolerances.FLOAT16_OUTPUT_MAX_ABS)


def test_integer_audio_is_refused(engine_name, tmp_path):
    model = foreign(["b", 10, "t"], [], [cast(TensorProto.INT16)], ["b", "n"], audio_type=TensorProto.INT16)
    with pytest.raises(EngineError, match=r"gives some.output int16 .* may have wrapped around"):
        open_model(engine_name, model, tmp_path)


def test_integer_mels_are_refused(engine_name, tmp_path):
    model = foreign(["b", 10, "t"], [cast(TensorProto.FLOAT)], [], ["b", "n"], mel_type=TensorProto.INT32)
    with pytest.raises(EngineError, match=r"takes some.input int32 .*: a mel is float32"):
        open_model(engine_name, model, tmp_path)


def test_a_second_input_is_refused_unless_it_has_a_value(engine_name, tmp_path):
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    model.graph.input.append(helper.make_tensor_value_info("speaker", TensorProto.INT64, [1]))
    with pytest.raises(EngineError, match=r"has 2 inputs \(some.input float32 \[\?, 10, \?\]; speaker int64 \[1\]\)"):
        open_model(engine_name, model, tmp_path)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "speaker"))
    assert open_model(engine_name, model, tmp_path).run(batch_of_mels(1, 3)).shape == (1, 24)


def test_initializers_listed_as_inputs_as_old_exporters_do(engine_name, tmp_path):
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    assert open_model(engine_name, model, tmp_path).run(batch_of_mels(1, 3)).shape == (1, 24)


@pytest.mark.parametrize("shape", [["b", 10, "t"], ["b", "m", "t"]])
def test_a_file_that_onnxruntime_optimised(engine_name, tmp_path, shape):
    """Its first convolution is joined with the leaky ReLU behind it; the first other one is a resblock's."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    plain = write(foreign(shape, [], [], ["b", "n"]), tmp_path / "foreign.onnx")
    onnxruntime.InferenceSession(plain, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.index("FusedConv") < kinds.index("Conv")
    mels = batch_of_mels(2, 9)
    audio = open_file(engine_name, tmp_path / "optimised.onnx").run(mels)
    assert snr_db(truth(mels), audio) >= tolerances.FLOAT32_ENGINE_SNR_DB
    assert inspect_onnx(tmp_path / "optimised.onnx").num_mels == 10


def test_several_outputs_are_refused(engine_name, tmp_path):
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    model.graph.output.append(helper.make_tensor_value_info("conv_pre", TensorProto.FLOAT, ["b", 8, "t"]))
    with pytest.raises(EngineError, match=r"has 2 outputs .*: one waveform is needed"):
        open_model(engine_name, model, tmp_path)


def test_an_output_that_is_no_waveform_is_refused(engine_name, tmp_path):
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("conv_pre", TensorProto.FLOAT, ["b", 8, "t"]))
    engine = open_model(engine_name, model, tmp_path)
    with pytest.raises(EngineError, match=r"gave an output of shape \[1, 8, 5\] for 1 mel\(s\).*is it a vocoder"):
        engine.run(batch_of_mels(1, 5))


def test_an_input_that_is_no_mel_is_refused(engine_name, tmp_path):
    model = foreign([10], [unsqueeze(0, 2)], [], ["b", "n"])
    with pytest.raises(EngineError, match=r"takes some.input float32 \[10\], which is no mel that is known"):
        open_model(engine_name, model, tmp_path)


def test_our_own_file_through_the_resolver(engine_name, tmp_path):
    path = write(build_onnx(tiny_generator(), TINY.mel, rank=4, keep_channel=True), tmp_path / "tiny.onnx")
    model = resolve_model(path)
    assert model.mel == TINY.mel
    mels = batch_of_mels(2, 11)
    assert (
        snr_db(truth(mels), create_engine(engine_name, model, EngineOptions()).run(mels))
        >= tolerances.FLOAT32_ENGINE_SNR_DB
    )


def test_external_data_beside_the_file(engine_name, tmp_path):
    path = tmp_path / "big.onnx"
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    onnx.save(model, path, save_as_external_data=True, location="big.bin", size_threshold=0)
    mels = batch_of_mels(1, 5)
    assert snr_db(truth(mels), open_file(engine_name, path).run(mels)) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_a_cache_of_links(tmp_path):
    """ONNX Runtime follows them where they lead beside the model; OpenVINO does not, and the way out is told."""
    (tmp_path / "blobs").mkdir()
    model = foreign(["b", 10, "t"], [], [], ["b", "n"])
    plain = tmp_path / "blobs/1"
    onnx.save(model, plain, save_as_external_data=True, location="2", size_threshold=0)
    for name, target in (("foreign.onnx", "blobs/1"), ("2", "blobs/2")):
        (tmp_path / name).symlink_to(target)
    mels = batch_of_mels(1, 9)
    audio = open_file("onnxruntime", tmp_path / "foreign.onnx").run(mels)
    assert snr_db(truth(mels), audio) >= tolerances.FLOAT32_ENGINE_SNR_DB
    (tmp_path / "link").mkdir()
    for name in ("foreign.onnx", "2"):
        (tmp_path / "link" / name).symlink_to(f"../{name}")
    with pytest.raises(EngineError, match=r"outside the base directory.*: it follows no links to data: copy model"):
        open_file("openvino", tmp_path / "link/foreign.onnx")


def test_a_name_that_is_not_utf8(engine_name, tmp_path):
    path = tmp_path / b"mod\xe8le.onnx".decode("utf-8", "surrogateescape")
    engine = open_file(engine_name, write(foreign(["b", 10, "t"], [], [], ["b", "n"]), path))
    assert engine.run(batch_of_mels(1, 2)).shape == (1, 16)


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_absurd_thread_counts_are_refused(engine_name, threads):
    with pytest.raises(EngineError, match=f"threads={threads} must be from 1 to 1024"):
        create_engine(engine_name, own_model(), EngineOptions(threads=threads))
