"""Quantises the 2-D graph to int8 with nncf; run in a process of its own: `python -m measuring.int8_calibration`.

Settings: mixed preset, fast bias correction, first and last layer in float (quantised they cost 6 dB and gain nothing).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

CALIBRATION_FRAMES = 200


def quantise(onnx_path: Path, mel: np.ndarray, output: Path) -> None:
    """Write OpenVINO IR of `onnx_path`, calibrated on consecutive clips of `mel` `[M, T]`."""
    import nncf
    import openvino

    model = openvino.Core().read_model(onnx_path)
    clips = [
        mel[None, :, None, start : start + CALIBRATION_FRAMES].astype(np.float32)
        for start in range(0, max(1, mel.shape[1] - CALIBRATION_FRAMES + 1), CALIBRATION_FRAMES)
    ]
    quantised = nncf.quantize(
        model,
        nncf.Dataset(clips),
        preset=nncf.QuantizationPreset.MIXED,
        fast_bias_correction=True,
        subset_size=len(clips),
        ignored_scope=nncf.IgnoredScope(patterns=["conv_pre.*", "conv_post.*"]),
    )
    openvino.save_model(quantised, output, compress_to_fp16=False)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("onnx", type=Path)
    parser.add_argument("mel", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    quantise(arguments.onnx, np.load(arguments.mel), arguments.output)


if __name__ == "__main__":
    main()
