// The last layer: one output channel, then tanh or a clamp. Included inside the instruction set's namespace, after epilogue-inl.h.

using VecInt = int __attribute__((vector_size(sizeof(Vec))));

// x cut off at -limit and limit, NaN left.
HIFIGAN_INLINE Vec within(Vec x, float limit) {
  // The argument comes second so that NaN stays NaN.
  const Vec low = broadcast(-limit);
  return sub(zero(), max(low, sub(zero(), max(low, x))));
}

// tanh x = E / (E + 2) with E = exp(2x) - 1, which keeps its relative accuracy around zero; within 3 ulp everywhere.
HIFIGAN_INLINE Vec tanh_of(Vec x) {
  // Beyond 10 the result is +-1 in float32.
  x = within(x, 10.0f);
  const Vec y = add(x, x);
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
  const Vec e = fma(power, expm1_f, sub(power, broadcast(1.0f)));
  return div(e, add(e, broadcast(2.0f)));
}

std::size_t post_weights_size(int in_channels, int kernel_size) {
  return static_cast<std::size_t>(kernel_size) * static_cast<std::size_t>(round_up_to_lanes(in_channels));
}

void pack_post(const PackArgs& args) {
  const int padded = round_up_to_lanes(args.in_channels);
  for (int tap = 0; tap < args.kernel_size; ++tap) {
    for (int c = 0; c < padded; ++c) {
      args.out[tap * padded + c] = c < args.in_channels ? args.weights[c * args.kernel_size + tap] : 0.0f;
    }
  }
}

std::size_t post_scratch_size(int, int) { return 0; }

void conv_post(const ConvPostArgs& args) {
  const int padded = round_up_to_lanes(args.in_channels);
  for (Index first = 0; first < args.rows; first += kLanes) {
    const int rows = static_cast<int>(args.rows - first < kLanes ? args.rows - first : Index{kLanes});
    alignas(64) float sums[kLanes] = {};
    for (int r = 0; r < rows; ++r) {
      Vec sum = zero();
      for (int tap = 0; tap < args.kernel_size && first + r + tap < args.x_rows; ++tap) {
        const float* x = args.x + (first + r + tap) * args.x_stride;
        for (int c = 0; c < padded; c += kLanes) sum = fma(load(x + c), load(args.weights + tap * padded + c), sum);
      }
      alignas(64) float lanes[kLanes];
      store(lanes, sum);
      for (int half = kLanes / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
      }
      sums[r] = lanes[0] + args.bias;
    }
    switch (args.output) {
      case Output::kTanh: store(sums, tanh_of(load(sums))); break;
      case Output::kClamp: store(sums, within(load(sums), 1.0f)); break;
      case Output::kNone: break;
    }
    for (int r = 0; r < rows; ++r) args.audio[first + r] = sums[r];
  }
}
