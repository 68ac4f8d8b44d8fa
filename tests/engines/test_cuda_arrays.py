"""Mels in a card's memory, and audio that stays there, on an imitated card."""

import sys

import numpy as np
import pytest

from engines.test_cuda import load, mels_of
from golden.features import FEATURES, feature_conditioning, feature_generator
from golden.tiny import tiny_generator
from hifigan_rt.audio.signal_metrics import snr_db
from hifigan_rt.engines import cuda_network
from hifigan_rt.errors import EngineError, MelError
from hifigan_rt.model.kinds import Weights
from hifigan_rt.vocoder import Vocoder
from imitated_arrays import CardArray, CuPy, InterfaceArray, Torch, TorchArray

GENERATOR = tiny_generator()


@pytest.fixture(autouse=True)
def cupy(monkeypatch, imitated_card):
    monkeypatch.setitem(sys.modules, "cupy", CuPy)


@pytest.fixture
def vocoder():
    engine = load(GENERATOR)
    return Vocoder(Weights("tiny", "tiny", "test", GENERATOR), engine)


def test_audio_stays_on_the_card_with_the_bits_of_the_host(vocoder):
    mel = mels_of(GENERATOR, (21,))[0]
    expected = vocoder(mel)
    given = CardArray(np.asarray(mel))
    audio = vocoder(given)
    assert isinstance(audio, CardArray)
    np.testing.assert_array_equal(audio.numpy(), expected)
    # The library was told on which stream its arrays are read and written.
    stream = vocoder._engine._network.native.stream
    assert given.streams == audio.streams == [stream]


@pytest.mark.parametrize(
    ("form", "least"),
    [("transposed", np.inf), ("every other frame", np.inf), ("float64", np.inf), ("float16", 45), ("bfloat16", 25)],
)
def test_mels_lie_and_are_written_in_many_ways(form, least, vocoder):
    mel = np.asarray(mels_of(GENERATOR, (34,))[0])
    if form == "transposed":
        given, same = CardArray(np.ascontiguousarray(mel.T).T), mel
    elif form == "every other frame":
        given, same = CardArray(mel[:, 1::2]), np.ascontiguousarray(mel[:, 1::2])
    elif form == "bfloat16":
        given, same = CardArray((mel.view(np.uint32) >> 16).astype(np.uint16), "bfloat16"), mel
    else:
        given, same = CardArray(mel.astype(form)), mel
    expected = vocoder(same)
    audio = vocoder(given).numpy()
    assert np.array_equal(audio, expected) if least == np.inf else snr_db(expected, audio) >= least


@pytest.mark.parametrize("kind", [CardArray, TorchArray])
def test_a_card_that_is_not_the_current_one_of_its_library(kind, imitated_card, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", Torch)
    mel = np.asarray(mels_of(GENERATOR, (7,))[0])
    with imitated_card.having(devices=2):
        vocoder = Vocoder(Weights("tiny", "tiny", "test", GENERATOR), load(GENERATOR, device="cuda:1"))
    audio = vocoder(kind(mel, device=1))
    assert (type(audio), audio.number, CardArray.current) == (kind, 1, 0)
    np.testing.assert_array_equal(audio.numpy(), vocoder(mel))


def test_batches_and_lists(vocoder):
    mels = [np.asarray(mel) for mel in mels_of(GENERATOR, (12, 5, 30))]
    expected = vocoder([*mels])
    audios = vocoder([CardArray(mels[0]), CardArray(mels[1][None]), CardArray(mels[2])])
    assert all(np.array_equal(audio.numpy(), other) for audio, other in zip(audios, expected, strict=True))
    batch = np.stack([mels[0], mels[0][:, ::-1]])
    audio = vocoder(CardArray(batch))
    np.testing.assert_array_equal(audio.numpy(), vocoder(batch))


def test_what_a_long_mel_and_a_speaker_give(monkeypatch):
    generator = feature_generator(FEATURES["conditioned"])
    given = feature_conditioning(generator, 2)
    mels = [np.asarray(mel) for mel in mels_of(generator, (70, 9))]
    model = Weights("speakers", "speakers", "test", generator)
    monkeypatch.setattr(cuda_network, "PASS_BYTES", 40 * load(generator)._network.plan.bytes_per_frame())
    vocoder = Vocoder(model, load(generator))
    assert vocoder._engine._network.max_pass_frames < 40
    with pytest.raises(MelError, match=r"^item 0 of the list: .*frames"):
        vocoder([CardArray(mels[1][:, :1]), CardArray(mels[1])], conditioning=list(given))
    name = "speaker" if given.ndim == 1 else "conditioning"
    audios = vocoder([CardArray(mel) for mel in mels], **{name: list(given)})
    for audio, expected in zip(audios, vocoder(mels, **{name: list(given)}), strict=True):
        np.testing.assert_array_equal(audio.numpy(), expected)


def test_arrays_without_dlpack_wait_for_their_stream(vocoder, imitated_card):
    mel = np.asarray(mels_of(GENERATOR, (15,))[0])
    engine = vocoder._engine
    # Numba's interface has no way to ask for memory, so that its library must have one.
    before = imitated_card.get("waits")
    audio = engine.run_on_device([InterfaceWithDevice(CardArray(mel), 2)], listed=False)[0]
    np.testing.assert_array_equal(audio.numpy(), vocoder(mel))
    assert imitated_card.get("waits") == before + 1
    audio = engine.run_on_device([InterfaceWithDevice(CardArray(np.ascontiguousarray(mel.T).T), None)], listed=False)[0]
    np.testing.assert_array_equal(audio.numpy(), vocoder(mel))
    assert imitated_card.get("waits") == before + 1
    with imitated_card.having(ordinal=1), pytest.raises(EngineError, match="the mel is on 'cuda:1', and the model on"):
        engine.run_on_device([InterfaceWithDevice(CardArray(mel), None)], listed=False)
    lost = InterfaceWithDevice(CardArray(mel), None)
    lost.__cuda_array_interface__["data"] = (mel.ctypes.data, True)
    with pytest.raises(EngineError, match="the mel is on no card of NVIDIA's"):
        engine.run_on_device([lost], listed=False)
    with pytest.raises(EngineError, match=r"^noting a stream's place: an imitated error"):
        engine.run_on_device([InterfaceWithDevice(CardArray(mel), 77)], listed=False)
    np.testing.assert_array_equal(vocoder(CardArray(mel)).numpy(), vocoder(mel))


@pytest.mark.parametrize("form", ["float32", "float16", "float64"])
def test_places_that_are_none_of_a_number_are_refused(form, vocoder):
    mel = np.asarray(mels_of(GENERATOR, (15,))[0]).astype(form)
    size = mel.itemsize
    engine = vocoder._engine
    rule = rf"beyond a multiple of {size}, and the card reads numbers of {size} bytes .*: copy it, with mel.clone"
    shifted = CardArray(mel)
    shifted.byte_offset = 1
    with pytest.raises(MelError, match=rf"^the mel has the address \d+, 1 bytes {rule}"):
        vocoder(shifted)
    for key, value, text in (
        ("data", lambda given: (given.data + size - 1, True), f"address \\d+, {size - 1} bytes"),
        ("strides", lambda given: (given.strides[0] + 1, size), f"stride {size * 15 + 1}, 1 bytes"),
        ("strides", lambda given: (-size, 1 - size), f"stride {1 - size}, 1 bytes"),
    ):
        array = CardArray(mel)
        wrong = InterfaceWithDevice(array, None)
        wrong.__cuda_array_interface__[key] = value(array)
        with pytest.raises(MelError, match=f"^the mel has the {text} {rule}"):
            engine.run_on_device([wrong], listed=False)


def test_a_stream_that_could_be_either_default_one_is_refused(vocoder, imitated_card):
    mel = CardArray(np.asarray(mels_of(GENERATOR, (15,))[0]))
    before = imitated_card.get("waits")
    with pytest.raises(MelError, match=r"^the mel names stream 0, and version 3 of .*: name 1, the legacy one, or 2"):
        vocoder._engine.run_on_device([InterfaceWithDevice(mel, 0)], listed=False)
    assert imitated_card.get("waits") == before


class InterfaceWithDevice(InterfaceArray):
    __module__ = "cupy"

    @property
    def device(self):
        return self.array.device


def test_wrong_arrays_are_refused_and_harm_nothing(vocoder):
    mel = np.asarray(mels_of(GENERATOR, (18,))[0])
    bad = mel.copy()
    bad[3, 5] = np.nan
    foreign = CardArray(mel)
    foreign.__class__ = type("Foreign", (CardArray,), {"__module__": "jax"})
    for wrong, error, text in (
        (CardArray(mel.T), MelError, "time-major"),
        (CardArray(mel.astype(np.int32)), MelError, "has dtype int32, and its values must be floats"),
        (CardArray(mel, device=1), EngineError, "the mel is on 'cuda:1', and the model on 'cuda:0': move one of them"),
        (CardArray(bad), MelError, "^the mel holds values that are NaN, infinite"),
        ([CardArray(mel), CardArray(bad)], MelError, "^item 1 of 2: the mel holds values that are NaN"),
        ([CardArray(mel), mel], EngineError, "^item 1 of the list: the mel is on no card of NVIDIA's"),
        (CardArray(mel * 1e6), EngineError, "^the mel has values up to .*, beyond what float16 holds"),
        (foreign, EngineError, r"memory of PyTorch or CuPy, and the mel is a Foreign of jax: pass torch.from_dlpack"),
    ):
        with pytest.raises(error, match=text):
            vocoder(wrong)
    with pytest.raises(EngineError, match="host memory"):
        vocoder(CardArray(mel), segment_frames=16)
    np.testing.assert_array_equal(vocoder(CardArray(mel)).numpy(), vocoder(mel))
    vocoder.close()
    with pytest.raises(EngineError, match="closed"):
        vocoder(CardArray(mel))
