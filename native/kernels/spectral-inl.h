// Overlap-save convolution with small real FFTs across time, channels in the lanes.
// Included inside the instruction set's namespace, after fft-inl.h, product-inl.h and epilogue-inl.h.
//
// A cyclic correlation of N samples gives N - k + 1 outputs of a kernel of k taps. The two outputs beside them differ from
// the true ones in one tap only, so one product each repairs them: N - k + 3 outputs for 2 more products per channel pair.
// The window is x[1 .. N] with x[N] in front: then cyclic output i is output i of the tile, and
//   output 0      lacks weights[0] * (x[0] - x[N]),
//   output m - 1  lacks weights[k - 1] * (x[N + 1] - x[1]).
// The N / 2 - 1 complex bins cost three real products each (Gauss): with X = a + ib and conj(W) = c + id,
//   k1 = (a + b) c,  re = k1 - b (c + d),  im = k1 + a (d - c).
// The last two go on from the sums of the first in the micro-kernel, so that fewer planes pass through the caches.

// Matrices: bin 0, bin N / 2, three for each of the bins between, then the two repairs. Planes of transformed input
// correspond; a bin has a + b, a, b there, and c, d - c, -(c + d) among the weights.
template <int N>
constexpr int kSpectralProducts = 2 + 3 * (N / 2 - 1) + 2;

// Planes of products: bin 0, bin N / 2, re and im of the bins between, then the two repairs.
template <int N>
constexpr int kSpectralPlanes = N + 2;

// Between the planes of two products: keeps the stores of one tile out of one set of the first cache.
constexpr int kPlanePadding = 16;

// Rows x[0 .. N + 1] of one vector of channels, activated, to one vector in each plane of `a`. Kept out of
// its caller's loops, where it would spill more (8 % more instructions of the layer on AVX2).
template <int N, class Activate>
__attribute__((noinline)) void forward_tile(const float* x, Index stride, const Activate& activate, float* a, Index plane) {
  constexpr int products = kSpectralProducts<N>;
  const auto row = [&](int i) __attribute__((always_inline)) { return activate(load(x + i * stride)); };
  Vec in[N], re[N / 2 + 1], im[N / 2 + 1];
  in[0] = row(N);
#pragma GCC unroll 64
  for (int i = 1; i < N; ++i) in[i] = row(i);
  store(a + (products - 2) * plane, sub(row(0), in[0]));
  store(a + (products - 1) * plane, sub(row(N + 1), in[1]));
  RealFft<N, 1>::run(in, re, im);
  store(a, re[0]);
  store(a += plane, re[N / 2]);
#pragma GCC unroll 64
  for (int f = 1; f < N / 2; ++f) {
    store(a += plane, add(re[f], im[f]));
    store(a += plane, re[f]);
    store(a += plane, im[f]);
  }
}

// One vector from each plane of `g` to the first `rows` of the tile's `outputs` rows.
template <int N, class Activate>
void inverse_tile(const float* g, Index plane, int outputs, const EpilogueColumn& epilogue, const Activate& activate, int rows,
                  float* y, Index stride) {
  Vec re[N / 2 + 1], im[N / 2 + 1], out[N];
  re[0] = load(g);
  re[N / 2] = load(g + plane);
#pragma GCC unroll 64
  for (int f = 1; f < N / 2; ++f) {
    re[f] = load(g + (2 * f) * plane);
    im[f] = load(g + (2 * f + 1) * plane);
  }
  RealInverseFft<N, 1>::run(re, im, out);
  out[0] = add(out[0], load(g + N * plane));
#pragma GCC unroll 64
  for (int r = 0; r < N; ++r) {
    if (r == outputs - 1) out[r] = add(out[r], load(g + (N + 1) * plane));
    if (r < rows) store(y + r * stride, epilogue.apply(out[r], r, activate));
  }
}

// Tiles that go through the layer together. Few, because what a block writes (planes of input, planes of products) should
// be read again from the near caches; the weights come through in one stream per block, which costs less.
constexpr int kTileBlock = 12;

// Fetches the rows that a panel of a block will write or add into the caches, a few at a time while the products run: the
// processor does not foresee rows with these strides, and the inverse transforms would wait for each. With tiles of
// 8 samples it costs more than it saves.
template <bool Write>
class RowFetcher {
 public:
  RowFetcher(const float* base, Index stride, int floats, const ConvArgs& c, int outputs, Index first_tile, int tiles,
             int steps)
      : base_(base),
        stride_(stride),
        floats_(floats),
        dilation_(c.dilation),
        outputs_(outputs),
        tile_(first_tile),
        end_(base ? first_tile + tiles : first_tile),
        per_step_((tiles * outputs + steps - 1) / steps) {
    begin_tile();
  }

  HIFIGAN_INLINE void step() {
    for (int i = 0; i < per_step_ && tile_ < end_; ++i) {
      for (int f = 0; f < floats_; f += kLine) __builtin_prefetch(at_ + f, Write ? 1 : 0);
      at_ += dilation_ * stride_;
      if (++row_ == outputs_) {
        ++tile_;
        begin_tile();
      }
    }
  }

 private:
  static constexpr int kLine = 64 / sizeof(float);

  void begin_tile() {
    at_ = base_ + (tile_ % dilation_ + tile_ / dilation_ * outputs_ * dilation_) * stride_;
    row_ = 0;
  }

  const float* base_;
  const float* at_;
  Index stride_;
  int floats_;
  Index dilation_, outputs_, tile_, end_;
  int per_step_;
  Index row_;
};

template <int N>
struct Spectral {
  static constexpr int kPlanes = kSpectralPlanes<N>;
  static constexpr int kProducts = kSpectralProducts<N>;

  static TransformShape shape(int kernel_size) {
    const bool possible = kernel_size >= 3 && kernel_size < N;
    return {N + 2, possible ? N - kernel_size + 3 : 0, kProducts};
  }

  static std::size_t weights_size(int in_channels, int out_channels) {
    return static_cast<std::size_t>(kProducts) * static_cast<std::size_t>(round_up_to_lanes(in_channels)) *
           static_cast<std::size_t>(round_up_to_lanes(out_channels));
  }

  static std::size_t scratch_size(int in_channels) {
    const int padded = round_up_to_lanes(in_channels);
    constexpr std::size_t block = kTileBlock;
    return kProducts * (block * static_cast<std::size_t>(padded) + kPlanePadding) +
           kPlanes * (block * kPanel + kPlanePadding) + static_cast<std::size_t>(padded) * (N + 2);
  }

  // Weights become [panel][product][input channel][column of the panel]; a unit is one vector of columns.
  static void pack(const PackArgs& args) {
    const int in_padded = round_up_to_lanes(args.in_channels), out_padded = round_up_to_lanes(args.out_channels);
    for (int unit = args.unit_begin; unit < args.unit_end; ++unit) {
      const int column = unit * kLanes, panel = column / kPanel * kPanel;
      const Index width = panel_vectors(panel, out_padded) * kLanes;
      float* out = args.out + Index{panel} * kProducts * in_padded + (column - panel);
      for (int channel = 0; channel < in_padded; ++channel) {
        alignas(64) float taps[N][kLanes] = {};
        for (int lane = 0; lane < kLanes && column + lane < args.out_channels && channel < args.in_channels; ++lane) {
          const float* from = args.weights + (Index{column + lane} * args.in_channels + channel) * args.kernel_size;
          for (int j = 0; j < args.kernel_size; ++j) taps[j][lane] = from[j];
        }
        pack_channel(taps, args.kernel_size, out + channel * width, in_padded * width);
      }
    }
  }

  static void conv(const TiledConvArgs& args) {
    const ConvArgs& c = args.conv;
    const Index count = args.tile_end - args.tile_begin;
    const Index parts = (count + kTileBlock - 1) / kTileBlock;
    for (Index part = 0; part < parts; ++part) {
      const Index begin = args.tile_begin + count * part / parts, end = args.tile_begin + count * (part + 1) / parts;
      conv_block(c, begin, static_cast<int>(end - begin));
    }
  }

 private:
  static void pack_channel(const float (*taps)[kLanes], int kernel_size, float* out, Index plane) {
    const Vec scale = broadcast(1.0f / N);
    Vec in[N], re[N / 2 + 1], im[N / 2 + 1];
    for (int j = 0; j < N; ++j) in[j] = mul(load(taps[j]), scale);
    RealFft<N, 1>::run(in, re, im);
    store(out, re[0]);
    store(out + plane, re[N / 2]);
    for (int f = 1; f < N / 2; ++f) {
      store(out + (3 * f - 1) * plane, re[f]);
      // d = -im[f].
      store(out + (3 * f) * plane, sub(zero(), add(re[f], im[f])));
      store(out + (3 * f + 1) * plane, sub(im[f], re[f]));
    }
    store(out + (kProducts - 2) * plane, load(taps[0]));
    store(out + (kProducts - 1) * plane, load(taps[kernel_size - 1]));
  }

  static void conv_block(const ConvArgs& c, Index first_tile, int tiles) {
    const int outputs = N - c.kernel_size + 3;
    const int in_padded = round_up_to_lanes(c.in_channels), out_padded = round_up_to_lanes(c.out_channels);
    const int groups = in_padded / kLanes;
    constexpr Index a_group = kTileBlock * kLanes;
    const Index a_plane = groups * a_group + kPlanePadding;
    constexpr Index g_plane = kTileBlock * kPanel + kPlanePadding;
    float* const a = c.scratch;
    float* const g = a + kProducts * a_plane;
    float* const edge = g + kPlanes * g_plane;

    for (int t = 0; t < tiles; ++t) {
      const Index tile = first_tile + t, row = tile % c.dilation + tile / c.dilation * outputs * c.dilation;
      const float* x = c.x + row * c.x_stride;
      Index stride = c.x_stride * c.dilation;
      Activation activation = c.activation;
      if (row + (N + 1) * c.dilation >= c.x_rows) {
        copy_rows(c.x, c.x_stride, c.x_rows, row, c.dilation, N + 2, in_padded, activation, edge);
        x = edge;
        stride = in_padded;
        activation = {};
      }
      const auto transform = [&](const auto& activate) {
        for (int group = 0; group < groups; ++group) {
          forward_tile<N>(x + group * kLanes, stride, activate, a + group * a_group + t * kLanes, a_plane);
        }
      };
      // Half of the layers have nothing to activate here, nor has a tile at the end: worth a transform without.
      if (activation.kind == ActivationKind::kNone) {
        transform([](Vec v) __attribute__((always_inline)) { return v; });
      } else {
        with_activation(activation, transform);
      }
    }

    const bool fetch = N >= 16;
    const float* weights = c.weights;
    for (int column = 0; column < out_padded; column += kPanel) {
      const int vectors = panel_vectors(column, out_padded);
      const Index matrix = Index{in_padded} * vectors * kLanes;
      const Product<true> product(tiles, vectors);
      const BinProduct bin_product(tiles, vectors);
      const Epilogue& e = c.epilogue;
      const auto fetched = [&](const float* rows) { return fetch && rows ? rows + column : nullptr; };
      const auto other = [&](const float* rows) { return rows != c.y ? fetched(rows) : nullptr; };
      const int floats = vectors * kLanes, steps = N / 2 - 1;
      RowFetcher<true> written(fetched(c.y), c.y_stride, floats, c, outputs, first_tile, tiles, steps);
      RowFetcher<false> residual(other(e.residual), e.residual_stride, floats, c, outputs, first_tile, tiles, steps);
      RowFetcher<false> addend(other(e.addend), e.addend_stride, floats, c, outputs, first_tile, tiles, steps);
      const auto left = [&](int index) { return LeftMatrix{a + index * a_plane, 0, a_group, kLanes, 1, groups}; };
      const auto real = [&](int index, int plane) {
        product.run(left(index), weights + index * matrix, g + plane * g_plane, kPanel);
      };
      real(0, 0);
      real(1, 1);
      for (int f = 1; f < N / 2; ++f) {
        float* const re = g + (2 * f) * g_plane;
        bin_product.run(left(3 * f - 1), a_plane, weights + (3 * f - 1) * matrix, re + g_plane, re, kPanel);
        written.step();
        residual.step();
        addend.step();
      }
      real(kProducts - 2, N);
      real(kProducts - 1, N + 1);
      weights += kProducts * matrix;
      with_activation(e.activation, [&](const auto& activate) {
        for (int t = 0; t < tiles; ++t) {
          const Index tile = first_tile + t, row = tile % c.dilation + tile / c.dilation * outputs * c.dilation;
          const Index rows = (c.rows - row + c.dilation - 1) / c.dilation;
          if (rows <= 0) continue;
          for (int j = 0; j < vectors; ++j) {
            const Index at = column + j * kLanes;
            inverse_tile<N>(g + t * kPanel + j * kLanes, g_plane, outputs, {e, row, c.dilation, at}, activate,
                            static_cast<int>(rows < outputs ? rows : outputs), c.y + row * c.y_stride + at,
                            c.y_stride * c.dilation);
          }
        }
      });
    }
  }
};
