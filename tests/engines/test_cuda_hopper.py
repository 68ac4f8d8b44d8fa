"""The kernels of engine `cuda` in the instructions of compute capability 9.0, on an imitated card of that kind."""

from functools import cache

import numpy as np
import pytest

import hifigan_rt._native as _native
import tolerances
from engines.cuda_engines import PRECISIONS, floor, load, mels_of, stream_all
from hifigan_rt.audio import read_audio
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.config import GeneratorConfig
from hifigan_rt.engines import create_engine, cuda_kernels
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.cuda_kernels import KERNELS_VARIABLE
from hifigan_rt.engines.cuda_plan import build_plan
from hifigan_rt.engines.cuda_tiles import HOPPER_THREADS
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import EngineError
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.resolve import resolve_model
from imitated_card import REAL, ROOT
from native_generators import make_case

NETWORKS = {
    "first kind of resblocks": GeneratorConfig(256, (2, 2, 2), (4, 4, 4), "1", (3, 5), ((1,), (3,)), num_mels=64),
    "second kind of resblocks": GeneratorConfig(256, (2, 2), (4, 5), "2", (3, 7), ((1, 2), (2,)), num_mels=80),
    "channels that are not there": GeneratorConfig(224, (3, 2), (6, 4), "1", (3,), ((1, 3),), num_mels=50),
}


@pytest.fixture(autouse=True)
def hopper(monkeypatch, card_for_cuda, request):
    monkeypatch.setenv(KERNELS_VARIABLE, "hopper")
    if REAL:
        if _native.cuda_device(cuda_kernels.driver(), 0)[1] != cuda_kernels.HOPPER:
            pytest.skip("not of compute capability 9.0")
        yield
    else:
        with request.getfixturevalue("imitated_card").having(major=9):
            yield


@cache
def case_of(name):
    case = make_case(NETWORKS[name], 3)
    return case, case.truth()


def kernels_of(plan):
    return {launch.kernel for launch in plan.launches}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_with_many_channels(name, precision):
    case, truth = case_of(name)
    engine = load(case.generator, precision)
    assert engine.info.variant.startswith("hopper kernels, sm_90")
    assert snr_db(truth, engine.run(CheckedMel(case.mel[None]))[0]) >= floor(precision)


@pytest.mark.long
@pytest.mark.pretrained
@pytest.mark.parametrize("precision", PRECISIONS)
def test_real_weights_and_speech(precision):
    model = resolve_model("ljspeech-v1")
    sound = read_audio(ROOT / "samples/harbour.flac").samples
    mel = CheckedMel(np.ascontiguousarray(compute_mel(sound, model.mel)[:, 60:76]))
    audio = create_engine("cuda", model, EngineOptions(precision=precision)).run_many([mel])[0]
    assert snr_db(generate(model.generator, mel), audio) >= tolerances.CUDA_V1_SNR_DB[precision]


def test_the_networks_have_all_of_these_kernels():
    plans = [
        build_plan(make_case(config, 3).generator, precision, kernels="hopper")
        for config in NETWORKS.values()
        for precision in PRECISIONS
    ]
    assert {f"hopper_{name}" for name in HOPPER_THREADS} <= set.union(*map(kernels_of, plans))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_batches_and_streams_have_the_bits_that_an_item_has_alone(precision):
    generator = case_of("first kind of resblocks")[0].generator
    engine = load(generator, precision)
    mels = mels_of(generator, (1, 19, 6))
    audios = engine.run_many(mels)
    assert all(np.array_equal(engine.run_many([mel])[0], audio) for mel, audio in zip(mels, audios, strict=True))
    streams = [engine.stream(4) for _ in mels]
    assert stream_all(engine, streams, mels, np.random.default_rng(2)) == [audio.tobytes() for audio in audios]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_any_order_of_threads_gives_these_bits_and_every_fence_is_needed(precision, imitated_card):
    generator = case_of("second kind of resblocks")[0].generator
    engine = load(generator, precision)
    mels = mels_of(generator, (5,))
    expected = engine.run_many(mels)
    with imitated_card.having(backwards=1):
        assert np.array_equal(engine.run_many(mels)[0], expected[0])
    for wrong in ("disorder", "hidden", "unfenced"):
        with imitated_card.having(**{wrong: 1}), pytest.raises(EngineError, match="illegal memory access"):
            engine.run_many(mels)
        imitated_card.set("lose", 0)


def test_other_cards_have_none_of_them(imitated_card, monkeypatch):
    generator = case_of("channels that are not there")[0].generator
    with (
        imitated_card.having(major=8, minor=9),
        pytest.raises(
            EngineError,
            match=r"HIFIGAN_RT_CUDA_KERNELS=hopper is for compute capability 9.0, and this card has 8.9: ",
        ),
    ):
        load(generator)
    monkeypatch.setenv(KERNELS_VARIABLE, "fast")
    with pytest.raises(EngineError, match=r"HIFIGAN_RT_CUDA_KERNELS='fast' is not a set of kernels: choose general or"):
        load(generator)
    monkeypatch.delenv(KERNELS_VARIABLE)
    engine = load(generator)
    assert engine.info.variant.startswith("general kernels, sm_90")
    assert not any(kernel.startswith("hopper_") for kernel in kernels_of(engine._network.plan))
