"""What is said of files that hold no generator: what they seem to be, and the way out."""

from __future__ import annotations

import numpy as np
import pytest

from checkpoint_files import Tensor, legacy_file, zip_file
from generator_nodes import other, state
from hifigan_rt.errors import CheckpointError
from hifigan_rt.families import read_checkpoint


@pytest.mark.parametrize(
    ("root", "message"),
    [
        (
            lambda: {"mpd": {}, "msd": {}, "optim_g": {}, "optim_d": {}, "steps": 1, "epoch": 0},
            "holds no generator: it seems to be the discriminators and optimisers of a training run (a do_* file); the "
            "generator is in the g_* file beside it; its keys are 'mpd', 'msd', 'optim_g', 'optim_d', 'steps', 'epoch'",
        ),
        (lambda: {"model": {}, "epoch": 3}, "holds no tensors: its keys are 'model', 'epoch'"),
        (lambda: {}, "holds nothing but an empty dictionary"),
        (lambda: {"generator": {}}, "holds no tensors: its keys are 'generator'"),
        (lambda: [1, 2], "holds a list: a dictionary of weights is needed"),
        (lambda: Tensor(np.ones(1), "0"), "holds a tensor: a dictionary of weights is needed"),
        (lambda: "text", "holds 'text': a dictionary of weights is needed"),
    ],
)
@pytest.mark.parametrize("write", [zip_file, legacy_file])
def test_files_without_a_generator(tmp_path, root, message, write):
    path = tmp_path / "x.pth"
    path.write_bytes(write(root()))
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"{str(path)!r} {message}"


@pytest.mark.parametrize(
    ("names", "seems"),
    [
        (("state.0.exp_avg", "param_groups.0.x"), "the state of an optimiser"),
        (("discriminators.0.convs.0.weight",), "discriminators"),
        (
            ("decoder.attention_rnn.weight_ih", "postnet.convolutions.0.0.conv.weight"),
            "a text-to-speech acoustic model",
        ),
        (("encoder.conv1.weight", "decoder.token_embedding.weight"), "Whisper, which recognises speech"),
        (("bert.embeddings.word_embeddings.weight",), "BERT or a relative"),
        (("lora_unet_down_blocks_0.lora_down.weight",), "a LoRA, which changes another network; merge it into"),
        (
            ("base_model.model.conv_pre.lokr_w1",),
            "a LoRA, which changes another network; merge it into that in PyTorch",
        ),
        (("unet.down_blocks.0.resnets.0.weight",), "a network of diffusers"),
        (("enc_p.emb.weight", "flow.flows.0.weight"), "a VITS voice; its decoder is none that is known"),
        (("upsamples.0.1.weight", "upsamples_mrf.0.0.convs1.0.1.weight"), "a UHiFiGAN"),
        (("input_conv.weight_v", "sn.upsamples.0.1.weight_v", "fn.upsamples.0.1.weight_v"), "a SiFi-GAN, which also"),
        (("generator.condnet.0.bias", "generator.generator.1.layers.0.1.bias"), "the vocoder of VoiceFixer, a TFGAN"),
        (("audio_decoder.pre_conv.conv.weight_v", "vector_quantizer.fsqs.0.num_levels"), "an audio codec"),
        (("noise_upsample.0.weight", "blocks.0.tade1.aux_conv.0.weight"), "a StyleMelGAN vocoder"),
        (("melgan.1.weight_v", "melgan.3.weight_v"), "a MelGAN vocoder"),
        (("conv_pre.weight_v", "res_stack.0.kernel_predictor.input_conv.0.weight_v"), "a UnivNet vocoder"),
        (
            ("first_conv.weight_v", "conv_layers.0.conv.weight_v", "last_conv_layers.1.weight_v"),
            "a Parallel WaveGAN vocoder",
        ),
        (
            ("input_conv.weight_v", "upsamples.0.1.weight_v", "output_conv.weight_v", "output_conv.bias"),
            "PaddleSpeech's generator with an inverse STFT",
        ),
        (("generator.ups.0.weight_g", "generator.noise_res.0.adain1.0.fc.weight"), "a decoder of StyleTTS2 or Kokoro"),
        (("model.layers.0.self_attn.q_proj.weight",), "a language model"),
        (("conv_pre.conv1d.weight_v", "transpose_upsamples.0.1.deconv.bias", "conv_blocks.0.x"), "a generator of KAN"),
        (("input_conv.pad_buffer", "upsamples.0.pad_buffer"), "a decoder of AudioDec, which takes the codes of its"),
        (("shadow_params.0",), "an average of weights without their names"),
        (("ups.0.weight_g", "noise_res.0.adain1.0.fc.weight"), "a decoder of StyleTTS2 or Kokoro"),
        (("enc_p.x", "dec.in_conv.bias", "dec.layers.0.pw_conv1.bias"), "a VITS voice whose decoder is a Vocos"),
        (("backbone.embed.bias", "head.out.bias", "mpd.discriminators.0.convs.0.bias"), "a Vocos vocoder"),
        (("decoder.estimator.down_blocks.0.0.block1.block.0.bias",), "a text-to-speech acoustic model"),
        (
            ("ema_model.transformer.text_embed.x", "transformer.transformer_blocks.0.x"),
            "a text-to-speech acoustic model",
        ),
        (("acoustic-model.encoder.prenet.net.0.weight",), "a text-to-speech acoustic model"),
        (("unit_embedding.weight", "generator.mrfs.0.residual_blocks.0.0.conv1.bias"), "a unit HiFi-GAN, which takes"),
        (("hubert.module.masked_spec_embed",), "wav2vec 2.0 or a relative"),
        (("_fsdp_wrapped_module._flat_param",), "a part of a network of FSDP, whose weights lie in one row; save the"),
    ],
)
@pytest.mark.parametrize("wrapping", [lambda flat: flat, lambda flat: {"model": flat}])
def test_what_a_file_without_a_generator_seems_to_be(tmp_path, names, seems, wrapping):
    path = tmp_path / "x.pth"
    path.write_bytes(zip_file(wrapping(other(*names))))
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert f"x.pth' holds no generator: it seems to be {seems}" in str(caught.value)
    assert "; its keys are '" in str(caught.value)


def test_weights_that_lie_in_other_parts_of_a_checkpoint_are_asked_for(tmp_path):
    path = tmp_path / "zero_pp_rank_0_mp_rank_00_model_states.pt"
    path.write_bytes(zip_file({"module": {name: Tensor(np.ones(0, np.float32), name) for name in state()}}))
    with pytest.raises(CheckpointError, match=r"tensors without elements \(module\.conv_post.*zero_to_fp32\.py"):
        read_checkpoint(path)
