"""Every limit of the server, with its default and unit."""

from __future__ import annotations

from dataclasses import dataclass

from hifigan_rt.engines.streams import MAX_SEGMENT_FRAMES
from hifigan_rt.errors import ConfigError


@dataclass(frozen=True)
class ServerSettings:
    """What the server listens on, what it lets in, and how it shares the processor.

    Raises:
        ConfigError: a value that no server can work with.
    """

    host: str = "127.0.0.1"
    port: int = 8004
    bearer_token: str | None = None
    """Asked of every request but those for health; None lets everybody in."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call this server from a browser; none by default."""

    max_body_bytes: int = 64 << 20
    """Of any request, after decompression too."""
    max_json_bytes: int = 16 << 20
    """Of a JSON body: parsed, it takes several times its size."""
    max_mel_seconds: float = 3600.0
    """Audio seconds of one mel, or of one recording."""
    max_batch_items: int = 64
    """Mels in one request."""
    max_concurrent_requests: int = 512
    """Requests that are read, computed or written at the same time."""

    header_timeout_seconds: float = 10.0
    """For a client to send its request's headers."""
    body_timeout_seconds: float = 60.0
    """For a client to send its request's body."""
    write_timeout_seconds: float = 30.0
    """For a client to take in what was sent to it, before it counts as gone."""
    idle_timeout_seconds: float = 60.0
    """Of a WebSocket whose client sends nothing while nothing is computed for it."""
    request_timeout_seconds: float = 300.0
    """From a request's arrival to its last sample, for whole requests."""
    grace_seconds: float = 30.0
    """For what has begun to be finished when the server shuts down."""

    max_queued_requests: int = 256
    """Requests waiting or being computed; more are refused."""
    max_queued_audio_seconds: float = 7200.0
    """Audio that is still to be computed for them. A single request within `max_mel_seconds` is let in nevertheless."""
    max_queue_wait_seconds: float = 5.0
    """Expected time to compute all that waits, by the measured speed; beyond it requests are refused."""
    overload_queue_wait_seconds: float = 0.25
    """The same while requests have to be refused; see `patience`."""
    max_live_streams: int = 64
    """WebSocket streams that are open at the same time."""
    max_urgent_share: float = 0.95
    """Of the processor, taken by streams that are played as they come; beyond it no live stream is opened."""

    live_segment_frames: int = 16
    """Frames that a live stream computes together unless its client asks otherwise."""
    max_live_segment_frames: int = 256
    """That a client may ask for; a block holds up all others."""
    streamed_segment_frames: int = 32
    """Frames that a streamed response computes together: few enough for an early first sample, and cheaper than 16."""
    block_frames: int = 256
    """Whole mels yield to others after so many frames, on engines without segments of their own."""
    max_pending_seconds: float = 30.0
    """Audio that a live stream's frames may wait to be computed for, before its client has to wait."""
    max_unread_seconds: float = 20.0
    """Computed audio of a stream that its client has not taken, before computing for it pauses."""
    urgent_lead_seconds: float = 0.5
    """A stream that has delivered so much more than was played since is no longer urgent."""
    bulk_share: float = 0.1
    """Of the processor, for whole requests while urgent streams would take all of it."""
    ageing: float = 1.0
    """Seconds of computing by which a request gains on shorter ones per second that it has waited."""

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if not value > 0:
                raise ConfigError(f"{name}={value!r} must be above 0")
        for name in ("grace_seconds", "urgent_lead_seconds"):
            value = getattr(self, name)
            if not value >= 0:
                raise ConfigError(f"{name}={value!r} must not be negative")
        for name in ("live_segment_frames", "streamed_segment_frames", "max_live_segment_frames", "block_frames"):
            value = getattr(self, name)
            if value > MAX_SEGMENT_FRAMES:
                raise ConfigError(f"{name}={value} must be from 1 to {MAX_SEGMENT_FRAMES}")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port={self.port} must be from 0 to 65535; 0 takes a free one")
        if self.bearer_token is not None and not self.bearer_token.strip():
            raise ConfigError("the bearer token is empty: give one, or none at all")
        if not 0 < self.bulk_share < 1:
            raise ConfigError(f"bulk_share={self.bulk_share} must lie between 0 and 1")


_POSITIVE = (
    "max_body_bytes",
    "max_json_bytes",
    "max_mel_seconds",
    "max_batch_items",
    "max_concurrent_requests",
    "header_timeout_seconds",
    "body_timeout_seconds",
    "write_timeout_seconds",
    "idle_timeout_seconds",
    "request_timeout_seconds",
    "max_queued_requests",
    "max_queued_audio_seconds",
    "max_queue_wait_seconds",
    "overload_queue_wait_seconds",
    "max_live_streams",
    "max_urgent_share",
    "live_segment_frames",
    "max_live_segment_frames",
    "streamed_segment_frames",
    "block_frames",
    "max_pending_seconds",
    "max_unread_seconds",
    "ageing",
)
