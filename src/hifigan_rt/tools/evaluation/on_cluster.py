"""An evaluation whose synthesis and metrics are made by the machines of a Ray cluster, which share its folder."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hifigan_rt.errors import ClusterError, HifiganError
from hifigan_rt.model.kinds import Model
from hifigan_rt.system.versions import own_version
from hifigan_rt.tools.bulk.long_clips import ReadSettings
from hifigan_rt.tools.bulk.run import ClipRunner
from hifigan_rt.tools.cluster.actors import worker_size
from hifigan_rt.tools.cluster.recipe import SynthesisRecipe, vocoder_recipe
from hifigan_rt.tools.cluster.run import ClusterRunner, signed_folder
from hifigan_rt.tools.cluster.worker import FolderSign
from hifigan_rt.tools.evaluation.columns import package_versions
from hifigan_rt.tools.evaluation.measuring import ClipTask, Measured
from hifigan_rt.tools.evaluation.preparation import write_settings
from hifigan_rt.tools.evaluation.systems import SystemSpec
from hifigan_rt.tools.evaluation.workers import MeasuringPool

_RETRIES = 3
"""Machines that may be lost with one clip in their hands before it has failed."""


@dataclass(frozen=True)
class EvaluationCluster:
    """A connected cluster."""

    ray: Any
    """The module, of `connected`."""
    note: Callable[[str], None] = lambda _: None
    """Told of what takes long."""

    @contextlib.contextmanager
    def synthesis(
        self, spec: SystemSpec, model: Model, reading: ReadSettings, clips: int, folder: Path
    ) -> Iterator[ClipRunner]:
        """Start the workers of a system.

        Args:
            spec: the system.
            model: its model.
            reading: what may be done to inputs.
            clips: how many there are.
            folder: where its audio goes, on a file system that all machines share.

        Yields:
            What works through the clips; its settings are known.

        Raises:
            HifiganError: no worker can be had, or the engine cannot be created.
        """
        size = worker_size(spec.threads, spec.device)
        vocoder = vocoder_recipe(model, spec.engine, spec.engine_options | {"threads": size.cpus})
        recipe = SynthesisRecipe(vocoder, reading, write_settings(), spec.speaker, spec.vector)
        with ClusterRunner(self.ray, recipe, size, clips, folder=folder, note=self.note) as runner:
            runner.settings()
            yield runner


class ClusterMeasuring:
    """Measures clips as `MeasuringPool` does, in one process per CPU of the cluster."""

    def __init__(
        self, cluster: EvaluationCluster, jobs: int | None, limit_seconds: float, packages: Sequence[str], folder: Path
    ) -> None:
        """
        Args:
            cluster: where.
            jobs: clips that are measured at a time; None is the number of its CPUs.
            limit_seconds: see `MeasuringPool`.
            packages: what computes the metrics; every machine must have the same versions.
            folder: the evaluation's.
        """
        self._ray = cluster.ray
        self._jobs = jobs or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._limit_seconds = limit_seconds
        self._packages = tuple(packages)
        self._folder = folder
        self._waiting: dict[Any, int] = {}

    def measure(self, clips: Sequence[ClipTask]) -> Iterator[tuple[int, tuple[Measured, ...]]]:
        """Measure all, and give each clip's index with what came out, in the order in which they are finished.

        Raises:
            ClusterError: a machine lacks the package, or computes metrics by other versions.
        """
        versions = package_versions(self._packages) | {"hifigan_rt": own_version()}
        # One at a time in a process, and spread: else the first machine would get all that it has room for.
        task = self._ray.remote(num_cpus=1, max_retries=_RETRIES, scheduling_strategy="SPREAD")(_measure)
        with signed_folder(self._folder) as sign:
            left = iter(enumerate(clips))
            while True:
                for index, clip in left:
                    reference = task.remote(clip, self._limit_seconds, versions, sign)
                    self._waiting[reference] = index
                    if len(self._waiting) > self._jobs:
                        break
                if not self._waiting:
                    return
                (ready, *_), _ = self._ray.wait([*self._waiting], num_returns=1)
                index = self._waiting.pop(ready)
                yield index, self._result(ready, clips[index])

    def _result(self, ready: Any, clip: ClipTask) -> tuple[Measured, ...]:
        try:
            measured: tuple[Measured, ...] = self._ray.get(ready)
        except self._ray.exceptions.RayTaskError as error:
            raise _told(error) from error
        except self._ray.exceptions.RayError as error:
            text = " ".join(str(error).split())
            failed = f"the machines that measured it were lost, {_RETRIES + 1} in a row; the last: {text}"
            return tuple(Measured({}, failed=failed) for _ in clip.tasks)
        return measured

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for reference in self._waiting:
            self._ray.cancel(reference, force=True)


def _measure(
    clip: ClipTask, limit_seconds: float, versions: Mapping[str, str], sign: FolderSign | None
) -> tuple[Measured, ...]:
    _check_machine(tuple(versions.items()), sign)
    return next(iter(_pool(limit_seconds).measure([clip])))[1]


@functools.cache
def _pool(limit_seconds: float) -> MeasuringPool:
    return MeasuringPool(1, limit_seconds)


@functools.cache
def _check_machine(versions: Sequence[tuple[str, str]], sign: FolderSign | None) -> None:
    if sign is not None:
        sign.check()
    here = package_versions([name for name, _ in versions]) | {"hifigan_rt": own_version()}
    for name, version in versions:
        if here.get(name) != version:
            raise ClusterError(
                f"metrics would be computed by {name} {here.get(name, 'none')} on {socket.gethostname()}, and by "
                f"{version} where the evaluation was started: install the same versions on all machines"
            )


def _told(error: Exception) -> HifiganError:
    """An error of ours that a task raised, or what else it did."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, HifiganError):
        return cause
    text = " ".join(str(cause or error).split())
    return ClusterError(f"a machine of the cluster cannot do its part of the evaluation: {text}")
