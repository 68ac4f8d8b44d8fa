"""What stands between a program and its Ray cluster, told in words: no cluster is needed to try it."""

from __future__ import annotations

import os
import socket
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

from hifigan_rt.errors import ClusterError
from hifigan_rt.tools.cluster import connection
from hifigan_rt.tools.cluster.connection import connected, require_ray


@pytest.fixture
def ray(monkeypatch):
    """A module ray that is told what to say."""
    module = SimpleNamespace(
        asked=[], error=None, is_initialized=lambda: False, shutdown=lambda: module.asked.append("shutdown")
    )

    def init(**options):
        module.asked.append(options)
        if module.error is not None:
            raise module.error

    module.init = init
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return module


@pytest.fixture
def answering(monkeypatch):
    """Something answers at every address."""
    monkeypatch.setattr(connection, "_check_answers", lambda _: None)


def test_a_package_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"--ray needs the package ray, which is not installed: pip install 'hifi"):
        require_ray("--ray")
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    with pytest.raises(ClusterError, match=r"synthesize_dataset needs the package ray\.data, which is not installed"):
        require_ray("synthesize_dataset", "ray.data")


def test_pyarrow_that_is_not_installed(tmp_path, monkeypatch):
    package = tmp_path / "ray/data"
    package.mkdir(parents=True)
    (tmp_path / "ray/__init__.py").touch()
    (package / "__init__.py").write_text("import pyarrow_of_no_one")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    try:
        with pytest.raises(ClusterError, match="synthesize_dataset needs the package pyarrow_of_no_one"):
            require_ray("synthesize_dataset", "ray.data")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "ray"]:
            del sys.modules[name]


def test_no_statistics_are_sent(ray, monkeypatch):
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    require_ray("--ray")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_cluster_is_started_here_unless_one_is_named(ray, answering, monkeypatch):
    with connected(None):
        [options] = ray.asked
        assert (options["address"], options["include_dashboard"]) == ("local", False)
        assert options["num_cpus"] >= 1
    assert ray.asked[-1] == "shutdown"
    monkeypatch.setenv("RAY_ADDRESS", "one:1")
    with connected(None):
        assert ray.asked[-1]["address"] == "one:1"
        assert "num_cpus" not in ray.asked[-1]
    with connected("two:2"):
        assert ray.asked[-1]["address"] == "two:2"


def test_a_connection_of_the_caller_is_left(ray):
    ray.is_initialized = lambda: True
    with connected("one:1") as module:
        assert module is ray
    assert ray.asked == []


class AuthenticationError(Exception):
    """Named as Ray's, which is none of Python's kinds of errors."""


def _caused_by(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "address", "said"),
    [
        (
            RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.12.1\n"),
            "one:1",
            "the Ray cluster at 'one:1' has another Python or Ray than this process, and neither would understand the "
            "other: Version mismatch: The cluster was started with: Ray: 2.9.0 Python: 3.12.1; install the same",
        ),
        (
            ConnectionError("Failed to connect"),
            "one:1",
            "no connection to the Ray cluster at 'one:1': Failed to connect; ",
        ),
        (
            _caused_by(
                ConnectionError("Failed to connect"), RuntimeError("Unauthenticated: RPC error: InvalidAuthToken")
            ),
            "one:1",
            "the token of the Ray cluster at 'one:1' is not known here: set RAY_AUTH_MODE=token, and have it in ",
        ),
        (
            AuthenticationError("no authentication token was found"),
            "one:1",
            "the token of the Ray cluster at 'one:1' is not known here: ",
        ),
        (OSError("no room"), None, "Ray could not be started on this machine: no room"),
    ],
)
def test_what_ray_refuses(ray, answering, error, address, said):
    ray.error = error
    with pytest.raises(ClusterError) as caught, connected(address):
        pass
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:9", "no Ray cluster answers at '127.0.0.1:9': Connection refused; 'ray start --head' on the first"),
        ("ray://127.0.0.1:9", "Ray address 'ray://127.0.0.1:9' is one of Ray's client, which gives no results before "),
        ("127.0.0.1:99999", "no Ray cluster answers at '127.0.0.1:99999': "),
        ("head", "Ray address 'head' is none: HOST:PORT or auto is"),
        ("head:none", "Ray address 'head:none': 'none' is no port number"),
    ],
)
def test_an_address_that_leads_to_no_cluster(ray, address, said):
    with pytest.raises(ClusterError) as caught, connected(address):
        pass
    assert str(caught.value).startswith(said)
    assert ray.asked == []


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b""])
def test_something_else_at_the_address(ray, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with server.accept()[0] as connection:
                connection.recv(100)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with (
            pytest.raises(ClusterError, match=f"no Ray cluster answers at '{address}': what is there"),
            connected(address),
        ):
            pass
    assert ray.asked == []


def test_what_says_nothing_at_the_address(ray, monkeypatch):
    monkeypatch.setattr(connection, "_ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"no Ray cluster answers at '{address}': timed out"), connected(address):
            pass


def test_what_speaks_as_ray_does_is_asked(ray, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with server.accept()[0] as connection:
                connection.sendall(bytes((0, 0, 6, 4, 0, 0, 0, 0, 0)) + bytes(6))
                connection.recv(100)

        threading.Thread(target=serve, daemon=True).start()
        with connected(f"127.0.0.1:{server.getsockname()[1]}"):
            assert ray.asked[0]["address"].startswith("127.0.0.1:")
