"""Where results go, what is refused, and what an earlier run has finished."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from pathlib import Path

import pytest

from hifigan_rt.errors import OutputError
from hifigan_rt.tools.bulk import outputs
from hifigan_rt.tools.bulk.clip_files import ClipFiles
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, ClipRecord, ManifestWriter, read_manifest
from hifigan_rt.tools.bulk.output_folder import make_folder
from hifigan_rt.tools.bulk.outputs import Job, JobSelection, plan_outputs, select_jobs, set_apart_outputs_alike
from hifigan_rt.tools.bulk.resume import identify, judge, settings_digest
from hifigan_rt.tools.datasets import InputFile, find_inputs

FILES = ClipFiles()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "sub/c"):
        path = tmp_path / "in" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def plan(output, names=("in",), recursive=False):
    return plan_outputs(find_inputs(list(names), {".wav"}, recursive=recursive), Path(output), ".flac")


def test_outputs_keep_the_place_and_change_the_suffix(folder):
    (folder / "in/v1.2.wav").touch()
    jobs = plan("out", recursive=True)
    assert [job.name for job in jobs] == ["a.flac", "b.flac", "sub/c.flac", "v1.2.flac"]
    assert jobs[2].output == folder / "out/sub/c.flac"


@pytest.mark.parametrize("output", ["in", "./in", "in/", "out/../in", "in/sub/..", "link"])
def test_the_input_folder_as_output_is_refused_however_it_is_spelt(folder, output):
    (folder / "link").symlink_to("in")
    (folder / "out").mkdir()
    with pytest.raises(OutputError, match=r"the output folder '.*' is the input folder '.*in'"):
        plan(output)


@pytest.mark.parametrize("output", ["in", "link", "in/sub/.."])
def test_an_output_over_an_input_is_refused(folder, output):
    (folder / "link").symlink_to("in")
    inputs = find_inputs(["in/a.wav", "in/b.wav"], {".wav"})
    with pytest.raises(OutputError, match=r"the output '.*a\.wav' would overwrite the input '.*a\.wav'"):
        plan_outputs(inputs, Path(output), ".wav")


def test_files_named_themselves_may_get_their_results_beside_them(folder):
    assert [job.output for job in plan("in", ["in/a.wav"])] == [folder / "in/a.flac"]


def test_a_file_in_the_folders_place(folder):
    (folder / "out").touch()
    with pytest.raises(OutputError, match="cannot be made: a file of that name is there"):
        make_folder(folder / "out")
    with pytest.raises(OutputError, match="cannot be made: Not a directory"):
        make_folder(folder / "out/deeper")


def select(jobs, folder, digest, **options):
    manifest = read_manifest(folder / "out" / MANIFEST_NAME)
    return select_jobs(jobs, manifest, "out", digest, FILES, **options)


def finished_record(job, digest="d"):
    identity = identify(job.source.path)
    job.output.parent.mkdir(exist_ok=True)
    job.output.write_bytes(b"result")
    return ClipRecord(
        str(job.source.path),
        job.name,
        "ok",
        digest,
        input_bytes=identity.size_bytes,
        input_mtime_ns=identity.mtime_ns,
        input_sha256=identity.sha256,
        output_bytes=6,
        output_sha256=hashlib.sha256(b"result").hexdigest(),
    )


def test_a_finished_clip_is_known(folder):
    job = plan("out")[0]
    record = finished_record(job)
    assert judge(record, job, FILES, "d") == "finished"
    assert judge(None, job, FILES, "d") != "finished"
    assert judge(record, job, FILES, "other settings") != "finished"
    assert judge(dataclasses.replace(record, status="failed"), job, FILES, "d") != "finished"


def test_touched_or_moved_inputs_go_by_their_contents(folder):
    job = plan("out")[0]
    record = finished_record(job)
    os.utime(job.source.path, ns=(1, 1))
    assert judge(record, job, FILES, "d") == "finished"
    moved = job.source.path.rename(folder / "moved.wav")
    job = dataclasses.replace(job, source=dataclasses.replace(job.source, path=moved))
    assert judge(record, job, FILES, "d") == "finished"
    moved.write_bytes(b"A")
    assert judge(record, job, FILES, "d") != "finished"


def test_an_input_that_was_exchanged_with_its_time_is_noticed(folder):
    job = plan("out")[0]
    times = job.source.path.stat()
    record = dataclasses.replace(finished_record(job), input_ctime_ns=times.st_ctime_ns)
    assert judge(record, job, FILES, "d") == "finished"
    time.sleep(0.01)  # the clock of files ticks every 4 ms on some systems
    job.source.path.write_bytes(b"A")
    os.utime(job.source.path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert judge(record, job, FILES, "d") == "open"


def test_changed_inputs_and_outputs_are_noticed(folder):
    job = plan("out")[0]
    record = finished_record(job)
    job.source.path.write_bytes(b"longer")
    assert judge(record, job, FILES, "d") != "finished"
    job.source.path.write_bytes(b"a")
    assert judge(record, job, FILES, "d") == "finished"
    job.output.write_bytes(b"torn")
    assert judge(record, job, FILES, "d") != "finished"
    job.output.unlink()
    assert judge(record, job, FILES, "d") != "finished"


def test_existing_outputs_are_protected(folder):
    jobs = plan("out")
    (folder / "out").mkdir()
    (folder / "out/b.flac").write_bytes(b"precious")
    for resume in (False, True):
        with pytest.raises(OutputError, match=r"1 of 2 outputs exist already, the first is '.*b\.flac'.*--overwrite"):
            select(jobs, folder, "d", resume=resume, overwrite=False)
    assert select(jobs, folder, "d", resume=False, overwrite=True) == JobSelection(tuple(jobs))


def test_resume_in_a_folder_of_ours(folder):
    jobs = plan("out")
    record = finished_record(jobs[0])
    # Written just before a crash, or by nobody of ours: the file is there and its line is not.
    jobs[1].output.write_bytes(b"orphan")
    with ManifestWriter(folder / "out" / MANIFEST_NAME) as manifest:
        manifest.start_run("d", {})
        manifest.append(record)
    note = (
        "made again: 1, the first is 'out/b.flac': manifest.jsonl has no line about it: its run was killed, or no run "
        "made it"
    )
    assert select(jobs, folder, "d", resume=True, overwrite=False) == JobSelection((jobs[1],), 1, (note,))
    assert select(jobs, folder, "new", resume=True, overwrite=False) == JobSelection(tuple(jobs), 0, (note,))


def test_digest_depends_on_every_value_and_not_on_the_order():
    assert settings_digest({"a": 1, "b": None}) == settings_digest({"b": None, "a": 1})
    assert settings_digest({"a": 1, "b": None}) != settings_digest({"a": 1, "b": False})


@pytest.mark.parametrize("names", [("A1.wav", "a1.wav"), ("caf\u00e9.wav", "cafe\u0301.wav"), ("x/B.wav", "X/b.wav")])
def test_outputs_that_are_one_file_where_case_is_ignored(tmp_path, monkeypatch, names):
    jobs = [Job(InputFile(tmp_path / "in" / name, Path(name)), tmp_path / name, name) for name in names]
    assert set_apart_outputs_alike(jobs, tmp_path) == jobs
    monkeypatch.setattr(outputs, "_ignores_case", lambda folder: True)
    first, second = set_apart_outputs_alike(jobs, tmp_path)
    assert first == jobs[0]
    assert "would be one file in" in str(second.source.problem)
    assert set_apart_outputs_alike(jobs[:1] * 2, tmp_path) == jobs[:1] * 2
    assert os.listdir(tmp_path) == []
