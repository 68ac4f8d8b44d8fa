// Matrix products with the accumulators in registers: a few rows of A times one packed panel of B.
// Included inside the instruction set's namespace, after its Vec.
//
// Each element of the result is one chain of fused multiply-adds over k in ascending order, whatever the number of
// rows in the micro-kernel: so a row's bits do not depend on the rows beside it.

// Columns of a full panel; the last panel of a matrix may be narrower, by whole vectors.
constexpr int kPanel = kPanelVectors * kLanes;

constexpr int round_up_to_lanes(int count) { return (count + kLanes - 1) / kLanes * kLanes; }

// Vectors of the panel that begins at column `column` of `columns` (a multiple of the lanes).
constexpr int panel_vectors(int column, int columns) {
  return columns - column >= kPanel ? kPanelVectors : (columns - column) / kLanes;
}

// How far ahead of the arithmetic weights are fetched, in floats.
constexpr Index kWeightsAhead = 2048;

// Where k runs: over taps, in each over groups of kLanes channels, in each over kLanes neighbours in memory.
struct LeftMatrix {
  const float* data;
  Index tap_stride;
  Index group_stride;
  Index row_stride;
  int taps;
  int groups;
};

// sum += a b, with B as [k][Vectors * kLanes]. DenseRows says that the row stride is kLanes, which the addresses then hold as
// constants.
template <int Rows, int Vectors, bool DenseRows>
HIFIGAN_INLINE void accumulate(const LeftMatrix& a, const float* b, Vec (&sum)[Rows][Vectors]) {
  const Index row_stride = DenseRows ? Index{kLanes} : a.row_stride;
  for (int tap = 0; tap < a.taps; ++tap) {
    const float* left = a.data + tap * a.tap_stride;
    for (int group = 0; group < a.groups; ++group) {
#pragma GCC unroll 4
      for (int k = 0; k < kLanes; ++k) {
        Vec right[Vectors];
        // The weights come by once per block of rows, from the last cache or from memory: fetched past the second cache,
        // where they would drive out what the layer reads again.
#pragma GCC unroll 4
        for (int column = 0; column < Vectors * kLanes; column += 16) {
          __builtin_prefetch(b + kWeightsAhead + k * Vectors * kLanes + column, 0, 0);
        }
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) right[j] = load(b + (k * Vectors + j) * kLanes);
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
          const Vec value = broadcast(left[i * row_stride + k]);
#pragma GCC unroll 4
          for (int j = 0; j < Vectors; ++j) sum[i][j] = fma(value, right[j], sum[i][j]);
        }
      }
      left += a.group_stride;
      b += kLanes * Vectors * kLanes;
    }
  }
}

template <int Rows, int Vectors>
HIFIGAN_INLINE void clear_sums(Vec (&sum)[Rows][Vectors]) {
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) sum[i][j] = zero();
  }
}

template <int Rows, int Vectors>
HIFIGAN_INLINE void load_sums(const float* c, Index c_stride, Vec (&sum)[Rows][Vectors]) {
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) sum[i][j] = load(c + i * c_stride + j * kLanes);
  }
}

template <int Rows, int Vectors>
HIFIGAN_INLINE void store_sums(const Vec (&sum)[Rows][Vectors], float* c, Index c_stride) {
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) store(c + i * c_stride + j * kLanes, sum[i][j]);
  }
}

// The micro-kernel of one product: c = a b.
template <bool DenseRows>
struct OneProduct {
  using Function = void (*)(const LeftMatrix& a, const float* b, float* c, Index c_stride);

  template <int Rows, int Vectors>
  static void run(const LeftMatrix& a, const float* b, float* c, Index c_stride) {
    Vec sum[Rows][Vectors];
    clear_sums(sum);
    accumulate<Rows, Vectors, DenseRows>(a, b, sum);
    store_sums(sum, c, c_stride);
  }
};

// The micro-kernel of three products that share the first, with dense rows: c1 = a0 b0 + a1 b1 and c2 = a0 b0 + a2 b2, where a1
// and a2 lie one and two a_plane behind a0, and b1 and b2 behind b0 without a gap.
struct ThreeProducts {
  using Function = void (*)(const LeftMatrix& a, Index a_plane, const float* b, float* c1, float* c2, Index c_stride);

  template <int Rows, int Vectors>
  static void run(const LeftMatrix& a, Index a_plane, const float* b, float* c1, float* c2, Index c_stride) {
    const Index matrix = Index{a.groups} * kLanes * Vectors * kLanes;
    LeftMatrix left = a;
    Vec sum[Rows][Vectors];
    clear_sums(sum);
    accumulate<Rows, Vectors, true>(left, b, sum);
    store_sums(sum, c2, c_stride);
    left.data += a_plane;
    accumulate<Rows, Vectors, true>(left, b + matrix, sum);
    store_sums(sum, c1, c_stride);
    left.data += a_plane;
    load_sums(c2, c_stride, sum);
    accumulate<Rows, Vectors, true>(left, b + 2 * matrix, sum);
    store_sums(sum, c2, c_stride);
  }
};

template <class MicroKernel, int Rows = kMaxRows>
typename MicroKernel::Function micro_kernel_for(int rows, int vectors) {
  static_assert(kPanelVectors == 2, "a third width needs a third case");
  if constexpr (Rows == 0) {
    return nullptr;
  } else {
    if (rows != Rows) return micro_kernel_for<MicroKernel, Rows - 1>(rows, vectors);
    return vectors == 2 ? MicroKernel::template run<Rows, 2> : MicroKernel::template run<Rows, 1>;
  }
}

// `rows` rows cut into parts of nearly equal height, each with its micro-kernel.
template <class MicroKernel>
class RowParts {
 public:
  RowParts(int rows, int vectors)
      : parts_((rows + kMaxRows - 1) / kMaxRows),
        height_(rows / parts_),
        taller_(rows % parts_),
        low_(micro_kernel_for<MicroKernel>(height_, vectors)),
        tall_(taller_ ? micro_kernel_for<MicroKernel>(height_ + 1, vectors) : low_) {}

  // Calls body(first row, micro-kernel) for each part.
  template <class Body>
  HIFIGAN_INLINE void each(const Body& body) const {
    int row = 0;
    for (int part = 0; part < parts_; ++part) {
      const bool is_tall = part < taller_;
      body(row, is_tall ? tall_ : low_);
      row += is_tall ? height_ + 1 : height_;
    }
  }

 private:
  int parts_, height_, taller_;
  typename MicroKernel::Function low_, tall_;
};

template <bool DenseRows>
class Product {
 public:
  Product(int rows, int vectors) : parts_(rows, vectors) {}

  HIFIGAN_INLINE void run(const LeftMatrix& a, const float* b, float* c, Index c_stride) const {
    const Index row_stride = DenseRows ? Index{kLanes} : a.row_stride;
    parts_.each([&](int row, auto micro_kernel) {
      LeftMatrix part = a;
      part.data += row * row_stride;
      micro_kernel(part, b, c + row * c_stride, c_stride);
    });
  }

 private:
  RowParts<OneProduct<DenseRows>> parts_;
};

// The three products of a complex bin.
class BinProduct {
 public:
  BinProduct(int rows, int vectors) : parts_(rows, vectors) {}

  HIFIGAN_INLINE void run(const LeftMatrix& a, Index a_plane, const float* b, float* c1, float* c2, Index c_stride) const {
    parts_.each([&](int row, auto micro_kernel) {
      LeftMatrix part = a;
      part.data += row * kLanes;
      micro_kernel(part, a_plane, b, c1 + row * c_stride, c2 + row * c_stride, c_stride);
    });
  }

 private:
  RowParts<ThreeProducts> parts_;
};
