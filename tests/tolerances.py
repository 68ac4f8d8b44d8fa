"""Every tolerance of the suite, one line each with its reason; a test may not invent its own."""

# reference engine: float64 sums in another order than the original's float64 network
REFERENCE_MAX_ABS = 1e-12
# the same against a float64 network that computes its weights by its own weight norm: ours are folded to float32
OWN_WEIGHT_NORM_MAX_ABS = 1e-6

# folded weights: float64 arithmetic rounded once, which may fall on the other side of a tie
FOLDED_MAX_ULP = 1
# float64 weights folded in float64: the sum of squares runs in another order
FOLDED_FLOAT64_MAX_ULP = 4

# mel in float64, rounded to float32 once, against a float64 oracle: half a unit of float32 at 16 is 1e-6
MEL_AGAINST_FLOAT64 = 1e-5
# mel against the original's float32 code: its own float32 rounding is 1.3e-4 to 3.5e-4
MEL_AGAINST_ORIGINAL = 1e-3
# filter weights against librosa's float32 ones, relative to the largest weight: one unit of float32
FILTERBANK_AGAINST_LIBROSA = 1e-7

# any float32 engine on small seeded generators, against float64: ONNX Runtime has 131 dB; a slope 10 % off gives 52
FLOAT32_ENGINE_SNR_DB = 110.0
# float32 engines, real V1 weights and voiced speech, against float64: what is promised; 101 dB was the least seen
PRETRAINED_SNR_DB = 100.0
# native against ONNX Runtime, the decoder of a real voice of Piper on its own latents: what is asked
PIPER_DECODER_SNR_DB = 110.0
# the same of its flow and decoder, on what its text part gives: what is asked. The test's noise gives 112 dB;
# other noise mostly 107 to 117, and once in hundreds 100 to 102, where ONNX Runtime is 103 dB from float64 and ours 109
PIPER_FLOW_SNR_DB = 100.0
# a voice, text part and generator, against its whole file in ONNX Runtime with the same noise: what is asked;
# 107 dB was seen of phonemes at random
VOICE_SNR_DB = 100.0
# the same of real sentences: 96 to 113 dB was seen, and ONNX Runtime itself is 100 to 114 dB from float64
VOICE_OF_SENTENCES_SNR_DB = 90.0
# flow and decoder from float64 on a sentence: 105 dB was seen, and 96 before its sums were made of short chains
VOICE_OF_A_SENTENCE_FROM_FLOAT64_SNR_DB = 100.0
# audio below 1 of a float64 network, given in float32: half a unit of float32 is 3e-8
FLOAT32_ROUNDING_OF_AUDIO = 1e-7
# a batch against its items one by one, in float32: other blocking, other order of sums (1e-7 was seen)
BATCH_MAX_ABS = 1e-6
# onnx.reference, NumPy float32, on tiny nets against float64: 132 dB was seen
ONNX_REFERENCE_SNR_DB = 110.0
# memory of exporting V1 beyond the loaded model: 4 x file size + 64 MB
EXPORT_MEMORY_FACTOR, EXPORT_MEMORY_EXTRA_BYTES = 4, 64 << 20
# audio in float16, below 1: half a unit of float16 there is 2.4e-4, and the float32 behind it may round the other way
FLOAT16_OUTPUT_MAX_ABS = 5e-4

# soxr HQ (20 bits, so 1e-6 of full scale) on a tone, with the passband ripple of its 0.4 amplitude
RESAMPLED_TONE = 1e-5

# native engine, small random generators, against float64 and between plans and instruction sets: 123 dB at worst of 300
NATIVE_SMALL_SNR_DB = 112.0

# tile unit, small random generators, against the network with rounded operands and float64 sums: 51 and 101 dB at
# worst of 60, since a sum beside the middle of two numbers is rounded the other way; and against float64: 41 and 98 dB
TILES_ROUNDED_SNR_DB = {"bfloat16": 47.0, "bfloat16x3": 97.0}
TILES_SNR_DB = {"bfloat16": 38.0, "bfloat16x3": 94.0}

# engine cuda, small random generators, against float64: 120 and 60 dB at worst of 40; an error in one row is below 40
CUDA_SMALL_SNR_DB = {"float32": 105.0, "float16": 50.0}

# engine cuda, V1's real weights, 16 frames of speech: what is asked; 102 and 53 dB were seen on the imitated card
CUDA_V1_SNR_DB = {"float32": 97.0, "float16": 46.0}

# tiny generator with weights rounded to float16 (11 bits) by the Ascend simulator: 63.1 to 63.3 dB over 20 mels
SIMULATED_FLOAT16_SNR_DB = 60.0

# torch in lower precisions, tiny net, against float64: rounded to 8 and 11 bits; above the range it was not executed
LOW_PRECISION_SNR_DB = {"bfloat16": (25.0, 60.0), "float16": (45.0, 80.0)}
# a layer of split numbers in 16 bits below its exact result rounded once: 0.2 dB were seen; without splitting 4.6
SPLIT_BELOW_ROUNDING_DB = 0.5

# mel distance of an evaluation against one of whole float32 clips: sums in another order
EVALUATION_MEL_L1 = 1e-4
# STOI and PESQ of a signal against itself: 1, and 0.999 + 4 / (1 + exp(3.8224 - 1.3669 * 4.5)), but for rounding
SCORE_IDENTITY = 1e-4
# pystoi's ESTOI adds unseeded noise of 1e-16 before it normalises
ESTOI_DITHER = 1e-9
# a metric against an independent implementation, relative
METRIC_AGAINST_OTHER = 1e-2
# the same formula in the same arithmetic, summed in another order
METRIC_AGAINST_SAME_FORMULA = 1e-9
# speechmos takes the mean of P.808 in float32; one window more or less moves a score by a hundredth
DNSMOS_MEAN_IN_FLOAT32 = 1e-6
# a gain's effect on spectral distances: bins at the power floor do not follow it (4e-6 was seen)
SPECTRAL_FLOOR_EFFECT = 1e-4
# the cosine series over the warped axis, by a sum of 20,000 points
NUMERIC_INTEGRATION = 1e-6
# all-pass constants are published with three decimals
ALL_PASS_DECIMALS = 1e-3
# the P.808 mel in dB, float32 weights of the filters against float64 ones
P808_MEL_DB = 1e-3
# K-weighting coefficients at 48 kHz against the standard's table
K_WEIGHTING_COEFFICIENTS = 1e-7
# loudness of the EBU's test signals: what Tech 3341 allows
LOUDNESS_LU = 0.1
# printed tables of four decimals
FOUR_DECIMALS = 6e-5
# share of simulated 95 % intervals that hold the true mean
COVERAGE = (0.93, 0.97)
# such a share of 4000 rounds against a documented one of 10,000: three standard deviations, and its rounding
COVERAGE_FIGURE = 0.018
# ends of two BCa bootstraps with different random numbers, as a part of the interval's width
BOOTSTRAP_ENDS = 0.05
# SNR from which a difference is taken for none: full scale over half a step of 16 bits
INAUDIBLE_SNR_DB = 100.0
# how far a degradation that can be heard must move a metric, and one that it misses may not: about a tenth of what
# separates HiFi-GAN V1 from a recording in published figures, for DNSMOS its spread between takes
HEARD = {
    "mel_l1": 0.02, "mel_l1_full": 0.02, "mr_stft": 0.1, "lsd": 0.5, "mcd": 0.2, "f0_rmse_cents": 10.0, "vuv_f1": 0.01,
    "vuv_error": 0.01, "periodicity_rmse": 0.02, "stoi": 0.005, "estoi": 0.01, "pesq_wb": 0.1, "dnsmos_sig": 0.1,
    "dnsmos_bak": 0.1, "dnsmos_ovrl": 0.1, "dnsmos_p808": 0.1, "si_sdr": 10.0, "snr": 10.0, "loudness_difference": 0.1,
    "peak": 0.1,
}  # fmt: skip

# a stream by overlap against the whole mel, float32: windows of other lengths, other order of sums (2e-7 was seen)
STREAM_MAX_ABS = 2e-6

# what the report plays against what was measured: 16 bits, rounded once
SWITCHED_MAX_ABS = 2 / 65536
