"""Two runs on one folder of an object store: one is refused, or takes over what the other left."""

from __future__ import annotations

import json
import threading

import pytest

from hifigan_rt.errors import OutputError
from hifigan_rt.tools.cluster.store_claim import CLAIM_NAME, claimed_place, read_claim
from store_runs import ALL, BEAT_S, Doubled, place_of, results, run

pytestmark = [pytest.mark.ray, pytest.mark.object_store, pytest.mark.usefixtures("home")]


def claim(bucket, run_id="other", beats=1):
    record = {"run": run_id, "beats": beats, "process": 1, "host": "elsewhere", "since": "2026-01-01"}
    bucket.put(f"out/{CLAIM_NAME}", json.dumps(record).encode())


def test_a_run_that_is_at_work_elsewhere_is_left_alone(filled):
    claim(filled)
    beats = iter(range(2, 1 << 20))
    ended = threading.Event()

    def beat():
        while not ended.wait(BEAT_S / 2):
            claim(filled, beats=next(beats))

    thread = threading.Thread(target=beat)
    thread.start()
    work = Doubled()
    try:
        with pytest.raises(OutputError, match=r"another run is at work in 'file://.*/out', on host elsewhere"):
            run(filled, work, beat_s=20)
    finally:
        ended.set()
        thread.join()
    assert work.done == []
    assert read_claim(place_of(filled))["run"] == "other"


def test_a_claim_that_was_left_over_is_taken_over(filled):
    claim(filled)
    told = []
    assert run(filled, waiting=told.append).complete
    assert "has the claim of a run on host elsewhere" in told[0]
    assert read_claim(place_of(filled)) is None


def test_a_claim_of_this_machine_is_taken_over_at_once(filled):
    place = place_of(filled)
    started = []
    with claimed_place(place, (), starting=started.append, beat_s=60, settle_s=0):
        left = filled.get(f"out/{CLAIM_NAME}")
    filled.put(f"out/{CLAIM_NAME}", left)
    told = []
    with claimed_place(place, started, waiting=told.append, beat_s=60, settle_s=0):
        pass
    assert told == []


def test_a_run_whose_place_is_taken_ends(filled):
    def before(text):
        if text == "c":
            claim(filled)
            taken.wait(10)

    taken = threading.Event()
    threading.Timer(3 * BEAT_S, taken.set).start()
    summary = run(filled, Doubled(before))
    assert "another run is at work" in summary.stopped
    assert "out/manifest.jsonl" not in filled.names()
    assert read_claim(place_of(filled))["run"] == "other"
    filled.delete(f"out/{CLAIM_NAME}")
    assert run(filled, resume=True).complete
    assert results(filled) == ALL


def test_two_runs_on_one_machine(filled):
    def before(text):
        if text == "a":
            with pytest.raises(OutputError, match=r"can make no results for 'file://.*/out' now: another run"):
                run(filled)

    assert run(filled, Doubled(before)).complete
