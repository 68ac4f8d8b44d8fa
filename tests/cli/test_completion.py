"""What the shell offers: for values as well as for commands and options."""

from __future__ import annotations

import os

import click
import pytest
from click.shell_completion import ShellComplete

from cli.running import hifigan
from hifigan_rt.engines import REGISTRY
from hifigan_rt.mel.conventions import CONVENTIONS
from hifigan_rt.tools.cli.app import hifigan as group
from hifigan_rt.tools.evaluation.metrics.registry import METRICS

FREE = {
    "--segment-frames", "--threads", "--weights-at", "--mel-at", "--execution-provider", "--device", "--soc",
    "--precision-mode", "--atc-arg", "--cors-origin", "--trusted-proxy", "--host", "--title", "--speaker",
    "--ray-address", "--wyoming", "text",
}  # fmt: skip
"""Options of texts and names that nothing here knows."""


def offered(*words: str) -> set[tuple[str, str]]:
    *before, begun = words
    completer = ShellComplete(group, {}, "hifigan", "_HIFIGAN_COMPLETE")
    return {(item.type, item.value) for item in completer.get_completions(before, begun)}


def values(*words: str) -> set[str]:
    return {value for kind, value in offered(*words) if kind == "plain"}


def has_files(*words: str) -> bool:
    return ("file", words[-1]) in offered(*words)


@pytest.mark.parametrize(
    "words",
    [
        ["synth", "in", "--model"],
        ["synth", "--model"],
        ["mel", "--model"],
        ["eval", "--model"],
        ["bench", "--model"],
        ["bench", "--reference"],
        ["serve", "--model"],
        ["info"],
        ["export", "onnx"],
        ["export", "openvino"],
        ["export", "safetensors"],
        ["export", "om"],
    ],
)
def test_models_are_known_ones_and_files(words):
    assert values(*words, "") == {"ljspeech-v1", "universal-v1"}
    assert values(*words, "lj") == {"ljspeech-v1"}
    assert has_files(*words, "lj")
    assert values(*words, "g_0") == set()


def test_engines_and_their_precisions():
    assert values("synth", "--engine", "") == {"auto", *REGISTRY}
    assert values("synth", "--engine=on") == {"onnxruntime"}
    assert values("synth", "--precision", "bf") == {"bfloat16", "bfloat16x3"} & values("synth", "--precision", "")
    assert values("synth", "--engine", "torch", "--precision", "") == set(REGISTRY["torch"].precisions)
    assert values("bench", "--engines", "native,o") == {"native,onnxruntime", "native,openvino"}
    assert "all" in values("bench", "--engines", "a")
    assert values("bench", "--precision", "float32,flo") == {"float32,float16"}
    assert values("synth", "--engine", "openvino", "--engine-option", "hint") == {"hint=latency", "hint=throughput"}


def test_metrics():
    assert values("eval", "--metrics", "") == {"all", *METRICS}
    assert values("eval", "--metrics", "stoi,pesq") == {f"stoi,{key}" for key in METRICS if key.startswith("pesq")}
    assert "stoi,stoi" not in values("eval", "--metrics", "stoi,st")
    assert values("eval", "--min", "mel") == {f"{key}=" for key in METRICS if key.startswith("mel")}
    assert values("eval", "--max", "") == {f"{key}=" for key in METRICS}


def test_other_names():
    assert values("synth", "--config", "v") == {"v1", "v2", "v3"}
    assert values("synth", "--mel-convention", "") == set(CONVENTIONS)
    assert values("eval", "--compare", "na") == {"native"}
    assert values("eval", "--compare", "openvino,prec") == {"openvino,precision="}
    assert values("serve", "--model", "anna=uni") == {"anna=universal-v1"}
    assert values("synth", "--encoding", "pcm") == {"pcm16", "pcm24"}
    assert values("export", "om", "--mel-len", "d") == {"dynamic"}


def every_parameter(command: click.Command, words: tuple[str, ...] = ()):
    ctx = click.Context(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            yield from every_parameter(command.get_command(ctx, name), (*words, name))
    for parameter in command.params:
        is_flag = isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count)
        if not is_flag and not isinstance(parameter.type, (click.types.IntParamType, click.types.FloatParamType)):
            yield ctx, " ".join(words), parameter


def test_every_value_is_offered_or_free():
    for ctx, command, parameter in every_parameter(group):
        if not set(parameter.opts) & FREE and parameter.metavar not in ("N,...", "T,...", "N[,N...]"):
            assert parameter.shell_complete(ctx, ""), f"{command} {parameter.opts}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_it_comes_through_in_every_shell(shell):
    env = {**os.environ, "_HIFIGAN_COMPLETE": f"{shell}_complete", "COMP_WORDS": "hifigan synth in --engine nat"}
    env["COMP_CWORD"] = "nat" if shell == "fish" else "4"
    done = hifigan(env=env)
    assert any("native" in line for line in done.stdout.splitlines())
    assert "onnxruntime" not in done.stdout
    assert "compl" in hifigan(env={**os.environ, "_HIFIGAN_COMPLETE": f"{shell}_source"}).stdout
