"""Every tolerance of the suite, one line each with its reason; a test may not invent its own."""

# reference engine: float64 sums in another order than the original's float64 network
REFERENCE_MAX_ABS = 1e-12

# mel in float64, rounded to float32 once, against a float64 oracle: half a unit of float32 at 16 is 1e-6
MEL_AGAINST_FLOAT64 = 1e-5
# mel against the original's float32 code: its own float32 rounding is 1.3e-4 to 3.5e-4
MEL_AGAINST_ORIGINAL = 1e-3
# filter weights against librosa's float32 ones, relative to the largest weight: one unit of float32
FILTERBANK_AGAINST_LIBROSA = 1e-7

# native engine, small random generators: float32 rounding against float64, 123 dB at worst over 300 of them; also between
# plans and instruction sets
NATIVE_SMALL_SNR_DB = 112.0
# native engine, real V1 weights and mels: what the product promises; 109 dB measured
NATIVE_SNR_DB = 106.0
