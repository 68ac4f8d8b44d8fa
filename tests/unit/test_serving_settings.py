from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from hifigan_rt.errors import AudioError, ConfigError, EngineError, MelError
from hifigan_rt.tools.serving.errors import QueueFull, as_serving_error
from hifigan_rt.tools.serving.settings import ServerSettings


def test_the_defaults_are_loopback_and_allow_an_hour() -> None:
    settings = ServerSettings()
    assert (settings.host, settings.port, settings.cors_origins) == ("127.0.0.1", 8004, ())
    assert settings.max_mel_seconds == 3600 <= settings.max_queued_audio_seconds


NUMBERS = [field.name for field in fields(ServerSettings) if field.type in ("int", "float")]


@pytest.mark.parametrize("name", NUMBERS)
def test_no_limit_can_be_negative_absent_or_endless(name: str) -> None:
    for value in (-1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=name):
            ServerSettings(**{name: value})


@pytest.mark.parametrize(
    "values",
    [
        {"port": 65536},
        {"bearer_tokens": ("",)},
        {"bearer_tokens": ("a", "  ")},
        {"bearer_tokens": ("a", "a")},
        {"bulk_share": 1.0},
        {"bulk_share": 0.0},
        {"live_segment_frames": 5000},
        {"max_live_streams": 0},
    ],
)
def test_values_that_no_server_can_work_with_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values)).replace("_tokens", " token")):
        ServerSettings(**values)


def test_errors_are_told_by_code_and_those_of_the_insides_without_their_text() -> None:
    told = {error: as_serving_error(error) for error in (MelError("m"), AudioError("a"), ConfigError("c"))}
    assert [(error.code, error.status, error.message) for error in told.values()] == [
        ("mel_invalid", 400, "m"),
        ("audio_invalid", 400, "a"),
        ("bad_request", 400, "c"),
    ]
    for inner, code in ((EngineError("/path"), "engine_failed"), (OSError("/path"), "internal")):
        error = as_serving_error(inner)
        assert (error.code, error.status) == (code, 500)
        assert "/path" not in error.message
    full = QueueFull("full", 3.0)
    assert as_serving_error(full) is full
    assert (full.status, full.retry_after_seconds) == (503, 3.0)
