"""Puts a vocoder where programs of PyTorch call one."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from hifigan_rt.engines.speakers import SpeakerLike, VectorLike
from hifigan_rt.errors import EngineError, EngineUnavailable
from hifigan_rt.vocoder import Vocoder

if TYPE_CHECKING:
    from hifigan_rt.tools.framework.module import VocoderModule


def as_torch_module(
    vocoder: Vocoder, *, time_major: bool = True, speaker: SpeakerLike = None, conditioning: VectorLike = None
) -> VocoderModule:
    """Wrap a vocoder as a `torch.nn.Module` of tensors.

    Args:
        vocoder: as `load` gives it, with any engine; its outputs are the same samples.
        time_major: whether mels are `[T, M]` or `[B, T, M]`, and audio `[N]` or `[B, N]`, as transformers and ESPnet
            call a vocoder. Otherwise mels are `[B, M, T]` and audio is `[B, 1, N]`, as generators themselves have them,
            Coqui TTS and SpeechBrain.
        speaker: one of the model's speakers, for all that is synthesised.
        conditioning: in place of a speaker a vector.

    Raises:
        EngineError: there is no vocoder, or it is closed.
        ConditioningError: a speaker or vector that the model does not take, or it needs one and none is given.
        EngineUnavailable: PyTorch is not installed.
    """
    if not isinstance(vocoder, Vocoder):
        raise EngineError(f"the vocoder is a {type(vocoder).__name__}: give what hifigan_rt.load returned")
    vocoder.engine.check_open()
    voice = vocoder.speaker_choice.one(speaker, conditioning)
    if voice is not None:  # the voice itself: what named it may be an array that is filled again
        speaker, conditioning = (int(voice), None) if conditioning is None else (None, voice)
    if find_spec("torch") is None:
        raise EngineUnavailable("as_torch_module needs PyTorch, which is not installed: pip install torch")
    from hifigan_rt.tools.framework.module import make_module

    return make_module(vocoder, time_major, speaker, conditioning)
