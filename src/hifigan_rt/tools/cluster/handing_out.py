"""Clips of a run on their way to workers and back; each is in one pair of hands, and counts once.

Clips go out in chunks, so that a worker reads the next one while it computes. Their records come back one by one. When
a worker ends before all of its clips are back, what is missing goes to others, each clip alone, so that one that kills
its workers is found; it is given up after some tries. A clip may so be computed twice: its file is then replaced by one
of the same bytes, and has one line in the manifest.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hifigan_rt.errors import HifiganError
from hifigan_rt.system.temporary_names import remove_left_over
from hifigan_rt.tools.bulk.clip_files import ClipFiles
from hifigan_rt.tools.bulk.manifest import ClipRecord
from hifigan_rt.tools.bulk.outputs import Job
from hifigan_rt.tools.cluster.actors import ClusterWorker, WorkerPool, describe_difference, in_a_line
from hifigan_rt.tools.cluster.worker import ChunkEnd, FolderSign
from hifigan_rt.tools.tables import counted

_CHUNK_CLIPS = 8
"""Most clips of a chunk: what is lost of a worker's time between chunks, some ms, is then nothing."""

_MOST_TRIES = 4
"""Workers that may end with a clip in their hands: one with its whole chunk, then three with it alone."""

_LAST_SECONDS = 30.0
"""How long a run that ends early waits for the clips in the workers' hands."""


@dataclass
class _OpenClip:
    job: Job
    tries: int = 0
    """Workers that ended with it in their hands."""


@dataclass
class _Chunk:
    worker: ClusterWorker
    clips: dict[str, _OpenClip] = field(default_factory=dict)
    """What is not back yet, by the output's name."""


class ClipQueue:
    """All clips of one run."""

    def __init__(
        self,
        ray: Any,
        pool: WorkerPool,
        jobs: Sequence[Job],
        digest: str,
        sign: FolderSign | None,
        files: ClipFiles,
        finished: Callable[[ClipRecord], None],
    ) -> None:
        """
        Args:
            ray: the module.
            pool: the workers.
            jobs: the clips, in the order in which they go out.
            digest: of the settings.
            sign: by which workers know the output folder.
            files: where the clips lie.
            finished: called once for each clip.
        """
        self._ray, self._pool, self._digest, self._sign, self._finished = ray, pool, digest, sign, finished
        self._files = files
        self._waiting = deque(_OpenClip(job) for job in jobs)
        self._chunks: dict[Any, _Chunk] = {}
        self._folders = tuple(dict.fromkeys(job.output.parent for job in jobs))
        self._ended: list[str] = []

    @property
    def done(self) -> bool:
        """Whether all clips are back."""
        return not self._waiting and not self._chunks

    @property
    def open(self) -> int:
        """Workers that would have something to do, at most."""
        return len(self._waiting) + len(self._chunks)

    def hand_out(self) -> None:
        """Give a chunk to each worker that has none."""
        busy = [chunk.worker for chunk in self._chunks.values()]
        for worker in self._pool.ready:
            if worker not in busy and self._waiting:
                clips = self._next_chunk()
                stream = worker.actor.run.options(num_returns="streaming").remote(
                    [clip.job for clip in clips], self._digest, self._sign
                )
                self._chunks[stream] = _Chunk(worker, {clip.job.name: clip for clip in clips})

    def take_in(self, seconds: float, settings: dict[str, Any]) -> None:
        """Wait for the next record or worker, and see to it.

        Args:
            seconds: how long at most.
            settings: by which a worker that has just started must compute.

        Raises:
            HifiganError: why the run must end.
        """
        starting = {worker.asked: worker for worker in self._pool.starting}
        ready, _ = self._ray.wait([*self._chunks, *starting], num_returns=1, timeout=seconds)
        for one in ready:
            if one in self._chunks:
                self._take(one)
                continue
            worker = starting[one]
            reason = self._pool.advance(worker)
            if reason is not None:
                self._remember(worker, reason)
            elif worker.settings not in (None, settings):
                self._leave_out(worker, describe_difference(worker, settings))

    def wind_up(self) -> None:
        """End early: wait for what the workers have in their hands."""
        for chunk in self._chunks.values():
            chunk.worker.actor.stop.remote()
        end = time.monotonic() + _LAST_SECONDS
        while self._chunks and time.monotonic() < end:
            ready, _ = self._ray.wait([*self._chunks], num_returns=1, timeout=end - time.monotonic())
            for one in ready:
                try:
                    self._take(one)
                except HifiganError:  # the reason for the end is told already
                    continue

    def notes(self) -> tuple[str, ...]:
        """Say which workers were lost."""
        if not self._ended:
            return ()
        workers = counted(len(self._ended), "worker")
        return (f"{workers} ended on the way, and what was in their hands went to others; the last: {self._ended[-1]}",)

    def _next_chunk(self) -> list[_OpenClip]:
        # Small towards the end, so that all workers finish together.
        most = max(1, min(_CHUNK_CLIPS, len(self._waiting) // (2 * len(self._pool.ready))))
        clips = [self._waiting.popleft()]
        while len(clips) < most and self._waiting and not clips[0].tries and not self._waiting[0].tries:
            clips.append(self._waiting.popleft())
        return clips

    def _take(self, stream: Any) -> None:
        chunk = self._chunks[stream]
        try:
            item = self._ray.get(next(stream))
        except StopIteration:
            item = ChunkEnd()
        except self._ray.exceptions.RayError as error:
            del self._chunks[stream]
            cause = getattr(error, "cause", None)
            if isinstance(cause, HifiganError):  # of `FolderSign.check`, before the first clip
                self._put_back(chunk)
                self._leave_out(chunk.worker, cause)
            else:
                self._worker_ended(chunk, error)
            return
        if isinstance(item, ChunkEnd):
            del self._chunks[stream]
            self._put_back(chunk)
            if item.stopped is not None:
                raise item.stopped
        elif chunk.clips.pop(item.output, None) is not None:
            self._finished(item)

    def _worker_ended(self, chunk: _Chunk, error: Exception) -> None:
        self._pool.lose(chunk.worker)
        place, reason = chunk.worker.place, in_a_line(error)
        if place is not None:
            remove_left_over(self._folders, [(place.host, place.process)])
        self._remember(chunk.worker, error)
        for clip in list(chunk.clips.values()):
            clip.tries += 1
            if clip.tries >= _MOST_TRIES:
                del chunk.clips[clip.job.name]
                text = f"{clip.tries} workers ended while they made it, which others do not; the last: {reason}"
                self._finished(
                    ClipRecord(self._files.name(clip.job), clip.job.name, "failed", self._digest, error=text)
                )
        self._put_back(chunk)

    def _put_back(self, chunk: _Chunk) -> None:
        self._waiting.extendleft(reversed(chunk.clips.values()))

    def _leave_out(self, worker: ClusterWorker, reason: HifiganError) -> None:
        self._pool.leave_out(worker, reason)
        self._remember(worker, reason)

    def _remember(self, worker: ClusterWorker, reason: Exception) -> None:
        where = f"{worker.place}: " if worker.place is not None else ""
        self._ended.append(f"{where}{in_a_line(reason)}")
