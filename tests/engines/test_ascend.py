"""Engine `ascend` on the simulator: lengths, accuracy, batches, devices, and what it says about itself."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import hifigan_rt
import tolerances
from ascend_simulator.environment import CAVEAT
from cli.running import clip, hifigan
from engines.ascend_models import GENERATOR, HOP, SILENCE, mels_of, pids, truth
from golden.seeded import seeded_mel
from golden.tiny import TINY, tiny_mel
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import choose_engine, create_engine, why_unavailable
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.errors import EngineError, EngineUnavailable, PaddedTailWarning, PrecisionUnavailable
from hifigan_rt.formats.config_json import config_to_dict
from hifigan_rt.model.kinds import OmFile, OnnxFile, Weights
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, read_manifest

BACKENDS = ("aclruntime", "ais_bench")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rank", [3, 4])
def test_nothing_is_cropped_and_every_sample_is_exact(place, backend, rank):
    engine = place.engine(place.om(rank=rank), backend=backend)
    for frames in (250, 251, 500, 2000, 2001, 6000):
        mel = mels_of(1, frames)
        audio = engine.run(mel)
        assert audio.shape == (1, frames * HOP)
        assert audio.dtype == np.float32
        assert snr_db(truth(mel), audio) >= tolerances.FLOAT32_ENGINE_SNR_DB
        assert engine.inexact_tail_frames(frames) == 0
    for frames in (1, 20, 249):
        mel = mels_of(1, frames)
        audio = engine.run(mel)
        assert audio.shape == (1, frames * HOP)
        # The tail hears silence where the model's own padding would be; all before it is exact.
        padded = np.full((1, 10, 250), SILENCE)
        padded[:, :, :frames] = mel
        assert snr_db(truth(padded)[:, : frames * HOP], audio) >= tolerances.FLOAT32_ENGINE_SNR_DB
        exact = (frames - engine.inexact_tail_frames(frames)) * HOP
        if exact:
            assert snr_db(truth(mel)[:, :exact], audio[:, :exact]) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_every_length_with_small_gears(place):
    engine = place.engine(place.om(gears=(30, 47, 60)))
    for frames in range(30, 140):
        mel = mels_of(1, frames)
        assert snr_db(truth(mel), engine.run(mel)) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_a_static_model(place):
    engine = place.engine(place.om(gears=(100,)))
    for frames in (100, 101, 230):
        mel = mels_of(2, frames)
        assert snr_db(truth(mel), engine.run(mel)) >= tolerances.FLOAT32_ENGINE_SNR_DB
    assert engine.inexact_tail_frames(99) == 8


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_batch_on_a_model_for_four(place, backend):
    engine = place.engine(place.om(gears=(100, 150), batch=4), backend=backend)
    for batch in range(1, 6):
        mels = mels_of(batch, 100 + batch)
        audio = engine.run(mels)
        assert audio.shape == (batch, (100 + batch) * HOP)
        assert snr_db(truth(mels), audio) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_what_a_batch_lacks_is_silence(place, monkeypatch):
    engine = place.engine(place.om(gears=(100, 150), batch=4))
    seen = []
    submit = engine._pool.submit
    monkeypatch.setattr(engine._pool, "submit", lambda mel, room: seen.append(mel) or submit(mel, room))
    engine.run(mels_of(3, 20))
    (fed,) = seen
    assert fed.shape == (4, 10, 100)
    assert (fed[3] == SILENCE).all()
    assert (fed[:3, :, 20:] == SILENCE).all()


def test_mels_of_any_lengths_share_batches(place, monkeypatch):
    engine = place.engine(place.om(gears=(100, 150), batch=4))
    seen = []
    submit = engine._pool.submit
    monkeypatch.setattr(engine._pool, "submit", lambda mel, room: seen.append(mel.shape) or submit(mel, room))
    mels = [mels_of(1, frames)[0] for frames in (100, 150, 100, 190, 100, 7)]
    for audio, mel in zip(engine.run_many(mels), mels, strict=True):
        exact = max(1, len(audio) - engine.inexact_tail_frames(mel.shape[1]) * HOP)
        assert len(audio) == mel.shape[1] * HOP
        if mel.shape[1] >= 100:
            assert snr_db(truth(mel[None])[0, :exact], audio[:exact]) >= tolerances.FLOAT32_ENGINE_SNR_DB
    # 100 + 100 + 100 + two windows for 190 + one for 7 in two batches, and 150 alone
    assert sorted(shape[2] for shape in seen) == [100, 100, 150]


def test_several_devices_work_side_by_side(place):
    engine = place.engine(place.om(gears=(100, 150)), device="0,1")
    assert engine.info.threads == 2
    assert len(set(pids(engine))) == 2
    runs = [engine._pool.submit(mels_of(1, 150)) for _ in range(40)]
    assert {run.result().device for run in runs} == {0, 1}
    mels = [mels_of(1, frames)[0] for frames in range(100, 120)]
    for audio, mel in zip(engine.run_many(mels), mels, strict=True):
        assert snr_db(truth(mel[None])[0], audio) >= tolerances.FLOAT32_ENGINE_SNR_DB


def test_threads_share_an_engine(place):
    engine = place.engine(place.om(gears=(100, 150)), device="0,1")
    mels = [mels_of(1, frames) for frames in range(100, 124)]
    expected = [engine.run(mel) for mel in mels]
    with ThreadPoolExecutor(4) as pool:
        for audio, alone in zip(pool.map(engine.run, mels), expected, strict=True):
            np.testing.assert_array_equal(audio, alone)


def test_info_says_that_it_is_simulated(place):
    info = place.engine(place.om(gears=(100, 150)), device="1").info
    assert (info.name, info.version, info.variant) == ("ascend", "0.0.2", "aclruntime")
    assert info.device == f"npu:1 (Ascend310P3, {CAVEAT})"
    assert info.precision == "float16 products, float32 sums (cube_fp16in_fp32out)"
    assert info.caveat == CAVEAT
    half = place.engine(place.om(gears=(100, 150), precision="force_fp16")).info
    assert half.precision == "float16 (force_fp16)"


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_device_s_own_time_is_told(place, backend):
    engine = place.engine(place.om(gears=(100, 150)), backend=backend)
    engine.run(mels_of(1, 300))
    assert engine.compute_seconds is not None
    assert 0 < engine.compute_seconds < 10


def test_the_runtime_s_chatter_stays_off_standard_output(place, capfd):
    engine = place.engine(place.om(gears=(100, 150)))
    engine.run(mels_of(1, 100))
    engine.close()
    assert capfd.readouterr() == ("", "")


def test_auto_takes_it_for_om_files_only(place, tmp_path):
    assert why_unavailable("ascend") is None
    assert choose_engine("auto", OmFile) == "ascend"
    assert choose_engine("auto", OnnxFile) == "onnxruntime"
    assert choose_engine("auto", Weights) == "native"
    weights, om = Weights("g", tmp_path / "g", "torch", GENERATOR), OmFile("m.om", tmp_path / "m.om", "om")
    with pytest.raises(
        EngineError,
        match=r"engine 'ascend' runs Ascend \.om files and ONNX files, and g is a checkpoint: choose auto, native",
    ):
        create_engine("ascend", weights, EngineOptions())
    with pytest.raises(
        EngineError, match=r"engine 'native' runs checkpoints, and m\.om is an Ascend \.om file: choose auto, ascend$"
    ):
        create_engine("native", om, EngineOptions())
    with pytest.raises(EngineError, match=r"^no engine that runs Ascend \.om files has the setting execution_provider"):
        choose_engine("auto", OmFile, settings=["execution_provider"])


@pytest.mark.parametrize("device", ["", "a", "0,", "0,0", "256", "-1", "0;1", "1.0"])
def test_devices_that_are_none(place, device):
    with pytest.raises(EngineError, match=r"takes ids from 0 to 255, each once, for example 0 or 0,1$"):
        place.engine(place.om(gears=(100, 150)), device=device)


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "inf", "nan"])
def test_timeouts_that_are_none(place, timeout):
    with pytest.raises(EngineError, match=f"^setting timeout='{timeout}' of engine 'ascend': give seconds above 0$"):
        place.engine(place.om(gears=(100, 150)), timeout=timeout)


@pytest.fixture
def vocoder(place, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(config_to_dict(TINY)))
    with hifigan_rt.load(place.om(gears=(100, 150)), config=config) as loaded:
        yield loaded


def test_a_short_mel_is_warned_of(vocoder):
    assert vocoder.engine_info.name == "ascend"
    with pytest.warns(PaddedTailWarning, match=r"^a mel of 20 frames is shorter .* its last 8 frames differ"):
        assert vocoder(tiny_mel(20)).shape == (20 * HOP,)
    with pytest.warns(PaddedTailWarning, match="a mel of 30 frames"):
        vocoder([tiny_mel(30), tiny_mel(100)])
    assert vocoder(tiny_mel(100)).shape == (100 * HOP,)
    assert (vocoder.inexact_tail_frames(20), vocoder.inexact_tail_frames(100)) == (8, 0)


def test_precisions_are_the_file_s(place, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(config_to_dict(TINY)))
    om = place.om(gears=(100, 150), precision="force_fp16")
    assert place.engine(om).info.precision == "float16 (force_fp16)"
    with pytest.raises(PrecisionUnavailable, match="as the file was converted: hifigan export om --precision-mode"):
        hifigan_rt.load(om, config=config, precision="float16")


def test_a_folder_of_recordings_as_a_user_runs_it(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config_to_dict(TINY)))
    clip("in/long.wav", seconds=0.25)
    clip("in/short.wav", seconds=0.05)
    model = str(place.om(gears=(100, 150)))
    done = hifigan(
        "synth", "in", "--model", model, "--config", "config.json", "--engine", "ascend", "--device", "0,1", "-o", "out"
    )
    assert "ascend 0.0.2" in done.stderr
    assert CAVEAT in done.stderr
    assert "its last 8 frames differ from the exact result" in done.stderr
    records = read_manifest(tmp_path / "out" / MANIFEST_NAME).clips
    assert records["long.wav"].inexact_tail_frames is None
    assert records["long.wav"].output_samples == 2000
    assert records["short.wav"].inexact_tail_frames == 8
    assert records["short.wav"].output_samples == 400
    assert records["short.wav"].warnings[0].startswith("a mel of 50 frames is shorter than the shortest gear")


def test_without_aclruntime_the_way_to_it_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "")
    reason = why_unavailable("ascend")
    assert reason is not None
    assert "engine 'ascend' needs aclruntime, which" in reason
    assert "HIFIGAN_ASCEND_PYTHON" in reason
    monkeypatch.setenv("HIFIGAN_ASCEND_PYTHON", str(tmp_path / "none"))
    with pytest.raises(EngineUnavailable, match="is no program that can be run"):
        choose_engine("auto", OmFile)


@pytest.mark.long
@pytest.mark.pretrained
def test_real_weights(place, tmp_path):
    """V1 with short gears: their windows need all of its 26 frames of context."""
    real = hifigan_rt.load("ljspeech-v1", engine="reference")
    done = hifigan(
        "export", "om", "ljspeech-v1", "--mel-len", "40,64", "--soc", "Ascend310P3", "-o", str(tmp_path), timeout=300
    )
    assert done.returncode == 0
    (om,) = tmp_path.glob("*.om")
    with hifigan_rt.load(om) as vocoder:
        mel = seeded_mel(1, 80, 100, seed=1).astype(np.float32)[0]
        assert snr_db(real(mel), vocoder(mel)) >= tolerances.PRETRAINED_SNR_DB
