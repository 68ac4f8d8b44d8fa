"""The end of a server: what has begun is finished, nothing else begins, and the process ends in time."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading

import httpx2
import numpy as np
import pytest

from golden.tiny import tiny_mel
from hifigan_rt import load
from running_server import npy, read_all, request, running, wait_for
from websocket_client import connected, failure, open_stream, ready

SYNTHESIZE = "/v1/synthesize"


@pytest.mark.parametrize("streamed", [0, 1])
def test_what_has_begun_is_finished_and_nothing_else_begins(slow, streamed):
    engine, sources = slow
    with running(sources) as server, server.client() as client, engine.held():
        assert client.get("/readyz").status_code == 200
        frames = 32 * 20 if streamed else 256 * 20
        thread, answers = server.begin(f"{SYNTHESIZE}?format=pcm16&stream={streamed}", npy(tiny_mel(frames)))
        wait_for(lambda: server.context.active == 1)
        server.server.begin_shutdown()
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "shutting_down")
        assert client.get("/healthz").status_code == 200
        refused = client.post(SYNTHESIZE, content=npy(tiny_mel(10)))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
        assert int(refused.headers["retry-after"]) >= 1
        engine.release()
        thread.join()
        assert (answers[0].status_code, len(answers[0].content)) == (200, 2 * 8 * frames)
        server.thread.join(60)
        assert not server.thread.is_alive()


def test_what_takes_longer_than_the_grace_is_cut_off(slow):
    engine, sources = slow
    with running(sources, grace_seconds=0.3) as server, server.client() as client:
        engine.seconds_per_block = 0.1
        failures: list[Exception] = []

        def ask() -> None:
            try:
                answer = client.post(SYNTHESIZE, content=npy(tiny_mel(256 * 200)))
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
            except Exception as error:  # noqa: BLE001 - told below
                failures.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        wait_for(lambda: server.context.active == 1)
        server.server.begin_shutdown()
        server.thread.join(15)  # all of it would take 20 s
        assert not server.thread.is_alive()
        thread.join()
        assert failures == []


def test_a_slow_client_gets_all_of_an_answer_that_was_computed(tiny_file):
    frames = 20000
    with running({"tiny": lambda: load(tiny_file)}) as server, socket.socket() as connection:
        server.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)  # most of it stays in the process
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(request(npy(tiny_mel(frames)), b"?format=float32", b"Connection: close\r\n"))
        answered = {"route": SYNTHESIZE, "status": "200", "model": "tiny"}
        wait_for(lambda: server.metric("hifigan_requests_total", **answered) == 1)
        server.server.begin_shutdown()
        server.thread.join(1.5)  # longer than an end with nothing to wait for takes
        answer = read_all(connection)
        assert len(answer.partition(b"\r\n\r\n")[2]) == 4 * 8 * frames
        server.thread.join(60)
        assert not server.thread.is_alive()


def test_a_live_stream_that_is_cut_off_is_told_why(slow, caplog):
    engine, sources = slow
    caplog.set_level(logging.INFO, "hifigan_rt")
    with running(sources, grace_seconds=0.3) as server, engine.held():
        with_frames, silent = open_stream(server), connected(server)
        ready(with_frames)
        with_frames.send(np.ascontiguousarray(tiny_mel(40).T, "<f4").tobytes())
        wait_for(lambda: server.context.active == 2)
        server.server.begin_shutdown()
        for opened in (with_frames, silent):
            assert failure(opened)[::2] == ("shutting_down", 1012)
            assert opened.protocol.close_reason == "shutting_down"
        engine.release()
    told = [record.facts for record in caplog.records if getattr(record, "facts", {}).get("event") == "request"]
    assert [(facts["code"], facts["status"]) for facts in told] == [("shutting_down", 503)] * 2


def start(*arguments: str, **options) -> tuple[subprocess.Popen, str]:
    """`hifigan serve` in a process of its own, and its address, once it listens."""
    command = [sys.executable, "-m", "hifigan_rt", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)
    for line in process.stderr:
        if line.startswith("{") and json.loads(line).get("event") == "listening":
            return process, json.loads(line)["url"]
    raise AssertionError(f"it did not start: {process.wait()}")


def end(process: subprocess.Popen) -> tuple[int, list[dict]]:
    _, rest = process.communicate(timeout=60)
    return process.returncode, [json.loads(line) for line in rest.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_process_cleanly(tiny_file, number):
    process, url = start("--model", f"voice={tiny_file}", "--engine", "reference")
    with load(tiny_file, engine="reference") as vocoder:
        want = vocoder(tiny_mel(30))
    answer = httpx2.post(f"{url}{SYNTHESIZE}?format=float32", content=npy(tiny_mel(30)))
    assert np.allclose(np.frombuffer(answer.content, "<f4"), want, atol=1e-6)
    process.send_signal(number)
    status, lines = end(process)
    assert status == 0
    assert [line["event"] for line in lines if "event" in line] == ["request"]
    assert not [line for line in lines if line["level"] in ("warning", "error")]


def test_a_hangup_loads_the_models_anew(tiny_file):
    process, url = start("--model", str(tiny_file))
    name = httpx2.get(f"{url}/v1/models").json()["default"]
    assert name == "generator"
    os.kill(process.pid, signal.SIGHUP)
    wait_for(lambda: httpx2.get(f"{url}/v1/models/{name}").json()["loads"] == 2)
    process.terminate()
    assert end(process)[0] == 0


def test_a_hangup_while_the_models_load_ends_nothing(tiny_file):
    script = f"""
import signal
from hifigan_rt.tools import cli
from hifigan_rt.tools.serving import server

loads_and_serves = server.Server.serve

async def serve(self):
    signal.raise_signal(signal.SIGHUP)
    signal.alarm(20)
    self.begin_shutdown()
    await loads_and_serves(self)

server.Server.serve = serve
cli.main(["serve", "--model", {str(tiny_file)!r}, "--port", "0"])
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, "listening" in ended.stderr) == (0, True), ended.stderr


def test_models_on_demand_are_loaded_by_their_first_request(tiny_file):
    process, url = start("--model", f"voice={tiny_file}", "--on-demand")
    assert httpx2.get(f"{url}/v1/models/voice").json()["state"] == "unloaded"
    assert httpx2.post(f"{url}{SYNTHESIZE}", content=npy(tiny_mel(30))).status_code == 200
    assert httpx2.get(f"{url}/v1/models/voice").json()["state"] == "ready"
    process.terminate()
    assert end(process)[0] == 0
