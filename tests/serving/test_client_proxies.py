"""The clients behind proxies: which one they take, and what becomes of what it says."""

from __future__ import annotations

import asyncio
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

import numpy as np
import pytest

from golden.tiny import TINY, tiny_mel
from hifigan_rt import AsyncClient, Client
from hifigan_rt.errors import RequestFailed, ServerUnreachable
from hifigan_rt.tools.client.proxies import choose_proxy, is_this_machine

REMOTE = "http://vocoder.example:8004"
MEL = tiny_mel(5)
NAMES = ("http", "https", "all", "no", "ws", "wss", "socks")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in NAMES:
        for spelt in (f"{name}_proxy", f"{name}_proxy".upper()):
            monkeypatch.delenv(spelt, raising=False)


@pytest.fixture
def environment(monkeypatch):
    def set_all(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"{name}_proxy", value)

    return set_all


@contextmanager
def proxy(answer: bytes) -> Iterator[str]:
    """A proxy that says the same to everybody; gives its address, with a password."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://user:secret@127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def http(status: str, body: str = "", kind: str = "text/html", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", body]).encode()


def live(client: Client) -> None:
    with client.stream():
        pass


def later(call):
    """The same, asked by the asynchronous client."""

    async def run(client: Client) -> None:
        async with AsyncClient(client._server.url) as other:
            await call(other)

    return lambda client: asyncio.run(run(client))


async def streamed_later(client: AsyncClient) -> None:
    async for _ in client.synthesize_streamed(MEL):
        pass


async def live_later(client: AsyncClient) -> None:
    async with client.stream():
        pass


ASKED = {
    "synthesize": lambda client: client.synthesize(MEL),
    "streamed": lambda client: list(client.synthesize_streamed(MEL)),
    "copy": lambda client: client.copy_synthesis(b"x"),
    "models": lambda client: client.models(),
    "live": live,
    "synthesize, async": later(lambda client: client.synthesize(MEL)),
    "streamed, async": later(streamed_later),
    "live, async": later(live_later),
}


def test_this_machine_is_asked_directly(server, vocoder, environment):
    environment(
        http="http://127.0.0.1:9", https="http://127.0.0.1:9", all="socks5://127.0.0.1:9", ws="http://127.0.0.1:9"
    )
    with Client(server.url) as client:
        np.testing.assert_array_equal(client.synthesize(MEL).samples, vocoder(MEL))
        assert sum(map(len, client.synthesize_streamed(MEL))) == 5 * TINY.mel.hop_length
        with client.stream() as stream:
            stream.finish()
        for name in ("synthesize, async", "streamed, async", "live, async"):
            ASKED[name](client)


PAGES = {
    "407": (http("407 Proxy Authentication Required"), 407, "as in http://USER:PASSWORD@HOST:PORT"),
    "403": (http("403 Forbidden", "<html><head><title>Blocked\n by  policy</title>"), 403, "Blocked by policy"),
    "502": (http("502 Bad Gateway", "no route to host", "text/plain"), 502, "no route to host"),
    "504": (http("504 Gateway Timeout"), 504, "Gateway Timeout"),
    "302": (http("302 Found", Location="http://login.example/"), 302, "Found"),
}


@pytest.mark.parametrize(
    ("name", "page"), [*((name, "407") for name in ASKED), *(("synthesize", page) for page in PAGES), ("live", "403")]
)
def test_what_a_proxy_says_is_told_as_the_proxys(environment, name, page):
    ask, (answer, status, text) = ASKED[name], PAGES[page]
    with proxy(answer) as url:
        environment(http=url)
        with Client(REMOTE) as client, pytest.raises(RequestFailed) as caught:
            ask(client)
    shown = f"http://127.0.0.1:{urlsplit(url).port}"
    assert str(caught.value).startswith(f"the proxy {shown} answered {status} in the server's place: ")
    # Of what a proxy says to the opening of a live stream only the status is read.
    assert text in str(caught.value) or HTTPStatus(status).phrase in str(caught.value)
    assert status == 407 or str(caught.value).endswith("NO_PROXY=vocoder.example goes past it")
    assert caught.value.status == status
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["synthesize", "streamed", "models", "streamed, async"])
@pytest.mark.parametrize(
    "answer",
    [
        http("200 OK", "<html><title>Please log in</title>"),
        http("200 OK", '{"error": null}', "application/json"),
        http("200 OK"),
    ],
)
def test_a_page_that_says_ok_is_no_audio(environment, name, answer):
    with proxy(answer) as url:
        environment(http=url)
        with Client(REMOTE) as client, pytest.raises(RequestFailed, match=r"the proxy http://127.* answered 200"):
            ASKED[name](client)


@pytest.mark.parametrize("name", ["synthesize", "live"])
def test_a_page_without_a_proxy_is_no_answer_either(name):
    told = r"what answered 200 is not hifigan serve, but another program .*: (It works!|OK)"
    with (
        proxy(http("200 OK", "<html><title>It works!</title>")) as url,
        Client(f"http://127.0.0.1:{urlsplit(url).port}") as client,
        pytest.raises(RequestFailed, match=told),
    ):
        ASKED[name](client)


def test_what_the_server_says_through_a_proxy_is_the_servers(environment):
    body = '{"error": {"code": "queue_full", "message": "later"}}'
    with proxy(http("503 Service Unavailable", body, "application/json", X_Request_Id="r1", Retry_After="3")) as url:
        environment(http=url)
        with (
            Client(REMOTE) as client,
            pytest.raises(RequestFailed, match=r"^the server answered 503: later$") as caught,
        ):
            client.synthesize(MEL)
    assert (caught.value.code, caught.value.request_id, caught.value.retry_after_seconds) == ("queue_full", "r1", 3.0)
    with proxy(http("200 OK", "\0\0\0\0", X_Request_Id="r1", X_Sample_Rate="8000", X_Samples="1")) as url:
        environment(http=url)
        with Client(REMOTE) as client:
            assert client.synthesize(MEL).samples.tolist() == [0.0]


@pytest.mark.parametrize(
    ("name", "scheme"), [*((name, "http") for name in ASKED), ("synthesize", "https"), ("live", "https")]
)
def test_a_proxy_that_is_not_there_is_named(environment, name, scheme):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    environment(http=f"user:secret@127.0.0.1:{port}", https=f"http://user:secret@127.0.0.1:{port}/")
    with Client(f"{scheme}://vocoder.example") as client, pytest.raises(ServerUnreachable) as caught:
        ASKED[name](client)
    assert f"server {scheme}://vocoder.example does not answer by way of the proxy http://127.0.0.1:{port}: " in str(
        caught.value
    )
    assert str(caught.value).endswith("; NO_PROXY=vocoder.example goes past it")
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["synthesize", "live", "streamed, async"])
def test_a_proxy_that_opens_no_way_to_https(environment, name):
    with proxy(PAGES["407"][0]) as url:
        environment(https=url)
        with Client("https://vocoder.example") as client, pytest.raises((ServerUnreachable, RequestFailed)) as caught:
            ASKED[name](client)
    assert "the proxy http://127.0.0.1:" in str(caught.value)
    assert "407" in str(caught.value)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_socks_without_its_packages(environment, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "socksio", None)
    environment(all="socks5://user:secret@proxy.example:1080")
    for made in (Client, AsyncClient):
        with pytest.raises(ServerUnreachable) as caught:
            made(REMOTE)
        assert str(caught.value) == (
            "the SOCKS proxy socks5://proxy.example:1080 needs one more package: pip install 'socksio'"
        )
    environment(all="http://127.0.0.1:9", socks="socks5h://proxy.example:1080")
    with Client(REMOTE) as client:
        for name in ("live", "live, async"):
            with pytest.raises(
                ServerUnreachable, match=r"socks5h://proxy\.example:1080 .* pip install 'python-socks\[asyncio\]'"
            ):
                ASKED[name](client)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            "ftp://proxy.example:21",
            "the proxy ftp://proxy.example:21 of http_proxy is of no kind that is known: http, ",
        ),
        (
            "http://user:sec/ret@proxy:80",
            "the proxy that http_proxy names is no address: it looks like http://HOST:PORT",
        ),
        ("http://proxy:port", "the proxy that http_proxy names is no address"),
        ("http://[", "the proxy that http_proxy names is no address"),
        ("http://", "the proxy that http_proxy names is no address"),
    ],
)
def test_a_proxy_that_is_none(environment, value, text):
    environment(http=value)
    with pytest.raises(ServerUnreachable) as caught:
        Client(REMOTE)
    assert text in str(caught.value)
    assert "sec" not in str(caught.value)


def test_which_proxy_is_chosen(environment):
    environment(http="one:1", https="https://two:2", all="socks5h://three")
    environment(ws="four:4", socks="http://five:5")

    def chosen(url: str) -> tuple[str | None, str | None]:
        return tuple(
            found and found.url
            for found in (choose_proxy(urlsplit(url), streamed=streamed) for streamed in (False, True))
        )

    assert chosen(REMOTE) == ("http://one:1", "http://four:4")
    assert chosen("https://vocoder.example") == ("https://two:2", "socks5h://five:5")
    environment(http="", https="", ws="", socks="")
    assert chosen(REMOTE) == ("socks5h://three", "socks5h://three")
    environment(all="user@[::1]:3128")
    assert chosen(REMOTE)[0] == "http://user:@[::1]:3128"
    assert choose_proxy(urlsplit(REMOTE), streamed=False).shown == "http://[::1]:3128"
    environment(all="")
    assert chosen(REMOTE) == (None, None)


HOSTS = (
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "127.0.0.1",
    "127.8.9.1",
    "127.1",
    "::1",
    "::ffff:127.0.0.1",
    "0.0.0.0",
)


@pytest.mark.parametrize("host", HOSTS)
def test_names_of_this_machine(environment, host):
    environment(all="proxy:1")
    assert is_this_machine(host)
    assert choose_proxy(urlsplit(f"http://{f'[{host}]' if ':' in host else host}:8004"), streamed=False) is None


@pytest.mark.parametrize("host", ["localhost.example", "127.example", "128.0.0.1", "::2", "10.0.0.1", "vocoder"])
def test_names_of_others(environment, host):
    environment(all="proxy:1")
    assert not is_this_machine(host)
    assert choose_proxy(urlsplit(f"http://{f'[{host}]' if ':' in host else host}:8004"), streamed=False) is not None


@pytest.mark.parametrize(
    ("entries", "url", "direct"),
    [
        ("*", REMOTE, True),
        ("other, vocoder.example", REMOTE, True),
        ("other vocoder.example", REMOTE, True),
        ("VOCODER.example.", REMOTE, True),
        ("example", REMOTE, True),
        (".example", REMOTE, True),
        ("*.example", REMOTE, True),
        ("coder.example", REMOTE, False),
        ("vocoder.example:8004", REMOTE, True),
        ("vocoder.example:8005", REMOTE, False),
        ("vocoder.example:80", "http://vocoder.example", True),
        ("http://vocoder.example", REMOTE, True),
        ("10.1.2.3", "http://10.1.2.3:8004", True),
        ("10.0.0.0/8", "http://10.1.2.3:8004", True),
        ("10.0.0.0/16", "http://10.1.2.3:8004", False),
        ("fd00::/8", "http://[fd00::1]:8004", True),
        ("[fd00::1]", "http://[fd00::1]:8004", True),
        ("[fd00::1]:8004", "http://[fd00::1]:8004", True),
        ("[fd00::1]:1", "http://[fd00::1]:8004", False),
        ("fd00::1", "http://[fd00::1]:8004", True),
        ("", REMOTE, False),
        (",, ,", REMOTE, False),
    ],
)
def test_what_no_proxy_lists_is_asked_directly(environment, entries, url, direct):
    environment(all="proxy:1", no=entries)
    assert [choose_proxy(urlsplit(url), streamed=streamed) is None for streamed in (False, True)] == [direct] * 2


@pytest.mark.parametrize("url", ["http://[", "http://host:port", "http://host:99999"])
def test_an_address_that_cannot_be_read(url):
    with pytest.raises(ServerUnreachable, match="is no address"):
        Client(url)


def test_the_servers_own_password_is_not_shown():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Client(f"http://user:secret@127.0.0.1:{port}/") as client, pytest.raises(ServerUnreachable) as caught:
        client.models()
    assert f"server http://127.0.0.1:{port} does not answer: " in str(caught.value)
