"""The convolution that a module in a TorchScript archive computes: exactly one, of its input, with its own weights.

A module of another kind has the same name and weights, and another result: it scales its weight or has an activation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hifigan_rt.errors import CheckpointError
from hifigan_rt.families.program_values import ProgramParameter, Unknown

CONVOLUTIONS = frozenset(("_convolution", "conv1d", "conv_transpose1d"))
_DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0, "groups": 1}


@dataclass(frozen=True)
class CalledConvolution:
    """A convolution as the code calls it."""

    is_transposed: bool
    stride: int
    padding: int
    dilation: int
    output_padding: int


def convolution_called(
    layer: str, operation: str, arguments: Sequence[object], fields: Mapping[str, object], has_bias: bool
) -> CalledConvolution:
    """Read the call of a convolution in a layer.

    Args:
        layer: its name in the archive.
        operation: of `CONVOLUTIONS`.
        arguments: all, by position.
        fields: the constants of the layer's class.
        has_bias: whether the archive has a bias for it.

    Raises:
        CheckpointError: it is grouped, or not of the layer's own weight and bias as they are.
    """
    weight, bias = (*arguments, None, None, None)[1:3]
    if weight != ProgramParameter(f"{layer}.weight"):
        raise no_plain_convolution(layer, "its weight is not the module's own as it is")
    if bias != ProgramParameter(f"{layer}.bias") and (has_bias or bias is not None):
        raise no_plain_convolution(layer, "its bias is not the module's own as it is")
    is_old = operation == "_convolution"
    is_transposed = operation == "conv_transpose1d" or (is_old and arguments[6:7] == [True])
    # The arguments behind input, weight and bias.
    order = (
        ("stride", "padding", "dilation", "", "output_padding", "groups")
        if is_old
        else ("stride", "padding", "output_padding", "groups", "dilation")
        if is_transposed
        else ("stride", "padding", "dilation", "groups")
    )
    given = dict(zip(order, arguments[3:], strict=False))
    # PyTorch computes it in a method whose code differs between versions.
    if isinstance(given.get("output_padding"), Unknown):
        given["output_padding"] = fields.get("output_padding")
    numbers = {key: _number(layer, key, given.get(key, default)) for key, default in _DEFAULTS.items()}
    groups = numbers.pop("groups")
    if groups != 1:
        raise no_plain_convolution(layer, f"it has {groups} groups")
    return CalledConvolution(is_transposed, **numbers)


def no_plain_convolution(layer: str, why: str) -> CheckpointError:
    """The error of a layer that computes something else."""
    return CheckpointError(
        f"the archive's code in {layer} is no plain convolution: {why}. Of a HiFi-GAN generator each layer gives the "
        "convolution of its input and nothing else"
    )


def _number(layer: str, name: str, value: object) -> int:
    one = value[0] if isinstance(value, list) and len(value) == 1 else value
    if type(one) is not int:
        shown = "what is no number in it" if isinstance(one, Unknown | ProgramParameter) else repr(value)[:60]
        raise CheckpointError(f"the archive's code in {layer} has {name}={shown}: one number is needed")
    return one
