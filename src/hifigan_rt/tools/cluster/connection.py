"""Connects to a Ray cluster, or starts one on this machine.

Ray is told to send no usage statistics, and starts no dashboard.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import socket
from collections.abc import Iterator
from typing import Any

from hifigan_rt.errors import ClusterError
from hifigan_rt.system.machine import usable_cores
from hifigan_rt.system.versions import how_to_get

ADDRESS_VARIABLE = "RAY_ADDRESS"

_CLIENT_SCHEME = "ray://"
"""Beginning of an address of Ray's client, through which no actor's results come one by one (Ray 2.60)."""
_ANSWER_SECONDS = 10

# RFC 9113, 3.4 and 4.1: what HTTP/2, and so gRPC, begins with on either side; the byte at 3 is a frame's type.
_SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS

_OBJECT_STORE_BYTES = 300 << 20
"""Room of a cluster that is started here: a model lies there once, clips never do."""


def require_ray(what: str, module: str = "ray", extra: str = "ray") -> Any:
    """Import Ray.

    Args:
        what: that needs it, for the error.
        module: the part of it that is needed, such as "ray.data".
        extra: of this package, which brings it.

    Returns:
        The module ray.

    Raises:
        ClusterError: Ray, or a package that this part of it needs, is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ClusterError(
            f"{what} needs the package {error.name or module}, which is not installed: {how_to_get(extra)}"
        ) from error
    return importlib.import_module("ray")


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Connect to a cluster for a block; what the caller has connected already is used, and left connected.

    Args:
        address: HOST:PORT of the cluster's head, or "auto" for the one on this machine; None takes that of the variable
            RAY_ADDRESS, and starts a cluster of this machine's cores where there is none.

    Yields:
        The module ray.

    Raises:
        ClusterError: Ray is not installed, nothing answers at the address, it asks for a token, or Python or Ray is
            another version there.
    """
    ray = require_ray("--ray")
    if ray.is_initialized():
        yield ray
        return
    named = address or os.environ.get(ADDRESS_VARIABLE) or None
    logging.getLogger("ray").setLevel(logging.ERROR)  # its notes are no part of what the program says
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if named is None or named == "local":
            ray.init(
                address="local",
                num_cpus=usable_cores(),
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                **quiet,
            )
        else:
            _check_answers(named)
            ray.init(address=named, **quiet)
    except Exception as error:
        if not isinstance(error, (RuntimeError, ValueError, OSError)) and not _lacks_token(error):
            raise
        raise _refusal(named, error) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Say hello once: Ray itself goes on trying for minutes, whoever answers there."""
    if address.startswith(_CLIENT_SCHEME):
        raise ClusterError(
            f"Ray address {address!r} is one of Ray's client, which gives no results before all are there: start the "
            "work on a machine of the cluster ('ray start --address=HOST:PORT' makes it one, 'ray job submit' starts "
            "it there), and give HOST:PORT"
        )
    host, colon, port = address.rpartition(":")
    if not colon:
        if address != "auto":
            raise ClusterError(f"Ray address {address!r} is none: HOST:PORT or auto is")
        return
    try:
        number = int(port)
    except ValueError:
        raise ClusterError(f"Ray address {address!r}: {port!r} is no port number") from None
    try:
        with socket.create_connection((host.strip("[]"), number), timeout=_ANSWER_SECONDS) as connection:
            if not _uses_tls():
                connection.sendall(_HELLO)
                answer = connection.recv(len(_SETTINGS), socket.MSG_WAITALL)
                if answer[3:4] != _SETTINGS[3:4]:
                    raise OSError("what is there does not speak as Ray does")  # noqa: TRY301 - told like silence
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster answers at {address!r}: {getattr(error, 'strerror', None) or error}; "
            "'ray start --head' on the first machine prints it, 'ray start --address=HOST:PORT' joins the others"
        ) from error


def _uses_tls() -> bool:
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def _refusal(address: str | None, error: Exception) -> ClusterError:
    text = " ".join(str(error).split())
    if address is None:
        return ClusterError(f"Ray could not be started on this machine: {text}")
    if "ersion mismatch" in text:
        return ClusterError(
            f"the Ray cluster at {address!r} has another Python or Ray than this process, and neither would understand "
            f"the other: {text}; install the same versions on all machines"
        )
    if _lacks_token(error):
        return ClusterError(
            f"the token of the Ray cluster at {address!r} is not known here: set RAY_AUTH_MODE=token, and have it in "
            "~/.ray/auth_token or RAY_AUTH_TOKEN, as on its machines ('ray start' wants one where that file is there)"
        )
    return ClusterError(
        f"no connection to the Ray cluster at {address!r}: {text}; the machine that starts the work must be one of the "
        "cluster ('ray start --address=HOST:PORT')"
    )


def _lacks_token(error: BaseException | None) -> bool:
    """Whether Ray says of a connection, in one of its errors, that it has no token or another one."""
    while error is not None:
        if re.search("uthenticat|InvalidAuthToken", f"{type(error).__name__} {error}"):
            return True
        error = error.__cause__ or error.__context__
    return False
