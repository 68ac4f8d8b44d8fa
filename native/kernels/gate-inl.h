// The value of a gated convolution. Included inside the instruction set's namespace, after exponential-inl.h.

// tanh a * sigmoid b with one division: with A = exp(2a) - 1 and B = exp(b) - 1 it is A (B + 1) / ((A + 2) (B + 2)).
HIFIGAN_INLINE Vec gated(Vec a, Vec b) {
  a = within(a, 10.0f);
  const Vec one = broadcast(1.0f), two = broadcast(2.0f);
  const Vec first = expm1_of(add(a, a)), second = expm1_of(within(b, 20.0f));
  return div(mul(first, add(second, one)), mul(add(first, two), add(second, two)));
}

void gate(const GateArgs& args) {
  const int whole = args.channels / kLanes * kLanes, rest = args.channels - whole;
  for (Index r = 0; r < args.count; ++r) {
    float* const row = args.rows + r * args.stride;
    const float* const second = row + args.channels;
    for (int c = 0; c < whole; c += kLanes) {
      Vec b;
      __builtin_memcpy(&b, second + c, sizeof b);  // it may begin anywhere
      store(row + c, gated(load(row + c), b));
    }
    if (rest == 0) continue;
    // Zeros give zeros, which the padding must hold.
    alignas(64) float a[kLanes] = {}, b[kLanes] = {};
    for (int c = 0; c < rest; ++c) {
      a[c] = row[whole + c];
      b[c] = second[whole + c];
    }
    store(row + whole, gated(load(a), load(b)));
  }
}
