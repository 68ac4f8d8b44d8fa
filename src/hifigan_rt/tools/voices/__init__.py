"""Voices: Piper's files of text to speech, of which the generator runs here like any other."""

from hifigan_rt.tools.voices.file import VoiceOutline, outline_voice
from hifigan_rt.tools.voices.voice import Voice, load_voice

__all__ = ["Voice", "VoiceOutline", "load_voice", "outline_voice"]
