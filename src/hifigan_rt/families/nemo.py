"""NeMo's configs of HiFi-GAN: `model_config.yaml` of a .nemo file, or the YAML of a training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hifigan_rt.errors import ConfigError
from hifigan_rt.families.config_fields import as_mapping, resolve_interpolations, take_fields
from hifigan_rt.families.family import ConfigForm, Shapes

_NAMES = {
    "num_mels": "initial_input_size",
    "upsample_initial_channel": "upsample_initial_channel",
    "upsample_rates": "upsample_rates",
    "upsample_kernel_sizes": "upsample_kernel_sizes",
    "resblock_kernel_sizes": "resblock_kernel_sizes",
    "resblock_dilation_sizes": "resblock_dilation_sizes",
}
_MEL_NAMES = {
    "sampling_rate": "sample_rate",
    "n_fft": "n_fft",
    "win_size": "n_window_size",
    "hop_size": "n_window_stride",
    "fmin": "lowfreq",
    "fmax": "highfreq",
}
_GENERATOR = "nemo.collections.tts.modules.hifigan_modules.Generator"
_USUAL = {
    "window": "hann", "normalize": None, "preemph": None, "frame_splicing": 1, "log": True, "exact_pad": True,
}  # fmt: skip
"""Arguments of NeMo's FilterbankFeatures of which one value is computed here."""
_DEFAULTS = {"window": "hann", "normalize": "per_feature", "preemph": 0.97, "frame_splicing": 1, "log": True,
             "exact_pad": False}  # fmt: skip
"""Its defaults, which are those for recognising speech (nemo/collections/asr/parts/preprocessing/features.py)."""
_GUARD = 2.0**-24
_GUARD_OF_GRADIENTS = 1e-5
"""What `use_grads` adds to the squared magnitudes (CONSTANT there)."""
_ZEROS_SINCE = (2, 5)
"""NeMo's version from which on it pads with zeros before the analysis; it reflected before."""


def _tells(values: Mapping[str, object]) -> bool:
    return _is_model(values) or _place(values) is not None


def _place(values: Mapping[str, object]) -> str | None:
    """Name of the field with the model: `model` in the YAML of a training, `cfg` in the hyperparameters of a .ckpt."""
    return next((name for name in ("model", "cfg") if _is_model(values.get(name))), None)


def _is_model(values: Any) -> bool:
    if not isinstance(values, dict):
        return False
    generator, preprocessor = values.get("generator"), values.get("preprocessor")
    return (
        isinstance(preprocessor, dict)
        and ("n_window_stride" in preprocessor or str(preprocessor.get("_target_", "")).startswith("nemo."))
    ) or (isinstance(generator, dict) and str(generator.get("_target_", "")).startswith("nemo."))


def _read(values: Mapping[str, Any], shapes: Shapes) -> Mapping[str, Any]:  # noqa: ARG001 - the config tells all
    model = values if _is_model(values) else as_mapping(values, _place(values) or "model")
    around = (values,) if model is values else (values, model)
    generator = resolve_interpolations(as_mapping(model, "generator"), *around)
    target = generator.get("_target_", _GENERATOR)
    if target != _GENERATOR:
        raise ConfigError(f"its generator is {str(target)[:100]!r}: {_GENERATOR} alone is a HiFi-GAN's")
    fields = take_fields(generator, _NAMES, needed=("upsample_rates", "resblock_dilation_sizes"))
    # NeMo compares with the number 1: a text builds type 2 there.
    fields["resblock"] = "1" if generator.get("resblock") == 1 else "2"
    preprocessor = model.get("preprocessor")
    if isinstance(preprocessor, dict):
        bands = resolve_interpolations(preprocessor.get("nfilt"), *around, preprocessor)
        if bands is not None and fields.get("num_mels", 80) != bands:
            return fields | {"input_kind": "latent"}
        resolved = resolve_interpolations(preprocessor, *around)
        fields |= _mel(resolved, str(model.get("nemo_version", values.get("nemo_version", ""))))
    return fields


def _mel(values: Mapping[str, Any], version: str) -> Mapping[str, Any]:
    fields = take_fields(values, _MEL_NAMES)
    if "sampling_rate" not in fields:
        return {}
    stated = _DEFAULTS | dict(values)
    unsupported = [f"{name}={stated[name]}" for name, usual in _USUAL.items() if stated[name] != usual]
    guard, value = stated.get("log_zero_guard_type", "add"), stated.get("log_zero_guard_value", _GUARD)
    if guard == "clamp" and isinstance(value, float):
        fields |= {"log": "ln", "floor": value}
    elif guard == "add" and value == 1:
        fields |= {"log": "log1p"}
    else:
        unsupported.append(f"log_zero_guard_type={guard} with {value}")
    power = stated.get("mag_power", 2.0)
    if power not in (1, 2):
        unsupported.append(f"mag_power={power}")
    else:
        fields["power"] = int(power)
    if unsupported:
        fields["unsupported_mel"] = ", ".join(unsupported)[:100]
    window = fields.get("win_size")
    if isinstance(window, int):
        fields.setdefault("n_fft", 1 << (window - 1).bit_length())
    return {
        "fmin": 0.0, "fmax": None, **fields,
        "norm": values.get("mel_norm", "slaney"), "window": "symmetric_hann",
        "magnitude_epsilon": _GUARD_OF_GRADIENTS if values.get("use_grads") else 0.0,
        "padding": "zero" if _version(version) >= _ZEROS_SINCE else "reflect",
    }  # fmt: skip


def _version(text: str) -> tuple[int, int]:
    match = re.match(r"(\d{1,4})\.(\d{1,4})", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


NEMO_CONFIG = ConfigForm("NeMo", _tells, _read, files=("model_config.yaml",))
