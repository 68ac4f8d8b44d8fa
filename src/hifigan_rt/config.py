"""What a model is: the generator's architecture and the mel settings that go with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from hifigan_rt.errors import ConfigError

MAX_CHANNELS = 1 << 14
MAX_RATE = 1 << 12
MAX_KERNEL_SIZE = 1 << 10
MAX_DILATION = 1 << 12
MAX_LAYERS = 1 << 12
MAX_SPEAKERS = 1 << 20
"""Bounds far above any published vocoder, so that a hostile config cannot make us allocate without end."""


@dataclass(frozen=True)
class GeneratorConfig:
    """The architecture of a HiFi-GAN generator, in the words of the original's `config.json`.

    Raises:
        ConfigError: a value is out of range or contradicts another; the text names field, value and rule.
    """

    upsample_initial_channel: int
    """Channels after `conv_pre`; stage i has this number halved i + 1 times (integer division)."""
    upsample_rates: tuple[int, ...]
    """Stride of each transposed convolution; their product is the hop length in samples."""
    upsample_kernel_sizes: tuple[int, ...]
    """Kernel of each transposed convolution, at least its rate."""
    resblock: Literal["1", "2"]
    """Type of the residual blocks: "1" has two convolutions per dilation, "2" has one."""
    resblock_kernel_sizes: tuple[int, ...]
    """One parallel residual block per entry."""
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    """The dilations of each of those residual blocks."""
    num_mels: int = 80
    """Mel bands of the input; channels, where it is a latent."""
    conv_pre_kernel_size: int = 7
    conv_post_kernel_size: int = 7
    leaky_relu_slope: float = 0.1
    """Slope of the activation in front of all layers but the first and the last (models.py: LRELU_SLOPE); 0 is ReLU."""
    final_slope: float = 0.01
    """Slope in front of `conv_post`. models.py calls leaky_relu there without a slope, so PyTorch's default of 0.01
    applies; every published checkpoint was trained that way."""
    upsample_paddings: tuple[tuple[int, int], ...] | None = None
    """Rows cut off the left and right of the `(L - 1) * rate + kernel` that each transposed convolution gives in full;
    None cuts `(kernel - rate) // 2` on both sides, as the original does. `(p, kernel - rate - p)` keeps `L * rate`."""
    padding_mode: Literal["zeros", "reflect", "replicate"] = "zeros"
    """What every convolution finds beyond the ends: zeros, the rows mirrored at the last one, or the last one again."""
    causal: bool = False
    """Whether no layer looks ahead, as ParallelWaveGAN's causal ones: convolutions have all their padding on the left;
    transposed ones find the first row once more before it, and keep the first `L * rate` rows from row 0 on."""
    layers_without_bias: tuple[str, ...] = ()
    """Names of layers that have no bias, for example "conv_post"; the original gives every layer one."""
    input_normalization: bool = False
    """Whether the first layer takes `(mel - mean) / scale`; both are weights, one value per band."""
    pre_linear: int = 0
    """Features of an input that a linear layer, `lin_pre`, turns into `num_mels` channels for `conv_pre`; 0 is none."""
    conditioning_channels: int = 0
    """Length of the vector that `conditioned_layers` get beside the mel, for example of a speaker; 0 is none."""
    conditioned_layers: tuple[str, ...] = ()
    """Names of the layers to whose result a 1x1 convolution of that vector is added: "conv_pre", "ups.1"."""
    num_speakers: int = 0
    """Rows of the table of such vectors among the weights (`emb_g.weight`); 0 is none."""
    output: Literal["tanh", "clamp", "none"] = "tanh"
    """What brings samples into [-1, 1]."""
    input_kind: Literal["mel", "latent"] = "mel"
    """What the input is: a mel, or values that another network computed (the decoder of VITS)."""

    def __post_init__(self) -> None:
        _check_range("num_mels", self.num_mels, 1, MAX_CHANNELS)
        _check_range("upsample_initial_channel", self.upsample_initial_channel, 1, MAX_CHANNELS)
        if self.resblock not in ("1", "2"):
            raise ConfigError(f"resblock={self.resblock!r} must be '1' or '2'")
        if not self.upsample_rates:
            raise ConfigError("upsample_rates=[] must hold at least one rate")
        _check_same_length("upsample_kernel_sizes", self.upsample_kernel_sizes, "upsample_rates", self.upsample_rates)
        if not self.resblock_kernel_sizes:
            raise ConfigError("resblock_kernel_sizes=[] must hold at least one kernel size")
        _check_same_length(
            "resblock_dilation_sizes",
            self.resblock_dilation_sizes,
            "resblock_kernel_sizes",
            self.resblock_kernel_sizes,
        )
        for i, (rate, kernel) in enumerate(zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True)):
            _check_range(f"upsample_rates[{i}]", rate, 1, MAX_RATE)
            _check_range(f"upsample_kernel_sizes[{i}]", kernel, 1, MAX_KERNEL_SIZE)
            if kernel < rate:
                raise ConfigError(
                    f"upsample_kernel_sizes[{i}]={kernel} is smaller than upsample_rates[{i}]={rate}: "
                    "a kernel must cover its rate, or samples would stay empty"
                )
        halvings = len(self.upsample_rates)
        if self.upsample_initial_channel >> halvings == 0:
            raise ConfigError(
                f"upsample_initial_channel={self.upsample_initial_channel} halves to 0 channels after "
                f"{halvings} upsample stages: it must be at least {1 << halvings}"
            )
        for j, (kernel, dilations) in enumerate(
            zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True)
        ):
            _check_range(f"resblock_kernel_sizes[{j}]", kernel, 1, MAX_KERNEL_SIZE)
            if not dilations:
                raise ConfigError(f"resblock_dilation_sizes[{j}]=[] must hold at least one dilation")
            for m, dilation in enumerate(dilations):
                _check_range(f"resblock_dilation_sizes[{j}][{m}]", dilation, 1, MAX_DILATION)
                self._check_padding(j, kernel, dilation)
            if self.resblock == "1":
                self._check_padding(j, kernel, 1)
        layers = halvings * sum(2 * len(dilations) for dilations in self.resblock_dilation_sizes)
        if layers > MAX_LAYERS:
            raise ConfigError(
                f"resblock_dilation_sizes and upsample_rates ask for {layers} convolutions: at most {MAX_LAYERS}"
            )
        self._check_steps()
        self._check_ends()
        self._check_conditioning()

    def _check_padding(self, j: int, kernel: int, dilation: int) -> None:
        if not self.causal and (kernel - 1) * dilation % 2:
            raise ConfigError(
                f"resblock_kernel_sizes[{j}]={kernel} with dilation {dilation} cannot keep the length: "
                "(kernel - 1) * dilation must be even"
            )

    def _check_steps(self) -> None:
        for name in ("leaky_relu_slope", "final_slope"):
            slope = getattr(self, name)
            if not 0 <= slope <= 1:
                raise ConfigError(f"{name}={slope} must be from 0 (ReLU) to 1")
        for name, words in (
            ("padding_mode", ("zeros", "reflect", "replicate")),
            ("output", ("tanh", "clamp", "none")),
            ("input_kind", ("mel", "latent")),
        ):
            if getattr(self, name) not in words:
                raise ConfigError(f"{name}={getattr(self, name)!r} must be {_either(words)}")
        _check_range("pre_linear", self.pre_linear, 0, MAX_CHANNELS)

    def _check_ends(self) -> None:
        for name in ("conv_pre_kernel_size", "conv_post_kernel_size"):
            kernel = getattr(self, name)
            _check_range(name, kernel, 1, MAX_KERNEL_SIZE)
            if not self.causal and kernel % 2 == 0:
                raise ConfigError(f"{name}={kernel} cannot keep the length: it must be odd")
        if self.causal and self.padding_mode != "zeros":
            raise ConfigError(f"causal=true pads with zeros: padding_mode={self.padding_mode!r} contradicts it")
        if self.upsample_paddings is None:
            return
        if self.causal:
            raise ConfigError("causal=true says which rows are kept: upsample_paddings contradicts it")
        _check_same_length("upsample_paddings", self.upsample_paddings, "upsample_rates", self.upsample_rates)
        for i, (cut, kernel) in enumerate(zip(self.upsample_paddings, self.upsample_kernel_sizes, strict=True)):
            if min(cut) < 0 or sum(cut) >= kernel:
                raise ConfigError(
                    f"upsample_paddings[{i}]={list(cut)} must be rows cut off the left and the right end, from 0 and "
                    f"in sum below upsample_kernel_sizes[{i}]={kernel}"
                )

    def _check_conditioning(self) -> None:
        _check_range("conditioning_channels", self.conditioning_channels, 0, MAX_CHANNELS)
        _check_range("num_speakers", self.num_speakers, 0, MAX_SPEAKERS)
        known = ["conv_pre", *(f"ups.{i}" for i in range(len(self.upsample_rates)))]
        unknown = [name for name in self.conditioned_layers if name not in known]
        if unknown or len(set(self.conditioned_layers)) < len(self.conditioned_layers):
            raise ConfigError(
                f"conditioned_layers={_listed(self.conditioned_layers)} must name some of {', '.join(known)}, each once"
            )
        if bool(self.conditioning_channels) != bool(self.conditioned_layers):
            raise ConfigError(
                f"conditioning_channels={self.conditioning_channels} and conditioned_layers="
                f"{_listed(self.conditioned_layers)}: one of them without the other means nothing"
            )
        if self.num_speakers and not self.conditioning_channels:
            raise ConfigError(
                f"num_speakers={self.num_speakers} is the size of a table of conditioning vectors, and "
                "conditioning_channels=0 says that there is none"
            )

    @property
    def unusual_features(self) -> dict[str, str]:
        """What the network has beyond the original's, by field, each with a text; other numbers alone do not count."""
        texts = {
            "upsample_paddings": f"upsample_paddings={self.upsample_paddings}",
            "padding_mode": f"padding_mode={self.padding_mode!r}",
            "causal": "causal layers",
            "input_normalization": "an input that is normalized",
            "conditioning_channels": f"conditioning of {', '.join(self.conditioned_layers)}",
            "output": f"output={self.output!r}",
        }
        fields = type(self).__dataclass_fields__
        return {name: text for name, text in texts.items() if getattr(self, name) != fields[name].default}

    @property
    def input_channels(self) -> int:
        """Bands or features that the network takes per frame: `pre_linear`, if that is there, else `num_mels`."""
        return self.pre_linear or self.num_mels

    @property
    def hop_length(self) -> int:
        """Samples per mel frame: the product of the upsample rates."""
        return math.prod(self.upsample_rates)


@dataclass(frozen=True)
class MelConfig:
    """How a mel spectrogram is computed; the defaults beyond the first seven are the original's recipe.

    Raises:
        ConfigError: a value is out of range or contradicts another.
    """

    sample_rate: int
    """Sample rate in Hz."""
    n_fft: int
    """Length of the Fourier transform, in samples."""
    win_length: int
    """Length of the periodic Hann window, in samples; at most `n_fft`."""
    hop_length: int
    """Samples from frame to frame. As in the original it may be longer than `n_fft`, which leaves samples out."""
    num_mels: int
    """Mel bands."""
    fmin: float = 0.0
    """Lower edge of the first band, in Hz."""
    fmax: float | None = None
    """Upper edge of the last band, in Hz; None is half the sample rate.

    Above half the sample rate it means what it means in the original: the bands are spread up to it, and those that
    begin above half the sample rate are always at the floor.
    """
    log: Literal["ln", "log10", "log2", "log1p", "db"] = "ln"
    """Logarithm: natural, of base 10 or 2, ln(1 + x) without a floor, or decibels (20 log10; 10 log10 of powers)."""
    floor: float = 1e-5
    """Magnitudes below it are raised to it before the logarithm."""
    magnitude_epsilon: float = 1e-9
    """Added under the square root of the magnitude (original: meldataset.py)."""
    padding: Literal["reflect", "center", "zero"] = "reflect"
    """reflect: (n_fft - hop) / 2 reflected samples per side, T = floor(N / hop) (the original).
    zero: the same with zeros. center: n_fft / 2 reflected samples per side, T = 1 + floor(N / hop)."""
    norm: Literal["slaney"] | None = "slaney"
    """slaney: each band has unit area; None: each band peaks at 1."""
    mean: tuple[float, ...] | None = None
    """Subtracted per band after the logarithm; one value per band, or a single one."""
    scale: tuple[float, ...] | None = None
    """Divided by per band after `mean`; one value per band, or a single one."""
    power: int = 1
    """Exponent of the magnitudes before the filters: 2 for a mel of powers."""
    gain: float = 1.0
    """Factor of the samples before the analysis: 32768 where 16-bit integers were not divided."""
    window: Literal["hann", "symmetric_hann"] = "hann"
    """hann: periodic, as an analysis should have it. symmetric_hann: its last sample is 0 as the first is (NeMo)."""
    mel_scale: Literal["slaney", "htk"] = "slaney"
    """slaney: linear below 1 kHz. htk: 2595 log10(1 + f / 700)."""
    magnitude_floor: float = 0.0
    """Magnitudes of the spectrum below it are raised to it before the filters (ESPnet: 1e-5)."""
    ceiling: float | None = None
    """Magnitudes above it are lowered to it before the logarithm; None leaves them (Coqui TTS: `clip_norm`)."""

    def __post_init__(self) -> None:
        _check_range("sample_rate", self.sample_rate, 1, 1 << 20)
        _check_range("n_fft", self.n_fft, 2, 1 << 20)
        _check_range("win_length", self.win_length, 1, 1 << 20)
        _check_range("hop_length", self.hop_length, 1, 1 << 20)
        _check_range("num_mels", self.num_mels, 1, MAX_CHANNELS)
        if self.win_length > self.n_fft:
            raise ConfigError(f"win_length={self.win_length} must be at most n_fft={self.n_fft}")
        nyquist = self.sample_rate / 2
        if not 0 <= self.fmin < nyquist:
            raise ConfigError(f"fmin={self.fmin} Hz must be at least 0 and below half the sample rate, {nyquist}")
        if self.fmax is not None and not self.fmin < self.fmax < math.inf:
            raise ConfigError(f"fmax={self.fmax} Hz must be above fmin={self.fmin} (null is half the sample rate)")
        if self.log not in ("ln", "log10", "log2", "log1p", "db"):
            raise ConfigError(f"log={self.log!r} must be 'ln', 'log10', 'log2', 'log1p' or 'db'")
        if self.power not in (1, 2):
            raise ConfigError(f"power={self.power!r} must be 1 or 2")
        if not 0 < self.gain < math.inf:
            raise ConfigError(f"gain={self.gain} must be a finite number above 0")
        if self.padding not in ("reflect", "center", "zero"):
            raise ConfigError(f"padding={self.padding!r} must be 'reflect', 'center' or 'zero'")
        if self.window not in ("hann", "symmetric_hann"):
            raise ConfigError(f"window={self.window!r} must be 'hann' or 'symmetric_hann'")
        if self.mel_scale not in ("slaney", "htk"):
            raise ConfigError(f"mel_scale={self.mel_scale!r} must be 'slaney' or 'htk'")
        if self.ceiling is not None and not self.floor < self.ceiling < math.inf:
            raise ConfigError(f"ceiling={self.ceiling} must be a finite number above floor={self.floor}, or null")
        if self.norm not in ("slaney", None):
            raise ConfigError(f"norm={self.norm!r} must be 'slaney' or null")
        for name in ("floor", "magnitude_epsilon", "magnitude_floor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0) or (name == "floor" and value == 0):
                raise ConfigError(f"{name}={value} must be a finite number above 0")
        for name in ("mean", "scale"):
            values = getattr(self, name)
            if values is not None and len(values) not in (1, self.num_mels):
                raise ConfigError(f"{name} holds {len(values)} values: one, or num_mels={self.num_mels}, are needed")
        if self.scale is not None and not all(math.isfinite(value) and value != 0 for value in self.scale):
            raise ConfigError("scale holds a 0 or a number that is not finite: the mel is divided by it")
        if self.mean is not None and not all(math.isfinite(value) for value in self.mean):
            raise ConfigError("mean holds a number that is not finite")

    @property
    def effective_fmax(self) -> float:
        """Upper edge of the last band in Hz, with None resolved to half the sample rate."""
        return self.sample_rate / 2 if self.fmax is None else self.fmax


@dataclass(frozen=True)
class PartialMelConfig:
    """Mel settings of which only some are known.

    Mels in and audio out need none of them, and files of audio the sample rate; only an analysis of recordings needs
    all. What is known is kept for that, and what is missing is told where an analysis is asked for.
    """

    NEEDED: ClassVar[tuple[str, ...]] = ("sampling_rate", "n_fft", "win_size", "fmin", "fmax")
    """Fields of the original's `config.json` that an analysis needs and the architecture does not tell."""

    stated: Mapping[str, Any]
    """What is known, in the words of the original's `config.json`; and `UNSUPPORTED`, if the mel has more to it."""
    UNSUPPORTED: ClassVar[str] = "unsupported_mel"
    """Field that says, as a text, what of the model's mel convention is not computed here."""
    NORMALIZED: ClassVar[str] = "normalized"
    """Field that is true where mels are normalised with a mean and scale: without those an analysis is not possible."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Fields that an analysis needs besides, in the same words."""
        needed = (*self.NEEDED, *(("mean", "scale") if self.stated.get(self.NORMALIZED) else ()))
        names = tuple(name for name in needed if name not in self.stated)
        unsupported = self.stated.get(self.UNSUPPORTED)
        return names if unsupported is None else (*names, f"a mel that is computed here (its own has {unsupported})")

    @property
    def sample_rate(self) -> int | None:
        """Sample rate in Hz; None if it is not known."""
        return self.stated.get("sampling_rate")


@dataclass(frozen=True)
class ModelConfig:
    """A generator's architecture with, as far as known, the mel settings that it was trained on."""

    generator: GeneratorConfig
    mel: MelConfig | PartialMelConfig | None = None
    resblock_was_integer: bool = False
    """The file held `"resblock": 1` without quotes, which the original code reads as type 2."""
    speakers: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Names of speakers, with their rows in the table."""

    def __post_init__(self) -> None:
        generator, mel = self.generator, self.mel
        for name, row in self.speakers.items():
            if not 0 <= row < generator.num_speakers:
                raise ConfigError(
                    f"speakers: {name[:100]!r} has row {row} of a table of {generator.num_speakers} speakers"
                )
        if mel is None:
            return
        if isinstance(mel, MelConfig) and generator.input_kind == "latent":
            raise ConfigError("input_kind='latent' has no mel: of the mel settings only the sample rate may be stated")
        hop_length, num_mels = (
            (mel.hop_length, mel.num_mels)
            if isinstance(mel, MelConfig)
            else (mel.stated.get("hop_size", generator.hop_length), generator.input_channels)
        )
        if hop_length != generator.hop_length:
            raise ConfigError(
                f"hop_size={hop_length} does not match upsample_rates="
                f"{list(generator.upsample_rates)}, whose product is {generator.hop_length}"
            )
        if num_mels != generator.input_channels:
            raise ConfigError(
                f"num_mels={num_mels} of the mel settings differs from the generator's num_mels="
                f"{generator.input_channels}"
            )


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name}={value} must be from {low} to {high}")


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(repr(word) for word in words[:-1])} or {words[-1]!r}"


def _check_same_length(name: str, values: tuple[Any, ...], other: str, others: tuple[Any, ...]) -> None:
    if len(values) != len(others):
        raise ConfigError(
            f"{name}={_listed(values)} has {len(values)} entries and {other}={_listed(others)} has {len(others)}: "
            "they must be as many"
        )


def _listed(values: tuple[Any, ...]) -> str:
    return json.dumps(values) if len(values) <= 100 else f"{json.dumps(values[:5])[:-1]}, ...]"


def _v(
    channels: int, rates: tuple[int, ...], kernels: tuple[int, ...], resblock: Literal["1", "2"],
    resblock_kernels: tuple[int, ...], dilations: tuple[tuple[int, ...], ...],
) -> ModelConfig:  # fmt: skip
    return ModelConfig(
        GeneratorConfig(channels, rates, kernels, resblock, resblock_kernels, dilations),
        MelConfig(22050, 1024, 1024, 256, 80, 0.0, 8000.0),
    )


PRESETS: Mapping[str, ModelConfig] = {
    "v1": _v(512, (8, 8, 2, 2), (16, 16, 4, 4), "1", (3, 7, 11), ((1, 3, 5),) * 3),
    "v2": _v(128, (8, 8, 2, 2), (16, 16, 4, 4), "1", (3, 7, 11), ((1, 3, 5),) * 3),
    "v3": _v(256, (8, 8, 4), (16, 16, 8), "2", (3, 5, 7), ((1, 2), (2, 6), (3, 12))),
}
"""The three published configs (jik876/hifi-gan: config_v1.json, config_v2.json, config_v3.json)."""
