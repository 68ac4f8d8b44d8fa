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

// Calls body(column, vectors, weights, weights to come) for every panel; a column has `depth` weights.
template <class Body>
HIFIGAN_INLINE void for_each_panel(const float* weights, Index depth, Columns columns, int width, const Body& body) {
  const int end = columns.end < width ? columns.end : width;
  const float* const begin = weights + depth * columns.begin;
  const float* at = begin;
  for (int column = columns.begin; column < end; column += kPanel) {
    const int vectors = panel_vectors(column, width);
    const float* const next = at + depth * vectors * kLanes;
    // Behind the last panel comes the first one again, for the next rows.
    body(column, vectors, at, column + kPanel < end ? next : begin);
    at = next;
  }
}

// Of the rows that the block behind this one will write, since each panel of this one is written as soon as it is computed: what is
// fetched while `depth` k of each panel run. `written` is the first row of this block, and the floats of a row.
HIFIGAN_INLINE Stretch rows_of_next(const Stretch& written, Index rows, Columns columns, int width, Index depth) {
  if (!written.at || columns.begin > 0 || columns.end < width) return {};
  const Index ks = depth * ((width + kPanel - 1) / kPanel), even = (rows * written.step + ks - 1) / ks;
  return {written.at + rows * written.step, even < kLineFloats ? even : kLineFloats};
}

// Calls sink(first_row, rows, column, vectors, sums) for every block of rows and panel of columns; sums is [row][kPanel].
template <bool DenseRows, int Chain, class Sink>
HIFIGAN_INLINE void for_each_product(const RowProduct& p, const Sink& sink) {
  float* const sums = p.scratch;
  float* const copy = sums + Index{kRowBlock} * kPanel;
  for (Index first = 0; first < p.rows; first += kRowBlock) {
    const int rows = static_cast<int>(p.rows - first < kRowBlock ? p.rows - first : Index{kRowBlock});
    const int reach = rows + (p.taps - 1) * p.dilation;
    const float* x = p.x + first * p.x_stride;
    Index stride = p.x_stride, group_stride = kLanes;
    if (DenseRows || p.activation.kind != ActivationKind::kNone || first + reach > p.x_rows) {
      x = copy;
      stride = DenseRows ? kLanes : p.in_padded;
      if (DenseRows) group_stride = Index{reach} * kLanes;
      copy_rows(p.x, p.x_stride, p.x_rows, first, 1, reach, p.in_padded, p.activation, copy, stride, group_stride);
    }
    const LeftMatrix left = left_matrix(x, stride * p.dilation, group_stride, stride, p.taps, p.in_padded / kLanes, Chain);
    const bool past_second = !p.tuning->products_outside;
    const Product<DenseRows> wide(rows, kPanelVectors, past_second), narrow(rows, 1, past_second);
    const Index depth = Index{p.taps} * p.in_padded;
    Stretch written;
    if (first + kRowBlock < p.rows) {
      written = rows_of_next({p.written.at + first * p.written.step, p.written.step}, kRowBlock, p.columns, p.width,
                             wide.fetching(depth));
    }
    for_each_panel(p.weights, depth, p.columns, p.width,
                   [&](int column, int vectors, const float* weights, const float* to_come) __attribute__((always_inline)) {
                     (vectors == kPanelVectors ? wide : narrow).run(left, weights, to_come, written, sums);
                     written.at += wide.fetching(depth) * written.step;
                     sink(first, rows, column, vectors, sums);
                   });
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
  for_each_product<false, kRowChain>(p, [&](Index first, int rows, int column, int vectors, const float* sums) {
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

// Winograd's F(3, 2), for two taps, which nearly all upsamplings have: three rows from four products.
//   y0 = x0 w0 + x1 w1,  y1 = x1 w0 + x2 w1,  y2 = x2 w0 + x3 w1
//   m0 = (x0 - x2) w0,  m1 = (x3 - x1) w1,  s = (x1 + x2) / 2 (w0 + w1),  d = (x2 - x1) / 2 (w0 - w1)
//   y0 = m0 + s + d,  y1 = s - d,  y2 = m1 + s + d
// Threes of rows that go through a layer together.
constexpr int kThrees = 28 / kMaxRows * kMaxRows;
constexpr Index kThreesRows = kThrees * kWinogradRows;

// Left operands and sums of the four products lie in planes of their own.
constexpr Index threes_plane(int in_padded) { return Index{kThrees} * in_padded + kPlanePadding; }
constexpr Index kThreesSums = Index{kThrees} * kPanel + kPlanePadding;

std::size_t transpose_scratch_size(int in_channels, int, int kernel_size, int stride) {
  const int in_padded = round_up_to_lanes(in_channels), taps = transpose_taps(kernel_size, stride);
  const std::size_t direct = row_scratch_size(in_padded, taps, 1);
  const std::size_t winograd = taps == 2 ? static_cast<std::size_t>(4 * (threes_plane(in_padded) + kThreesSums)) : 0;
  return direct > winograd ? direct : winograd;
}

// Rows of `threes` threes to the left operands, each [group of channels][three][lane]; rows at or behind `limit` count as zero.
void split_threes(const float* x, Index stride, Index limit, int threes, int in_padded, float* out, Index plane) {
  const Vec half = broadcast(0.5f);
  for (int t = 0; t < threes; ++t, x += kWinogradRows * stride, limit -= kWinogradRows) {
    for (int c = 0; c < in_padded; c += kLanes) {
      const auto row = [&](int i) __attribute__((always_inline)) { return i < limit ? load(x + i * stride + c) : zero(); };
      const Vec x1 = row(1), x2 = row(2);
      float* const to = out + Index{c} * threes + t * kLanes;
      store(to, sub(row(0), x2));
      store(to + plane, sub(row(3), x1));
      store(to + 2 * plane, mul(half, add(x1, x2)));
      store(to + 3 * plane, mul(half, sub(x2, x1)));
    }
  }
}

void conv_transpose_winograd(const ConvTransposeArgs& args) {
  const int in_padded = round_up_to_lanes(args.in_channels), out_padded = round_up_to_lanes(args.out_channels);
  const int width = args.stride * out_padded;
  const Index plane = threes_plane(in_padded), depth = 2 * Index{in_padded}, row_floats = args.stride * args.y_stride;
  float* const sums = args.scratch + 4 * plane;
  const bool past_second = !args.tuning->products_outside;
  for (Index first = 0; first < args.super_rows; first += kThreesRows) {
    const Index left_rows = args.super_rows - first, rows = left_rows < kThreesRows ? left_rows : kThreesRows;
    const int threes = static_cast<int>((rows + kWinogradRows - 1) / kWinogradRows);
    split_threes(args.x + first * args.x_stride, args.x_stride, args.x_rows - first, threes, in_padded, args.scratch, plane);
    const LeftMatrix left = left_matrix(args.scratch, 0, Index{threes} * kLanes, kLanes, 1, in_padded / kLanes, kUpsamplingChain);
    const WinogradProduct wide(threes, kPanelVectors, past_second), narrow(threes, 1, past_second);
    Stretch written;
    if (args.tuning->fetch_rows && rows < left_rows) {
      written = rows_of_next({args.y + first * row_floats, row_floats}, rows, args.columns, width, wide.fetching(depth));
    }
    for_each_panel(args.weights, depth, args.columns, width,
                   [&](int column, int vectors, const float* weights, const float* to_come) __attribute__((always_inline)) {
      (vectors == kPanelVectors ? wide : narrow).run(left, plane, weights, to_come, written, sums, kThreesSums);
      written.at += wide.fetching(depth) * written.step;
      for (int j = 0; j < vectors; ++j) {
        const int phase = (column + j * kLanes) / out_padded, channel = (column + j * kLanes) % out_padded;
        const Vec bias = load(args.bias + channel);
        const auto write = [&](Index r, Vec v) __attribute__((always_inline)) {
          const Index row = (first + r) * args.stride + phase;
          if (r < rows && row >= args.y_begin && row < args.y_end) store(args.y + row * args.y_stride + channel, add(v, bias));
        };
        for (int t = 0; t < threes; ++t) {
          const float* const at = sums + Index{t} * kPanel + j * kLanes;
          const Vec s = load(at + 2 * kThreesSums), d = load(at + 3 * kThreesSums), both = add(s, d);
          write(kWinogradRows * t, add(load(at), both));
          write(kWinogradRows * t + 1, sub(s, d));
          write(kWinogradRows * t + 2, add(load(at + kThreesSums), both));
        }
      }
    });
  }
}

void conv_transpose(const ConvTransposeArgs& args) {
  if (args.winograd) return conv_transpose_winograd(args);
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
                        args.tuning->fetch_rows ? Stretch{args.y, args.stride * args.y_stride} : Stretch{}};
  for_each_product<true, kUpsamplingChain>(p, [&](Index first, int rows, int column, int vectors, const float* sums) {
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
