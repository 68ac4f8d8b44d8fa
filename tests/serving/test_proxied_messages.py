"""What passes between a client and a replica: at the speed of both, through queues without end such as Ray's."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from starlette.requests import ClientDisconnect

from hifigan_rt.tools.serving.app import make_app
from hifigan_rt.tools.serving.proxied_messages import WINDOW_BYTES, ReplicaGuard
from hifigan_rt.tools.serving.ray_proxy import ProxyGuard, middlewares
from hifigan_rt.tools.serving.settings import ServerSettings
from serving_models import tiny_vocoder

PIECE = 1 << 14
PIECES = 16 * WINDOW_BYTES // PIECE
AHEAD = WINDOW_BYTES + 4 * (1 << 16)
"""Bytes that one end may be ahead: the window, and what the other has not told yet."""


class Lost(Exception):
    pass


def through_ray(app):
    """Ray's proxy and replica as far as messages go: everything is pickled, and queued without a limit."""

    async def proxy(scope, receive, send):
        to_replica, to_proxy = asyncio.Queue(), asyncio.Queue()

        async def take_in():
            while True:
                message = await receive()
                to_replica.put_nowait(pickle.dumps(message))
                if message["type"].endswith(".disconnect"):
                    return

        async def replica_receive():
            return pickle.loads(await to_replica.get())

        async def replica_send(message):
            to_proxy.put_nowait(pickle.dumps(message))

        async def replica():
            try:
                await app(pickle.loads(pickle.dumps(scope)), replica_receive, replica_send)
            except Lost:
                pass  # a process that is gone says nothing
            finally:
                to_proxy.put_nowait(None)

        tasks = [asyncio.ensure_future(take_in()), asyncio.ensure_future(replica())]
        try:
            while (message := await to_proxy.get()) is not None:
                await send(pickle.loads(message))
            await tasks[1]
        finally:
            for task in tasks:
                task.cancel()

    return proxy


@dataclass
class ClientEnd:
    """A connection whose client sends and takes messages as the test says."""

    messages: list[dict[str, object]]
    take: Callable[[], Awaitable[None]] = field(default=lambda: asyncio.sleep(0))
    sent: list[dict[str, object]] = field(default_factory=list)
    read_bytes: int = 0
    taken_bytes: int = 0

    async def receive(self):
        await asyncio.sleep(0)
        if not self.messages:
            await asyncio.Event().wait()
        message = self.messages.pop(0)
        self.read_bytes += len(message.get("body") or message.get("bytes") or b"")
        return message

    async def send(self, message):
        await self.take()
        self.sent.append(message)
        self.taken_bytes += len(message.get("body") or message.get("bytes") or b"")

    def texts(self):
        return [json.loads(message["text"]) for message in self.sent if "text" in message]


def scope(kind="http", **headers):
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": kind, "path": "/v1/synthesize", "headers": fields, "extensions": {"websocket.http.response": {}}}


def run(app, client, kind="http", *, guarded=True, settings=None, **headers):
    replica = ReplicaGuard(app, settings or ServerSettings())
    proxy = through_ray(replica)
    asyncio.run(
        asyncio.wait_for(
            (ProxyGuard(proxy) if guarded else proxy)(scope(kind, **headers), client.receive, client.send), 30
        )
    )


def body(pieces=PIECES):
    return [{"type": "http.request", "body": bytes(PIECE), "more_body": i < pieces - 1} for i in range(pieces)]


def frames():
    return [
        {"type": "websocket.connect"},
        *({"type": "websocket.receive", "bytes": bytes(PIECE)} for _ in range(PIECES)),
    ]


async def start(send):
    await send({"type": "http.response.start", "status": 200, "headers": []})


def test_a_body_is_read_as_fast_as_the_application_takes_it():
    client = ClientEnd(body())
    ahead = []

    async def app(_, receive, send):
        taken, more = 0, True
        while more:
            message = await receive()
            taken, more = taken + len(message["body"]), message["more_body"]
            for _ in range(100):  # whoever reads on without being asked has the time
                await asyncio.sleep(0)
            ahead.append(client.read_bytes - taken)
        await start(send)
        await send({"type": "http.response.body", "body": str(taken).encode()})

    run(app, client, transfer_encoding="chunked")
    assert client.sent[-1]["body"] == str(PIECES * PIECE).encode()
    assert max(ahead) <= AHEAD


def test_frames_are_read_as_fast_as_the_application_takes_them():
    client = ClientEnd(frames())
    ahead = []

    async def app(_, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        for i in range(PIECES):
            await receive()
            for _ in range(100):
                await asyncio.sleep(0)
            ahead.append(client.read_bytes - (i + 1) * PIECE)
        await send({"type": "websocket.close", "code": 1000})

    run(app, client, "websocket")
    assert client.sent[-1] == {"type": "websocket.close", "code": 1000}
    assert max(ahead) <= AHEAD


@pytest.mark.parametrize("in_one", [False, True])
def test_an_answer_is_made_as_fast_as_the_client_takes_it(in_one):
    ahead = []
    client = ClientEnd(body(1))
    made = 0

    async def take():
        for _ in range(100):
            await asyncio.sleep(0)
        ahead.append(made - client.taken_bytes)

    client.take = take

    async def app(_, receive, send):
        nonlocal made
        await receive()
        await start(send)
        size = PIECE * PIECES if in_one else PIECE
        content = bytes(range(256)) * (size // 256)
        for _ in range(PIECE * PIECES // size):
            made += 0 if in_one else size
            await send({"type": "http.response.body", "body": memoryview(content), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    run(app, client)
    received = b"".join(message.get("body", b"") for message in client.sent)
    assert received == bytes(range(256)) * (PIECE * PIECES // 256)
    assert max(ahead) <= AHEAD
    assert max(len(message.get("body", b"")) for message in client.sent) <= 1 << 16


def test_a_client_that_takes_nothing_counts_as_gone():
    failures = []
    client = ClientEnd(body(1))

    async def take():
        if client.taken_bytes > WINDOW_BYTES:
            await asyncio.sleep(1)

    client.take = take

    async def app(_, receive, send):
        await start(send)
        try:
            await send({"type": "http.response.body", "body": bytes(PIECE * PIECES), "more_body": False})
        except ClientDisconnect as error:
            failures.append(error)
            raise Lost from error

    run(app, client, settings=ServerSettings(write_timeout_seconds=0.2))
    assert len(failures) == 1


def test_a_client_that_goes_is_noticed_while_an_answer_waits_for_it():
    client = ClientEnd([*body(1), {"type": "http.disconnect"}])
    seen = []

    async def app(_, receive, send):
        await receive()
        seen.append((await receive())["type"])
        seen.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(PIECE * PIECES), "more_body": False})

    run(app, client)
    assert seen == ["http.disconnect", "http.disconnect"]


@pytest.mark.parametrize("guarded", [False, True])
def test_without_the_proxys_part_all_passes_all_the_same(guarded):
    client = ClientEnd(body())

    async def app(_, receive, send):
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message["body"]), message["more_body"]
        await start(send)
        await send({"type": "http.response.body", "body": memoryview(bytes(size)), "more_body": False})

    run(app, client, guarded=guarded, transfer_encoding="chunked")
    assert sum(len(message.get("body", b"")) for message in client.sent) == PIECES * PIECE
    assert [message["more_body"] for message in client.sent[1:]][-1] is False
    assert {message["type"] for message in client.sent} == {"http.response.start", "http.response.body"}


def test_an_application_of_others_gets_its_body_whole():
    """It never tells what it takes."""
    client = ClientEnd(body())

    async def foreign(_, receive, send):
        more = True
        while more:
            more = (await receive())["more_body"]
        await start(send)
        await send({"type": "http.response.body", "body": b"done"})

    asyncio.run(asyncio.wait_for(ProxyGuard(through_ray(foreign))(scope(), client.receive, client.send), 30))
    assert client.sent[-1]["body"] == b"done"


def test_a_request_whose_replica_is_lost_gets_an_error_that_says_so():
    async def app(_, receive, send):
        raise Lost

    client = ClientEnd(body(1))
    run(app, client, x_request_id="mine")
    (begun, told) = client.sent
    assert (begun["status"], dict(begun["headers"])[b"retry-after"]) == (503, b"1")
    error = json.loads(told["body"])["error"]
    assert (error["code"], error["request_id"]) == ("replica_lost", "mine")


def test_an_error_of_the_proxy_has_its_protocols_form_below_a_prefix():
    async def app(_, receive, send):
        raise Lost

    for path, form in (("/tts/v2/models/tiny/infer", str), ("/v2/models/tiny/infer", str), ("/tts/v1/models", dict)):
        client = ClientEnd(body(1))
        asyncio.run(ProxyGuard(through_ray(app))({**scope(), "path": path}, client.receive, client.send))
        assert isinstance(json.loads(client.sent[-1]["body"])["error"], form), path


@pytest.mark.parametrize(
    ("path", "status", "form"),
    [
        ("/tts/healthz", 200, None), ("/tts/", 200, None), ("/healthz", 200, None), ("/tts/v1/models", 401, dict),
        ("/tts/v2/models/tiny", 401, str), ("/ttsx/healthz", 401, dict), ("/tts", 401, dict),
    ],
)  # fmt: skip
def test_the_prefix_of_an_application_is_no_part_of_its_paths(path, status, form):
    """Probes and the page need no token, and errors have their protocol's form, as without a prefix."""
    settings = ServerSettings(host="0.0.0.0", bearer_tokens=("secret",))
    client = ClientEnd([{"type": "http.request", "body": b"", "more_body": False}])
    asked = {
        **scope(), "path": path, "root_path": "/tts", "method": "GET", "query_string": b"", "client": ("127.0.0.1", 1),
        "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    app = make_app(settings, {"tiny": tiny_vocoder})
    asyncio.run(asyncio.wait_for(ReplicaGuard(app, settings)(asked, client.receive, client.send), 30))
    assert client.sent[0]["status"] == status
    told = b"".join(message.get("body", b"") for message in client.sent)
    assert form is None or isinstance(json.loads(told)["error"], form)


def test_an_answer_that_has_begun_is_never_made_whole():
    async def app(_, receive, send):
        await start(send)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise Lost

    client = ClientEnd(body(1))
    run(app, client)
    assert [message.get("more_body") for message in client.sent] == [None, True]


@pytest.mark.parametrize("accepted", [False, True])
def test_a_stream_whose_replica_is_lost_ends_with_an_error(accepted):
    async def app(_, receive, send):
        await receive()
        if accepted:
            await send({"type": "websocket.accept"})
        raise Lost

    client = ClientEnd(frames()[:1])
    run(app, client, "websocket")
    if accepted:
        (told,) = client.texts()
        assert (told["type"], told["code"]) == ("error", "replica_lost")
        assert client.sent[-1] == {"type": "websocket.close", "code": 1012, "reason": "replica_lost"}
    else:
        assert [message["type"] for message in client.sent] == [
            "websocket.http.response.start", "websocket.http.response.body",
        ]  # fmt: skip
        assert client.sent[0]["status"] == 503


def test_nothing_is_added_to_what_ended_by_itself():
    async def app(_, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    client = ClientEnd([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}])
    run(app, client, "websocket")
    assert [message["type"] for message in client.sent] == ["websocket.accept"]


def test_ray_is_told_of_the_proxys_part():
    assert [middleware.cls for middleware in middlewares()] == [ProxyGuard]
