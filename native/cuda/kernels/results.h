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
    const float down = 1.0f / value.gain;  // powers of two
    scale = gain * down, unslope = 1.0f / added(launch, branch).slope, residual_scale = added(launch, branch).gain * down;
  }
  HIFIGAN_DEVICE static const Value& added(const Launch& launch, const Branch& branch) {
    return at<Value>(launch.values)[branch.residual < 0 ? branch.output : branch.residual];
  }
  // Whether all rows of a warp's `positions` are to be written, to the last phase, with a residual of this pass.
  HIFIGAN_DEVICE bool whole(int positions) const {
    const int first = own - thread_index() % 32 / 4 * stride;
    return first >= 0 && first + positions * stride + stride - 1 <= count && (!has_residual || first >= residual.first);
  }
};

// The residual's words for a block of 8 columns of a warp's `COUNT` * 8 rows.
template <int PLANES, bool WHOLE, int COUNT>
HIFIGAN_DEVICE void load_residual(const Results& results, int chunk, int phase, Word (&words)[COUNT][PLANES]) {
  const Rows& rows = results.residual;
  const int row = results.own + phase, pair = thread_index() % 4 * 4, chunks = results.value.chunks;
  const char* const fresh = rows.fresh + chunk * rows.fresh_step + row * 16LL + pair;
  const char* const saved = rows.saved + chunk * rows.saved_step + row * 16LL + pair;
  HIFIGAN_UNROLL
  for (int i = 0; i < COUNT; ++i) {
    const int ahead = i * 8 * (WHOLE ? 1 : results.stride);
    const bool inside = WHOLE || (results.has_residual && static_cast<Word>(row + ahead) < static_cast<Word>(results.count));
    const bool is_fresh = WHOLE || row + ahead >= rows.first;
    const char* const from = (is_fresh ? fresh : saved) + ahead * 16;
    words[i][0] = inside ? load4(from) : 0;
    if (PLANES == 2) words[i][PLANES - 1] = inside ? load4(from + chunks * (is_fresh ? rows.fresh_step : rows.saved_step)) : 0;
  }
}

// ONE: each position gives one row, as all do that add a residual. WHOLE: see above; else anything goes.
template <int PLANES, bool ONE, bool RESIDUAL, bool WHOLE, int MT, int NB>
HIFIGAN_DEVICE void put_rows(const Results& results, const float (&sums)[MT][NB][4], int block, Largest& largest) {
  const int stride = ONE ? 1 : results.stride, chunks = results.value.chunks;
  int chunk = block / stride, phase = block % stride;
  Word words[RESIDUAL ? 2 : 1][MT * 2][PLANES];
  if (RESIDUAL && chunk < chunks) load_residual<PLANES, WHOLE>(results, chunk, phase, words[0]);
  HIFIGAN_UNROLL
  for (int n = 0; n < NB; ++n) {
    const bool wraps = ONE || phase + 1 == stride;
    const int next_chunk = chunk + wraps, next_phase = wraps ? 0 : phase + 1;
    if (RESIDUAL && n + 1 < NB && next_chunk < chunks)
      load_residual<PLANES, WHOLE>(results, next_chunk, next_phase, words[RESIDUAL ? (n + 1) % 2 : 0]);
    if (chunk < chunks) {
      char* const to = results.out + chunk * results.chunk_step + phase * 16;
      HIFIGAN_UNROLL
      for (int i = 0; i < MT * 2; ++i) {
        const int ahead = i * 8 * stride;
        if (!WHOLE && static_cast<Word>(results.own + phase + ahead) >= static_cast<Word>(results.count)) continue;
        float low = sums[i / 2][n][i % 2 * 2] * results.scale, high = sums[i / 2][n][i % 2 * 2 + 1] * results.scale;
        if (RESIDUAL) {
          const Word(&planes)[PLANES] = words[RESIDUAL ? n % 2 : 0][i];
          const Pair other = PLANES == 1 ? true_pair(planes[0], results.unslope, results.residual_scale)
                                         : true_pair(planes[0], planes[PLANES - 1], results.unslope, results.residual_scale);
          low += other.low, high += other.high;
        }
        low = leaky(low, results.value.slope), high = leaky(high, results.value.slope);
        largest.add(low, high);
        Word planes[PLANES];
        split<PLANES>(low, high, planes);
        store4(to + ahead * 16, planes[0]);
        if (PLANES == 2) store4(to + ahead * 16 + chunks * results.chunk_step, planes[PLANES - 1]);
      }
    }
    chunk = next_chunk, phase = next_phase;
  }
}

// Writes a warp's results; KNOWN: one row for each position, and a residual.
template <int PLANES, bool KNOWN, int MT, int NB>
HIFIGAN_DEVICE void put(const Launch& launch, const Place& place, const float (&sums)[MT][NB][4], long long position, int limit,
                        int block, float gain) {
  const Results results(launch, place, item_of(launch, place), position, limit, gain);
  Largest largest;
  if (!results.whole(MT * 16)) {
    put_rows<PLANES, KNOWN, true, false>(results, sums, block, largest);
  } else if (KNOWN || results.has_residual) {
    put_rows<PLANES, true, true, true>(results, sums, block, largest);
  } else if (results.stride == 1) {
    put_rows<PLANES, true, false, true>(results, sums, block, largest);
  } else {
    put_rows<PLANES, false, false, true>(results, sums, block, largest);
  }
  largest.report(launch.largest, place.index, launch.layers, place.branch->layer);
}

}  // namespace hifigan::cuda
