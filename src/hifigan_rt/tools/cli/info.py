"""`hifigan info`: what a model is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hifigan_rt.tools.cli.console import Console
from hifigan_rt.tools.cli.info_card_plan import card_plan_of, show_card_plan
from hifigan_rt.tools.cli.info_plan import plan_of, show_plan
from hifigan_rt.tools.cli.options import (
    checkpoint_options,
    json_option,
    model_argument,
    precision_option,
    verbosity_options,
)
from hifigan_rt.tools.cli.strict import StrictCommand

if TYPE_CHECKING:
    from hifigan_rt.model.kinds import Model

_SHOWN_SPEAKERS = 12
_FACTS_OF_INPUT = ("conditioning_channels", "speaker_table_size", "input_kind")
"""Fields of the network that are told of its input."""


@click.command(cls=StrictCommand)
@model_argument
@checkpoint_options
@click.option("--plan", "with_plan", is_flag=True, help="How the engine computes each layer.")
@click.option("--measure", is_flag=True, help="With the time that each layer takes here (implies --plan).")
@click.option("--engine", type=click.Choice(["native", "cuda"]), default="native", help="Whose plan.")
@precision_option
@json_option
@verbosity_options
@click.pass_obj
def info(
    console: Console,
    /,
    model: str,
    with_plan: bool,
    measure: bool,
    engine: str,
    precision: str,
    as_json: bool,
    **reading: Any,
) -> None:
    """Show a model's family, architecture, input, cost, reach, mel settings and licence.

    What cannot be run is named with the reason, and the exit status is 1; --json has the reason under "refused".

    \b
    Examples:
      hifigan info ljspeech-v1
      hifigan info ljspeech-v1 --plan --measure
    """
    from hifigan_rt.errors import HifiganError
    from hifigan_rt.model.resolve import resolve_model

    if not (with_plan or measure) and (engine, precision) != ("native", "float32"):
        raise click.UsageError("--engine and --precision say whose plan is shown: give --plan, or leave them out")
    try:
        resolved = resolve_model(model, **reading)
    except HifiganError as error:
        if as_json:
            console.result({"name": model, "refused": str(error)})
        raise
    facts = _facts(resolved)
    on_card = engine == "cuda"
    plan = None
    if with_plan or measure:
        plan = (card_plan_of if on_card else plan_of)(resolved, measure, precision)
    if as_json:
        console.result(facts if plan is None else facts | plan)
        return
    _show(console, facts)
    if plan is not None and on_card:
        show_card_plan(console, plan, precision)
    elif plan is not None:
        show_plan(console, plan)


def _show(console: Console, facts: dict[str, Any]) -> None:
    for title, value in facts.items():
        if isinstance(value, dict):
            console.line(f"{_words(title)}:")
            for name, entry in value.items():
                # In the mel settings null is a choice, elsewhere it is a gap.
                text = "none" if entry is None and title == "mel" else _text(entry)
                text = _named(entry) if name == "speakers" else text
                console.line(f"  {_words(name):<26}{text}")
        elif isinstance(value, list):
            for text in value:
                console.line(f"note: {text}")
        else:
            console.line(f"{_words(title):<28}{_text(value)}")


def _facts(model: Model) -> dict[str, Any]:
    import dataclasses

    from hifigan_rt.engines import engines_for
    from hifigan_rt.formats.config_json import NETWORK_FIELDS, known_mel_fields
    from hifigan_rt.formats.graph_fields import graph_fields
    from hifigan_rt.model.kinds import OmFile, Weights
    from hifigan_rt.model.licence import find_licence

    facts: dict[str, Any] = {"name": model.name, "file": str(model.path), "format": model.format}
    if isinstance(model, Weights) and model.family:
        facts["family"] = model.family
    if isinstance(model, Weights) and model.voice is not None:
        not_run = {"not_run": list(model.voice.parts)} if model.voice.parts else {}
        facts["decoder_of"] = {"voice": model.voice.name, **not_run}
    facts["licence"] = find_licence(model)
    facts["engines"] = engines_for(type(model))
    sample_rate, graph = model.sample_rate, model.graph
    facts["sample_rate_hz"] = sample_rate
    fixed = _fixed_sizes(model)
    facts["input"] = _input(model) | {f"fixed_{name}": size for name, size in fixed.items()}
    if graph is not None:
        field = graph.receptive_field
        network = dataclasses.asdict(graph.config)
        facts["architecture"] = {name: network[name] for name in network if name in NETWORK_FIELDS}
        facts["architecture"] |= {
            name: value for name, value in graph_fields(graph.config).items() if name not in _FACTS_OF_INPUT
        }
        facts["cost"] = {
            "parameters": graph.parameter_count,
            "macs_per_frame": graph.macs_per_frame,
            "gmacs_per_audio_second": None
            if sample_rate is None
            else round(graph.macs_per_frame * sample_rate / graph.hop_length / 1e9, 3),
        }
        facts["reach_of_one_frame"] = {
            "first_sample": field.first_sample,
            "last_sample": field.last_sample,
            "left_context_frames": field.left_frames,
            "look_ahead_frames": field.right_frames,
            "look_ahead_ms": None if sample_rate is None else round(-1000 * field.first_sample / sample_rate, 1),
        }
        facts["hop_length_samples"] = graph.hop_length
    if not model.takes_latents:
        facts["mel"] = (
            known_mel_fields(model.mel_settings) or None if model.mel is None else dataclasses.asdict(model.mel)
        )
    if isinstance(model, OmFile):
        from hifigan_rt.tools.cli.info_om import facts_of_om

        facts["om"] = facts_of_om(model.path)
    facts["notes"] = [*model.notes, *_told_of_sizes(model, fixed)]
    return facts


def _fixed_sizes(model: Model) -> dict[str, int]:
    """The only frames and batch that a converted file takes, under these names; an .om's stand with its gears."""
    from hifigan_rt.formats.onnx_reading import inspect_onnx
    from hifigan_rt.formats.openvino_reading import inspect_openvino
    from hifigan_rt.model.kinds import OnnxFile, OnnxWeights, OpenVinoFile

    if isinstance(model, OpenVinoFile):
        return inspect_openvino(model.path, verify=False).fixed_sizes
    return inspect_onnx(model.path).fixed_sizes if isinstance(model, (OnnxFile, OnnxWeights)) else {}


def _told_of_sizes(model: Model, fixed: dict[str, int]) -> list[str]:
    from hifigan_rt.engines import REGISTRY, engines_for
    from hifigan_rt.model.kinds import OnnxFile, Weights

    told = [f"mels of exactly {fixed['frames']} frames"] if "frames" in fixed else []
    # One of 1 takes any: engines run its mels one after the other.
    told += [f"batches of exactly {fixed['batch']}"] if fixed.get("batch", 1) > 1 else []
    if not told:
        return []
    text = f"it was exported for {' and '.join(told)}"
    if isinstance(model, Weights):
        names = ", ".join(name for name in engines_for(type(model)) if OnnxFile in REGISTRY[name].runs)
        return [f"{text}; that holds for engines that run the file itself ({names}), others take any"]
    return [f"{text}: export it with dynamic sizes for others"]


def _input(model: Model) -> dict[str, Any]:
    """What a frame holds, and what else is to be given."""
    from hifigan_rt.model.kinds import ConvertedFile

    told: dict[str, Any] = {"kind": "latent" if model.takes_latents else "mel", "channels": model.num_mels}
    graph = model.graph
    if graph is not None and graph.config.conditioning_channels:
        # A converted file has its table inside, and takes speakers alone.
        inside = isinstance(model, ConvertedFile) and graph.config.num_speakers
        told["conditioning_channels"] = 0 if inside else graph.config.conditioning_channels
        told["num_speakers"] = graph.config.num_speakers
    if model.speakers:
        told["speakers"] = dict(model.speakers)
    return told


def _named(speakers: dict[str, int]) -> str:
    """The first speakers with their numbers; --json has all."""
    shown = ", ".join(f"{name} ({number})" for name, number in list(speakers.items())[:_SHOWN_SPEAKERS])
    return shown if len(speakers) <= _SHOWN_SPEAKERS else f"{shown} and {len(speakers) - _SHOWN_SPEAKERS} more"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _text(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) >= 100_000 else str(value)
    if isinstance(value, dict):
        return " ".join(_text(entry) for entry in value.values())
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_text(entry) for entry in value) + "]"
    return str(value)
