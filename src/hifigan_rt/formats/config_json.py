"""The original's `config.json`: read into a `ModelConfig`, and written back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from hifigan_rt.config import PRESETS, GeneratorConfig, MelConfig, ModelConfig, PartialMelConfig
from hifigan_rt.errors import ConfigError
from hifigan_rt.formats.config_file import read_config_values
from hifigan_rt.formats.config_values import as_integer, as_number, describe, list_of, required
from hifigan_rt.formats.graph_fields import GRAPH_FIELDS, SPEAKERS, graph_fields, parse_graph_fields, parse_speakers


def _resblock(_: str, value: object) -> Literal["1", "2"]:
    if isinstance(value, bool) or value not in ("1", "2", 1, 2):
        raise ConfigError(f"resblock={value!r} must be '1' or '2'")
    return "1" if str(value)[:1] == "1" else "2"


def _numbers(name: str, value: object) -> tuple[float, ...] | None:
    if isinstance(value, list):
        return list_of(as_number)(name, value)
    return None if value is None else (as_number(name, value),)


def _number_or_none(name: str, value: object) -> float | None:
    return None if value is None else as_number(name, value)


def _as_it_is(_: str, value: Any) -> Any:
    """What the config itself judges."""
    return value


_NETWORK_READERS: Mapping[str, Callable[[str, object], Any]] = {
    "num_mels": as_integer,
    "upsample_initial_channel": as_integer,
    "upsample_rates": list_of(as_integer),
    "upsample_kernel_sizes": list_of(as_integer),
    "resblock": _resblock,
    "resblock_kernel_sizes": list_of(as_integer),
    "resblock_dilation_sizes": list_of(list_of(as_integer)),
}
NETWORK_FIELDS = tuple(_NETWORK_READERS)
"""Fields that describe the network."""
_FIXED_FIELDS: Mapping[str, tuple[object, ...]] = {
    "use_tanh_at_final": (True,), "activation": ("lrelu", "leaky_relu", "LeakyReLU"), "lrelu_slope": (0.1,),
    "activation_function": ("everyvoice.utils.original_hifigan_leaky_relu",),
}  # fmt: skip
"""Fields of relatives that the original has not and weights do not show, with the only values that are computed."""
MEL_FIELDS: Mapping[str, str] = {
    "sampling_rate": "sample_rate",
    "n_fft": "n_fft",
    "win_size": "win_length",
    "hop_size": "hop_length",
    "fmin": "fmin",
    "fmax": "fmax",
}
"""Mel settings in the words of the original's `config.json`, and of `MelConfig`."""
_MEL_NAMES = {attribute: name for name, attribute in MEL_FIELDS.items()}
_MEL_READERS: Mapping[str, Callable[[str, object], Any]] = {
    **dict.fromkeys(MEL_FIELDS, as_integer), "fmin": as_number, "fmax": _number_or_none,
    "log": _as_it_is, "floor": as_number, "magnitude_epsilon": as_number, "padding": _as_it_is, "norm": _as_it_is,
    "mean": _numbers, "scale": _numbers, "power": as_integer, "gain": as_number, "window": _as_it_is,
    "mel_scale": _as_it_is, "magnitude_floor": as_number, "ceiling": _number_or_none,
}  # fmt: skip
_OUR_MEL_FIELDS = (
    *(name for name in _MEL_READERS if name not in MEL_FIELDS), PartialMelConfig.UNSUPPORTED,
    PartialMelConfig.NORMALIZED,
)  # fmt: skip

_TELLING = frozenset((*NETWORK_FIELDS, *MEL_FIELDS)) - {"resblock", "num_mels", "fmin", "fmax"}

_MAX_TEXT = 100
_MAX_DEPTH = 4
"""Objects within objects that fields are looked for in."""


def read_mel_config(path: str | Path) -> MelConfig:
    """Read the mel settings of a `config.json` or a preset, for an analysis; a network need not stand there.

    Raises:
        ConfigError: no such file or preset, not JSON, or a field breaks a rule; or some of the settings are missing.
    """
    if str(path) in PRESETS:
        return cast("MelConfig", PRESETS[str(path)].mel)
    fields = stated_fields(read_config_values(path))
    try:
        if "upsample_rates" in fields:
            mel = parse_config(fields).mel
        else:
            hop_length, num_mels = (as_integer(name, required(fields, name)) for name in ("hop_size", "num_mels"))
            mel = _parse_mel(fields, hop_length, num_mels)
    except ConfigError as error:
        raise ConfigError(f"config {str(path)!r}: {error}") from error
    if isinstance(mel, MelConfig):
        return mel
    missing = PartialMelConfig.NEEDED if mel is None else mel.missing
    raise ConfigError(
        f"config {str(path)!r}: the mel settings must be known to analyse recordings; missing: {', '.join(missing)}"
    )


def parse_config(values: object) -> ModelConfig:
    """Build a `ModelConfig` from the decoded `config.json` of the original; training fields are ignored.

    What describes the network must be there; num_mels is 80, as in the original, where it is not. Of the mel settings
    any may be missing: they are None if none is stated, and a `PartialMelConfig` if an analysis needs more; what is
    stated must be right. Only `hop_size` follows from the network. Beside the original's fields, `log`, `floor`,
    `magnitude_epsilon`, `padding`, `norm`, `mean`, `scale`, `power`, `gain`, `window`, `mel_scale`, `magnitude_floor`
    and `ceiling` are read as `MelConfig` names them, `unsupported_mel` and `normalized` as `PartialMelConfig` does, and
    `GRAPH_FIELDS` as `GeneratorConfig` defines them.

    Raises:
        ConfigError: a field is missing, mistyped, out of range or contradicts another.
    """
    fields = stated_fields(values)
    beyond = parse_graph_fields(fields)
    stated = {"num_mels": 80} | fields
    network = {name: read(name, required(stated, name)) for name, read in _NETWORK_READERS.items()}
    generator = GeneratorConfig(**network, **beyond)
    for name, computed in _FIXED_FIELDS.items():
        if fields.get(name, computed[0]) not in computed:
            alone = " or ".join(map(str, computed))
            raise ConfigError(f"{name}={describe(fields[name])} is another network: {alone} alone is computed")
    mel = _parse_mel(fields, generator.hop_length, generator.input_channels)
    if generator.input_kind == "latent":
        mel = rate_alone(mel)
    return ModelConfig(generator, mel, isinstance(fields["resblock"], int), parse_speakers(fields))


def stated_fields(values: object) -> dict[str, Any]:
    """Collect the original's fields from a decoded config, also out of objects within it ("model", "audio", "data").

    A field nearer to the top counts before one further down.

    Raises:
        ConfigError: no object, or a field stands in two places of one depth with different values.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"a config must be a JSON object, this is {describe(values)}")
    found: dict[str, tuple[int, str, Any]] = {}
    places: dict[str, dict[Any, Any]] = {}
    for depth, place, fields in _objects(values):
        for name in (*NETWORK_FIELDS, *MEL_FIELDS):
            if name not in fields or isinstance(fields[name], dict):
                continue
            known = found.get(name)
            if known is not None and known[2] is not None and known[0] == depth and known[2] != fields[name]:
                raise ConfigError(
                    f"{name} is {describe(known[2])} in {known[1]} and {describe(fields[name])} in {place}: which of "
                    "them is the generator's? Give a config that holds one"
                )
            if known is None or (known[2] is None and fields[name] is not None):
                found[name] = depth, place, fields[name]
                places[name] = fields
    stated = {name: value for name, (_, _, value) in found.items()}
    # Their names are everyday words: only beside other mel settings do they mean these.
    for fields in [values, *(places[name] for name in MEL_FIELDS if name in places)]:
        stated |= {name: fields[name] for name in _OUR_MEL_FIELDS if name in fields and name not in stated}
    network = places.get("upsample_rates", values)
    stated |= {name: network[name] for name in _FIXED_FIELDS if name in network}
    stated |= {name: network[name] for name in (*GRAPH_FIELDS, SPEAKERS) if network.get(name) is not None}
    for name, value in stated.items():
        if name == SPEAKERS:
            continue
        if _is_deeper(value, _MAX_DEPTH):
            raise ConfigError(f"{name} holds more than {_MAX_DEPTH} lists within each other")
        if isinstance(value, str) and len(value) > _MAX_TEXT:
            raise ConfigError(f"{name} holds a text of {len(value)} characters: at most {_MAX_TEXT}")
    return stated


def _is_deeper(value: object, depth: int) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else None
    return items is not None and (depth == 0 or any(_is_deeper(item, depth - 1) for item in items))


def holds_network(values: object) -> bool:
    """Whether a decoded config describes a network in the original's fields, at any depth that is looked at."""
    return _holds(values, frozenset(("upsample_rates",)))


def holds_mel(values: object) -> bool:
    """Whether a decoded config states mel settings in the original's fields, at any depth that is looked at."""
    return _holds(values, frozenset(("sampling_rate", "n_fft", "win_size", "hop_size")))


def holds_fields(values: object) -> bool:
    """Whether any of the original's fields whose names mean nothing else stands in a decoded config, at any depth."""
    return _holds(values, _TELLING)


def _holds(values: object, names: frozenset[str]) -> bool:
    return isinstance(values, dict) and any(names.intersection(fields) for _, _, fields in _objects(values))


def _objects(values: dict[Any, Any]) -> Iterator[tuple[int, str, dict[Any, Any]]]:
    """The object and all within it, each once, with its depth and place; each depth before the next."""
    seen: set[int] = set()
    level = [("the top", values)]
    for depth in range(_MAX_DEPTH + 1):
        inner = []
        for place, fields in level:
            if id(fields) not in seen:
                seen.add(id(fields))
                yield depth, place, fields
                inner += [(repr(name), item) for name, item in fields.items() if isinstance(item, dict)]
        level = inner


def _parse_mel(fields: Mapping[str, Any], hop_length: int, num_mels: int) -> MelConfig | PartialMelConfig | None:
    # null says nothing, but for fmax: there it is half the sample rate.
    stated = [name for name in MEL_FIELDS if name in fields and (fields[name] is not None or name == "fmax")]
    if not stated:
        return None
    # What is missing is put where it contradicts nothing, so that what is stated is judged.
    known: dict[str, Any] = {"sampling_rate": 1 << 20, "n_fft": 1 << 20, "win_size": 1, "hop_size": hop_length}
    known |= {name: fields[name] for name in (*stated, *_OUR_MEL_FIELDS) if name in fields}
    read = {name: reader(name, known[name]) for name, reader in _MEL_READERS.items() if name in known}
    try:
        mel = MelConfig(num_mels=num_mels, **{MEL_FIELDS.get(name, name): value for name, value in read.items()})
    except ConfigError as error:
        attribute, equals, rest = str(error).partition("=")
        raise ConfigError(f"{_MEL_NAMES.get(attribute, attribute)}{equals}{rest}") from error
    unsupported = known.get(PartialMelConfig.UNSUPPORTED)
    if not (unsupported is None or isinstance(unsupported, str)):
        raise ConfigError(f"{PartialMelConfig.UNSUPPORTED}={describe(unsupported)} must be a text")
    told: dict[str, Any] = {} if unsupported is None else {PartialMelConfig.UNSUPPORTED: unsupported}
    if known.get(PartialMelConfig.NORMALIZED) is True and None in (mel.mean, mel.scale):
        told[PartialMelConfig.NORMALIZED] = True
    partial = PartialMelConfig({name: getattr(mel, MEL_FIELDS[name]) for name in stated} | _unusual_fields(mel) | told)
    return partial if partial.missing else mel


def config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """The config as the original's `config.json` holds it: what `parse_config` reads back to an equal config."""
    generator, mel = config.generator, config.mel
    fields: dict[str, Any] = {
        "resblock": generator.resblock,
        "upsample_rates": list(generator.upsample_rates),
        "upsample_kernel_sizes": list(generator.upsample_kernel_sizes),
        "upsample_initial_channel": generator.upsample_initial_channel,
        "resblock_kernel_sizes": list(generator.resblock_kernel_sizes),
        "resblock_dilation_sizes": [list(dilations) for dilations in generator.resblock_dilation_sizes],
        "num_mels": generator.num_mels,
    } | graph_fields(generator)
    if config.speakers:
        fields[SPEAKERS] = dict(config.speakers)
    if isinstance(mel, PartialMelConfig):
        fields |= mel.stated
    elif mel is not None:
        fields |= {name: getattr(mel, attribute) for name, attribute in MEL_FIELDS.items()} | _unusual_fields(mel)
    return fields


def rate_alone(mel: MelConfig | PartialMelConfig | None) -> PartialMelConfig | None:
    """What a decoder of latents keeps of mel settings: the sample rate."""
    rate = None if mel is None else mel.sample_rate
    return None if rate is None else PartialMelConfig({"sampling_rate": rate})


def known_mel_fields(mel: MelConfig | PartialMelConfig | None) -> dict[str, Any]:
    """What is known of the original's mel settings, by the names of `MelConfig`."""
    if isinstance(mel, PartialMelConfig):
        return {MEL_FIELDS[name]: value for name, value in mel.stated.items() if name in MEL_FIELDS}
    return {} if mel is None else {name: getattr(mel, name) for name in MEL_FIELDS.values()}


def _unusual_fields(mel: MelConfig) -> dict[str, Any]:
    """What departs from the original's recipe, as JSON holds it."""
    default = MelConfig(mel.sample_rate, mel.n_fft, mel.win_length, mel.hop_length, mel.num_mels)
    ours = [name for name in _OUR_MEL_FIELDS if hasattr(default, name)]
    values = {name: getattr(mel, name) for name in ours if getattr(mel, name) != getattr(default, name)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
