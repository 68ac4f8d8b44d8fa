"""ONNX files through ONNX Runtime's CANN provider, with a session that only claims to have it."""

from __future__ import annotations

import onnxruntime
import pytest

import tolerances
from engines.ascend_models import GENERATOR, truth
from golden.tiny import TINY, tiny_mel
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import create_engine
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.errors import EngineError, EngineUnavailable
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
    asked = []
    real = onnxruntime.InferenceSession

    class Fake:
        def __init__(self, source, options, providers):
            asked.append(providers)
            self._session = real(source, options, providers=[CPU])

        def get_providers(self):
            return providers

        def run(self, *arguments):
            return self._session.run(*arguments)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Fake)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CANN, CPU])
    return providers, asked


def test_a_file_runs_at_its_own_length_and_dtype(load, cann):
    _, asked = cann
    engine = load("1")
    assert asked == [[(CANN, {"device_id": "1", "precision_mode": "must_keep_origin_dtype"}), CPU]]
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
    providers, _ = cann
    providers.remove(CANN)
    with pytest.raises(EngineUnavailable, match="'cann' is installed, and did not start here: its device or driver"):
        load(backend="cann")


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
