"""As much of Ray as a run over clips uses, in this process and in an order that a seed decides.

Workers die, machines come, go and lack things. What Ray itself does is tested on a real cluster, in `cluster/`.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    def __init__(self, text: str, cause: Exception | None = None) -> None:
        super().__init__(text)
        self.cause = cause


class Call:
    """What a call of an actor will give; a stream gives one of these for each item."""

    def __init__(self, actor: Actor, name: str, arguments: tuple[Any, ...]) -> None:
        self.actor, self.name, self.arguments = actor, name, arguments
        self.items: Iterator[Any] | None = None

    def __next__(self) -> Call:
        return self


class Method:
    def __init__(self, actor: Actor, name: str) -> None:
        self.actor, self.name = actor, name

    def options(self, num_returns: str) -> Method:
        assert num_returns == "streaming"
        return self

    def remote(self, *arguments: Any) -> Call:
        if self.name == "stop" and self.actor.instance is not None:
            self.actor.instance.stop()
        return Call(self.actor, self.name, arguments)


class Actor:
    def __init__(self, kind: type, banned: str) -> None:
        self.kind, self.banned = kind, banned
        self.node: str | None = None
        self.dead = False
        self.instance: Any = None

    def __getattr__(self, name: str) -> Method:
        return Method(self, name)


class SimulatedRay:
    """The module ray.

    Attributes:
        machines: CPUs by name of the machine.
        dies: asked before each item of a stream, with its call and the number of items so far.
        spoil: may change what `look` says of a machine.
    """

    def __init__(self, machines: dict[str, int], seed: int = 0) -> None:
        self.machines = machines
        self.dies: Callable[[Call, int], bool] = lambda *_: False
        self.spoil: Callable[[str, dict[str, Any]], None] = lambda *_: None
        self.actors: list[Actor] = []
        self.items = 0
        self.exceptions = SimpleNamespace(RayError=RayError)
        self._random = random.Random(seed)
        self._current: Actor | None = None
        self._kind: type | None = None

    def put(self, value: Any) -> Any:
        return SimpleNamespace(value=value)

    def method(self, **_: Any) -> Callable[[Any], Any]:
        return lambda function: function

    def remote(self, **_: Any) -> Callable[[type], Any]:
        def made(kind: type) -> Any:
            return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=lambda: self._add(kind, options)))

        return made

    def _add(self, kind: type, options: dict[str, Any]) -> Actor:
        actor = Actor(kind, (options["label_selector"] or {}).get("ray.io/node-id", ""))
        self.actors.append(actor)
        return actor

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": name, "Alive": True, "Resources": {"CPU": cpus}} for name, cpus in self.machines.items()]

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: self._current and self._current.node)

    def kill(self, actor: Actor) -> None:
        actor.dead = True

    def remove(self, machine: str) -> None:
        """A machine goes, with all that runs there."""
        del self.machines[machine]
        for actor in self.actors:
            actor.dead = actor.dead or actor.node == machine

    def wait(self, calls: list[Call], *, num_returns: int, timeout: float) -> tuple[list[Call], list[Call]]:
        assert num_returns == 1
        assert timeout >= 0
        for actor in self.actors:
            if actor.node is None and not actor.dead:
                self._place(actor)
        able = [call for call in calls if call.actor.node is not None or call.actor.dead]
        chosen = [self._random.choice(able)] if able else []
        return chosen, [call for call in calls if call not in chosen]

    def _place(self, actor: Actor) -> None:
        taken = [other.node for other in self.actors if not other.dead]
        free = [name for name, cpus in self.machines.items() if taken.count(name) < cpus and name not in actor.banned]
        if free:
            actor.node = self._random.choice(free)
            actor.instance = actor.kind()

    def get(self, call: Any) -> Any:
        if not isinstance(call, Call):
            return call.value
        actor = call.actor
        if call.name == "run" and not actor.dead:
            self.items += 1
            if self.dies(call, self.items):
                actor.dead = True
        if actor.dead:
            raise RayError("The actor died unexpectedly before finishing this task.\n\tpid: 1")
        arguments = [getattr(one, "value", one) for one in call.arguments]
        with self._in(actor):
            if call.name == "run":
                call.items = call.items or actor.instance.run(*arguments)
                return next(call.items)
            result = getattr(actor.instance, call.name)(*arguments)
        if call.name == "look":
            result["process"] = 10_000_000 + self.actors.index(actor)  # not this one, whose files would be removed
            self.spoil(actor.node or "", result)
        return result

    @contextlib.contextmanager
    def _in(self, actor: Actor) -> Iterator[None]:
        self._current = actor
        try:
            yield
        except Exception as error:
            raise RayError(str(error), error) from error
        finally:
            self._current = None
