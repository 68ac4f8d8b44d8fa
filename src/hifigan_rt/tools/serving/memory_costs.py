"""Bytes that requests become, by what is known of them: counted in the budget of memory before they are made."""

from __future__ import annotations

from hifigan_rt.tools.serving.leases import ModelLease
from hifigan_rt.tools.serving.settings import ServerSettings

REQUEST_BYTES = 1 << 20
"""Memory of any request beside what it holds: blocks that are decoded, checked or encoded at once."""

RECORDING_BYTES = 12 << 20
"""Memory of the analysis of a recording: a block of samples and its spectra."""

JSON_BYTES_PER_VALUE = 20
"""Memory of a number of a JSON list: float64 in its list and in the array of all lists, float32 in the mel."""

_ENCODED_BYTES_PER_SAMPLE = {"wav": 2, "pcm16": 2, "flac": 3, "opus": 1, "float32": 0}
"""Bytes of whole answers; float32 is sent from where it was computed."""

_WHOLE_RUN_BYTES_PER_SAMPLE = 512
"""Memory of a converted model whose layers are not known, so that it computes a mel at once: all layers' values."""

_STREAM_STATE_BYTES = 1 << 20


def mel_bytes(bands: int, frames: int) -> int:
    """Tell the bytes of a mel, float32 `[M, T]`."""
    return 4 * bands * frames


def audio_bytes(lease: ModelLease, frames: int) -> int:
    """Tell the bytes that computing a mel's audio takes, float32 `[N]`."""
    at_once = _WHOLE_RUN_BYTES_PER_SAMPLE if lease.vocoder.graph is None else 0
    return (4 + at_once) * frames * lease.hop_length


def answer_bytes(lease: ModelLease, frames: int, name: str, settings: ServerSettings, *, streamed: bool) -> int:
    """Tell the bytes of a mel's audio and of its answer.

    Args:
        lease: the model.
        frames: of the mel.
        name: a key of `audio.formats.FORMATS`.
        settings: of the server.
        streamed: whether the audio is sent while it is computed, and at most `max_unread_seconds` of it are kept.
    """
    if streamed:
        unread = int(settings.max_unread_seconds * lease.sample_rate)
        return _STREAM_STATE_BYTES + 4 * min(frames * lease.hop_length, unread)
    return audio_bytes(lease, frames) + _ENCODED_BYTES_PER_SAMPLE[name] * frames * lease.hop_length


def live_stream_bytes(lease: ModelLease, settings: ServerSettings, max_message_bytes: int) -> int:
    """Tell the bytes that a WebSocket's frames and audio take at most."""
    pending = settings.max_pending_seconds * lease.sample_rate / lease.hop_length * 4 * (lease.num_mels or 0)
    unread = settings.max_unread_seconds * lease.sample_rate * 4
    return _STREAM_STATE_BYTES + int(pending + unread) + 2 * max_message_bytes
