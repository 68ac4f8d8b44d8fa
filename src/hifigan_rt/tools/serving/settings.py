"""Limits of the server, each with its default and unit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hifigan_rt.engines.streams import MAX_SEGMENT_FRAMES
from hifigan_rt.errors import ConfigError
from hifigan_rt.tools.serving.clients import networks


@dataclass(frozen=True)
class ServerSettings:
    """Settings of a server: where it listens, what it lets in, and how it shares the processor.

    Raises:
        ConfigError: a value that no server can work with.
    """

    host: str = "127.0.0.1"
    port: int = 8004
    wyoming_host: str = "127.0.0.1"
    wyoming_port: int | None = None
    """Port of the Wyoming protocol, which knows no tokens; None does not speak it."""
    bearer_tokens: tuple[str, ...] = ()
    """Tokens of which every request but those for health must have one; none lets everybody in. Of several, each is a
    client: all who have it share one part of the limits."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call this server from a browser; none by default."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies whose X-Forwarded-For tells clients apart; none by default."""
    replica: str = ""
    """Name of this server among the replicas of a cluster, which each sample of `/metrics` then has as a label; such a
    server reloads no model by itself."""

    max_body_bytes: int = 64 << 20
    """Maximum size of a request's body, after decompression too."""
    memory_budget_bytes: int | None = None
    """Memory that all that requests become may take together; None is what `MemoryBudget.fit_to_machine` finds."""
    max_json_bytes: int = 16 << 20
    """Maximum size of a JSON body, which takes several times its size once it is parsed."""
    max_mel_seconds: float = 3600.0
    """Maximum audio seconds of one mel, or of one recording."""
    max_batch_items: int = 64
    """Maximum number of mels in one request."""
    max_concurrent_requests: int = 512
    """Maximum number of requests that are read, computed or written at the same time; no lone client gets
    the last sixteenth."""

    header_timeout_seconds: float = 10.0
    """Time for a client to send its request's headers."""
    body_timeout_seconds: float = 60.0
    """Time for a client to send its request's body."""
    write_timeout_seconds: float = 30.0
    """Time for a client to take in what was sent to it, before it counts as gone."""
    idle_timeout_seconds: float = 60.0
    """Time that a WebSocket's client may send nothing while nothing is computed for it."""
    request_timeout_seconds: float = 300.0
    """Time from a request's arrival to its last sample, of whole requests."""
    grace_seconds: float = 30.0
    """Time to finish what has begun when the server shuts down."""

    max_queued_requests: int = 256
    """Maximum number of requests waiting or being computed, of one client; others may add a sixteenth."""
    max_queued_audio_seconds: float = 7200.0
    """Maximum audio still to be computed for them, likewise. A client's only request may be longer if nothing else
    waits."""
    max_queue_wait_seconds: float = 5.0
    """Maximum expected time to compute all that is before a request, by the measured speed."""
    overload_queue_wait_seconds: float = 0.25
    """Maximum expected time while requests have to be refused; see `QueueLimit`."""
    max_live_streams: int = 64
    """Maximum number of WebSocket streams that are open at the same time, likewise."""
    max_urgent_share: float = 0.95
    """Share of the processor taken by live streams, beyond which no client may open more than its part of them."""

    live_segment_frames: int = 16
    """Frames that a live stream computes together unless its client asks otherwise."""
    max_live_segment_frames: int = 256
    """Maximum segment that a client may ask for: a block holds up all others."""
    streamed_segment_frames: int = 32
    """Frames that a streamed response computes together: few enough for an early first sample, and cheaper than 16."""
    block_frames: int = 256
    """Frames after which whole mels yield to others, on engines without segments of their own."""
    max_pending_seconds: float = 30.0
    """Audio that a live stream's frames may wait to be computed for, before its client has to wait."""
    max_unread_seconds: float = 20.0
    """Computed audio of a stream that its client has not taken, before computing for it pauses."""
    urgent_lead_seconds: float = 0.5
    """Audio delivered ahead of what was played since, beyond which a stream is no longer urgent."""
    bulk_share: float = 0.1
    """Share of the processor for those who have had the least, whatever goes before them; see `BlockOrder`."""
    ageing: float = 1.0
    """Seconds of computing by which a request gains on shorter ones per second that it has waited."""

    @property
    def retry_after_seconds(self) -> float:
        """When to try again what found no room, where nothing tells how long it would have to wait."""
        return float(math.ceil(min(30.0, max(1.0, self.max_queue_wait_seconds / 2))))

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in ("port", "wyoming_port") and value is not None:
                if not 0 <= value <= 65535:
                    raise ConfigError(f"{name}={value} must be from 0 to 65535; 0 takes a free one")
            elif name in _MAY_BE_ZERO:
                if not 0 <= value < math.inf:
                    raise ConfigError(f"{name}={value!r} must be a finite number, and not negative")
            elif isinstance(value, (int, float)) and not 0 < value < math.inf:
                raise ConfigError(f"{name}={value!r} must be a finite number above 0")
            if name.endswith("_frames") and value > MAX_SEGMENT_FRAMES:
                raise ConfigError(f"{name}={value} must be from 1 to {MAX_SEGMENT_FRAMES}")
        if not all(token.strip() for token in self.bearer_tokens):
            raise ConfigError("a bearer token is empty: give one, or none at all")
        if len(set(self.bearer_tokens)) < len(self.bearer_tokens):
            raise ConfigError("a bearer token is given twice, and would be two clients: give it once")
        try:
            networks(self.trusted_proxies)
        except ValueError as error:
            raise ConfigError(f"trusted_proxies: {error}: give addresses or networks such as 10.0.0.0/8") from error
        if not self.bulk_share < 1:
            raise ConfigError(f"bulk_share={self.bulk_share} must lie between 0 and 1")


_MAY_BE_ZERO = ("grace_seconds", "urgent_lead_seconds")
