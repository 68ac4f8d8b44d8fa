"""The manifest: what is written is read back, whatever happened to the file between."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hifigan_rt.errors import OutputError
from hifigan_rt.tools.bulk.manifest import ClipRecord, ManifestWriter, read_manifest

RECORD = ClipRecord("/in/a.wav", "a.wav", "ok", "d1", input_bytes=10, output_bytes=20, audio_seconds=0.5, frames=0)


def write(path, *records):
    with ManifestWriter(path) as manifest:
        manifest.start_run("d1", {"encoding": "pcm16"})
        for record in records:
            manifest.append(record)


def test_round_trip_and_the_last_line_counts(tmp_path):
    path = tmp_path / "manifest.jsonl"
    failed = ClipRecord("/in/b.wav", "b.wav", "failed", "d1", error="bad", warnings=("odd",), notes=("short",))
    later = ClipRecord("/in/a.wav", "a.wav", "ok", "d2", clipped_samples=0)
    write(path, RECORD, failed)
    write(path, later)
    contents = read_manifest(path)
    assert contents.clips == {"a.wav": later, "b.wav": failed}
    assert (contents.runs, contents.damaged_lines) == (2, 0)


def test_missing_manifest_is_empty(tmp_path):
    assert read_manifest(tmp_path / "none").clips == {}


@pytest.mark.parametrize("kept", [1, 10, -2, -1])
def test_a_torn_last_line_is_passed_over_and_never_glued_to_the_next(tmp_path, kept):
    path = tmp_path / "manifest.jsonl"
    write(path, RECORD)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:kept])
    other = ClipRecord("/in/c.wav", "c.wav", "ok", "d1")
    write(path, other)
    contents = read_manifest(path)
    assert contents.clips["c.wav"] == other
    # Without its newline alone the line is whole.
    assert ("a.wav" in contents.clips) == (kept == -1)
    assert contents.damaged_lines == (kept != -1)


def test_names_that_are_not_utf8_survive_in_pure_ascii(tmp_path):
    path = tmp_path / "manifest.jsonl"
    name = os.fsdecode(b"/in/caf\xe9 \xc3\xa9\x1b[31m.wav")
    write(path, ClipRecord(name, "x.wav", "ok", "d"))
    raw = path.read_bytes()
    assert raw.isascii()
    line = json.loads(raw.splitlines()[1])
    assert os.fsencode(line["input"]) == b"/in/caf\xe9 \xc3\xa9\x1b[31m.wav"
    assert read_manifest(path).clips["x.wav"].input == name


@given(st.lists(st.binary(max_size=60) | st.builds(lambda v: json.dumps(v).encode(), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["kind", "input", "output", "settings", "status", "warnings", "x"]), inner, max_size=7),
    max_leaves=8,
))))  # fmt: skip
def test_any_garbage_is_passed_over(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("garbage") / "manifest.jsonl"
    path.write_bytes(b"\n".join(lines))
    write(path, RECORD)
    assert read_manifest(path).clips["a.wav"] == RECORD


@pytest.mark.parametrize("change", [{"input": 5}, {"status": "fine"}, {"output": None}, {"settings": []}])
def test_lines_that_are_not_ours_are_counted(tmp_path, change):
    path = tmp_path / "manifest.jsonl"
    path.write_text(json.dumps({"kind": "clip", "input": "a", "output": "b", "settings": "c", "status": "ok"} | change))
    contents = read_manifest(path)
    assert (contents.clips, contents.damaged_lines) == ({}, 1)


def test_fields_of_later_versions_are_ignored(tmp_path):
    path = tmp_path / "manifest.jsonl"
    line = {"kind": "clip", "input": "a", "output": "b", "settings": "c", "status": "ok", "new": 1, "warnings": 7}
    path.write_text(json.dumps(line))
    assert read_manifest(path).clips == {"b": ClipRecord("a", "b", "ok", "c")}


def test_a_folder_in_its_place(tmp_path):
    with pytest.raises(OutputError, match="cannot be written: Is a directory"):
        ManifestWriter(tmp_path)
    with pytest.raises(OutputError, match="cannot be read: Is a directory"):
        read_manifest(tmp_path)
