"""What the shell offers for the values of options and arguments.

    eval "$(_HIFIGAN_COMPLETE=bash_source hifigan)"        zsh_source, fish_source

click's scripts for bash, zsh and fish ask for it. Where file names are among the values, the shell completes them
itself; bash does so only where no name of ours fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from hifigan_rt.engines import EngineEntry


def files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of files and folders."""
    return [CompletionItem(incomplete, type="file")]


def one_of(*names: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Offer a few names."""
    return lambda _, __, incomplete: _fitting(dict.fromkeys(names, ""), incomplete)


def models(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer known models and files; behind NAME= too."""
    from hifigan_rt.model.pretrained import KNOWN_MODELS

    before, equals, begun = incomplete.rpartition("=")
    known = {name: model.summary for name, model in KNOWN_MODELS.items()}
    return [*files(ctx, parameter, incomplete), *_fitting(known, begun, before + equals)]


def configs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer presets and files."""
    from hifigan_rt.config import PRESETS

    return [*files(ctx, parameter, incomplete), *_fitting(dict.fromkeys(PRESETS, ""), incomplete)]


def families(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the families of checkpoints; behind NAME= too."""
    from hifigan_rt.families import FAMILIES

    before, equals, begun = incomplete.rpartition("=")
    return _fitting({family.key: family.name for family in FAMILIES}, begun, before + equals)


def engines(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the engines, installed or not: without its packages an engine says how to install them."""
    return _fitting({"auto": "the fastest that is installed", **_engine_summaries()}, incomplete)


def engine_list(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the engines of NAME,NAME,..."""
    return _in_list({"all": "every engine that can run the model here", **_engine_summaries()}, incomplete)


def systems(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer what `eval --compare` takes: engines and models first, then keys."""
    from hifigan_rt.tools.evaluation.systems import KEYS

    if "," in incomplete:
        return _in_list({f"{key}=": "" for key in KEYS}, incomplete)
    return [*models(ctx, parameter, incomplete), *_fitting(_engine_summaries(), incomplete)]


def precisions(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the precisions of the engine that is named before, else those of all."""
    return _fitting(_precisions(ctx), incomplete)


def precision_list(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the precisions of NAME,NAME,..."""
    return _in_list(_precisions(ctx), incomplete)


def settings(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the engines' own settings, each as KEY=VALUE or KEY=."""
    named = [entry for name, entry in _registry().items() if ctx.params.get("engine") in (None, "auto", name)]
    values = [
        f"{key}={value}" for entry in named for key, choices in entry.settings.items() for value in choices or ("",)
    ]
    return _fitting(dict.fromkeys(values, ""), incomplete)


def metrics(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the metrics of NAME,NAME,..."""
    return _in_list({"all": "all that can be computed here", **_metric_titles()}, incomplete)


def limits(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer METRIC=."""
    return _fitting({f"{key}=": title for key, title in _metric_titles().items()}, incomplete)


def conventions(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the conventions of mels."""
    from hifigan_rt.mel.conventions import CONVENTIONS

    return _fitting(dict.fromkeys(CONVENTIONS, ""), incomplete)


def _registry() -> Mapping[str, EngineEntry]:
    from hifigan_rt.engines import REGISTRY

    return REGISTRY


def _engine_summaries() -> dict[str, str]:
    return {name: entry.summary for name, entry in _registry().items()}


def _precisions(ctx: click.Context) -> dict[str, str]:
    entry = _registry().get(ctx.params.get("engine", ""))
    entries = _registry().values() if entry is None else [entry]
    return dict.fromkeys((precision for entry in entries for precision in entry.precisions), "")


def _metric_titles() -> dict[str, str]:
    from hifigan_rt.tools.evaluation.metrics.registry import METRICS

    return {key: entry.title for key, entry in METRICS.items()}


def _in_list(values: Mapping[str, str], incomplete: str) -> list[CompletionItem]:
    """Offer what fits behind the last comma and is not named before it."""
    before, comma, begun = incomplete.rpartition(",")
    named = before.split(",")
    return _fitting({value: text for value, text in values.items() if value not in named}, begun, before + comma)


def _fitting(values: Mapping[str, str], begun: str, before: str = "") -> list[CompletionItem]:
    """Offer values that begin so, with their descriptions, which zsh and fish show."""
    return [
        CompletionItem(before + value, help=text or None) for value, text in values.items() if value.startswith(begun)
    ]
