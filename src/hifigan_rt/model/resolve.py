"""Finds what a user names as a model: a known name, a checkpoint, a folder or a converted file, with its config."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from hifigan_rt.config import PRESETS, MelConfig, ModelConfig
from hifigan_rt.errors import (
    CheckpointError,
    ConfigError,
    HifiganError,
    ModelAssumptionWarning,
    ModelFileError,
    ModelNotFound,
    WeightMismatch,
    did_you_mean,
)
from hifigan_rt.families import read_checkpoint, recognise
from hifigan_rt.families.family import Family, Shapes
from hifigan_rt.families.other_networks import describe_parts_beyond
from hifigan_rt.families.program_code import ProgramFacts, read_program
from hifigan_rt.families.vits import voice_family
from hifigan_rt.formats.checkpoint.reader import Checkpoint
from hifigan_rt.graph import SPEAKER_TABLE, Generator, Graph, bind, build_graph
from hifigan_rt.model.arguments import check_config, check_name, check_text
from hifigan_rt.model.config_remarks import describe_input, describe_odd_stages, describe_voice
from hifigan_rt.model.config_search import ConfigSearch, config_for_converted, describe_others
from hifigan_rt.model.flow import add_flow
from hifigan_rt.model.folders import choose_in_folder, refuse_index, refuse_part, refuse_unzipped
from hifigan_rt.model.kinds import Model, OmFile, OnnxFile, OpenVinoFile, Weights
from hifigan_rt.model.own_configs import find_configs
from hifigan_rt.model.pretrained import KNOWN_MODELS, locate_pretrained, verify_pretrained
from hifigan_rt.system.callers import warn_caller
from hifigan_rt.system.files import file_sha256, is_there


def resolve_model(
    name: str | Path,
    config: str | Path | None = None,
    weights_at: str | None = None,
    family: str | None = None,
    *,
    with_flow: bool = False,
) -> Model:
    """Read a model with its config.

    Args:
        name: `ljspeech-v1`, `universal-v1`, a checkpoint file, an ONNX file, the .xml of an OpenVINO IR, an Ascend .om
            file, or a folder that holds one of them.
        config: a `config.json` or a preset (v1, v2, v3); None looks for `config.json` beside the file (for an .om file,
            at its record first), then into the file, then for one other JSON or YAML file beside it that fits, then
            takes a preset's rates and dilations if all that the weights decide equals it.
        weights_at: where in a checkpoint with several generators the wanted one is: keys with dots between, as in
            `generator_ema` or `state_dict.ema`; "." is the top level. By default the only one is taken.
        family: key of the project whose reading of a checkpoint is wanted, where its tensors' names leave several:
            `parallel-wavegan` for weights of an odd rate that were renamed as the original's.
        with_flow: whether the flow of a voice is wanted in front of its decoder, so that the model takes the latents
            that the voice's text part gives; of an ONNX file, `model.voice.latents` then names them.

    Raises:
        ModelNotFound: nothing of that name.
        ModelFileError: the file cannot be read or does not fit its config.
        ConfigError: the config cannot be read, contradicts itself or the weights.

    Warns:
        ModelAssumptionWarning: something that the audio depends on was assumed, or can be read in two ways.
    """
    model = _resolve(name, config, weights_at, family, with_flow=with_flow)
    for text in model.doubts if isinstance(model, Weights) else ():
        warn_caller(text, ModelAssumptionWarning)
    return model


def _resolve(
    name: str | Path, config: str | Path | None, weights_at: str | None, family: str | None, *, with_flow: bool
) -> Model:
    check_name(name)
    check_config(config)
    for option, value in (("weights_at", weights_at), ("family", family)):
        check_text(option, value)
    text = str(name)
    if text in KNOWN_MODELS:
        if with_flow:
            raise ModelFileError(f"{text!r} is a vocoder alone: no flow of a voice is in it")
        return _known(text, config, weights_at, family)
    path = Path(name)
    notes: tuple[str, ...] = ()
    try:
        refuse_unzipped(path)
        if path.is_dir():
            refuse_part(path)
            path, notes = choose_in_folder(path)
        if not is_there(path):
            raise ModelNotFound(_not_found(text))
        refuse_index(path)
        refuse_part(path)
    except OSError as error:  # a name too long, a folder that may not be read
        raise ModelNotFound(f"model {text[:200]!r} cannot be looked up: {error.strerror}") from error
    read_converted = _reader_of_converted(path)
    if read_converted is None:
        return _from_checkpoint(text, path, config, notes, weights_at, family, with_flow=with_flow)
    for option, value in (("weights_at", weights_at), ("family", family)):
        if value is not None:
            raise ModelFileError(f"{option}={value!r} is for checkpoints, and {text!r} is a converted model")
    if with_flow and read_converted is _from_onnx:
        return _from_onnx(text, path, config, notes, with_flow=True)
    if with_flow:
        raise ModelFileError(f"{text!r} is a converted model that holds no voice: an ONNX file or a checkpoint does")
    return read_converted(text, path, config, notes)


def _reader_of_converted(
    path: Path,
) -> Callable[[str, Path, str | Path | None, tuple[str, ...]], Model] | None:
    if _is_om(path):
        return _from_om
    if path.suffix.lower() == ".onnx":
        return _from_onnx
    if path.suffix.lower() == ".xml":
        return _from_openvino
    return None


def _known(name: str, config: str | Path | None, weights_at: str | None, family: str | None) -> Weights:
    path = locate_pretrained(name)
    try:
        # The config.json in that package is the original V1 config; the preset is the same, without reading a file.
        model = _from_checkpoint(name, path, config or "v1", (), weights_at, family)
    except HifiganError:
        # What is said of an altered file is no help.
        verify_pretrained(name, path, file_sha256(path))
        raise
    verify_pretrained(name, path, model.sha256)
    return model


def _from_checkpoint(
    name: str,
    path: Path,
    config: str | Path | None,
    notes: tuple[str, ...],
    weights_at: str | None,
    family_key: str | None,
    *,
    with_flow: bool = False,
) -> Weights:
    checkpoint, weights, family = read_tensors(path, weights_at, family_key, with_flow=with_flow)
    with _naming_other_networks(path, checkpoint.weights):
        notes += checkpoint.notes
        shapes = {key: tuple(array.shape) for key, array in weights.items()}
        facts = _facts_of_program(checkpoint, family, shapes)
        family = family.knowing(facts.fields, "the archive's code")
        search = ConfigSearch(family, shapes, path, find_configs(checkpoint), checkpoint.statistics)
        settled = search.settle(config)
        doubts = settled.assumptions + facts.doubts
        if family_key is None and settled.form is None:
            # Else it is said whose reading is right.
            doubts += describe_odd_stages(settled.config.generator)
        notes += settled.notes + doubts
        notes += describe_voice(checkpoint.voice)
        if settled.config.mel is not None or not settled.assumptions:
            # Else what was assumed says it.
            notes += describe_input(settled.config)
        told = settled.config
        if with_flow:
            told = replace(told, generator=add_flow(told.generator, checkpoint, weights))
        generator = bind_tensors(build_graph(told.generator), weights, family, path)
    assumptions = settled.assumptions
    return Weights(
        name, path, checkpoint.format, generator, told.mel, notes, weights_at, assumptions, doubts, told.speakers,
        settled.form or family.name, checkpoint.voice, family_key,
    )  # fmt: skip


def bind_tensors(graph: Graph, weights: Mapping[str, np.ndarray], family: Family, path: Path) -> Generator:
    """Join a graph with the tensors of a file, less what files of the family hold whether it is used or not.

    Raises:
        WeightMismatch, CheckpointError: see `hifigan_rt.graph.bind`.
    """
    unused = family.buffers.difference(graph.weight_shapes())
    used = {name: array for name, array in weights.items() if name not in unused}
    return bind(graph, used, f"the weights are those of {str(path)!r}")


def read_tensors(
    path: Path, weights_at: str | None, family_key: str | None = None, *, with_flow: bool = False
) -> tuple[Checkpoint, dict[str, np.ndarray], Family]:
    """Read a checkpoint.

    Args:
        path: the file.
        weights_at: as for `resolve_model`.
        family_key: its `family`.
        with_flow: whether the flow of a voice is wanted: the checkpoint then has it.

    Returns:
        The file as it is; its tensors under the original's names; and the family, which the names tell before a
        config is read: each family has its own form of config.

    Raises:
        CheckpointError: it cannot be read, or holds no generator.
        ConfigError: the family is not known, or has other names for its tensors.
    """
    checkpoint = read_checkpoint(path, weights_at, with_flow=with_flow)
    family = recognise(checkpoint.weights, family_key)
    with _naming_other_networks(path, checkpoint.weights):
        names = _canonical_names(checkpoint, family)
        weights = {names[key]: array for key, array in checkpoint.weights.items()}
        voice = checkpoint.voice
        return checkpoint, weights, family if voice is None else voice_family(family, voice.parts)


def _canonical_names(checkpoint: Checkpoint, family: Family) -> dict[str, str]:
    """The original's names by those in the file; the table of speakers, which lies beside a decoder, has its own."""
    own = family.rename([name for name in checkpoint.weights if name != SPEAKER_TABLE])
    return {**own, SPEAKER_TABLE: SPEAKER_TABLE}


def _facts_of_program(checkpoint: Checkpoint, family: Family, shapes: Shapes) -> ProgramFacts:
    if checkpoint.code is None:
        return ProgramFacts({})
    layers = {
        theirs.removesuffix(".weight"): ours.removesuffix(".weight")
        for theirs, ours in _canonical_names(checkpoint, family).items()
        if len(shapes.get(ours, ())) == 3
    }
    facts = read_program(checkpoint.code, layers, shapes)
    # What surrounds the decoder of a voice is the voice, which is said.
    return facts if checkpoint.voice is None else replace(facts, doubts=())


def read_generator(model: Weights) -> Generator:
    """Read a model's weights again.

    Raises:
        ModelFileError: they cannot be read, or do not fit any more.
    """
    with_flow = model.graph.config.flow is not None
    if model.path.suffix.lower() == ".onnx":
        from hifigan_rt.model.onnx_weights import read_onnx_weights

        return bind(model.graph, read_onnx_weights(model.path, with_flow=with_flow))
    checkpoint, tensors, family = read_tensors(model.path, model.weights_at, model.family_key, with_flow=with_flow)
    if with_flow:
        add_flow(replace(model.graph.config, flow=None), checkpoint, tensors)
    return bind_tensors(model.graph, tensors, family, model.path)


@contextmanager
def _naming_other_networks(path: Path, weights: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Put the file's name into what is said of weights, and the network's if they are another one's."""
    try:
        yield
    except (CheckpointError, ConfigError) as error:
        other = describe_parts_beyond({name: tuple(array.shape) for name, array in weights.items()})
        if isinstance(error, WeightMismatch):
            if other is None:
                raise
            raise WeightMismatch(
                error.missing, error.unexpected, error.misshapen, f"{str(path)!r} seems to be {other}"
            ) from error
        if other is not None:
            # No config would make it run.
            reason = f"; {error}" if isinstance(error, CheckpointError) else ""
            raise CheckpointError(
                f"{str(path)!r} seems to be {other}: it is not run without those parts{reason}"
            ) from error
        if isinstance(error, CheckpointError):
            raise CheckpointError(f"{str(path)!r}: {error}") from error
        raise


def _from_onnx(
    name: str, path: Path, config: str | Path | None, notes: tuple[str, ...], *, with_flow: bool = False
) -> OnnxFile | Weights:
    from hifigan_rt.formats.onnx_reading import open_onnx
    from hifigan_rt.model.onnx_weights import as_weights, search

    with open_onnx(path) as (info, nodes):
        found, unread = search(nodes, with_flow=with_flow)
    if found is None and with_flow:
        raise ModelFileError(f"{str(path)!r} holds no voice with a flow that is known: {unread}")
    if found is not None:
        return as_weights(name, path, config, notes, info, found)
    stated = config_for_converted(path, config, info.num_mels, info.config)
    known, num_mels, remarks = _config_of_file(path, stated, info.config, info.metadata, info.num_mels)
    notes += (unread, *remarks)
    return OnnxFile(name, path, "onnx", known, num_mels, not info.is_ours, notes, info.external_files, unread=unread)


def _from_openvino(name: str, path: Path, config: str | Path | None, notes: tuple[str, ...]) -> OpenVinoFile:
    from hifigan_rt.formats.openvino_reading import inspect_openvino

    info = inspect_openvino(path)
    stated = config_for_converted(path, config, info.num_mels, info.config)
    known, num_mels, remarks = _config_of_file(path, stated, info.config, info.metadata, info.num_mels)
    form = f"openvino ({info.precision} weights)"
    weights = (info.weights_path,) if info.weights_path.exists() else ()
    return OpenVinoFile(name, path, form, known, num_mels, not info.is_ours, notes + remarks, weights)


def _config_of_file(
    path: Path, stated: ModelConfig | None, own: ModelConfig | None, metadata: Mapping[str, str], num_mels: int | None
) -> tuple[ModelConfig | None, int | None, tuple[str, ...]]:
    """The config of a converted file, held against what the file says of itself, its mel bands, and remarks.

    Args:
        path: the file.
        stated: the config that the user named, or that lies beside the file.
        own: what this package wrote into the file or beside it; its layers are those of the weights.
        metadata: the entries of the file, whoever wrote them.
        num_mels: bands of the input, if it tells.
    """
    from hifigan_rt.formats.onnx_metadata import contradictions

    if stated is None:
        stated = own
    if stated is None:
        return None, num_mels, describe_others(path)
    if num_mels not in (None, stated.generator.input_channels):
        raise ConfigError(
            f"num_mels: the config says {stated.generator.input_channels}, the input of {str(path)!r} has {num_mels} "
            "bands: give the right config with --config"
        )
    if found := contradictions(metadata, stated):
        raise ConfigError(
            f"the config is not that of {str(path)!r}: {'; '.join(found)}: give the file's own with --config"
        )
    remarks: tuple[str, ...] = ()
    if own is not None:
        if own.generator != stated.generator:
            remarks = ("the config says other layers than the file, which has those of its weights: they are taken",)
        fuller = stated.mel if isinstance(stated.mel, MelConfig) else own.mel or stated.mel
        stated = ModelConfig(own.generator, fuller, speakers=own.speakers or stated.speakers)
    return stated, stated.generator.input_channels, describe_input(stated) + remarks


def _is_om(path: Path) -> bool:
    """Whether a file is an .om, by its content or by its name, so that a damaged one is reported as an .om."""
    from hifigan_rt.formats.checkpoint.byte_source import open_source
    from hifigan_rt.formats.om_file import is_om

    if path.suffix.lower() == ".om":
        return True
    try:
        with open_source(path) as source:
            return is_om(source)
    except ModelFileError:
        return False  # told by the reader of checkpoints


def _from_om(name: str, path: Path, config: str | Path | None, notes: tuple[str, ...]) -> OmFile:
    from hifigan_rt.formats.om_file import read_om
    from hifigan_rt.formats.om_record import read_record
    from hifigan_rt.formats.onnx_metadata import build_metadata

    info = read_om(path)
    record = read_record(path)
    own = None if record is None else record.config
    said = {} if own is None else build_metadata(own, "")
    shapes = [tensor.shape for tensor in info.inputs]
    num_mels = shapes[0][1] if len(shapes) == 1 and len(shapes[0]) in (3, 4) and shapes[0][1] > 0 else None
    stated = own if config is None and own is not None else config_for_converted(path, config, num_mels, own)
    known, num_mels, remarks = _config_of_file(path, stated, own, said, num_mels)
    if info.caveat:
        notes += (f"this .om says of itself: {info.caveat}",)
    if known is None:
        notes += ("no record lies beside this .om, and no config.json: give --config for mels and lengths",)
    form = f"om ({info.caveat})" if info.caveat else "om"
    return OmFile(name, path, form, known, num_mels, own is None, notes + remarks)


def _not_found(text: str) -> str:
    if text in PRESETS:
        return f"model {text!r} is a config preset, not a model: name a checkpoint and give --config {text}"
    if "\0" not in text and Path(text).is_symlink():  # as in a cache of Hugging Face, after its file was removed
        return f"model {text!r} is a link to {str(Path(text).readlink())!r}, which leads to no file: download it again"
    known = ", ".join(KNOWN_MODELS)
    return f"model {text!r} is neither a file, nor a folder, nor one of {known}{did_you_mean(text, KNOWN_MODELS)}"
