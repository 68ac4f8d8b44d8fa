"""An evaluation where packages are missing, from Python instead of the command line."""

import contextlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

from golden.tiny import TINY, write_tiny
from hifigan_rt.errors import EvaluationError
from hifigan_rt.tools.bulk.long_clips import ReadSettings
from hifigan_rt.tools.evaluation.output import no_page, write_results
from hifigan_rt.tools.evaluation.run import Plan, evaluate
from hifigan_rt.tools.evaluation.systems import folder_system, model_system

RATE = TINY.mel.sample_rate


@contextlib.contextmanager
def silent(label, steps):
    yield lambda: None


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "model")
    Path("in").mkdir()
    for index in range(2):
        noise = np.random.default_rng(index).uniform(-0.3, 0.3, RATE // 2)
        soundfile.write(f"in/c{index}.wav", noise, RATE, "PCM_16")
    return tmp_path


def without(monkeypatch, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest))


def test_without_scipy_nothing_starts(place, monkeypatch):
    without(monkeypatch, "scipy")
    plan = Plan((model_system("model"),), ("in",))
    with pytest.raises(EvaluationError, match=r"needs the package scipy: pip install 'hifigan-rt\[eval\]'"):
        evaluate(plan, place / "out", progress=silent)
    assert not (place / "out").exists()


def test_without_jinja2_there_is_all_but_the_page(place, monkeypatch):
    result = evaluate(Plan((model_system("model"),), ("in",), metrics=("peak",)), place / "out", progress=silent)
    without(monkeypatch, "jinja2")
    assert [path.name for path in write_results(result, place / "out")] == ["report.json", "clips.csv"]
    assert "pip install 'hifigan-rt[eval]'" in no_page()


def test_a_folder_alone_is_measured_without_reference(place):
    Path("in/c2.m4a").touch()
    plan = Plan((folder_system(Path("in")),), metrics=("peak", "clipped_samples"))
    result = evaluate(plan, place / "out", progress=silent)
    assert "left out: 1 x .m4a" in result.notes
    assert "left out: 1 x .m4a" in result.systems[0].notes
    assert result.sample_rate == RATE
    assert result.complete
    for index, row in enumerate(result.scores):
        recording, _ = soundfile.read(f"in/c{index}.wav")
        assert row.scores["peak"].value == pytest.approx(20 * np.log10(np.abs(recording).max()))


def test_the_file_of_a_clip_whose_recording_cannot_be_used_is_no_stranger(place):
    Path("made").mkdir()
    for name in ("c0", "c1", "c2", "x"):
        Path(f"made/{name}.wav").write_bytes(Path("in/c0.wav").read_bytes())
    Path("in/c2.wav").write_bytes(b"damaged")
    plan = Plan((folder_system(Path("made")),), ("in",), metrics=("peak",))
    result = evaluate(plan, place / "out", progress=silent)
    assert [clip.name for clip in result.clips if clip.problem] == ["c2"]
    assert result.systems[0].notes == ("1 file belongs to no clip: x",)


def test_the_seed_decides_the_clips(place):
    plans = [Plan((folder_system(Path("in")),), limit=1, seed=seed, metrics=("peak",)) for seed in range(8)]
    chosen = [evaluate(plan, place / str(plan.seed), progress=silent).clips[0].name for plan in plans]
    assert set(chosen) == {"c0", "c1"}


def test_more_than_an_hour_is_measured_where_the_user_allows_it(tmp_path):
    for folder in ("in", "made"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "long.wav", np.full(4000 * 3601, 0.5, np.float32), 4000, "PCM_U8")
    plan = Plan(
        (folder_system(tmp_path / "made"),), (str(tmp_path / "in"),), reading=ReadSettings(max_seconds=4000),
        metrics=("peak", "snr"),
    )  # fmt: skip
    (row,) = evaluate(plan, tmp_path / "out", progress=silent, sounds=False).scores
    assert row.failed is None
    assert (row.seconds, row.scores["snr"].reason) == (3601, "identical")
    assert row.scores["peak"].value == pytest.approx(20 * np.log10(0.5))
