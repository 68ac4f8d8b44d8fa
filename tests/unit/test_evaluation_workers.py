"""Worker processes: what they answer, and that neither their death nor a bad clip ends a run."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hifigan_rt.config import PRESETS
from hifigan_rt.tools.evaluation import measuring, workers
from hifigan_rt.tools.evaluation.measuring import ClipTask, Measured, SoundTask, Task, encode, measure, measure_clip
from hifigan_rt.tools.evaluation.metrics.results import MetricResult
from hifigan_rt.tools.evaluation.score_file import ScoreWriter, identify, merged, read_scores
from hifigan_rt.tools.evaluation.scoring import limit_seconds
from hifigan_rt.tools.evaluation.signal_files import SignalFiles
from hifigan_rt.tools.evaluation.sounds import clip_tracks, read_script, script_path, sound_of
from hifigan_rt.tools.evaluation.workers import MeasuringPool

RATE = 22050
LIMIT_SECONDS = 300
KEYS = ("mel_l1", "mr_stft", "peak")


def tone(path, hz=220.0, seconds=0.3, rate=RATE):
    time_s = np.arange(int(seconds * rate)) / rate
    samples = 0.5 * np.sin(2 * np.pi * hz * time_s)
    soundfile.write(path, samples, rate, "PCM_24", format="FLAC")
    return str(path)


@pytest.fixture
def files(tmp_path):
    return {hz: tone(tmp_path / f"{hz}.flac", hz) for hz in (220, 330)}


def task(files, generated=330, reference=220, baseline=None, metrics=KEYS):
    return Task(files[generated], files[reference], baseline and files[baseline], metrics, PRESETS["v1"].mel)


def alone(measured):
    return measure(measured, SignalFiles())


def clips(*tasks):
    """One clip per task."""
    return [ClipTask((each,)) for each in tasks]


def failures(answers):
    return [entry.failed for _, (entry,) in answers]


def test_a_clip_against_itself_is_at_no_distance(files):
    found = alone(task(files, 220, baseline=220))
    assert found.scores["mel_l1"] == found.scores["mr_stft"] == MetricResult(0.0)
    assert found.identical is True
    assert np.isnan(found.snr_db)


def test_audio_is_compared_with_the_baseline(files, tmp_path):
    half = soundfile.read(files[220])[0] / 2
    soundfile.write(tmp_path / "half.flac", half, RATE, "PCM_24", format="FLAC")
    found = alone(task(files | {"half": str(tmp_path / "half.flac")}, "half", baseline=220))
    assert found.identical is False
    assert found.snr_db == pytest.approx(20 * np.log10(2), abs=1e-3), "the error is half the signal"
    assert found.si_sdr_db > 100


@pytest.mark.parametrize(
    ("error", "told"),
    [(RuntimeError("its package broke"), "RuntimeError: its package broke"), (MemoryError(), "out of memory")],
)
def test_a_metric_that_fails_does_not_take_the_others_along(files, monkeypatch, error, told):
    true = measuring.compute

    def failing(keys, *arguments):
        if "mr_stft" in keys:
            raise error
        return true(keys, *arguments)

    monkeypatch.setattr(measuring, "compute", failing)
    found = alone(task(files))
    assert found.failed is None
    assert found.scores["mel_l1"].value > 0
    assert np.isnan(found.scores["mr_stft"].value)
    assert found.scores["mr_stft"].reason == f"its computation failed: {told}"


def test_unreadable_audio_fails_that_clip(files, tmp_path):
    broken = tmp_path / "broken.flac"
    broken.write_bytes(b"fLaC and no more")
    found = alone(task(files | {"broken": str(broken)}, "broken"))
    assert "broken.flac" in found.failed
    assert found.scores == {}


def test_workers_answer_what_this_process_would(files):
    tasks = [task(files), task(files, 220, baseline=330), task(files, metrics=())]
    asked = [*clips(*tasks), ClipTask(tuple(tasks))]
    with MeasuringPool(2, LIMIT_SECONDS) as pool:
        answers = dict(pool.measure(asked))
    for index, clip in enumerate(asked):
        assert [*map(encode, answers[index])] == [*map(encode, measure_clip(clip))]


def test_what_is_measured_together_is_what_is_measured_alone(files):
    """A reference is analysed once for several systems, of different lengths too."""
    shorter = tone(Path(files[220]).with_name("shorter.flac"), 330, seconds=0.25)
    keys = ("mel_l1", "mr_stft", "f0_rmse_cents", "vuv_f1", "periodicity_rmse", "mcd", "loudness_difference", "stoi")
    tasks = [task(files | {"shorter": shorter}, name, metrics=keys) for name in (330, 220, "shorter", 330)]
    together = measure_clip(ClipTask(tuple(tasks)))
    assert [*map(encode, together)] == [encode(alone(each)) for each in tasks]


def test_the_sound_of_a_clip_is_written_while_it_is_measured(files, tmp_path):
    tracks = clip_tracks(tmp_path, [("220.flac", None), ("330.flac", None), (None, "no file for it")])
    path = script_path(tmp_path, tracks)
    path.parent.mkdir()
    (measured,) = measure_clip(ClipTask((task(files),), SoundTask(str(path), tracks)))
    assert measured.failed is None
    assert read_script(path) == sound_of(tracks, SignalFiles())
    tone(tmp_path / "330.flac", 330, seconds=0.4)
    assert script_path(tmp_path, tracks) != path, "named after what the files hold"
    unwritable = SoundTask(str(tmp_path / "no folder" / "a.js"), tracks)
    (measured,) = measure_clip(ClipTask((task(files),), unwritable))
    assert measured.failed is None, "the report tries again, and tells"


def test_a_worker_that_dies_takes_one_clip_with_it(files):
    with MeasuringPool(1, LIMIT_SECONDS) as pool:
        answers = pool.measure(clips(task(files)) * 4)
        index, (first,) = next(answers)
        assert (index, first.failed) == (0, None)
        os.kill(pool._workers[0].pid, signal.SIGKILL)
        rest = failures(answers)
    assert rest.count(None) >= 2
    assert all(reason is None or "while it was measured its process was ended by SIGKILL" in reason for reason in rest)


def test_a_worker_that_hangs_is_ended_and_takes_one_clip_with_it(files, monkeypatch):
    true, commands = workers.python_command, [["sleep", "1000"]]
    monkeypatch.setattr(workers, "python_command", lambda module: commands.pop() if commands else true(module))
    with MeasuringPool(1, LIMIT_SECONDS) as pool:
        pool._limit_seconds = 0.2
        assert failures(pool.measure(clips(task(files)))) == ["it was not measured within 0.2 s, and was given up"]
        pool._limit_seconds = LIMIT_SECONDS
        assert failures(pool.measure(clips(task(files)))) == [None], "the next clip gets a new process"


def test_a_system_whose_audio_ends_the_process_leaves_the_others_alone(files, monkeypatch, tmp_path):
    (tmp_path / "fragile.py").write_text(FRAGILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    true = workers.python_command
    monkeypatch.setattr(workers, "python_command", lambda _: true("fragile"))
    tasks = (task(files, 220), task(files, 330), task(files, 220, baseline=330))
    with MeasuringPool(1, LIMIT_SECONDS) as pool:
        ((_, answers),) = pool.measure([ClipTask(tasks)])
    assert [entry.failed for entry in answers] == [None, "while it was measured its process ended with status 3", None]
    assert answers[2].identical is False


FRAGILE = """
import os
from hifigan_rt.tools.evaluation import measuring, workers

true = measuring.compute

def compute(keys, reference, generated, mel):
    if generated.at(16000)[10] > reference.at(16000)[10]:  # the tone of 330 Hz
        os._exit(3)
    return true(keys, reference, generated, mel)

def main():
    measuring.compute = compute
    workers.main()
"""


def test_a_worker_that_cannot_be_started_is_told(files, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no memory for another process")

    monkeypatch.setattr(workers, "WorkerProcess", refuse)
    with MeasuringPool(2, LIMIT_SECONDS) as pool:
        answers = failures(pool.measure(clips(task(files)) * 3))
    assert answers == ["it could not be measured: OSError: no memory for another process"] * 3


def test_a_long_clip_may_take_longer():
    assert limit_seconds(6) < limit_seconds(3600)
    assert limit_seconds(0) >= 60


def test_closing_ends_all_processes_whatever_they_do(files):
    pool = MeasuringPool(2, LIMIT_SECONDS)
    answers = pool.measure(clips(task(files)) * 20)
    next(answers)
    workers_ = list(pool._workers)
    pool.close()
    assert all(not Path(f"/proc/{worker.pid}").exists() for worker in workers_)
    pool.close()


def test_more_workers_than_clips_are_not_started(files):
    with MeasuringPool(50, LIMIT_SECONDS) as pool:
        list(pool.measure(clips(task(files))))
        assert len(pool._workers) == 1


PACKAGES = {"pystoi": "0.4.1", "pyworld": "0.3.5"}


def test_scores_are_known_again_while_audio_and_settings_are_the_same(files, tmp_path):
    path = tmp_path / "scores.jsonl"
    first = Measured(
        {"stoi": MetricResult(0.9), "snr": MetricResult(np.inf, "identical")},
        ("cropped",),
        identical=False,
        snr_db=12.0,
        si_sdr_db=13.0,
    )
    identity = identify(task(files), "1")
    with ScoreWriter(path, PACKAGES) as writer:
        writer.append(identity, first)
    with path.open("ab") as file:
        file.write(b'{"identity": "x", "measured": {"scores": 1}}\n[]\n{"torn')
    assert read_scores(path, PACKAGES) == {identity: first}
    assert identify(task(files, metrics=("stoi",)), "1") == identity, "whichever metrics are asked for"
    for other in (
        identify(task(files), "2"),
        identify(task(files, 220), "1"),
        identify(task(files, baseline=220), "1"),
    ):
        assert other != identity


def test_later_runs_add_metrics(files, tmp_path):
    path = tmp_path / "scores.jsonl"
    with ScoreWriter(path, PACKAGES) as writer:
        writer.append("a", Measured({"stoi": MetricResult(0.9), "mcd": MetricResult(4.0)}))
        writer.append("a", Measured({"mcd": MetricResult(5.0), "lsd": MetricResult(8.0)}))
    assert read_scores(path, PACKAGES)["a"].scores == {
        "stoi": MetricResult(0.9),
        "mcd": MetricResult(5.0),
        "lsd": MetricResult(8.0),
    }
    assert merged(None, Measured({"stoi": MetricResult(0.5)})).scores == {"stoi": MetricResult(0.5)}


def test_scores_by_other_versions_are_computed_again(tmp_path):
    path = tmp_path / "scores.jsonl"
    found = Measured(
        {
            "stoi": MetricResult(0.9),
            "mcd": MetricResult(4.0),
            "lsd": MetricResult(8.0),
            "of another version of ours": MetricResult(1.0),
        }
    )
    with ScoreWriter(path, PACKAGES) as writer:
        writer.append("a", found)
    assert set(read_scores(path, PACKAGES)["a"].scores) == {"stoi", "mcd", "lsd"}
    assert set(read_scores(path, PACKAGES | {"pystoi": "0.5"})["a"].scores) == {"mcd", "lsd"}
    assert set(read_scores(path, {})["a"].scores) == {"lsd"}
    path.write_text(path.read_text().replace('"packages"', '"other"'))
    assert set(read_scores(path, PACKAGES)["a"].scores) == {"lsd"}, "as in earlier versions"
