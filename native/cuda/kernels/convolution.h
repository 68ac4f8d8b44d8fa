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
      (span_of(place.item, out).first + branch.shift) / branch.stride + static_cast<long long>(place.tile) * Tile::kPositions;
  const int parts = (branch.taps + branch.taps_at_once - 1) / branch.taps_at_once;
  const int groups = (in.chunks + KS * 2 - 1) / (KS * 2) * parts;
  const int rows = Tile::kPositions + (branch.taps_at_once - 1) * branch.dilation;
  const Word group_bytes = static_cast<Word>(IN * KS * 2 * rows) * 16;
  const auto load = [&](int group) {
    load_tile<IN, Tile::kThreads>(launch, place, shared_start() + static_cast<Word>(group % branch.places) * group_bytes,
                                  position - branch.left + static_cast<long long>(group % parts) * branch.taps_at_once * branch.dilation,
                                  rows, group / parts * KS * 2, KS * 2);
    commit_copies();
  };
  load(0);
  const Corner<MT, NB, WC> corner;
  const int block = block_y() * Tile::kColumns / 8 + corner.block;
  Weights<IN, NB, ring(IN, KS)> weights;
  weights.start(branch.weights, branch.columns, block * 8);
  float sums[MT][NB][4];
  start_sums(sums, branch.biases, branch.added ? branch.added + static_cast<Address>(place.index) * out.chunks * 32 : 0,
             out.chunks, block, branch.stride, branch.gain);
  HIFIGAN_NO_UNROLL
  for (int group = 0; group < groups; ++group) {
    if (branch.places == 2 && group + 1 < groups) {
      load(group + 1);
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
    block_barrier();
    const int first = group % parts * branch.taps_at_once, left = branch.taps - first;
    convolve<IN, KS>(sums, weights, shared_start() + static_cast<Word>(group % branch.places) * group_bytes + corner.bytes(rows), rows,
                     left < branch.taps_at_once ? left : branch.taps_at_once, branch.dilation);
    block_barrier();  // all are done with this place
    if (branch.places == 1 && group + 1 < groups) load(group + 1);
  }
  put<OUT>(launch, place, sums, position + corner.row, MT * 16, block, branch.gain);
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
  const Span span = span_of(place.item, out);
  const int results = Tile::kPositions - (branch.second_taps - 1);
  const long long position = span.first + static_cast<long long>(place.tile) * results;
  const long long middle = position - branch.second_left;  // the first row of the first convolution
  const int rows = Tile::kPositions + (branch.taps - 1) * branch.dilation;
  const Word group_bytes = static_cast<Word>(PLANES * KS * 2 * rows) * 16;
  HIFIGAN_NO_UNROLL
  for (int group = 0; group < kGroups; ++group)
    load_tile<PLANES, Tile::kThreads>(launch, place, shared_start() + static_cast<Word>(group) * group_bytes, middle - branch.left, rows,
                                      group * KS * 2, KS * 2);
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
  const long long last = span.last + branch.second_taps - 1 - branch.second_left, own = middle + corner.row + quad;
  const int begin = Rows::clipped(-own), end = Rows::clipped((last < span.length ? last : span.length) - own);
  Largest largest;
  HIFIGAN_UNROLL
  for (int n = 0; n < NB; ++n) {
    const int chunk = corner.block + n;
    const Word to = shared_start() + static_cast<Word>(chunk / (KS * 2)) * group_bytes +
                    static_cast<Word>(chunk % (KS * 2) * rows + corner.row + quad) * 16 + static_cast<Word>(pair) * 4;
    HIFIGAN_UNROLL
    for (int m = 0; m < MT; ++m) {
      HIFIGAN_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int ahead = m * 16 + half * 8;
        // Padding applies to both convolutions: rows outside the signal are zeros. So are those that no result of this pass reads: they
        // come of rows that are not there yet, and are no values to report.
        const bool inside = ahead >= begin && ahead < end;
        const float low = inside ? leaky(sums[m][n][2 * half], branch.second_slope) * scale : 0.0f;
        const float high = inside ? leaky(sums[m][n][2 * half + 1], branch.second_slope) * scale : 0.0f;
        largest.add(low, high);
        Word planes[PLANES];
        split<PLANES>(low, high, planes);
        HIFIGAN_UNROLL
        for (int p = 0; p < PLANES; ++p) store_shared(to + static_cast<Word>(p * KS * 2 * rows + ahead) * 16, planes[p]);
      }
    }
  }
  largest.report(launch.largest, place.index, launch.layers, branch.layer - 1);
  block_barrier();
  start_sums(sums, branch.biases + C * 4, 0, 0, corner.block, 1, branch.second_gain);
  HIFIGAN_NO_UNROLL
  for (int group = 0; group < kGroups; ++group)
    convolve<PLANES, KS>(sums, weights, mine + static_cast<Word>(group) * group_bytes, rows, branch.second_taps, 1);
  put<PLANES>(launch, place, sums, position + corner.row, results - corner.row, corner.block, branch.second_gain);
}

}  // namespace hifigan::cuda
