// The last layer: one output channel, then tanh or a clamp. Included inside the instruction set's namespace, after
// exponential-inl.h.

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

// Sums of products of R rows, `taps` * `channels` numbers each, the first at x, the others a stride further.
template <int R>
HIFIGAN_INLINE void sum_products(const float* x, Index stride, int taps, int channels, const float* weights, float* sums) {
  Vec sum[R];
  for (Vec& row : sum) row = zero();
  for (int tap = 0; tap < taps; ++tap, x += stride, weights += channels) {
    for (int c = 0; c < channels; c += kLanes) {
      const Vec weight = load(weights + c);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sum[r] = fma(load(x + r * stride + c), weight, sum[r]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) sums[r] = sum_of(sum[r]);
}

void conv_post(const ConvPostArgs& args) {
  constexpr int together = 4;  // rows; kLanes is a multiple
  const int padded = round_up_to_lanes(args.in_channels);
  const Vec bias = broadcast(args.bias);
  for (Index first = 0; first < args.rows; first += kLanes) {
    const int rows = static_cast<int>(args.rows - first < kLanes ? args.rows - first : Index{kLanes});
    alignas(64) float sums[kLanes] = {};
    for (int r = 0; r < rows;) {
      const float* x = args.x + (first + r) * args.x_stride;
      const Index left = args.x_rows - (first + r);
      if (r + together <= rows && left >= args.kernel_size + together - 1) {
        sum_products<together>(x, args.x_stride, args.kernel_size, padded, args.weights, sums + r);
        r += together;
      } else {
        const int taps = left < args.kernel_size ? static_cast<int>(left) : args.kernel_size;
        sum_products<1>(x, args.x_stride, taps, padded, args.weights, sums + r);
        r += 1;
      }
    }
    store(sums, add(load(sums), bias));
    switch (args.output) {
      case Output::kTanh: store(sums, tanh_of(load(sums))); break;
      case Output::kClamp: store(sums, within(load(sums), 1.0f)); break;
      case Output::kNone: break;
    }
    for (int r = 0; r < rows; ++r) args.audio[first + r] = sums[r];
  }
}
