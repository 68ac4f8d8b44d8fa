"""Whole voices: files that hold all of a VITS or a relative, of which the decoder is a HiFi-GAN generator."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from hifigan_rt.families.groups import Group, unwrapped
from hifigan_rt.formats.checkpoint import LazyTensor, PlacedTensor
from hifigan_rt.formats.checkpoint.reader import WholeVoice

_PARTS = frozenset(
    ("enc_p", "enc_q", "flow", "flows", "dp", "sdp", "emb_g", "emb_uv", "posterior_encoder", "post_flow", "pre_flow",
     "ref_enc", "stochastic_duration_predictor")
)  # fmt: skip
"""Neighbours that make a generator the decoder of a voice, so that it takes latents."""

_MORE_PARTS = frozenset(("text_encoder", "duration_predictor", "spemb_proj", "lang_emb", "enc_spk"))
"""Parts that are named where they are not run; other networks have such too."""

_DECODERS = frozenset(("dec", "waveform_decoder"))
"""Names of voices' decoders; one alone in a file is told from a vocoder by its last layer, which has no bias."""

_CONDITIONING = ("cond.", "cond_layer.", "global_conv.")
_TABLES = ("emb_g.weight", "embed_speaker.weight", "global_emb.weight")
_FURTHER_VECTORS = frozenset(("spemb_proj", "lang_emb"))
"""Parts of ESPnet's voices whose results are added to a speaker's row: the decoder does not take the row alone."""


def find_voice(group: Group, neighbours: Collection[str]) -> WholeVoice | None:
    """Tell which voice a generator is the decoder of; None if it stands for itself.

    Args:
        group: the generator's tensors.
        neighbours: the components in which the names of other tensors of the file leave its prefix.
    """
    *_, own = group.home.split(".")
    parts = sorted(_PARTS.intersection(neighbours))
    if not parts and (own not in _DECODERS or "conv_post.bias" in group.tensors):
        return None
    parts = sorted((_PARTS | _MORE_PARTS).intersection(neighbours))
    if own == "waveform_decoder" and any(name.startswith("conds.") for name in group.tensors):
        return WholeVoice("an XTTS voice", tuple(parts))
    is_piper = "model_g" in group.address.split(".")
    return WholeVoice("a Piper voice" if is_piper else "a VITS voice", tuple(parts))


def find_flow(group: Group, tensors: Iterable[PlacedTensor]) -> dict[str, LazyTensor]:
    """Find the tensors of the flow beside a decoder, by their names behind "flow."."""
    parent = group.home.rpartition(".")[0]
    start = f"{parent}.flow." if parent else "flow."
    return {unwrapped(placed.name[len(start) :]): placed.tensor for placed in tensors if placed.name.startswith(start)}


def find_speaker_table(
    group: Group, tensors: Collection[PlacedTensor], neighbours: Collection[str]
) -> PlacedTensor | None:
    """Find the table of speakers `[S, G]` beside a decoder that takes vectors `[G]`; None if there is none.

    Args:
        group: the decoder's tensors.
        tensors: those of the whole file.
        neighbours: as for `find_voice`.
    """
    if not _FURTHER_VECTORS.isdisjoint(neighbours):
        return None
    channels = {
        placed.tensor.shape[1]
        for name, placed in group.tensors.items()
        if name.startswith(_CONDITIONING) and len(placed.tensor.shape) == 3
    }
    parent = group.home.rpartition(".")[0]
    names = {unwrapped(f"{parent}.{name}".strip(".")) for name in _TABLES}
    # A linear layer of that name, which maps vectors of a network of its own, has a bias.
    named = [(unwrapped(placed.name), placed) for placed in tensors]
    names -= {name.removesuffix("bias") + "weight" for name, _ in named if name.endswith(".bias")}
    for name, placed in named:
        shape = placed.tensor.shape
        # A weight_g [C, 1, 1] has one channel as well, and no table has.
        if name in names and len(shape) == 2 and shape[1] in channels - {1}:
            return placed
    return None
