"""Names other networks by the names of their tensors: for what is refused, so that the user learns what it is."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """A kind of network or file, and how it is told."""

    name: str
    """Name with its article."""
    patterns: tuple[re.Pattern[str], ...]
    """Patterns that each fit one of its names at least, from the beginning of one of their components."""
    advice: str = ""
    """What to do instead."""

    def is_told_by(self, names: Collection[str]) -> bool:
        """Tell whether each pattern fits one of the names."""
        return all(any(pattern.search(name) for name in names) for pattern in self.patterns)


def _network(name: str, *patterns: str, advice: str = "") -> Network:
    return Network(name, tuple(re.compile(rf"(?:\A|\.)(?:{pattern})") for pattern in patterns), advice)


_ACOUSTIC = "a text-to-speech acoustic model, which makes mels"
_STYLE = "a decoder of StyleTTS2 or Kokoro, whose layers are normalised by a style"
_UNITS = "a unit HiFi-GAN, which takes tokens"

PARTS_BEYOND = (
    _network(
        _UNITS,
        r"(unit_embedding|attn_pooling|var_predictor|dur_predictor|dict|code_encoder|code_vq)\.",
    ),
    _network(_STYLE, r"resblocks\.\d+\.adain\d\.|noise_res\."),
    _network("a HiFT generator (CosyVoice, Chatterbox)", r"source_resblocks\.|source_downs\.|f0_predictor\."),
    _network("an NSF-HiFi-GAN, which also takes the pitch", r"m_source\.|noise_convs\.|source_conv\."),
    _network("a BigVGAN", r"activation_post\.|resblocks\.\d+\.activations\.|resblocks\.\d+\.\w*\.?alphas?\d*\."),
    _network("a Fre-GAN, which adds repeated rows to its stages", r"(cond_up|res_output)\.\d"),
    _network(
        "a generator that interpolates where the original has transposed convolutions (ppg-vc, MockingBird at 24 kHz)",
        r"ups\.\d+\.1\.",
    ),
    _network("an Avocodo generator, whose slopes are 0.2 and whose stages have outputs of their own", r"conv_post\.\d"),
    _network(
        "a generator with an inverse STFT or several bands at its end",
        r"(subband|multistream)_conv_post\.|reflection_pad\.|stft\.|pqmf\.|(analysis|synthesis)_filter\Z",
    ),
    _network("a generator of ParallelWaveGAN that takes tokens (DiscreteSymbolHiFiGAN)", r"emb\.|duration_predictor\."),
    _network(
        "a generator that a speaker or another voice conditions in a way that is not read",
        r"(cond_pre|cond_emb|spk_emb|speaker_embedding|spk_proj|fc)\.",
    ),
)
"""Networks that have all that a generator has, and more, by the names behind the common prefix."""

_HEADS = (
    (("head",), ("backbone",), "the head of a Firefly GAN (fish-speech, ACE-Step), whose activations are SiLU"),
    (
        ("generator", "decoder"),
        ("encoder", "quantizer"),
        "the decoder of HiFi-Codec (AcademiCodec, ESPnet), whose last activation has a slope of 0.1",
    ),
)
"""Generators whose activations are others, which leaves no trace in their own names: by these and what lies beside."""

_LAST_WEIGHT = re.compile(r"(conv_post|output_conv\.1)(\.conv)?\.(weight|weight_v|parametrizations\.weight\.original1)")

_NETWORK_PART = re.compile(
    r"(\w*_)?(encoder|quantizers?|codebook|text|tokens?|phonemes?|embeddings?|acoustic(_model)?|fastspeech2?|"
    r"tacotron2?|gpt|am|backbone|text2mel|duration_predictor|variance_adaptor|length_regulator)\d*\Z|"
    r"(frontend|hubert|wavlm|contentvec)\Z"
)
"""Neighbours that belong to a network around the generator, so that it may take something else than mels."""
_DISCRIMINATOR = re.compile(r"mpd|msd|mrd|\w*disc(riminators?)?(_|\Z)")
_LOSS_PART = re.compile(r"frontend|hubert|wavlm|contentvec|(speaker|spk)_")
"""Neighbours that a vocoder's training has beside its discriminators, for losses."""


def describe_file(names: Collection[str]) -> str | None:
    """Say what a file without a generator seems to be, with the way out.

    Args:
        names: of its tensors, and the keys at its top level.
    """
    for network in FILES:
        if network.is_told_by(names):
            return f"{network.name}; {network.advice}" if network.advice else network.name
    return None


def network_neighbours(neighbours: Collection[str]) -> list[str]:
    """Pick those of a group's neighbours that belong to a network of which it may be a part."""
    discriminators = {name for name in neighbours if _DISCRIMINATOR.match(name)}
    return sorted(
        name for name in neighbours
        if _NETWORK_PART.match(name)
        and name not in discriminators
        and not (discriminators and _LOSS_PART.match(name))
    )  # fmt: skip


def describe_head(own: str, neighbours: Collection[str]) -> str | None:
    """Say which of `_HEADS` a generator seems to be; None if it is none of them.

    Args:
        own: the last component of the way to it.
        neighbours: the components in which names beside it leave that way.
    """
    return next((name for heads, beside, name in _HEADS if own in heads and set(beside) <= set(neighbours)), None)


def describe_parts_beyond(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Say which network weights are that have all of a generator's layers, and others beside them.

    Args:
        shapes: of the parameters behind the common prefix, with weight norm folded or not.

    Returns:
        The network with the names that tell it; None if all may be a generator's.
    """
    for network in PARTS_BEYOND:
        told = [name for name in shapes if network.is_told_by((name,))]
        if told:
            return f"{network.name}, by {list_names(told)}"
    for name, shape in shapes.items():
        if _LAST_WEIGHT.fullmatch(name) and shape[:1] > (1,):
            return f"a generator with an inverse STFT or several bands at its end, by the {shape[0]} channels of {name}"
    return None


def list_names(names: Iterable[str], shown: int = 5) -> str:
    """The first names, and how many there are beyond them."""
    all_names = list(names)
    text = ", ".join(all_names[:shown])
    return f"{text} and {len(all_names) - shown} more" if len(all_names) > shown else text or "nothing"


FILES = (
    _network(_UNITS, r"unit_embedding\.", r"mrfs\.\d"),
    _network(_STYLE, r"noise_res\.|resblocks\.\d+\.adain\d\."),
    _network("a VITS voice whose decoder is a Vocos (WeTTS)", r"dec\.(in_conv|layers\.\d+\.pw_conv1)\."),
    _network(
        "a VITS voice", r"(enc_p|posterior_encoder)\.", r"(flow|enc_q|dec|waveform_decoder)\.",
        advice="its decoder is none that is known",
    ),
    _network(
        "a generator of KAN-TTS (ModelScope), whose stages add sines and repeated rows",
        r"transpose_upsamples\.", r"conv_blocks\.",
    ),
    _network("a decoder of AudioDec, which takes the codes of its encoder", r"input_conv\.pad_buffer\Z"),
    _network("a SiFi-GAN, which also takes the pitch", r"sn\.upsamples\.", r"fn\.upsamples\."),
    _network("the vocoder of VoiceFixer, a TFGAN", r"condnet\.\d", r"generator\.\d"),
    _network("a UHiFiGAN of ParallelWaveGAN or ESPnet", r"downsamples_mrf\.|upsamples_mrf\."),
    _network("a StyleMelGAN vocoder", r"noise_upsample\."),
    _network("a MelGAN vocoder", r"melgan\.\d"),
    _network("a Parallel WaveGAN vocoder", r"first_conv\.", r"conv_layers\.\d", r"last_conv_layers\.\d"),
    _network(
        "PaddleSpeech's generator with an inverse STFT at its end", r"input_conv\.", r"output_conv\.(weight|bias)"
    ),
    _network(
        "a LoRA, which changes another network", r".*(lora_(up|down|A|B|unet|te)|lora\.(up|down)|hada_w|lokr_w)",
        advice="merge it into that in PyTorch, with PEFT by merge_and_unload(), and save what comes of it",
    ),
    _network(
        _ACOUSTIC, r"decoder\.estimator\.|transformer\.(text|input)_embed\.", advice="the vocoder is another file"
    ),
    _network("a network of diffusers", r"(down|up|mid)_blocks?\.|transformer_blocks\.\d|quant_conv\."),
    _network("Whisper, which recognises speech", r"decoder\.(token_embedding|embed_tokens)\.", r"encoder\.conv1\."),
    _network(
        "wav2vec 2.0 or a relative, which recognises speech", r"feature_extractor\.conv_layers\.|masked_spec_embed\Z"
    ),
    _network("BERT or a relative", r"embeddings\.word_embeddings\.|encoder\.layer\.0\.attention\."),
    _network("a Vocos vocoder", r"backbone\.(embed|convnext)\.", r"head\."),
    _network("a UnivNet vocoder", r"\w+\.\d+\.kernel_predictor\."),
    _network("a WaveGlow vocoder", r"WN\.\d|convinv\.\d"),
    _network("a WaveRNN vocoder", r"rnn1\.weight_ih"),
    _network(
        _ACOUSTIC,
        r"decoder\.(attention_rnn|flows)\.|prenet\.|variance_adaptor\.|length_regulator\.|duration_predictor\.|"
        r"postnet\.|(text|phoneme)_encoder\.",
        advice="the vocoder is another file",
    ),
    _network("a language model", r"layers\.\d+\.self_attn\.|h\.\d+\.attn\.|lm_head\."),
    _network("an audio codec", r"(vector_)?quantizer\."),
    _network(
        "a part of a network of FSDP, whose weights lie in one row", r"_?flat_param\Z",
        advice="save the whole: torch.distributed.checkpoint.state_dict.get_model_state_dict with full_state_dict=True",
    ),
    _network(
        "an average of weights without their names (torch_ema)", r"shadow_params(\.|\Z)",
        advice="copy it into the model in PyTorch, with its copy_to, and save the model's state dict",
    ),
    _network(
        "the discriminators and optimisers of a training run (a do_* file)", r"(mpd|msd|optim_g|optim_d)(\.|\Z)",
        advice="the generator is in the g_* file beside it",
    ),
    _network("discriminators", r"discriminators\.\d", advice="the generator is in another file"),
    _network(
        "the state of an optimiser", r"(param_groups|exp_avg|optimizer\w*)(\.|\Z)",
        advice="the generator is in another file of that training run",
    ),
)  # fmt: skip
"""What files without a generator are, by the names of their tensors and keys; the first that fits is named."""
