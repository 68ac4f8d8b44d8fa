"""Finds out what the dimensions of a foreign model's mel input are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hifigan_rt.config import ModelConfig
from hifigan_rt.errors import ModelFileError
from hifigan_rt.formats.graph_value import GraphValue, listed
from hifigan_rt.formats.onnx_metadata import CONDITIONING_INPUT_NAME, SPEAKER_INPUT_NAME

MelAxis = Literal["B", "M", "1", "T"]
"""Batch, mel bands, a dimension of size 1, frames."""

MelAxes = tuple[MelAxis, ...]

Shape = tuple[int | None, ...]

_CANDIDATES: dict[int, tuple[MelAxes, ...]] = {
    2: (("M", "T"), ("T", "M")),
    3: (("B", "M", "T"), ("B", "T", "M")),
    4: (("B", "M", "1", "T"), ("B", "1", "M", "T"), ("B", "1", "T", "M"), ("B", "T", "1", "M")),
}
"""The layouts that exporters of vocoders use, by rank, the likeliest first: it wins where the shape leaves it open."""


def split_inputs(
    inputs: Sequence[GraphValue], config: ModelConfig | None
) -> tuple[tuple[GraphValue, ...], GraphValue | None]:
    """Tell a model's mel inputs from the one beside them: a conditioning vector, or a speaker; None without.

    Args:
        inputs: those that must be fed.
        config: in our own metadata; other files have nothing beside a mel that is known.
    """
    if config is None or not config.generator.conditioning_channels:
        return tuple(inputs), None
    beside = [value for value in inputs if _is_beside(value)]
    if len(beside) != 1 or len(inputs) != 2:
        return tuple(inputs), None
    return tuple(value for value in inputs if value is not beside[0]), beside[0]


def _is_beside(value: GraphValue) -> bool:
    rank = None if value.shape is None else len(value.shape)
    if value.name == SPEAKER_INPUT_NAME:
        return value.dtype == "int64" and rank == 1
    return value.name == CONDITIONING_INPUT_NAME and value.dtype.startswith("float") and rank == 2


def settle_mel_input(
    inputs: Sequence[GraphValue], config: ModelConfig | None, conv_channels: int | None
) -> tuple[int | None, tuple[MelAxes, ...]]:
    """The mel bands of a model, None if they are not known, and what the dimensions of its input may be.

    Args:
        inputs: those that must be fed.
        config: in the file's own metadata.
        conv_channels: see `find_num_mels`.

    Raises:
        ModelFileError: the metadata contradict the inputs.
    """
    mels, _ = split_inputs(inputs, config)
    stated = None if config is None else config.generator.input_channels
    shape = mels[0].shape if len(mels) == 1 else None
    num_mels = stated or find_num_mels(shape, conv_channels)
    layouts = () if shape is None else find_mel_layouts(shape, num_mels)
    if stated is not None and not layouts:
        raise ModelFileError(
            f"its metadata say num_mels={stated}, which its inputs do not take ({listed(inputs)}): export the model "
            "again"
        )
    return num_mels, layouts


def find_num_mels(shape: Shape | None, conv_channels: int | None) -> int | None:
    """The mel bands of an input.

    Args:
        shape: of the input, None for dynamic dimensions.
        conv_channels: input channels of the first convolution, which takes the mel in every HiFi-GAN.
    """
    inner = () if shape is None else shape[1:] if len(shape) > 2 else shape
    fixed = [size for size in inner if size is not None and size > 1]
    # Beside open frames the input tells; an optimised file may have no convolution before those of its resblocks.
    if len(fixed) == 1 and None in inner:
        return fixed[0]
    if conv_channels is not None and conv_channels > 1 and (conv_channels in inner or None in inner):
        return conv_channels
    # With two fixed dimensions one is the number of frames, and nothing tells which.
    return fixed[0] if len(fixed) == 1 else None


def find_mel_layouts(shape: Shape, num_mels: int | None) -> tuple[MelAxes, ...]:
    """What the dimensions may be, the likeliest first: several where the shape leaves it open."""
    ratings = [(_rate(shape, axes, num_mels), axes) for axes in _CANDIDATES.get(len(shape), ())]
    best = max((rating for rating, _ in ratings if rating is not None), default=None)
    return tuple(axes for rating, axes in ratings if best is not None and rating == best)


def _rate(shape: Shape, axes: MelAxes, num_mels: int | None) -> int | None:
    """How much the shape speaks for a layout; None if it speaks against it."""
    rating = 0
    if shape[axes.index("M")] is None and shape[axes.index("T")] is not None:
        return None  # no exporter fixes the frames and leaves the bands open
    for size, axis in zip(shape, axes, strict=True):
        if axis == "T" and size is None:
            rating += 1
        elif axis == "1" and size is not None:
            if size != 1:
                return None
            rating += 1
        elif axis == "M" and size is not None:
            if num_mels is not None and size != num_mels:
                return None
            rating += 2
    return rating
