// One convolution, or a transposed one as its phases; one unit of a residual block as its two convolutions.
#pragma once

namespace hifigan::cuda {

// Tiles that a block computes: warps lie WT along positions and WC along columns; a warp has MT * 16 positions of NB * 8 columns.
template <int MT, int NB, int WT, int WC>
struct Shape {
  static constexpr int kThreads = 32 * WT * WC, kPositions = WT * MT * 16, kColumns = WC * NB * 8;
};

// Where a warp lies in its block.
template <int MT, int NB, int WC>
struct Corner {
  int row = thread_index() / 32 / WC * MT * 16;
  int block = thread_index() / 32 % WC * NB;
  // The first row that this lane names to load_rows, in bytes of a group of chunks with `rows` each.
  HIFIGAN_DEVICE Word bytes(int rows) const {
    const int lane = thread_index() % 32;
    return static_cast<Word>((lane >> 4) * rows + row + (lane & 15)) * 16;
  }
};

// A group is KS * 16 channels with the rows of some taps. One or two of them are in shared memory: one is read while the other comes.
template <int IN, int OUT, int KS, int MT, int NB, int WT, int WC>
HIFIGAN_DEVICE void convolution(const Launch& launch) {
  using Tile = Shape<MT, NB, WT, WC>;
  const Place place = find_place(launch, block_x());
  const Branch& branch = *place.branch;
  if (block_y() * Tile::kColumns >= branch.columns) return;
  const Value& in = at<Value>(launch.values)[branch.inputs[0]];
  const Value& out = at<Value>(launch.values)[branch.output];
  const long long position =
      (span_of(item_of(launch, place), out).first + branch.shift) / branch.stride + static_cast<long long>(place.tile) * Tile::kPositions;
  const int parts = (branch.taps + branch.taps_at_once - 1) / branch.taps_at_once;
  const int groups = (in.chunks + KS * 2 - 1) / (KS * 2) * parts;
  const int rows = Tile::kPositions + (branch.taps_at_once - 1) * branch.dilation;
  const Word group_bytes = static_cast<Word>(IN * KS * 2 * rows) * 16;
  const auto load = [&](int group) {
    load_tile<IN, Tile::kThreads, KS * 2>(
        launch, place, shared_start() + static_cast<Word>(group % branch.places) * group_bytes,
        position - branch.left + static_cast<long long>(group % parts) * branch.taps_at_once * branch.dilation, rows, group / parts * KS * 2);
    commit_copies();
  };
  const Corner<MT, NB, WC> corner;
  const int block = block_y() * Tile::kColumns / 8 + corner.block;
  Weights<IN, NB, ring(IN, KS)> weights;
  weights.start(branch.weights, branch.columns, block * 8);
  float sums[MT][NB][4];
  // With two places a group comes one turn before its own.
  HIFIGAN_NO_UNROLL
  for (int group = 1 - branch.places; group < groups; ++group) {
    const int coming = group + branch.places - 1;
    if (coming < groups) load(coming);
    if (group < 0) continue;
    if (group == 0)  // while the first ones come
      start_sums(sums, branch.biases, branch.added ? branch.added + static_cast<Address>(place.index) * out.chunks * 32 : 0,
                 out.chunks, block, branch.stride, branch.gain);
    if (group < coming && coming < groups) {
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
    block_barrier();
    const int first = group % parts * branch.taps_at_once, left = branch.taps - first;
    convolve<IN, KS>(sums, weights, shared_start() + static_cast<Word>(group % branch.places) * group_bytes + corner.bytes(rows), rows,
                     left < branch.taps_at_once ? left : branch.taps_at_once, branch.dilation);
    block_barrier();  // all are done with this place
  }
  put<OUT, false>(launch, place, sums, position + corner.row, MT * 16, block, branch.gain);
}

// Puts the first convolution's results of a warp into shared memory, where the second one reads them. Padding applies to both: rows
// outside the signal are zeros. So are those that no result of this pass reads: they come of rows that are not there yet, and are
// no values to report. WHOLE: there are none of either.
template <int PLANES, int KS, bool WHOLE, int MT, int NB>
HIFIGAN_DEVICE void keep(const float (&sums)[MT][NB][4], Word to, Word group_bytes, int rows, int begin, int end, float slope, float scale,
                         Largest& largest) {
  HIFIGAN_UNROLL
  for (int n = 0; n < NB; ++n) {
    HIFIGAN_UNROLL
    for (int i = 0; i < MT * 2; ++i) {
      const int ahead = i * 8;
      const bool inside = WHOLE || (ahead >= begin && ahead < end);
      const float low = inside ? leaky(sums[i / 2][n][i % 2 * 2], slope) * scale : 0.0f;
      const float high = inside ? leaky(sums[i / 2][n][i % 2 * 2 + 1], slope) * scale : 0.0f;
      largest.add(low, high);
      Word planes[PLANES];
      split<PLANES>(low, high, planes);
      const Word group = to + static_cast<Word>(n / (KS * 2)) * group_bytes;
      HIFIGAN_UNROLL
      for (int p = 0; p < PLANES; ++p)
        store_shared(group + static_cast<Word>((p * KS * 2 + n % (KS * 2)) * rows + ahead) * 16, planes[p]);
    }
  }
}

// x + conv2(leaky(conv1(leaky(x)))): what lies between stays on the chip, in x's place. All channels are in shared memory.
template <int PLANES, int C, int KS, int MT, int NB, int WT, int WC>
HIFIGAN_DEVICE void unit(const Launch& launch) {
  using Tile = Shape<MT, NB, WT, WC>;
  static_assert(Tile::kColumns == C, "a block has all channels");
  constexpr int kGroups = C / (KS * 16);
  const Place place = find_place(launch, block_x());
  const Branch& branch = *place.branch;
  const Value& out = at<Value>(launch.values)[branch.output];
  const int results = Tile::kPositions - (branch.second_taps - 1);
  const auto position = [&] { return span_of(item_of(launch, place), out).first + static_cast<long long>(place.tile) * results; };
  const int rows = Tile::kPositions + (branch.taps - 1) * branch.dilation;
  const Word group_bytes = static_cast<Word>(PLANES * KS * 2 * rows) * 16;
  HIFIGAN_NO_UNROLL
  for (int group = 0; group < kGroups; ++group)
    load_tile<PLANES, Tile::kThreads, KS * 2>(launch, place, shared_start() + static_cast<Word>(group) * group_bytes,
                                              position() - branch.second_left - branch.left, rows, group * KS * 2);
  commit_copies();
  const Corner<MT, NB, WC> corner;
  Weights<PLANES, NB, ring(PLANES, KS)> weights;
  weights.start(branch.weights, C, corner.block * 8);
  float sums[MT][NB][4];
  start_sums(sums, branch.biases, 0, 0, corner.block, 1, branch.gain);
  const Word mine = shared_start() + corner.bytes(rows);
  wait_copies<0>();
  block_barrier();
  HIFIGAN_NO_UNROLL
  for (int group = 0; group < kGroups; ++group)
    convolve<PLANES, KS>(sums, weights, mine + static_cast<Word>(group) * group_bytes, rows, branch.taps, branch.dilation);
  block_barrier();  // all are done with x
  const int lane = thread_index() % 32, quad = lane / 4, pair = lane % 4;
  const float scale = branch.gain * branch.second_scale;
  // Counted from this lane's first row of the first convolution.
  const Span span = span_of(item_of(launch, place), out);
  const long long last = span.last + branch.second_taps - 1 - branch.second_left, own = position() - branch.second_left + corner.row + quad;
  const int begin = Rows::clipped(-own), end = Rows::clipped((last < span.length ? last : span.length) - own);
  const Word to = shared_start() + static_cast<Word>(corner.block / (KS * 2)) * group_bytes +
                  static_cast<Word>(corner.block % (KS * 2) * rows + corner.row + quad) * 16 + static_cast<Word>(pair) * 4;
  Largest largest;
  if (begin + quad <= 0 && end + quad >= MT * 16) {  // all of the warp's
    keep<PLANES, KS, true>(sums, to, group_bytes, rows, begin, end, branch.second_slope, scale, largest);
  } else {
    keep<PLANES, KS, false>(sums, to, group_bytes, rows, begin, end, branch.second_slope, scale, largest);
  }
  largest.report(launch.largest, place.index, launch.layers, branch.layer - 1);
  block_barrier();
  start_sums(sums, branch.biases + C * 4, 0, 0, corner.block, 1, branch.second_gain);
  HIFIGAN_NO_UNROLL
  for (int group = 0; group < kGroups; ++group)
    convolve<PLANES, KS>(sums, weights, mine + static_cast<Word>(group) * group_bytes, rows, branch.second_taps, 1);
  put<PLANES, true>(launch, place, sums, position() + corner.row, results - corner.row, corner.block, branch.second_gain);
}

}  // namespace hifigan::cuda
