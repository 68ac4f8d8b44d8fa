"""Every tolerance of the suite, one line each with its reason; a test may not invent its own."""

# reference engine: float64 sums in another order than the original's float64 network
REFERENCE_MAX_ABS = 1e-12

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

# tiny generator with weights rounded to float16 (11 bits) by the Ascend simulator: 62 dB was seen
SIMULATED_FLOAT16_SNR_DB = 50.0

# torch in lower precisions, tiny net, against float64: rounded to 8 and 11 bits; above the range it was not executed
TORCH_LOW_PRECISION_SNR_DB = {"bfloat16": (25.0, 60.0), "float16": (45.0, 80.0)}
