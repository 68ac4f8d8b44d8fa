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
