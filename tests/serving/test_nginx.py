"""The example of deploy/nginx.conf, run by Debian's nginx before a server: what a client gets through it."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.client import connect

from golden.tiny import tiny_mel
from hifigan_rt.model.resolve import resolve_model
from hifigan_rt.vocoder import Vocoder
from nginx import executable
from running_server import Running, SlowEngine, npy, running, wait_for
from websocket_client import rest

pytestmark = pytest.mark.nginx

EXAMPLE = Path(__file__).parents[2] / "deploy" / "nginx.conf"
PREFIX = "/voice"
TOKEN = "token-of-a-test"  # noqa: S105
AROUND = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/errors info;
{user}
events {{ worker_connections 64; }}
http {{
    access_log off;
    {temporary}
    include {folder}/example.conf;
}}
"""
BLOCK_BYTES = 2 * 32 * 8
"""Bytes of the audio of a block, which the first 32 frames of a streamed answer are."""
KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def behind(sources, tiny_file, tmp_path_factory) -> Iterator[tuple[Running, int, SlowEngine]]:
    """A server, the port of nginx before it, and the engine of its model "slow"."""
    folder, port, engine = tmp_path_factory.mktemp("nginx"), free_port(), SlowEngine()
    models = sources | {"slow": lambda: Vocoder(resolve_model(tiny_file), engine)}
    with running(models, bearer_tokens=(TOKEN,), trusted_proxies=("127.0.0.1",)) as server:
        example = EXAMPLE.read_text()
        for theirs, ours in (
            ("listen 80;", f"listen 127.0.0.1:{port};"),
            ("127.0.0.1:8004", f"127.0.0.1:{server.port}"),
        ):
            assert example.count(theirs) == 1
            example = example.replace(theirs, ours)
        (folder / "example.conf").write_text(example)
        temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in KINDS)
        # Workers that are root's own need no folder that nobody can read.
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder, temporary=temporary, user=user))
        program = executable()
        assert program is not None
        nginx = subprocess.Popen([program, "-e", folder / "errors", "-p", folder, "-c", folder / "nginx.conf"])
        try:
            wait_for(lambda: answers(port) or nginx.poll() is not None)
            assert nginx.poll() is None, (folder / "errors").read_text()
            yield server, port, engine
        finally:
            nginx.terminate()
            nginx.wait(20)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def asked(port: int, method: str, path: str, body: bytes | None = None, source: str = "127.0.0.1", **headers: str):
    """Status, headers and body of an answer to a request from an address of loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, 60, source_address=(source, 0))
    with contextlib.closing(connection):
        given = {"Authorization": f"Bearer {TOKEN}"} | {name.replace("_", "-"): text for name, text in headers.items()}
        connection.request(method, PREFIX + path, body, given)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def test_whole_answers_and_the_prefix(behind, vocoder):
    _, port, _ = behind
    mel = tiny_mel(40)
    status, headers, content = asked(port, "POST", "/v1/synthesize?format=float32", npy(mel))
    assert (status, headers["X-Sample-Rate"]) == (200, "8000")
    assert np.array_equal(np.frombuffer(content, "<f4"), vocoder(mel))
    for path, mark in (("/", b"<title>"), ("/page/page.js", b"byId"), ("/v1/models", b"tiny"), ("/healthz", b"")):
        status, _, content = asked(port, "GET", path)
        assert (status, mark in content) == (200, True), path
    status, _, content = asked(port, "GET", "/v1/nothing")
    assert (status, json.loads(content)["error"]["code"]) == (404, "not_found")


def test_bodies_as_large_as_the_server_takes(behind):
    _, port, _ = behind
    status, _, content = asked(port, "POST", "/v1/synthesize", bytes(2 << 20))
    assert (status, json.loads(content)["error"]["code"]) == (400, "bad_request"), "nginx's own limit is 1 MB"


def test_the_pages_own_requests_are_of_its_origin(behind):
    """The port of the Host is what makes them so."""
    _, port, _ = behind
    own = f"http://127.0.0.1:{port}"
    assert asked(port, "POST", "/v1/synthesize", npy(tiny_mel(20)), Origin=own)[0] == 200
    assert asked(port, "POST", "/v1/synthesize", npy(tiny_mel(20)), Origin="http://127.0.0.1")[0] == 403


def test_streams_are_passed_on_as_they_come(behind):
    """The beginning is here while the rest is not computed yet."""
    _, port, engine = behind
    connection = http.client.HTTPConnection("127.0.0.1", port, 60)
    with contextlib.closing(connection), engine.held(after_blocks=1):
        path = f"{PREFIX}/v1/synthesize?model=slow&stream=1&format=pcm16"
        connection.request("POST", path, npy(tiny_mel(320)), {"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        begun, before = b"", engine.frames
        for _ in range(4):
            begun += answer.read(BLOCK_BYTES)
            engine.allow(1)
        assert engine.frames < before + 320
        engine.release()
        assert len(begun + answer.read()) == 10 * BLOCK_BYTES


def test_the_websocket(behind, vocoder):
    _, port, _ = behind
    mel = tiny_mel(40)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"ws://127.0.0.1:{port}{PREFIX}/v1/stream"
    with connect(url, additional_headers=headers, compression=None, proxy=None) as opened:
        opened.send('{"output": "float32"}')
        assert json.loads(opened.recv(20))["type"] == "ready"
        opened.send(np.ascontiguousarray(mel.T, "<f4").tobytes())
        opened.send('{"type": "finish"}')
        pcm, texts = rest(opened)
    assert texts[-1]["type"] == "end"
    np.testing.assert_allclose(np.frombuffer(pcm, "<f4"), vocoder(mel), atol=1e-5)


def test_clients_are_told_apart_by_their_addresses_whatever_they_claim(behind, caplog):
    caplog.set_level(logging.INFO, "hifigan_rt")
    _, port, _ = behind
    for source, claimed in (("127.0.0.2", "198.51.100.7"), ("127.0.0.3", "198.51.100.7, 127.0.0.2")):
        asked(port, "GET", "/v1/models", source=source, X_Request_Id=source, X_Forwarded_For=claimed)

    def clients() -> dict[str, str]:
        facts = [getattr(record, "facts", {}) for record in caplog.records]
        return {fact["request_id"]: fact["client"] for fact in facts if fact.get("request_id", "").startswith("127.")}

    wait_for(lambda: len(clients()) == 2)
    assert clients() == {"127.0.0.2": "127.0.0.2", "127.0.0.3": "127.0.0.3"}
