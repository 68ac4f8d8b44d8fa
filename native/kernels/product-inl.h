// Matrix products with the accumulators in registers: a few rows of A times one packed panel of B.
// Included inside the instruction set's namespace, after its Vec.
//
// Each element of the result is one chain of fused multiply-adds over k in ascending order, or the sum of such chains,
// whatever the number of rows in the micro-kernel: so a row's bits do not depend on the rows beside it.

// Columns of a full panel; the last panel of a matrix may be narrower, by whole vectors.
constexpr int kPanel = kPanelVectors * kLanes;

constexpr int round_up_to_lanes(int count) { return (count + kLanes - 1) / kLanes * kLanes; }

// Vectors of the panel that begins at column `column` of `columns` (a multiple of the lanes).
constexpr int panel_vectors(int column, int columns) {
  return columns - column >= kPanel ? kPanelVectors : (columns - column) / kLanes;
}

// How far ahead of the arithmetic weights are fetched past the second cache, in floats.
constexpr Index kWeightsAhead = 2048;

// Rows up to which a product is done before other weights could be fetched beside it: it fetches its own, a little ahead.
constexpr int kFewRows = kMaxRows * 2 / 3;

constexpr Index kLineFloats = 64 / sizeof(float);

// Rows of a micro-kernel whose panel is one vector: enough sums to keep the units busy, 12 + 1 + 1 of 16 registers.
constexpr int kMostNarrowRows = 12;
constexpr int most_rows(int vectors) { return vectors == kPanelVectors ? kMaxRows : kMostNarrowRows; }

// Between the planes of two products: keeps the stores of one tile out of one set of the first cache.
constexpr int kPlanePadding = 16;

// Where k runs: over taps, in each over groups of kLanes channels, in each over kLanes neighbours in memory.
struct LeftMatrix {
  const float* data;
  Index tap_stride;
  Index group_stride;
  Index row_stride;
  int taps;
  int groups;
};

// Memory from `at` on, of which `step` floats more are fetched per k; no more than a line.
struct Stretch {
  const float* at = nullptr;
  Index step = 0;
};

// What a micro-kernel fetches into the second cache while it multiplies: the weights of the product to come, and other memory that
// will be needed (of few rows: the other half of the weights).
struct Fetch {
  Stretch weights, other;
};

// sum += a b, with B as [k][Vectors * kLanes]. DenseRows says that the row stride is kLanes, which the addresses then hold as
// constants. With PastSecond the weights of b are fetched a little ahead, past the second cache, where they would drive out
// what the layer reads again; without, `fetch` is done, spread evenly: in one piece between products it would fill the queue of what
// the caches wait for. Where `kRight` combines b with the matrix behind it, both were read before, and nothing is fetched.
enum class Right { kSelf, kSum, kDifference };
template <int Rows, int Vectors, bool DenseRows, bool PastSecond, Right kRight = Right::kSelf>
HIFIGAN_INLINE void accumulate(const LeftMatrix& a, const float* b, Fetch& fetch, Vec (&sum)[Rows][Vectors]) {
  const Index matrix = Index{a.taps} * a.groups * kLanes * Vectors * kLanes;
  const Index row_stride = DenseRows ? Index{kLanes} : a.row_stride;
  constexpr bool own = PastSecond || Rows <= kFewRows;
  Fetch to_come = fetch;
  for (int tap = 0; tap < a.taps; ++tap) {
    const float* left = a.data + tap * a.tap_stride;
    for (int group = 0; group < a.groups; ++group) {
#pragma GCC unroll 4
      for (int k = 0; k < kLanes; ++k) {
        Vec right[Vectors];
        if constexpr (kRight == Right::kSelf && own) {
#pragma GCC unroll 4
          for (Index line = 0; line < Vectors * kLanes; line += kLineFloats) {
            __builtin_prefetch(b + kWeightsAhead + k * Vectors * kLanes + line, 0, PastSecond ? 0 : 2);
          }
        } else if constexpr (kRight == Right::kSelf && DenseRows) {
          // A line of both where k reads two lines of weights, else by turns.
          constexpr int turns = Vectors * kLanes > kLineFloats ? 1 : 2;
          if (k % turns == 0) {
            __builtin_prefetch(to_come.weights.at, 0, 2);
            to_come.weights.at += turns * to_come.weights.step;
          }
          if (k % turns == turns - 1) {
            __builtin_prefetch(to_come.other.at, 0, 2);
            to_come.other.at += turns * to_come.other.step;
          }
        } else if constexpr (kRight == Right::kSelf) {
#pragma GCC unroll 4
          for (Index line = 0; line < Vectors * kLanes; line += kLineFloats) __builtin_prefetch(to_come.weights.at + line, 0, 2);
          to_come.weights.at += to_come.weights.step;
        }
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) {
          const float* const at = b + (k * Vectors + j) * kLanes;
          right[j] = load(at);
          if constexpr (kRight == Right::kSum) right[j] = add(right[j], load(at + matrix));
          if constexpr (kRight == Right::kDifference) right[j] = sub(right[j], load(at + matrix));
        }
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
          const Vec value = lane_of(left + i * row_stride, k);
#pragma GCC unroll 4
          for (int j = 0; j < Vectors; ++j) sum[i][j] = fma(value, right[j], sum[i][j]);
        }
      }
      left += a.group_stride;
      b += kLanes * Vectors * kLanes;
    }
  }
  fetch = to_come;
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
HIFIGAN_INLINE void add_sums(const float* c, Index c_stride, Vec (&sum)[Rows][Vectors]) {
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) sum[i][j] = add(load(c + i * c_stride + j * kLanes), sum[i][j]);
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

// The micro-kernel of one product with dense rows: c = a b.
template <bool PastSecond>
struct DenseProduct {
  static constexpr bool kDenseRows = true;
  using Function = void (*)(const LeftMatrix& a, const float* b, const Fetch& fetch, float* c, Index c_stride);

  template <int Rows, int Vectors>
  static void run(const LeftMatrix& a, const float* b, const Fetch& fetch, float* c, Index c_stride) {
    Fetch to_come = fetch;
    Vec sum[Rows][Vectors];
    clear_sums(sum);
    accumulate<Rows, Vectors, true, PastSecond>(a, b, to_come, sum);
    store_sums(sum, c, c_stride);
  }
};

// Groups of kLanes numbers in one chain of a ChainedProduct.
constexpr int kChainGroups = 32 / kLanes;

// The same as the sum of short chains: less is rounded in sums of hundreds of numbers, which the flow of a voice makes louder.
// Chains of 32 give it 5 to 10 dB.
template <bool PastSecond>
struct ChainedProduct {
  static constexpr bool kDenseRows = false;
  using Function = typename DenseProduct<PastSecond>::Function;

  template <int Rows, int Vectors>
  static void run(const LeftMatrix& a, const float* b, const Fetch& fetch, float* c, Index c_stride) {
    Fetch to_come = fetch;
    LeftMatrix chain = a;
    const int most_groups = a.groups < kChainGroups ? a.groups : kChainGroups;
    const int most_taps = kChainGroups / most_groups;
    const bool dense = Vectors == 1 && a.row_stride == kLanes;  // rows of one vector: addresses are constants
    for (int tap = 0; tap < a.taps; tap += most_taps) {
      chain.taps = a.taps - tap < most_taps ? a.taps - tap : most_taps;
      for (int group = 0; group < a.groups; group += most_groups) {
        chain.groups = a.groups - group < most_groups ? a.groups - group : most_groups;
        chain.data = a.data + tap * a.tap_stride + group * a.group_stride;
        Vec sum[Rows][Vectors];
        clear_sums(sum);
        if (dense) {
          accumulate<Rows, Vectors, true, PastSecond>(chain, b, to_come, sum);
        } else {
          accumulate<Rows, Vectors, false, PastSecond>(chain, b, to_come, sum);
        }
        if (tap + group > 0) add_sums(c, c_stride, sum);
        store_sums(sum, c, c_stride);
        b += Index{chain.taps} * chain.groups * kLanes * Vectors * kLanes;
      }
    }
  }
};

// c -= sum / 2.
template <int Rows, int Vectors>
HIFIGAN_INLINE void subtract_half(const Vec (&sum)[Rows][Vectors], float* c, Index c_stride) {
  const Vec half = broadcast(0.5f);
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) {
      float* const at = c + i * c_stride + j * kLanes;
      store(at, fnma(half, sum[i][j], load(at)));
    }
  }
}

// The micro-kernel of three products, with dense rows: c1 = a1 b1 - k and c2 = a2 b2 - k, where 2 k = a0 (b1 + b2); a2 lies a_plane
// behind a1, and b2 behind b1 without a gap.
template <bool PastSecond>
struct ThreeProducts {
  using Function = void (*)(const LeftMatrix& a1, Index a_plane, const float* a0, const float* b, const Fetch& fetch, float* c1,
                            float* c2, Index c_stride);

  template <int Rows, int Vectors>
  static void run(const LeftMatrix& a1, Index a_plane, const float* a0, const float* b, const Fetch& fetch, float* c1, float* c2,
                  Index c_stride) {
    Fetch to_come = fetch;
    LeftMatrix left = a1;
    Vec sum[Rows][Vectors];
    clear_sums(sum);
    accumulate<Rows, Vectors, true, PastSecond>(left, b, to_come, sum);
    store_sums(sum, c1, c_stride);
    left.data += a_plane;
    clear_sums(sum);
    accumulate<Rows, Vectors, true, PastSecond>(left, b + Index{a1.groups} * kLanes * Vectors * kLanes, to_come, sum);
    store_sums(sum, c2, c_stride);
    left.data = a0;
    clear_sums(sum);
    accumulate<Rows, Vectors, true, PastSecond, Right::kSum>(left, b, to_come, sum);
    subtract_half(sum, c1, c_stride);
    subtract_half(sum, c2, c_stride);
  }
};

// The micro-kernel of four products, with dense rows: a0 b0, a1 b1, a2 (b0 + b1) and a3 (b0 - b1), each a_plane behind the one before,
// to sums that are c_plane apart.
template <bool PastSecond>
struct FourProducts {
  using Function = void (*)(const LeftMatrix& a, Index a_plane, const float* b, const Fetch& fetch, float* c, Index c_plane,
                            Index c_stride);

  template <int Rows, int Vectors>
  static void run(const LeftMatrix& a, Index a_plane, const float* b, const Fetch& fetch, float* c, Index c_plane, Index c_stride) {
    Fetch to_come = fetch;
    LeftMatrix left = a;
    Vec sum[Rows][Vectors];
    const auto done = [&]() __attribute__((always_inline)) {
      store_sums(sum, c, c_stride);
      clear_sums(sum);
      left.data += a_plane;
      c += c_plane;
    };
    clear_sums(sum);
    accumulate<Rows, Vectors, true, PastSecond>(left, b, to_come, sum);
    done();
    accumulate<Rows, Vectors, true, PastSecond>(left, b + Index{a.groups} * kLanes * Vectors * kLanes, to_come, sum);
    done();
    accumulate<Rows, Vectors, true, PastSecond, Right::kSum>(left, b, to_come, sum);
    done();
    accumulate<Rows, Vectors, true, PastSecond, Right::kDifference>(left, b, to_come, sum);
    store_sums(sum, c, c_stride);
  }
};

template <class MicroKernel, int Vectors, int Rows>
typename MicroKernel::Function micro_kernel_for(int rows) {
  if constexpr (Rows == 0) {
    return nullptr;
  } else {
    return rows == Rows ? MicroKernel::template run<Rows, Vectors> : micro_kernel_for<MicroKernel, Vectors, Rows - 1>(rows);
  }
}

// `rows` rows cut into parts of nearly equal height, each with its micro-kernel.
template <template <bool> class MicroKernel>
class RowParts {
 public:
  RowParts(int rows, int vectors, bool past_second)
      : parts_((rows + most_rows(vectors) - 1) / most_rows(vectors)),
        height_(rows / parts_),
        taller_(rows % parts_),
        width_(Index{vectors} * kLanes),
        low_(kernel(height_, vectors, past_second)),
        tall_(taller_ ? kernel(height_ + 1, vectors, past_second) : low_) {}

  // Calls body(first row, micro-kernel, what it fetches) for each part; `next` are the weights to come, `depth` the number of k, and
  // `other` what may be fetched beside them.
  template <class Body>
  HIFIGAN_INLINE void each(const float* next, Index depth, const Stretch& other, const Body& body) const {
    // Each part fetches its share.
    const Index step = (width_ + parts_ - 1) / parts_;
    const Stretch second = {next + (width_ > kLineFloats ? kLineFloats : 0), step};
    // One line of weights per k is not enough for one part: then nothing else is fetched.
    Fetch fetch = {{next, step}, other.at && parts_ > 1 ? other : second};
    int row = 0;
    for (int part = 0; part < parts_; ++part) {
      const bool is_tall = part < taller_;
      body(row, is_tall ? tall_ : low_, fetch);
      row += is_tall ? height_ + 1 : height_;
      fetch.weights.at += fetch.weights.step * depth;
      fetch.other.at += fetch.other.step * depth;
    }
  }

  // How many k run with fetching in all parts, of so many for one.
  Index fetching(Index depth) const { return parts_ * depth; }

 private:
  using Function = typename MicroKernel<true>::Function;

  static Function kernel(int rows, int vectors, bool past_second) {
    return past_second ? kernel_of<MicroKernel<true>>(rows, vectors) : kernel_of<MicroKernel<false>>(rows, vectors);
  }

  template <class Kernel>
  static Function kernel_of(int rows, int vectors) {
    static_assert(kPanelVectors == 2, "a third width needs a third case");
    return vectors == 2 ? micro_kernel_for<Kernel, 2, kMaxRows>(rows) : micro_kernel_for<Kernel, 1, kMostNarrowRows>(rows);
  }

  int parts_, height_, taller_;
  Index width_;
  Function low_, tall_;
};

template <template <bool> class MicroKernel>
class Product {
 public:
  Product(int rows, int vectors, bool past_second) : parts_(rows, vectors, past_second) {}

  // How many k fetch, in a product of so many.
  Index fetching(Index depth) const { return parts_.fetching(depth); }

  HIFIGAN_INLINE void run(const LeftMatrix& a, const float* b, const float* next, const Stretch& other, float* c,
                          Index c_stride) const {
    const Index row_stride = MicroKernel<true>::kDenseRows ? Index{kLanes} : a.row_stride;
    const Index depth = Index{a.taps} * a.groups * kLanes;
    parts_.each(next, depth, other, [&](int row, auto micro_kernel, const Fetch& fetch) {
      LeftMatrix part = a;
      part.data += row * row_stride;
      micro_kernel(part, b, fetch, c + row * c_stride, c_stride);
    });
  }

 private:
  RowParts<MicroKernel> parts_;
};

// The three products of a complex bin.
class BinProduct {
 public:
  BinProduct(int rows, int vectors, bool past_second) : parts_(rows, vectors, past_second) {}

  HIFIGAN_INLINE void run(const LeftMatrix& a1, Index a_plane, const float* a0, const float* b, const float* next,
                          const Stretch& other, float* c1, float* c2, Index c_stride) const {
    parts_.each(next, 2 * Index{a1.groups} * kLanes, other, [&](int row, auto micro_kernel, const Fetch& fetch) {
      LeftMatrix part = a1;
      part.data += row * kLanes;
      micro_kernel(part, a_plane, a0 + row * kLanes, b, fetch, c1 + row * c_stride, c2 + row * c_stride, c_stride);
    });
  }

 private:
  RowParts<ThreeProducts> parts_;
};

// The four products of Winograd's F(3, 2).
class WinogradProduct {
 public:
  WinogradProduct(int rows, int vectors, bool past_second) : parts_(rows, vectors, past_second) {}

  Index fetching(Index depth) const { return parts_.fetching(depth); }

  HIFIGAN_INLINE void run(const LeftMatrix& a, Index a_plane, const float* b, const float* next, const Stretch& other, float* c,
                          Index c_plane, Index c_stride) const {
    parts_.each(next, 2 * Index{a.groups} * kLanes, other, [&](int row, auto micro_kernel, const Fetch& fetch) {
      LeftMatrix part = a;
      part.data += row * kLanes;
      micro_kernel(part, a_plane, b, fetch, c + row * c_stride, c_plane, c_stride);
    });
  }

 private:
  RowParts<FourProducts> parts_;
};
