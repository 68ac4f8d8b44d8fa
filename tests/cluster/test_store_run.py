"""Runs whose results go to an object store: records, resuming, other runs, and a network that is cut."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from pathlib import Path

import pytest

from hifigan_rt.errors import OutputError, StoreError
from hifigan_rt.tools.bulk.manifest import read_manifest
from hifigan_rt.tools.cluster import store_manifest
from hifigan_rt.tools.cluster.object_store import ObjectStore
from hifigan_rt.tools.cluster.store_claim import CLAIM_NAME
from hifigan_rt.tools.cluster.store_run import claimed_store
from object_stores import Bucket
from store_runs import ALL, NAMES, Doubled, local_manifest, place_of, results, run
from waiting import wait_for

pytestmark = [pytest.mark.ray, pytest.mark.object_store, pytest.mark.usefixtures("home")]


class Network:
    """What `ObjectStore` finds at the other end."""

    def __init__(self, monkeypatch):
        opened = ObjectStore._open

        def open_unless_cut(store):
            if self.is_cut:
                raise StoreError("nobody answers")
            return opened(store)

        self.is_cut = False
        monkeypatch.setattr(ObjectStore, "_open", open_unless_cut)

    def cut(self):
        self.is_cut = True

    def mend(self):
        self.is_cut = False


@pytest.fixture
def network(monkeypatch):
    return Network(monkeypatch)


def test_records_and_results(filled):
    summary = run(filled)
    assert (summary.done, summary.complete, summary.stopped) == (6, True, None)
    assert summary.manifest == f"{filled.root}/out/manifest.jsonl"
    assert results(filled) == ALL
    assert filled.names() == sorted(
        [*(f"in/{name}.bin" for name in NAMES), *ALL, "out/manifest.jsonl", f"out/{CLAIM_NAME}"]
    )
    assert filled.get("out/manifest.jsonl") == local_manifest(filled).read_bytes()
    assert b"secret" not in filled.get("out/manifest.jsonl")
    record = read_manifest(local_manifest(filled)).clips["a.out"]
    place = place_of(filled)
    stored = place.store.info(place.key_of("a.out"))
    assert (record.input, record.output_bytes, record.output_mtime_ns) == (
        f"{filled.root}/in/a.bin",
        2,
        stored.mtime_ns,
    )
    assert record.notes == (f"made of {filled.root}/out/a.out",)


def test_a_disk_without_room_for_copies_ends_the_run(filled, monkeypatch):
    got = ObjectStore.get

    def get(store, key, target):
        if key.endswith("in/c.bin"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return got(store, key, target)

    with monkeypatch.context() as full:
        full.setattr(ObjectStore, "get", get)
        summary = run(filled)
    assert (summary.done, [name for name, _ in summary.failed]) == (2, [f"{filled.root}/in/c.bin"])
    assert f"'{filled.root}/in/c.bin' cannot be worked on in '{tempfile.gettempdir()}'" in summary.stopped
    assert "No space left on device; TMPDIR names another folder" in summary.stopped
    assert run(filled, resume=True).skipped == 2


def test_a_second_run_makes_nothing_again(filled):
    run(filled)
    work = Doubled()
    assert run(filled, work, resume=True).skipped == 6
    assert work.done == []


@pytest.mark.parametrize("lost", ["local", "remote"])
def test_one_manifest_is_enough(filled, lost):
    """The driver's machine is lost, or somebody deletes the copy."""
    run(filled)
    if lost == "local":
        local_manifest(filled).unlink()
    else:
        filled.delete("out/manifest.jsonl")
    work = Doubled()
    assert run(filled, work, resume=True).skipped == 6
    assert work.done == []
    assert filled.get("out/manifest.jsonl") == local_manifest(filled).read_bytes()


def test_an_object_without_a_line_is_made_again(filled):
    run(filled)
    for text, write in ((local_manifest(filled).read_text(), local_manifest(filled).write_text),):
        kept = "".join(line for line in text.splitlines(keepends=True) if '"c.out"' not in line)
        write(kept)
        filled.put("out/manifest.jsonl", kept.encode())
    work = Doubled()
    summary = run(filled, work, resume=True)
    assert (summary.skipped, work.done) == (5, ["c"])
    assert [note.partition(": manifest")[2] for note in summary.notes] == [
        ".jsonl has no line about it: its run was killed, or no run made it"
    ]


@pytest.mark.parametrize(
    ("change", "again", "note"),
    [
        (lambda bucket: bucket.delete("out/b.out"), ["b"], ""),
        (lambda bucket: bucket.put("out/b.out", b"xx"), ["b"], "it is not what was written"),
        (lambda bucket: bucket.put("out/b.out", b"longer"), ["b"], "it is not what was written"),
        (lambda bucket: bucket.put("in/b.bin", b"B"), ["B"], ""),
        (lambda bucket: bucket.put("in/b.bin", b"longer"), ["l"], ""),
        (lambda bucket: bucket.put("in/g.bin", b"g"), ["g"], ""),
        (lambda bucket: None, [], ""),
    ],
    ids=["deleted", "exchanged", "of another length", "input exchanged", "input longer", "new input", "nothing"],
)
def test_what_has_changed_is_made_again(filled, change, again, note):
    run(filled)
    change(filled)
    work = Doubled()
    summary = run(filled, work, resume=True)
    assert work.done == again
    assert note in " ".join(summary.notes)
    assert summary.complete


def test_copied_buckets_are_known_by_contents(filled):
    run(filled)
    for key in filled.names():
        if key != "out/manifest.jsonl":
            filled.put(key, filled.get(key))
    work = Doubled()
    assert run(filled, work, resume=True).skipped == 6
    assert work.done == []


def test_other_settings_make_everything_again(filled):
    run(filled)
    assert run(filled, Doubled(factor=3), resume=True).done == 6
    assert results(filled) == {key: text[0] * 3 for key, text in ALL.items()}


def test_what_is_there_is_not_replaced_unasked(filled):
    run(filled)
    with pytest.raises(
        OutputError, match=r"6 of 6 outputs exist already, the first is 'file://.*/out/a.out'.*--resume"
    ):
        run(filled)
    assert run(filled, overwrite=True).done == 6
    filled.delete("out/manifest.jsonl")
    local_manifest(filled).unlink()
    with pytest.raises(OutputError, match=r"no manifest.jsonl there tells where from"):
        run(filled, resume=True)


def test_the_copy_is_put_every_so_many_lines(filled, monkeypatch):
    monkeypatch.setattr(store_manifest, "UPLOAD_LINES", 2)
    seen = []
    run(filled, progress=lambda _: seen.append(filled.get("out/manifest.jsonl").count(b"\n") if seen else 0))
    assert len(seen) == 6
    assert seen == sorted(seen)
    assert 2 <= seen[-1] <= 7


def test_a_long_manifest_of_earlier_runs_is_put_after_a_tenth_of_it(filled, monkeypatch):
    monkeypatch.setattr(store_manifest, "UPLOAD_LINES", 2)
    with claimed_store(place_of(filled), settle_s=0) as held:
        held.manifest.write_text('{"kind": "run"}\n' * 100)
        with store_manifest.StoreManifest(held.place, held.manifest, held.claim) as manifest:
            put = []
            monkeypatch.setattr(manifest, "upload", lambda: (put.append(number), setattr(manifest, "_unsent", 0)))
            for number in range(1, 25):
                manifest.append_object({"number": number})
    # After 11 lines there are 111, a tenth of which has come; 11 more make 122, whose tenth is 12.
    assert put == [11, 23]


def test_a_manifest_of_the_users_own(filled, tmp_path):
    mine = tmp_path / "mine.jsonl"
    run(filled, manifest=mine)
    assert mine.read_bytes() == filled.get("out/manifest.jsonl")
    assert not local_manifest(filled).exists()


def test_a_home_that_cannot_be_written_to(filled, home, tmp_path, monkeypatch):
    home.write_text("a file")
    with pytest.raises(OutputError, match=f"name another folder than '{home}' with XDG_STATE_HOME"):
        run(filled)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    assert run(filled).done == 6


def test_a_network_that_is_cut_ends_the_run_and_loses_nothing(filled, network):
    def before(text):
        if text == "d":
            wait_for(lambda: b'"a.out"' in local_manifest(filled).read_bytes())
            network.cut()

    summary = run(filled, Doubled(before))
    assert summary.stopped == "nobody answers"
    assert not summary.complete
    assert "run again with --resume on this machine" in " ".join(summary.notes)
    network.mend()
    made = {name for name, record in read_manifest(local_manifest(filled)).clips.items() if record.status == "ok"}
    assert {"a.out"} <= made < {f"{name}.out" for name in NAMES}
    # Of a result that was written as the network went, nobody was told: it may be there, whole, and is made again.
    present = results(filled)
    assert {f"out/{name}" for name in made} <= set(present)
    assert present.items() < ALL.items()
    again = Doubled()
    summary = run(filled, again, resume=True)
    assert summary.complete
    assert (summary.skipped, len(again.done)) == (len(made), 6 - len(made))
    assert results(filled) == ALL


@pytest.mark.long
def test_a_real_line_that_is_cut(bucket, line):
    for name in NAMES:
        bucket.put(f"in/{name}.bin", name.encode())
    through = type(bucket)(bucket.name, line.port)
    summary = run(through, Doubled(lambda text: line.cut() if text == "d" else None), pauses_s=())
    assert "check the network" in summary.stopped
    line.mend()
    assert run(through, resume=True).complete
    assert results(bucket) == ALL


def test_a_network_that_is_cut_for_a_moment_is_waited_for(filled, network):
    def before(text):
        if text == "c":
            network.cut()
            threading.Timer(0.5, network.mend).start()

    summary = run(filled, Doubled(before), pauses_s=(0.1,) * 200)
    assert (summary.complete, summary.stopped) == (True, None)
    assert results(filled) == ALL


def test_an_input_that_goes_between_listing_and_reading(filled):
    def before(text):
        if text == "a":
            filled.delete("in/f.bin")

    summary = run(filled, Doubled(before))
    assert summary.done == 5
    assert summary.failed == [
        (f"{filled.root}/in/f.bin", f"'{filled.root}/in/f.bin' is not there, though it was when the run began")
    ]


def test_no_bucket_is_told_before_anything_is_made(s3_port):
    place = place_of(Bucket("no-such-bucket", s3_port))
    with (
        pytest.raises(StoreError, match=r"'s3://no-such-bucket' .*; make the bucket, or name another"),
        claimed_store(place),
    ):
        raise AssertionError


def test_local_inputs_to_a_store(filled, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.bin").write_text("a")
    assert run(filled, inputs=str(tmp_path / "in")).complete
    assert results(filled) == {"out/a.out": "aa"}
    assert run(filled, inputs=str(tmp_path / "in"), resume=True).skipped == 1


@pytest.mark.parametrize("output", ["in", "in/"])
def test_results_do_not_go_among_the_inputs(filled, output):
    with pytest.raises(OutputError, match="is that of the inputs: name another one"):
        run(filled, output=output)


def test_lines_of_two_machines_are_brought_together(filled, tmp_path, monkeypatch):
    run(filled)
    first = local_manifest(filled).read_text()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    filled.put("in/g.bin", b"g")
    run(filled, resume=True)
    both = local_manifest(filled).read_text()
    assert both.startswith(first)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with local_manifest(filled).open("a") as file:
        file.write('{"kind": "clip", "input": "x", "output": "x.out", "status": "failed", "settings": "s"}\n')
    assert run(filled, resume=True).skipped == 7
    merged = read_manifest(local_manifest(filled))
    assert {"a.out", "g.out", "x.out"} <= set(merged.clips)
    assert local_manifest(filled).read_text().startswith(both)
    assert Path(local_manifest(filled)).read_bytes() == filled.get("out/manifest.jsonl")
