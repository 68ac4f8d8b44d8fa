// What the kernels share: where a tile lies, and its rows in shared memory.
#pragma once

namespace hifigan::cuda {

HIFIGAN_DEVICE float leaky(float x, float slope) { return x < 0.0f ? x * slope : x; }

template <class Type>
HIFIGAN_DEVICE const Type* at(Address address) {
  return reinterpret_cast<const Type*>(address);
}

// A block's tile, and the item that it is of.
struct Place {
  const Branch* branch;
  int index;
  int tile;
};
// Read where it is needed: registers are short where sums are held.
HIFIGAN_DEVICE Item item_of(const Launch& launch, const Place& place) { return at<Item>(launch.items)[place.index]; }

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
  return {&launch.branches[which], low, block - before[low]};
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

// Two neighbouring channels of a value, before its leaky ReLU.
struct Pair {
  float low, high;
};
HIFIGAN_DEVICE Pair true_pair(Word plane, float unslope, float gain) {
  return {leaky(low_half(plane), unslope) * gain, leaky(high_half(plane), unslope) * gain};
}
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

// The true mean of a branch's inputs for `CHUNKS` * 8 channels of a row, behind its leaky ReLU; zeros outside. To know where an
// input's rows lie takes as long as to read some chunks of them.
template <int PLANES, int CHUNKS>
HIFIGAN_DEVICE void mean_of_row(const Launch& launch, const Place& place, const Item& item, long long from, int row, int first_chunk,
                                float (&sums)[CHUNKS][8]) {
  const Branch& branch = *place.branch;
  HIFIGAN_UNROLL
  for (auto& sum : sums) {
    HIFIGAN_UNROLL
    for (float& channel : sum) channel = 0.0f;
  }
  HIFIGAN_NO_UNROLL
  for (int k = 0; k < branch.input_count; ++k) {
    const Value value = at<Value>(launch.values)[branch.inputs[k]];
    const Rows rows(value, item, place.index, from);
    int r = row;
    if (!rows.find(r, branch.padding)) continue;
    const char* const first = rows.chunk(r, first_chunk);
    const long long step = r >= rows.first ? rows.fresh_step : rows.saved_step;
    HIFIGAN_UNROLL
    for (int c = 0; c < CHUNKS; ++c) {
      if (first_chunk + c >= value.chunks) continue;
      const Words high = load16(first + c * step), low = PLANES == 2 ? load16(first + (value.chunks + c) * step) : high;
      const Word high_words[4] = {high.x, high.y, high.z, high.w}, low_words[4] = {low.x, low.y, low.z, low.w};
      HIFIGAN_UNROLL
      for (int q = 0; q < 4; ++q) {
        const Pair pair = PLANES == 1 ? true_pair(high_words[q], value.unslope, value.gain)
                                      : true_pair(high_words[q], low_words[q], value.unslope, value.gain);
        sums[c][2 * q] += pair.low, sums[c][2 * q + 1] += pair.high;
      }
    }
  }
  const float part = branch.part, slope = branch.slope;
  HIFIGAN_UNROLL
  for (auto& sum : sums) {
    HIFIGAN_UNROLL
    for (float& channel : sum) channel = leaky(branch.input_count == 1 ? channel : channel * part, slope);
  }
}

// Rows of some chunks of a tile, [planes][chunks][rows] of 16 bytes, into shared memory; the caller waits for copies. A value that
// is stored as it is read is copied past the registers.
template <int PLANES, int THREADS, int CHUNKS>
HIFIGAN_DEVICE void load_tile(const Launch& launch, const Place& place, Word to, long long from, int rows, int first_chunk) {
  const Branch& branch = *place.branch;
  const Value& value = at<Value>(launch.values)[branch.inputs[0]];
  const Item item = item_of(launch, place);
  const Word plane = static_cast<Word>(CHUNKS * rows) * 16;
  if (branch.input_count == 1 && value.planes == PLANES && value.slope == branch.slope && value.gain * branch.scale == 1.0f) {
    const Rows source(value, item, place.index, from);
    const int chunks = value.chunks;
    HIFIGAN_NO_UNROLL
    for (int row = thread_index(); row < rows; row += THREADS) {
      int r = row;
      const bool inside = source.find(r, branch.padding);
      const char* const first = inside ? source.chunk(r, first_chunk) : source.fresh;
      const long long step = r >= source.first ? source.fresh_step : source.saved_step;
      HIFIGAN_UNROLL
      for (int p = 0; p < PLANES; ++p) {
        HIFIGAN_UNROLL
        for (int chunk = 0; chunk < CHUNKS; ++chunk)
          copy16(to + static_cast<Word>(p) * plane + static_cast<Word>(chunk * rows + row) * 16, first + (p * chunks + chunk) * step,
                 inside && first_chunk + chunk < chunks);
      }
    }
    return;
  }
  constexpr int kTogether = 2;
  const int warp = thread_index() / 32, lane = thread_index() % 32, parts = (rows + 31) / 32;
  HIFIGAN_NO_UNROLL
  for (int unit = warp; unit < parts * (CHUNKS / kTogether); unit += THREADS / 32) {
    const int chunk = unit / parts * kTogether, row = unit % parts * 32 + lane;
    if (row >= rows) continue;
    const Word place16 = to + static_cast<Word>(chunk * rows + row) * 16;
    float sums[kTogether][8];
    mean_of_row<PLANES>(launch, place, item, from, row, first_chunk + chunk, sums);
    HIFIGAN_UNROLL
    for (int c = 0; c < kTogether; ++c) {
      Word planes[4][PLANES];
      HIFIGAN_UNROLL
      for (int q = 0; q < 4; ++q) split<PLANES>(sums[c][2 * q] * branch.scale, sums[c][2 * q + 1] * branch.scale, planes[q]);
      HIFIGAN_UNROLL
      for (int p = 0; p < PLANES; ++p)
        store_shared16(place16 + static_cast<Word>(p) * plane + static_cast<Word>(c * rows) * 16,
                       {planes[0][p], planes[1][p], planes[2][p], planes[3][p]});
    }
  }
}

}  // namespace hifigan::cuda
