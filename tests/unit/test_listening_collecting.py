"""The server of a listening test, spoken to over sockets."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from hifigan_rt.errors import DatasetError, OutputError, ServerError
from hifigan_rt.tools.listening import collecting, connections, intake
from hifigan_rt.tools.listening.collecting import Collector
from hifigan_rt.tools.listening.definition import write_key
from hifigan_rt.tools.listening.making import Request, make
from hifigan_rt.tools.listening.material import from_folders
from hifigan_rt.tools.listening.submissions import most_bytes
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
    files = list((folder / "answers").glob("*.json"))
    assert files == kept
    assert files[0].read_bytes() == content
    assert files[0].name.startswith("L1-")


def test_what_is_refused(place, monkeypatch):
    folder, made = place
    content = json.dumps(record_of(made.key, "L1")).encode()
    changed = json.dumps(record_of(made.key, "L1", lambda *_: 9)).encode()
    most = most_bytes(made.key.definition)
    with served(folder) as url:
        assert post(url, changed)[0] == 400
        assert b"not a whole number from 1 to 5" in post(url, changed)[1]
        assert post(url, b"{}")[0] == 400
        assert post(url, content, Content_Type="text/plain")[0] == 415
        assert ask(url, "POST", "/", content, Content_Type="application/json")[0] == 404
        assert post(url, b" " * (most + 1))[0] == 413
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
        monkeypatch.setattr(intake, "MAX_RESULTS", 0)
        assert b"no more are taken" in post(url, content)[1]
        monkeypatch.setattr(intake, "MAX_RESULTS", 2)
        assert post(url, content, Origin=f"http://{url.netloc}")[0] == 201
    assert len(list((folder / "answers").glob("*.json"))) == 1


def raw(url, text):
    """Status line and body of the answer to a request in bytes."""
    with socket.create_connection((url.hostname, url.port), timeout=10) as connection:
        connection.sendall(text)
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
        return head.partition(b"\r\n")[0], body


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/results", {}, 413),
        ("/results", {"Content_Type": "text/plain"}, 415),
        ("/nowhere", {}, 404),
        ("/results", {"Origin": "https://evil.example"}, 403),
        ("/results", {"Content_Length": "x"}, 411),
        ("/results", {"Transfer_Encoding": "chunked", "Content_Length": "5"}, 400),
    ],
)
def test_whoever_sends_much_reads_why_it_was_refused(place, path, headers, status):
    folder, _ = place
    content = b" " * (6 << 20)  # more than the buffers between client and server hold
    with served(folder) as url:
        assert ask(url, "POST", path, content, **({"Content_Type": "application/json"} | headers))[0] == status
        assert ask(url, "PUT", path, content)[0] == 501


def test_what_is_sent_after_a_refusal_is_bounded(place, monkeypatch):
    folder, _ = place
    monkeypatch.setattr(collecting, "MAX_DISCARDED_BYTES", 1 << 20)
    with served(folder) as url, socket.create_connection((url.hostname, url.port), timeout=60) as connection:
        connection.sendall(b"POST /results HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        with pytest.raises(OSError, match=r"reset|pipe"):
            while True:
                connection.sendall(b" " * (1 << 20))


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Host: localhost\r\nHost: localhost", b"400"),
        (b"Accept: */*", b"400"),
        (b"Host: localhost\r\nContent-Length: 2\r\nContent-Length: 3", b"400"),
        (b"Host: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked", b"400"),
        (b"Host: localhost\r\nTransfer-Encoding: chunked", b"415"),
        (b"Host: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked", b"411"),
        (b"Host: localhost\r\n" + b"\r\n".join(b"X-%d: %s" % (index, b"x" * 60_000) for index in range(2)), b"431"),
        (b"Host: localhost\r\n" + b"\r\n".join(b"X-%d: x" % index for index in range(2000)), b"431"),
        (b"Host: \xff\xfe", b"403"),
        (b"Host: localhost\r\nOrigin: null", b"403"),
    ],
)
def test_requests_that_say_two_things_or_too_much(place, lines, status):
    with served(place[0]) as url:
        assert raw(url, b"POST /results HTTP/1.1\r\n" + lines + b"\r\n\r\n{}")[0].split()[1] == status


def test_strangers_write_nothing_into_the_log(place, caplog):
    caplog.set_level("INFO")
    with served(place[0]) as url:
        for line in (b"GET /\x1b[2J HTTP/1.1", b"\xff\x00", b"GET / HTTP/9.9", b"A" * 70_000, b"GET " + b"/" * 70_000):
            raw(url, line + b"\r\nHost: localhost\r\n\r\n")
        post(url, b"{")
        socket.create_connection((url.hostname, url.port)).close()
    assert caplog.records == []


def test_a_large_page_on_a_slow_line(place, monkeypatch):
    folder, made = place
    page = made.page + b" " * (8 << 20)
    (folder / "test.html").write_bytes(page)
    monkeypatch.setattr(collecting._Handler, "timeout", 0.5)
    with served(folder) as url, socket.create_connection((url.hostname, url.port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = b""
        while piece := connection.recv(400_000):
            got += piece
            time.sleep(0.06)  # the whole takes longer than the limit for a piece
    assert got.endswith(page)


def test_one_client_takes_the_connections_of_nobody_else(monkeypatch):
    ended = []
    monkeypatch.setattr(connections, "end", ended.append)
    held = connections.Connections(4)
    assert [held.admit(number, "192.0.2.1") for number in range(5)] == [True] * 4 + [False]
    # All addresses of a /64 are one client.
    assert [held.admit(number, f"2001:db8::{number}") for number in range(10, 13)] == [True, True, False]
    assert ended == [0, 1]
    assert held.admit(20, "192.0.2.2")
    assert held.admit(21, "192.0.2.3")
    assert ended == [0, 1, 2, 10]
    assert not held.admit(22, "192.0.2.4")  # four have one each: nobody is crowded out
    held.forget(20)
    assert held.admit(22, "192.0.2.4")
    assert ended == [0, 1, 2, 10]


def test_a_full_server_says_so_and_lets_another_client_in(place, monkeypatch):
    folder, made = place
    monkeypatch.setattr(collecting, "MAX_CONNECTIONS", 2)
    with served(folder) as url:
        idle = [socket.create_connection((url.hostname, url.port), timeout=10) for _ in range(2)]
        with socket.create_connection((url.hostname, url.port), timeout=10) as third:
            assert b"503" in third.makefile("rb").readline()
        with socket.create_connection((url.hostname, url.port), timeout=10, source_address=("127.0.0.2", 0)) as other:
            other.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert other.makefile("rb").read().endswith(made.page)
        assert idle[0].recv(1) == b""
        for connection in idle:
            connection.close()


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

        monkeypatch.setattr(intake, "atomic_writer", full)
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
