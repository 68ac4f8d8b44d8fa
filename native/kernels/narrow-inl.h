// Layers of at most 8 channels on AVX-512, whose rows fill half of a vector: 16 tiles, or 16 rows, in the lanes.
// Included inside its namespace, after the bodies. Weights are packed as the bodies of 8 lanes pack them.

constexpr int kRow = 8;  // floats of a row

// Two rows of 8 channels.
HIFIGAN_INLINE Vec load_rows(const float* low, const float* high) {
  return _mm512_maskz_insertf32x8(0xffff, _mm512_castps256_ps512(_mm256_loadu_ps(low)), _mm256_loadu_ps(high), 1);
}

// In each quarter of four vectors, rows become columns.
HIFIGAN_INLINE void turn_quarters(Vec* v) {
  const auto low = [](Vec a, Vec b) __attribute__((always_inline)) { return _mm512_maskz_unpacklo_ps(0xffff, a, b); };
  const auto high = [](Vec a, Vec b) __attribute__((always_inline)) { return _mm512_maskz_unpackhi_ps(0xffff, a, b); };
  const Vec ab_low = low(v[0], v[1]), ab_high = high(v[0], v[1]), cd_low = low(v[2], v[3]), cd_high = high(v[2], v[3]);
  const auto pairs = [](Vec a, Vec b, bool upper) __attribute__((always_inline)) {
    const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    return _mm512_castpd_ps(upper ? _mm512_maskz_unpackhi_pd(0xff, x, y) : _mm512_maskz_unpacklo_pd(0xff, x, y));
  };
  v[0] = pairs(ab_low, cd_low, false);
  v[1] = pairs(ab_low, cd_low, true);
  v[2] = pairs(ab_high, cd_high, false);
  v[3] = pairs(ab_high, cd_high, true);
}

// Of 16 rows, vector i of 8 holds this one and the fourth after it.
constexpr int low_row(int i) { return i < 4 ? i : i + 4; }

// 16 rows to 8 channels of 16 numbers, and back.
HIFIGAN_INLINE void rows_to_channels(Vec* rows, Vec* channels) {
  turn_quarters(rows);
  turn_quarters(rows + 4);
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    channels[c] = _mm512_maskz_shuffle_f32x4(0xffff, rows[c], rows[4 + c], _MM_SHUFFLE(2, 0, 2, 0));
    channels[4 + c] = _mm512_maskz_shuffle_f32x4(0xffff, rows[c], rows[4 + c], _MM_SHUFFLE(3, 1, 3, 1));
  }
}
HIFIGAN_INLINE void channels_to_rows(const Vec* channels, Vec* rows) {
  const auto quarters = [](Vec a, Vec b, __m512i which) __attribute__((always_inline)) {
    return _mm512_castpd_ps(_mm512_permutex2var_pd(_mm512_castps_pd(a), which, _mm512_castps_pd(b)));
  };
  const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    rows[c] = quarters(channels[c], channels[4 + c], first);
    rows[4 + c] = quarters(channels[c], channels[4 + c], second);
  }
  turn_quarters(rows);
  turn_quarters(rows + 4);
}

// One row from each of 16 places, `offset` behind it, activated, to 8 channels.
template <class Activate>
HIFIGAN_INLINE void load_channels(const float* const* places, Index offset, const Activate& activate, Vec* channels) {
  Vec rows[kRow];
#pragma GCC unroll 8
  for (int i = 0; i < kRow; ++i) rows[i] = activate(load_rows(places[low_row(i)] + offset, places[low_row(i) + 4] + offset));
  rows_to_channels(rows, channels);
}

// What becomes of 16 rows of sums, `step` of each of 16 first rows; those that do not exist lie in `spare`.
class RowsEpilogue {
 public:
  RowsEpilogue(const Epilogue& e, float* y, Index y_stride)
      : e_(e), y_(y), y_stride_(y_stride), bias_(load_rows(e.bias, e.bias)), scale_(broadcast(e.scale)) {}

  // Rows first[lane] + offset, where exists(lane).
  template <class Exists, class Activate>
  HIFIGAN_INLINE void store_channels(const Vec* channels, const Index* first, Index offset, const Exists& exists,
                                     const Activate& activate) const {
    alignas(64) float spare[kRow] = {};
    const auto at = [&](auto* rows, Index stride, int lane) __attribute__((always_inline)) {
      return exists(lane) ? rows + (first[lane] + offset) * stride : spare;
    };
    Vec rows[kRow];
    channels_to_rows(channels, rows);
#pragma GCC unroll 8
    for (int i = 0; i < kRow; ++i) {
      const int low = low_row(i), high = low + 4;
      Vec v = add(rows[i], bias_);
      if (e_.residual) v = add(v, load_rows(at(e_.residual, e_.residual_stride, low), at(e_.residual, e_.residual_stride, high)));
      if (e_.addend) v = add(v, load_rows(at(e_.addend, e_.addend_stride, low), at(e_.addend, e_.addend_stride, high)));
      v = activate(mul(v, scale_));
      _mm256_storeu_ps(at(y_, y_stride_, low), _mm512_maskz_extractf32x8_ps(0xff, v, 0));
      _mm256_storeu_ps(at(y_, y_stride_, high), _mm512_maskz_extractf32x8_ps(0xff, v, 1));
    }
  }

 private:
  const Epilogue& e_;
  float* y_;
  Index y_stride_;
  Vec bias_, scale_;
};

// Sums on their way to where 16 tiles lie apart: nothing is done to them yet.
struct NoEpilogue {
  template <class Activate>
  HIFIGAN_INLINE Vec apply(Vec v, Index, const Activate&) const {
    return v;
  }
};

// out[o] = sum over c of x[c] weights[c][o], of vectors of 16 tiles.
HIFIGAN_INLINE void multiply_channels(const float* x, const float* weights, float* out) {
  Vec sum[kRow];
  for (Vec& v : sum) v = zero();
  for (int c = 0; c < kRow; ++c) {
    const Vec in = load(x + c * kLanes);
#pragma GCC unroll 8
    for (int o = 0; o < kRow; ++o) sum[o] = fma(in, broadcast(weights[c * kRow + o]), sum[o]);
  }
  for (int o = 0; o < kRow; ++o) store(out + o * kLanes, sum[o]);
}

template <int N>
struct NarrowSpectral {
  static constexpr int kMatrices = kSpectralMatrices<N>, kBins = N / 2 - 1;
  static constexpr Index kPlane = kRow * kLanes;  // of 16 tiles
  static constexpr Index kMatrix = kRow * kRow;

  // In scratch memory: rows of 16 tiles, later their sums; transformed input, later outputs; rows at the signal's end; the sum of
  // each bin's two matrices.
  static constexpr Index kInput = kMatrices * kPlane, kEdge = 2 * kInput, kThird = 3 * kInput;
  static constexpr std::size_t kScratch = static_cast<std::size_t>(kThird + kBins * kMatrix);

  static void conv(const TiledConvArgs& args) {
    const ConvArgs& c = args.conv;
    const RowsEpilogue epilogue(c.epilogue, c.y, c.y_stride);
    float* const third = c.scratch + kThird;
    for (int f = 0; f < kBins; ++f) {
      const float* const w = c.weights + (2 + 2 * f) * kMatrix;
      for (Index i = 0; i < kMatrix; i += kLanes) store(third + f * kMatrix + i, add(load(w + i), load(w + kMatrix + i)));
    }
    for (Index tile = args.tile_begin; tile < args.tile_end; tile += kLanes) {
      const Index tiles = args.tile_end - tile;
      conv_tiles(c, epilogue, tile, static_cast<int>(tiles < kLanes ? tiles : Index{kLanes}));
    }
  }

 private:
  static void conv_tiles(const ConvArgs& c, const RowsEpilogue& epilogue, Index first_tile, int tiles) {
    const int outputs = N - c.kernel_size + 3;
    Index first[kLanes], exist[kLanes];  // rows
    const float* places[kLanes];
    bool whole = true, at_end = false;
    TileRows tile(first_tile, outputs, c.dilation);
    for (int t = 0; t < kLanes; ++t) {
      first[t] = tile.first();
      exist[t] = t < tiles ? tile.before(c.rows) : 0;
      // Lanes behind the last tile compute it again.
      if (t + 1 < tiles) tile.next();
      places[t] = c.x + first[t] * c.x_stride;
      whole = whole && exist[t] >= outputs;
      at_end = at_end || first[t] + (N + 1) * c.dilation >= c.x_rows;
    }
    Index step = c.dilation * c.x_stride;
    if (at_end) {
      step = kRow;
      for (int t = 0; t < kLanes; ++t) {
        float* const edge = c.scratch + kEdge + t * kMatrices * kRow;
        for (Index i = 0; i < N + 2; ++i) {
          const bool there = first[t] + i * c.dilation < c.x_rows;
          _mm256_store_ps(edge + i * kRow, there ? _mm256_loadu_ps(places[t] + i * c.dilation * c.x_stride) : _mm256_setzero_ps());
        }
        places[t] = edge;
      }
    }
    float* const rows = c.scratch;
    float* const input = c.scratch + kInput;
    const auto same = [](Vec v) __attribute__((always_inline)) { return v; };
    with_activation(c.activation, [&](const auto& activate) {
      for (Index i = 0; i < N + 2; ++i) {
        Vec channels[kRow];
        load_channels(places, i * step, activate, channels);
        for (int k = 0; k < kRow; ++k) store(rows + (k * (N + 2) + i) * kLanes, channels[k]);
      }
    });
    for (int k = 0; k < kRow; ++k) forward_tile<N>(rows + k * (N + 2) * kLanes, kLanes, same, input + k * kLanes, kPlane);
    multiply(c, input, rows);
    // The outputs take the place of the transformed input.
    for (int k = 0; k < kRow; ++k) {
      inverse_tile<N>(rows + k * kLanes, kPlane, outputs, NoEpilogue{}, same, outputs, input + k * kLanes, kPlane);
    }
    with_activation(c.epilogue.activation, [&](const auto& activate) {
      const auto store_all = [&](const auto& exists) {
        for (Index i = 0; i < outputs; ++i) {
          Vec channels[kRow];
          for (int k = 0; k < kRow; ++k) channels[k] = load(input + i * kPlane + k * kLanes);
          epilogue.store_channels(channels, first, i * c.dilation, [&](int lane) { return exists(lane, i); }, activate);
        }
      };
      if (whole) {
        store_all([](int, Index) { return true; });
      } else {
        store_all([&](int lane, Index i) { return i < exist[lane]; });
      }
    });
  }

  static void multiply(const ConvArgs& c, const float* input, float* sums) {
    constexpr int real[] = {0, 1, N, N + 1};
    for (const int matrix : real) {
      multiply_channels(input + matrix * kPlane, c.weights + matrix * kMatrix, sums + matrix * kPlane);
    }
    const Vec half = broadcast(0.5f);
    for (int f = 0; f < kBins; ++f) {
      const int matrix = 2 + 2 * f;
      const float* const a = input + matrix * kPlane;
      const float* const w = c.weights + matrix * kMatrix;
      const float* const third = c.scratch + kThird + f * kMatrix;
      Vec im[kRow], re[kRow], k[kRow];
      for (int o = 0; o < kRow; ++o) im[o] = re[o] = k[o] = zero();
      for (int i = 0; i < kRow; ++i) {
        const Vec in_a = load(a + i * kLanes), in_b = load(a + kPlane + i * kLanes), both = add(in_a, in_b);
#pragma GCC unroll 8
        for (int o = 0; o < kRow; ++o) {
          im[o] = fma(in_a, broadcast(w[i * kRow + o]), im[o]);
          re[o] = fma(in_b, broadcast(w[kMatrix + i * kRow + o]), re[o]);
          k[o] = fma(both, broadcast(third[i * kRow + o]), k[o]);
        }
      }
      float* const sum = sums + matrix * kPlane;
      for (int o = 0; o < kRow; ++o) {
        store(sum + o * kLanes, fnma(half, k[o], re[o]));
        store(sum + kPlane + o * kLanes, fnma(half, k[o], im[o]));
      }
    }
  }
};

// A layer that narrows many channels to few is the narrower instruction set's.
std::size_t narrow_tiled_scratch_size(Transform transform, int in_channels, int out_channels, Index block_bytes) {
  if (in_channels > kRow) return kNarrower->tiled_scratch_size(transform, in_channels, out_channels, block_bytes);
  std::size_t size = 0;
  with_samples<NarrowSpectral>(transform, [&](auto spectral) { size = spectral.kScratch; });
  return size;
}

void conv_narrow_tiled(const TiledConvArgs& args) {
  if (args.conv.in_channels > kRow) return kNarrower->conv_tiled(args);
  with_samples<NarrowSpectral>(args.transform, [&](auto spectral) { spectral.conv(args); });
}
