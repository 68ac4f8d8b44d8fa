"""Recordings in and out: decoded with limits, changed only as the user allows, written rounded, clipped and counted."""

from hifigan_rt.audio.conversion import as_samples, conversions, prepare, resample, to_mono
from hifigan_rt.audio.decoding import DEFAULT_MAX_SECONDS, Recording, read_audio
from hifigan_rt.audio.encoding import (
    AudioWriter,
    Container,
    Encoding,
    open_audio_writer,
    to_pcm16,
    to_pcm24,
    write_audio,
)
from hifigan_rt.audio.suffixes import AUDIO_SUFFIXES

__all__ = [
    "AUDIO_SUFFIXES",
    "DEFAULT_MAX_SECONDS",
    "AudioWriter",
    "Container",
    "Encoding",
    "Recording",
    "as_samples",
    "conversions",
    "open_audio_writer",
    "prepare",
    "read_audio",
    "resample",
    "to_mono",
    "to_pcm16",
    "to_pcm24",
    "write_audio",
]
