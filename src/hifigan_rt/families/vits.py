"""Configs of voices whose decoder is a HiFi-GAN generator: VITS and its relatives, Piper, VitsModel of transformers.

The decoder takes latents in place of mels. Its layers are the original's, `conv_post` without a bias. A voice of
several speakers adds `cond` of the speaker's vector, a row of `emb_g`, after the first layer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from hifigan_rt.config.ranges import MAX_HOP_LENGTH, MAX_STAGES
from hifigan_rt.errors import ConfigError
from hifigan_rt.families.coqui import COQUI_VOICE
from hifigan_rt.families.family import NOTES, ConfigForm, Family, Shapes
from hifigan_rt.families.parallel_wavegan_configs import is_espnet_voice, read_espnet_voice
from hifigan_rt.formats.config_json import stated_fields

_LATENT = {"input_kind": "latent"}
_LISTS = ("upsample_rates", "upsample_kernel_sizes", "resblock_kernel_sizes", "resblock_dilation_sizes")
_MAX_LIST_TEXT = 400
_ONE_SPEAKER = "has_one_speaker"
"""Field of a config that was read: it states at most one speaker, the file has no table of one, and then VITS gives its
decoder no vector."""
_VECTOR_SOURCES = frozenset(("emb_g", "enc_spk", "ref_enc"))
"""Parts of voices that give the decoder a vector all the same."""


def _inner(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = values.get(name)
    return inner if isinstance(inner, dict) else {}


def _speaker_ids(*candidates: object) -> dict[str, Any]:
    """The field of speakers' names, from the first of several values that names some."""
    for stated in candidates:
        if isinstance(stated, dict) and stated:
            return {"speaker_ids": stated}
        if isinstance(stated, list) and stated and all(isinstance(name, str) for name in stated):
            return {"speaker_ids": {name: row for row, name in enumerate(stated)}}
    return {}


def _tells_vits(values: Mapping[str, object]) -> bool:
    model = values.get("model")
    return isinstance(model, dict) and any(name in model for name in ("inter_channels", "n_flow_layer", "gin_channels"))


def _read_vits(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:
    model, data = _inner(values, "model"), _inner(values, "data")
    fields = stated_fields(dict(model)) | _LATENT
    if (channels := model.get("inter_channels")) is not None:
        fields["num_mels"] = channels
    # In the words of Amphion, Mimic 3 and VITS: the last counts.
    for place, name in (("preprocess", "sample_rate"), ("audio", "sample_rate"), ("data", "sampling_rate")):
        if (rate := _inner(values, place).get(name)) is not None:
            fields["sampling_rate"] = rate
    fields |= _rate_of_other_output(data, fields.get("upsample_rates"))
    n_speakers = data.get("n_speakers", model.get("n_speakers"))
    # Bert-VITS2 and Style-Bert-VITS2 have a table for one speaker too, and their decoder takes its row.
    if type(n_speakers) is int and (n_speakers < 1 or (n_speakers == 1 and "emb_g.weight" not in shapes)):
        fields[_ONE_SPEAKER] = True
    names = _names_of_table(shapes, data.get("spk2id"), values.get("speakers"), data.get("speakers"))
    fields |= names | {NOTES: (*fields.get(NOTES, ()), *names.get(NOTES, ()))}
    if model.get("zero_g") and "cond.weight" in shapes:
        # models.py of OpenVoice: SynthesizerTrn.voice_conversion.
        note = "zero_g is true: OpenVoice gives this decoder zeros, and a speaker's vector to its flow alone"
        fields[NOTES] = (*fields.get(NOTES, ()), note)
    return fields


def _rate_of_other_output(data: Mapping[str, Any], rates: object) -> dict[str, Any]:
    """Tell the sample rate of a decoder whose config states that of its frames' recordings alone (FreeVC at 24 kHz).

    A frame stands for `hop_length` samples at `sampling_rate`; where the decoder makes as many, the rates are one.
    """
    stages = rates if isinstance(rates, list) and len(rates) <= MAX_STAGES else [None]
    numbers = [data.get("sampling_rate"), data.get("hop_length"), *stages]
    if not all(type(number) is int and 0 < number <= MAX_HOP_LENGTH for number in numbers):
        return {}
    rate, hop, *factors = numbers
    samples = math.prod(factors)
    if samples == hop:
        return {}
    own = rate * samples / hop
    note = (
        f"sampling_rate={rate} with hop_length={hop} is of the recordings that frames come from; the decoder makes "
        f"{samples} samples of a frame, so that its audio has {own:g} Hz"
    )
    return {"sampling_rate": int(own) if own.is_integer() else None, NOTES: (note,)}


def _names_of_table(shapes: Shapes, *candidates: object) -> dict[str, Any]:
    """The speakers' names, where the file has a table of speakers; lists that are longer name some of no use."""
    if "emb_g.weight" not in shapes:
        return {}
    fields, n_rows = _speaker_ids(*candidates), shapes["emb_g.weight"][0]
    names = fields.get("speaker_ids", {})
    if any(isinstance(row, str) and re.fullmatch(r"\d{1,9}", row, re.ASCII) for row in names.values()):
        names = {name: int(row) if isinstance(row, str) and row.isdecimal() else row for name, row in names.items()}
        fields = {"speaker_ids": names, NOTES: ("the config has numbers of speakers as texts: read as numbers",)}
    is_list = len(names) > n_rows and any(isinstance(it, list) and len(it) == len(names) for it in candidates)
    if is_list and list(names.values()) == list(range(len(names))):
        kept = {name: row for name, row in names.items() if row < n_rows}
        note = f"the config lists {len(names)} speakers, the table has {n_rows}: the first {n_rows} names are taken"
        fields = {"speaker_ids": kept, NOTES: (note,)}
    return fields


def name_rvc_fields(values: object) -> object:
    """Give the list that RVC keeps as `config` in its voices the names of VITS; any other value stays.

    Its items are the arguments of SynthesizerTrnMs256NSFsid in models.py, in order, and the sample rate.
    """
    if not (isinstance(values, list) and len(values) == 18 and all(isinstance(values[i], list) for i in _RVC_LISTS)):
        return values
    model = {name: values[i] for i, name in {**_RVC_NUMBERS, **_RVC_LISTS}.items()}
    return {"model": model, "data": {"sampling_rate": values[17]}}


_RVC_NUMBERS = {2: "inter_channels", 9: "resblock", 13: "upsample_initial_channel", 16: "gin_channels"}
_RVC_LISTS = {
    10: "resblock_kernel_sizes", 11: "resblock_dilation_sizes", 12: "upsample_rates", 14: "upsample_kernel_sizes",
}  # fmt: skip


def _tells_piper_training(values: Mapping[str, object]) -> bool:
    return "num_symbols" in values and "upsample_rates" in values


def _read_piper_training(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:  # noqa: ARG001 - the config tells all
    fields: dict[str, Any] = {
        name: _list_of(name, values[name]) for name in _LISTS if values.get(name) is not None
    } | _LATENT
    names = {
        "resblock": "resblock",
        "upsample_initial_channel": "upsample_initial_channel",
        "num_mels": "inter_channels",
        "sampling_rate": "sample_rate",
    }
    return fields | {ours: values[theirs] for ours, theirs in names.items() if values.get(theirs) is not None}


def _list_of(name: str, value: object) -> object:
    """A list, also where it is the text of a tuple, as command lines leave it: "((1, 2), (2, 6))"."""
    if not isinstance(value, str):
        return value
    text = re.sub(r",\s*([\])])", r"\1", value[:_MAX_LIST_TEXT]).replace("(", "[").replace(")", "]")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}={value[:60]!r} must be a list of numbers") from error


def _tells_piper_voice(values: Mapping[str, object]) -> bool:
    return "phoneme_id_map" in values or ("espeak" in values and "audio" in values)


def _read_piper_voice(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:
    fields: dict[str, Any] = dict(_LATENT)
    if (rate := _inner(values, "audio").get("sample_rate")) is not None:
        fields["sampling_rate"] = rate
    return fields | _names_of_table(shapes, values.get("speaker_id_map"))


_VITS_MODEL_DEFAULTS = {
    "upsample_initial_channel": 512,
    "upsample_rates": [8, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 4, 4],
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "leaky_relu_slope": 0.1,
}
"""Defaults of configuration_vits.py; a config may leave out what equals them."""


def _tells_vits_model(values: Mapping[str, object]) -> bool:
    return values.get("model_type") == "vits" or values.get("architectures") == ["VitsModel"]


def _read_vits_model(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:  # noqa: ARG001 - the config tells all
    stated = {name: values[name] for name in _VITS_MODEL_DEFAULTS if values.get(name) is not None}
    fields: dict[str, Any] = {**_VITS_MODEL_DEFAULTS, **stated}
    fields |= {"resblock": "1", **_LATENT}
    if (rate := values.get("sampling_rate")) is not None:
        fields["sampling_rate"] = rate
    if (channels := values.get("flow_size")) is not None:
        fields["num_mels"] = channels
    return fields


VITS = ConfigForm("VITS", _tells_vits, _read_vits)
PIPER_TRAINING = ConfigForm("Piper's training", _tells_piper_training, _read_piper_training)
PIPER_VOICE = ConfigForm("Piper", _tells_piper_voice, _read_piper_voice)
"""What lies beside a voice as NAME.onnx.json: it tells sample rate and speakers, and no network."""
VITS_MODEL = ConfigForm("transformers' VitsModel", _tells_vits_model, _read_vits_model)

ESPNET_VOICE = ConfigForm("VITS of ESPnet or PaddleSpeech", is_espnet_voice, read_espnet_voice, ("config.yaml",))

_VOICE_FORMS = (VITS, PIPER_TRAINING, PIPER_VOICE, VITS_MODEL, COQUI_VOICE, ESPNET_VOICE)


def voice_family(family: Family, parts: Collection[str] = ()) -> Family:
    """The family of a voice's decoder, which takes latents, and comes with a config of the whole voice.

    Args:
        family: of the decoder's names.
        parts: what of the voice lies beside it.
    """

    def imply(fields: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:
        without = {} if "conv_post.bias" in shapes else {"layers_without_bias": ["conv_post"]}
        implied = {**without, **_LATENT, **family.imply(fields, shapes)}
        if fields.get(_ONE_SPEAKER) and "cond.weight" in shapes and _VECTOR_SOURCES.isdisjoint(parts):
            note = "cond is not used: the config states at most one speaker, and VITS then gives its decoder no vector"
            implied |= {"conditioned_layers": [], "conditioning_channels": 0, NOTES: (note,)}
        return implied

    return replace(
        family,
        imply=imply,
        config_forms=(*_VOICE_FORMS, *family.config_forms),
        buffers=family.buffers | {"cond.weight", "cond.bias"},
    )
