"""The metrics by the key that a user types: what each is, where it comes from, and what it needs."""

from __future__ import annotations

import difflib
import importlib.util
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from hifigan_rt.errors import EvaluationError, MetricUnavailable
from hifigan_rt.system.versions import how_to_get

Direction = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class MetricEntry:
    """One row of the registry."""

    title: str
    family: str
    """Module of this package that computes it, together with the others of the family."""
    direction: Direction
    """Which way is better; neither: the value describes, or is best at `identity`."""
    definition: str
    source: str
    unit: str = ""
    low: float = 0.0
    high: float = math.inf
    """The range of possible values."""
    identity: float | None = 0.0
    """The value of a signal against itself; None if it depends on the signal."""
    needs_reference: bool = True
    sample_rate: int | None = None
    """Rate in Hz that both signals are resampled to; None: their own."""
    packages: tuple[str, ...] = ()
    """Import names that must be there."""
    extra: str = "eval"
    """The extra of hifigan-rt that installs them; empty if the user installs them."""
    rank: int | None = None
    """Place among the metrics that are shown first where there is no room for all: 1 tells most; None is not shown."""


_TRACKER = "normalised cross-correlation of 40 ms at 16 kHz with a best path, 50 to 550 Hz, every 5 ms"
_TRACKER_SOURCE = "the measure of Morrison et al. 2022 (CARGAN), the tracker after Talkin 1995 and Boersma 1993"
_DNSMOS = "Reddy et al. 2022 (DNSMOS P.835); model files of speechmos 0.0.1.1"
_DNSMOS_NEEDS = ("onnxruntime", "speechmos")

METRICS: Mapping[str, MetricEntry] = {
    "mel_l1": MetricEntry(
        "mel L1, input band", "mel_distance", "lower",
        "mean absolute difference of the natural-log mels that the model takes (its own fmin and fmax)",
        "Kong et al. 2020, the mel loss without its weight of 45", unit="ln", rank=8,
    ),
    "mel_l1_full": MetricEntry(
        "mel L1, full band", "mel_distance", "lower",
        "the same with fmax at half the sample rate, as the original validates",
        "jik876/hifi-gan, train.py with fmax_for_loss null", unit="ln", rank=3,
    ),
    "mr_stft": MetricEntry(
        "multi-resolution STFT", "spectral", "lower",
        "spectral convergence + mean absolute ln-magnitude difference, mean over FFT 1024, 2048, 512 with hops "
        "120, 240, 50 and Hann windows 600, 1200, 240 samples; power floored at 1e-8",
        "Yamamoto et al. 2020, with the defaults of auraloss 0.4 (M-STFT of BigVGAN and PeriodWave)", rank=4,
    ),
    "lsd": MetricEntry(
        "log-spectral distance", "spectral", "lower",
        "per frame the root mean square over bins of the difference of 10 log10 power, mean over frames; "
        "FFT and Hann window 2048, hop 512; power floored at 1e-8",
        "Gray and Markel 1976; the definition without the factor 10 gives a tenth", unit="dB",
    ),
    "mcd": MetricEntry(
        "mel-cepstral distortion", "cepstral", "lower",
        "10 / ln 10 * sqrt(2 * sum of squared differences) of mel-cepstral coefficients 1 to 24 (c0 left out) of "
        "CheapTrick envelopes (F0 as below), frame by frame every 5 ms without time warping, mean over all frames but "
        "those of digital silence in both; the all-pass constant is the one nearest to the mel scale (0.455 at "
        "22,050 Hz)",
        "Kubichek 1993; WORLD (Morise et al. 2016) through pyworld", unit="dB", packages=("pyworld",),
    ),
    "f0_rmse_cents": MetricEntry(
        "F0 RMSE", "pitch", "lower",
        f"root mean square of 1200 log2 of the F0 ratio over frames voiced in both; {_TRACKER}",
        _TRACKER_SOURCE, unit="cents", sample_rate=16000, rank=5,
    ),
    "vuv_f1": MetricEntry(
        "V/UV F1", "pitch", "higher",
        f"F1 score of the generated signal's voiced frames against the reference's; {_TRACKER}",
        _TRACKER_SOURCE, high=1.0, identity=1.0, sample_rate=16000, rank=7,
    ),
    "vuv_error": MetricEntry(
        "V/UV error", "pitch", "lower", f"share of frames voiced in one signal only; {_TRACKER}",
        _TRACKER_SOURCE, high=1.0, sample_rate=16000,
    ),
    "periodicity_rmse": MetricEntry(
        "periodicity RMSE", "pitch", "lower",
        "root mean square over frames of the difference in periodicity, the largest normalised cross-correlation of "
        "40 ms with what follows 1/550 to 1/50 s later, at 16 kHz, every 5 ms; 0 below -60 dB of full scale",
        _TRACKER_SOURCE, high=1.0, sample_rate=16000,
    ),
    "stoi": MetricEntry(
        "STOI", "intelligibility", "higher",
        "short-time objective intelligibility, resampled to 10 kHz by pystoi's own filter",
        "Taal et al. 2011 through pystoi", low=-1.0, high=1.0, identity=1.0, sample_rate=10000,
        packages=("pystoi",), rank=2,
    ),
    "estoi": MetricEntry(
        "ESTOI", "intelligibility", "higher",
        "extended short-time objective intelligibility, resampled to 10 kHz by pystoi's own filter",
        "Jensen and Taal 2016 through pystoi", low=-1.0, high=1.0, identity=1.0, sample_rate=10000,
        packages=("pystoi",),
    ),
    "pesq_wb": MetricEntry(
        "PESQ-WB", "pesq_wide_band", "higher",
        "perceptual evaluation of speech quality, wide band, at 16 kHz; clips of at most 30 s",
        "ITU-T P.862.2 through the package pesq", unit="MOS-LQO", low=1.0, high=4.6439, identity=4.6439,
        sample_rate=16000, packages=("pesq",), extra="", rank=1,
    ),
    "dnsmos_sig": MetricEntry(
        "DNSMOS SIG", "dnsmos", "higher",
        "predicted quality of the speech itself (P.835), at 16 kHz, clipped at full scale",
        _DNSMOS, unit="MOS", low=1.0, high=5.0, identity=None, needs_reference=False, sample_rate=16000,
        packages=_DNSMOS_NEEDS,
    ),
    "dnsmos_bak": MetricEntry(
        "DNSMOS BAK", "dnsmos", "higher",
        "predicted freedom from background noise (P.835), at 16 kHz, clipped at full scale",
        _DNSMOS, unit="MOS", low=1.0, high=5.0, identity=None, needs_reference=False, sample_rate=16000,
        packages=_DNSMOS_NEEDS,
    ),
    "dnsmos_ovrl": MetricEntry(
        "DNSMOS OVRL", "dnsmos", "higher",
        "predicted overall quality (P.835), at 16 kHz, clipped at full scale",
        _DNSMOS, unit="MOS", low=1.0, high=5.0, identity=None, needs_reference=False, sample_rate=16000,
        packages=_DNSMOS_NEEDS, rank=6,
    ),
    "dnsmos_p808": MetricEntry(
        "DNSMOS P.808", "dnsmos", "higher",
        "predicted overall quality (P.808), at 16 kHz, clipped at full scale",
        "Reddy et al. 2021 (DNSMOS); model file of speechmos 0.0.1.1", unit="MOS", low=1.0, high=5.0, identity=None,
        needs_reference=False, sample_rate=16000, packages=_DNSMOS_NEEDS,
    ),
    "distillmos": MetricEntry(
        "DistillMOS", "distillmos", "higher", "predicted naturalness of speech, at 16 kHz",
        "Stahl and Gamper 2025 through the package distillmos", unit="MOS", low=1.0, high=5.0, identity=None,
        needs_reference=False, sample_rate=16000, packages=("torch", "torchaudio", "distillmos"),
        extra="",
    ),
    "si_sdr": MetricEntry(
        "SI-SDR", "waveform", "higher",
        "10 log10 of the power of the generated signal's projection on the reference over the power of the rest, "
        "both made zero-mean",
        "Le Roux et al. 2019", unit="dB", low=-math.inf, identity=math.inf,
    ),
    "snr": MetricEntry(
        "SNR", "waveform", "higher", "10 log10 of the power of the reference over the power of the difference",
        "textbook", unit="dB", low=-math.inf, identity=math.inf,
    ),
    "loudness_lufs": MetricEntry(
        "loudness", "loudness", "neither", "integrated loudness of the generated signal, gated, one channel",
        "ITU-R BS.1770-4", unit="LUFS", low=-70.0, identity=None, needs_reference=False, packages=("scipy",),
    ),
    "loudness_difference": MetricEntry(
        "loudness difference", "loudness", "neither", "integrated loudness, generated minus reference; best at 0",
        "ITU-R BS.1770-4", unit="LU", low=-math.inf, packages=("scipy",),
    ),
    "peak": MetricEntry(
        "peak", "levels", "neither", "20 log10 of the largest magnitude of the generated samples (no oversampling)",
        "textbook", unit="dBFS", low=-math.inf, identity=None, needs_reference=False,
    ),
    "clipped_samples": MetricEntry(
        "clipped samples", "levels", "lower",
        "generated samples at or beyond the largest 16-bit value, 32767 / 32768 in magnitude",
        "textbook", unit="samples", identity=None, needs_reference=False,
    ),
}  # fmt: skip
"""Every metric, in the order of tables."""


def leading(keys: Iterable[str], last_rank: float = math.inf) -> list[str]:
    """The metrics that are shown first, the most telling first.

    Args:
        keys: of the metrics that there are.
        last_rank: leave out metrics beyond it; by default only those without a rank.
    """
    ranks = {key: rank for key in keys if key in METRICS and (rank := METRICS[key].rank) is not None}
    return sorted((key for key in ranks if ranks[key] <= last_rank), key=ranks.__getitem__)


def why_unavailable(key: str) -> str | None:
    """Why a metric cannot be computed here, with the way out; None if it can."""
    entry = METRICS[key]
    absent = [package for package in entry.packages if importlib.util.find_spec(package) is None]
    if not absent:
        return None
    needs = f"metric {key!r} needs the package{'s' if len(absent) > 1 else ''} {', '.join(absent)}"
    if entry.extra:
        return f"{needs}: {how_to_get(entry.extra)}"
    if key == "pesq_wb":
        return f"{needs}: its licence keeps it out of our extras; if it allows your use, pip install pesq"
    return f"{needs}: pip install {' '.join(absent)}"


def check_metrics(keys: Iterable[str]) -> None:
    """Check keys that a user gave.

    Raises:
        EvaluationError: no metric of that key; the nearest is suggested.
        MetricUnavailable: its packages are not installed.
    """
    for key in keys:
        if key not in METRICS:
            near = difflib.get_close_matches(key, METRICS, n=1)
            suggestion = f"; did you mean {near[0]!r}?" if near else ""
            raise EvaluationError(f"metric {key!r} is not known: choose {', '.join(METRICS)}{suggestion}")
        reason = why_unavailable(key)
        if reason is not None:
            raise MetricUnavailable(reason)
