"""Configs of ParallelWaveGAN, ESPnet and PaddleSpeech: their generators' parameters are the same, all else is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hifigan_rt.config import PartialMelConfig
from hifigan_rt.errors import ConfigError
from hifigan_rt.families.family import Shapes
from hifigan_rt.formats.config_values import as_number, describe

MEL: Mapping[str, Any] = {
    "log": "log10",
    "floor": 1e-10,
    "magnitude_epsilon": 0.0,
    "padding": "center",
    PartialMelConfig.NORMALIZED: True,
}
"""The mel convention that the three share, as fields of our own `config.json`."""

_NETWORK = {
    "num_mels": "in_channels",
    "upsample_initial_channel": "channels",
    "upsample_rates": "upsample_scales",
    "upsample_kernel_sizes": "upsample_kernel_sizes",
    "resblock_kernel_sizes": "resblock_kernel_sizes",
    "resblock_dilation_sizes": "resblock_dilations",
    "conv_pre_kernel_size": "kernel_size",
    "conv_post_kernel_size": "kernel_size",
}
_DEFAULTS: Mapping[str, Any] = {
    "upsample_scales": [8, 8, 2, 2],
    "resblock_dilations": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
}
"""Defaults of the module that leave no trace in weights (hifigan.py: HiFiGANGenerator.__init__)."""
_PADDLE_DEFAULTS: Mapping[str, Any] = {**_DEFAULTS, "upsample_scales": [5, 5, 4, 3]}
_HOP_OF_ESPNET = 256
_WORD = re.compile(r"(\d{1,9})([kK]?)")


def is_parallel_wavegan(values: Mapping[str, object]) -> bool:
    """Tell a config of ParallelWaveGAN."""
    return ("generator_params" in values and not is_paddlespeech(values)) or "generator_type" in values


def read_parallel_wavegan(values: Mapping[str, Any], shapes: Shapes, *, causal: bool) -> Mapping[str, Any]:
    """Read a config.yml of ParallelWaveGAN."""
    kind = values.get("generator_type", "HiFiGANGenerator")
    if kind != "HiFiGANGenerator":
        raise ConfigError(f"generator_type={str(kind)[:60]!r} is another network of ParallelWaveGAN: no HiFi-GAN")
    params = {
        str(name).replace("upsample_kernal_sizes", "upsample_kernel_sizes"): value
        for name, value in _mapping(values, "generator_params").items()
    }
    stated = params.get("use_causal_conv", False)
    if bool(stated) != causal:
        raise ConfigError(
            f"use_causal_conv={stated}, and the weights are {'' if causal else 'not '}named as those of causal layers: "
            "config and checkpoint are not of one model"
        )
    names = {
        "sampling_rate": "sampling_rate", "n_fft": "fft_size", "hop_size": "hop_size", "fmin": "fmin", "fmax": "fmax",
        "win_size": "win_length",
    }  # fmt: skip
    mel = _mel(values, names, values.get("window", "hann"))
    if mel and "log_base" in values:
        mel |= _logarithm(values["log_base"])
    if mel and isinstance(values.get("eps"), float):
        mel["floor"] = values["eps"]
    if mel and values.get("sampling_rate_for_feats") not in (None, values.get("sampling_rate")):
        mel["unsupported_mel"] = f"sampling_rate_for_feats={str(values['sampling_rate_for_feats'])[:20]}"
    return _generator(params, shapes, _DEFAULTS, every_layer=True) | mel


def statistics_of_parallel_wavegan(values: Mapping[str, object]) -> tuple[str, ...]:
    """Name the files of statistics, as load_model of parallel_wavegan/utils/utils.py does by the format of the dump."""
    return ("stats.npy", "stats.h5") if values.get("format") == "npy" else ("stats.h5", "stats.npy")


def is_paddlespeech(values: Mapping[str, object]) -> bool:
    """Tell a config of PaddleSpeech."""
    return "generator_params" in values and ("n_shift" in values or "fs" in values) and "generator_type" not in values


def read_paddlespeech(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:
    """Read a default.yaml of PaddleSpeech."""
    params = _mapping(values, "generator_params")
    if params.get("use_istft"):
        raise ConfigError("use_istft is true: a generator with an inverse STFT at its end, which is not computed")
    names = {
        "sampling_rate": "fs", "n_fft": "n_fft", "hop_size": "n_shift", "fmin": "fmin", "fmax": "fmax",
        "win_size": "win_length",
    }  # fmt: skip
    return _generator(params, shapes, _PADDLE_DEFAULTS) | _mel(values, names, values.get("window", "hann"))


def is_espnet(values: Mapping[str, object]) -> bool:
    """Tell a config of ESPnet."""
    return "tts_conf" in values or "vocoder_params" in values


def read_espnet(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:
    """Read a config.yaml of ESPnet, of a model that text and vocoder were trained in together."""
    conf = _mapping(values, "tts_conf") if "tts_conf" in values else values
    kind = conf.get("vocoder_type", "hifigan_generator")
    if kind != "hifigan_generator" or "vocoder_params" not in conf:
        raise ConfigError(
            f"tts={str(values.get('tts'))[:40]!r} with vocoder_type={str(conf.get('vocoder_type'))[:40]!r}: a "
            "joint_text2wav with a hifigan_generator is needed, whose vocoder_params tell the network"
        )
    if conf.get("use_pqmf"):
        raise ConfigError("use_pqmf is true: a generator of several bands, which a filter bank (PQMF) joins")
    return _generator(_mapping(conf, "vocoder_params"), shapes, _DEFAULTS) | _mel_of_espnet(values)


def is_espnet_voice(values: Mapping[str, object]) -> bool:
    """Tell a config of ESPnet or PaddleSpeech for a VITS, of which the generator is the decoder."""
    conf, model = values.get("tts_conf"), values.get("model")
    is_paddle = isinstance(model, dict) and model.get("generator_type") == "vits_generator"
    return is_paddle or (isinstance(conf, dict) and values.get("tts") == "vits")


def read_espnet_voice(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:
    """Read such a config: the parameters that begin with `decoder_` are the generator's."""
    conf = _mapping(values, "tts_conf" if "tts_conf" in values else "model")
    kind = conf.get("generator_type", "vits_generator")
    if kind != "vits_generator":
        raise ConfigError(f"generator_type={str(kind)[:60]!r} is another voice of ESPnet: vits_generator alone is read")
    stated = conf.get("generator_params")
    given = stated if isinstance(stated, dict) else {}
    params = {
        str(name).removeprefix("decoder_"): value for name, value in given.items() if str(name).startswith("decoder_")
    }
    fields = _generator(params, shapes, _DEFAULTS) | {"input_kind": "latent"}
    if "hidden_channels" in given:
        fields["num_mels"] = given["hidden_channels"]
    rate = conf.get("sampling_rate")
    return fields if rate is None else fields | {"sampling_rate": rate}


def statistics_of_espnet(values: Mapping[str, object]) -> tuple[str, ...]:
    """Name the file of statistics that the config names."""
    conf = values.get("normalize_conf")
    stated = conf.get("stats_file") if isinstance(conf, dict) else None
    return (stated,) if isinstance(stated, str) else ("feats_stats.npz",)


def _mel_of_espnet(values: Mapping[str, Any]) -> dict[str, Any]:
    if values.get("feats_extract", "fbank") != "fbank":
        return {}
    conf = values.get("feats_extract_conf")
    conf = dict(conf) if isinstance(conf, dict) else {}
    if isinstance(conf.get("fs"), str) and (match := _WORD.fullmatch(conf["fs"])):
        conf["fs"] = int(match[1]) * (1000 if match[2] else 1)
    names = {
        "sampling_rate": "fs", "n_fft": "n_fft", "hop_size": "hop_length", "fmin": "fmin", "fmax": "fmax",
        "win_size": "win_length",
    }  # fmt: skip
    # The defaults of espnet2/tts/feats_extract/log_mel_fbank.py.
    mel = _mel(
        {"n_fft": 1024, "hop_length": _HOP_OF_ESPNET, "fmin": 80, "fmax": 7600} | conf,
        names,
        conf.get("window", "hann"),
    )
    if not mel:
        return {}
    mel["magnitude_floor"] = 1e-5
    if conf.get("htk"):
        mel["mel_scale"] = "htk"
    if "log_base" in conf:
        mel |= _logarithm(conf["log_base"])
    other = [name for name, usual in (("center", True), ("normalized", False)) if conf.get(name, usual) != usual]
    norms = values.get("normalize_conf")
    norms = norms if isinstance(norms, dict) else {}
    other += [name for name in ("norm_means", "norm_vars") if norms.get(name, True) is not True]
    if values.get("normalize", "global_mvn") not in (None, "global_mvn"):
        other.append("normalize")
    if other:
        mel["unsupported_mel"] = f"another {' and '.join(other)}"
    mel[PartialMelConfig.NORMALIZED] = values.get("normalize", "global_mvn") is not None
    return mel


def _generator(
    params: Mapping[str, Any], shapes: Shapes, defaults: Mapping[str, Any], *, every_layer: bool = False
) -> dict[str, Any]:
    """The network by the parameters of `HiFiGANGenerator`.

    Args:
        every_layer: whether `bias` is that of every layer, or of residual blocks alone.
    """
    bands = params.get("out_channels", 1)
    if bands != 1:
        raise ConfigError(
            f"out_channels={str(bands)[:20]}: a generator of several bands, which a filter bank (PQMF) joins: one "
            "alone is computed"
        )
    complete = {**defaults, **params}
    fields = {ours: complete[theirs] for ours, theirs in _NETWORK.items() if complete.get(theirs) is not None}
    fields["resblock"] = "1" if params.get("use_additional_convs", True) else "2"
    _check_kernels(fields)
    if params.get("bias", True) is False:
        layers = [name.removesuffix(".weight") for name in shapes if name.endswith(".weight") and name != "cond.weight"]
        fields["layers_without_bias"] = [layer for layer in layers if every_layer or layer.startswith("resblocks.")]
    else:
        fields["layers_without_bias"] = []
    return fields | {"leaky_relu_slope": _slope(params)}


def _check_kernels(fields: Mapping[str, Any]) -> None:
    rates, kernels = fields.get("upsample_rates"), fields.get("upsample_kernel_sizes")
    if not (isinstance(rates, list) and isinstance(kernels, list)):
        return
    pairs = [(rate, kernel) for rate, kernel in zip(rates, kernels, strict=False) if isinstance(rate, int)]
    odd = [f"{kernel} for {rate}" for rate, kernel in pairs if kernel != 2 * rate]
    if odd:
        raise ConfigError(
            f"upsample_kernel_sizes must be twice upsample_scales, as the project's code has it, and are "
            f"{', '.join(odd)[:80]}"
        )


def _slope(params: Mapping[str, Any]) -> object:
    stated = params.get("nonlinear_activation", "LeakyReLU")
    name = str(stated).lower().replace("_", "")
    if name not in ("relu", "leakyrelu"):
        raise ConfigError(f"nonlinear_activation={str(stated)[:40]!r}: LeakyReLU and ReLU are computed")
    own = params.get("nonlinear_activation_params", {"negative_slope": 0.1})
    if not isinstance(own, dict):
        raise ConfigError(f"nonlinear_activation_params={describe(own)}: a mapping is needed, {{}} for the defaults")
    if own.get("inplace"):
        raise ConfigError(
            "nonlinear_activation_params has inplace: true: residual blocks then add to the activated values in place "
            "of their input, which is another network and is not computed"
        )
    known = ("inplace",) if name == "relu" else ("negative_slope", "inplace")
    others = [field for field in own if field not in known]
    if others:
        raise ConfigError(f"nonlinear_activation_params has {str(others)[1:-1][:60]}, which {stated} has not")
    if name == "relu":
        return 0.0
    # PyTorch's default, and Paddle's.
    return as_number("nonlinear_activation_params.negative_slope", own.get("negative_slope", 0.01))


def _mel(values: Mapping[str, Any], names: Mapping[str, str], window: object) -> dict[str, Any]:
    """The mel settings under such names, in the convention of the three; empty if the sample rate is not stated."""
    if values.get(names["sampling_rate"]) is None:
        return {}
    fields = {ours: values[theirs] for ours, theirs in names.items() if theirs in values}
    # An unstated window is as long as the transform, limits that are null are 0 and half the sample rate.
    if fields.get("win_size") is None:
        fields["win_size"] = fields.get("n_fft")
    if fields.get("fmin", 0) is None:
        fields["fmin"] = 0
    fields = {name: value for name, value in fields.items() if value is not None or name == "fmax"}
    if window != "hann":
        fields["unsupported_mel"] = f"the window {str(window)[:40]!r}"
    return fields | dict(MEL)


def _logarithm(base: object) -> dict[str, Any]:
    known = {None: "ln", 2: "log2", 10: "log10"}
    if isinstance(base, (list, dict)) or base not in known:
        return {"unsupported_mel": f"a logarithm of base {str(base)[:20]}"}
    return {"log": known[base]}


def _mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    if not isinstance(found, dict):
        raise ConfigError(f"{name} is {type(found).__name__}: a mapping is needed")
    return found
