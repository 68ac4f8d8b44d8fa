"""Arguments of the application on a Ray cluster: of a command line, where all are texts, and of a config file."""

from __future__ import annotations

import pickle

import pytest

from golden.tiny import write_tiny
from hifigan_rt.errors import ConfigError, ServerError
from hifigan_rt.tools.serving.replica_arguments import read_arguments

OPEN = {"insecure_no_token": True}


def test_texts_and_values_mean_the_same():
    texts = read_arguments(
        {"models": "a=x.safetensors", "insecure_no_token": "true", "threads": "2", "max_mel_seconds": "60",
         "on_demand": "1", "max_live_streams": "8", "trusted_proxies": "10.0.0.0/8", "memory_budget_bytes": "500000000"}
    )  # fmt: skip
    values = read_arguments(
        {"models": {"a": "x.safetensors"}, "insecure_no_token": True, "threads": 2, "max_mel_seconds": 60,
         "on_demand": True, "max_live_streams": 8, "trusted_proxies": ["10.0.0.0/8"], "memory_budget_bytes": 5e8}
    )  # fmt: skip
    assert texts == values == pickle.loads(pickle.dumps(values))
    assert (texts.threads, texts.settings.max_live_streams, texts.settings.max_mel_seconds) == (2, 8, 60.0)
    assert texts.settings.trusted_proxies == ("10.0.0.0/8",)


def test_what_a_file_leaves_empty_is_not_given():
    empty = dict.fromkeys(("token_file", "threads", "precision", "trusted_proxies", "max_mel_seconds"))
    assert read_arguments({**OPEN, "models": "a", **empty}) == read_arguments({**OPEN, "models": "a"})


@pytest.mark.parametrize(
    "models",
    ["voice=some/path.pt", ["voice=some/path.pt"], {"voice": "some/path.pt"}, {"voice": {"model": "some/path.pt"}}],
)
def test_models_are_named_in_any_of_these_ways(models):
    assert read_arguments({**OPEN, "models": models}).models == {"voice": {"model": "some/path.pt"}}


def test_a_model_is_loaded_as_the_server_loads_it(tmp_path):
    path = write_tiny(tmp_path)
    read = read_arguments({**OPEN, "models": {"voice": {"model": str(path), "family": "hifi-gan"}, "other": str(path)}})
    with read.sources()["voice"]() as vocoder:
        assert (vocoder.engine_info.name, vocoder.engine_info.threads) == ("native", 1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"models": "a"}, "without a token whoever reaches Ray's proxy"),
        ({**OPEN, "models": "a", "token_file": "t"}, "give one of them"),
        (OPEN, "models are missing"),
        ({**OPEN, "models": ["x/a", "y/a"]}, "two models are called 'a'"),
        ({**OPEN, "models": {"a b": "x"}}, "clients could not ask for 'a b'"),
        ({**OPEN, "models": {"a": None}}, "model 'a' has no file"),
        ({**OPEN, "models": {"a": {"modle": "x", "model": "y"}}}, "'modle' is none of model, config"),
        ({**OPEN, "models": "a", "max_live_stream": 3}, "did you mean 'max_live_streams'"),
        ({**OPEN, "models": "a", "port": 3}, "argument 'port' is none of"),
        ({**OPEN, "models": "a", "wyoming_port": 10300}, "argument 'wyoming_port' is none of"),
        ({**OPEN, "models": "a", "port": None}, "argument 'port' is none of"),
        ({**OPEN, "models": "a", "bearer_tokens": "x"}, "argument 'bearer_tokens' is none of"),
        ({**OPEN, "models": "a", "max_live_streams": "many"}, "must be a number"),
        ({**OPEN, "models": "a", "max_live_streams": "2.5"}, "must be a whole number"),
        ({**OPEN, "models": "a", "max_live_streams": float("inf")}, "must be a whole number"),
        ({**OPEN, "models": "a", "threads": "nan"}, "must be a whole number"),
        ({**OPEN, "models": "a", "max_live_streams": 0}, "max_live_streams=0 must be a finite number above 0"),
        ({**OPEN, "models": "a", "threads": 0}, "threads=0 must be above 0"),
        ({**OPEN, "models": "a", "settings": "x"}, "must be a table"),
        ({"models": "a", "insecure_no_token": "yes"}, "must be true or false"),
        ({**OPEN, "models": "a", "trusted_proxies": "somewhere"}, "trusted_proxies"),
    ],
)
def test_what_is_wrong_is_named(given, told):
    with pytest.raises(ConfigError, match=told):
        read_arguments(given)


def test_tokens_are_read_by_each_replica_and_never_travel(tmp_path, caplog):
    file = tmp_path / "token"
    read = read_arguments({"models": "a", "token_file": str(file)})
    with pytest.raises(ServerError, match="cannot be read"):
        read.settings_of("replica 1")
    file.write_text("secret\n")
    file.chmod(0o644)
    settings = read.settings_of("replica 1")
    assert (settings.bearer_tokens, settings.replica) == (("secret",), "replica 1")
    assert "other users of this machine can read" in caplog.text
    assert b"secret" not in pickle.dumps(read)
