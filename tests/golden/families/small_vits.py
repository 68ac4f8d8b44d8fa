"""The smallest VITS that ESPnet, and PaddleSpeech after it, makes of three speakers."""

from __future__ import annotations

from typing import Any

SMALL_VITS: dict[str, Any] = {
    "hidden_channels": 6, "spks": 3, "global_channels": 5, "segment_size": 4, "text_encoder_attention_heads": 1,
    "text_encoder_ffn_expand": 1, "text_encoder_blocks": 1, "text_encoder_conformer_kernel_size": 1,
    "use_conformer_conv_in_text_encoder": False, "use_macaron_style_in_text_encoder": False, "decoder_channels": 8,
    "decoder_upsample_scales": [5, 2], "decoder_upsample_kernel_sizes": [10, 4],
    "decoder_resblock_kernel_sizes": [3, 5], "decoder_resblock_dilations": [[1, 3], [1, 2]],
    "posterior_encoder_layers": 1, "flow_flows": 1, "flow_layers": 1, "stochastic_duration_predictor_flows": 1,
    "stochastic_duration_predictor_dds_conv_layers": 1,
}  # fmt: skip
