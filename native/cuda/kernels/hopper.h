// Products by the instructions that compute capability 9.0 alone has: four warps compute 64 columns of as many positions as their
// tile has, read from shared memory as it lies there.
#pragma once

namespace hifigan::cuda {

// What Products is to every card; each of the four warps has 16 columns. Here the columns of a sum are the rows of the instruction's
// product and the positions its columns: so weights come into registers in the order that Products has them in, and the instruction
// reads the tile's rows where they lie, whichever is the first. The end turns the sums, 8 columns of 8 positions at a time, into the
// order that Products leaves.
template <int PLANES, int KS, int MT, int NB>
struct HopperProducts {
  static_assert(KS == 4 && NB == 2, "a warp has 16 columns, a group one round of weights");

  float sums[MT][NB][4];
  Weights<PLANES, NB, 4, 2> weights;

  HIFIGAN_DEVICE void start(const Biases& biases, int block) {
    int chunks[NB];
    biases.find(block, chunks);
    HIFIGAN_UNROLL
    for (int n = 0; n < NB; ++n) {
      const float bias = biases.of(chunks[n], thread_index() % 32 / 4);
      HIFIGAN_UNROLL
      for (int m = 0; m < MT; ++m) sums[m][n][0] = sums[m][n][1] = sums[m][n][2] = sums[m][n][3] = bias;
    }
  }
  HIFIGAN_DEVICE static Word first(int row, int) { return static_cast<Word>(row) * 16; }

  HIFIGAN_DEVICE void convolve(Word mine, int rows, int taps, int dilation) {
    const Word plane = static_cast<Word>(KS * 2 * rows) * 16;
    // Settled on both sides of the loop, sums stay in the same registers in it; the compiler would copy them while they are on their
    // way, and the assembler then waits for each product.
    if constexpr (PLANES == 1) settle(sums);
    HIFIGAN_NO_UNROLL
    for (int tap = 0; tap < taps; ++tap) {
      float parts[PLANES == 2 ? MT : 1][NB][4];
      HIFIGAN_UNROLL
      for (int k = 0; k < KS; ++k) {
        wait_products<1>();  // those that read the place of the weights that come now
        weights.load((k + 2) % 4);
        const Matrix x = matrix(mine + static_cast<Word>(k * 2 * rows) * 16, rows);
        start_products();
        if constexpr (PLANES == 2) {
          const Matrix lost = matrix(mine + plane + static_cast<Word>(k * 2 * rows) * 16, rows);
          if (k == 0) {
            begin_product<false>(parts, weights.b[k][0][0], lost);
          } else {
            begin_product<true>(parts, weights.b[k][0][0], lost);
          }
          begin_product<true>(parts, weights.b[k][1][0], x);
          begin_product<true>(parts, weights.b[k][0][0], x);
        } else {
          begin_product<true>(sums, weights.b[k][0][0], x);
        }
        commit_products();
      }
      if constexpr (PLANES == 2) {
        wait_products<0>();
        settle(parts);
        add(sums, parts);
      }
      mine += static_cast<Word>(dilation) * 16;
    }
    if constexpr (PLANES == 1) {
      wait_products<0>();
      settle(sums);
    }
  }

  HIFIGAN_DEVICE static void show() { show_to_products(); }
  HIFIGAN_DEVICE void end() {
    HIFIGAN_UNROLL
    for (int m = 0; m < MT; ++m) {
      HIFIGAN_UNROLL
      for (int n = 0; n < NB; ++n) turn(sums[m][n][0], sums[m][n][1]), turn(sums[m][n][2], sums[m][n][3]);
    }
  }
};

}  // namespace hifigan::cuda
