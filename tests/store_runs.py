"""Runs of a small work whose results go to an object store, for the tests of what keeps them apart and whole."""

from __future__ import annotations

from hifigan_rt.tools.bulk.local_run import LocalRunner
from hifigan_rt.tools.bulk.work import ClipFacts, Work
from hifigan_rt.tools.cluster.object_files import ObjectFiles
from hifigan_rt.tools.cluster.object_inputs import StoreFolder, find_inputs_anywhere
from hifigan_rt.tools.cluster.object_store import split_url
from hifigan_rt.tools.cluster.store_manifest import state_folder
from hifigan_rt.tools.cluster.store_run import claimed_store, plan_objects, run_in_store

NAMES = "abcdef"
BEAT_S = 0.2
ALL = {f"out/{name}.out": name * 2 for name in NAMES}


class Doubled(Work[bytes, bytes]):
    """Writes its input twice; `before` is called with each input's text."""

    def __init__(self, before=lambda text: None, factor=2):
        self.before, self.factor = before, factor
        self.done = []

    def settings(self):
        return {"factor": self.factor}

    def read(self, source):
        return source.read_bytes()

    def compute(self, data):
        self.before(data.decode())
        return data * self.factor

    def write(self, data, output):
        output.write_bytes(data)
        self.done.append(data.decode()[0])
        return ClipFacts(audio_seconds=1.0, notes=(f"made of {output}",))


def place_of(bucket, key="out"):
    return StoreFolder(*split_url(bucket.url(key)))


def run(bucket, work=None, inputs=None, output="out", **options):
    found = find_inputs_anywhere([inputs or bucket.url("in")], {".bin"})
    place = StoreFolder(*split_url(bucket.url(output)))
    kept = {name: options.pop(name) for name in ("manifest", "waiting") if name in options}
    beat_s = options.pop("beat_s", BEAT_S)
    pauses = options.pop("pauses_s", (0, 0))
    runner = LocalRunner(work or Doubled(), ObjectFiles(found.places, place, pauses, infos=found.infos))
    with claimed_store(place, beat_s=beat_s, settle_s=0, **kept) as held:
        return run_in_store(runner, plan_objects(found, place, ".out"), held, pauses_s=pauses, **options)


def local_manifest(bucket):
    return state_folder(place_of(bucket)) / "manifest.jsonl"


def results(bucket):
    return {key: bucket.get(key).decode() for key in bucket.names() if key.startswith("out/") and key.endswith(".out")}
