"""A vocoder where programs of PyTorch call one: a module around it, which takes and gives tensors."""

from __future__ import annotations

from typing import Any

import torch

from hifigan_rt.engines.speakers import SpeakerLike, VectorLike
from hifigan_rt.errors import EngineError, MelError
from hifigan_rt.mel.arrays import is_on_device
from hifigan_rt.vocoder import Vocoder


class VocoderModule(torch.nn.Module):
    """A loaded vocoder as a module without parameters; made by `as_torch_module`.

    Moving it (`to`, `cuda`, `half`) changes nothing: its engine computes where it was loaded. No gradient passes.
    """

    def __init__(self, vocoder: Vocoder, *, time_major: bool, speaker: SpeakerLike, conditioning: VectorLike) -> None:
        super().__init__()
        self.vocoder = vocoder
        self.time_major = time_major
        self._given = {
            name: value for name, value in (("speaker", speaker), ("conditioning", conditioning)) if value is not None
        }

    @property
    def fs(self) -> int | None:
        """The sample rate in Hz, under the name that ESPnet asks for; None if nothing tells it."""
        return self.vocoder.model.sample_rate

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        """Synthesise.

        Args:
            mel: floats `[T, M]` or `[B, T, M]`, if it is time-major, else `[M, T]` or `[B, M, T]`; on any device.

        Returns:
            float32 in [-1, 1], on the mel's device: `[N]` or `[B, N]`, if it is time-major, else `[1, N]` or
            `[B, 1, N]`.

        Raises:
            MelError: it is no tensor of 2 or 3 dimensions; or see `Vocoder.__call__`, for the rest.
            EngineError: the module is recorded by `torch.jit.trace`, which would keep the audio of one mel for all.
        """
        if torch.jit.is_tracing():
            raise EngineError(
                "a vocoder's module cannot be recorded by torch.jit.trace, since its engine is no part of PyTorch: "
                "trace the model before it, and convert this one with `hifigan export`"
            )
        if torch.compiler.is_compiling():
            audio: torch.Tensor = torch.compiler.disable(self._synthesise)(mel)
            return audio
        return self._synthesise(mel)

    def inference(self, mel: torch.Tensor) -> torch.Tensor:
        """Synthesise, under the name that Coqui TTS and ParallelWaveGAN call."""
        audio: torch.Tensor = self(mel)
        return audio

    def _synthesise(self, mel: torch.Tensor) -> torch.Tensor:
        if not isinstance(mel, torch.Tensor) or mel.ndim not in (2, 3):
            shape = f" of shape {list(mel.shape)}" if isinstance(mel, torch.Tensor) else ""
            order = "[T, M] or [B, T, M]" if self.time_major else "[M, T] or [B, M, T]"
            raise MelError(f"the mel is a {type(mel).__name__}{shape}: a tensor {order} is needed")
        bands = self.vocoder.num_mels
        if self.time_major and bands is not None and mel.shape[-1] != bands:
            raise MelError(
                f"the mel has shape {list(mel.shape)}, and this module takes [T, {bands}] or [B, T, {bands}]: bands "
                "before frames are taken with as_torch_module(vocoder, time_major=False)"
            )
        ours = mel.detach().transpose(-1, -2) if self.time_major else mel.detach()
        engine = self.vocoder.engine_info.name
        if is_on_device(ours) and engine != "torch" and not (engine == "cuda" and ours.is_cuda):
            ours = ours.cpu()
        if ours.dtype == torch.bfloat16:
            ours = ours.float()  # NumPy has no such type
        synthesise: Any = self.vocoder
        audio: torch.Tensor = torch.as_tensor(synthesise(ours, **self._given), device=mel.device)
        return audio if self.time_major else audio.unsqueeze(-2)

    def __reduce__(self) -> tuple[Any, ...]:
        given = self._given
        return make_module, (self.vocoder, self.time_major, given.get("speaker"), given.get("conditioning"))


def make_module(
    vocoder: Vocoder,
    time_major: bool,
    speaker: SpeakerLike,
    conditioning: VectorLike,
) -> VocoderModule:
    """Make the module again, as a pickle of it does."""
    return VocoderModule(vocoder, time_major=time_major, speaker=speaker, conditioning=conditioning)
