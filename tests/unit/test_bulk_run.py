"""A run as a whole: errors that end a clip, errors that end the run, warnings, the summary."""

from __future__ import annotations

import errno
import os
import queue
import shutil
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hifigan_rt.config import PRESETS
from hifigan_rt.errors import AudioError, MelConventionWarning, OutputError
from hifigan_rt.system.folder_lock import locked_folder
from hifigan_rt.tools.bulk import pipeline, synthesis
from hifigan_rt.tools.bulk.local_run import LocalRunner
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, read_manifest
from hifigan_rt.tools.bulk.outputs import plan_outputs
from hifigan_rt.tools.bulk.resume import settings_digest
from hifigan_rt.tools.bulk.run import Interrupted, run_in_folder
from hifigan_rt.tools.bulk.work import ClipFacts, Work
from hifigan_rt.tools.datasets import find_inputs


class Copy(Work[bytes, bytes]):
    """Copies bytes; `trouble` maps a file name to what happens in a stage."""

    def __init__(self, **trouble):
        self.trouble = trouble
        self.done = []

    def settings(self):
        return {"command": "copy"}

    def read(self, source):
        self.source = source.stem
        self._stage("read", source.stem)
        return source.read_bytes()

    def compute(self, data):
        self._stage("compute", data.decode())
        return data

    def write(self, data, output):
        self._stage("write", output.stem)
        output.write_bytes(data)
        self.done.append(output.stem)
        return ClipFacts(audio_seconds=2.0, clipped_samples=3, samples_dropped=1)

    def _stage(self, stage, name):
        action = self.trouble.get(f"{stage}_{name}")
        if isinstance(action, Warning):
            warnings.warn(action, stacklevel=1)
        elif action is not None:
            raise action


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for name in "abcdef":
        (tmp_path / f"in/{name}.wav").write_text(name)
    return tmp_path


def run(work, folder, **options):
    jobs = plan_outputs(find_inputs([str(folder / "in")], {".wav"}), folder / "out", ".bin")
    return run_in_folder(LocalRunner(work), jobs, folder / "out", **options)


def full_disk(number=errno.ENOSPC):
    error = OutputError("'x' could not be written: no space")
    error.__cause__ = OSError(number, os.strerror(number))
    return error


def test_summary_and_manifest_agree(folder):
    summary = run(Copy(read_b=AudioError("not audio"), compute_d=ValueError("a slip")), folder)
    assert (summary.clips, summary.done, summary.complete) == (6, 4, False)
    assert [(Path(name).stem, reason) for name, reason in summary.failed] == [
        ("b", "not audio"),
        ("d", "ValueError: a slip"),
    ]
    assert (summary.audio_seconds, summary.clipped_samples, summary.clipped_clips) == (8.0, 12, 4)
    assert summary.samples_dropped == 4
    assert 0 < summary.compute_seconds < summary.wall_seconds
    clips = read_manifest(folder / "out" / MANIFEST_NAME).clips
    assert {name: clip.status for name, clip in clips.items()} == {
        f"{name}.bin": "failed" if name in "bd" else "ok" for name in "abcdef"
    }


def test_a_run_that_is_kept_out_asks_nobody_for_its_settings(folder):
    """The workers of a cluster may all be those of the run that keeps it out."""

    class Unready(Copy):
        def settings(self):
            raise AssertionError("a worker was waited for")

    (folder / "out").mkdir()
    with locked_folder(folder / "out"), pytest.raises(OutputError, match="another run is at work"):
        run(Unready(), folder)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_ends_the_run_and_keeps_what_is_done(folder, number):
    work = Copy(write_c=full_disk(number))
    summary = run(work, folder)
    assert work.done == ["a", "b"]
    assert (summary.done, summary.complete) == (2, False)
    assert summary.stopped == "'x' could not be written: no space"
    assert [Path(name).stem for name, _ in summary.failed] == ["c"]
    assert run(Copy(), folder, resume=True).skipped == 2


def test_a_full_disk_ends_the_run_whoever_says_so(folder):
    summary = run(Copy(compute_c=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))), folder)
    assert (summary.done, summary.stopped) == (2, f"OSError: [Errno {errno.ENOSPC}] No space left on device")


def test_other_writing_errors_end_their_clip_only(folder):
    summary = run(Copy(write_c=full_disk(errno.EFBIG)), folder)
    assert (summary.done, summary.stopped) == (5, None)


class Moving(Copy):
    """Has the input change as soon as it has been read."""

    def __init__(self, change):
        super().__init__()
        self._change = change

    def read(self, source):
        data = super().read(source)
        if source.stem == "c":
            self._change(source)
        return data


def _append(path):
    path.write_text("c and more")


def _exchange(path):
    times = path.stat()
    path.with_suffix(".new").write_text("d")
    os.utime(path.with_suffix(".new"), ns=(times.st_atime_ns, times.st_mtime_ns))
    path.with_suffix(".new").replace(path)


@pytest.mark.parametrize("change", [_append, _exchange])
def test_an_input_that_changes_while_it_is_read_is_made_again(folder, change):
    summary = run(Moving(change), folder)
    assert summary.failed == [
        (f"{folder}/in/c.wav", f"'{folder}/in/c.wav' changed while it was read: run again when it is whole")
    ]
    assert (run(Copy(), folder, resume=True).done, run(Copy(), folder, resume=True).skipped) == (1, 6)
    assert (folder / "out/c.bin").read_text() == (folder / "in/c.wav").read_text()


def test_a_manifest_that_cannot_be_written_ends_the_run(folder, monkeypatch):
    from hifigan_rt.tools.bulk.manifest import ManifestWriter

    original = ManifestWriter.append

    def append(self, record):
        if record.output == "c.bin":
            raise OutputError("manifest cannot be written: no space")
        original(self, record)

    monkeypatch.setattr(ManifestWriter, "append", append)
    summary = run(Copy(), folder)
    assert summary.stopped == "manifest cannot be written: no space"
    assert not summary.complete


@pytest.mark.parametrize("remove", [lambda out: shutil.rmtree(out), lambda out: out.rename(out.with_name("moved"))])
def test_an_output_folder_that_goes_away_ends_the_run(folder, remove):
    class Removing(Copy):
        def write(self, data, output):
            facts = super().write(data, output)
            if output.stem == "c":  # in the thread that writes, so that nothing is written meanwhile
                remove(folder / "out")
            return facts

    summary = run(Removing(), folder)
    assert summary.stopped == (
        f"manifest '{folder}/out/{MANIFEST_NAME}' was removed or moved while the run was at work: start it again"
    )
    assert (summary.done, len(summary.failed)) == (2, 1)
    assert run(Copy(), folder, overwrite=True).done == 6


def test_warnings_go_to_their_clip_and_are_counted_by_kind(folder):
    odd = {
        "compute_b": MelConventionWarning("values -90 to 3.5e-2 look like dB"),
        "compute_c": MelConventionWarning("values -70 to 20 look like dB"),
        "read_f": MelConventionWarning("looks linear"),
    }
    summary = run(Copy(**odd), folder)
    assert list(summary.warnings.values()) == [("values -90 to 3.5e-2 look like dB", 2), ("looks linear", 1)]
    clips = read_manifest(folder / "out" / MANIFEST_NAME).clips
    assert {name[0] for name, clip in clips.items() if clip.warnings} == {"b", "c", "f"}
    assert clips["c.bin"].warnings == ("values -70 to 20 look like dB",)


def test_other_warnings_take_their_usual_way(folder):
    with pytest.warns(UserWarning, match="something else"):
        run(Copy(compute_b=UserWarning("something else")), folder)


def test_an_interruption_carries_the_summary(folder):
    def interrupt(record):
        if record.output == "c.bin":
            raise KeyboardInterrupt

    work = Copy()
    with pytest.raises(Interrupted) as caught:
        run(work, folder, progress=interrupt)
    assert caught.value.summary.done >= 3
    assert len(read_manifest(folder / "out" / MANIFEST_NAME).clips) == len(work.done)
    assert not any(thread.name.startswith("hifigan-") for thread in threading.enumerate())


def test_a_clip_whose_report_an_interruption_takes_away_is_counted(folder, monkeypatch):
    """The interruption comes when a report has been taken and nobody has seen it yet."""

    class Reports(queue.SimpleQueue):
        taken = 0

        def get(self):
            report = super().get()
            self.taken += 1
            if self.taken == 1:
                raise KeyboardInterrupt
            return report

    monkeypatch.setattr(pipeline, "queue", SimpleNamespace(SimpleQueue=Reports))
    with pytest.raises(Interrupted) as caught:
        run(Copy(), folder)
    assert caught.value.summary.done == len(read_manifest(folder / "out" / MANIFEST_NAME).clips) > 0


def test_what_earlier_versions_finished_is_known_again():
    """The digest by the version before networks beyond the original's."""
    v1 = PRESETS["v1"]
    settings = {"generator": synthesis._network(v1.generator), "mel": synthesis._mel_settings(v1.mel)}
    assert settings_digest(settings) == "48875a75a21987cc"
    other = replace(v1.generator, leaky_relu_slope=0.2)
    assert settings_digest(settings | {"generator": synthesis._network(other)}) != settings_digest(settings)
    htk = replace(v1.mel, mel_scale="htk")
    assert settings_digest(settings | {"mel": synthesis._mel_settings(htk)}) != settings_digest(settings)
