"""Three stages in three threads: order, errors, bounds, stopping."""

from __future__ import annotations

import threading
import time

import pytest

from hifigan_rt.tools.bulk.pipeline import Pipeline, Stages


def run(jobs, *, read=lambda job: job, compute=lambda job, value: value, write=lambda job, value, seconds: value):
    reported = []
    pipeline = Pipeline(Stages(read, compute, write), lambda job, result, error: (job, result, error))
    pipeline.run(jobs, reported.append)
    return reported


def test_results_come_in_order():
    reported = run(range(50), compute=lambda job, value: value + 1, write=lambda job, value, seconds: value * 2)
    assert [(job, result) for job, result, _ in reported] == [(i, (i + 1) * 2) for i in range(50)]


def test_nothing_to_do():
    assert run([]) == []


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_an_error_in_any_stage_ends_its_item_only(stage):
    def fail(job, *_):
        if job == 3:
            raise ValueError("bad")
        return job

    reported = run(range(6), **{stage: fail})
    assert [job for job, _, _ in reported] == list(range(6))
    assert [job for job, _, error in reported if error is not None] == [3]
    assert str(reported[3][2]) == "bad"


def test_the_stages_overlap():
    lock, active, seen = threading.Lock(), set(), set()

    def stage(name):
        def work(job, *_):
            with lock:
                active.add(name)
                seen.add(frozenset(active))
            time.sleep(0.01)
            with lock:
                active.remove(name)
            return job

        return work

    run(range(60), read=stage("read"), compute=stage("compute"), write=stage("write"))
    assert any({"read", "compute", "write"} <= names for names in seen)


def test_few_items_are_alive_at_once():
    alive, most = 0, 0
    lock = threading.Lock()

    def read(job):
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return job

    def write(job, value, seconds):
        nonlocal alive
        time.sleep(0.001)
        with lock:
            alive -= 1

    run(range(200), read=read, write=write)
    assert most <= 8


def test_stop_ends_the_run_with_its_reason():
    done = []

    def finish(job, result, error):
        done.append(job)
        if job == 2:
            pipeline.stop(OSError("full"))

    pipeline = Pipeline(Stages(lambda job: job, lambda job, value: value, lambda job, value, seconds: value), finish)
    with pytest.raises(OSError, match="full"):
        pipeline.run(range(1000), lambda _: None)
    assert done == [0, 1, 2]


def test_an_interruption_lets_the_computed_items_be_written():
    written, computed = [], []
    slow_write = threading.Event()

    def compute(job, value):
        computed.append(job)
        return value

    def write(job, value, seconds):
        slow_write.wait(0.02)
        written.append(job)

    def report(job):
        if job == 5:
            raise KeyboardInterrupt

    pipeline = Pipeline(Stages(lambda job: job, compute, write), lambda job, result, error: job)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(range(10_000), report)
    assert written == list(range(len(written)))
    assert 6 <= len(written) < 20
    assert not any(thread.name.startswith("hifigan-") for thread in threading.enumerate())


def test_an_interruption_does_not_wait_for_a_busy_engine():
    release = threading.Event()
    finished = []

    def compute(job, value):
        if job == 1:
            release.wait(300)
            finished.append(job)
        return value

    def report(job):
        raise KeyboardInterrupt

    pipeline = Pipeline(Stages(lambda job: job, compute, lambda job, value, seconds: value), lambda job, *_: job)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(range(5), report)
    assert not finished
    release.set()


def test_an_error_outside_the_stages_reaches_the_caller():
    def jobs():
        yield 1
        raise RuntimeError("the list broke")

    with pytest.raises(RuntimeError, match="the list broke"):
        run(jobs())


def test_an_error_in_finish_reaches_the_caller():
    def finish(job, result, error):
        raise RuntimeError("no record")

    pipeline = Pipeline(Stages(lambda job: job, lambda job, value: value, lambda job, value, seconds: value), finish)
    with pytest.raises(RuntimeError, match="no record"):
        pipeline.run(range(100), lambda _: None)


@pytest.mark.parametrize("given", [0, 1, 2])
def test_a_thread_that_the_system_does_not_give_is_told(monkeypatch, given):
    """Joining one that never began raised an error of its own, which hid what was lacking."""
    threads, start = iter(range(3)), threading.Thread.start

    def start_or_fail(thread):
        if next(threads) == given:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_fail)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run([1, 2, 3])
