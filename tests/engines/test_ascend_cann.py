"""ONNX files through ONNX Runtime's CANN provider, with a session that only claims to have it."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.transformers.float16 import convert_float_to_float16

import tolerances
from engines.ascend_models import GENERATOR, truth
from golden.tiny import TINY, tiny_mel
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import ascend_cann, create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.errors import EngineError, EngineUnavailable, SlowEngineWarning
from hifigan_rt.formats.onnx_graph import build_onnx
from hifigan_rt.model.kinds import OnnxFile

CANN, CPU = "CANNExecutionProvider", "CPUExecutionProvider"
MEL = tiny_mel(37)[None]


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(build_onnx(GENERATOR, TINY.mel).SerializeToString())
    model = OnnxFile("tiny.onnx", path, "onnx", TINY, 10)
    return lambda device=None, **settings: create_engine(
        "ascend", model, EngineOptions(device=device, settings=settings)
    )


@pytest.fixture
def cann(monkeypatch):
    """A build with the provider; the session computes on the CPU and names what `providers` holds."""
    providers = [CANN, CPU]
    asked, files, names, shapes = [], [], [], []
    known = {"device_id", "precision_mode", "dump_om_model"}
    real = onnxruntime.InferenceSession

    class Fake:
        def __init__(self, source, options, providers, enable_fallback):
            assert not enable_fallback, "with it a failure is printed, and the CPU computes"
            asked.append(providers)
            (_, given), _ = providers
            for name in given:
                if name not in known:
                    raise RuntimeError(f'Unknown provider option: "{name}".')
            files.append(Path(source))
            self.name = onnx.load(source).graph.name
            names.append(self.name)
            self._session = real(source, options, providers=[CPU])

        def get_providers(self):
            return providers

        def run(self, outputs, feeds):
            shapes.extend(feed.shape for feed in feeds.values())
            return self._session.run(outputs, feeds)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Fake)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CANN, CPU])
    monkeypatch.setattr(ascend_cann, "soc_of_device", lambda _: chip[0])
    chip = [""]
    return SimpleNamespace(
        providers=providers, asked=asked, files=files, names=names, shapes=shapes, known=known, chip=chip
    )


def test_a_file_runs_at_its_own_length_and_dtype(load, cann):
    engine = load("1")
    options = {"device_id": "1", "dump_om_model": "0", "precision_mode": "must_keep_origin_dtype"}
    assert cann.asked == [[(CANN, options), CPU]]
    assert snr_db(truth(MEL), engine.run(MEL)) >= tolerances.FLOAT32_ENGINE_SNR_DB
    assert engine.inexact_tail_frames(1) == 0
    info = engine.info
    assert (info.name, info.device, info.variant) == ("ascend", "npu:1", "cann")
    assert info.precision == "float32 (must_keep_origin_dtype)"
    assert not info.caveat
    engine.close()
    with pytest.raises(EngineError, match=r"^engine 'ascend' is closed: load the model again$"):
        engine.run(MEL)


def test_a_provider_that_did_not_start_is_never_passed_for_the_npu(load, cann):
    cann.providers.remove(CANN)
    with pytest.raises(EngineUnavailable, match="'cann' is installed, and did not start here: its device or driver"):
        load(backend="cann")


@pytest.mark.parametrize(
    ("known", "options"),
    [
        ({"device_id", "dump_om_model", "precision_mode_v2"}, {"dump_om_model": "0", "precision_mode_v2": "origin"}),
        ({"device_id", "precision_mode"}, {"precision_mode": "must_keep_origin_dtype"}),
    ],
)
def test_builds_of_other_years_name_their_options_otherwise(load, cann, known, options):
    cann.known.clear()
    cann.known.update(known)
    assert snr_db(truth(MEL), load().run(MEL)) >= tolerances.FLOAT32_ENGINE_SNR_DB
    assert cann.asked[-1][0] == (CANN, {"device_id": "0"} | options)


def test_a_build_that_takes_none_of_the_options(load, cann):
    cann.known.clear()
    with pytest.raises(EngineUnavailable, match="takes none of the options that are known"):
        load()


@pytest.mark.parametrize(
    ("chip", "mode", "label"),
    [
        ("Ascend310P3", "cube_fp16in_fp32out", "float16 products, float32 sums"),
        ("Ascend910B4-1", "must_keep_origin_dtype", "float32, convolutions in HF32"),
    ],
)
def test_the_precision_is_one_that_the_chip_computes(load, cann, chip, mode, label):
    cann.chip[0] = chip
    info = load().info
    assert cann.asked[-1][0][1]["precision_mode"] == mode
    assert (info.precision, info.device) == (f"{label} ({mode})", f"npu:0 ({chip})")


def test_a_network_of_float16_is_not_told_to_be_float32(cann, tmp_path):
    path = tmp_path / "half.onnx"
    onnx.save(convert_float_to_float16(build_onnx(GENERATOR, TINY.mel)), path)
    engine = create_engine("ascend", OnnxFile("half.onnx", path, "onnx", TINY, 10), EngineOptions())
    own = "the ONNX file's own types, float16 of its mels"
    assert engine.info.precision == f"float16 weights, {own} (must_keep_origin_dtype)"


def test_a_compiled_file_of_an_earlier_load_is_never_the_one_that_plays(load, cann, tmp_path, monkeypatch):
    """The provider names its .om by graph, path and shape: each load has its own, and leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    engines = [load(), load()]
    assert (
        len(set(cann.names))
        == len({path.name for path in cann.files})
        == len({path.parent for path in cann.files})
        == 2
    )
    assert not any(path.exists() for path in cann.files)
    assert sorted(tmp_path.iterdir()) == before
    for engine in engines:
        assert snr_db(truth(MEL), engine.run(MEL)) >= tolerances.FLOAT32_ENGINE_SNR_DB


@pytest.mark.parametrize("batch", [1, 2])
def test_long_mels_are_covered_by_few_lengths(load, cann, batch):
    """Each length would be compiled, and stay on the device; the samples are those of the whole."""
    engine = load()
    lengths = (251, 260, 499, 500, 777, 1001, 2500)
    for frames in lengths:
        mels = np.stack([tiny_mel(frames, seed=seed) for seed in range(batch)])
        assert snr_db(truth(mels), engine.run(mels)) >= tolerances.FLOAT32_ENGINE_SNR_DB
    assert {shape[2] for shape in cann.shapes} <= set(ascend_cann.GEARS)


def test_a_file_whose_layers_are_not_proven_runs_whole(load, cann):
    engine = load()
    engine.unproven_source = "foreign.onnx"
    engine.run(tiny_mel(300)[None])
    assert cann.shapes == [(1, 10, 300)]


def test_external_data_lie_beside_the_copy(cann, tmp_path):
    path = tmp_path / "external.onnx"
    model = build_onnx(GENERATOR, TINY.mel)
    onnx.save_model(model, path, save_as_external_data=True, location="external.data", size_threshold=64)
    engine = create_engine("ascend", OnnxFile("external.onnx", path, "onnx", TINY, 10), EngineOptions(settings={}))
    assert snr_db(truth(MEL), engine.run(MEL)) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_many_lengths_are_said_to_stay_on_the_device(load, cann):
    engine = load()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for frames in range(10, 10 + ascend_cann.MOST_SHAPES):
            engine.run(tiny_mel(frames)[None])
            engine.run(tiny_mel(frames)[None])
    with pytest.warns(SlowEngineWarning, match="has compiled 8 shapes of mels and goes on"):
        engine.run(tiny_mel(50)[None])


def test_a_device_that_is_in_use(load, cann, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("CANN error executing aclrtSetDevice(info_.device_id)")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(EngineUnavailable, match=r"did not start here: .* or in use .*aclrtSetDevice"):
        load()


def test_a_build_without_the_provider(load):
    with pytest.raises(EngineUnavailable, match=r"package onnxruntime-cann, .* this one has .*CPUExecutionProvider"):
        load()


def test_what_does_not_go_together(load, cann):
    with pytest.raises(EngineError, match=r"^backend=cann runs on one device, and 2 are named: name one$"):
        load("0,1")
    for backend in ("aclruntime", "ais_bench"):
        with pytest.raises(EngineError, match=rf"^backend={backend} runs \.om files, and tiny\.onnx is none"):
            load(backend=backend)


def test_an_om_file_is_not_for_the_provider(place):
    with pytest.raises(EngineError, match=r"^backend=cann runs ONNX files, and .*\.om is none: take backend=auto$"):
        place.engine(place.om(gears=(100, 150)), backend="cann")
