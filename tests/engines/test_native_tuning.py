"""Ways through the caches: none changes a bit, and the one that runs is named, measured or the default."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from hifigan_rt import _native
from hifigan_rt.engines import native_tuning
from hifigan_rt.engines.base import EngineOptions
from hifigan_rt.engines.native import ISA_VARIABLE, SOFTWARE_TILES, NativeEngine, create
from hifigan_rt.engines.native_tuning import CALIBRATION_SECONDS, TUNING_VARIABLE, choose_tuning, decide
from hifigan_rt.errors import EngineUnavailable, SlowEngineWarning
from hifigan_rt.mel.check import CheckedMel
from hifigan_rt.model.kinds import Weights
from native_generators import ISAS, V1_LIKE, V1_MODEL, V3_LIKE, make_case

TUNINGS = tuple(_native.tunings())
DEFAULT = TUNINGS[0]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("config", [V1_LIKE, V3_LIKE], ids=["v1", "v3"])
@pytest.mark.parametrize("plan", [{}, {"every": "fft32"}], ids=["planned", "fft32"])
def test_no_tuning_changes_a_bit(isa, config, plan):
    """Whole mels and streams, one thread and two."""
    case = make_case(config, 70)
    hashes = set()
    for threads in (1, 2):
        generator = case.load(isa, 64, threads, **plan)
        for name in TUNINGS:
            generator.tune(name)
            assert generator.tuning == name
            stream = generator.stream(16)
            streamed = [stream.push(case.mel), stream.finish()]
            hashes.add((generator.run(case.mel[None]).tobytes(), np.concatenate(streamed).tobytes()))
    assert len(hashes) == 1


def test_an_unknown_tuning_is_refused():
    with pytest.raises(ValueError, match="no tuning named 'fast'"):
        make_case(V1_LIKE, 8).load().tune("fast")


@pytest.fixture
def unmeasured(monkeypatch):
    """A process that has not calibrated yet; the list of what it measures."""
    monkeypatch.delenv(TUNING_VARIABLE, raising=False)
    monkeypatch.setattr(native_tuning, "_measured", {})
    asked: list[str] = []

    def measure(isa: str, seconds: float, lender: object) -> list[list[float]]:
        asked.append(isa)
        assert seconds == CALIBRATION_SECONDS
        return [[1.0, 2.0, 0.5, 9.0]] * 3

    monkeypatch.setattr(native_tuning._native, "measure_tunings", measure)
    return asked


def engine_of(frames: int) -> tuple[NativeEngine, CheckedMel]:
    case = make_case(V1_LIKE, frames)
    model = Weights("tiny", Path("tiny"), "test", case.generator)
    return create(model, EngineOptions(threads=1)), CheckedMel(case.mel[None])


@pytest.mark.skipif(ISAS[-1] == "generic", reason="generic is not calibrated")
def test_long_calls_and_streams_calibrate_once_in_a_process(unmeasured):
    engine, mel = engine_of(80)
    engine.run(CheckedMel(mel[:, :, :64].copy()))
    assert (unmeasured, engine.tuning) == ([], DEFAULT)
    engine.run(mel)
    assert (unmeasured, engine.tuning) == ([ISAS[-1]], TUNINGS[2])
    for again in (engine_of(80), engine_of(80)):
        again[0].stream(16)
        assert again[0].tuning == TUNINGS[2]
    listed, _ = engine_of(80)
    listed.run_many([CheckedMel(mel[0, :, :8].copy()), CheckedMel(mel[0])])
    assert listed.tuning == TUNINGS[2]
    assert unmeasured == [ISAS[-1]]


def test_generic_is_not_calibrated(unmeasured):
    assert choose_tuning("generic").name == DEFAULT
    assert unmeasured == []


def test_a_named_tuning_is_taken_without_measuring(unmeasured, monkeypatch):
    monkeypatch.setenv(TUNING_VARIABLE, TUNINGS[1])
    engine, _ = engine_of(8)
    assert engine.tuning == TUNINGS[1]
    assert unmeasured == []


def test_a_wrong_name_is_an_error_when_a_model_is_loaded(monkeypatch):
    monkeypatch.setenv(TUNING_VARIABLE, "panel")
    with pytest.raises(EngineUnavailable, match=r"HIFIGAN_RT_TUNING='panel' is not a tuning: .*did you mean 'panels'"):
        engine_of(8)
    monkeypatch.setenv(ISA_VARIABLE, SOFTWARE_TILES)
    with pytest.raises(EngineUnavailable, match="HIFIGAN_RT_TUNING='panel' is not a tuning"):
        create(V1_MODEL, EngineOptions(precision="bfloat16"))


NAMES = ["a", "b"]


@pytest.mark.parametrize(
    ("rounds", "name"),
    [
        ([(1.0, 0.8, 3.0), (1.0, 0.8, 3.0), (1.0, 0.8, 3.0)], "b"),
        ([(1.0, 0.95, 3.0), (1.0, 0.95, 3.0), (1.0, 0.95, 3.0)], "a"),
        # A neighbour in the rounds of one: least and median do not agree.
        ([(1.0, 0.85, 3.0), (1.0, 1.3, 3.0), (1.0, 1.3, 3.0)], "a"),
        ([(1.0, 0.99, 3.0), (1.9, 0.99, 3.0), (1.9, 0.99, 3.0)], "a"),
        ([(1.0, 1.5, 3.0), (1.0, 1.5, 3.0), (1.0, 1.5, 3.0)], "a"),
    ],
    ids=["faster", "within noise", "one good round", "the default disturbed", "slower"],
)
def test_only_what_is_clearly_faster_replaces_the_default(rounds, name):
    choice = decide(NAMES, rounds)
    assert choice.name == name
    assert not choice.slow


def test_a_machine_on_which_transforms_gain_nothing_is_told_once(unmeasured, monkeypatch):
    monkeypatch.setattr(native_tuning._native, "measure_tunings", lambda *_: [[4.0, 5.0, 4.5, 3.5]] * 3)
    isa = "neon"
    with pytest.warns(SlowEngineWarning, match=r"slow on this machine \(neon\): .* 4000.0 ms .* 3500.0 ms by direct"):
        assert choose_tuning(isa).slow
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose_tuning(isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("lends", [False, True], ids=["alone", "of a model"])
def test_the_calibration_measures_every_tuning_and_direct_convolution(isa, lends):
    lender = make_case(V1_LIKE, 8).load(isa) if lends else None
    rounds = np.array(_native.measure_tunings(isa, 0.001, lender))
    assert rounds.shape == (3, len(TUNINGS) + 1)
    assert np.all((rounds > 0) & (rounds < 10))


MEMORY = """
import sys
from hifigan_rt import _native
from hifigan_rt.config import GeneratorConfig
from native_generators import make_case

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

loaded = make_case(GeneratorConfig(512, (8, 8, 2, 2), (16, 16, 4, 4), "1", (3, 7, 11), ((1, 3, 5),) * 3), 8).load()
peaks = [peak()]
for lender in (loaded, None):
    _native.measure_tunings(loaded.isa, 0.001, lender)
    peaks.append(peak())
print(peaks[1] - peaks[0], peaks[2] - peaks[1])
"""


def test_the_calibration_of_a_loaded_model_reads_its_weights_in_place_of_its_own():
    """Its own 38 MB came on top of V1 while it was measured: they were a tenth of the most that a short call took."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    lent, own = map(int, done.stdout.split())
    assert lent < 12e6
    assert own > 20e6


def test_the_second_cache_has_a_size_that_processors_have():
    assert 128 << 10 <= _native.second_cache_bytes() <= 16 << 20
