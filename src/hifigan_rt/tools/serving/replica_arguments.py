"""Arguments of the application on a Ray cluster: `args` of a config file, or KEY=VALUE behind `serve run`.

They are `models`, what `hifigan serve` has as options of the engine, and the fields of `ServerSettings`.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from hifigan_rt.engines import check_engine
from hifigan_rt.errors import ConfigError, did_you_mean
from hifigan_rt.tools.serving.loading import load_to_serve, named_model
from hifigan_rt.tools.serving.memory_budget import MAX_DEFAULT_BYTES
from hifigan_rt.tools.serving.settings import ServerSettings
from hifigan_rt.tools.serving.token_file import read_tokens
from hifigan_rt.vocoder import Vocoder

logger = logging.getLogger(__name__)

_OF_RAY = ("host", "port", "wyoming_host", "wyoming_port", "bearer_tokens", "replica")
"""Settings that Ray or the replica decides: its proxy listens, for HTTP alone, and tokens are read where needed."""
_OF_MODELS = ("model", "config", "weights_at", "family")
_OF_ENGINES: Mapping[str, type] = {
    "engine": str, "threads": int, "precision": str, "execution_provider": str, "device": str, "settings": dict,
    "segment_frames": int, "plan": str,
}  # fmt: skip


@dataclass(frozen=True)
class ReplicaArguments:
    """Arguments, checked as far as any machine can check them; pickled, they go to each replica."""

    models: Mapping[str, Mapping[str, str]]
    """What `load_to_serve` is to be told of each model, by the name that clients use; the first is the default."""
    engine: Mapping[str, Any]
    """What it is to be told of the engine."""
    settings: ServerSettings
    """Limits, without tokens."""
    token_file: str | None = None
    """File with bearer tokens on each machine; it is read there, so that Ray never keeps a token."""
    on_demand: bool = False
    """Whether models are loaded when they are first asked for."""

    @property
    def threads(self) -> int:
        """Threads of one replica, and processors that Ray keeps for it."""
        return int(self.engine["threads"])

    def sources(self) -> dict[str, Callable[[], Vocoder]]:
        """Make what loads each model."""
        return {
            name: functools.partial(load_to_serve, **{**self.engine, **options})
            for name, options in self.models.items()
        }

    def settings_of(self, replica: str) -> ServerSettings:
        """Make the settings of a replica, with the tokens that its machine has.

        Raises:
            ServerError: the file of tokens cannot be read.
        """
        tokens = () if self.token_file is None else read_tokens(self.token_file, logger.warning)
        # No name of this machine, of which clients would have to call a server without a token: they call the proxy.
        return replace(self.settings, host="0.0.0.0", bearer_tokens=tokens, replica=replica)  # noqa: S104


def read_arguments(given: Mapping[str, object]) -> ReplicaArguments:
    """Check arguments, which are texts if they come from a command line.

    Raises:
        ConfigError: one is not known, has a value that it cannot have, or is missing.
    """
    types = {field.name: str(field.type) for field in fields(ServerSettings) if field.name not in _OF_RAY}
    known = ("models", "token_file", "insecure_no_token", "on_demand", *_OF_ENGINES, *types)
    for name in given:
        if name not in known:
            raise ConfigError(f"argument {name!r} is none of {', '.join(known)}{did_you_mean(name, known)}")
    given = {name: value for name, value in given.items() if value is not None}  # "precision:" in a file gives none
    token_file = str(given["token_file"]) if "token_file" in given else None
    insecure = _flag("insecure_no_token", given)
    if token_file is None and not insecure:
        raise ConfigError(
            "without a token whoever reaches Ray's proxy can use this cluster: give token_file, a file on each "
            "machine, or insecure_no_token=true if something else keeps strangers out"
        )
    if token_file is not None and insecure:
        raise ConfigError("token_file asks for a token and insecure_no_token for none: give one of them")
    engine = {name: _converted(name, given[name], kind.__name__) for name, kind in _OF_ENGINES.items() if name in given}
    engine.setdefault("threads", 1)
    if engine["threads"] < 1:
        raise ConfigError(f"threads={engine['threads']} must be above 0")
    check_engine(engine.setdefault("engine", "auto"))
    # Several replicas share a machine, so that what it has in all says nothing; Ray places them by what they reserve.
    limits: dict[str, Any] = {"memory_budget_bytes": MAX_DEFAULT_BYTES}
    limits |= {name: _converted(name, given[name], kind) for name, kind in types.items() if name in given}
    models = _models(given.get("models"))
    return ReplicaArguments(models, engine, ServerSettings(**limits), token_file, _flag("on_demand", given))


def _models(given: object) -> dict[str, dict[str, str]]:
    if not given:
        raise ConfigError("models are missing: give models=MODEL, or in a file a list, or a model for each name")
    if isinstance(given, Mapping):
        return {named_model(f"{name}={_path(name, model)}")[0]: _options(name, model) for name, model in given.items()}
    models: dict[str, dict[str, str]] = {}
    for text in _texts(given):
        name, path = named_model(text)
        if name in models:
            raise ConfigError(f"two models are called {name!r}: give NAME=MODEL")
        models[name] = {"model": _whole_path(path)}
    return models


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(map(str, value))
    return (str(value),)


def _whole_path(model: str) -> str:
    """Make a path whole: replicas have other working directories. Names of known models, and what is not here, stay."""
    return str(Path(model).resolve()) if Path(model).exists() else model


def _path(name: object, model: object) -> str:
    path = model.get("model") if isinstance(model, Mapping) else model
    if not path:
        raise ConfigError(f"model {name!r} has no file: give its name or path, or a table with 'model' in it")
    return str(path)


def _options(name: object, model: object) -> dict[str, str]:
    if not isinstance(model, Mapping):
        return {"model": _whole_path(str(model))}
    for key in model:
        if key not in _OF_MODELS:
            raise ConfigError(f"model {name!r}: {key!r} is none of {', '.join(_OF_MODELS)}")
    return {
        str(key): _whole_path(str(value)) if key in ("model", "config") else str(value)
        for key, value in model.items()
        if value is not None
    }


def _flag(name: str, given: Mapping[str, object]) -> bool:
    return bool(_converted(name, given.get(name, False), "bool"))


def _converted(name: str, value: object, kind: str) -> Any:
    """Make a value of a field's type, which dataclasses keep as text."""
    if isinstance(value, str) and kind == "bool":
        if value.lower() not in ("true", "false", "1", "0"):
            raise ConfigError(f"{name}={value!r} must be true or false")
        return value.lower() in ("true", "1")
    if kind.startswith("tuple"):
        return _texts(value)
    if kind == "dict":
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name}={value!r} must be a table of the engine's own options")
        return {str(key): str(setting) for key, setting in value.items()}
    if kind in ("str", "bool"):
        return value if kind == "bool" else str(value)
    try:
        number = float(str(value))
    except ValueError as error:
        raise ConfigError(f"{name}={value!r} must be a number") from error
    if "int" not in kind or "float" in kind:
        return number
    if not number.is_integer():
        raise ConfigError(f"{name}={value!r} must be a whole number")
    return int(number)
