"""What the code of a TorchScript archive tells of the generator in it: rates, dilations, rows cut off, slopes, biases.

The text of each module's class is searched for the calls in it, and followed. Nothing is run. A call that a generator
has not is refused by name: what is computed here would be something else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hifigan_rt.errors import CheckpointError
from hifigan_rt.families.family import Shapes
from hifigan_rt.families.program_computations import Computations, ExpectedGenerator
from hifigan_rt.families.program_flow import compare, follow
from hifigan_rt.families.program_layers import CONVOLUTIONS, CalledConvolution
from hifigan_rt.formats.checkpoint.torchscript import ModuleCode

_TOKEN = re.compile(r'"[^"\n]*"|(?:(?<![\w.])(?:torch|ops\.\w{1,40})\.(\w{1,80}))?\(|[\[\]),]')
_VARIABLE = re.compile(r"(?<![\w.])(\w{1,40})\(")
_ALIAS = re.compile(r"^ +(\w{1,40}) = __torch__\.(?:\w{1,80}\.){0,9}(\w{1,80})$", re.MULTILINE)
_UPSAMPLE = re.compile(r"ups\.(\d{1,4})")
_DILATED = re.compile(r"resblocks\.(\d{1,4})\.convs1?\.(\d{1,4})")
_MAX_ARGUMENT = 100
"""Characters of an argument that are looked at."""

_ACTIVATIONS = frozenset(("leaky_relu", "leaky_relu_", "relu", "relu_"))
_OUTPUTS = {"tanh": "tanh", "tanh_": "tanh", "clamp": "clamp", "clamp_": "clamp", "hardtanh": "clamp"}
_MEANS = frozenset(("div", "div_", "true_divide", "mean"))
_OTHERS = frozenset(
    ("add", "add_", "sum", "stack", "append", "contiguous", "detach", "dim", "dropout", "eq", "floordiv", "format",
     "ge", "gt", "le", "len", "lt", "ne", "range", "RaiseException", "select", "size", "slice", "squeeze", "to",
     "type_as", "unsqueeze", "warn", "zeros", "zeros_like", "__is__", "__isnot__", "__not__", "_weight_norm",
     "_weight_norm_interface", "norm_except_dim")
)  # fmt: skip
_KNOWN = CONVOLUTIONS | _ACTIVATIONS | frozenset(_OUTPUTS) | _MEANS | _OTHERS
"""Operations of a generator's code."""
_HARMLESS = frozenset(
    ("squeeze", "unsqueeze", "size", "to", "contiguous", "dim", "eq", "ne", "select", "__is__", "__isnot__", "detach")
)
"""Operations around it that change no number."""


@dataclass(frozen=True)
class ProgramFacts:
    """What a program tells."""

    fields: Mapping[str, Any]
    """Fields of our own `config.json`; empty if the code is of a form that is not known."""
    doubts: tuple[str, ...] = ()
    """What it does beyond the generator, one sentence each."""


def read_program(code: ModuleCode, layers: Mapping[str, str], shapes: Shapes) -> ProgramFacts:
    """Find what leaves no trace in weights.

    Args:
        code: of the generator's modules.
        layers: their names in the archive, with the original's.
        shapes: of the folded parameters, under the original's names.

    Raises:
        CheckpointError: the code computes another network, or cannot be told from one.
    """
    texts = {name: _with_plain_calls(text) for name, text in code.inner.items()}
    silent = _first_silent(texts, layers)
    if silent is not None:
        return ProgramFacts(
            {},
            (f"the archive's code calls no convolution in the module {silent} itself, as archives of PyTorch 1.4 and "
             "later do: what it computes is not compared with the generator",),
        )  # fmt: skip
    within = tuple(f"{layer}." for layer in layers)
    own = {name: text for name, text in texts.items() if name not in layers and not name.startswith(within)}
    for name, text in own.items():
        unknown = [operation for operation, _ in _calls(text) if operation not in _KNOWN]
        if unknown:
            raise CheckpointError(
                f"the archive's code in {name or 'the generator'} calls torch.{unknown[0]}, which a HiFi-GAN generator "
                "does not: it is another network, or one that does something besides"
            )
    biased = {ours for ours in layers.values() if f"{ours}.bias" in shapes}
    followed = follow(code, texts, layers, biased)
    idle = next((theirs for theirs, ours in layers.items() if ours not in followed.convolutions), None)
    if idle is not None:
        raise CheckpointError(f"the archive's code does not call {idle}, as a HiFi-GAN generator does")
    inner = "\n".join(own.values())
    fields = _stages(followed.convolutions, shapes) | _slopes(followed.computations) | _output(inner, code.outer)
    n_blocks = len(fields["resblock_dilation_sizes"])
    expected = ExpectedGenerator(
        frozenset(followed.convolutions),
        len(fields["upsample_rates"]),
        n_blocks,
        fields["leaky_relu_slope"],
        fields["final_slope"],
        _output(inner, ())["output_activation"],
    )
    compare(followed, expected)
    fields |= _missing_biases(texts, layers, shapes)
    return ProgramFacts(fields, _doubts(code.outer))


def _missing_biases(texts: Mapping[str, str], layers: Mapping[str, str], shapes: Shapes) -> dict[str, Any]:
    """The layers whose convolution is called without a bias; where that is the last alone, it is a voice's decoder."""
    without = [
        ours
        for theirs, ours in layers.items()
        if f"{ours}.bias" not in shapes and not re.search(r"^ +bias : Tensor$", texts[theirs], re.MULTILINE)
    ]
    if not without:
        return {}
    latent = {"input_kind": "latent"} if without == ["conv_post"] else {}
    return {"layers_without_bias": without, **latent}


def _first_silent(texts: Mapping[str, str], layers: Mapping[str, str]) -> str | None:
    """A layer without code of its own, which older archives have; it may be elsewhere in them, or not be called."""
    silent = [theirs for theirs in layers if "def forward(" not in texts.get(theirs, "")]
    calls_others = any(
        operation in CONVOLUTIONS for name, text in texts.items() if name not in layers for operation, _ in _calls(text)
    )
    if silent and calls_others and len(silent) < len(layers):
        raise CheckpointError(
            f"the archive's code calls a convolution outside of {silent[0]}, which its other layers do themselves: it "
            "cannot be compared with a HiFi-GAN generator. Give the state dict, with its config.json"
        )
    return silent[0] if silent else None


def _with_plain_calls(text: str) -> str:
    """The text with the functions' own names in place of the variables that stand for them."""
    names = {match[1]: match[2] for match in _ALIAS.finditer(text)}
    return _VARIABLE.sub(lambda match: f"torch.{names[match[1]]}(" if match[1] in names else match[0], text)


def _calls(text: str) -> list[tuple[str, list[str]]]:
    """Each call of an operation of PyTorch's, with the beginnings of its arguments, in the order of execution."""
    found = []
    # Of each bracket that is open: the operation, an empty name if it is none, and where its arguments begin.
    stack: list[tuple[str, list[int]]] = []
    for token in _TOKEN.finditer(text):
        mark = token[0][-1]
        if mark in "([":
            stack.append((token[1] or "", [token.end()]))
        elif mark == "," and stack:
            stack[-1][1].append(token.end())
        elif mark in ")]" and stack:
            operation, begins = stack.pop()
            if operation:
                ends = [*(begin - 1 for begin in begins[1:]), token.start()]
                arguments = [
                    text[begin : min(end, begin + _MAX_ARGUMENT)].strip()
                    for begin, end in zip(begins, ends, strict=True)
                ]
                found.append((operation, [argument for argument in arguments if argument]))
    return found


def _stages(convolutions: Mapping[str, CalledConvolution], shapes: Shapes) -> dict[str, Any]:
    rates: dict[int, int] = {}
    cuts: dict[int, list[int]] = {}
    dilations: dict[int, dict[int, int]] = {}
    for name, it in convolutions.items():
        kernel = shapes[f"{name}.weight"][2]
        dilated = _DILATED.fullmatch(name)
        if up := _UPSAMPLE.fullmatch(name):
            rates[int(up[1])], cuts[int(up[1])] = it.stride, [it.padding, it.padding - it.output_padding]
            is_right = it.is_transposed and it.dilation == 1 and 0 <= it.output_padding <= it.padding
        else:
            is_right = not it.is_transposed and it.stride == 1 and 2 * it.padding == (kernel - 1) * it.dilation
            is_right = is_right and (it.dilation == 1 or dilated is not None)
        if dilated:
            dilations.setdefault(int(dilated[1]), {})[int(dilated[2])] = it.dilation
        if not is_right:
            raise CheckpointError(
                f"the archive's code calls {name}, of kernel {kernel}, with stride {it.stride}, padding {it.padding}, "
                f"dilation {it.dilation} and output padding {it.output_padding}: a HiFi-GAN generator does not"
            )
    sizes = [[units[m] for m in sorted(units)] for _, units in sorted(dilations.items())]
    n_blocks = len(sizes) // max(len(rates), 1)
    if not n_blocks or sizes != sizes[:n_blocks] * len(rates):
        raise CheckpointError(f"the archive's code has other dilations in each stage: {sizes[:20]}")
    fields: dict[str, Any] = {
        "upsample_rates": [rates[i] for i in sorted(rates)],
        "resblock_dilation_sizes": sizes[:n_blocks],
    }
    kernels = [shapes[f"ups.{i}.weight"][2] for i in sorted(rates)]
    usual = [[(kernel - rates[i]) // 2] * 2 for i, kernel in zip(sorted(rates), kernels, strict=True)]
    found = [cuts[i] for i in sorted(rates)]
    # What is usual is said too where it can be read in two ways.
    if found != usual or any((kernel - rates[i]) % 2 for i, kernel in zip(sorted(rates), kernels, strict=True)):
        fields["upsample_paddings"] = found
    return fields


def _slopes(computations: Computations) -> dict[str, float]:
    inner, last = computations.slopes_before("conv_post")
    if len(inner) != 1:
        raise CheckpointError(
            f"the archive's code has activations of the slopes {sorted({*inner, *last})}: one for all, and one before "
            "conv_post, are needed"
        )
    slope = inner.pop()
    return {"leaky_relu_slope": slope, "final_slope": last.pop() if last else slope}


def _output(text: str, outer: Sequence[str]) -> dict[str, str]:
    """What bounds the samples: in the generator itself, or around it."""
    for part in (text, *reversed(outer)):
        found = [(_OUTPUTS[operation], arguments) for operation, arguments in _calls(part) if operation in _OUTPUTS]
        if any(kind == "tanh" for kind, _ in found):
            return {"output_activation": "tanh"}
        for _, arguments in found:
            bounds = [argument.partition("=")[2] or argument for argument in arguments[1:3]]
            if bounds in (["-1", "1"], ["-1.", "1."]):
                return {"output_activation": "clamp"}
            raise CheckpointError(f"the archive's code clamps to {bounds}: samples are in [-1, 1]")
    return {"output_activation": "none"}


def _doubts(outer: Sequence[str]) -> tuple[str, ...]:
    beyond = [
        operation for text in outer for operation, _ in _calls(_with_plain_calls(text)) if operation not in _HARMLESS
    ]
    if not beyond:
        return ()
    names = ", ".join(f"torch.{name}" for name in dict.fromkeys(beyond))
    return (f"the archive's code around the generator calls {names[:300]}, which is not done here",)
