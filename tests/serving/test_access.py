"""Who is let in, and what is written down about it."""

from __future__ import annotations

import io
import json
import logging
import re
import shutil

import numpy as np
import pytest

from golden.tiny import tiny_mel, write_tiny
from hifigan_rt import load
from hifigan_rt.tools.serving.logs import JsonFormatter, RareWarning
from running_server import npy, running, wait_for

SYNTHESIZE = "/v1/synthesize"
TOKEN = "s3cret-token"  # noqa: S105


@pytest.fixture(scope="module")
def guarded(sources):
    with running(sources, bearer_tokens=(TOKEN,), cors_origins=("https://voice.example",)) as served:
        yield served


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", SYNTHESIZE), ("GET", "/v1/models"), ("GET", "/metrics")])
def test_without_the_token_nothing_is_done(guarded, authorization, method, path):
    headers = {} if authorization is None else {"Authorization": authorization}
    with guarded.client(headers=headers) as client:
        answer = client.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_with_the_token_everything_is(guarded):
    for scheme in ("Bearer", "bearer"):
        with guarded.client(headers={"Authorization": f"{scheme} {TOKEN}"}) as client:
            assert client.post(SYNTHESIZE, content=npy(tiny_mel(20))).status_code == 200
            assert client.get("/metrics").status_code == 200
            assert client.post("/v1/models/other/reload").status_code == 200


def test_probes_and_the_document_need_no_token(guarded):
    with guarded.client() as client:
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert client.get(path).status_code == 200
        assert client.get("/openapi.json").json()["security"] == [{"bearer": []}]


def test_pages_of_allowed_origins_may_ask_and_read(guarded):
    headers = {"Origin": "https://voice.example", "Authorization": f"Bearer {TOKEN}"}
    with guarded.client(headers=headers) as client:
        asked = "x-mel-shape,x-stainless-os"  # the second is of OpenAI's client
        preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}
        answer = client.options(SYNTHESIZE, headers=preflight)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://voice.example"
        answer = client.post(SYNTHESIZE, content=npy(tiny_mel(20)))
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://voice.example"
        exposed = answer.headers["access-control-expose-headers"]
        assert "X-Sample-Rate" in exposed and "Inference-Header-Content-Length" in exposed  # noqa: PT018 - one list
        failure = client.post(SYNTHESIZE, content=b"")
        assert failure.status_code == 400
        assert failure.headers["access-control-allow-origin"] == "https://voice.example"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "https://voice.example.evil.example",
        "file://",
        "http://[",
        "http://[::1",
        "http://]",
        "//[x]",
        "http://[v1.x]:99999",
        "http://a\u2100b".encode(),
        b"\xff[",
        "http://a:b:c/[",
    ],
)
def test_pages_of_other_origins_may_not(server, guarded, origin):
    for served in (server, guarded):
        with served.client(headers={"Origin": origin, "Authorization": f"Bearer {TOKEN}"}) as client:
            for path in (SYNTHESIZE, "/v1/models/other/reload"):
                answer = client.post(path, content=npy(tiny_mel(20)))
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
            answer = client.get("/v1/models")
            assert "access-control-allow-origin" not in answer.headers


def test_the_servers_own_page_may(server):
    with server.client(headers={"Origin": server.url}) as client:
        assert client.post(SYNTHESIZE, content=npy(tiny_mel(20))).status_code == 200


@pytest.mark.parametrize("host", ["evil.example:8004", "127.0.0.1.evil.example", "[::2]", "10.0.0.1"])
def test_names_that_only_lead_to_loopback_are_refused_where_there_is_no_token(server, guarded, host):
    with server.client(headers={"Host": host}) as client:
        answer = client.get("/v1/models")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    with guarded.client(headers={"Host": host, "Authorization": f"Bearer {TOKEN}"}) as client:
        assert client.get("/v1/models").status_code == 200


@pytest.mark.parametrize("host", ["localhost", "localhost:8004", "127.0.0.1", "127.0.0.2:1", "[::1]:8004"])
def test_names_of_loopback_are_not(server, host):
    with server.client(headers={"Host": host}) as client:
        assert client.get("/v1/models").status_code == 200


@pytest.mark.parametrize("headers", [{"X-Forwarded-For": "10.0.0.1"}, {"Forwarded": "for=10.0.0.1"}])
def test_behind_a_proxy_without_a_token_nobody_is_the_operator(client, headers):
    assert client.post("/v1/models/tiny/reload").status_code == 200
    answer = client.post("/v1/models/tiny/reload", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize("given", ["", "two words", "x" * 200, "a\tb", "<script>", "-begins-wrong", "é"])
def test_request_ids_that_are_not_sane_are_replaced(client, given):
    answer = client.get("/v1/models", headers={"X-Request-Id": given.encode("latin-1")})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


def logged(caplog, request_id: str) -> list[dict]:
    """What the log has of one client; another test's last request may be told only now."""
    lines = [JsonFormatter().format(record) for record in caplog.records if record.name.startswith("hifigan_rt")]
    assert all("\n" not in line for line in lines)
    return [entry for entry in map(json.loads, lines) if entry.get("request_id") == request_id]


def test_each_request_is_one_line_without_its_content(guarded, caplog):
    caplog.set_level(logging.INFO, "hifigan_rt")
    mel = tiny_mel(20)
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Request-Id": "log-1"}
    with guarded.client(headers=headers) as client:
        client.post(f"{SYNTHESIZE}?format=pcm16", content=npy(mel))
        client.post(f"{SYNTHESIZE}?model=nobody%0Aforged", content=npy(mel))
        client.get("/healthz")
    wait_for(lambda: len(logged(caplog, "log-1")) >= 2)
    done, refused = logged(caplog, "log-1")
    facts = {name: done[name] for name in ("event", "request_id", "method", "route", "status", "model", "frames")}
    assert facts == {
        "event": "request", "request_id": "log-1", "method": "POST", "route": SYNTHESIZE, "status": 200,
        "model": "tiny", "frames": 20,
    }  # fmt: skip
    assert (done["audio_seconds"], done["format"], done["sent_bytes"]) == (0.02, "pcm16", 320)
    assert (refused["status"], refused["code"]) == (404, "model_not_found")
    text = caplog.text + json.dumps([done, refused])
    assert TOKEN not in text
    assert "nobody" not in text
    assert str(mel[0, 0])[:6] not in text


def test_of_several_tokens_each_is_a_client_wherever_it_comes_from(sources, caplog):
    caplog.set_level(logging.INFO, "hifigan_rt")
    tokens = ("first-token", "second-token")
    with running(sources, bearer_tokens=tokens, max_concurrent_requests=16) as served:

        def status(token: str | None) -> int:
            headers = {} if token is None else {"Authorization": f"Bearer {token}", "X-Request-Id": token}
            with served.client(headers=headers) as client:
                return client.get("/v1/models").status_code

        assert [status(token) for token in (*tokens, "third", None)] == [200, 200, 401, 401]
        served.context.active_of["token 1"] = 15
        assert [status(token) for token in tokens] == [429, 200]
        del served.context.active_of["token 1"]
        wait_for(lambda: served.context.active == 0)
    assert [entry["client"] for token in tokens for entry in logged(caplog, token)[:1]] == ["token 1", "token 2"]
    assert [entry["client"] for entry in logged(caplog, "third")] == ["127.0.0.1"]


def test_lines_of_the_log_are_short_and_plain_whatever_a_text_has_in_it():
    record = logging.LogRecord("hifigan_rt", logging.INFO, "", 0, "%s", ("\x1b[2J\n\u202e" + "x" * 9000,), None)
    record.facts = {"long": "y" * 9000, "number": 1}
    line = JsonFormatter().format(record)
    assert len(line) < 2300
    assert line.isascii()
    assert line.isprintable()


def test_no_descriptor_left_is_a_warning_without_a_trace():
    """asyncio logs it for each connection that it cannot take, and strangers can have it do so."""
    text = "socket.accept() out of system resource\nsocket: x"
    record = logging.LogRecord("asyncio", logging.ERROR, "", 0, text, (), (OSError, OSError(24, "x"), None))
    rare = RareWarning()
    assert rare.filter(record)
    assert (record.levelname, record.levelno, record.exc_info) == ("WARNING", logging.WARNING, None)
    assert not any(rare.filter(record) for _ in range(1000))
    record.created += 100
    assert rare.filter(record)
    assert rare.filter(logging.LogRecord("asyncio", logging.ERROR, "", 0, "another", (), None))


def test_metrics_count_what_happened(server, client):
    def requests(status: str, model: str = "tiny") -> float:
        return server.metric("hifigan_requests_total", route=SYNTHESIZE, status=status, model=model)

    before = requests("200"), requests("400"), server.metric("hifigan_rejected_requests_total", reason="mel_invalid")
    client.post(SYNTHESIZE, content=npy(tiny_mel(20)))
    client.post(SYNTHESIZE, content=npy(tiny_mel(20)[:3]))
    client.get("/" + "x" * 100)
    after = requests("200"), requests("400"), server.metric("hifigan_rejected_requests_total", reason="mel_invalid")
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1]
    text = client.get("/metrics").text
    assert "x" * 100 not in text
    assert 'route="unmatched"' in text


def test_models_tell_what_a_client_needs(client):
    listed = client.get("/v1/models").json()
    assert listed["default"] == "tiny"
    tiny, other = listed["models"]
    facts = {"sample_rate": 8000, "hop_length": 8, "num_mels": 10, "state": "ready", "engine": "native"}
    assert tiny.items() >= ({"name": "tiny"} | facts).items()
    assert other["name"] == "other"
    assert client.get("/v1/models/other").json() == other


def test_a_reload_takes_the_new_file(tmp_path, other_file):
    file = write_tiny(tmp_path)
    mel = tiny_mel(30)
    with running({"voice": lambda: load(file)}) as server, server.client() as client:
        url = f"{SYNTHESIZE}?format=float32"
        before = client.post(url, content=npy(mel)).content
        shutil.copy(other_file, file)
        assert client.post(url, content=npy(mel)).content == before
        answer = client.post("/v1/models/voice/reload")
        assert (answer.status_code, answer.json()["loads"]) == (200, 2)
        after = client.post(url, content=npy(mel)).content
        with load(other_file) as other:
            assert np.array_equal(np.frombuffer(after, "<f4"), other(mel))
        file.write_bytes(b"damaged")
        answer = client.post("/v1/models/voice/reload")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
        assert str(tmp_path) not in answer.text
        assert client.post(url, content=npy(mel)).content == after


def test_copy_synthesis_is_the_vocoder_on_the_models_mel(client, vocoder):
    import soundfile

    from hifigan_rt.audio import Recording, prepare

    audio = np.random.default_rng(0).uniform(-0.5, 0.5, 4000).astype(np.float32)
    stereo = np.stack([audio, audio / 2], axis=1)
    for rate, samples, query in ((8000, audio, ""), (16000, stereo, "&resample=1&mono=1")):
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, format="WAV", subtype="FLOAT")
        answer = client.post(f"/v1/copy-synthesis?format=float32{query}", content=buffer.getvalue())
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-recording-sample-rate"] == str(rate)
        mono = prepare(Recording(samples.T.copy(), rate, "WAV FLOAT"), 8000, True, True)  # noqa: FBT003
        want = vocoder(vocoder.mel(mono))
        assert np.array_equal(np.frombuffer(answer.content, "<f4"), want)


def test_a_recording_whose_end_is_missing_is_told(client):
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(8000), 8000, format="WAV", subtype="PCM_16")
    answer = client.post("/v1/copy-synthesis", content=buffer.getvalue()[:-4000])
    assert answer.status_code == 200
    assert "cut short" in answer.headers["x-recording-warning"]
