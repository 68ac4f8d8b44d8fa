"""The generator of loads against a real server with a tiny network: what it counts, and that it hears wrong samples."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator

import load_generator
import numpy as np
import pytest
import soak

from measuring.load import Tally, Utterance, percentiles
from measuring.loopback import Answer, Connection, loopback_address
from running_server import Running, running
from serving_models import tiny_vocoder

SOURCES = {"model": tiny_vocoder}
VOCODER = tiny_vocoder()


def utterance(frames: int) -> Utterance:
    mel = np.random.default_rng(frames).uniform(-8, 0, (80, frames)).astype(np.float32)
    streamed = VOCODER(mel, segment_frames=32).tobytes()
    return Utterance(mel, frames * 256 / 22050, VOCODER(mel).tobytes(), streamed)


WORK = [utterance(70), utterance(300)]
WRONG = [dataclasses.replace(each, whole=each.streamed, streamed=each.whole) for each in WORK]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(SOURCES) as server:
        yield server


@pytest.mark.parametrize("kind", ["whole", "streamed", "live"])
def test_right_samples_are_counted_and_wrong_ones_are_heard(server: Running, kind: str) -> None:
    async def load(work: list[Utterance]) -> Tally:
        seconds = 1.5 if kind == "live" else 0.5
        return await getattr(load_generator, kind)(server.url, work, 2, seconds)  # type: ignore[no-any-return]

    right = asyncio.run(load(WORK if kind != "live" else WORK[:1]))
    assert right.wrong == 0
    assert right.answers["whole" if kind == "live" else "200"] >= 2
    assert set(right.answers) <= ({"whole", "cut"} if kind == "live" else {"200"})
    assert right.audio_seconds > 0
    assert (len(right.first_audio) > 0) == (kind != "whole")
    wrong = asyncio.run(load(WRONG if kind != "live" else WRONG[:1]))
    assert wrong.wrong > 0


def test_an_open_loop_sends_what_is_due_and_counts_refusals(server: Running) -> None:
    tally = asyncio.run(load_generator.open_loop(server.url, WORK, 40.0, 1.0))
    assert 15 < tally.answers["200"] < 80
    assert tally.wrong == 0
    with running(SOURCES, max_queued_requests=1) as narrow:
        tally = asyncio.run(load_generator.open_loop(narrow.url, WORK[1:], 200.0, 1.0))
    assert tally.answers["503"] == len(tally.refusals) > 0
    assert tally.without_retry_after == 0


def test_vanishing_clients_leave_a_server_that_works(server: Running) -> None:
    tally = asyncio.run(load_generator.vanishing(server.url, WORK, 4, 1.0))
    assert sum(tally.answers.values()) >= 4
    assert asyncio.run(load_generator.whole(server.url, WORK, 1, 0.2)).wrong == 0


def test_first_samples_are_timed_and_nonsense_is_refused(server: Running) -> None:
    assert 0 < asyncio.run(load_generator.first_samples(server.url, WORK[0], 16)) < 60
    tally = asyncio.run(soak.nonsense(server.url, 0.1))
    assert tally.wrong == 0
    assert sum(tally.answers.values()) >= len(soak.NONSENSE)


@pytest.mark.parametrize("url", ["http://example.org:80", "http://10.0.0.1:8004", "http://192.168.1.1"])
def test_other_machines_are_never_loaded(url: str) -> None:
    with pytest.raises(ValueError, match=r"this machine|does not appear"):
        Connection(url)


def test_loads_are_bounded() -> None:
    assert loopback_address("http://127.0.0.1:8004") == ("127.0.0.1", 8004)
    for clients, seconds in ((0, 1.0), (10_000, 1.0), (1, 1e9)):
        with pytest.raises(ValueError, match="at most"):
            asyncio.run(load_generator.whole("http://127.0.0.1:1", WORK, clients, seconds))


def test_a_tally_counts_only_accepted_requests_as_latency() -> None:
    tally = Tally(seconds=2.0)
    tally.count(Answer(200, {}, WORK[0].whole or b"", 0.1, 0.2), WORK[0], WORK[0].whole)
    tally.count(Answer(503, {}, b"", 0.01, 0.01), WORK[0], WORK[0].whole)
    summary = tally.summary()
    assert summary["latency_ms"]["max"] == 200.0
    assert summary["refusals_without_retry_after"] == 1
    assert summary["x_real_time"] == pytest.approx(WORK[0].seconds / 2)
    assert percentiles([]) is None


def soaked(**changes: object) -> dict[str, object]:
    idle = {"memory_mib": 400.0, "threads": 10, "files": 20}
    result: dict[str, object] = {
        "minutes": 30.0, "wrong": 0,
        "idle_before": idle, "idle_after": idle, "memory_growth_mib": 3.0, "answers": {"200": 5, "503": 2},
        "readings": [{"threads": 9}, {"threads": 12}, {"threads": 12}, {"threads": 12}],
    }  # fmt: skip
    return result | changes


def test_a_soak_complains_of_leaks_failures_and_wrong_samples() -> None:
    assert soak.complaints(soaked()) == []
    leaks: list[tuple[dict[str, object], str]] = [
        ({"wrong": 1}, "1 answers are wrong"),
        ({"idle_after": {"memory_mib": 400.0, "threads": 13, "files": 20}}, "threads grew from 12 to 13"),
        (
            {"minutes": 2.0, "idle_after": {"memory_mib": 400.0, "threads": 50, "files": 20}},
            "threads grew from 12 to 50",
        ),
        ({"idle_after": {"memory_mib": 400.0, "threads": 10, "files": 21}}, "files grew"),
        ({"memory_growth_mib": 50.0}, "memory grew by 50 MiB"),
        ({"memory_growth_mib": 80.0, "minutes": 2.0}, "memory grew by 80 MiB"),
        ({"answers": {"200": 1, "500": 1}}, "the server failed"),
        ({"answers": {"503": 1}}, "no request was answered"),
    ]
    for change, complaint in leaks:
        assert [text for text in soak.complaints(soaked(**change)) if complaint in text]
    assert soak.complaints(soaked(memory_growth_mib=50.0, minutes=2.0)) == []
    assert soak.complaints(soaked(idle_after={"memory_mib": 400.0, "threads": 13, "files": 20}, minutes=2.0)) == []
    # A leak that goes on is found, arenas that fill at the beginning are not.
    assert soak.growth([400.0 + minute for minute in range(100)]) > 70
    assert soak.growth([300.0] * 5 + [430.0] * 95) == 0
