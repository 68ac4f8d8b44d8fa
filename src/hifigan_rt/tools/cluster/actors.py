"""The workers of a run, as the machine that started it sees them: Ray's actors, asked for, started and replaced."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hifigan_rt.engines.base import EngineInfo
from hifigan_rt.engines.native import ISA_VARIABLE
from hifigan_rt.engines.native_tuning import TUNING_VARIABLE
from hifigan_rt.errors import ClusterError, HifiganError
from hifigan_rt.system.versions import own_version
from hifigan_rt.tools.tables import counted

_FORWARDED = (ISA_VARIABLE, TUNING_VARIABLE)
"""Variables that change the bits of a result: workers get those of this process."""

_ASKED_EVERY_SECONDS = 2.0
"""How often the machines of the cluster are counted again."""

_DEATHS_ON_START = 3
"""Workers that may die on one machine before they are ready; a further one is not asked for there."""

_REASON_CHARACTERS = 300

_DEATHS_ANYWHERE = 10
"""Workers in a row that may die before they say where they are."""


@dataclass(frozen=True)
class WorkerSize:
    """What one worker takes of its machine."""

    cpus: int = 1
    """Threads of its engine."""
    gpus: int = 0

    def __str__(self) -> str:
        return counted(self.cpus, "CPU") + (f" and {self.gpus} GPU" if self.gpus else "")


def worker_size(threads: int | None, device: str | None) -> WorkerSize:
    """What a worker takes, by the options of an engine: one thread by default, so that each core has a clip of its own.

    Args:
        threads: of the engine.
        device: by the runtime's own name; a worker on CUDA takes a card, which Ray shows to it as the only one.
    """
    return WorkerSize(threads or 1, 1 if (device or "").startswith("cuda") else 0)


@dataclass(frozen=True)
class WorkerPlace:
    """Where a worker runs; made by the actor itself, so no name of this package may be needed to send it."""

    node: str
    """Ray's name of the machine."""
    host: str
    process: int

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


class ClusterWorker:
    """One actor."""

    def __init__(self, actor: Any, asked: Any) -> None:
        self.actor = actor
        self.asked = asked
        """What the pool waits for, until the worker is ready."""
        self.place: WorkerPlace | None = None
        self.settings: dict[str, Any] | None = None
        """What it computes by; None until it is ready."""
        self.engine: EngineInfo | None = None


class WorkerPool:
    """Workers, as many as the cluster has room for; one more is asked for, so that a cluster that can grow does.

    A machine whose workers cannot start is left out, and told of in `left_out`.
    """

    def __init__(self, ray: Any, recipe: Any, size: WorkerSize) -> None:
        """
        Args:
            ray: the module, connected.
            recipe: reference of the object store to the arguments of `ClipWorker`.
            size: what each worker takes.
        """
        self._ray = ray
        self._recipe = recipe
        self._size = size
        self._class = _actor_class(ray)
        self._workers: list[ClusterWorker] = []
        self._counted = -_ASKED_EVERY_SECONDS
        self._deaths: dict[str, int] = {}
        """Workers that died before they were ready, by Ray's name of the machine."""
        self._deaths_anywhere = 0
        self.left_out: dict[str, HifiganError] = {}
        """Why no worker is wanted on a machine, by Ray's name of it."""
        self.room = 0
        """Workers that the machines have room for, whoever uses it."""

    @property
    def ready(self) -> list[ClusterWorker]:
        """Workers that take clips."""
        return [worker for worker in self._workers if worker.settings is not None]

    @property
    def starting(self) -> list[ClusterWorker]:
        """Workers that have been asked for and may never come."""
        return [worker for worker in self._workers if worker.settings is None]

    def ask(self, most: int) -> None:
        """Ask for workers, `most` altogether and one more than there is room for."""
        if time.monotonic() - self._counted >= _ASKED_EVERY_SECONDS:
            self._counted = time.monotonic()
            self.room = sum(self._fits(node) for node in self._nodes() if node["NodeID"] not in self.left_out)
        while len(self._workers) < min(most, self.room + 1):
            actor = self._class.options(
                num_cpus=self._size.cpus, num_gpus=self._size.gpus, max_restarts=0, max_task_retries=0,
                label_selector=_not_on(self.left_out),
            ).remote()  # fmt: skip
            self._workers.append(ClusterWorker(actor, actor.look.remote(forwarded_variables())))

    def answered(self, seconds: float) -> list[ClusterWorker]:
        """Wait until a starting worker has answered; none if none does so in time."""
        asked = {worker.asked: worker for worker in self.starting}
        ready, _ = self._ray.wait(list(asked), num_returns=1, timeout=seconds) if asked else ([], [])
        return [asked[one] for one in ready]

    def agreed(self) -> dict[str, Any]:
        """Give the settings that all workers compute by.

        Raises:
            ClusterError: there are several.
        """
        first, *others = self.ready
        assert first.settings is not None  # noqa: S101 - by `ready`
        for other in others:
            if other.settings != first.settings:
                raise describe_difference(other, first.settings, f"{first.place}")
        return first.settings

    def advance(self, worker: ClusterWorker) -> Exception | None:
        """Take what a starting worker has answered, and have it do its next step.

        Returns:
            Why it is no worker any more: it has ended, or its machine lacks something. None if it is one.

        Raises:
            ClusterError: too many ended before they said where they are.
        """
        try:
            answer = self._ray.get(worker.asked)
        except self._ray.exceptions.RayError as error:
            self.lose(worker)
            self._count_death(worker, error)
            return error  # type: ignore[no-any-return]
        if worker.place is None:
            worker.place = WorkerPlace(answer["node"], answer["host"], answer["process"])
            if answer["absent"] or answer["version"] != own_version():
                answer = _absence(worker.place, answer)
                self.leave_out(worker, answer)
                return answer
            worker.asked = worker.actor.start.remote(self._recipe)
        elif isinstance(answer, HifiganError):
            self.leave_out(worker, answer)
            return answer
        else:
            worker.settings, worker.engine = answer
            self._deaths_anywhere = 0
        return None

    def leave_out(self, worker: ClusterWorker, reason: HifiganError) -> None:
        """Have no more workers on the machine of this one."""
        assert worker.place is not None  # noqa: S101 - it has answered
        self.left_out[worker.place.node] = reason
        self._counted = -_ASKED_EVERY_SECONDS
        # Those that nobody has placed yet might still land there.
        for other in [worker, *(one for one in self.starting if one.place is None)]:
            self.lose(other)

    def lose(self, worker: ClusterWorker) -> None:
        """Let a worker go."""
        if worker in self._workers:
            self._workers.remove(worker)
            self._ray.kill(worker.actor)

    def close(self) -> None:
        """End all workers."""
        for worker in list(self._workers):
            self.lose(worker)

    def check_usable(self) -> None:
        """Check that some machine may still have a worker.

        Raises:
            HifiganError: the reason of the first, if all of them were left out.
        """
        usable = [node for node in self._nodes() if node["NodeID"] not in self.left_out and self._fits(node)]
        if self.left_out and not usable:
            raise next(iter(self.left_out.values()))

    def describe(self) -> str:
        """Say what the machines have, for an error."""
        sizes = sorted({f"{node['Resources'].get('CPU', 0):g} CPUs" + _cards(node) for node in self._nodes()})
        return f"{len(self._nodes())} machines with {', '.join(sizes) or 'nothing'}"

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _fits(self, node: Mapping[str, Any]) -> int:
        fits = int(node["Resources"].get("CPU", 0) // self._size.cpus)
        return min(fits, int(node["Resources"].get("GPU", 0) // self._size.gpus)) if self._size.gpus else fits

    def _count_death(self, worker: ClusterWorker, error: Exception) -> None:
        if worker.place is None:
            self._deaths_anywhere += 1
            if self._deaths_anywhere >= _DEATHS_ANYWHERE:
                raise ClusterError(
                    f"{self._deaths_anywhere} workers in a row failed before they said a word: {in_a_line(error)}"
                )
            return
        node = worker.place.node
        self._deaths[node] = self._deaths.get(node, 0) + 1
        if self._deaths[node] >= _DEATHS_ON_START:
            self.left_out[node] = ClusterError(
                f"{self._deaths[node]} workers failed on {worker.place.host} before they were ready: "
                f"{in_a_line(error)}; if it is for want of memory, a larger --threads makes fewer of them"
            )


def _actor_class(ray: Any) -> Any:
    """Make the class of the actors.

    It is sent by value, as Ray sends what a function defines, and imports the package only when it is there: so a
    machine without the package can say so. No name of this module may be used in it.
    """

    class HifiganWorker:
        def look(self, variables: Mapping[str, str]) -> dict[str, Any]:
            import os
            import socket

            import ray as ray_here

            os.environ.update(variables)
            absent = version = ""
            try:
                import hifigan_rt.tools.cluster.worker

                version = hifigan_rt.__version__
            except ImportError as error:
                absent = str(error)
            node = ray_here.get_runtime_context().get_node_id()
            place = {"node": node, "host": socket.gethostname(), "process": os.getpid()}
            return {**place, "absent": absent, "version": version}

        def start(self, arguments: Any) -> Any:
            from hifigan_rt.errors import HifiganError
            from hifigan_rt.tools.cluster.worker import ClipWorker

            try:
                self._worker = ClipWorker(*arguments)
                return self._worker.runner.settings(), self._worker.runner.engine
            except HifiganError as error:
                return error

        def run(self, jobs: Any, digest: str, sign: Any) -> Iterator[Any]:
            yield from self._worker.run(jobs, digest, sign)

        @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
        def stop(self) -> None:
            self._worker.stop()

    return ray.remote(concurrency_groups={"control": 1})(HifiganWorker)


def forwarded_variables() -> dict[str, str]:
    """Give the variables of this process that change the bits of a result."""
    return {name: os.environ[name] for name in _FORWARDED if os.environ.get(name)}


def _not_on(nodes: Mapping[str, object]) -> dict[str, str] | None:
    return {"ray.io/node-id": f"!in({','.join(nodes)})"} if nodes else None


def describe_difference(worker: ClusterWorker, settings: Mapping[str, Any], others: str = "the others") -> ClusterError:
    """Say what a worker computes by, and others do not."""
    own = worker.settings or {}
    named = [name for name in sorted({*own, *settings}) if own.get(name) != settings.get(name)]
    told = ", ".join(f"{name} is {own.get(name)!r} there and {settings.get(name)!r} for {others}" for name in named)
    return ClusterError(
        f"the worker {worker.place} would give other bits than {others}: {told}; set {ISA_VARIABLE} to an instruction "
        "set that all machines have, such as avx2, and all workers take it"
    )


def _absence(place: WorkerPlace, answer: Mapping[str, Any]) -> ClusterError:
    if not answer["absent"]:
        return ClusterError(
            f"the worker on {place.host} has hifigan_rt {answer['version']}, and here is {own_version()}: install the "
            "same version on all machines"
        )
    return ClusterError(
        f"the worker on {place.host} cannot import hifigan_rt ({answer['absent']}): install the package there, in the "
        "environment that Ray was started from"
    )


def in_a_line(error: Exception) -> str:
    """Give the beginning of what Ray says, or the error of a worker that it is about, in one line."""
    cause = getattr(error, "cause", None)
    text = " ".join((str(error) if cause is None else f"{type(cause).__name__}: {cause}").split())
    return text if len(text) <= _REASON_CHARACTERS else f"{text[:_REASON_CHARACTERS]}..."


def _cards(node: Mapping[str, Any]) -> str:
    cards = node["Resources"].get("GPU", 0)
    return f" and {cards:g} GPUs" if cards else ""
