// A convolution of a tile that is in shared memory.
//
// A convolution is D[position, column] = sum over taps j of X shifted by j * dilation times W_j. With positions as the rows of a
// product, the 16 bytes that `load_rows` takes are the 8 channels of one row: every tap reads the same tile from another row,
// nothing is copied, and no access has a bank conflict. Weights never see shared memory: packed in the order of the products, they
// come through the L1 cache into registers, a few steps ahead. hopper.h has the same by other instructions.
#pragma once

namespace hifigan::cuda {

// Weights on their way to the products: `RING` steps of 16 channels, in the order of the products: [step][plane][columns / 16][32].
// AHEAD of them come before their products.
template <int PLANES, int NB, int RING, int AHEAD>
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
    for (int place = 0; place < AHEAD; ++place) load(place);
  }
};

// What a block's columns begin at: their channels' biases, which go on to a multiple of a block's columns, and what an item adds to
// its `chunks`.
struct Biases {
  Address own, added;
  int chunks, stride;
  float up;

  // Each block's chunk of channels, of `NB` blocks of 8 columns from `block` on.
  template <int NB>
  HIFIGAN_DEVICE void find(int block, int (&found)[NB]) const {
    int chunk = block / stride, phase = block % stride;
    HIFIGAN_UNROLL
    for (int& which : found) {
      which = chunk;
      const bool wraps = ++phase == stride;
      chunk += wraps, phase = wraps ? 0 : phase;
    }
  }
  HIFIGAN_DEVICE float of(int chunk, int column) const {
    const int channel = chunk * 8 + column;
    const float bias = at<float>(own)[channel];
    return (added && chunk < chunks ? bias + at<float>(added)[channel] : bias) * up;
  }
};

template <int MT, int NB>
HIFIGAN_DEVICE void add(float (&sums)[MT][NB][4], const float (&parts)[MT][NB][4]) {
  HIFIGAN_UNROLL
  for (int m = 0; m < MT; ++m) {
    HIFIGAN_UNROLL
    for (int n = 0; n < NB; ++n) {
      HIFIGAN_UNROLL
      for (int i = 0; i < 4; ++i) sums[m][n][i] += parts[m][n][i];
    }
  }
}

// A warp's products, by the instruction that every card has. KS * 16 channels of a tile are convolved together.
template <int PLANES, int KS, int MT, int NB>
struct Products {
  // Two planes leave registers for two steps.
  static constexpr int kRing = PLANES == 2 && KS > 2 ? 2 : KS;

  float sums[MT][NB][4];
  Weights<PLANES, NB, kRing, kRing - 1> weights;

  // `block` is the warp's first block of 8 columns.
  HIFIGAN_DEVICE void start(const Biases& biases, int block) {
    const int pair = 2 * (thread_index() % 4);
    int chunks[NB];
    biases.find(block, chunks);
    HIFIGAN_UNROLL
    for (int n = 0; n < NB; ++n) {
      const float low = biases.of(chunks[n], pair), high = biases.of(chunks[n], pair + 1);
      HIFIGAN_UNROLL
      for (int m = 0; m < MT; ++m) sums[m][n][0] = sums[m][n][2] = low, sums[m][n][1] = sums[m][n][3] = high;
    }
  }

  // What of a tile the warp reads that begins at `row`: its first row as this lane names it to load_rows. A group of chunks has `rows`.
  HIFIGAN_DEVICE static Word first(int row, int rows) {
    const int lane = thread_index() % 32;
    return static_cast<Word>((lane >> 4) * rows + row + (lane & 15)) * 16;
  }

  // All taps. The weights that are ahead at the end are the next call's. With two planes the sums of a tap move to ordinary
  // registers: the product units cut sums off where registers round them.
  HIFIGAN_DEVICE void convolve(Word mine, int rows, int taps, int dilation) {
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
        weights.load((k + kRing - 1) % kRing);
        warp_barrier();
        Word a[PLANES][MT][4];
        HIFIGAN_UNROLL
        for (int p = 0; p < PLANES; ++p) {
          HIFIGAN_UNROLL
          for (int m = 0; m < MT; ++m) load_rows(mine + static_cast<Word>(p) * plane + static_cast<Word>(k * 2 * rows + m * 16) * 16, a[p][m]);
        }
        if constexpr (PLANES == 2) {
          products<MT, NB>(parts, a[1], weights.b[k % kRing][0]);
          products<MT, NB>(parts, a[0], weights.b[k % kRing][1]);
          products<MT, NB>(parts, a[0], weights.b[k % kRing][0]);
        } else {
          products<MT, NB>(sums, a[0], weights.b[k % kRing][0]);
        }
      }
      if constexpr (PLANES == 2) add(sums, parts);
      mine += static_cast<Word>(dilation) * 16;
    }
  }

  HIFIGAN_DEVICE static void show() {}
  HIFIGAN_DEVICE void end() {}
};

}  // namespace hifigan::cuda
