// Functions made of the exponential. Included inside the instruction set's namespace, after its Vec.

using VecInt = int __attribute__((vector_size(sizeof(Vec))));

// x cut off at -limit and limit, NaN left.
HIFIGAN_INLINE Vec within(Vec x, float limit) {
  // The argument comes second so that NaN stays NaN.
  const Vec low = broadcast(-limit);
  return sub(zero(), max(low, sub(zero(), max(low, x))));
}

// exp(y) - 1, which keeps its relative accuracy around zero; y is from -20 to 20, or NaN.
HIFIGAN_INLINE Vec expm1_of(Vec y) {
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  const Vec magic = broadcast(12582912.0f);
  const Vec shifted = fma(y, broadcast(1.44269504f), magic);
  const Vec n = sub(shifted, magic);
  // ln 2 in two parts, the first exact in products with |n| < 2^9.
  Vec f = fnma(n, broadcast(0.693359375f), y);
  f = fnma(n, broadcast(-2.12194440e-4f), f);
  // exp(f) - 1 - f over f^2, least squares on |f| <= ln 2 / 2, relative error 5e-9.
  Vec q = broadcast(0.0013946452f);
  q = fma(q, f, broadcast(0.0083691566f));
  q = fma(q, f, broadcast(0.041666262f));
  q = fma(q, f, broadcast(0.16666517f));
  q = fma(q, f, broadcast(0.5f));
  const Vec expm1_f = fma(mul(f, f), q, f);
  VecInt bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127) << 23;
  Vec power;
  __builtin_memcpy(&power, &bits, sizeof power);
  return fma(power, expm1_f, sub(power, broadcast(1.0f)));
}

// tanh x = E / (E + 2) with E = exp(2x) - 1; within 3 ulp everywhere. Beyond 10 the result is +-1 in float32.
HIFIGAN_INLINE Vec tanh_of(Vec x) {
  x = within(x, 10.0f);
  const Vec e = expm1_of(add(x, x));
  return div(e, add(e, broadcast(2.0f)));
}
