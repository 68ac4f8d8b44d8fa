"""`hifigan serve` before it serves: what it refuses, and with which words. tests/serving has the rest."""

from __future__ import annotations

import re
import socket

import pytest
from click.testing import CliRunner

import hifigan_rt.tools.cli.serve as serve_command
from golden.tiny import write_tiny
from hifigan_rt.errors import HifiganError
from hifigan_rt.tools.cli.app import hifigan
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.serving.settings import ServerSettings


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "model")
    (tmp_path / "token").write_text("abc\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "words").write_text("two words\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    return tmp_path


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(hifigan, ["serve", *arguments], obj=Console())
    if isinstance(result.exception, HifiganError):
        return str(result.exception)
    assert result.exit_code == 2, result.output
    return result.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "Missing option '--model'"),
        (["--model", "model", "--wyoming", "10200"], "--wyoming speaks with voices: give --voice"),
        (["--voice", "a.onnx", "--wyoming", "x:y"], "is not [HOST:]PORT"),
        (["--voice", "a.onnx", "--voice", "b/a.onnx"], "two models are called 'a'"),
        (["--model", "nothing"], "neither a file, nor a folder"),
        (["--model", "model", "--engine", "nope"], "engine 'nope' is not known"),
        (["--model", "model", "--model", "model"], "two models are called 'model'"),
        (["--model", "../x/=model"], "clients could not ask for"),
        (["--model", "a="], "'a=' names no model"),
        (["--voice", "a b=a.onnx"], "--voice 'a b=a.onnx': clients could not ask for 'a b': give NAME=VOICE"),
        (["--voice", "a="], "--voice 'a=' names no voice: give NAME=VOICE"),
        (["--model", f"{'a' * 65}=model"], "at most 64 letters"),
        (["--model", "model", "--model", "b=model", "--config", "v1"], "--config is for a single model"),
        (["--model", "model", "--host", "0.0.0.0"], "without a token whoever reaches the port"),
        (["--model", "model", "--host", "::"], "--insecure-no-token"),
        (["--model", "model", "--token-file", "absent"], "cannot be read: No such file"),
        (["--model", "model", "--token-file", "."], "cannot be read: Is a directory"),
        (["--model", "model", "--token-file", "empty"], "must hold one token"),
        (["--model", "model", "--token-file", "words"], "must hold one token"),
        (["--model", "model", "--token-file", "binary"], "more than ASCII"),
        (["--model", "model", "--token-file", "token", "--insecure-no-token"], "give one of them"),
        (["--model", "model", "--host", "192.0.2.1", "--insecure-no-token"], "is no address of this machine"),
        (["--model", "model", "--cors-origin", "example.org"], "is no origin"),
        (["--model", "model", "--cors-origin", "https://example.org/"], "is no origin"),
        (["--model", "model", "--port", "65536"], "--port"),
        (["--model", "model", "--max-body-mib", "0"], "--max-body-mib"),
        (["--model", "model", "--max-body-mib", "inf"], "--max-body-mib is inf: give a finite number"),
        (["--model", "model", "--memory-budget", "nan"], "--memory-budget is nan: give a finite number"),
        (["--model", "model", "--grace-seconds", "-1"], "--grace-seconds"),
    ],
)
@pytest.mark.usefixtures("place")
def test_refusals(arguments, text):
    assert text in refused(*arguments)


def test_a_token_file_has_one_token_a_line(place, capsys):
    (place / "tokens").write_text("abc\n\n  def-g \r\n")
    assert serve_command._tokens("0.0.0.0", "tokens", insecure=False) == ("abc", "def-g")
    assert "cannot carry" not in capsys.readouterr().err
    (place / "tokens").write_text("abc\nh=/+\n")
    assert serve_command._tokens("0.0.0.0", "tokens", insecure=False) == ("abc", "h=/+")
    assert "a browser's WebSocket cannot carry a token of 'tokens'" in capsys.readouterr().err
    (place / "tokens").write_text("ab\0c\n")
    assert "must hold one token on each line" in refused("--model", "model", "--token-file", "tokens")
    (place / "tokens").write_text("abc\ndef\nabc\n")
    assert "given twice" in refused("--model", "model", "--token-file", "tokens")


@pytest.mark.usefixtures("place")
def test_a_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = refused("--model", "model", "--port", str(port))
    assert text.startswith(f"port {port} of 127.0.0.1 is in use")


@pytest.mark.usefixtures("place")
def test_a_port_of_wyoming_in_use_is_told_before_anything_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = refused("--voice", "absent.onnx", "--port", "0", "--wyoming", str(port))
    assert text == f"port {port} of 127.0.0.1 is in use: stop what listens there, or choose another with --wyoming"


@pytest.mark.usefixtures("place")
def test_without_its_packages_it_says_which(monkeypatch):
    monkeypatch.setattr("hifigan_rt.tools.cli.serve._PACKAGES", ("starlette", "no_such_package"))
    assert refused("--model", "model") == (
        "the server needs no_such_package: pip install 'hifigan-rt[serve]' (from a clone: pip install '.[serve]')"
    )


def test_the_defaults_in_the_help_are_those_of_the_settings():
    text = " ".join(CliRunner().invoke(hifigan, ["serve", "--help"], obj=Console()).output.split())
    settings = ServerSettings()
    said = dict(re.findall(r"(--[a-z-]+) (?:INTEGER|FLOAT) RANGE [^\[]*\[default: ([0-9.]+)\]", text))
    assert said == {
        "--max-body-mib": str(settings.max_body_bytes >> 20),
        "--max-mel-seconds": f"{settings.max_mel_seconds:g}",
        "--max-concurrent-requests": str(settings.max_concurrent_requests),
        "--max-queued-requests": str(settings.max_queued_requests),
        "--max-queue-wait": f"{settings.max_queue_wait_seconds:g}",
        "--overload-queue-wait": f"{settings.overload_queue_wait_seconds:g}",
        "--max-streams": str(settings.max_live_streams),
        "--request-timeout": f"{settings.request_timeout_seconds:g}",
        "--body-timeout": f"{settings.body_timeout_seconds:g}",
        "--write-timeout": f"{settings.write_timeout_seconds:g}",
        "--grace-seconds": f"{settings.grace_seconds:g}",
    }


def test_each_limit_that_is_given_reaches_the_settings():
    given = {
        "--max-body-mib": ("max_body_bytes", 3 << 20), "--max-mel-seconds": ("max_mel_seconds", 3),
        "--max-concurrent-requests": ("max_concurrent_requests", 3),
        "--max-queued-requests": ("max_queued_requests", 3),
        "--max-queue-wait": ("max_queue_wait_seconds", 3), "--max-streams": ("max_live_streams", 3),
        "--overload-queue-wait": ("overload_queue_wait_seconds", 3),
        "--request-timeout": ("request_timeout_seconds", 3), "--body-timeout": ("body_timeout_seconds", 3),
        "--write-timeout": ("write_timeout_seconds", 3), "--grace-seconds": ("grace_seconds", 3),
    }  # fmt: skip
    arguments = ["--model", "m", *(part for option in given for part in (option, "3"))]
    chosen = serve_command._settings(serve_command.serve.make_context("serve", arguments, obj=Console()).params)
    defaults = {"host": "127.0.0.1", "port": 8004, "cors_origins": (), "trusted_proxies": ()}
    assert chosen == defaults | dict(given.values())
    ServerSettings(**chosen)


@pytest.mark.parametrize(
    ("option", "name"), [("--max-body-mib", "max_body_bytes"), ("--memory-budget", "memory_budget_bytes")]
)
def test_sizes_beyond_all_memory_are_no_limit(option, name):
    context = serve_command.serve.make_context("serve", ["--model", "m", option, "1e308"], obj=Console())
    assert getattr(ServerSettings(**serve_command._settings(context.params)), name) > 1 << 60
