import pytest

from hifigan_rt._native import measure_memory, measure_multiply_adds, supported_isas
from hifigan_rt.engines.native import ISA_VARIABLE
from hifigan_rt.tools.benchmark.ceiling import measure_ceilings


@pytest.mark.parametrize("isa", supported_isas())
def test_every_instruction_set_is_measured(isa):
    """Any processor of this century does ten million multiply-adds per second, and none 10^13 on one thread."""
    assert 1e7 < measure_multiply_adds(isa, 1, 0.001) < 1e13


def test_memory_is_read_and_copied():
    for threads in (1, 3):
        assert all(1e6 < speed < 1e14 for speed in measure_memory(threads, 1 << 16, 0.002))


def test_the_limits_are_named_with_their_method(monkeypatch):
    monkeypatch.setenv(ISA_VARIABLE, "generic")
    ceilings = measure_ceilings(1, rounds=1, seconds=0.002)
    assert [(ceiling.name, ceiling.unit) for ceiling in ceilings] == [
        ("multiply-adds", "GFLOPS"), ("memory", "GB/s"), ("memory", "GB/s"),
    ]  # fmt: skip
    assert "generic" in ceilings[0].method
    assert all(0 < ceiling.median <= ceiling.best for ceiling in ceilings)


@pytest.mark.parametrize("threads", [0, -1])
def test_a_measurement_without_threads_is_refused(threads):
    """More than 1024 are refused where they enter, by `EngineOptions`."""
    with pytest.raises(ValueError, match="at least 1 thread"):
        measure_multiply_adds("generic", threads, 0.01)
    with pytest.raises(ValueError, match="at least 1 thread"):
        measure_memory(threads, 1024, 0.01)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), 11.0])
def test_absurd_times_are_refused(seconds):
    with pytest.raises(ValueError, match="seconds must be above 0"):
        measure_multiply_adds("generic", 1, seconds)


def test_an_unknown_instruction_set_is_refused():
    with pytest.raises(ValueError, match="instruction set mmx in float32 is not supported"):
        measure_multiply_adds("mmx", 1, 0.01)


def test_tiles_in_software_have_the_ceiling_of_plain_code_beside_them(monkeypatch):
    monkeypatch.setenv("HIFIGAN_RT_ISA", "amx-software")
    assert "generic" in measure_ceilings(1, rounds=1, seconds=0.002)[0].method
