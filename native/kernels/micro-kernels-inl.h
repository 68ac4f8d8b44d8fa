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

// Numbers in one chain of a sum: of a convolution's rows, of an upsampling's, of tiles. Shorter ones round less and take longer.
constexpr int kRowChain = 32, kUpsamplingChain = 64, kTileChain = 128;

// Where k runs: over taps, in each over groups of kLanes channels, in each over kLanes neighbours in memory. A sum is one of chains of
// so many taps and groups.
struct LeftMatrix {
  const float* data;
  Index tap_stride;
  Index group_stride;
  Index row_stride;
  int taps;
  int groups;
  int chain_taps;
  int chain_groups;
};

inline LeftMatrix left_matrix(const float* data, Index tap_stride, Index group_stride, Index row_stride, int taps, int groups, int chain) {
  const int most = chain / kLanes, chain_groups = groups < most ? groups : most;
  return {data, tap_stride, group_stride, row_stride, taps, groups, taps > 1 ? most / chain_groups : 1, chain_groups};
}

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

// sum += a b for `taps` and `groups` of a from `data` on; b is [k][Vectors * kLanes], and moves on. DenseRows says that the row stride is
// kLanes, which the addresses then hold as constants. With PastSecond the weights of b are fetched a little ahead, past the second
// cache, where they would drive out what the layer reads again; without, `fetch` is done, spread evenly: in one piece between products
// it would fill the queue of what the caches wait for. Where `kRight` combines b with the one `b_plane` behind it, both were read before,
// and nothing is fetched.
enum class Right { kSelf, kSum, kDifference };
template <int Rows, int Vectors, bool DenseRows, bool PastSecond, Right kRight = Right::kSelf>
HIFIGAN_INLINE void accumulate(const LeftMatrix& a, const float* data, int taps, int groups, const float*& b, Index b_plane, Fetch& fetch,
                               Vec (&sum)[Rows][Vectors]) {
  const Index row_stride = DenseRows ? Index{kLanes} : a.row_stride;
  constexpr bool own = PastSecond || Rows <= kFewRows;
  Fetch to_come = fetch;
  do {
    const float* left = data;
    int group = groups;
    do {
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
          if constexpr (kRight == Right::kSum) right[j] = add(right[j], load(at + b_plane));
          if constexpr (kRight == Right::kDifference) right[j] = sub(right[j], load(at + b_plane));
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
    } while (--group > 0);
    data += a.tap_stride;
  } while (--taps > 0);
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
HIFIGAN_INLINE void add_sums(const float* c, Vec (&sum)[Rows][Vectors]) {
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) sum[i][j] = add(load(c + i * kPanel + j * kLanes), sum[i][j]);
  }
}

template <int Rows, int Vectors>
HIFIGAN_INLINE void store_sums(const Vec (&sum)[Rows][Vectors], float* c) {
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) store(c + i * kPanel + j * kLanes, sum[i][j]);
  }
}

// Numbers of a matrix that is multiplied by `a`.
constexpr Index panel_size(const LeftMatrix& a, int vectors) { return Index{a.taps} * a.groups * kLanes * vectors * kLanes; }

// Calls add(whether it is the first, sums) for each chain of a b, or of what `kRight` says: a sum of hundreds of numbers is rounded less
// when it is one of short chains. What is rounded in a flow and before the second stage, all that follows makes louder.
template <int Rows, int Vectors, bool DenseRows, bool PastSecond, Right kRight = Right::kSelf, class Add>
HIFIGAN_INLINE void each_chain(const LeftMatrix& a, const float* b, Index b_plane, Fetch& fetch, const Add& add) {
  const float* left = a.data;
  int taps_left = a.taps;
  bool first = true;
  do {
    const int taps = taps_left < a.chain_taps ? taps_left : a.chain_taps;
    const float* at = left;
    int groups_left = a.groups;
    do {
      const int groups = groups_left < a.chain_groups ? groups_left : a.chain_groups;
      Vec sum[Rows][Vectors];
      clear_sums(sum);
      accumulate<Rows, Vectors, DenseRows, PastSecond, kRight>(a, at, taps, groups, b, b_plane, fetch, sum);
      add(first, sum);
      first = false;
      groups_left -= groups;
      at += groups * a.group_stride;
    } while (groups_left > 0);
    taps_left -= taps;
    left += taps * a.tap_stride;
  } while (taps_left > 0);
}

// c = the sum of the chains.
template <int Rows, int Vectors, bool DenseRows, bool PastSecond, Right kRight = Right::kSelf>
HIFIGAN_INLINE void sum_chains(const LeftMatrix& a, const float* b, Index b_plane, Fetch& fetch, float* c) {
  each_chain<Rows, Vectors, DenseRows, PastSecond, kRight>(
      a, b, b_plane, fetch, [&](bool first, Vec(&sum)[Rows][Vectors]) __attribute__((always_inline)) {
        if (!first) add_sums(c, sum);
        store_sums(sum, c);
      });
}

// c = a b, rows of c lying kPanel apart as in all of these. The micro-kernels of three and four products call it: with it inside of each,
// they were two thirds of the module.
template <bool PastSecond, bool DenseRows>
struct OneProduct {
  using Function = void (*)(const LeftMatrix& a, const float* b, Fetch& fetch, float* c);

  template <int Rows, int Vectors>
  __attribute__((noinline)) static void run(const LeftMatrix& a, const float* b, Fetch& fetch, float* c) {
    if constexpr (!DenseRows && Vectors == 1) {  // rows of one vector: addresses are constants
      if (a.row_stride == kLanes) return OneProduct<PastSecond, true>::template run<Rows, Vectors>(a, b, fetch, c);
    }
    sum_chains<Rows, Vectors, DenseRows, PastSecond>(a, b, 0, fetch, c);
  }
};

// c -= sum / 2.
template <int Rows, int Vectors>
HIFIGAN_INLINE void subtract_half(const Vec (&sum)[Rows][Vectors], float* c) {
  const Vec half = broadcast(0.5f);
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) {
      float* const at = c + i * kPanel + j * kLanes;
      store(at, fnma(half, sum[i][j], load(at)));
    }
  }
}

// The micro-kernel of three products, with dense rows: c1 = a1 b1 - k and c2 = a2 b2 - k, where 2 k = a0 (b1 + b2); a2 lies a_plane
// behind a1, and b2 behind b1 without a gap.
template <bool PastSecond>
struct ThreeProducts {
  using Function = void (*)(const LeftMatrix& a1, Index a_plane, const float* a0, const float* b, Fetch& fetch, float* c1, float* c2);

  template <int Rows, int Vectors>
  static void run(const LeftMatrix& a1, Index a_plane, const float* a0, const float* b, Fetch& fetch, float* c1, float* c2) {
    using First = OneProduct<PastSecond, true>;
    const Index b_plane = panel_size(a1, Vectors);
    LeftMatrix left = a1;
    First::template run<Rows, Vectors>(left, b, fetch, c1);
    left.data += a_plane;
    First::template run<Rows, Vectors>(left, b + b_plane, fetch, c2);
    left.data = a0;
    each_chain<Rows, Vectors, true, PastSecond, Right::kSum>(
        left, b, b_plane, fetch, [&](bool, const Vec(&sum)[Rows][Vectors]) __attribute__((always_inline)) {
          subtract_half(sum, c1);
          subtract_half(sum, c2);
        });
  }
};

// The micro-kernel of four products, with dense rows: a0 b0, a1 b1, a2 (b0 + b1) and a3 (b0 - b1), each a_plane behind the one before,
// to sums that are c_plane apart.
template <bool PastSecond>
struct FourProducts {
  using Function = void (*)(const LeftMatrix& a, Index a_plane, const float* b, Fetch& fetch, float* c, Index c_plane);

  template <int Rows, int Vectors>
  static void run(const LeftMatrix& a, Index a_plane, const float* b, Fetch& fetch, float* c, Index c_plane) {
    using First = OneProduct<PastSecond, true>;
    const Index b_plane = panel_size(a, Vectors);
    LeftMatrix left = a;
    for (int i = 0; i < 2; ++i, left.data += a_plane, c += c_plane) {
      First::template run<Rows, Vectors>(left, b + i * b_plane, fetch, c);
    }
    sum_chains<Rows, Vectors, true, PastSecond, Right::kSum>(left, b, b_plane, fetch, c);
    left.data += a_plane;
    sum_chains<Rows, Vectors, true, PastSecond, Right::kDifference>(left, b, b_plane, fetch, c + c_plane);
  }
};
