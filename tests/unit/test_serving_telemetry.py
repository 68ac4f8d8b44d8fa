from __future__ import annotations

from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from hifigan_rt.tools.serving.telemetry import Telemetry


def samples(telemetry: Telemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = telemetry.exposition().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("hifigan_")
    }


def test_everything_that_is_told_can_be_read_by_prometheus() -> None:
    telemetry = Telemetry()
    model = (("model", "m"),)
    telemetry.request_finished("/v1/synthesize", 200, "m", 0.5)
    telemetry.rejected("queue_full")
    telemetry.cancelled()
    telemetry.clipped("m", 7)
    telemetry.batch("m", 3)
    telemetry.first_audio("m", 0.03)
    telemetry.computed("m", 0.2)
    telemetry.block("m", 2.0, 0.1, 20.0)
    telemetry.queue(4, 8.5, 2)
    telemetry.model_loaded("m", "ok")
    told = samples(telemetry)
    expected = {
        ("hifigan_requests_total", (("model", "m"), ("route", "/v1/synthesize"), ("status", "200"))): 1,
        ("hifigan_request_seconds_sum", (("route", "/v1/synthesize"),)): 0.5,
        ("hifigan_rejected_requests_total", (("reason", "queue_full"),)): 1,
        ("hifigan_cancelled_requests_total", ()): 1,
        ("hifigan_clipped_samples_total", model): 7,
        ("hifigan_batch_size_sum", model): 3,
        ("hifigan_first_audio_seconds_sum", model): 0.03,
        ("hifigan_compute_seconds_sum", model): 0.2,
        ("hifigan_audio_seconds_total", model): 2.0,
        ("hifigan_engine_busy_seconds_total", model): 0.1,
        ("hifigan_x_real_time", model): 20.0,
        ("hifigan_queued_requests", ()): 4,
        ("hifigan_queued_audio_seconds", ()): 8.5,
        ("hifigan_active_streams", ()): 2,
        ("hifigan_model_loads_total", (("model", "m"), ("result", "ok"))): 1,
    }
    assert {key: told.get(key) for key in expected} == expected


def test_two_servers_in_one_process_do_not_count_for_each_other() -> None:
    first, second = Telemetry(), Telemetry()
    first.cancelled()
    assert samples(second)[("hifigan_cancelled_requests_total", ())] == 0


def test_the_process_tells_its_memory_and_files() -> None:
    text = Telemetry().exposition()
    assert b"process_resident_memory_bytes" in text
    assert b"process_open_fds" in text


def test_the_format_is_the_one_that_every_scraper_knows():
    """The package's own choice for those who name none, and its own parser reads it."""
    _, content_type = choose_encoder("")
    assert Telemetry.content_type == content_type
    telemetry = Telemetry()
    telemetry.rejected('of "a"\n\\')
    families = {family.name: family for family in text_string_to_metric_families(telemetry.exposition().decode())}
    assert families["hifigan_rejected_requests"].samples[0].labels == {"reason": 'of "a"\n\\'}


def test_samples_of_a_replica_say_whose_they_are():
    telemetry = Telemetry("replica 7")
    telemetry.request_finished("/v1/synthesize", 200, "m", 0.5)
    lines = [line for line in telemetry.exposition().decode().splitlines() if not line.startswith("#")]
    assert 'hifigan_requests_total{model="m",replica="replica 7",route="/v1/synthesize",status="200"} 1.0' in lines
    assert all('replica="replica 7"' in line for line in lines)
    assert "replica" not in Telemetry().exposition().decode()
