"""Every tolerance of the suite, one line each with its reason; a test may not invent its own."""

# reference engine: float64 sums in another order than the original's float64 network
REFERENCE_MAX_ABS = 1e-12
