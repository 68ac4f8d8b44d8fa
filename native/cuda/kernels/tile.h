// What the kernels share: where a tile lies, its rows in shared memory, and a convolution of them.
//
// A convolution is D[position, column] = sum over taps j of X shifted by j * dilation times W_j. With positions as the rows of a
// product, the 16 bytes that `load_rows` takes are the 8 channels of one row: every tap reads the same tile from another row,
// nothing is copied, and no access has a bank conflict. Weights never see shared memory: packed in the order of the products, they
// come through the L1 cache into registers, a few steps ahead.
#pragma once

namespace hifigan::cuda {

HIFIGAN_DEVICE float leaky(float x, float slope) { return x < 0.0f ? x * slope : x; }

// The largest magnitude of what a thread stores; not a number if one of them is none, which a maximum alone would hide.
struct Largest {
  float magnitude_ = 0.0f, odd = 0.0f;
  HIFIGAN_DEVICE void add(float low, float high) {
    magnitude_ = larger(magnitude_, larger(magnitude(low), magnitude(high)));
    odd += (low - low) + (high - high);
  }
  // Adds it to what is known of an item's layer.
  HIFIGAN_DEVICE void report(Address all, int item, int layers, int layer) const {
    float* const known = reinterpret_cast<float*>(all) + static_cast<long long>(item) * layers + layer;
    if (!(magnitude_ + odd <= load_float(known))) raise(known, magnitude_ + odd);
  }
};

template <class Type>
HIFIGAN_DEVICE const Type* at(Address address) {
  return reinterpret_cast<const Type*>(address);
}

// The item and the first position of a block's tile.
struct Place {
  const Branch* branch;
  Item item;
  int index;
  int tile;
};

// Blocks are numbered branch by branch, in these item by item.
HIFIGAN_DEVICE Place find_place(const Launch& launch, int block) {
  int which = 0;
  for (; which + 1 < launch.branch_count; ++which) {
    const int tiles = at<int>(launch.branches[which].tiles)[launch.item_count];
    if (block < tiles) break;
    block -= tiles;
  }
  const int* before = at<int>(launch.branches[which].tiles);
  int low = 0, high = launch.item_count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (before[middle] <= block) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return {&launch.branches[which], at<Item>(launch.items)[low], low, block - before[low]};
}

// Where rows of a value lie. Rows are counted from the first one that a tile reads.
struct Rows {
  const char* fresh;  // first plane, first chunk, row 0, if it were one of this pass
  const char* saved;
  long long fresh_step, saved_step;  // bytes from chunk to chunk
  int first;                         // row that is the first one of this pass
  int held;                          // row that is the first one of those kept from earlier passes
  int begin, end;                    // rows that are there
  int length;                        // row behind the signal's last one

  HIFIGAN_DEVICE Rows(const Value& value, const Item& item, int index, long long from) {
    const Span span = span_of(item, value);
    first = clipped(span.first - from), begin = clipped(-from), end = clipped(span.last - from), length = clipped(span.length - from);
    held = first - value.kept;
    fresh = at<char>(value.rows) + (offset_of(item, index, value) + from - span.first) * 16;
    saved = at<char>(item.state + value.saved) + (value.kept - static_cast<long long>(first)) * 16;
    fresh_step = value.total * 16LL, saved_step = value.kept * 16LL;
  }
  HIFIGAN_DEVICE static int clipped(long long row) {
    constexpr long long far = 1 << 29;
    return static_cast<int>(row < -far ? -far : row > far ? far : row);
  }
  // The row that stands at `row`, and whether it is one at all. Mirrored ones of a tile's end, which no result reads, may have been
  // given up.
  HIFIGAN_DEVICE bool find(int& row, int padding) const {
    if (padding == kPadReflect) {
      if (row < begin) row = 2 * begin - row;
      if (row >= length) row = 2 * (length - 1) - row;
    } else if (padding == kPadReplicate) {
      row = row < begin ? begin : row >= length ? length - 1 : row;
    } else if (padding == kPadFirstAgain) {
      row = row == begin - 1 ? begin : row;
    }
    return row >= begin && row >= held && row < end;
  }
  // 16 bytes of a row of it; chunks count through the planes.
  HIFIGAN_DEVICE const char* chunk(int row, int chunk) const {
    return row >= first ? fresh + chunk * fresh_step + row * 16LL : saved + chunk * saved_step + row * 16LL;
  }
};

// What one value gives to a mean: its true size, of two neighbouring channels.
struct Pair {
  float low, high;
};
HIFIGAN_DEVICE Pair true_pair(Word high_plane, Word low_plane, float unslope, float gain) {
  const float low = low_half(high_plane) + low_half(low_plane), high = high_half(high_plane) + high_half(low_plane);
  return {leaky(low, unslope) * gain, leaky(high, unslope) * gain};
}

// The planes of two numbers.
template <int PLANES>
HIFIGAN_DEVICE void split(float low, float high, Word (&planes)[PLANES]) {
  planes[0] = to_halves(low, high);
  if (PLANES == 2) planes[PLANES - 1] = to_halves(low - low_half(planes[0]), high - high_half(planes[0]));
}

// The true mean of a branch's inputs for 8 channels of a row, behind its leaky ReLU; zeros outside.
HIFIGAN_DEVICE void mean_of_row(const Launch& launch, const Place& place, long long from, int row, int chunk, float (&sum)[8]) {
  const Branch& branch = *place.branch;
  HIFIGAN_UNROLL
  for (int i = 0; i < 8; ++i) sum[i] = 0.0f;
  HIFIGAN_NO_UNROLL
  for (int k = 0; k < branch.input_count; ++k) {
    const Value& value = at<Value>(launch.values)[branch.inputs[k]];
    const Rows rows(value, place.item, place.index, from);
    int r = row;
    if (chunk >= value.chunks || !rows.find(r, branch.padding)) continue;
    const Words high = load16(rows.chunk(r, chunk)), none = {0, 0, 0, 0};
    const Words low = value.planes == 2 ? load16(rows.chunk(r, value.chunks + chunk)) : none;
    const float unslope = 1.0f / value.slope;
    HIFIGAN_UNROLL
    for (int q = 0; q < 4; ++q) {
      const Pair pair = true_pair(q == 0 ? high.x : q == 1 ? high.y : q == 2 ? high.z : high.w,
                                  q == 0 ? low.x : q == 1 ? low.y : q == 2 ? low.z : low.w, unslope, value.gain);
      sum[2 * q] += pair.low, sum[2 * q + 1] += pair.high;
    }
  }
  const float part = 1.0f / static_cast<float>(branch.input_count);
  HIFIGAN_UNROLL
  for (int i = 0; i < 8; ++i) sum[i] = leaky(branch.input_count == 1 ? sum[i] : sum[i] * part, branch.slope);
}

// Rows of some chunks of a tile, [planes][chunks][rows] of 16 bytes, into shared memory; the caller waits for copies. A value that
// is stored as it is read is copied past the registers.
template <int PLANES, int THREADS>
HIFIGAN_DEVICE void load_tile(const Launch& launch, const Place& place, Word to, long long from, int rows, int first_chunk, int chunks) {
  const Branch& branch = *place.branch;
  const Value& value = at<Value>(launch.values)[branch.inputs[0]];
  const bool copied = branch.input_count == 1 && value.planes == PLANES && value.slope == branch.slope && value.gain * branch.scale == 1.0f;
  const Rows source(value, place.item, place.index, from);
  const int warp = thread_index() / 32, lane = thread_index() % 32, parts = (rows + 31) / 32;
  HIFIGAN_NO_UNROLL
  for (int unit = warp; unit < parts * chunks; unit += THREADS / 32) {
    const int chunk = unit / parts, row = unit % parts * 32 + lane;
    if (row >= rows) continue;
    const Word place16 = to + static_cast<Word>(chunk * rows + row) * 16;
    if (copied) {
      int r = row;
      const bool inside = source.find(r, branch.padding) && first_chunk + chunk < value.chunks;
      HIFIGAN_UNROLL
      for (int p = 0; p < PLANES; ++p)
        copy16(place16 + static_cast<Word>(p * chunks * rows) * 16,
               inside ? source.chunk(r, p * value.chunks + first_chunk + chunk) : at<char>(value.rows), inside);
      continue;
    }
    float sum[8];
    mean_of_row(launch, place, from, row, first_chunk + chunk, sum);
    Word planes[4][PLANES];
    HIFIGAN_UNROLL
    for (int q = 0; q < 4; ++q) split<PLANES>(sum[2 * q] * branch.scale, sum[2 * q + 1] * branch.scale, planes[q]);
    HIFIGAN_UNROLL
    for (int p = 0; p < PLANES; ++p)
      store_shared16(place16 + static_cast<Word>(p * chunks * rows) * 16, {planes[0][p], planes[1][p], planes[2][p], planes[3][p]});
  }
}

// Weights on their way to the products: `RING` steps of 16 channels, in the order of the products: [step][plane][columns / 16][32].
template <int PLANES, int NB, int RING>
struct Weights {
  Words b[RING][PLANES][NB / 2];
  const char* next;
  long long plane_step;

  HIFIGAN_DEVICE void load(int place) {
    HIFIGAN_UNROLL
    for (int p = 0; p < PLANES; ++p) {
      HIFIGAN_UNROLL
      for (int i = 0; i < NB / 2; ++i) b[place][p][i] = load16(next + p * plane_step + i * 512);
    }
    next += PLANES * plane_step;
  }
  // `columns` of all weights, of which this warp has those from `column` on.
  HIFIGAN_DEVICE void start(Address weights, int columns, int column) {
    plane_step = columns * 32LL;
    next = at<char>(weights) + column * 32LL + thread_index() % 32 * 16;
    HIFIGAN_UNROLL
    for (int place = 0; place + 1 < RING; ++place) load(place);
  }
};

// Two planes leave registers for two steps.
constexpr int ring(int planes, int ks) { return planes == 2 && ks > 2 ? 2 : ks; }

// All taps of KS * 16 channels of a tile. The weights that are ahead at the end are the next call's. With two planes the sums of a
// tap move to ordinary registers: the product units cut sums off where registers round them.
template <int PLANES, int KS, int MT, int NB>
HIFIGAN_DEVICE void convolve(float (&sums)[MT][NB][4], Weights<PLANES, NB, ring(PLANES, KS)>& weights, Word mine, int rows, int taps, int dilation) {
  constexpr int RING = ring(PLANES, KS);
  const Word plane = static_cast<Word>(KS * 2 * rows) * 16;
  HIFIGAN_NO_UNROLL
  for (int tap = 0; tap < taps; ++tap) {
    float parts[PLANES == 2 ? MT : 1][PLANES == 2 ? NB : 1][4];
    if (PLANES == 2) {
      HIFIGAN_UNROLL
      for (auto& row : parts) {
        HIFIGAN_UNROLL
        for (auto& four : row) four[0] = four[1] = four[2] = four[3] = 0.0f;
      }
    }
    HIFIGAN_UNROLL
    for (int k = 0; k < KS; ++k) {
      weights.load((k + RING - 1) % RING);
      warp_barrier();
      Word a[PLANES][MT][4];
      HIFIGAN_UNROLL
      for (int p = 0; p < PLANES; ++p) {
        HIFIGAN_UNROLL
        for (int m = 0; m < MT; ++m) load_rows(mine + static_cast<Word>(p) * plane + static_cast<Word>(k * 2 * rows + m * 16) * 16, a[p][m]);
      }
      if constexpr (PLANES == 2) {
        products<MT, NB>(parts, a[1], weights.b[k % RING][0]);
        products<MT, NB>(parts, a[0], weights.b[k % RING][1]);
        products<MT, NB>(parts, a[0], weights.b[k % RING][0]);
      } else {
        products<MT, NB>(sums, a[0], weights.b[k % RING][0]);
      }
    }
    if constexpr (PLANES == 2) {
      HIFIGAN_UNROLL
      for (int m = 0; m < MT; ++m) {
        HIFIGAN_UNROLL
        for (int n = 0; n < NB; ++n) {
          HIFIGAN_UNROLL
          for (int i = 0; i < 4; ++i) sums[m][n][i] += parts[m][n][i];
        }
      }
    }
    mine += static_cast<Word>(dilation) * 16;
  }
}

// Sums begin at the biases of their channels, which go on to a multiple of a block's columns, and what an item adds to its `chunks`.
// `block` is a warp's first block of 8 columns.
template <int MT, int NB>
HIFIGAN_DEVICE void start_sums(float (&sums)[MT][NB][4], Address biases, Address added, int chunks, int block, int stride, float gain) {
  const int pair = 2 * (thread_index() % 4);
  const float up = 1.0f / gain;  // powers of two
  HIFIGAN_UNROLL
  for (int n = 0; n < NB; ++n) {
    const int chunk = (block + n) / stride, channel = chunk * 8 + pair;
    float low = at<float>(biases)[channel], high = at<float>(biases)[channel + 1];
    if (added && chunk < chunks) low += at<float>(added)[channel], high += at<float>(added)[channel + 1];
    HIFIGAN_UNROLL
    for (int m = 0; m < MT; ++m) sums[m][n][0] = sums[m][n][2] = low * up, sums[m][n][1] = sums[m][n][3] = high * up;
  }
}

// Writes a warp's results. `position` is its first one, counted from the signal's; rows from `limit` of these positions on are
// another tile's.
template <int PLANES, int MT, int NB>
HIFIGAN_DEVICE void put(const Launch& launch, const Place& place, const float (&sums)[MT][NB][4], long long position, int limit,
                        int block, float gain) {
  const Branch& branch = *place.branch;
  const Value& value = at<Value>(launch.values)[branch.output];
  const Span span = span_of(place.item, value);
  const int lane = thread_index() % 32, group = lane / 4, pair = lane % 4;
  // Rows are counted from the first that this pass has of the result.
  const int origin = static_cast<int>(position * branch.stride - branch.shift - span.first);
  const int count = static_cast<int>(span.last - span.first);
  char* const out = reinterpret_cast<char*>(value.rows) + offset_of(place.item, place.index, value) * 16 + pair * 4;
  const Value& added = at<Value>(launch.values)[branch.residual < 0 ? branch.output : branch.residual];
  const Rows residual(added, place.item, place.index, span.first);
  const float unslope = 1.0f / added.slope, down = 1.0f / value.gain;
  Largest largest;
  HIFIGAN_UNROLL
  for (int n = 0; n < NB; ++n) {
    const int chunk = (block + n) / branch.stride, phase = (block + n) % branch.stride;
    if (chunk >= value.chunks) continue;
    HIFIGAN_UNROLL
    for (int m = 0; m < MT; ++m) {
      HIFIGAN_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int ahead = m * 16 + half * 8 + group, row = origin + ahead * branch.stride + phase;
        if (row < 0 || row >= count || ahead >= limit) continue;
        float low = sums[m][n][2 * half] * gain, high = sums[m][n][2 * half + 1] * gain;
        if (branch.residual >= 0) {
          const Word first = load4(residual.chunk(row, chunk) + pair * 4);
          const Word second = added.planes == 2 ? load4(residual.chunk(row, added.chunks + chunk) + pair * 4) : 0;
          const Pair other = true_pair(first, second, unslope, added.gain);
          low += other.low, high += other.high;
        }
        low = leaky(low, value.slope) * down, high = leaky(high, value.slope) * down;
        largest.add(low, high);
        Word planes[PLANES];
        split<PLANES>(low, high, planes);
        HIFIGAN_UNROLL
        for (int p = 0; p < PLANES; ++p)
          store4(out + static_cast<long long>(p * value.chunks + chunk) * value.total * 16 + row * 16LL, planes[p]);
      }
    }
  }
  largest.report(launch.largest, place.index, launch.layers, branch.layer);
}

}  // namespace hifigan::cuda
