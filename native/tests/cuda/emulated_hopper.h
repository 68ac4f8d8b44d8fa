// The functions of native/cuda/kernels/hopper_instructions.h in plain C++. Products are computed when they are waited for, of the
// registers and rows as they are then; till then their sums are no numbers. Rows must have been shown to them.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "emulated_instructions.h"

namespace hifigan::cuda {

using Matrix = std::uint64_t;
HIFIGAN_DEVICE Matrix matrix(Word start, int rows) {
  return static_cast<Matrix>(start / 16 | static_cast<Word>(rows) << 16) | static_cast<Matrix>(128 / 16) << 32;
}

HIFIGAN_DEVICE void show_to_products() { Block::now->show(); }
HIFIGAN_DEVICE void start_products() { Block::now->start_products(); }
HIFIGAN_DEVICE void commit_products() {
  Block::now->warp_step([](BegunProducts& products) { products.commit(); });
}
template <int LEFT>
HIFIGAN_DEVICE void wait_products() {
  Block::now->warp_step([](BegunProducts& products) { products.await(LEFT); });
}

// One lane's part of D[16, width] += A[16, 16] * B[16, width], or without what was there, by the registers that the instruction names.
struct WideProduct {
  std::vector<float*> d;
  std::array<const Word*, 4> a;
  Matrix b;
  bool keep;
};

// The words of B's rows that a lane has in multiply_block: 8 positions from `j` * 8 on.
inline std::array<Word, 2> rows_of(Matrix b, int j, int lane) {
  if (b >> 46 != 0) throw IllegalAccess("a matrix that is told in another way than the kernels have");
  const auto field = [&](int at) { return static_cast<Word>(b >> at & 0x3fff) * 16; };
  std::array<Word, 2> words;
  for (Word q = 0; q < 2; ++q)
    std::memcpy(&words[q], Block::now->shown(field(0) + q * field(16) + static_cast<Word>(j) * field(32) + static_cast<Word>(lane / 4 * 16 + lane % 4 * 4)), 4);
  return words;
}

inline void begin(WideProduct mine) {
  Block::now->together(&mine, [](void** all) {
    std::vector<WideProduct> lanes;
    for (int lane = 0; lane < 32; ++lane) lanes.push_back(*static_cast<WideProduct*>(all[lane]));
    for (const WideProduct& lane : lanes) {
      if (lane.b != lanes[0].b || lane.keep != lanes[0].keep) throw IllegalAccess("lanes that ask for different products");
    }
    // What the sums were, until the last product that adds to them has been computed.
    const std::size_t count = lanes[0].d.size();
    BegunProducts& products = Block::now->products();
    Sums& held = products.hold(lanes[0].d[0]);
    if (held.users++ == 0) {
      held.values.clear();
      for (const WideProduct& lane : lanes) {
        for (float* sum : lane.d) held.values.push_back(*sum), *sum = NAN;
      }
    }
    products.begin([lanes, count, &held] {
      if (!lanes[0].keep) std::fill(held.values.begin(), held.values.end(), 0.0f);
      for (int j = 0; j < static_cast<int>(count) / 4; ++j) {
        multiply_block([&](int lane) { return std::array{*lanes[lane].a[0], *lanes[lane].a[1], *lanes[lane].a[2], *lanes[lane].a[3]}; },
                       [&](int lane) { return rows_of(lanes[0].b, j, lane); }, [&](int lane) { return &held.values[lane * count + 4 * j]; });
      }
      if (--held.users != 0) return;
      for (std::size_t lane = 0; lane < 32; ++lane) {
        for (std::size_t i = 0; i < count; ++i) *lanes[lane].d[i] = held.values[lane * count + i];
      }
    }, std::to_string(lanes[0].b) + (lanes[0].keep ? " more of " : " ") + std::to_string(count));
  });
}

template <bool KEEP, int MT>
HIFIGAN_DEVICE void begin_product(float (&d)[MT][2][4], const Words& a, Matrix b) {
  WideProduct mine{{}, {&a.x, &a.z, &a.y, &a.w}, b, KEEP};
  for (auto& m : d) {
    for (int i : {0, 2}) {
      for (auto& n : m) mine.d.push_back(&n[i]), mine.d.push_back(&n[i + 1]);
    }
  }
  begin(std::move(mine));
}

template <int MT>
HIFIGAN_DEVICE void settle(float (&)[MT][2][4]) {}

// A block of 8 x 8 of a warp: a lane has two neighbours of row lane / 4, and gets those of column lane / 4.
template <class Type>
std::array<Type, 2> turned(Type first, Type second) {
  std::array<Type, 2> mine{first, second}, result;
  struct Brought {
    std::array<Type, 2>*from, *to;
  } brought{&mine, &result};
  Block::now->together(&brought, [](void** all) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 2; ++i) {
        const int row = lane % 4 * 2 + i, column = lane / 4;
        (*static_cast<Brought*>(all[lane])->to)[i] = (*static_cast<Brought*>(all[row * 4 + column / 2])->from)[column % 2];
      }
    }
  });
  return result;
}
HIFIGAN_DEVICE void turn(float& first, float& second) {
  const auto [a, b] = turned(first, second);
  first = a, second = b;
}

}  // namespace hifigan::cuda
