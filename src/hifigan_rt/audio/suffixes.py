"""Names of recordings."""

AUDIO_SUFFIXES = frozenset({".wav", ".wave", ".bwf", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3"})
"""Suffixes in lower case of what `read_audio` reads; folders are searched for them. Content tells what a file is."""
