"""The budget of memory: what fits is given, what does not waits or is refused, and nothing is lost or held for ever."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from hifigan_rt.system import machine
from hifigan_rt.tools.serving import memory_budget
from hifigan_rt.tools.serving.errors import PayloadTooLarge, QueueFull
from hifigan_rt.tools.serving.memory_budget import MemoryBudget
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.telemetry import Telemetry

pytestmark = pytest.mark.anyio

MB = 10**6


def budget_of(total_mb: int | None = 640, wait_seconds: float = 0.02) -> MemoryBudget:
    total = None if total_mb is None else total_mb * MB
    settings = ServerSettings(memory_budget_bytes=total, max_queue_wait_seconds=wait_seconds)
    return MemoryBudget(settings, Telemetry())


def holder(client: str = "a") -> SimpleNamespace:
    return SimpleNamespace(client=client, held_bytes=0)


def test_what_could_never_fit_is_refused_with_both_numbers():
    budget = budget_of()
    with pytest.raises(PayloadTooLarge) as caught:
        budget.grow(holder(), 481 * MB)
    assert caught.value.message == (
        "the request would take 481.0 MB of memory, and one may take 480.0 MB: send less at once; the server's "
        "--memory-budget is the limit"
    )
    with pytest.raises(PayloadTooLarge):
        asyncio.run(budget.reserve(holder(), 481 * MB))
    assert budget.held_bytes == 0


async def test_large_requests_leave_a_quarter_to_small_ones():
    budget = budget_of()
    large, small = holder(), holder()
    await budget.reserve(large, 480 * MB)
    with pytest.raises(QueueFull) as caught:
        await budget.reserve(holder(), 11 * MB)
    assert caught.value.retry_after_seconds == 1
    await budget.reserve(small, 10 * MB)
    assert budget.held_bytes == 490 * MB
    budget.release(large)
    budget.release(small)
    assert (budget.held_bytes, large.held_bytes) == (0, 0)
    budget.close()


async def test_who_waits_is_let_in_when_there_is_room():
    budget = budget_of(wait_seconds=60)
    first, second, third = holder(), holder(), holder()
    await budget.reserve(first, 300 * MB)
    waiting = asyncio.ensure_future(budget.reserve(second, 300 * MB))
    await asyncio.sleep(0)
    assert not waiting.done()
    await budget.reserve(third, 100 * MB)  # passes it, since it fits
    budget.release(first)
    await waiting
    assert budget.held_bytes == 400 * MB
    budget.close()


async def test_who_holds_much_does_not_wait():
    budget = budget_of(wait_seconds=60)
    large, other = holder(), holder()
    await budget.reserve(other, 300 * MB)
    await budget.reserve(large, 100 * MB)
    with pytest.raises(QueueFull):
        await budget.reserve(large, 200 * MB)
    with pytest.raises(QueueFull):
        budget.grow(large, 200 * MB)
    assert large.held_bytes == 100 * MB
    budget.grow(large, 1 * MB)
    assert budget.held_bytes == 301 * MB


async def test_one_who_goes_while_waiting_takes_nothing():
    budget = budget_of(wait_seconds=60)
    first, gone = holder(), holder()
    await budget.reserve(first, 480 * MB)
    waiting = asyncio.ensure_future(budget.reserve(gone, 300 * MB))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    budget.release(first)
    budget.release(gone)
    assert budget.held_bytes == 0
    budget.close()


def test_any_mixture_of_requests_ends_and_never_exceeds_the_budget():
    """Requests of two steps, as recordings are: none waits for ever, and the sum is right at the end."""
    most = 0

    async def request(budget: MemoryBudget, rng: random.Random) -> str:
        nonlocal most
        held = holder(rng.choice("abc"))
        try:
            await budget.reserve(held, rng.choice([1, 5, 50]) * MB)
            await asyncio.sleep(rng.random() * 0.002)
            await budget.reserve(held, rng.choice([2, 9, 200, 470, 500]) * MB)
            most = max(most, budget.held_bytes)
            await asyncio.sleep(rng.random() * 0.002)
        except (QueueFull, PayloadTooLarge) as refusal:
            return refusal.code
        finally:
            budget.release(held)
        return "done"

    async def run() -> list[str]:
        budget = budget_of(wait_seconds=0.05)
        rng = random.Random(0)
        ends = await asyncio.gather(*(request(budget, rng) for _ in range(300)))
        assert budget.held_bytes == 0
        assert not budget._waiting
        assert not budget._held_of
        assert not budget._waiting_of
        budget.close()
        return ends

    ends = asyncio.run(run())
    assert set(ends) == {"done", "queue_full", "payload_too_large"}
    assert most <= 640 * MB


def waiting_for(budget: MemoryBudget, client: str, size_mb: int, count: int = 1) -> list[asyncio.Task[SimpleNamespace]]:
    async def reserve() -> SimpleNamespace:
        held = holder(client)
        await budget.reserve(held, size_mb * MB)
        return held

    return [asyncio.ensure_future(reserve()) for _ in range(count)]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def done(tasks: list[asyncio.Task[SimpleNamespace]]) -> list[SimpleNamespace]:
    return [task.result() for task in tasks if task.done()]


async def test_a_lone_client_leaves_a_sixteenth_of_what_large_requests_may_have():
    budget = budget_of()
    for _ in range(2):
        budget.grow(holder("a"), 220 * MB)
    with pytest.raises(QueueFull):
        budget.grow(holder("a"), 11 * MB)
    budget.grow(holder("b"), 40 * MB)  # nobody shares a client's only request
    budget.grow(holder("a"), 10 * MB)
    budget.close()


async def test_a_lone_client_has_it_all_but_a_sixteenth():
    """Others that hold something and want no more take nothing from it."""
    budget = budget_of()
    budget.grow(holder("b"), 10 * MB)
    for _ in range(60):
        budget.grow(holder("a"), 10 * MB)
    with pytest.raises(QueueFull) as caught:
        budget.grow(holder("a"), 10 * MB)
    assert caught.value.message.startswith("requests hold 610.0 MB of the server's 640.0 MB, 600.0 MB of them yours")
    budget.grow(holder("c"), 10 * MB)
    assert budget.held_bytes == 620 * MB


@pytest.mark.parametrize(("wanted_mb", "before"), [(10, 0), (100, 22), (240, 36)])
async def test_one_client_shuts_nobody_out(wanted_mb, before):
    """However many requests one client has waiting, another gets its share as soon as the first is down to its own.
    Args:
        wanted_mb: what the other wants, at most half of three quarters.
        before: requests of the first, of 10 MB each, that must have ended before there is room.
    """

    budget = budget_of(wait_seconds=60)
    many = waiting_for(budget, "a", 10, count=200)
    await settle()
    assert budget.held_bytes == 600 * MB
    [one] = waiting_for(budget, "b", wanted_mb)
    await settle()
    ended = 0
    while not one.done():
        budget.release(done(many)[ended])
        ended += 1
        await settle()
    assert ended == before
    budget.release(one.result())
    await settle()
    assert budget.held_bytes == 600 * MB
    for task in many:
        task.cancel()
    await asyncio.wait(many)
    budget.close()


async def test_shares_end_with_the_one_who_waited():
    """Whoever goes without its memory frees the others of their shares at once."""
    budget = budget_of(wait_seconds=60)
    held = holder("a")
    budget.grow(held, 400 * MB)
    [gone] = waiting_for(budget, "b", 480)
    await settle()
    small = waiting_for(budget, "a", 10)
    await settle()
    assert not small[0].done()
    gone.cancel()
    await settle()
    assert small[0].done()
    budget.release(held)
    budget.close()


@pytest.mark.parametrize("clients", [2, 3, 6])
async def test_what_all_wait_for_is_shared_equally(clients):
    """Once the first client's requests have ended, all hold equally much, though each came with all of its own."""
    budget = budget_of(wait_seconds=60)
    tasks = [waiting_for(budget, str(client), 10, count=120) for client in range(clients)]
    await settle()
    for held in done(tasks[0]):
        budget.release(held)
    await settle()
    held_mb = [sum(held.held_bytes for held in done(own)) // MB for own in tasks]

    assert held_mb == [480 // clients] * clients
    for task in [task for own in tasks for task in own]:
        task.cancel()
    await asyncio.sleep(0)
    budget.close()


async def test_memory_goes_back_to_the_system_after_a_peak(monkeypatch):
    given_back = []
    monkeypatch.setattr(memory_budget, "give_back_memory", lambda: given_back.append(1))
    monkeypatch.setattr(memory_budget, "_GIVE_BACK_AFTER_SECONDS", 0.001)
    budget = budget_of()
    for size in (1, 14, 1):
        held = holder()
        budget.grow(held, size * MB)
        budget.release(held)
        await asyncio.sleep(0.02)
    assert given_back == []
    for _ in range(3):
        held = holder()
        budget.grow(held, 20 * MB)
        budget.release(held)
    await asyncio.sleep(0.05)
    assert given_back == [1]


@pytest.mark.parametrize(
    ("limit_mb", "resident_mb", "total_mb"),
    [(4000, 500, 1000), (1500, 500, 500), (600, 500, 67.108864), (None, 500, 1000)],
)
def test_the_default_is_half_of_what_models_leave(monkeypatch, limit_mb, resident_mb, total_mb):
    monkeypatch.setattr(memory_budget, "memory_limit", lambda: None if limit_mb is None else limit_mb * MB)
    monkeypatch.setattr(memory_budget, "resident_memory", lambda: resident_mb * MB)
    budget = budget_of(None)
    budget.fit_to_machine()
    assert budget.total_bytes == total_mb * MB
    given = budget_of(123)
    given.fit_to_machine()
    assert given.total_bytes == 123 * MB


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/system.slice/hifigan.service", {"system.slice/hifigan.service/memory.max": "4000000"}, 4_000_000),
        ("0::/a/b", {"a/memory.max": "5000", "a/b/memory.max": "max"}, 5000),
        ("0::/", {"memory.max": "7000"}, 7000),
        ("0::/host/path", {"memory.max": "8000"}, 8000),
        ("4:memory:/x\n3:cpu,cpuacct:/x", {"memory/x/memory.limit_in_bytes": "6000"}, 6000),
        ("4:memory:/x", {"memory/memory.limit_in_bytes": "9223372036854771712"}, 10**12),
        ("0::/", {"memory.max": "max"}, 10**12),
        ("0::/", {}, 10**12),
    ],
)
def test_limits_of_control_groups(monkeypatch, tmp_path, groups, files, limit):
    for name, content in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "self").write_text(groups)
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_CGROUPS_OF_THIS", tmp_path / "self")
    monkeypatch.setattr(machine, "physical_memory", lambda: 10**12)
    assert machine.memory_limit() == limit


def test_resident_memory_is_that_of_the_system():
    stated = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    assert abs(machine.resident_memory() - 1024 * int(stated.split()[1])) < 20 * MB
