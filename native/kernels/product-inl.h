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

// Where k runs: over taps, in each over groups of kLanes channels, in each over kLanes neighbours in memory.
struct LeftMatrix {
  const float* data;
  Index tap_stride;
  Index group_stride;
  Index row_stride;
  int taps;
  int groups;
};

// B is [k][Vectors * kLanes]. With DenseRows, a.row_stride is kLanes, which the addresses then hold as constants.
template <int Rows, int Vectors, bool DenseRows>
void product_rows(const LeftMatrix& a, const float* b, float* c, Index c_stride) {
  const Index row_stride = DenseRows ? Index{kLanes} : a.row_stride;
  Vec sum[Rows][Vectors];
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Vectors; ++j) sum[i][j] = zero();
  }
  for (int tap = 0; tap < a.taps; ++tap) {
    const float* left = a.data + tap * a.tap_stride;
    for (int group = 0; group < a.groups; ++group) {
#pragma GCC unroll 4
      for (int k = 0; k < kLanes; ++k) {
        Vec right[Vectors];
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
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Vectors; ++j) store(c + i * c_stride + j * kLanes, sum[i][j]);
  }
}

template <int Rows, bool DenseRows>
HIFIGAN_INLINE void product_rows_of(int rows, int vectors, const LeftMatrix& a, const float* b, float* c,
                                    Index c_stride) {
  if constexpr (Rows > 0) {
    if (rows != Rows) {
      product_rows_of<Rows - 1, DenseRows>(rows, vectors, a, b, c, c_stride);
    } else if (vectors == kPanelVectors) {
      product_rows<Rows, kPanelVectors, DenseRows>(a, b, c, c_stride);
    } else {
      // Narrower panels go vector by vector of a matrix that is packed for their width.
      static_assert(kPanelVectors == 2, "a third width needs a third case");
      product_rows<Rows, 1, DenseRows>(a, b, c, c_stride);
    }
  }
}

// All `rows` rows, cut into micro-kernels of nearly equal height.
template <bool DenseRows>
void product(int rows, int vectors, const LeftMatrix& a, const float* b, float* c, Index c_stride) {
  const int parts = (rows + kMaxRows - 1) / kMaxRows;
  for (int part = 0; part < parts; ++part) {
    const int begin = rows * part / parts, end = rows * (part + 1) / parts;
    LeftMatrix some = a;
    some.data += begin * (DenseRows ? Index{kLanes} : a.row_stride);
    product_rows_of<kMaxRows, DenseRows>(end - begin, vectors, some, b, c + begin * c_stride, c_stride);
  }
}
