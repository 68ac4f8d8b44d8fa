"""`hifigan serve`: models over HTTP and WebSocket."""

from __future__ import annotations

import functools
import importlib.util
import re
import signal
import sys
import threading
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from hifigan_rt.system.versions import how_to_get
from hifigan_rt.tools.cli import completion
from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.options import ENGINE, config_option, engine_options, picked, verbosity_options
from hifigan_rt.tools.cli.strict import StrictCommand

if TYPE_CHECKING:
    from hifigan_rt.tools.serving.models import Source

_PACKAGES = ("starlette", "uvicorn", "websockets", "prometheus_client")
_MIB = 1 << 20

_POSITIVE = click.FloatRange(min=0, min_open=True)
_COUNT = click.IntRange(min=1)


@click.command(cls=StrictCommand)
@click.option(
    "--model", "models", shell_complete=completion.models, multiple=True, metavar="[NAME=]MODEL",
    help="A known model ('hifigan models'), file or folder, and what clients call it; may be given again. The first "
    "is the default.",
)  # fmt: skip
@click.option(
    "--voice", "voices", shell_complete=completion.files, multiple=True, metavar="[NAME=]VOICE.onnx",
    help="A voice of Piper, and what clients of /v1/audio/speech call it; may be given again.",
)  # fmt: skip
@click.option(
    "--wyoming", metavar="[HOST:]PORT",
    help="Speak the Wyoming protocol too, Home Assistant's, with the voices; it knows no tokens [HOST: 127.0.0.1].",
)  # fmt: skip
@click.option("--on-demand", is_flag=True, help="Load models when they are first asked for, not at the start.")
@click.option(
    "--host", default="127.0.0.1", show_default=True,
    help="Address to listen on; 0.0.0.0 is all of IPv4, :: those and all of IPv6.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8004, show_default=True, help="0 takes a free one.")
@click.option(
    "--token-file",
    shell_complete=completion.files,
    metavar="FILE",
    help="Ask every client for a bearer token of this file, which has one a line.",
)
@click.option(
    "--insecure-no-token", is_flag=True, help="Let anybody who reaches a host other than loopback use the server."
)
@click.option(
    "--cors-origin", "cors_origins", multiple=True, metavar="ORIGIN",
    help="Let pages of this origin (https://example.org) use the server; may be given again.",
)  # fmt: skip
@click.option(
    "--trusted-proxy", "trusted_proxies", multiple=True, metavar="ADDRESS",
    help="Tell clients apart by the X-Forwarded-For of this address or network; may be given again.",
)  # fmt: skip
@config_option
@click.option(
    "--weights-at", "places", multiple=True, metavar="[NAME=]PATH",
    help="Where a checkpoint of several generators has the wanted one, as in state_dict.ema; with NAME for one of "
    "several models, and then once for each.",
)  # fmt: skip
@click.option(
    "--family", "families", shell_complete=completion.families, multiple=True, metavar="[NAME=]FAMILY",
    help="Whose reading of a checkpoint is wanted, as in parallel-wavegan; with NAME as for --weights-at.",
)  # fmt: skip
@engine_options
@click.option("--max-body-mib", type=_POSITIVE, help="Largest request body, unpacked too [default: 64].")
@click.option(
    "--memory-budget", "memory_budget_mib", type=_POSITIVE, metavar="MIB",
    help="Memory for all that requests become [default: half of what the models leave, at most 1 GB].",
)  # fmt: skip
@click.option("--max-mel-seconds", type=_POSITIVE, help="Longest mel or recording, in s of audio [default: 3600].")
@click.option("--max-concurrent-requests", type=_COUNT, help="Requests answered at one time [default: 512].")
@click.option("--max-queued-requests", type=_COUNT, help="Requests that wait or are computed [default: 256].")
@click.option(
    "--max-queue-wait", "max_queue_wait_seconds", type=_POSITIVE,
    help="Expected wait beyond which requests are refused, s [default: 5].",
)  # fmt: skip
@click.option(
    "--overload-queue-wait", "overload_queue_wait_seconds", type=_POSITIVE,
    help="The same while some have to be refused [default: 0.25].",
)  # fmt: skip
@click.option(
    "--max-streams", "max_live_streams", type=_COUNT, help="WebSocket streams open at one time [default: 64]."
)
@click.option(
    "--request-timeout", "request_timeout_seconds", type=_POSITIVE, help="For a whole request, in s [default: 300]."
)
@click.option(
    "--body-timeout", "body_timeout_seconds", type=_POSITIVE,
    help="For a client to send its body, in s [default: 60].",
)  # fmt: skip
@click.option(
    "--write-timeout", "write_timeout_seconds", type=_POSITIVE,
    help="For a client to take in what is sent, in s [default: 30].",
)  # fmt: skip
@click.option(
    "--grace-seconds", type=click.FloatRange(min=0), help="To finish what has begun at the end, in s [default: 30]."
)
@verbosity_options
@click.pass_obj
def serve(
    console: Console,
    /,
    models: tuple[str, ...],
    voices: tuple[str, ...],
    on_demand: bool,
    config: str | None,
    **values: Any,
) -> int:
    """Serve models over HTTP and WebSocket, with a page at / to hear them.

    Without --token-file only this machine is served. SIGTERM ends the server after it has finished what it began,
    SIGHUP loads the models anew. The log is JSON, one line per request, on standard error.

    \b
    Examples:
      hifigan serve --model ljspeech-v1
      hifigan serve --model anna=runs/anna --model ben=runs/ben --host 0.0.0.0 --token-file token.txt
    """
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # there is nothing to load anew until the models are there
    _check_packages()
    from hifigan_rt.engines import check_engine
    from hifigan_rt.tools.serving.logs import configure_logs
    from hifigan_rt.tools.serving.server import Server
    from hifigan_rt.tools.serving.server import serve as run
    from hifigan_rt.tools.serving.settings import ServerSettings

    if not models and not voices:
        raise click.UsageError("Missing option '--model' or '--voice'.")
    check_engine(values["engine"])
    if config is not None and len(models) > 1:
        raise click.UsageError("--config is for a single model: put each model's config.json beside its file")
    tokens = _tokens(values["host"], values["token_file"], insecure=values["insecure_no_token"])
    _check_origins(values["cors_origins"])
    if values["wyoming"] is not None:
        values["wyoming_host"], values["wyoming_port"] = _wyoming(values["wyoming"], voices)
    settings = ServerSettings(bearer_tokens=tokens, **_settings(values))
    server = Server(settings, _sources(models, voices, config, values), preload=() if on_demand else None)
    configure_logs(console.verbosity)
    run(server)
    return 0


def _check_packages() -> None:
    from hifigan_rt.errors import ServerError

    absent = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if absent:
        raise ServerError(f"the server needs {', '.join(absent)}: {how_to_get('serve')}")


def _settings(values: dict[str, Any]) -> dict[str, Any]:
    """Pick the options that are settings of the server, and were given: the other settings keep their defaults."""
    from hifigan_rt.tools.serving.settings import ServerSettings

    names = {field.name for field in fields(ServerSettings)}
    settings = {name: value for name, value in values.items() if name in names and value is not None}
    for option, setting in (("max_body_mib", "max_body_bytes"), ("memory_budget_mib", "memory_budget_bytes")):
        if values[option] is not None:
            settings[setting] = max(1, int(min(values[option] * _MIB, sys.maxsize)))
    return settings


def _tokens(host: str, path: str | None, *, insecure: bool) -> tuple[str, ...]:
    from hifigan_rt.errors import ServerError
    from hifigan_rt.system.machine import is_loopback
    from hifigan_rt.tools.serving.token_file import read_tokens

    if path is None:
        if is_loopback(host) or insecure:
            return ()
        raise ServerError(
            f"--host {host} lets other machines in, and without a token whoever reaches the port can use this "
            "processor and reload its models: give --token-file FILE, or --insecure-no-token if something else keeps "
            "strangers out"
        )
    if insecure:
        raise click.UsageError("--token-file asks for a token and --insecure-no-token for none: give one of them")
    return read_tokens(path, lambda note: click.echo(f"note: {note}", err=True))


def _wyoming(text: str, voices: tuple[str, ...]) -> tuple[str, int]:
    """Split [HOST:]PORT."""
    from hifigan_rt.system.machine import is_loopback

    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise click.UsageError(f"--wyoming {text!r} is not [HOST:]PORT, for example 10200 or 0.0.0.0:10200")
    if not voices:
        raise click.UsageError("--wyoming speaks with voices: give --voice")
    if not is_loopback(host):
        click.echo(f"note: whoever reaches {text} can have text spoken: the Wyoming protocol knows no tokens", err=True)
    return host, int(port)


def _check_origins(origins: tuple[str, ...]) -> None:
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"https?://[^/\s?#]+", origin):
            raise click.UsageError(f"--cors-origin {origin!r} is no origin: https://example.org, without a path")


def _sources(
    models: tuple[str, ...], voices: tuple[str, ...], config: str | None, values: dict[str, Any]
) -> dict[str, Source]:
    from hifigan_rt.tools.serving.loading import VoiceSource, load_to_serve

    options = picked(values, ENGINE)
    sources: dict[str, Source] = {}
    places = _of_models(models, "--weights-at", values["places"])
    families = _of_models(models, "--family", values["families"])
    for text in models:
        name, path = _named(text)
        if name in sources:
            raise click.UsageError(f"two models are called {name!r}: give NAME=MODEL")
        sources[name] = functools.partial(
            load_to_serve, path, config=config, weights_at=places.get(name), family=families.get(name), **options
        )
    spoken = picked(values, _OPTIONS_OF_VOICES)
    for text in voices:
        name, path = _named(text, "voice")
        if name in sources:
            raise click.UsageError(f"two models are called {name!r}: give NAME=VOICE")
        sources[name] = VoiceSource(path, spoken)
    return sources


_OPTIONS_OF_VOICES = ("engine", "threads", "precision", "segment_frames", "device", "settings")


def _of_models(models: tuple[str, ...], option: str, texts: tuple[str, ...]) -> dict[str, str]:
    """What an option says of each model's checkpoint, by the name that clients know."""
    names = [_named(model)[0] for model in models]
    said: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            name, value = names[0], text
            if len(names) > 1:
                raise click.UsageError(f"{option} {text!r} could be any model's: give NAME={text}")
        if name not in names:
            raise click.UsageError(f"{option} {text!r}: no model is called {name!r}: {', '.join(names)}")
        if name in said:
            raise click.UsageError(f"{option} is given twice for {name!r}")
        said[name] = value
    return said


def _named(text: str, what: str = "model") -> tuple[str, str]:
    from hifigan_rt.errors import ConfigError
    from hifigan_rt.tools.serving.loading import named_model

    try:
        return named_model(text, what)
    except ConfigError as error:
        raise click.UsageError(f"--{error}") from error
