"""The architecture of a generator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hifigan_rt.config.flow import FlowConfig
from hifigan_rt.config.ranges import (
    MAX_CHANNELS,
    MAX_DILATION,
    MAX_HOP_LENGTH,
    MAX_KERNEL_SIZE,
    MAX_LAYERS,
    MAX_RATE,
    MAX_ROWS,
    MAX_SPEAKERS,
    MAX_STAGES,
    check_range,
    check_same_length,
    either,
    listed,
)
from hifigan_rt.errors import ConfigError


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
    flow: FlowConfig | None = None
    """The flow in front of `conv_pre`: the input is then what a voice's text part gives; None is none."""

    def __post_init__(self) -> None:
        check_range("num_mels", self.num_mels, 1, MAX_CHANNELS)
        check_range("upsample_initial_channel", self.upsample_initial_channel, 1, MAX_CHANNELS)
        if self.resblock not in ("1", "2"):
            raise ConfigError(f"resblock={self.resblock!r} must be '1' or '2'")
        if not self.upsample_rates:
            raise ConfigError("upsample_rates=[] must hold at least one rate")
        check_range("the number of upsample_rates", len(self.upsample_rates), 1, MAX_STAGES)
        check_same_length("upsample_kernel_sizes", self.upsample_kernel_sizes, "upsample_rates", self.upsample_rates)
        if not self.resblock_kernel_sizes:
            raise ConfigError("resblock_kernel_sizes=[] must hold at least one kernel size")
        check_same_length(
            "resblock_dilation_sizes",
            self.resblock_dilation_sizes,
            "resblock_kernel_sizes",
            self.resblock_kernel_sizes,
        )
        for i, (rate, kernel) in enumerate(zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True)):
            check_range(f"upsample_rates[{i}]", rate, 1, MAX_RATE)
            check_range(f"upsample_kernel_sizes[{i}]", kernel, 1, MAX_KERNEL_SIZE)
            if kernel < rate:
                raise ConfigError(
                    f"upsample_kernel_sizes[{i}]={kernel} is smaller than upsample_rates[{i}]={rate}: "
                    "a kernel must cover its rate, or samples would stay empty"
                )
        if self.hop_length > MAX_HOP_LENGTH:
            raise ConfigError(
                f"upsample_rates={listed(self.upsample_rates)} give {self.hop_length} samples a frame, their product: "
                f"at most {MAX_HOP_LENGTH}"
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
            check_range(f"resblock_kernel_sizes[{j}]", kernel, 1, MAX_KERNEL_SIZE)
            if not dilations:
                raise ConfigError(f"resblock_dilation_sizes[{j}]=[] must hold at least one dilation")
            for m, dilation in enumerate(dilations):
                check_range(f"resblock_dilation_sizes[{j}][{m}]", dilation, 1, MAX_DILATION)
                self._check_padding(j, kernel, dilation)
            if self.resblock == "1":
                self._check_padding(j, kernel, 1)
            rows = (kernel - 1) * (sum(dilations) + (len(dilations) if self.resblock == "1" else 0))
            check_range(f"the rows that resblock_dilation_sizes[{j}] reach over", rows, 0, MAX_ROWS)
        layers = halvings * sum(2 * len(dilations) for dilations in self.resblock_dilation_sizes)
        if layers > MAX_LAYERS:
            raise ConfigError(
                f"resblock_dilation_sizes and upsample_rates ask for {layers} convolutions: at most {MAX_LAYERS}"
            )
        self._check_steps()
        self._check_ends()
        self._check_conditioning()
        self._check_flow()

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
                raise ConfigError(f"{name}={getattr(self, name)!r} must be {either(words)}")
        check_range("pre_linear", self.pre_linear, 0, MAX_CHANNELS)

    def _check_ends(self) -> None:
        for name in ("conv_pre_kernel_size", "conv_post_kernel_size"):
            kernel = getattr(self, name)
            check_range(name, kernel, 1, MAX_KERNEL_SIZE)
            if not self.causal and kernel % 2 == 0:
                raise ConfigError(f"{name}={kernel} cannot keep the length: it must be odd")
        if self.causal and self.padding_mode != "zeros":
            raise ConfigError(f"causal=true pads with zeros: padding_mode={self.padding_mode!r} contradicts it")
        if self.upsample_paddings is None:
            return
        if self.causal:
            raise ConfigError("causal=true says which rows are kept: upsample_paddings contradicts it")
        check_same_length("upsample_paddings", self.upsample_paddings, "upsample_rates", self.upsample_rates)
        for i, (cut, kernel) in enumerate(zip(self.upsample_paddings, self.upsample_kernel_sizes, strict=True)):
            if min(cut) < 0 or sum(cut) >= kernel:
                raise ConfigError(
                    f"upsample_paddings[{i}]={list(cut)} must be rows cut off the left and the right end, from 0 and "
                    f"in sum below upsample_kernel_sizes[{i}]={kernel}"
                )

    def _check_conditioning(self) -> None:
        check_range("conditioning_channels", self.conditioning_channels, 0, MAX_CHANNELS)
        check_range("num_speakers", self.num_speakers, 0, MAX_SPEAKERS)
        known = ["conv_pre", *(f"ups.{i}" for i in range(len(self.upsample_rates)))]
        unknown = [name for name in self.conditioned_layers if name not in known]
        if unknown or len(set(self.conditioned_layers)) < len(self.conditioned_layers):
            raise ConfigError(
                f"conditioned_layers={listed(self.conditioned_layers)} must name some of {', '.join(known)}, each once"
            )
        is_conditioned = bool(self.conditioned_layers) or (self.flow is not None and self.flow.is_conditioned)
        if bool(self.conditioning_channels) != is_conditioned:
            raise ConfigError(
                f"conditioning_channels={self.conditioning_channels} and conditioned_layers="
                f"{listed(self.conditioned_layers)}: one of them without the other means nothing"
            )
        if self.num_speakers and not self.conditioning_channels:
            raise ConfigError(
                f"num_speakers={self.num_speakers} is the size of a table of conditioning vectors, and "
                "conditioning_channels=0 says that there is none"
            )

    def _check_flow(self) -> None:
        if self.flow is None:
            return
        if self.num_mels % 2:
            raise ConfigError(f"num_mels={self.num_mels} has no halves, as a flow takes them: it must be even")
        if self.input_kind != "latent" or self.pre_linear or self.input_normalization:
            raise ConfigError(
                f"a flow takes latents as they are: input_kind={self.input_kind!r}, pre_linear={self.pre_linear} and "
                f"input_normalization={self.input_normalization} contradict it"
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
            "flow": "a flow in front of it",
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
