// A convolution of a tile that is in shared memory.
//
// A convolution is D[position, column] = sum over taps j of X shifted by j * dilation times W_j. With positions as the rows of a
// product, the 16 bytes that `load_rows` takes are the 8 channels of one row: every tap reads the same tile from another row,
// nothing is copied, and no access has a bank conflict. Weights never see shared memory: packed in the order of the products, they
// come through the L1 cache into registers, a few steps ahead.
#pragma once

namespace hifigan::cuda {

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

}  // namespace hifigan::cuda
