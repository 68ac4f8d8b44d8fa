// The way of a tile's results to device memory.
#pragma once

namespace hifigan::cuda {

// The largest magnitude of what a thread stores; not a number if one of them is none.
struct Largest {
  float magnitude_ = 0.0f;
  HIFIGAN_DEVICE void add(float low, float high) { magnitude_ = larger_or_none(larger_or_none(magnitude_, magnitude(low)), magnitude(high)); }
  // Adds it to what is known of an item's layer.
  HIFIGAN_DEVICE void report(Address all, int item, int layers, int layer) const {
    float* const known = reinterpret_cast<float*>(all) + static_cast<long long>(item) * layers + layer;
    if (!(magnitude_ <= load_float(known))) raise(known, magnitude_);
  }
};

// A warp's sums in memory, in slices of positions: what is rare has code for one block of 8 columns of a slice, and finds it there in a
// loop that is not unrolled. Unrolled, as all of a warp's sums in registers ask for, it was a third of each kernel's code.
template <int MT, int NB>
struct KeptSums {
  static constexpr int kSlice = MT % 4 ? MT : 4, kBlocks = MT / kSlice * NB;

  float block[kBlocks][kSlice][1][4];

  HIFIGAN_DEVICE explicit KeptSums(const float (&sums)[MT][NB][4]) {
    HIFIGAN_UNROLL
    for (int m = 0; m < MT; ++m) {
      HIFIGAN_UNROLL
      for (int n = 0; n < NB; ++n) {
        HIFIGAN_UNROLL
        for (int i = 0; i < 4; ++i) block[m / kSlice * NB + n][m % kSlice][0][i] = sums[m][n][i];
      }
    }
  }
};

// What a tile pays beside its products is the way of its results, so all of it that is known before is kept here: behind a store
// the compiler reads again whatever lies in memory.
struct Results {
  Value value;
  Rows residual;
  char* out;  // first plane and chunk, this lane's first row
  long long chunk_step;
  int own;          // this lane's first row, counted from the first that this pass has
  int count;        // rows that may be written
  int stride;
  bool has_residual;
  float scale;      // of a sum, as it is stored
  float unslope, residual_scale;

  // `position` is a warp's first one, counted from the signal's; rows from `limit` of these positions on are another tile's.
  HIFIGAN_DEVICE Results(const Launch& launch, const Place& place, const Item& item, long long position, int limit, float gain)
      : value(at<Value>(launch.values)[place.branch->output]),
        residual(added(launch, *place.branch), item, place.index, span_of(item, value).first) {
    const Branch& branch = *place.branch;
    const Span span = span_of(item, value);
    stride = branch.stride, has_residual = branch.residual >= 0;
    const int origin = static_cast<int>(position * stride - branch.shift - span.first);
    const int behind = origin + limit * stride, there = static_cast<int>(span.last - span.first);
    count = behind < 0 ? 0 : behind < there ? behind : there;
    own = origin + thread_index() % 32 / 4 * stride;
    chunk_step = value.total * 16LL;
    out = reinterpret_cast<char*>(value.rows) + (offset_of(item, place.index, value) + own) * 16 + thread_index() % 4 * 4;
    scale = gain * value.down, unslope = added(launch, branch).unslope, residual_scale = added(launch, branch).gain * value.down;
  }
  HIFIGAN_DEVICE static const Value& added(const Launch& launch, const Branch& branch) {
    return at<Value>(launch.values)[branch.residual < 0 ? branch.output : branch.residual];
  }
  // The warp's first row.
  HIFIGAN_DEVICE int first() const { return own - thread_index() % 32 / 4 * stride; }
  // Whether all rows of a warp's `positions` are to be written, to the last phase, with a residual of this pass.
  HIFIGAN_DEVICE bool whole(int positions) const {
    return first() >= 0 && first() + positions * stride <= count && (!has_residual || first() >= residual.first);
  }
};

// The residual's words for a block of 8 columns, of a lane's rows from the one that is `ahead` of its first.
template <int PLANES, bool WHOLE, int COUNT>
HIFIGAN_DEVICE void load_residual(const Results& results, int chunk, int ahead, Word (&words)[COUNT][PLANES]) {
  const Rows& rows = results.residual;
  const int row = results.own + ahead, pair = thread_index() % 4 * 4, chunks = results.value.chunks;
  const char* const fresh = rows.fresh + chunk * rows.fresh_step + row * 16LL + pair;
  const char* const saved = rows.saved + chunk * rows.saved_step + row * 16LL + pair;
  HIFIGAN_UNROLL
  for (int i = 0; i < COUNT; ++i) {
    const int step = i * 8 * (WHOLE ? 1 : results.stride);
    const bool inside = WHOLE || static_cast<Word>(row + step) < static_cast<Word>(results.count);
    const bool is_fresh = WHOLE || row + step >= rows.first;
    const char* const from = (is_fresh ? fresh : saved) + step * 16;
    words[i][0] = inside ? load4(from) : 0;
    if (PLANES == 2) words[i][PLANES - 1] = inside ? load4(from + chunks * (is_fresh ? rows.fresh_step : rows.saved_step)) : 0;
  }
}

// Writes such a block, with its residual if there is one. ONE: each position gives one row. WHOLE: see above; else anything goes.
template <int PLANES, bool ONE, bool WHOLE, int MT, int NB>
HIFIGAN_DEVICE void put_block(const Results& results, const float (&sums)[MT][NB][4], int n, int chunk, int ahead, bool has_residual,
                              const Word (&residual)[MT * 2][PLANES], Largest& largest) {
  char* const to = results.out + chunk * results.chunk_step + ahead * 16;
  Pair pairs[MT * 2];
  HIFIGAN_UNROLL
  for (int i = 0; i < MT * 2; ++i)
    pairs[i] = {sums[i / 2][n][i % 2 * 2] * results.scale, sums[i / 2][n][i % 2 * 2 + 1] * results.scale};
  if (has_residual) {
    HIFIGAN_UNROLL
    for (int i = 0; i < MT * 2; ++i) {
      const Pair other = PLANES == 1 ? true_pair(residual[i][0], results.unslope, results.residual_scale)
                                     : true_pair(residual[i][0], residual[i][PLANES - 1], results.unslope, results.residual_scale);
      pairs[i].low += other.low, pairs[i].high += other.high;
    }
  }
  HIFIGAN_UNROLL
  for (int i = 0; i < MT * 2; ++i) {
    const int step = i * 8 * (ONE ? 1 : results.stride);
    if (!WHOLE && static_cast<Word>(results.own + ahead + step) >= static_cast<Word>(results.count)) continue;
    const float low = leaky(pairs[i].low, results.value.slope), high = leaky(pairs[i].high, results.value.slope);
    largest.add(low, high);
    Word planes[PLANES];
    split<PLANES>(low, high, planes);
    store4(to + step * 16, planes[0]);
    if (PLANES == 2) store4(to + step * 16 + results.value.chunks * results.chunk_step, planes[PLANES - 1]);
  }
}

// All of a warp's blocks; the residual of one is on its way while the one before is written. KNOWN: see put.
template <int PLANES, bool KNOWN, bool WHOLE, int MT, int NB>
HIFIGAN_DEVICE void put_blocks(const Results& results, const float (&sums)[MT][NB][4], int block, Largest& largest) {
  const int stride = KNOWN ? 1 : results.stride, chunks = results.value.chunks;
  const bool has_residual = KNOWN || results.has_residual;
  int chunk = block / stride, phase = block % stride;
  Word words[2][MT * 2][PLANES];
  if (has_residual && chunk < chunks) load_residual<PLANES, WHOLE>(results, chunk, phase, words[0]);
  HIFIGAN_UNROLL
  for (int n = 0; n < NB; ++n) {
    const bool wraps = KNOWN || phase + 1 == stride;
    const int next_chunk = chunk + wraps, next_phase = wraps ? 0 : phase + 1;
    if (has_residual && n + 1 < NB && next_chunk < chunks) load_residual<PLANES, WHOLE>(results, next_chunk, next_phase, words[(n + 1) % 2]);
    if (chunk < chunks) put_block<PLANES, KNOWN, WHOLE>(results, sums, n, chunk, phase, has_residual, words[n % 2], largest);
    chunk = next_chunk, phase = next_phase;
  }
}

// The same where not all rows are written, if that is rare.
template <int PLANES, int MT, int NB>
HIFIGAN_DEVICE void put_ragged(const Results& results, const float (&sums)[MT][NB][4], int block, Largest& largest) {
  using Kept = KeptSums<MT, NB>;
  const Kept kept(sums);
  const int stride = results.stride, chunks = results.value.chunks;
  int chunk = 0, ahead = 0;
  Word words[Kept::kSlice * 2][PLANES];
  HIFIGAN_NO_UNROLL
  for (int k = -1; k < Kept::kBlocks; ++k) {
    const int next = block + (k + 1) % NB, next_chunk = next / stride, next_ahead = (k + 1) / NB * Kept::kSlice * 16 * stride + next % stride;
    Word coming[Kept::kSlice * 2][PLANES] = {};
    if (results.has_residual && k + 1 < Kept::kBlocks && next_chunk < chunks)
      load_residual<PLANES, false>(results, next_chunk, next_ahead, coming);
    if (k >= 0 && chunk < chunks)
      put_block<PLANES, false, false>(results, kept.block[k], 0, chunk, ahead, results.has_residual, words, largest);
    chunk = next_chunk, ahead = next_ahead;
    HIFIGAN_UNROLL
    for (int i = 0; i < Kept::kSlice * 2; ++i) {
      HIFIGAN_UNROLL
      for (int p = 0; p < PLANES; ++p) words[i][p] = coming[i][p];
    }
  }
}

// Writes a warp's results; KNOWN: one row for each position, and a residual, as a unit has. Its last warp never has all of its rows:
// those that the second convolution reads beyond them are another tile's.
template <int PLANES, bool KNOWN, int MT, int NB>
HIFIGAN_DEVICE void put(const Launch& launch, const Place& place, const float (&sums)[MT][NB][4], long long position, int limit,
                        int block, float gain) {
  const Results results(launch, place, item_of(launch, place), position, limit, gain);
  Largest largest;
  if (results.whole(MT * 16)) {
    put_blocks<PLANES, KNOWN, true>(results, sums, block, largest);
  } else if (results.first() < results.count) {
    if constexpr (KNOWN) {
      put_blocks<PLANES, KNOWN, false>(results, sums, block, largest);
    } else {
      put_ragged<PLANES>(results, sums, block, largest);
    }
  }
  largest.report(launch.largest, place.index, launch.layers, place.branch->layer);
}

}  // namespace hifigan::cuda
