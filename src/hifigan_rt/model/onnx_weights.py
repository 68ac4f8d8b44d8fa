"""Reads an ONNX file that is, or contains, a HiFi-GAN generator: its weights, with the config that goes along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from hifigan_rt.config import GeneratorConfig, ModelConfig
from hifigan_rt.errors import CheckpointError, ConfigError, ModelFileError
from hifigan_rt.families.matching import StatedConfig, differences, read_fields
from hifigan_rt.families.onnx_generator import OnnxGenerator, find_generator
from hifigan_rt.families.onnx_steps import AnotherGraph
from hifigan_rt.families.vits import PIPER_VOICE
from hifigan_rt.formats.checkpoint.reader import WholeVoice
from hifigan_rt.formats.config_json import config_to_dict, parse_config
from hifigan_rt.formats.onnx_folding import ConstantsTooLarge
from hifigan_rt.formats.onnx_metadata import contradictions, stated_sample_rate
from hifigan_rt.formats.onnx_nodes import OnnxNodes
from hifigan_rt.formats.onnx_reading import OnnxInfo, open_onnx
from hifigan_rt.graph import Graph, bind, build_graph
from hifigan_rt.model.config_remarks import describe_input
from hifigan_rt.model.config_search import describe_others, stated_for_onnx
from hifigan_rt.model.kinds import OnnxFile, OnnxWeights, Weights

_PIPER_INPUTS = frozenset(("input", "input_lengths", "scales"))


def search(nodes: OnnxNodes, *, with_flow: bool = False) -> tuple[OnnxGenerator | None, str]:
    """Look for a generator in an open file; else say why there is none. See `find_generator`.

    Raises:
        ConstantsTooLarge: the file is hostile, and is not for an engine that would run it as it is.
    """
    try:
        return find_generator(nodes, with_flow=with_flow), ""
    except ConstantsTooLarge:
        raise
    except (AnotherGraph, ModelFileError) as error:
        return None, f"its weights are not read: {error}"


def read_onnx_weights(path: Path, *, with_flow: bool = False) -> Mapping[str, np.ndarray]:
    """Read the weights of the generator in an ONNX file, by the names of `hifigan_rt.graph`. See `find_generator`.

    Raises:
        ModelFileError: the file is damaged, or there is no generator in it.
    """
    with open_onnx(path) as (_, nodes):
        found, reason = search(nodes, with_flow=with_flow)
        if found is None:
            raise ModelFileError(reason)
        return found.weights


def as_weights(
    name: str, path: Path, config: str | Path | None, notes: tuple[str, ...], info: OnnxInfo, found: OnnxGenerator
) -> Weights:
    """Join what was found with its config.

    Args:
        name: the model as the user named it.
        path: the file.
        config: what the user named, a file or a preset.
        notes: what is known of the way to the file.
        info: what the file says of itself.
        found: the generator in it.

    Raises:
        ConfigError: the config is wrong, or contradicts the layers.
        CheckpointError: the weights hold NaN or infinity.
    """
    stated = stated_for_onnx(path, config)
    settled, form, remarks = _settle(path, info, found, stated)
    graph = build_graph(settled.generator)
    try:
        generator = bind(graph, found.weights)
    except CheckpointError as error:
        raise CheckpointError(f"{str(path)!r}: {error}") from error
    voice = None
    if found.is_part:
        name_of_voice = "a Piper voice" if _is_piper(info, form) else "a network that contains a vocoder"
        voice = WholeVoice(name_of_voice, (), found.source)
    file = None
    if voice is None:
        channels, is_foreign = settled.generator.input_channels, not info.is_ours
        file = OnnxFile(name, path, "onnx", settled, channels, is_foreign, notes, info.external_files)
    notes += (
        _describe(graph, voice, is_run=len(info.inputs) == 1 or info.config is not None),
        *remarks,
        *describe_input(settled),
    )
    if file is None:
        return Weights(name, path, "onnx", generator, settled.mel, notes, speakers=settled.speakers, voice=voice)
    return OnnxWeights(
        name, path, "onnx", generator, settled.mel, notes, speakers=settled.speakers, file=replace(file, notes=notes)
    )


def _is_piper(info: OnnxInfo, form: str | None) -> bool:
    return form == PIPER_VOICE.name or {value.name for value in info.inputs} - {"sid"} == _PIPER_INPUTS


def _settle(
    path: Path, info: OnnxInfo, found: OnnxGenerator, stated: StatedConfig | None
) -> tuple[ModelConfig, str | None, tuple[str, ...]]:
    """The config, the project in whose form it was stated, and remarks."""
    remarks: tuple[str, ...] = ()
    own = ModelConfig(found.config)
    if info.config is not None:
        # An export may leave the table of speakers out.
        own = replace(info.config, generator=replace(info.config.generator, num_speakers=found.config.num_speakers))
    if info.config is not None and _layers(own.generator) != _layers(found.config):
        own = replace(own, generator=found.config)
        remarks = ("its metadata name other layers than it has: those of its weights are taken",)
    known = config_to_dict(own)
    if (rate := stated_sample_rate(info.metadata)) is not None and own.mel is None:
        known["sampling_rate"] = rate
    if stated is None:
        return parse_config(known), None, remarks + (describe_others(path) if info.config is None else ())
    try:
        fields, form = read_fields(stated, {name: tuple(array.shape) for name, array in found.weights.items()})
        # The original reads resblock 1 as type 2; the layers tell which it is.
        fields = {
            key: value
            for key, value in fields.items()
            if value is not None and not (key == "resblock" and isinstance(value, int))
        }
        settled = parse_config(known | fields)
    except ConfigError as error:
        raise ConfigError(f"{stated.place}: {error}") from error
    if _layers(settled.generator) != _layers(own.generator):
        if info.config is None:
            raise ConfigError(
                f"{stated.place}: {_layers_differing(own, settled)} (of the file and of the config): the "
                f"layers of {path.name!r} decide: give its own config with --config, or move this one away if it only "
                "lies beside the file"
            )
        remarks += ("the config says other layers than the file, which has those of its weights: they are taken",)
        settled = replace(settled, generator=own.generator)
    if told := contradictions(info.metadata, settled):
        raise ConfigError(f"the config is not that of {str(path)!r}: {'; '.join(told)}: give its own with --config")
    return settled, form, remarks


def _layers(config: GeneratorConfig) -> tuple[object, ...]:
    """All that a graph decides of a config."""
    return build_graph(config).layers, config.output, config.input_normalization, config.num_speakers


def _layers_differing(one: ModelConfig, other: ModelConfig) -> str:
    # What layers do not decide is not compared.
    known = replace(one.generator, input_kind=other.generator.input_kind)
    return differences(ModelConfig(known), ModelConfig(other.generator))


def _describe(graph: Graph, voice: WholeVoice | None, *, is_run: bool) -> str:
    config = graph.config
    rates = ", ".join(map(str, config.upsample_rates))
    what = f"HiFi-GAN generator of {graph.parameter_count:,} parameters, rates {rates}"
    if voice is None:
        run = "onnxruntime runs the file itself, and native its weights" if is_run else "native runs its weights"
        return f"its layers are those of a {what}: engine {run}"
    takes = "mels of {} bands" if config.input_kind == "mel" else "latents of {} channels"
    speakers = f" and {config.num_speakers} speakers" if config.num_speakers else ""
    if config.flow is not None:
        return (
            f"{voice.name}; its flow of {config.flow.couplings} couplings and its decoder, a HiFi-GAN generator of "
            f"rates {rates}, have {graph.parameter_count:,} parameters, for {takes.format(config.num_mels)}{speakers}: "
            "they are read, and what comes before them stays in the file"
        )
    return (
        f"{voice.name}; its decoder is a {what}, for {takes.format(config.num_mels)}{speakers}: it alone is read, and "
        "what comes before it stays in the file"
    )
