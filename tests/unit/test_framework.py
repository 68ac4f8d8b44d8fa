"""A vocoder as a module of PyTorch, called as other projects call theirs."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import hifigan_rt
from golden.tiny import tiny_mel, write_tiny
from golden.tiny_speakers import VECTORS_ALONE, write_speaking
from hifigan_rt.errors import ConditioningError, EngineError, EngineUnavailable, MelError

pytestmark = pytest.mark.torch


@pytest.fixture
def vocoder(tmp_path):
    with hifigan_rt.load(write_tiny(tmp_path), engine="native") as loaded:
        yield loaded


def test_time_major_as_transformers_and_espnet_call_a_vocoder(vocoder):
    torch = pytest.importorskip("torch")
    module = hifigan_rt.as_torch_module(vocoder).to(torch.float16).eval()
    mels = np.stack([tiny_mel(9, seed) for seed in range(2)])
    tensor = torch.from_numpy(mels.transpose(0, 2, 1)).requires_grad_()
    for given in (tensor, tensor.contiguous()):
        audio = module(given)
        assert (audio.dtype, audio.requires_grad) == (torch.float32, False)
        np.testing.assert_array_equal(audio.numpy(), vocoder(mels))
        np.testing.assert_array_equal(module(given[0]).numpy(), vocoder(mels[0]))
    assert module.fs == 8000
    assert not list(module.parameters())


def test_bands_first_as_generators_have_them(vocoder):
    torch = pytest.importorskip("torch")
    module = hifigan_rt.as_torch_module(vocoder, time_major=False)
    mel = tiny_mel(7)
    for call in (module, module.inference):
        assert call(torch.from_numpy(mel[None])).shape == (1, 1, 56)
        np.testing.assert_array_equal(call(torch.from_numpy(mel))[0].numpy(), vocoder(mel))
    coarse = torch.from_numpy(mel).bfloat16()
    np.testing.assert_array_equal(module(coarse)[0].numpy(), vocoder(coarse.float().numpy()))


def test_copies_compute_the_same(vocoder):
    torch = pytest.importorskip("torch")
    module = hifigan_rt.as_torch_module(vocoder)
    mel = torch.from_numpy(tiny_mel(5).T)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other(mel), module(mel))


def test_its_voice_is_the_one_that_was_named(tmp_path):
    torch = pytest.importorskip("torch")
    mels = np.stack([tiny_mel(9, seed) for seed in range(2)])
    tensor = torch.from_numpy(mels.transpose(0, 2, 1))
    with hifigan_rt.load(write_speaking(tmp_path / "vectors", VECTORS_ALONE)) as vocoder:
        vector = torch.ones(6)
        module = hifigan_rt.as_torch_module(vocoder, conditioning=vector)
        vector[:] = -3
        np.testing.assert_array_equal(module(tensor).numpy(), vocoder(mels, conditioning=np.ones(6)))
    with hifigan_rt.load(write_speaking(tmp_path / "table")) as vocoder:
        module = hifigan_rt.as_torch_module(vocoder, speaker=torch.tensor([2]))
        for one in (module, pickle.loads(pickle.dumps(module))):
            np.testing.assert_array_equal(one(tensor).numpy(), vocoder(mels, speaker=2))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_programs_that_are_compiled_call_it_and_none_records_its_audio(vocoder):
    torch = pytest.importorskip("torch")
    module = hifigan_rt.as_torch_module(vocoder)
    program = torch.compile(lambda mel: module(mel * 0.5) * 2, backend="eager")
    for seed in range(2):
        mel = torch.from_numpy(tiny_mel(5, seed).T)
        assert torch.equal(program(mel), module(mel * 0.5) * 2)
    with pytest.raises(EngineError, match=r"cannot be recorded by torch\.jit\.trace"):
        torch.jit.trace(module, (mel,))


def test_what_is_no_mel(vocoder):
    torch = pytest.importorskip("torch")
    module = hifigan_rt.as_torch_module(vocoder)
    for wrong in (tiny_mel(5), torch.zeros(10), torch.zeros(1, 1, 5, 10)):
        with pytest.raises(MelError, match=r"the mel is a .*: a tensor \[T, M\] or \[B, T, M\] is needed"):
            module(wrong)
    with pytest.raises(MelError, match=r"has shape \[10, 5\], and this module takes \[T, 10\] .*time_major=False"):
        module(torch.zeros(10, 5))


def test_what_is_no_vocoder_or_no_speaker(vocoder):
    for wrong in (None, "ljspeech-v1"):
        with pytest.raises(EngineError, match=r"the vocoder is a \w+: give what hifigan_rt.load returned"):
            hifigan_rt.as_torch_module(wrong)
    with pytest.raises(ConditioningError, match="has one voice and takes neither"):
        hifigan_rt.as_torch_module(vocoder, speaker=1)
    vocoder.close()
    with pytest.raises(EngineError, match="is closed: load the model again"):
        hifigan_rt.as_torch_module(vocoder)


def test_without_pytorch(vocoder, monkeypatch):
    monkeypatch.setattr("hifigan_rt.tools.framework.find_spec", lambda name: None)
    with pytest.raises(EngineUnavailable, match="pip install torch"):
        hifigan_rt.as_torch_module(vocoder)
