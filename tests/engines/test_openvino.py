"""The OpenVINO engine: precisions as executed, shapes, requests, IR, and what it refuses."""

import contextlib
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from safetensors.numpy import save_file

import tolerances
from engines.onnx_files import batch_of_mels, cast, foreign, own_model, truth, write
from golden.tiny import TINY, tiny_generator, tiny_weights
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import create_engine, openvino_shapes
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.openvino import create
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import EngineError, EngineUnavailable, PrecisionUnavailable
from hifigan_rt.export.openvino import OpenVinoSettings, export_openvino
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.formats.openvino_package import import_openvino
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.system.machine import usable_cores

openvino = import_openvino()


def options(**settings: str) -> EngineOptions:
    return EngineOptions(threads=2, settings=settings)


def executes(precision: str) -> bool:
    """Whether this processor computes in a precision, by what OpenVINO says of it and not by what our engine says."""
    names = {"bfloat16": "BF16", "float16": "FP16"}
    return names[precision] in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_info():
    info = create(own_model(), EngineOptions(threads=1)).info
    assert (info.name, info.precision, info.threads, info.device) == ("openvino", "float32", 1, "CPU")
    assert openvino.get_version().startswith(info.version)
    assert info.variant == "latency, 2d graph"
    assert create(own_model(), EngineOptions()).info.threads == usable_cores()


# --- precision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_precision_is_executed_or_refused_by_name(precision):
    if executes(precision):
        engine = create(own_model(), EngineOptions(precision=precision))
        assert engine.info.precision == precision
        mels = batch_of_mels(1, 30)
        low, high = tolerances.LOW_PRECISION_SNR_DB[precision]
        assert low <= snr_db(truth(mels), engine.run(mels)) <= high
    else:
        with pytest.raises(PrecisionUnavailable, match=rf"^precision='{precision}' is not executed by OpenVINO's .*"
                           r"it would compute in \w+ in its place; ask for"):  # fmt: skip
            create(own_model(), EngineOptions(precision=precision))


@pytest.mark.parametrize(("asked", "way_out"), [("float16", "bfloat16 or float32"), ("float32", "bfloat16")])
def test_what_the_runtime_graph_says_decides(monkeypatch, asked, way_out):
    """As on a processor that executes bfloat16 where float16 was asked for, and with a file of bfloat16 layers."""
    monkeypatch.setattr("hifigan_rt.engines.openvino._executed_precision", lambda _: "bfloat16")
    with pytest.raises(
        PrecisionUnavailable,
        match=rf"precision='{asked}' is not executed by OpenVINO's device CPU \(.+\): it would compute in bfloat16 in "
        rf"its place; ask for {way_out}$",
    ):
        create(own_model(), EngineOptions(precision=asked))


def test_a_file_of_bfloat16_layers_is_computed_in_them_or_in_float32(tmp_path):
    """As PyTorch exports a network in bfloat16 whose mel and audio are cast."""
    model = foreign([1, 10, "T"], [cast(TensorProto.BFLOAT16)], [cast(TensorProto.FLOAT)], [1, "N"], opset=17)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            high_halves = (array.view(np.uint32) >> 16).astype(np.uint16)
            tensor.CopyFrom(
                helper.make_tensor(tensor.name, TensorProto.BFLOAT16, array.shape, high_halves.tobytes(), raw=True)
            )
    path = write(model, tmp_path / "bfloat16.onnx")
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(TINY)))
    resolved = resolve_model(path)
    loaded = []
    for precision in ("float32", "bfloat16"):
        with contextlib.suppress(PrecisionUnavailable):
            loaded.append(create_engine("openvino", resolved, EngineOptions(precision=precision)).info.precision)
    # OpenVINO emulates bfloat16 on AVX-512, and computes in float32 on AVX2: its capabilities do not tell which.
    assert loaded in (["bfloat16"], ["float32"])


def test_float32_is_asked_for_and_never_left_to_the_device(monkeypatch):
    seen = []
    real = openvino.Core.compile_model

    def spy(self, model, device, properties):
        seen.append(properties)
        return real(self, model, device, properties)

    monkeypatch.setattr(openvino.Core, "compile_model", spy)
    engine = create(own_model(), EngineOptions(threads=1))
    for _ in range(openvino_shapes.FIXED_AFTER):
        engine.run(batch_of_mels(1, 5))
    assert len(seen) == 2  # for any shape, and for this one
    for properties in seen:
        assert properties["INFERENCE_PRECISION_HINT"] == "f32"
        assert properties["INFERENCE_NUM_THREADS"] == 1
        assert properties["ENABLE_CPU_PINNING"] is False
        assert properties["CPU_RUNTIME_CACHE_CAPACITY"] == 0


# --- shapes ------------------------------------------------------------------------------------------------------


def fixed_shapes(engine) -> set:
    return {shape for shapes in engine._shapes._fixed for _, shape in shapes}


def test_a_shape_that_comes_again_is_compiled_for_itself_with_the_same_bits():
    engine = create(own_model(), options())
    mels = batch_of_mels(2, 21)
    first = engine.run(mels)
    assert fixed_shapes(engine) == set()
    for _ in range(openvino_shapes.FIXED_AFTER):
        np.testing.assert_array_equal(engine.run(mels), first)
    assert fixed_shapes(engine) == {(2, 10, 1, 21)}


def test_no_more_than_a_few_shapes_are_kept_however_many_come():
    engine = create(own_model(), options())
    for frames in range(2, 8):
        for _ in range(openvino_shapes.FIXED_AFTER):
            engine.run(batch_of_mels(1, frames))
    assert fixed_shapes(engine) == {(1, 10, 1, 2), (1, 10, 1, 3)}  # the others came no more often
    for _ in range(3 * openvino_shapes.FIXED_AFTER):
        engine.run(batch_of_mels(1, 7))
    assert (1, 10, 1, 7) in fixed_shapes(engine)
    assert len(fixed_shapes(engine)) == openvino_shapes.MAX_FIXED


def test_lengths_are_forgotten():
    engine = create(own_model(), options())
    for frames in range(1, 70):
        engine.run(batch_of_mels(1, frames))
    assert len(engine._shapes._runs) == 64


def test_a_graph_that_cannot_be_given_a_shape_runs_as_it_is(monkeypatch):
    engine = create(own_model(), options())

    class Stubborn:
        def __init__(self, model):
            self._model = model

        def clone(self):
            return self

        def reshape(self, shape):
            raise RuntimeError("no")

    engine._shapes._model = Stubborn(engine._shapes._model)
    mels = batch_of_mels(1, 6)
    for _ in range(openvino_shapes.FIXED_AFTER + 1):
        assert snr_db(truth(mels), engine.run(mels)) >= tolerances.FLOAT32_ENGINE_SNR_DB
    assert fixed_shapes(engine) == set()


def test_after_a_length_that_fails_the_others_are_as_before(tmp_path):
    model = foreign(["b", 10, "t"], [], [("Reshape", {})], ["b", "n"])
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 24], np.int64), "shape"))
    model.graph.node[-1].input.append("shape")
    engine = create_engine("openvino", resolve_model(write(model, tmp_path / "foreign.onnx")), options())
    before = engine.run(batch_of_mels(1, 3))
    with pytest.raises(EngineError, match=r"^OpenVINO failed on a mel \[B, M, T\] = \[1, 10, 4\]: .*"):
        engine.run(batch_of_mels(1, 4))
    np.testing.assert_array_equal(engine.run(batch_of_mels(1, 3)), before)


# --- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", ["2d", "1d"])
@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_every_setting_computes_the_same(graph, hint):
    engine = create(own_model(), options(graph=graph, hint=hint))
    assert engine.info.variant == f"{hint}, {graph} graph"
    mels = [batch_of_mels(1, frames)[0] for frames in (1, 12, 30, 7, 12, 12)]
    for mel, audio in zip(mels, engine.run_many(mels), strict=True):
        assert snr_db(generate(tiny_generator(), mel), audio) >= tolerances.FLOAT32_ENGINE_SNR_DB
        np.testing.assert_array_equal(audio, engine.run(mel[None])[0])


def test_throughput_runs_several_mels_at_once(monkeypatch):
    engine = create(own_model(), options(hint="throughput"))
    monkeypatch.setattr(engine._shapes, "concurrency", 2)
    together = threading.Barrier(2, timeout=20)

    def run(arrays, stopped):
        (array,) = arrays.values()
        together.wait()
        return np.zeros((1, 8 * array.shape[-1]), np.float32)

    monkeypatch.setattr(engine._shapes, "run", run)
    assert [audio.shape for audio in engine.run_many([batch_of_mels(1, t)[0] for t in (3, 4)])] == [(24,), (32,)]


def test_one_failure_ends_the_others(monkeypatch):
    engine = create(own_model(), options(hint="throughput"))
    monkeypatch.setattr(engine._shapes, "concurrency", 2)

    def run(arrays, stopped):
        (array,) = arrays.values()
        if array.shape[-1] == 3:
            raise RuntimeError("Exception from src/a.cpp:1:\nout of luck")
        assert stopped.wait(20)
        raise RuntimeError("cancelled")

    monkeypatch.setattr(engine._shapes, "run", run)
    with pytest.raises(EngineError, match=r"^OpenVINO failed on a mel \[B, M, T\] = \[1, 10, 3\]: out of luck$"):
        engine.run_many([batch_of_mels(1, t)[0] for t in (3, 4)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hint": "fast"}, "setting hint='fast' of engine 'openvino': choose latency, throughput"),
        ({"hnt": "latency"}, "engine 'openvino' has no setting 'hnt': it has hint, graph; did you mean 'hint'?"),
    ],
)
def test_unknown_settings(settings, message):
    with pytest.raises(EngineError) as caught:
        create_engine("openvino", own_model(), EngineOptions(settings=settings))
    assert str(caught.value) == message


def test_the_graph_of_a_file_cannot_be_chosen(tmp_path):
    path = write(build_onnx(tiny_generator(), TINY.mel), tmp_path / "tiny.onnx")
    with pytest.raises(EngineError, match="graph='1d' is for checkpoints"):
        create_engine("openvino", resolve_model(path), options(graph="1d"))


@pytest.mark.parametrize("name", ["GPU.7", "AUTO", "banana"])
def test_a_device_that_is_not_there_lists_what_is(name):
    with pytest.raises(EngineUnavailable, match=rf"^device='{name}' is not there for OpenVINO: it has CPU"):
        create(own_model(), EngineOptions(device=name))


def test_the_cpu_by_name():
    assert create(own_model(), EngineOptions(device="cpu")).info.device == "CPU"


def test_execution_providers_are_of_another_engine():
    with pytest.raises(EngineError, match="engine 'openvino' has no setting 'execution_provider': it has hint, graph"):
        create_engine("openvino", own_model(), EngineOptions(settings={"execution_provider": "cpu"}))


# --- IR ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [OpenVinoSettings(), OpenVinoSettings(rank=3), OpenVinoSettings(batch=2)])
def test_ir(tmp_path, settings):
    export_openvino(tiny_generator(), TINY.mel, tmp_path / "tiny.xml", settings, verify=False)
    engine = create(resolve_model(tmp_path), EngineOptions())
    mels = batch_of_mels(2, 17)
    assert snr_db(truth(mels), engine.run(mels)) >= tolerances.FLOAT32_ENGINE_SNR_DB
    assert engine.info.variant == "latency"


def test_ir_with_float16_weights_is_computed_in_float32(tmp_path):
    """Its kernels say f16, after the weights; the numbers tell that the arithmetic is not."""
    settings = OpenVinoSettings(precision="float16")
    export_openvino(tiny_generator(), TINY.mel, tmp_path / "tiny.xml", settings, verify=False)
    engine = create(resolve_model(tmp_path / "tiny.xml"), EngineOptions())
    assert engine.info.precision == "float32"
    rounded = {name: array.astype(np.float16).astype(np.float32) for name, array in tiny_generator().weights.items()}
    mel = batch_of_mels(1, 20)
    exact = generate(type(tiny_generator())(tiny_generator().graph, rounded), mel[0])
    assert snr_db(exact, engine.run(mel)[0]) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_a_stateful_ir_begins_each_run_anew(tmp_path):
    read = openvino.convert_model(write(build_onnx(tiny_generator(), TINY.mel), tmp_path / "model.onnx"))
    operators = openvino.opset13
    counted = operators.read_value(operators.constant(np.zeros((1, 1), np.float32)), "runs")
    audio = operators.result(operators.add(read.results[0].input_value(0), counted))
    more = operators.assign(operators.add(counted, operators.constant(np.full((1, 1), 0.01, np.float32))), "runs")
    stateful = openvino.Model(results=[audio], sinks=[more], parameters=read.get_parameters())
    openvino.save_model(stateful, tmp_path / "model.xml", compress_to_fp16=False)
    engine = create(resolve_model(tmp_path / "model.xml"), EngineOptions(threads=1))
    mels = batch_of_mels(1, 12)
    for _ in range(openvino_shapes.FIXED_AFTER + 2):
        assert snr_db(truth(mels), engine.run(mels)) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_a_stage_of_one_channel_is_refused(tmp_path):
    config = replace(TINY, generator=replace(TINY.generator, upsample_initial_channel=4))
    save_file(tiny_weights(config), tmp_path / "generator.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(config)))
    with pytest.raises(EngineError, match=r"ups\.1 of .* has one channel, and OpenVINO computes such networks wrongly"):
        create(resolve_model(tmp_path), options())
    with pytest.raises(EngineError, match="has one channel"):
        export_openvino(tiny_generator(config), TINY.mel, tmp_path / "out.xml")
    assert not (tmp_path / "out.xml").exists()


@pytest.mark.parametrize("form", QuantFormat)
def test_operators_that_openvino_computes_wrongly_are_refused(form, tmp_path):
    class Mels(CalibrationDataReader):
        feeds = iter([{"mel_spec": batch_of_mels(1, 40)}])

        def get_next(self):
            return next(self.feeds, None)

    path = tmp_path / "int8.onnx"
    quantize_static(build_onnx(tiny_generator(), TINY.mel), path, Mels(), quant_format=form)
    if form == QuantFormat.QDQ:
        assert create(resolve_model(path), options()).run(batch_of_mels(1, 20)).shape == (1, 160)
        return
    with pytest.raises(EngineError, match=r"wrongly: com\.microsoft\.QLinearAdd, .*; use engine onnxruntime"):
        create(resolve_model(path), options())


def test_ir_under_a_name_that_is_not_utf8(tmp_path):
    export_openvino(tiny_generator(), TINY.mel, tmp_path / "tiny.xml", verify=False)
    folder = tmp_path / b"mod\xe8le".decode("utf-8", "surrogateescape")
    folder.mkdir()
    for name in ("tiny.xml", "tiny.bin"):
        (tmp_path / name).rename(folder / name)
    mels = batch_of_mels(1, 4)
    engine = create(resolve_model(folder), EngineOptions())
    assert snr_db(truth(mels), engine.run(mels)) >= tolerances.FLOAT32_ENGINE_SNR_DB
