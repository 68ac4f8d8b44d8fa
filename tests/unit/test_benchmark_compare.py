from dataclasses import replace

import pytest

from benchmark_records import CAVEAT, case, measurement, result
from hifigan_rt.tools.benchmark.compare import compare
from hifigan_rt.tools.benchmark.results import Latency

STEADY = (0.2,) * 9


def test_twice_as_fast_is_a_half():
    """Medians 200 ms then and 100 ms now; the means are 200 and 110."""
    now = (0.1,) * 8 + (0.19,)
    (change,) = compare(result(case(measurement(seconds=STEADY))), result(case(measurement(seconds=now)))).changes
    assert (change.ratio.median, change.ratio.resolved) == (0.5, True)
    assert change.mean_ratio == pytest.approx(0.55)
    assert (change.batch, change.mel_len, change.threads, change.candidate) == (1, 250, 2, "native")


def test_nothing_is_paired_with_another_case_or_name():
    before = result(case(measurement()), case(measurement("torch"), batch=2), case(measurement("x"), threads=None))
    after = result(
        case(measurement(), mel_len=251), case(measurement("native#2"), batch=2), case(measurement(), threads=1)
    )
    found = compare(before, after)
    assert found.changes == ()
    assert found.only_earlier == (
        "native (batch 1, mel_len 250, threads 2)",
        "torch (batch 2, mel_len 250, threads 2)",
        "x (batch 1, mel_len 250, threads –)",
    )
    assert len(found.only_later) == 3


def test_failed_candidates_are_not_compared():
    before = result(case(measurement(seconds=(), failed="no")))
    found = compare(before, result(case(measurement())))
    assert (found.changes, found.only_earlier) == ((), ())
    assert found.only_later == ("native (batch 1, mel_len 250, threads 2)",)


def test_summaries_have_a_ratio_of_means_without_an_interval():
    foreign = measurement(seconds=(), latency_summary=Latency(50, 50, 50, 50, 50, 50, 9))
    (change,) = compare(result(case(measurement())), result(case(foreign))).changes
    assert change.ratio is None
    assert change.mean_ratio == pytest.approx(0.25)


def test_equal_circumstances_give_no_warning():
    assert compare(result(case(measurement())), result(case(measurement()), date="later")).warnings == ()


def test_processors_of_one_name_are_told_apart():
    """Zen 4 and Zen 5, as a virtual machine names both."""
    zen4 = {"cpu": "AMD EPYC", "cpu_family": "25", "cpu_model": "17", "instructions": ["avx2"], "isas": ["avx2"]}
    zen5 = {**zen4, "cpu_family": "26", "cpu_model": "2", "instructions": ["avx2", "avx512f"]}
    before = result(case(measurement()), machine=zen4)
    assert compare(before, replace(before, machine=zen5)).warnings == (
        "cpu family differs: 25 then, 26 now",
        "cpu model differs: 17 then, 2 now",
        "instructions differs: avx2 then, avx2 avx512f now",
    )


def test_another_device_of_a_candidate_is_named_once():
    def on(device):
        return result(*(case(measurement("torch", device=device), mel_len=length) for length in (250, 500)))

    assert compare(on("cpu"), on("cuda:0")).warnings == ("device of torch differs: cpu then, cuda:0 now",)
    assert compare(on(""), on("cpu")).warnings == ("device of torch differs: unknown then, cpu now",)


def test_every_difference_of_circumstances_is_named():
    before = result(case(measurement()))
    machine = {**before.machine, "cpu": "Other", "isas": ["generic"], "packages": {"numpy": "2.1", "torch": "2.13"}}
    after = replace(before, machine=machine, model="v2.pt", weights="real", data_set="clips",
                    cases=(case(measurement(caveat=CAVEAT)),))  # fmt: skip
    assert compare(before, after).warnings == (
        "cpu differs: Test CPU then, Other now",
        "isas differs: generic avx2 then, generic now",
        "numpy differs: 2.0 then, 2.1 now",
        "torch differs: unknown then, 2.13 now",
        "model differs: v1.pt then, v2.pt now",
        "weights differs: random then, real now",
        "data set differs: samples/ then, clips now",
        f"one of the two holds figures marked '{CAVEAT}'",
    )


def test_records_of_another_kind_of_machine_do_not_stop_it():
    odd = result(case(measurement()), machine={"packages": ["a"]})
    assert "cpu differs: unknown then, Test CPU now" in compare(odd, result(case(measurement()))).warnings
