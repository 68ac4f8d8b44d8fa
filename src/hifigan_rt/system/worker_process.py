"""Worker processes: code that may die, hang, or need an interpreter and an environment of its own.

The worker's side is a module of this package, or one that can be imported like it, whose `main` answers requests:

    def main() -> None:
        worker_messages.serve(lambda request, payload: ({"sum": sum(request["numbers"])}, b""))

The parent's side starts it and asks it, from one thread at a time:

    with WorkerProcess(python_command("some.module")) as worker:
        reply, payload = worker.ask({"numbers": [1, 2]}, timeout_s=10)

A request and its reply are what JSON can carry, each with bytes beside it. The first request is usually the one that
loads something. `ask` tells in words how a worker failed. A worker that raised can be asked again; one that ended or
gave no answer in time is gone with all that it started, and the caller starts another if it wants to go on.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from hifigan_rt.system.closing import Closing
from hifigan_rt.system.worker_messages import read_message, write_message

_EXIT_SECONDS = 10.0
"""How long a process may take to end after it closed its pipes."""

_LONGEST_POLL_SECONDS = 86400.0
"""The system counts milliseconds in 31 bits."""

# The parent's own search path, so that a worker imports what the parent would: neither the folder that it happens to be
# started in (-P) nor the module `json` of somebody's project gets a say.
_START = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[2])
importlib.import_module(sys.argv[1]).main()
"""


class WorkerFailed(Exception):
    """A request got no reply; the text says why."""


class WorkerRaised(WorkerFailed):
    """The worker's answer raised; it can be asked again."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        """Name of the exception's class."""
        self.text = text


class WorkerEnded(WorkerFailed):
    """The worker's process is gone."""

    def __init__(self, status: int) -> None:
        super().__init__(describe_ending(status))
        self.status = status
        """Exit status as `subprocess` gives it: negative for a signal."""


class WorkerLate(WorkerFailed):
    """The worker gave no answer in time and was ended."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"it gave no answer within {timeout_s:g} s and was ended")


_FROZEN_WORKER = "--hifigan-rt-worker"
_frozen_program_starts_workers = False


def become_frozen_worker() -> None:
    """Run a worker in place of a frozen program, if this process was started as one; else note that it can be.

    A frozen program is its own interpreter: whatever starts it runs its script, unless this is called before.
    """
    global _frozen_program_starts_workers
    _frozen_program_starts_workers = True
    if sys.argv[1:2] == [_FROZEN_WORKER]:
        sys.argv = ["-c", *sys.argv[2:]]
        importlib.import_module(sys.argv[1]).main()
        sys.exit()


def python_command(module: str) -> list[str]:
    """Arguments that start the `main` of a module in a process of its own.

    Raises:
        OSError: this is a frozen program that was built without our hook for PyInstaller.
    """
    if getattr(sys, "frozen", False):
        if not _frozen_program_starts_workers:
            raise OSError(
                f"a frozen program starts itself where Python would be started, so {module} cannot run in a process of "
                "its own: build it with PyInstaller, with hifigan-rt installed by pip, which brings its hook"
            )
        return [sys.executable, _FROZEN_WORKER, module, "[]"]
    path = [entry for entry in sys.path if Path(entry).is_absolute()]
    return [sys.executable, "-P", "-c", _START, module, json.dumps(path)]


class WorkerProcess(Closing):
    """One worker; it ends with its parent, however that ends."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: int | IO[bytes] = subprocess.DEVNULL,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            command: starts a process that calls `worker_messages.serve`; three descriptors are added to it.
            log: gets all that the worker prints.
            environment: None for the parent's.

        Raises:
            OSError: the process cannot be started.
        """
        if os.name != "posix":  # Windows hands no open pipe over to a new process by number
            raise OSError(
                errno.ENOTSUP, "worker processes, as `bench`, `eval` and .om files need them, are not for Windows"
            )
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            their_requests, self._requests = _pipe(theirs, ours)
            self._replies, their_replies = _pipe(ours, theirs)
            # Nothing is ever written to it: when it closes, the kernel tells the worker that this process is gone.
            their_lifeline, self._lifeline = _pipe(theirs, ours)
            handed_over = (their_requests, their_replies, their_lifeline)
            self._process = subprocess.Popen(
                [*command, *map(str, handed_over)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, pass_fds=handed_over,
                # Its own group: Ctrl-C reaches the parent alone, which ends the worker with all that it started.
                start_new_session=True,
            )  # fmt: skip
            ours.pop_all()
        os.set_blocking(self._requests, False)
        self.pid = self._process.pid
        """Number of the process, and of its group."""

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._requests >= 0

    def ask(
        self, request: Mapping[str, Any], payload: bytes = b"", *, timeout_s: float
    ) -> tuple[dict[str, Any], bytearray]:
        """Send a request and wait for its reply.

        Args:
            request: what JSON can carry.
            payload: bytes that go with it.
            timeout_s: for sending and answering together.

        Returns:
            The reply and the bytes that go with it.

        Raises:
            WorkerFailed: one of `WorkerRaised`, `WorkerEnded` and `WorkerLate`.
        """
        if not self.alive:
            raise WorkerEnded(self._process.returncode)
        deadline = time.monotonic() + timeout_s
        try:
            write_message(self._requests, dict(request), payload, _waiting(self._requests, select.POLLOUT, deadline))
            reply, answer = read_message(self._replies, _waiting(self._replies, select.POLLIN, deadline))
        except TimeoutError:
            self.close()
            raise WorkerLate(timeout_s) from None
        except (EOFError, OSError):
            self.close(grace_s=_EXIT_SECONDS)
            raise WorkerEnded(self._process.returncode) from None
        except BaseException:
            self.close()  # half an answer would be taken for the beginning of the next
            raise
        if "error" in reply:
            raise WorkerRaised(reply["error"], reply["text"])
        return reply, answer

    def kill(self) -> None:
        """End the process at once; the only method for other threads: an `ask` that waits for it fails then."""
        # Once it was waited for, its number may be another process's.
        if self._process.returncode is None:
            self._kill_group()

    def close(self, grace_s: float = 0.0) -> None:
        """End the process and what it started; closing twice is allowed.

        Args:
            grace_s: how long it may take to end by itself, with its own status.
        """
        if not self.alive:
            return
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        finally:
            # The group, even where its leader is gone: processes that it started may be left.
            self._kill_group()
            self._process.wait()
            self._close_descriptors()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _close_descriptors(self) -> None:
        for name in ("_requests", "_replies", "_lifeline"):
            os.close(getattr(self, name))
            setattr(self, name, -1)


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """Open a pipe whose two ends these close."""
    ends = os.pipe()
    for owner, descriptor in zip((reader, writer), ends, strict=True):
        owner.callback(os.close, descriptor)
    return ends


def describe_ending(status: int) -> str:
    """What the status of a finished process says, as `subprocess` gives it."""
    if status >= 0:
        return f"its process ended with status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    hint = ": was the memory full?" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}"


def _waiting(descriptor: int, event: int, deadline: float) -> Callable[[], None]:
    """What waits until a pipe is ready, and raises TimeoutError at the deadline."""
    poll = select.poll()
    poll.register(descriptor, event)

    def wait() -> None:
        while not poll.poll(min(max(0.0, deadline - time.monotonic()), _LONGEST_POLL_SECONDS) * 1000):
            if time.monotonic() >= deadline:
                raise TimeoutError

    return wait
