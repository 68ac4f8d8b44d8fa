"""The generator as a PyTorch module, built from the neutral graph.

Its convolutions are 2-D, over images one row high, so that memory can be laid out channels last: the fastest form that
PyTorch has on a CPU, and in float16 on a GPU (docs/torch.md). Values between them are `[B, rows, C]` then, else
`[B, C, rows]`: what a convolution takes and gives is the same memory, seen as an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import leaky_relu, pad

from hifigan_rt.engines.torch_rows import folding, levels_of
from hifigan_rt.graph import MEL, NORMALIZATION, Generator, Graph, Layer, PaddingMode


@dataclass(frozen=True)
class Form:
    """Types and memory layout of a module's weights."""

    dtype: torch.dtype
    first_dtype: torch.dtype
    """Type of the first layer: rounding a mel to 11 or to 8 bits costs 10 dB."""
    channels_last: bool = True
    folded: bool = False
    """Whether layers take forms that suit cuDNN, the same up to rounding: dilated convolutions become undilated ones
    over the same memory seen as an image `dilation` columns wide, and transposed ones plain ones with channels for each
    phase. For some dilated layers cuDNN picks an algorithm that takes 600 times as long. The lengths of mels must be
    multiples of what `torch_rows.folding` says."""

    @property
    def wide_dtype(self) -> torch.dtype:
        """Type of what is done to the input before the first layer, and to conditioning vectors."""
        return torch.promote_types(self.first_dtype, torch.float32)

    @property
    def splits(self) -> bool:
        """Whether layers behind the first one, up to the first upsampling, split values and weights in two numbers.

        What these layers round, all later ones make louder.
        """
        return bool(self.dtype.itemsize == 2 < self.first_dtype.itemsize)


_OUTPUTS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": torch.tanh,
    "clamp": lambda y: y.clamp(-1, 1),
    "none": lambda y: y,
}


class TorchGenerator(nn.Module):
    """float32 mels `[B, M, T]` to float32 audio `[B, N]`."""

    def __init__(self, generator: Generator, form: Form) -> None:
        super().__init__()
        graph = generator.graph
        self.form = form
        folded = folding(graph)[0] if form.folded else frozenset()
        steps: list[_Step] = []
        chains: list[list[tuple[_Step, nn.Module]]] = []
        is_early = form.splits
        for layer in graph.layers:
            is_first = not steps
            splits = is_early and not is_first
            is_early = is_early and layer.kind != "conv_transpose"
            convolution = _convolution(generator, layer, form, layer.name in folded, splits)
            steps.append(_Step(graph, layer, splits, form.wide_dtype if is_early else form.dtype))
            if is_first or steps[-1].begins_chain:
                chains.append([])
            chains[-1].append((steps[-1], convolution.to(form.first_dtype if is_first else form.dtype)))
        output = graph.config.output
        self.chains = nn.ModuleList(_Chain(chain, form, output if chain is chains[-1] else None) for chain in chains)
        for chain in self.chains:
            chain.add_projections(generator)
        for name in NORMALIZATION:
            array = generator.weights.get(name)
            buffer = None if array is None else torch.tensor(array, device="cpu")[:, None].to(form.wide_dtype)
            self.register_buffer(f"input_{name}", buffer, persistent=False)
        if form.channels_last:
            self.to(memory_format=torch.channels_last)
        self.requires_grad_(requires_grad=False).eval()
        self._upsamplings = [layer for layer in graph.layers if layer.kind == "conv_transpose"]

    @property
    def dtype(self) -> torch.dtype:
        """Type that all layers but the first one compute in, as their weights have it."""
        return next(self.chains[-1].convolutions[-1].parameters()).dtype

    @property
    def branches(self) -> int:
        """Chains of layers that can run side by side."""
        return 1 + max(int(chain.branch) for chain in self.chains)

    def forward(
        self,
        mel: torch.Tensor,
        masks: Sequence[torch.Tensor] | None = None,
        streams: Sequence[Any] = (),
        chains: Sequence[Callable[..., torch.Tensor]] | None = None,
        conditioning: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute mels, or rows of signals that must not disturb one another.

        Args:
            mel: float32 `[B, M, T]`.
            masks: of each level, what keeps signals apart: int64 indices of the rows that must be zero, see
                `Layout.silent_rows`, or `kept_rows`, which costs a compiled program nothing and any other a pass over
                the memory per layer.
            streams: of CUDA, for each branch but the first one, to run them side by side.
            chains: this module's, compiled.
            conditioning: float32 `[B, G]`, where layers are conditioned; never with masks.
        """
        beside = () if conditioning is None else (conditioning,)
        main: Any = torch.cuda.current_stream() if streams else None
        values = {MEL: self._normalized(mel)}
        for chain, compute in zip(self.chains, self.chains if chains is None else chains, strict=True):
            if streams and chain.forks:
                for stream in streams:
                    stream.wait_stream(main)
            if streams and chain.joins:
                for stream in streams:
                    main.wait_stream(stream)
            inputs = [values[name] for name in chain.inputs]
            if streams and chain.branch:
                with torch.cuda.stream(streams[chain.branch - 1]):
                    values[chain.output] = compute(inputs, masks, *beside)
                continue
            result = compute(inputs, masks, *beside)
            # Memory is used again in the stream that it was taken in: not while another one can still read it.
            if not chain.is_branch:
                values.clear()
            values[chain.output] = result
        return values[self.chains[-1].output]

    def _normalized(self, mel: torch.Tensor) -> torch.Tensor:
        if self.input_mean is None:
            return mel
        return (mel - self.input_mean) / self.input_scale

    def kept_rows(self, keep: torch.Tensor) -> list[torch.Tensor]:
        """The rows of each level that belong to signals, of which `keep`, bool `[F]`, tells the frames."""
        kept = [keep]
        for layer in self._upsamplings:
            rows = kept[-1][:, None].expand(-1, layer.stride).reshape(-1)
            # A signal has a row more behind an upsampling whose kernel - rate is odd.
            for _ in range(layer.output_length(1) - layer.stride):
                rows = pad(rows, (0, 1)) | pad(rows, (1, 0))
            kept.append(rows)
        return [rows[None, :, None] if self.form.channels_last else rows[None, None] for rows in kept]


class _Step:
    """What a chain must know of a layer."""

    def __init__(self, graph: Graph, layer: Layer, splits: bool, dtype: torch.dtype) -> None:
        _, levels = levels_of(graph)
        self.splits, self.dtype = splits, dtype
        self.name, self.inputs, self.residual = layer.name, layer.inputs, layer.residual
        self.slope = None if layer.activation is None else layer.activation.slope
        self.layer = layer
        self.level, self.result_level = levels[layer.inputs[0]], levels[layer.name]
        self.frees = graph.last_reads[layer.name]
        self.joins = len(layer.inputs) > 1
        self.owns_input = self.joins or (layer.inputs[0] in self.frees and layer.residual not in layer.inputs)
        # A mean is silenced itself, so that values which are read for it alone need not be.
        self.silences_result = any(
            layer.name == reader.residual or reader.inputs == (layer.name,) for reader in graph.layers
        )
        siblings = [other.name for other in graph.layers if other.inputs == layer.inputs]
        self.is_branch = len(siblings) > 1
        self.branch = siblings.index(layer.name) if self.is_branch else 0
        self.begins_chain = self.is_branch or self.joins


class _Chain(nn.Module):
    """Layers one after another: from where values are read by several or joined to the next such place."""

    def __init__(self, layers: Sequence[tuple[_Step, nn.Module]], form: Form, output: str | None) -> None:
        """Put layers together; `output`, of the last chain, is what makes audio of its value."""
        super().__init__()
        self.projections = nn.ModuleList()
        self._steps = [step for step, _ in layers]
        self.convolutions = nn.ModuleList(convolution for _, convolution in layers)
        self._form = form
        self._kept_bits = -1 << (16 if form.dtype == torch.bfloat16 else 13)  # of float32: 8 or 11 of its significand
        first, last = self._steps[0], self._steps[-1]
        self.inputs, self.output = first.inputs, last.name
        self.is_branch, self.branch, self.joins = first.is_branch, first.branch, first.joins
        self.forks = first.is_branch and first.branch == 0
        self._output = None if output is None else _OUTPUTS[output]

    def add_projections(self, generator: Generator) -> None:
        """Add what brings a conditioning vector to each conditioned layer, in float32."""
        for step in self._steps:
            if step.layer.conditioning is None:
                self.projections.append(nn.Identity())
                continue
            weight = generator.weights[f"{step.layer.conditioning}.weight"][:, :, 0]
            bias = generator.weights.get(f"{step.layer.conditioning}.bias", np.zeros(len(weight), weight.dtype))
            linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
            self.projections.append(_with_weights(linear, weight, bias).to(self._form.wide_dtype))

    def forward(
        self,
        inputs: Sequence[torch.Tensor],
        masks: Sequence[torch.Tensor] | None,
        conditioning: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute the last layer's value, or audio, from the values that the first layer reads."""

        def silence(x: torch.Tensor, level: int) -> torch.Tensor:
            if masks is None:
                return x
            if masks[level].dtype == torch.bool:
                return torch.where(masks[level], x, 0)
            return x.index_fill_(1 if self._form.channels_last else 2, masks[level], 0)

        values = dict(zip(self.inputs, inputs, strict=True))
        if MEL in values:
            mel = values[MEL].to(self._form.first_dtype)
            # A copy in any case: rows of it are silenced.
            mel = mel.transpose(1, 2).contiguous() if self._form.channels_last else mel.clone()
            values[MEL] = silence(mel, 0)
        y = inputs[0]
        for step, convolution, projection in zip(self._steps, self.convolutions, self.projections, strict=True):
            x = values[step.inputs[0]]
            if step.joins:
                for name in step.inputs[1:]:
                    x = x + values[name]
                x = silence(x.div_(len(step.inputs)), step.level)
            if step.slope is not None:
                x = leaky_relu(x, step.slope, inplace=step.owns_input)
            if step.splits:
                # Bits are cut off: of a cast to 16 bits and back a compiler leaves nothing, and low would be zero.
                high = (x.view(torch.int32) & self._kept_bits).view(torch.float32)
                low = (x - high).to(self._form.dtype)
                high = high.to(self._form.dtype)
                x = torch.cat((high, low, high), 2 if self._form.channels_last else 1)
            y = convolution(x).to(step.dtype)
            if conditioning is not None and step.layer.conditioning is not None:
                added = projection(conditioning.to(self._form.wide_dtype)).to(step.dtype)
                y = y.add_(added[:, None] if self._form.channels_last else added[:, :, None])
            if step.residual is not None:
                y = y.add_(values[step.residual])
            values[step.name] = y = silence(y, step.result_level) if step.silences_result else y
            for name in step.frees:
                values.pop(name, None)
        return y if self._output is None else self._output(y).flatten(1).float()


class _Convolution(nn.Module):
    """A convolution over values: one that sees `columns` rows side by side, or gives `phases` rows for each."""

    def __init__(self, convolution: nn.Module, form: Form, *, columns: int = 1, phases: int = 1) -> None:
        super().__init__()
        self.convolution = convolution
        self._channels_last = form.channels_last
        self._columns = columns
        self._phases = phases

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self._channels_last:
            batch, rows, channels = x.shape
            y = self.convolution(x.reshape(batch, *self._image(rows), channels).permute(0, 3, 1, 2))
            # The channels of phases are rows: the same memory.
            return y.permute(0, 2, 3, 1).reshape(batch, -1, self.convolution.out_channels // self._phases)
        batch, channels, rows = x.shape
        return self.convolution(x.reshape(batch, channels, *self._image(rows))).flatten(2)

    def _image(self, rows: int) -> tuple[int, int]:
        return (rows // self._columns, self._columns) if self._columns > 1 else (1, rows)


def _convolution(generator: Generator, layer: Layer, form: Form, folded: bool, splits: bool) -> nn.Module:
    weight, bias = generator.weights[f"{layer.name}.weight"], generator.bias_of(layer)
    if splits:
        high = torch.tensor(weight, device="cpu").to(form.dtype).to(torch.float32).numpy()
        # For inputs high, low, high: all products but that of both lows, added up inside of one convolution.
        weight = np.concatenate((high, high, weight - high), 0 if layer.kind == "conv_transpose" else 1)
    left, right = layer.padding
    if layer.kind == "conv_transpose":
        phases = _phases(layer, weight) if form.folded and form.channels_last else None
        if phases is not None:
            padding = (0, phases.shape[2] // 2)
            plain = _conv2d(phases[:, :, None], np.tile(bias, layer.stride), padding=padding)
            return _Convolution(plain, form, phases=layer.stride)
        if layer.padding_mode == "replicate":
            left += layer.stride  # what the row before the first one gives alone
        both = min(left, right)
        sizes = (len(weight), layer.out_channels, (1, layer.kernel_size))
        plain = nn.ConvTranspose2d(*sizes, stride=(1, layer.stride), padding=(0, both), device="meta")
        transposed = _Convolution(_with_weights(plain, weight[:, :, None], bias), form)
        before = _Ends((1, 0), "replicate", form) if layer.padding_mode == "replicate" else nn.Identity()
        return nn.Sequential(before, transposed, _Ends((both - left, both - right), "zeros", form))
    if folded:
        image = _conv2d(weight[:, :, :, None], bias, padding=(left // layer.dilation, 0))
        return _Convolution(image, form, columns=layer.dilation)
    if left == right and layer.padding_mode == "zeros":
        return _Convolution(_conv2d(weight[:, :, None], bias, padding=(0, left), dilation=(1, layer.dilation)), form)
    plain = _conv2d(weight[:, :, None], bias, dilation=(1, layer.dilation))
    return nn.Sequential(_Ends(layer.padding, layer.padding_mode, form), _Convolution(plain, form))


class _Ends(nn.Module):
    """Adds rows to both ends of a value, or takes as many as are below zero away."""

    def __init__(self, rows: tuple[int, int], mode: PaddingMode, form: Form) -> None:
        super().__init__()
        self._rows, self._mode, self._channels_last = rows, mode, form.channels_last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = self._rows
        if (left, right) == (0, 0):
            return x
        if self._mode == "zeros":
            return pad(x, (0, 0, left, right) if self._channels_last else (left, right))
        time = 1 if self._channels_last else 2
        last = x.shape[time] - 1
        rows = torch.arange(-left, last + 1 + right, device=x.device)
        rows = rows.clamp(0, last) if self._mode == "replicate" else last - (last - rows.abs()).abs()
        return x.index_select(time, rows)


def _conv2d(weight: np.ndarray, bias: np.ndarray, **geometry: Any) -> nn.Module:
    out_channels, in_channels, *kernel = weight.shape
    return _with_weights(nn.Conv2d(in_channels, out_channels, tuple(kernel), device="meta", **geometry), weight, bias)


def _with_weights(module: nn.Module, weight: np.ndarray, bias: np.ndarray) -> nn.Module:
    # The default device is the calling program's.
    state = {"weight": torch.tensor(weight, device="cpu"), "bias": torch.tensor(bias, device="cpu")}
    module.load_state_dict(state, assign=True)
    return module


def _phases(layer: Layer, weight: np.ndarray) -> np.ndarray | None:
    """Weights `[stride * C_out, C_in, taps]` of a plain convolution whose channels are the rows of a transposed one.

    Row q * stride + phase of the result reads row q + t of the input through tap phase + padding - t * stride. None if
    the result is no multiple of the stride long, or reads further to one side than to the other.
    """
    left, right = layer.padding
    if layer.padding_mode != "zeros":
        return None
    last = (layer.stride - 1 + left) // layer.stride
    first = -((layer.span - left) // layer.stride)
    if layer.kernel_size - left - right != layer.stride or first != -last:
        return None
    phases = np.zeros((layer.stride, layer.out_channels, len(weight), last - first + 1), weight.dtype)
    for phase in range(layer.stride):
        for t in range(first, last + 1):
            tap = phase + left - t * layer.stride
            if 0 <= tap < layer.kernel_size:
                phases[phase, :, :, t - first] = weight[:, :, tap].T
    return phases.reshape(-1, *phases.shape[2:])
