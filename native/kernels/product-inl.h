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

// One micro-kernel: c = (from ? from : 0) + a b, with B as [k][Vectors * kLanes]; `from` has the shape and stride of c.
// DenseRows says that the row stride is kLanes, which the addresses then hold as constants.
template <int Rows, int Vectors, bool DenseRows>
void product_rows(const LeftMatrix& a, const float* b, const float* from, float* c, Index c_stride) {
  const Index row_stride = DenseRows ? Index{kLanes} : a.row_stride;
  Vec sum[Rows][Vectors];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) sum[i][j] = from ? load(from + i * c_stride + j * kLanes) : zero();
  }
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
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) store(c + i * c_stride + j * kLanes, sum[i][j]);
  }
}

using ProductRows = void (*)(const LeftMatrix& a, const float* b, const float* from, float* c, Index c_stride);

template <bool DenseRows, int Rows = kMaxRows>
ProductRows product_rows_for(int rows, int vectors) {
  if constexpr (Rows == 0) {
    return nullptr;
  } else {
    if (rows != Rows) return product_rows_for<DenseRows, Rows - 1>(rows, vectors);
    static_assert(kPanelVectors == 2, "a third width needs a third case");
    return vectors == 2 ? product_rows<Rows, 2, DenseRows> : product_rows<Rows, 1, DenseRows>;
  }
}

// `rows` rows cut into micro-kernels of nearly equal height.
template <bool DenseRows>
class Product {
 public:
  Product(int rows, int vectors) : parts_((rows + kMaxRows - 1) / kMaxRows), height_(rows / parts_), taller_(rows % parts_) {
    low_ = product_rows_for<DenseRows>(height_, vectors);
    tall_ = taller_ ? product_rows_for<DenseRows>(height_ + 1, vectors) : low_;
  }

  HIFIGAN_INLINE void run(LeftMatrix a, const float* b, const float* from, float* c, Index c_stride) const {
    const Index row_stride = DenseRows ? Index{kLanes} : a.row_stride;
    for (int part = 0; part < parts_; ++part) {
      const int height = part < taller_ ? height_ + 1 : height_;
      (part < taller_ ? tall_ : low_)(a, b, from, c, c_stride);
      a.data += height * row_stride;
      c += height * c_stride;
      if (from) from += height * c_stride;
    }
  }

 private:
  int parts_, height_, taller_;
  ProductRows low_, tall_;
};
