// Overlap-save convolution with small real FFTs across time, channels in the lanes.
// Included inside the instruction set's namespace, after fft-inl.h, product-inl.h, epilogue-inl.h and fetch-inl.h.
//
// A cyclic correlation of N samples gives N - k + 1 outputs of a kernel of k taps. The two outputs beside them differ from
// the true ones in one tap only, so one product each repairs them: N - k + 3 outputs for 2 more products per channel pair.
// The window is x[1 .. N] with x[N] in front: then cyclic output i is output i of the tile, and
//   output 0      lacks weights[0] * (x[0] - x[N]),
//   output m - 1  lacks weights[k - 1] * (x[N + 1] - x[1]).
// The N / 2 - 1 complex bins cost three real products each (Gauss): with X = a + ib and conj(W) = c + id,
//   k1 = (a + b) c,  re = k1 - b (c + d),  im = k1 + a (d - c).
// The micro-kernel adds the first to the two others, so that fewer planes pass through the caches. Of its weights, d - c and
// -(c + d) are kept alone, since -2 c is their sum: memory hands over a third matrix more slowly than two are added.

// Products: bin 0, bin N / 2, three for each of the bins between, then the two repairs.
template <int N>
constexpr int kSpectralProducts = 2 + 3 * (N / 2 - 1) + 2;
// Matrices, and planes of transformed input (a and b of a bin) and of sums (re and im): the same with two for each of the bins between.
// The third factor of a bin, a + b, is formed where it is used: fewer planes pass through the caches.
template <int N>
constexpr int kSpectralMatrices = N + 2;

// Rows x[0 .. N + 1] of one vector of channels, activated, to one vector in each plane of `a`. Kept out of
// its caller's loops, where it would spill more (8 % more instructions of the layer on AVX2).
template <int N, class Activate>
__attribute__((noinline)) void forward_tile(const float* x, Index stride, const Activate& activate, float* a, Index plane) {
  constexpr int planes = kSpectralMatrices<N>;
  const auto row = [&](int i) __attribute__((always_inline)) { return activate(load(x + i * stride)); };
  Vec in[N], re[N / 2 + 1], im[N / 2 + 1];
  in[0] = row(N);
#pragma GCC unroll 64
  for (int i = 1; i < N; ++i) in[i] = row(i);
  store(a + (planes - 2) * plane, sub(row(0), in[0]));
  store(a + (planes - 1) * plane, sub(row(N + 1), in[1]));
  RealFft<N, 1>::run(in, re, im);
  store(a, re[0]);
  store(a += plane, re[N / 2]);
#pragma GCC unroll 64
  for (int f = 1; f < N / 2; ++f) {
    store(a += plane, re[f]);
    store(a += plane, im[f]);
  }
}

// One vector from each plane of `g` to the first `rows` of the tile's `outputs` rows.
template <int N, class Epilogue, class Activate>
HIFIGAN_INLINE void inverse_tile(const float* g, Index plane, int outputs, const Epilogue& epilogue, const Activate& activate, int rows,
                  float* y, Index stride) {
  Vec re[N / 2 + 1], im[N / 2 + 1], out[N];
  re[0] = load(g);
  re[N / 2] = load(g + plane);
#pragma GCC unroll 64
  for (int f = 1; f < N / 2; ++f) {
    re[f] = load(g + 2 * f * plane);
    im[f] = load(g + (2 * f + 1) * plane);
  }
  RealInverseFft<N, 1>::run(re, im, out);
  out[0] = add(out[0], load(g + (kSpectralMatrices<N> - 2) * plane));
#pragma GCC unroll 64
  for (int r = 0; r < N; ++r) {
    if (r == outputs - 1) out[r] = add(out[r], load(g + (kSpectralMatrices<N> - 1) * plane));
    if (r < rows) store(y + r * stride, epilogue.apply(out[r], r, activate));
  }
}

// Tiles that go through the layer together, at least; and at most where a tuning's bytes decide.
constexpr int kFewTiles = 12;
constexpr int kMostTiles = 96 / kMaxRows * kMaxRows;

constexpr int round_up_to_panel(int count) { return (count + kPanel - 1) / kPanel * kPanel; }

template <int N>
struct Spectral {
  static constexpr int kProducts = kSpectralProducts<N>, kMatrices = kSpectralMatrices<N>;
  // What is multiplied at once: bin 0, bin N / 2, each bin between, and the two repairs.
  static constexpr int kBins = N / 2 - 1, kSteps = kBins + 4;

  static TransformShape shape(int kernel_size) {
    const bool possible = kernel_size >= 3 && kernel_size < N;
    return {N + 2, possible ? N - kernel_size + 3 : 0, kProducts, kMatrices};
  }

  static std::size_t weights_size(int in_channels, int out_channels) {
    return static_cast<std::size_t>(kMatrices) * static_cast<std::size_t>(round_up_to_lanes(in_channels)) *
           static_cast<std::size_t>(round_up_to_lanes(out_channels));
  }

  static std::size_t scratch_size(int in_channels, int out_channels, Index block_bytes) {
    const int in_padded = round_up_to_lanes(in_channels), out_padded = round_up_to_lanes(out_channels);
    const auto size = [&](bool outside) {
      return Planes(outside, block_tiles(outside, block_bytes, in_padded, out_padded), in_padded, out_padded).floats;
    };
    return size(true) > size(false) ? size(true) : size(false);
  }

  // Weights become [panel][matrix][input channel][column of the panel]; a unit is one vector of columns.
  static void pack(const PackArgs& args) {
    const int in_padded = round_up_to_lanes(args.in_channels), out_padded = round_up_to_lanes(args.out_channels);
    for (int unit = args.unit_begin; unit < args.unit_end; ++unit) {
      const int column = unit * kLanes, panel = column / kPanel * kPanel;
      const Index width = panel_vectors(panel, out_padded) * kLanes;
      float* out = args.out + Index{panel} * kMatrices * in_padded + (column - panel);
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
    const int tiles = block_tiles(c.tuning->products_outside, c.tuning->block_bytes, round_up_to_lanes(c.in_channels),
                                  round_up_to_lanes(c.out_channels));
    const Index count = args.tile_end - args.tile_begin;
    const Index parts = (count + tiles - 1) / tiles;
    for (Index part = 0; part < parts; ++part) {
      const Index begin = args.tile_begin + count * part / parts, end = args.tile_begin + count * (part + 1) / parts;
      conv_block(c, begin, static_cast<int>(end - begin));
    }
  }

 private:
  // Panel by panel, few tiles: what a block writes (planes of input, planes of products) should be read again from the near
  // caches; the weights come through in one stream per block, which costs less.
  static int block_tiles(bool outside, Index block_bytes, int in_padded, int out_padded) {
    if (!outside) return kFewTiles;
    const Index wide = in_padded > round_up_to_panel(out_padded) ? in_padded : round_up_to_panel(out_padded);
    const Index tile = (kMatrices + 3) * wide * static_cast<Index>(sizeof(float));
    // To the nearest whole number of micro-kernels.
    const Index tiles = (block_bytes / tile + kMaxRows / 2) / kMaxRows * kMaxRows;
    return static_cast<int>(tiles < kFewTiles ? kFewTiles : tiles > kMostTiles ? kMostTiles : tiles);
  }

  // Where a block's planes lie in scratch memory: transformed input as [matrix][group of channels][tile][lane], sums as
  // [matrix][panel][tile][column], a + b of bins as transformed input.
  struct Planes {
    Planes(bool outside, int tiles, int in_padded, int out_padded)
        : input_group(Index{tiles} * kLanes), sum_panel(outside ? Index{tiles} * kPanel : 0) {
      const Index input_floats = Index{tiles} * in_padded;
      if (outside) {
        // One row of planes for both, two apart: sums are written where the input of the bin before lay. a + b of one bin.
        const Index sum_floats = Index{tiles} * round_up_to_panel(out_padded);
        input_plane = sum_plane = (input_floats > sum_floats ? input_floats : sum_floats) + kPlanePadding;
        both_step = 0;
        sums = 0;
        input = 2 * input_plane;
        both = input + kMatrices * input_plane;
        edge = both + input_plane;
      } else {
        // Sums of one panel; a + b of all bins, for the panels to come.
        input_plane = both_step = input_floats + kPlanePadding;
        sum_plane = Index{tiles} * kPanel + kPlanePadding;
        input = 0;
        both = kMatrices * input_plane;
        sums = both + kBins * input_plane;
        edge = sums + kMatrices * sum_plane;
      }
      floats = static_cast<std::size_t>(edge + Index{in_padded} * (N + 2));
    }

    Index input_group, sum_panel;
    Index input_plane, sum_plane;
    Index both_step;          // from a + b of a bin to that of the next
    Index input, both, sums;  // first planes
    Index edge;               // the rows of a tile at the end
    std::size_t floats;
  };

  static void pack_channel(const float (*taps)[kLanes], int kernel_size, float* out, Index plane) {
    const Vec scale = broadcast(1.0f / N);
    Vec in[N], re[N / 2 + 1], im[N / 2 + 1];
    for (int j = 0; j < N; ++j) in[j] = mul(load(taps[j]), scale);
    RealFft<N, 1>::run(in, re, im);
    store(out, re[0]);
    store(out + plane, re[N / 2]);
    for (int f = 1; f < N / 2; ++f) {
      // d = -im[f].
      store(out + 2 * f * plane, sub(zero(), add(re[f], im[f])));
      store(out + (2 * f + 1) * plane, sub(im[f], re[f]));
    }
    store(out + (kMatrices - 2) * plane, load(taps[0]));
    store(out + (kMatrices - 1) * plane, load(taps[kernel_size - 1]));
  }

  static void conv_block(const ConvArgs& c, Index first_tile, int tiles) {
    const Tuning& tuning = *c.tuning;
    // For few tiles the two orders are equal but for the work of keeping books.
    const bool outside = tuning.products_outside && tiles > kFewTiles, past_second = !tuning.products_outside;
    const int outputs = N - c.kernel_size + 3;
    const int in_padded = round_up_to_lanes(c.in_channels), out_padded = round_up_to_lanes(c.out_channels);
    const Planes planes(outside, tiles, in_padded, out_padded);
    forward(c, planes, outputs, first_tile, tiles);

    const int first_panel = c.columns.begin / kPanel, groups = in_padded / kLanes;
    const int panels = round_up_to_panel(c.columns.end < out_padded ? c.columns.end : out_padded) / kPanel;
    const Product<true> wide(tiles, kPanelVectors, past_second), narrow(tiles, 1, past_second);
    const BinProduct wide_bin(tiles, kPanelVectors, past_second), narrow_bin(tiles, 1, past_second);
    const auto vectors_of = [&](int panel) { return panel_vectors(panel * kPanel, out_padded); };
    const Index panel_weights = Index{kMatrices} * in_padded * kPanel, row_weights = Index{in_padded} * kLanes;
    const auto input_of = [&](int step) { return c.scratch + planes.input + first_matrix(step) * planes.input_plane; };
    const auto both_of = [&](int step) { return c.scratch + planes.both + (step - 2) * planes.both_step; };
    // What a step needs once, before its first panel.
    const auto prepare = [&](int step) {
      if (is_bin(step)) add_planes(input_of(step), input_of(step) + planes.input_plane, Index{tiles} * in_padded, both_of(step));
    };
    const auto multiply = [&](int step, bool full, const float* weights, const float* next, const Stretch& other, float* sums) {
      const LeftMatrix left = left_matrix(input_of(step), 0, planes.input_group, kLanes, 1, groups, kTileChain);
      float* const sum = sums + first_matrix(step) * planes.sum_plane;
      if (is_bin(step)) {
        (full ? wide_bin : narrow_bin)
            .run(left, planes.input_plane, both_of(step), weights, next, other, sum + planes.sum_plane, sum);
      } else {
        (full ? wide : narrow).run(left, weights, next, other, sum);
      }
    };
    float* const sums = c.scratch + planes.sums;
    if (outside) {
      const auto weights_of = [&](int step, int panel) {
        return c.weights + panel * panel_weights + first_matrix(step) * row_weights * vectors_of(panel);
      };
      // Where threads share columns, the others of a row are another's.
      const bool fetch = tuning.fetch_rows && first_panel == 0 && panels == round_up_to_panel(out_padded) / kPanel;
      // Tiles of a phase lie `outputs` rows of it apart: those of all phases are one stretch.
      const Index group = Index{outputs} * c.dilation, last_group = (first_tile + tiles - 1) / c.dilation + 1;
      const auto depth_of = [&](int step) { return wide.fetching((is_bin(step) ? 2 : 1) * in_padded); };
      RowsToCome rows(c, first_tile / c.dilation * group, last_group * group < c.rows ? last_group * group : c.rows,
                      (panels - first_panel) * wide.fetching((2 * kBins + 4) * in_padded));
      for (int step = 0; step < kSteps; ++step) {
        prepare(step);
        for (int panel = first_panel; panel < panels; ++panel) {
          const float* const next =
              panel + 1 < panels ? weights_of(step, panel + 1) : weights_of((step + 1) % kSteps, first_panel);
          const Stretch other = fetch ? rows.next(depth_of(step)) : Stretch{};
          multiply(step, vectors_of(panel) == kPanelVectors, weights_of(step, panel), next, other, sums + panel * planes.sum_panel);
        }
      }
      for (int panel = first_panel; panel < panels; ++panel) inverse(c, planes, outputs, first_tile, tiles, panel);
    } else {
      const float* weights = c.weights + first_panel * panel_weights;
      for (int panel = first_panel; panel < panels; ++panel) {
        const int vectors = vectors_of(panel);
        // With tiles of 8 samples fetching costs more than it saves, and with rows of a cache line, whose strides are foreseen.
        BlockFetcher fetcher(c, panel * kPanel, vectors * kLanes, outputs, first_tile, tiles, kBins,
                             past_second && tuning.fetch_rows && N >= 16 && out_padded > kLineFloats);
        for (int step = 0; step < kSteps; ++step) {
          const float* const next = weights + (is_bin(step) ? 2 : 1) * vectors * row_weights;
          if (panel == first_panel) prepare(step);
          multiply(step, vectors == kPanelVectors, weights, next, {}, sums);
          weights = next;
          if (is_bin(step)) fetcher.step();
        }
        inverse(c, planes, outputs, first_tile, tiles, panel);
      }
    }
  }

  static constexpr bool is_bin(int step) { return step >= 2 && step <= N / 2; }
  static constexpr int first_matrix(int step) {
    return step < 2 ? step : is_bin(step) ? 2 * step - 2 : kMatrices - kSteps + step;
  }

  // sums = a + b.
  static void add_planes(const float* a, const float* b, Index floats, float* sums) {
    for (Index i = 0; i < floats; i += kLanes) store(sums + i, add(load(a + i), load(b + i)));
  }

  static void forward(const ConvArgs& c, const Planes& planes, int outputs, Index first_tile, int tiles) {
    const int in_padded = round_up_to_lanes(c.in_channels);
    float* const edge = c.scratch + planes.edge;
    TileRows tile(first_tile, outputs, c.dilation);
    for (int t = 0; t < tiles; ++t, tile.next()) {
      const Index row = tile.first();
      const float* x = c.x + row * c.x_stride;
      Index stride = c.x_stride * c.dilation;
      Activation activation = c.activation;
      if (row + (N + 1) * c.dilation >= c.x_rows) {
        copy_rows(c.x, c.x_stride, c.x_rows, row, c.dilation, N + 2, in_padded, activation, edge, in_padded, kLanes);
        x = edge;
        stride = in_padded;
        activation = {};
      }
      const auto transform = [&](const auto& activate) {
        for (int group = 0; group < in_padded / kLanes; ++group) {
          forward_tile<N>(x + group * kLanes, stride, activate,
                          c.scratch + planes.input + group * planes.input_group + t * kLanes, planes.input_plane);
        }
      };
      // Half of the layers have nothing to activate here, nor has a tile at the end: worth a transform without.
      if (activation.kind == ActivationKind::kNone) {
        transform([](Vec v) __attribute__((always_inline)) { return v; });
      } else {
        with_activation(activation, transform);
      }
    }
  }

  static void inverse(const ConvArgs& c, const Planes& planes, int outputs, Index first_tile, int tiles, int panel) {
    const int vectors = panel_vectors(panel * kPanel, round_up_to_lanes(c.out_channels));
    const float* const sums = c.scratch + planes.sums + panel * planes.sum_panel;
    with_activation(c.epilogue.activation, [&](const auto& activate) {
      TileRows tile(first_tile, outputs, c.dilation);
      for (int t = 0; t < tiles; ++t, tile.next()) {
        const Index row = tile.first();
        const int rows = tile.before(c.rows);
        if (rows == 0) continue;
        for (int j = 0; j < vectors; ++j) {
          const Index at = panel * kPanel + j * kLanes;
          const EpilogueColumn epilogue(c.epilogue, row, c.dilation, at);
          inverse_tile<N>(sums + t * kPanel + j * kLanes, planes.sum_plane, outputs, epilogue, activate, rows,
                          c.y + row * c.y_stride + at, c.y_stride * c.dilation);
        }
      }
    });
  }
};
