"""Makes mel_golden.npz: mels by the original's own code, and filterbanks by librosa.

Usage, in an environment with torch, librosa and scipy:

    python tests/golden/make_mel_golden.py PATH_TO_HIFI_GAN_CHECKOUT [OUTPUT.npz]

PATH_TO_HIFI_GAN_CHECKOUT is jik876/hifi-gan at commit 4769534d45265d52a904b850da5a622601885777. The stored file was
made with torch 2.13.0, librosa 0.11.0 and NumPy 2.4.6.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np

# name: sample_rate, n_fft, win_length, hop_length, num_mels, fmin, fmax
MEL_SETTINGS = {
    "original": (22050, 1024, 1024, 256, 80, 0, 8000),
    "short_window": (24000, 2048, 1200, 300, 80, 80, 7600),
    "odd_padding": (22050, 1024, 1024, 275, 80, 0, 8000),
}

# name: sample_rate, n_fft, num_mels, fmin, fmax, norm
FILTERBANK_SETTINGS = {
    "original": (22050, 1024, 80, 0, 8000, "slaney"),
    "24k": (24000, 2048, 80, 80, 7600, "slaney"),
    "16k": (16000, 1024, 80, 80, 7600, "slaney"),
    "44k": (44100, 2048, 128, 40, 16000, "slaney"),
    "no_norm": (22050, 1024, 80, 0, None, None),
}


def make_signals() -> dict[str, np.ndarray]:
    """Short 16-bit signals, int16 [N], that reach the corners of the recipe."""
    rng = np.random.default_rng(20260)
    seconds = np.arange(4000) / 22050
    clicks = np.zeros(3333)
    clicks[::700] = 0.9
    # The sweep gets noise at -66 dB: between a pure tone and its leakage the float32 FFT of the original shows its own
    # rounding (up to 5e-3 after the logarithm), and that is not what these mels are compared for.
    noise = 5e-4 * rng.standard_normal(4000)
    signals = {
        "sweep": 0.5 * np.sin(2 * np.pi * (100 * seconds + 25000 * seconds**2)) + noise,
        "noise": 0.1 * rng.standard_normal(3001),
        "quiet": 1e-3 * rng.standard_normal(2048),
        "clicks": clicks,
        "silence": np.zeros(1500),
        "loud": np.sign(np.sin(2 * np.pi * 220 * seconds[:2560])),
        "shortest": 0.3 * np.sin(2 * np.pi * 1000 * seconds[:900]),
    }
    return {name: np.clip(np.rint(signal * 32768), -32768, 32767).astype(np.int16) for name, signal in signals.items()}


def load_original(checkout: Path):
    """Import the original's meldataset.py on today's torch and librosa, which refuse two of its calls."""
    import librosa.filters
    import torch

    librosa_mel = librosa.filters.mel
    librosa.filters.mel = lambda sr, n_fft, n_mels, fmin, fmax: librosa_mel(
        sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax
    )
    torch_stft = torch.stft
    torch.stft = lambda *args, **kwargs: torch.view_as_real(torch_stft(*args, **kwargs, return_complex=True))
    sys.path.insert(0, str(checkout))
    return importlib.import_module("meldataset"), librosa_mel


def main() -> None:
    import torch

    checkout = Path(sys.argv[1])
    output = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_name("mel_golden.npz")
    meldataset, librosa_mel = load_original(checkout)
    arrays: dict[str, np.ndarray] = {}
    for signal_name, signal in make_signals().items():
        arrays[f"signal/{signal_name}"] = signal
        audio = torch.from_numpy(signal.astype(np.float32) / 32768)[None]
        for name, (sample_rate, n_fft, win, hop, num_mels, fmin, fmax) in MEL_SETTINGS.items():
            if signal.size <= (n_fft - hop) // 2:
                continue
            mel = meldataset.mel_spectrogram(audio, n_fft, num_mels, sample_rate, hop, win, fmin, fmax)
            arrays[f"mel/{name}/{signal_name}"] = mel[0].numpy()
    for name, (sample_rate, n_fft, num_mels, fmin, fmax, norm) in FILTERBANK_SETTINGS.items():
        filterbank = librosa_mel(sr=sample_rate, n_fft=n_fft, n_mels=num_mels, fmin=fmin, fmax=fmax, norm=norm)
        arrays[f"filterbank/{name}"] = filterbank
        # The settings travel with the numbers, so that the tests need not repeat them.
        arrays[f"filterbank_settings/{name}"] = np.array(
            [sample_rate, n_fft, num_mels, fmin, sample_rate / 2 if fmax is None else fmax, norm == "slaney"],
            np.float64,
        )
    for name, settings in MEL_SETTINGS.items():
        arrays[f"mel_settings/{name}"] = np.array(settings, np.float64)
    np.savez_compressed(output, **arrays)
    print(f"{output}: {len(arrays)} arrays, {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
