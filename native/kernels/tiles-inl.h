// Convolutions as products of tiles, 16 rows by 32 channels by 16 channels, of numbers in bfloat16. Included once in the file
// of a tile unit, inside its namespace, after its Vec, its lines and its Tiles.
//
// A unit is 32 rows by 32 output channels in four tiles of sums. A tile of the left operand is 16 rows as they lie in memory, and
// a tap is nothing but another first row. While the products of a unit run, vectors do the epilogue of the unit before it.
// Every sum goes over lines, then taps, then pairs of slices, whatever the range of rows: so no bit depends on ranges.
//
// vdpbf16ps would be of no use: on an Emerald Rapids a prototype found it half as fast as multiply-adds of float32.

constexpr int kLineChannels = 32;
constexpr Index kUnitRows = 32;
constexpr Index kTileFloats = 256;  // 1 KB
// Rows that go through a layer together, and panels of 32 output channels that do while their rows are in the first cache: as
// many as stay in the second one.
constexpr Index kBlockRows = 512;
constexpr Index kGroupFloats = 512 * kTileFloats;
// Weights of a group beyond this are read past the first cache, which then keeps rows and sums.
constexpr Index kFirstFloats = 32 * kTileFloats;
// Of few rows, weights come from the last cache for nearly every product: they are fetched so far ahead.
constexpr Index kFewRows = 256;
constexpr Index kAheadFloats = 16 * kTileFloats;

constexpr int lines_of(int channels) { return (channels + kLineChannels - 1) / kLineChannels; }
constexpr int padded_channels(int channels) { return lines_of(channels) * kLineChannels; }
constexpr int transpose_taps(int kernel_size, int stride) { return (kernel_size + stride - 1) / stride; }

TransformShape transform_shape(Transform, int) { return {0, 0, 0, 0}; }

// 32 channels of a row of so many slices.
template <int kSlices>
HIFIGAN_INLINE void load_slices(const float* row, Vec& low, Vec& high) {
  load_line(row, low, high);
  for (int s = 1; s < kSlices; ++s) {
    Vec l, h;
    load_line(row + s * kLanes, l, h);
    low = add(low, l);
    high = add(high, h);
  }
}

template <int kSlices>
HIFIGAN_INLINE void store_slices(float* row, Vec low, Vec high) {
  for (int s = 0; s < kSlices; ++s) {
    store_line(row + s * kLanes, low, high);
    low = sub(low, rounded(low));
    high = sub(high, rounded(high));
  }
}

HIFIGAN_INLINE float slope_of(Activation activation) {
  return activation.kind == ActivationKind::kNone ? 1.0f : activation.slope;
}

// What becomes of a unit's sums, row by row: see Epilogue. `end` is 0 before the first unit.
template <int kSlices, Format kOut>
struct UnitEpilogue {
  const float* sums = nullptr;  // [2 vectors][32 rows][16]
  const float* bias = nullptr;
  const float* residual = nullptr;
  Index residual_stride = 0;
  const float* addend = nullptr;
  Index addend_stride = 0;
  float* y = nullptr;
  Index y_stride = 0;
  Index begin = 0, end = 0;
  float scale = 1.0f, slope = 1.0f, inverse = 1.0f;

  HIFIGAN_UNIT_ROW void operator()(Index r) const {
    if (r < begin || r >= end) return;
    Vec low = add(load(sums + r * kLanes), load(bias));
    Vec high = add(load(sums + kUnitRows * kLanes + r * kLanes), load(bias + kLanes));
    if (residual) {
      // A value behind the leaky ReLU is the larger of it and the slope times it: the value is the smaller one.
      Vec l, h;
      load_slices<kSlices>(residual + r * residual_stride, l, h);
      low = add(low, min(l, mul(l, broadcast(inverse))));
      high = add(high, min(h, mul(h, broadcast(inverse))));
    }
    if (addend) {
      low = add(low, load(addend + r * addend_stride));
      high = add(high, load(addend + r * addend_stride + kLanes));
    }
    if (scale != 1.0f) {
      low = mul(low, broadcast(scale));
      high = mul(high, broadcast(scale));
    }
    if (slope != 1.0f) {
      low = max(low, mul(low, broadcast(slope)));
      high = max(high, mul(high, broadcast(slope)));
    }
    float* const to = y + r * y_stride;
    if constexpr (kOut == Format::kFloat32) {
      store(to, low);
      store(to + kLanes, high);
    } else {
      store_slices<slices_of(kOut)>(to, low, high);
    }
  }
};

// All four products of a unit. A product that needs one operand alone of those that are to come does not wait for the others.
template <bool kLeft, bool kRight>
HIFIGAN_INLINE void multiply_loaded(Tiles& tiles, const float* left, Index stride, const float* right, bool past_first) {
  if constexpr (kRight) tiles.template load_right<0>(right, past_first);
  if constexpr (kLeft) tiles.template load_left<0>(left, stride);
  tiles.template multiply<0, 0>();
  if constexpr (kLeft) tiles.template load_left<1>(left + kUnitRows / 2 * stride, stride);
  tiles.template multiply<1, 0>();
  if constexpr (kRight) tiles.template load_right<1>(right + kTileFloats, past_first);
  tiles.template multiply<0, 1>();
  tiles.template multiply<1, 1>();
}

// One line, one tap: all pairs of slices that count, the smallest products first.
template <int kSlices>
HIFIGAN_INLINE void multiply(Tiles& tiles, const float* x, Index stride, const float* weights, bool past_first) {
  const auto pair = [&](auto left, auto right, int left_slice, int right_slice) __attribute__((always_inline)) {
    multiply_loaded<left, right>(tiles, x + left_slice * kLanes, stride, weights + right_slice * 2 * kTileFloats, past_first);
  };
  constexpr std::true_type load;
  constexpr std::false_type loaded;
  if constexpr (kSlices == 1) {
    pair(load, load, 0, 0);
  } else if constexpr (kSlices == 2) {
    pair(load, load, 1, 0);
    pair(load, loaded, 0, 0);
    pair(loaded, load, 0, 1);
  } else {
    pair(load, load, 2, 0);
    pair(load, loaded, 1, 0);
    pair(loaded, load, 1, 1);
    pair(load, loaded, 0, 1);
    pair(loaded, load, 0, 0);
    pair(loaded, load, 0, 2);
  }
}

// Panels of 32 columns, from `begin` on and before `end`.
struct Panels {
  Index begin, end;
};

inline Panels panels_of(Columns columns, Index all) {
  return {columns.begin / kLineChannels, std::min<Index>(all, (Index{columns.end} + kLineChannels - 1) / kLineChannels)};
}

struct TileProduct {
  const float* x;
  Index x_stride;
  Index x_rows;
  Activation activation;
  int lines;
  int taps;
  int dilation;
  const float* weights;  // [panel of 32 columns][line][tap][slice][2 tiles][16 pairs of channels][16 columns][2]
  Panels panels;
  Index rows;
  float* scratch;
};

template <int kSlices>
std::size_t tile_scratch_size(int in_channels, int taps, int dilation) {
  return static_cast<std::size_t>((kBlockRows + (taps - 1) * Index{dilation}) *
                                  row_floats(static_cast<Format>(kSlices), padded_channels(in_channels)));
}

// Rows behind the last one as zeros, and an activation that the rows have not passed yet. Without one, slices stay as they are:
// the sum of two may lie in the middle of two first slices, and be cut another way.
template <int kSlices>
const float* copied_rows(const TileProduct& p, Index first, Index reach) {
  const Index floats = Index{p.lines} * kSlices * kLanes;
  const Vec slope = broadcast(slope_of(p.activation));
  for (Index i = 0; i < reach; ++i) {
    float* const to = p.scratch + i * floats;
    if (first + i >= p.x_rows) {
      for (Index j = 0; j < floats; ++j) to[j] = 0.0f;
      continue;
    }
    const float* const from = p.x + (first + i) * p.x_stride;
    if (p.activation.kind == ActivationKind::kNone) {
      __builtin_memcpy(to, from, static_cast<std::size_t>(floats) * sizeof(float));
      continue;
    }
    for (Index line = 0; line < floats; line += kSlices * kLanes) {
      Vec low, high;
      load_slices<kSlices>(from + line, low, high);
      store_slices<kSlices>(to + line, max(low, mul(low, slope)), max(high, mul(high, slope)));
    }
  }
  return p.scratch;
}

// `place(first_row, panel)` gives the epilogue of a unit, but for its sums.
template <int kSlices, Format kOut, class Place>
void multiply_units(const TileProduct& p, const Place& place) {
  Tiles tiles;
  alignas(64) float sums[2][2 * kUnitRows * kLanes];
  UnitEpilogue<kSlices, kOut> before;
  int which = 0;
  const Index steps = Index{p.lines} * p.taps, panel_floats = steps * kSlices * 2 * kTileFloats;
  const Index group_size = std::clamp(kGroupFloats / panel_floats, Index{1}, p.panels.end - p.panels.begin);
  const bool past_first = group_size * panel_floats > kFirstFloats;
  const Index fetches = (kUnitRows * kSlices + p.taps - 1) / p.taps;
  for (Index first = 0; first < p.rows; first += kBlockRows) {
    const Index block = p.rows - first < kBlockRows ? p.rows - first : kBlockRows;
    const Index units = (block + kUnitRows - 1) / kUnitRows, reach = units * kUnitRows + (p.taps - 1) * Index{p.dilation};
    const float* x = p.x + first * p.x_stride;
    Index stride = p.x_stride;
    if (p.activation.kind != ActivationKind::kNone || first + reach > p.x_rows) {
      x = copied_rows<kSlices>(p, first, reach);
      stride = Index{p.lines} * kSlices * kLanes;
    }
    for (Index group = p.panels.begin; group < p.panels.end; group += group_size) {
      for (Index unit = 0; unit < units; ++unit) {
        for (Index panel = group; panel < p.panels.end && panel < group + group_size; ++panel) {
          const float* weights = p.weights + panel * panel_floats;
          const float* next = x + (unit + 1) * kUnitRows * stride + (p.taps - 1) * p.dilation * stride;
          Index row = 0, due = 0;
          tiles.zero();
          for (int line = 0; line < p.lines; ++line) {
            const float* rows = x + unit * kUnitRows * stride + Index{line} * kSlices * kLanes;
            for (int tap = 0; tap < p.taps; ++tap) {
              multiply<kSlices>(tiles, rows, stride, weights, past_first);
              rows += p.dilation * stride;
              weights += kSlices * 2 * kTileFloats;
              if (unit == 0 && p.rows <= kFewRows) {
                for (Index i = 0; i < kSlices * 2 * kTileFloats; i += kLanes) __builtin_prefetch(weights + kAheadFloats + i, 0, 2);
              }
              if (panel == group) {
                for (Index i = 0; i < fetches; ++i, next += kLanes) __builtin_prefetch(next);
              }
              for (due += kUnitRows; due >= steps; due -= steps) before(row++);
            }
          }
          tiles.store(sums[which]);
          before = place(first + unit * kUnitRows, panel);
          before.sums = sums[which];
          which = 1 - which;
        }
      }
    }
  }
  for (Index row = 0; row < kUnitRows; ++row) before(row);
}
