"""A run whose results go to an object store: who may work there, what is finished, and the manifest."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hifigan_rt.errors import HifiganError, OutputError
from hifigan_rt.system.folder_lock import locked_folder
from hifigan_rt.tools.bulk.manifest import MANIFEST_NAME, ClipRecord
from hifigan_rt.tools.bulk.outputs import Job, describe_pairs, output_name, select_jobs
from hifigan_rt.tools.bulk.resume import settings_digest
from hifigan_rt.tools.bulk.run import ClipRunner, work_through
from hifigan_rt.tools.bulk.summary import RunSummary
from hifigan_rt.tools.cluster.object_files import check_writable
from hifigan_rt.tools.cluster.object_inputs import FoundInputs, StoreFolder
from hifigan_rt.tools.cluster.retrying import RETRY_PAUSES_S, retried
from hifigan_rt.tools.cluster.store_claim import BEAT_S, SETTLE_S, StoreClaim, claimed_place
from hifigan_rt.tools.cluster.store_manifest import StoreManifest, bring_together, state_folder
from hifigan_rt.tools.datasets import LeftOut


def plan_objects(found: FoundInputs, output: StoreFolder, suffix: str) -> list[Job]:
    """Name the output of every input, as `hifigan_rt.tools.bulk.outputs.plan_outputs` does.

    Raises:
        OutputError: the place of the results is an input folder, or an output would overwrite an input.
    """
    above = output.path_of()
    for item in found.files:
        if item.folder == above:
            raise OutputError(f"the place of the results, {output.shown!r}, is that of the inputs: name another one")
    names = [output_name(item, suffix) for item in found.files]
    jobs = [Job(item, output.path_of(name), name) for item, name in zip(found.files, names, strict=True)]
    sources = {job.source.path for job in jobs}
    for job in jobs:
        if job.output in sources:
            shown = output.store.shown(output.key_of(job.name))
            raise OutputError(f"the output {shown!r} would overwrite an input: name another place")
    return jobs


@dataclass(frozen=True)
class ClaimedStore:
    """A place in a store that no other run works in. Made by `claimed_store`."""

    place: StoreFolder
    claim: StoreClaim
    manifest: Path
    """The local file."""


@contextlib.contextmanager
def claimed_store(
    place: StoreFolder,
    manifest: Path | None = None,
    *,
    waiting: Callable[[str], None] = lambda _: None,
    beat_s: float = BEAT_S,
    settle_s: float = SETTLE_S,
) -> Iterator[ClaimedStore]:
    """Keep other runs out of a place until the block ends, on this machine and on others.

    Args:
        place: where the results go.
        manifest: the local file of the manifest; None is one in `state_folder`.
        waiting: told why something takes long.
        beat_s, settle_s: see `claimed_place`.

    Raises:
        OutputError: another run is at work there, or this machine has no place for the manifest.
        StoreError: the store does not answer, or refuses.
    """
    state = state_folder(place)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked_folder(state))
        except OutputError as error:
            raise OutputError(f"this machine can make no results for {place.shown!r} now: {error}") from error
        # By host, since several may share a home, and none sees the others' locks.
        path = state / f"run-{socket.gethostname()}"
        own = {path.read_text("utf-8")} if path.exists() else set()
        claim = held.enter_context(
            claimed_place(place, own, waiting=waiting, beat_s=beat_s, settle_s=settle_s, starting=path.write_text)
        )
        yield ClaimedStore(place, claim, manifest or state / MANIFEST_NAME)


def run_in_store(
    runner: ClipRunner,
    jobs: Sequence[Job],
    held: ClaimedStore,
    *,
    resume: bool = False,
    overwrite: bool = False,
    figures: Collection[str] = (),
    progress: Callable[[ClipRecord], None] = lambda _: None,
    left_out: LeftOut | None = None,
    pauses_s: Sequence[float] = RETRY_PAUSES_S,
) -> RunSummary:
    """Work through `jobs`; see `hifigan_rt.tools.bulk.run.run_in_folder`.

    Args:
        runner: what works through the clips, with files that put results into the store.
        jobs: from `plan_objects`.
        held: where results go.
        resume: leave out clips that the manifest says are finished.
        overwrite: replace outputs that are there.
        figures: fields that a record must have for its clip to count as finished.
        progress: called in this thread after each clip.
        left_out: what the input folders hold beside the clips.
        pauses_s: see `retried`.

    Raises:
        OutputError: outputs exist that may not be replaced, or the manifest cannot be kept.
        StoreError: the store does not answer, or refuses.
        Interrupted: Ctrl-C; what was finished is in place and in the manifest.
    """
    settings = runner.settings()
    digest = settings_digest(settings)
    left_out = left_out or LeftOut()
    place = held.place
    records = bring_together(place, held.manifest)
    chosen = select_jobs(
        jobs, records, place.shown, digest, runner.files, resume=resume, overwrite=overwrite, figures=figures
    )
    notes = (*describe_pairs(jobs), *chosen.notes)
    shown = place.store.shown(place.key_of(MANIFEST_NAME))
    summary = RunSummary(
        len(jobs), chosen.finished, manifest=shown, left_out=left_out, notes=notes, caveat=runner.caveat
    )
    with StoreManifest(place, held.manifest, held.claim) as manifest:
        manifest.start_run(digest, settings, left_out.counts, notes)
        try:
            work_through(runner, chosen.todo, digest, summary, manifest.append, progress)
        finally:
            _put_at_last(manifest, held, summary, pauses_s)
    return summary


def _put_at_last(manifest: StoreManifest, held: ClaimedStore, summary: RunSummary, pauses_s: Sequence[float]) -> None:
    if held.claim.lost is not None:
        summary.stopped = held.claim.lost
        return
    try:
        retried(manifest.upload, lambda: check_writable(held.place), OutputError, pauses_s)
    except HifiganError as error:
        summary.stopped = summary.stopped or str(error)
        summary.notes += (
            f"the manifest is in {str(held.manifest)!r} alone: run again with --resume on this machine, and it is put "
            "there",
        )
