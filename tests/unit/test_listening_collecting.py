"""The server of a listening test, spoken to over sockets."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from hifigan_rt.errors import DatasetError, OutputError, ServerError
from hifigan_rt.tools.listening import collecting
from hifigan_rt.tools.listening.collecting import Collector
from hifigan_rt.tools.listening.definition import write_key
from hifigan_rt.tools.listening.making import Request, make
from hifigan_rt.tools.listening.material import from_folders
from listening_tests import record_of, write_folders


@pytest.fixture
def place(tmp_path):
    write_folders(tmp_path, clips=1)
    made = make(from_folders({"glowing": tmp_path / "glowing"}, None, None, 0), Request("mos", "x", 0))
    (tmp_path / "test.html").write_bytes(made.page)
    write_key(made.key, tmp_path / "key.json")
    return tmp_path, made


@contextmanager
def served(place, **options):
    with Collector(place / "test.html", place / "answers", **options) as collector:
        thread = threading.Thread(target=collector.serve)
        thread.start()
        try:
            yield urlsplit(collector.url)
        finally:
            collector.stop()
            thread.join()


def ask(url, method, path, body=None, **headers):
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, answer.headers


def post(url, content, **headers):
    return ask(url, "POST", "/results", content, **({"Content_Type": "application/json"} | headers))


def test_page_and_nothing_else(place):
    folder, made = place
    with served(folder) as url:
        status, content, headers = ask(url, "GET", "/")
        assert (status, content) == (200, made.page)
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert headers["Cache-Control"] == "no-store"
        assert ask(url, "HEAD", "/")[:2] == (200, b"")
        for path in ("/key.json", "/answers", "/test.html", "/..%2fkey.json", "/../key.json", "//key.json", "/results"):
            status, content, _ = ask(url, "GET", path)
            assert status == 404
            assert b"glowing" not in content
        assert ask(url, "DELETE", "/")[0] == 501


def test_a_result_is_kept_once(place):
    folder, made = place
    content = json.dumps(record_of(made.key, "L1")).encode()
    kept = []
    with served(folder, on_result=kept.append) as url:
        assert post(url, content)[0] == 201
        assert post(url, content)[0] == 201  # sent again, as after a lost answer
    files = list((folder / "answers").iterdir())
    assert files == kept
    assert files[0].read_bytes() == content
    assert files[0].name.startswith("L1-")


def test_what_is_refused(place, monkeypatch):
    folder, made = place
    content = json.dumps(record_of(made.key, "L1")).encode()
    changed = json.dumps(record_of(made.key, "L1", lambda *_: 9)).encode()
    monkeypatch.setattr(collecting, "MAX_BYTES", 100_000)
    with served(folder) as url:
        assert post(url, changed)[0] == 400
        assert b"not a whole number from 1 to 5" in post(url, changed)[1]
        assert post(url, b"{}")[0] == 400
        assert post(url, content, Content_Type="text/plain")[0] == 415
        assert ask(url, "POST", "/", content, Content_Type="application/json")[0] == 404
        assert post(url, b" " * 100_001)[0] == 413
        assert post(url, content, Content_Length="9" * 5000)[0] == 413
        assert post(url, content, Content_Length="-1")[0] == 411
        for origin in ("https://evil.example", "http://[", "http://[v1.x]", b"\xff://[", b"http://\xe2\x84\x80"):
            assert post(url, content, Origin=origin)[0] == 403
        for target in ("http://[", "http://[/", "http://localhost/results"):
            with socket.create_connection((url.hostname, url.port), timeout=10) as connection:
                connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
                assert connection.makefile("rb").readline().split()[1] == b"404"
        assert post(url, content, Host="evil.example")[0] == 403
        assert ask(url, "GET", "/", Host="evil.example")[0] == 403
        monkeypatch.setattr(collecting, "MAX_RESULTS", 0)
        assert b"no more are taken" in post(url, content)[1]
        monkeypatch.setattr(collecting, "MAX_RESULTS", 1)
        assert post(url, content, Origin=f"http://{url.netloc}")[0] == 201
    assert len(list((folder / "answers").iterdir())) == 1


def test_clients_that_send_half_do_not_stop_the_others(place, monkeypatch):
    folder, made = place
    monkeypatch.setattr(collecting, "REQUEST_SECONDS", 0.3)
    with served(folder) as url:
        halves = []
        for text in (
            b"",
            b"GET / HT",
            b"POST /results HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
        ):
            half = socket.create_connection((url.hostname, url.port), timeout=10)
            half.sendall(text.replace(b"\r\nContent-Type", f"\r\nHost: {url.netloc}\r\nContent-Type".encode()))
            halves.append(half)
        assert ask(url, "GET", "/")[1] == made.page
        for half in halves:
            assert half.recv(100) == b""  # given up
            half.close()


def test_a_full_disk_is_said(place, monkeypatch):
    folder, made = place
    with served(folder) as url:

        def full(_):
            raise OutputError("no space left")

        monkeypatch.setattr(collecting, "atomic_writer", full)
        status, content, _ = post(url, json.dumps(record_of(made.key, "L1")).encode())
    assert status == 500
    assert b"keep the download" in content


def test_what_cannot_be_served(place, monkeypatch):
    folder, _ = place
    with pytest.raises(DatasetError, match="is no page of a listening test"):
        Collector(folder / "key.json", folder / "answers")
    with pytest.raises(OutputError, match="a file of that name is there"):
        Collector(folder / "test.html", folder / "key.json")
    with Collector(folder / "test.html", folder / "answers") as first:
        port = urlsplit(first.url).port
        with pytest.raises(ServerError, match=f"--port {port} cannot be listened on: Address already in use"):
            Collector(folder / "test.html", folder / "answers", port=port)
    with pytest.raises(ServerError, match="cannot be listened on"):
        Collector(folder / "test.html", folder / "answers", host="no such host")
