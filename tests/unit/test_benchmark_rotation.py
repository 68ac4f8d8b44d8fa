import itertools

import pytest

from hifigan_rt.tools.benchmark.cpu_usage import MachineCpu, used_by_others
from hifigan_rt.tools.benchmark.rotation import CandidateFailed, chosen_rounds, rotate
from measuring.candidates import numbered

CPUS = 2


class Machine:
    """Two processors and a clock that only turns move; `others` used so much in each round."""

    def __init__(self, others=0.0):
        self.now = 0.0
        self.used = 0.0
        self.others = others
        self.calls = []

    def cpu(self):
        return MachineCpu(self.used, CPUS * self.now)


class FakeTurn:
    def __init__(self, machine, name, seconds, fails_at=None):
        self.machine, self.name, self.seconds, self.fails_at = machine, name, seconds, fails_at
        self.own = 0.0
        self.count = 0

    def run(self):
        self.machine.calls.append(self.name)
        self.count += 1
        if self.count == self.fails_at:
            raise CandidateFailed("out of memory")
        self.machine.now += self.seconds
        self.own += self.seconds
        self.machine.used += self.seconds + self.machine.others * CPUS * self.seconds
        return self.seconds, self.own


def run(machine, turns, wanted=5, max_seconds=1e9, **options):
    return rotate(
        {turn.name: turn for turn in turns},
        wanted,
        max_seconds,
        clock=lambda: machine.now,
        cpu=machine.cpu,
        settle=lambda: None,
        **options,
    )


def test_strict_rotation_with_one_inference_each_and_a_warm_up():
    machine = Machine()
    rounds = run(machine, [FakeTurn(machine, name, 1.0) for name in "abc"], wanted=4)
    assert machine.calls == list("abc") * 5
    assert rounds.seconds == {name: [1.0] * 4 for name in "abc"}


def test_others_are_what_the_candidates_did_not_use():
    machine = Machine(others=0.25)
    rounds = run(machine, [FakeTurn(machine, "a", 10.0), FakeTurn(machine, "b", 30.0)], max_seconds=200)
    assert rounds.others == pytest.approx([0.25] * len(rounds.others), abs=0.01)
    assert rounds.quiet() == []


def test_disturbed_rounds_do_not_count_and_the_time_ends_them():
    machine = Machine(others=0.5)
    rounds = run(machine, [FakeTurn(machine, "a", 1.0)], wanted=5, max_seconds=20)
    assert len(rounds.others) == 19, "the warm-up takes the first of 20 seconds"


def test_at_least_the_least_rounds_however_late_it_is():
    machine = Machine(others=0.5)
    assert len(run(machine, [FakeTurn(machine, "a", 100.0)], max_seconds=1, min_rounds=3).others) == 3


def test_a_candidate_that_fails_leaves_and_the_others_go_on():
    machine = Machine()
    turns = [FakeTurn(machine, "a", 1.0), FakeTurn(machine, "b", 1.0, fails_at=3), FakeTurn(machine, "c", 1.0)]
    rounds = run(machine, turns, wanted=4)
    assert rounds.failures == {"b": "out of memory"}
    assert rounds.seconds == {"a": [1.0] * 4, "c": [1.0] * 4}
    assert rounds.processor_seconds == {name: pytest.approx(times) for name, times in rounds.seconds.items()}
    assert len(rounds.others) == 4
    assert rounds.others == pytest.approx([0.0] * 4, abs=0.01)


def test_all_candidates_failing_ends_it():
    machine = Machine()
    rounds = run(machine, [FakeTurn(machine, "a", 1.0, fails_at=1)])
    assert rounds.seconds == {}
    assert rounds.others == []


@pytest.mark.parametrize(
    ("used", "total", "own", "share"), [(1.0, 4.0, 1.0, 0.0), (3.0, 4.0, 1.0, 0.5), (1.0, 4.0, 1.5, 0.0)]
)
def test_share_of_others(used, total, own, share):
    assert used_by_others(MachineCpu(10, 100), MachineCpu(10 + used, 100 + total), own) == share


def test_share_is_unknown_without_counters_or_time():
    now = MachineCpu(1, 2)
    assert used_by_others(None, now, 0) is None
    assert used_by_others(now, now, 0) is None


def test_the_same_name_twice_gets_a_number_and_an_unknown_one_is_refused():
    assert numbered(["reference", "ort", "reference", "reference"]) == [
        "reference",
        "ort",
        "reference#2",
        "reference#3",
    ]
    with pytest.raises(SystemExit, match="no candidate is called tensorflow: choose from"):
        numbered(["ort", "tensorflow"])


def test_turns_follow_each_other_in_every_round_though_some_are_slow():
    machine = Machine()
    run(machine, [FakeTurn(machine, "slow", 50.0), FakeTurn(machine, "quick", 0.001)], wanted=6)
    assert all(first != second for first, second in itertools.pairwise(machine.calls))


def test_rounds_without_counters_are_all_used():
    assert chosen_rounds([None, None]) == ([0, 1], "all")
