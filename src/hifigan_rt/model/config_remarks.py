"""What of a config means something else than one may think."""

from __future__ import annotations

from hifigan_rt.config import GeneratorConfig, MelConfig, ModelConfig, PartialMelConfig
from hifigan_rt.formats.checkpoint.reader import WholeVoice
from hifigan_rt.mel.analysis import bands_above_nyquist


def describe_odd_stages(generator: GeneratorConfig) -> tuple[str, ...]:
    """Tell that a kernel minus its rate is odd, which projects read in two ways."""
    if generator.upsample_paddings is not None or generator.causal:
        return ()
    pairs = zip(generator.upsample_rates, generator.upsample_kernel_sizes, strict=True)
    odd = [f"{kernel} - {rate}" for rate, kernel in pairs if (kernel - rate) % 2]
    if not odd:
        return ()
    return (
        f"upsample_kernel_sizes minus upsample_rates is odd ({', '.join(odd)}): computed as the original does, which "
        "gives one sample more at each such stage. ParallelWaveGAN, ESPnet and their relatives cut the stage to "
        f"rate times its input (output_padding): weights from there should give {generator.hop_length} samples for "
        "each frame, and come out shifted and too long here. --family parallel-wavegan (in Python "
        'family="parallel-wavegan") reads them so, --family hifi-gan confirms the original\'s reading',
    )


def describe_input(config: ModelConfig) -> tuple[str, ...]:
    """Tell that recordings are not analysed, and why, or what an unusual mel setting means."""
    if config.generator.input_kind == "mel":
        return describe_mel(config.mel)
    return (
        f"it takes latents of {config.generator.input_channels} channels, which another network computes, "
        "and no mels: recordings are not analysed",
    )


def describe_mel(mel: MelConfig | PartialMelConfig | None) -> tuple[str, ...]:
    """Tell which mel settings are missing, and what an unusual one means."""
    if isinstance(mel, MelConfig):
        return _describe_bands_above_nyquist(mel)
    missing = PartialMelConfig.NEEDED if mel is None else mel.missing
    files = " and written to files" if mel is not None and mel.sample_rate is not None else ""
    return (
        f"mel settings that the config does not state: {', '.join(missing)}; mels are synthesised{files}, recordings "
        "are not analysed",
    )


def _describe_bands_above_nyquist(mel: MelConfig) -> tuple[str, ...]:
    """Tell of bands above half the sample rate."""
    if mel.effective_fmax <= mel.sample_rate / 2:
        return ()
    return (
        f"fmax={mel.fmax:g} Hz lies above half the sample rate, {mel.sample_rate / 2:g} Hz: as in the original, bands "
        f"are spread up to it, and {bands_above_nyquist(mel)} of {mel.num_mels} are always at the floor",
    )


def describe_voice(voice: WholeVoice | None) -> tuple[str, ...]:
    """Tell of which voice a generator is the decoder, and what of it is not run."""
    if voice is None:
        return ()
    parts = f": {', '.join(voice.parts)} beside it are not run" if voice.parts else ""
    return (f"it is the decoder of {voice.name}{parts}",)
