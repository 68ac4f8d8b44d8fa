// Convolutions as products of overlapping rows: k rows one dilation apart are the left operand as they lie in memory, and
// a transposed convolution is the same with the output phases side by side in the columns.
// Included inside the instruction set's namespace, after product-inl.h and epilogue-inl.h.

// Rows that go through a layer together.
constexpr int kRowBlock = 48 / kMaxRows * kMaxRows;

struct RowProduct {
  const float* x;
  Index x_stride;
  Index x_rows;
  Activation activation;
  int in_padded;
  int taps;
  int dilation;
  const float* weights;  // [panel][tap][input channel][column of the panel]
  int width;             // columns of the whole, a multiple of the lanes
  Index rows;
  const Tuning* tuning;
  float* scratch;
  Columns columns;
  Stretch written;  // of the first row on, and per row; none if it is not to be fetched
};

constexpr std::size_t row_scratch_size(int in_padded, int taps, int dilation) {
  return static_cast<std::size_t>(kRowBlock + (taps - 1) * dilation) * static_cast<std::size_t>(in_padded) +
         std::size_t{kRowBlock} * kPanel;
}

// Calls sink(first_row, rows, column, vectors, sums) for every block of rows and panel of columns; sums is [row][kPanel].
template <template <bool> class MicroKernel, class Sink>
HIFIGAN_INLINE void for_each_product(const RowProduct& p, const Sink& sink) {
  float* const sums = p.scratch;
  float* const copy = sums + Index{kRowBlock} * kPanel;
  const int end = p.columns.end < p.width ? p.columns.end : p.width;
  const float* const begin = p.weights + Index{p.taps} * p.in_padded * p.columns.begin;
  for (Index first = 0; first < p.rows; first += kRowBlock) {
    const int rows = static_cast<int>(p.rows - first < kRowBlock ? p.rows - first : Index{kRowBlock});
    const int reach = rows + (p.taps - 1) * p.dilation;
    const float* x = p.x + first * p.x_stride;
    Index stride = p.x_stride, group_stride = kLanes;
    constexpr bool dense = MicroKernel<false>::kDenseRows;
    if (dense || p.activation.kind != ActivationKind::kNone || first + reach > p.x_rows) {
      x = copy;
      stride = dense ? kLanes : p.in_padded;
      if (dense) group_stride = Index{reach} * kLanes;
      copy_rows(p.x, p.x_stride, p.x_rows, first, 1, reach, p.in_padded, p.activation, copy, stride, group_stride);
    }
    const LeftMatrix left = {x, stride * p.dilation, group_stride, stride, p.taps, p.in_padded / kLanes};
    const bool past_second = !p.tuning->products_outside;
    const Product<MicroKernel> wide(rows, kPanelVectors, past_second), narrow(rows, 1, past_second);
    const float* weights = begin;
    // The rows of the next block, since each panel of this one is written as soon as it is computed.
    const Index depth = wide.fetching(Index{p.taps} * p.in_padded);
    const bool fetch = p.written.at && p.columns.begin == 0 && end == p.width && first + kRowBlock < p.rows;
    Stretch written{};
    if (fetch) {
      const Index ks = depth * ((p.width + kPanel - 1) / kPanel), even = (kRowBlock * p.written.step + ks - 1) / ks;
      written = {p.written.at + (first + kRowBlock) * p.written.step, even < kLineFloats ? even : kLineFloats};
    }
    for (int column = p.columns.begin; column < end; column += kPanel) {
      const int vectors = panel_vectors(column, p.width);
      const float* const next = weights + Index{p.taps} * p.in_padded * vectors * kLanes;
      // Behind the last panel comes the first one again, for the next rows.
      const float* const to_come = column + kPanel < end ? next : begin;
      (vectors == kPanelVectors ? wide : narrow).run(left, weights, to_come, written, sums, kPanel);
      if (fetch) written.at += depth * written.step;
      sink(first, rows, column, vectors, sums);
      weights = next;
    }
  }
}

std::size_t direct_weights_size(int in_channels, int out_channels, int kernel_size) {
  return static_cast<std::size_t>(kernel_size) * static_cast<std::size_t>(round_up_to_lanes(in_channels)) *
         static_cast<std::size_t>(round_up_to_lanes(out_channels));
}

int direct_pack_units(int, int out_channels, int) { return round_up_to_lanes(out_channels) / kLanes; }

void pack_direct(const PackArgs& args) {
  const int in_padded = round_up_to_lanes(args.in_channels), out_padded = round_up_to_lanes(args.out_channels);
  for (int unit = args.unit_begin; unit < args.unit_end; ++unit) {
    const int column = unit * kLanes, panel = column / kPanel * kPanel;
    const Index width = panel_vectors(panel, out_padded) * kLanes;
    float* out = args.out + Index{panel} * args.kernel_size * in_padded + (column - panel);
    for (int tap = 0; tap < args.kernel_size; ++tap) {
      for (int channel = 0; channel < in_padded; ++channel, out += width) {
        for (int lane = 0; lane < kLanes; ++lane) {
          const Index o = column + lane;
          out[lane] = channel < args.in_channels && o < args.out_channels
                          ? args.weights[(o * args.in_channels + channel) * args.kernel_size + tap]
                          : 0.0f;
        }
      }
    }
  }
}

std::size_t direct_scratch_size(int in_channels, int, int kernel_size, int dilation) {
  return row_scratch_size(round_up_to_lanes(in_channels), kernel_size, dilation);
}

void conv_direct(const ConvArgs& args) {
  const RowProduct p = {args.x,           args.x_stride,
                        args.x_rows,      args.activation,
                        round_up_to_lanes(args.in_channels), args.kernel_size,
                        args.dilation,    args.weights,
                        round_up_to_lanes(args.out_channels), args.rows,
                        args.tuning,      args.scratch,
                        args.columns,     {}};
  for_each_product<ChainedProduct>(p, [&](Index first, int rows, int column, int vectors, const float* sums) {
    for (int j = 0; j < vectors; ++j) {
      const Index at = column + j * kLanes;
      const EpilogueColumn epilogue(args.epilogue, first, 1, at);
      float* y = args.y + first * args.y_stride + at;
      with_activation(args.epilogue.activation, [&](const auto& activate) {
        for (int r = 0; r < rows; ++r) {
          store(y + r * args.y_stride, epilogue.apply(load(sums + r * kPanel + j * kLanes), r, activate));
        }
      });
    }
  });
}

constexpr int transpose_taps(int kernel_size, int stride) { return (kernel_size + stride - 1) / stride; }

std::size_t transpose_weights_size(int in_channels, int out_channels, int kernel_size, int stride) {
  return static_cast<std::size_t>(stride) * direct_weights_size(in_channels, out_channels, transpose_taps(kernel_size, stride));
}

int transpose_pack_units(int, int out_channels, int, int stride) {
  return stride * (round_up_to_lanes(out_channels) / kLanes);
}

// Column f * padded + o is output channel o of phase f; tap j of the product is the oldest row first, so a = taps - 1 - j.
void pack_transpose(const PackArgs& args) {
  const int in_padded = round_up_to_lanes(args.in_channels), out_padded = round_up_to_lanes(args.out_channels);
  const int taps = transpose_taps(args.kernel_size, args.stride), columns = args.stride * out_padded;
  for (int unit = args.unit_begin; unit < args.unit_end; ++unit) {
    const int column = unit * kLanes, panel = column / kPanel * kPanel;
    const int phase = column / out_padded;
    const Index width = panel_vectors(panel, columns) * kLanes;
    float* out = args.out + Index{panel} * taps * in_padded + (column - panel);
    for (int j = 0; j < taps; ++j) {
      const int tap = phase + (taps - 1 - j) * args.stride;
      for (int channel = 0; channel < in_padded; ++channel, out += width) {
        for (int lane = 0; lane < kLanes; ++lane) {
          const Index o = column % out_padded + lane;
          out[lane] = channel < args.in_channels && o < args.out_channels && tap < args.kernel_size
                          ? args.weights[(channel * Index{args.out_channels} + o) * args.kernel_size + tap]
                          : 0.0f;
        }
      }
    }
  }
}

std::size_t transpose_scratch_size(int in_channels, int, int kernel_size, int stride) {
  return row_scratch_size(round_up_to_lanes(in_channels), transpose_taps(kernel_size, stride), 1);
}

void conv_transpose(const ConvTransposeArgs& args) {
  const int out_padded = round_up_to_lanes(args.out_channels);
  const RowProduct p = {args.x,
                        args.x_stride,
                        args.x_rows,
                        {},
                        round_up_to_lanes(args.in_channels),
                        transpose_taps(args.kernel_size, args.stride),
                        1,
                        args.weights,
                        args.stride * out_padded,
                        args.super_rows,
                        args.tuning,
                        args.scratch,
                        args.columns,
                        {args.tuning->fetch_rows ? args.y : nullptr, args.stride * args.y_stride}};
  for_each_product<DenseProduct>(p, [&](Index first, int rows, int column, int vectors, const float* sums) {
    for (int j = 0; j < vectors; ++j) {
      const int phase = (column + j * kLanes) / out_padded, channel = (column + j * kLanes) % out_padded;
      const Vec bias = load(args.bias + channel);
      for (int r = 0; r < rows; ++r) {
        const Index row = (first + r) * args.stride + phase;
        if (row < args.y_begin || row >= args.y_end) continue;
        store(args.y + row * args.y_stride + channel, add(load(sums + r * kPanel + j * kLanes), bias));
      }
    }
  });
}
