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
};

// A group is KS * 16 channels with the rows of some taps. One or two of them are in shared memory: one is read while the other comes.
template <template <int, int, int, int> class PRODUCTS, int IN, int OUT, int KS, int MT, int NB, int WT, int WC>
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
  PRODUCTS<IN, KS, MT, NB> products;
  products.weights.start(branch.weights, branch.columns, block * 8);
  // With two places a group comes one turn before its own.
  HIFIGAN_NO_UNROLL
  for (int group = 1 - branch.places; group < groups; ++group) {
    const int coming = group + branch.places - 1;
    if (coming < groups) load(coming);
    if (group < 0) continue;
    if (group == 0)  // while the first ones come
      products.start({branch.biases, branch.added ? branch.added + static_cast<Address>(place.index) * out.chunks * 32 : 0, out.chunks,
                      branch.stride, branch.up},
                     block);
    if (group < coming && coming < groups) {
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
    products.show();
    block_barrier();
    const int first = group % parts * branch.taps_at_once, left = branch.taps - first;
    products.convolve(shared_start() + static_cast<Word>(group % branch.places) * group_bytes + products.first(corner.row, rows), rows,
                      left < branch.taps_at_once ? left : branch.taps_at_once, branch.dilation);
    block_barrier();  // all are done with this place
  }
  products.end();
  put<OUT, false>(launch, place, products.sums, position + corner.row, MT * 16, block, branch.gain);
}

// Puts the first convolution's results of a warp into shared memory, where the second one reads them. Padding applies to both: rows
// outside the signal are zeros. So are those that no result of this pass reads: they come of rows that are not there yet, and are
// no values to report. WHOLE: there are none of either.
template <int PLANES, int KS, bool WHOLE, int MT, int NB>
HIFIGAN_DEVICE void keep_block(const float (&sums)[MT][NB][4], int n, Word to, int rows, int begin, int end, float slope, float scale,
                               Largest& largest) {
  HIFIGAN_UNROLL
  for (int i = 0; i < MT * 2; ++i) {
    const int ahead = i * 8;
    const bool inside = WHOLE || (ahead >= begin && ahead < end);
    const float low = inside ? leaky(sums[i / 2][n][i % 2 * 2], slope) * scale : 0.0f;
    const float high = inside ? leaky(sums[i / 2][n][i % 2 * 2 + 1], slope) * scale : 0.0f;
    largest.add(low, high);
    Word planes[PLANES];
    split<PLANES>(low, high, planes);
    HIFIGAN_UNROLL
    for (int p = 0; p < PLANES; ++p) store_shared(to + static_cast<Word>(p * KS * 2 * rows + ahead) * 16, planes[p]);
  }
}

template <int PLANES, int KS, int MT, int NB>
HIFIGAN_DEVICE void keep(const float (&sums)[MT][NB][4], Word to, Word group_bytes, int rows, int begin, int end, bool whole, float slope,
                         float scale, Largest& largest) {
  const auto block = [&](int n) { return to + static_cast<Word>(n / (KS * 2)) * group_bytes + static_cast<Word>(n % (KS * 2) * rows) * 16; };
  if (whole) {
    HIFIGAN_UNROLL
    for (int n = 0; n < NB; ++n) keep_block<PLANES, KS, true>(sums, n, block(n), rows, begin, end, slope, scale, largest);
  } else {
    const KeptSums<MT, NB> kept(sums);
    HIFIGAN_NO_UNROLL
    for (int k = 0; k < kept.kBlocks; ++k) {
      const int ahead = k / NB * kept.kSlice * 16;
      keep_block<PLANES, KS, false>(kept.block[k], 0, block(k % NB) + static_cast<Word>(ahead) * 16, rows, begin - ahead, end - ahead, slope,
                                    scale, largest);
    }
  }
}

// x + conv2(leaky(conv1(leaky(x)))): what lies between stays on the chip, in x's place. All channels are in shared memory.
template <template <int, int, int, int> class PRODUCTS, int PLANES, int C, int KS, int MT, int NB, int WT, int WC>
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
  PRODUCTS<PLANES, KS, MT, NB> products;
  products.weights.start(branch.weights, C, corner.block * 8);
  products.start({branch.biases, 0, 0, 1, branch.up}, corner.block);
  const Word mine = shared_start() + products.first(corner.row, rows);
  wait_copies<0>();
  products.show();
  block_barrier();
  HIFIGAN_NO_UNROLL
  for (int group = 0; group < kGroups; ++group)
    products.convolve(mine + static_cast<Word>(group) * group_bytes, rows, branch.taps, branch.dilation);
  products.end();
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
  const bool whole = begin + quad <= 0 && end + quad >= MT * 16;  // all of the warp's
  keep<PLANES, KS>(products.sums, to, group_bytes, rows, begin, end, whole, branch.second_slope, scale, largest);
  largest.report(launch.largest, place.index, launch.layers, branch.layer - 1);
  products.show();
  block_barrier();
  products.start({branch.biases + C * 4, 0, 0, 1, branch.second_up}, corner.block);
  HIFIGAN_NO_UNROLL
  for (int group = 0; group < kGroups; ++group)
    products.convolve(mine + static_cast<Word>(group) * group_bytes, rows, branch.second_taps, 1);
  products.end();
  put<PLANES, true>(launch, place, products.sums, position() + corner.row, results - corner.row, corner.block, branch.second_gain);
}

}  // namespace hifigan::cuda
